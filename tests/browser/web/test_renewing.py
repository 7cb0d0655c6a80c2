"""An account that the bank no longer lets in is shown, and renewed through the same pages."""

from __future__ import annotations

import pytest

from belvo_links.sandbox import Step
from tests.browser.web.house import House
from tests.browser.web.visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCOUNT = "Heimdall (MX)"


async def test_a_link_that_wants_a_token_is_refreshed_with_one(visitor: Visitor, house: House) -> None:
    """The webhook marks it; the credentials that Belvo has suffice, so no password is asked for."""
    await visitor.connect(username="sim_lapse_token")
    await visitor.sees_account("connected")
    house.box.advance(days=8)
    await house.box.settle()
    await visitor.comes_back_until("Your bank wants to see you")
    await visitor.sees_account("wants you to confirm it")
    await visitor.page.get_by_role("link", name=f"log in again at {ACCOUNT}").click()
    await visitor.button("Bring it up to date").click()
    await visitor.says("Your bank asks")
    await visitor.answer("111111")
    await visitor.is_connected()
    assert house.box.count("PUT") == 0
    assert await visitor.page.get_by_text("Your bank wants to see you").count() == 0


async def test_a_link_that_is_invalid_is_updated_with_the_password(visitor: Visitor, house: House) -> None:
    """And with a second factor. The person types the password; nobody has kept it."""
    await visitor.connect(username="sim_lapse_later")
    await visitor.sees_account("connected")
    house.box.advance(days=22)
    await house.box.settle()
    await visitor.comes_back_until("Your bank wants to see you")
    await visitor.page.get_by_role("link", name=f"log in again at {ACCOUNT}").click()
    await visitor.reads("wants you to log in")
    assert await visitor.button("Bring it up to date").count() == 0  # there is nothing that could work
    house.box.script("sim_lapse_later", [Step.error("login_error"), visitor.challenge()])
    await visitor.page.get_by_label("Password").fill("wrong_canary")
    await visitor.button("Log in at the bank").click()
    await visitor.page.get_by_role("alert").wait_for()
    await visitor.page.get_by_label("Password").fill(visitor.password())
    await visitor.button("Log in at the bank").click()
    await visitor.answer()
    await visitor.is_connected()
    [link] = house.box.links
    assert link["status"] == "valid"


async def test_an_account_is_brought_up_to_date(visitor: Visitor, house: House) -> None:
    """Once in ten minutes."""
    await visitor.connect(Step.link())
    await visitor.page.get_by_role("link", name=ACCOUNT).click()
    await visitor.button("Bring it up to date").click()
    await visitor.reads("We have asked the bank.")
    await visitor.page.get_by_role("link", name=ACCOUNT).click()
    await visitor.button("Bring it up to date").click()
    await visitor.reads("The bank was asked a few minutes ago.")


async def test_an_account_that_is_gone_is_shown_as_such(visitor: Visitor, house: House) -> None:
    """Somebody has deleted the link: a webhook says that there is something new, and there is nothing to read."""
    await visitor.connect(Step.link())
    await visitor.sees_account("connected")
    link_id = str(house.box.links[0]["id"])
    house.box.remove_link(link_id)
    await visitor.webhook(link_id)
    await visitor.comes_back_until("no longer connected")
    await visitor.page.get_by_role("link", name=ACCOUNT).click()
    await visitor.page.get_by_role("link", name="Connect it again").click()
    await visitor.says("Choose your bank")
