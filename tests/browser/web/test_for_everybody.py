"""For whom the pages work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from belvo_links.sandbox import Step
from tests.browser.test_reach import CONTRASTS
from tests.browser.web.house import House
from tests.browser.web.visitor import BANK, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

Arrive = Callable[..., Awaitable[Visitor]]


async def looks_right(visitor: Visitor, *, dark: bool) -> None:
    """Nothing is too wide, too small to press, too pale to read, or without a name."""
    page = visitor.page
    await page.wait_for_load_state()
    assert await visitor.width() == 360
    for control in await page.locator("button, .button, select, input:not([type=hidden])").all():
        outline = await control.bounding_box()
        assert outline
        assert outline["height"] >= 36
        assert outline["x"] >= 0
        assert outline["x"] + outline["width"] <= 360
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(ground[4:].partition(",")[0]) < 64) is dark
    assert [found for found in await page.evaluate(CONTRASTS) if found[0] < 4.5] == []
    nameless = "input:not([type=hidden]):not([id]), img:not([alt]), button:empty, a:empty"
    assert await page.locator(nameless).count() == 0
    for field in await page.locator("input:not([type=hidden]), select").all():
        assert await field.evaluate("field => field.labels.length") == 1
    assert await page.locator("h1").count() == 1
    assert (await page.title()).endswith("Ledgerly")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_fits_on_a_phone_by_day_and_by_night(arrive: Arrive, house: House, scheme: str) -> None:
    """At 360 pixels, with a contrast of 4.5 to 1 at least."""
    dark = scheme == "dark"
    phone = {"width": 360, "height": 740}
    visitor = await arrive(viewport=phone, color_scheme=scheme, has_touch=True, is_mobile=True)
    page = visitor.page
    await page.goto("/")
    await looks_right(visitor, dark=dark)
    await visitor.sign_in()
    for place in ("/", "/connect", "/connect/ironbank_br_retail", "/unsure", "/nothing"):
        await page.goto(place)
        await looks_right(visitor, dark=dark)
    await visitor.connect(
        Step.error("login_error"),
        visitor.challenge("numeric", value="7319 5511 0042 9931"),
        visitor.challenge("qr"),
        visitor.challenge("inputless", expects_user_input=False),
    )
    await visitor.page.get_by_role("alert").wait_for()
    await looks_right(visitor, dark=dark)
    await visitor.fill_bank_form()
    await visitor.button("Log in at the bank").click()
    for heading in ("Your bank asks", "Scan this code"):
        await visitor.says(heading)
        await looks_right(visitor, dark=dark)
        await visitor.answer()
    await visitor.says("Confirm in your bank's app")
    await looks_right(visitor, dark=dark)
    visitor.confirm()
    await visitor.button("I have confirmed").click()
    await visitor.says("Your account is connected")
    await looks_right(visitor, dark=dark)
    link_id = str(house.box.links[0]["id"])
    house.box.set_status(link_id, "token_required")
    await visitor.webhook(link_id)
    await visitor.comes_back_until("Your bank wants to see you")
    await looks_right(visitor, dark=dark)
    await page.get_by_role("listitem").get_by_role("link").click()
    await looks_right(visitor, dark=dark)


async def test_everything_works_without_javascript(arrive: Arrive, house: House) -> None:
    """But for the live status: one looks again by oneself."""
    visitor = await (await arrive(java_script_enabled=False)).sign_in()
    await visitor.connect(visitor.challenge("inputless", expects_user_input=False), visitor.challenge())
    await visitor.says("Confirm in your bank's app")
    await visitor.reads("Time left: 160 min")
    await visitor.button("I have confirmed").click()
    await visitor.reads("The bank has not seen your confirmation yet.")
    visitor.confirm()
    await visitor.button("I have confirmed").click()
    await visitor.says("Your bank asks")
    visitor.slow("PATCH", 2)
    await visitor.page.get_by_label("Your answer").fill(visitor.token)
    await visitor.press_twice("Send", "PATCH")
    await visitor.says("Your bank is checking")  # and goes on by itself
    await visitor.is_connected()


async def test_a_keyboard_is_enough(arrive: Arrive, house: House) -> None:
    """From signing in to the end, and one sees where one is."""
    visitor = await arrive()
    page = visitor.page
    keys = page.keyboard

    async def to(role: str, name: str) -> None:
        wanted = page.get_by_role(role, name=name, exact=True)  # type: ignore[arg-type]  # a literal, said by the test
        await wanted.wait_for()
        for _ in range(40):
            await keys.press("Tab")
            if await wanted.evaluate("element => element === document.activeElement"):
                assert await wanted.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
                return
        raise AssertionError(f"{name} cannot be reached")

    await page.goto("/")
    await to("textbox", "Your name")
    await keys.type(visitor.name)
    await keys.press("Enter")
    await to("link", "Connect an account")
    await keys.press("Enter")
    await to("link", BANK)
    await keys.press("Enter")
    visitor.box.script(visitor.username, [visitor.challenge()])
    await to("textbox", "User name")
    await keys.type(visitor.username)
    await keys.press("Tab")
    await keys.type(visitor.password())
    await to("button", "Log in at the bank")
    await keys.press("Space")
    await to("textbox", "Your answer")
    await keys.type(visitor.token)
    await keys.press("Enter")
    await to("link", "See your accounts")
    await keys.press("Enter")
    await visitor.sees_account("connected")
    await to("button", "Sign out")
    await keys.press("Enter")
    await visitor.says("Sign in")
