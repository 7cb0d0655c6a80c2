"""Connecting an account: every kind of question, and every way in which it ends."""

from __future__ import annotations

import pytest

from belvo_links.sandbox import Fault, Step
from tests.browser.web.house import House
from tests.browser.web.visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

WRONG = "Invalid credentials provided to login to the institution"


async def test_a_bank_without_a_second_factor_connects_at_once(visitor: Visitor) -> None:
    await visitor.connect(Step.link())
    await visitor.sees_account("connected")


async def test_every_kind_of_question_has_its_page(visitor: Visitor) -> None:
    """What the bank says, what it shows, how much time is left; a confirmation elsewhere takes a button, no answer."""
    await visitor.connect(
        visitor.challenge("text", instructions="What is the code?"),
        visitor.challenge("numeric", value="73195"),
        visitor.challenge("qr"),
        visitor.challenge("qr", expects_user_input=False, instructions="Scan, that is all"),
        visitor.challenge("inputless"),
    )
    await visitor.says("Your bank asks")
    await visitor.reads("What is the code?")
    await visitor.page.get_by_role("timer").filter(has_text="159:").wait_for()
    await visitor.answer()
    await visitor.reads("73195")
    await visitor.answer()
    await visitor.says("Scan this code")
    picture = visitor.page.get_by_role("img", name="QR code for your bank's app")
    assert await picture.evaluate("async image => { await image.decode(); return image.naturalWidth }") >= 240
    await visitor.answer()
    await visitor.reads("Scan, that is all")
    assert await visitor.page.get_by_label("Your answer").count() == 0
    visitor.confirm()
    await visitor.button("I have confirmed").click()
    await visitor.says("Confirm in your bank's app")
    await visitor.button("I have confirmed").click()
    await visitor.reads("The bank has not seen your confirmation yet.")
    visitor.confirm()
    await visitor.button("I have confirmed").click()
    await visitor.is_connected()
    assert visitor.box.tokens == [visitor.token] * 3


async def test_a_wrong_answer_is_asked_again(visitor: Visitor) -> None:
    await visitor.connect(visitor.challenge())
    await visitor.answer("wrong-canary")
    await visitor.reads("The bank did not take this answer, or has another question.")
    await visitor.reads("This is question 2.")
    await visitor.answer()
    await visitor.is_connected()


async def test_the_time_that_is_left_ends(visitor: Visitor) -> None:
    """The countdown reaches zero and the page changes, even without the live status; a form of before sends nothing."""
    await visitor.page.route("**/events", lambda route: route.fulfill(status=204))
    await visitor.connect(visitor.challenge(expiry=2))
    await visitor.says("Your bank asks")
    late = await visitor.other_tab(live=False)
    await visitor.page.bring_to_front()
    await visitor.says("The time is over")
    await late.answer()
    await late.says("The time is over")
    assert visitor.box.tokens == []
    await visitor.page.get_by_role("link", name="Begin again").click()
    await visitor.says("Choose your bank")


async def test_a_lost_reply_is_not_guessed_about(visitor: Visitor) -> None:
    """The page says what is known, the answer is not sent again, and looking again finds out."""
    await visitor.connect(visitor.challenge())
    visitor.box.inject(Fault.drop_during(0.5), method="PATCH", template="/api/links/")
    await visitor.answer()
    await visitor.says("We could not tell")
    await visitor.reads("Your answer was to question")
    for _ in range(50):
        await visitor.button("Look again").click()
        await visitor.page.get_by_role("heading", level=1).wait_for()
        if await visitor.page.get_by_text("Your account is connected").count():
            break
        await visitor.reads("We still could not find out.")
    await visitor.is_connected()
    assert visitor.box.count("PATCH") == 1


async def test_a_lost_registration_is_looked_for_and_not_repeated(visitor: Visitor) -> None:
    """What is found belongs to this person, and is not somebody else's."""
    await visitor.connect(Step.link(fault=Fault.drop_after()))
    await visitor.says("We could not tell")
    visitor.box.add_links(1, external_id="somebody-else")
    await visitor.button("Look for my account").click()
    await visitor.reads("We have found your account.")
    assert await visitor.page.get_by_role("listitem").count() == 1
    await visitor.page.goto("/unsure")
    await visitor.button("Look for my account").click()
    await visitor.reads("We found no new account.")


async def test_a_refused_login_can_be_tried_again(visitor: Visitor) -> None:
    """What was typed is not shown again."""
    await visitor.connect(Step.error("login_error", WRONG), Step.link())
    await visitor.reads("The bank does not know this user name with this password.")
    assert (await visitor.page.title()).startswith("Problem: ")
    assert await visitor.page.get_by_label("Password").input_value() == ""
    await visitor.page.get_by_label("User name").fill(visitor.username)
    await visitor.page.get_by_label("Password").fill(visitor.password())
    await visitor.button("Log in at the bank").click()
    await visitor.sees_account("connected")


async def test_a_refused_answer_ends_it(visitor: Visitor) -> None:
    await visitor.connect(visitor.challenge(), Step.error("login_error"))
    await visitor.answer()
    await visitor.says("Your bank refused the login")


async def test_a_login_can_be_given_up(visitor: Visitor) -> None:
    """The link that it has begun is deleted."""
    await visitor.connect(visitor.challenge())
    await visitor.button("Cancel").click()
    await visitor.reads("You have cancelled.")
    assert visitor.box.count("DELETE") == 1
    await visitor.page.go_back()
    await visitor.says("You have cancelled")


async def test_the_form_is_what_the_bank_asks_for(visitor: Visitor, house: House) -> None:
    """Its fields, its choices and its rules, which the browser checks before anything is sent."""
    page = visitor.page
    await page.goto("/connect")
    await page.get_by_role("link", name="Iron Bank", exact=True).click()
    await page.get_by_label("User name", exact=True).fill("no such name!")
    await page.get_by_label("Second user name").fill("valid")
    await page.get_by_label("Document type").select_option("Works")
    await page.get_by_label("Password", exact=True).fill(visitor.password())
    await page.get_by_label("Second password").fill("valid")
    await visitor.button("Log in at the bank").click()
    name = page.get_by_label("User name", exact=True)
    assert await name.evaluate("field => field.validity.patternMismatch")
    assert await name.get_attribute("title") == "Invalid user name"
    house.box.assert_nothing_sent("POST")
    await name.fill(visitor.username)
    await visitor.button("Log in at the bank").click()
    await visitor.sees_account("connected")
    sent = next(each.body for each in house.box.requests if each.method == "POST")
    assert isinstance(sent, dict)
    assert sent["username_type"] == "003"
    assert (sent["username2"], sent["password2"]) == ("valid", "valid")
