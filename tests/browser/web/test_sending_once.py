"""Whatever a person does to a page, each answer goes out once, and to the question that it was for."""

from __future__ import annotations

import pytest

from belvo_links.sandbox import Fault, Step
from tests.browser.web.house import House
from tests.browser.web.visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_second_click_on_the_banks_form_logs_in_once(visitor: Visitor, house: House) -> None:
    """And leads to where the first one does."""
    await visitor.fill_bank_form(visitor.challenge())
    visitor.slow("POST", 2)
    await visitor.press_twice("Log in at the bank", "POST")
    await visitor.says("One moment")
    await visitor.says("Your bank asks")
    assert house.front.count("POST /connect/") == 2
    assert house.box.count("POST") == 1
    await visitor.answer()
    await visitor.is_connected()


async def test_a_second_click_on_an_answer_sends_it_once(visitor: Visitor, house: House) -> None:
    """The page then waits with the person."""
    await visitor.connect(visitor.challenge())
    await visitor.page.get_by_label("Your answer").fill(visitor.token)
    visitor.slow("PATCH", 2)
    await visitor.press_twice("Send", "PATCH")
    await visitor.says("Your bank is checking")
    await visitor.is_connected()
    assert house.front.count("POST /logins/") == 2
    assert house.box.count("PATCH") == 1


async def test_a_double_click_is_no_better(visitor: Visitor, house: House) -> None:
    """As fast as a mouse can."""
    await visitor.fill_bank_form(visitor.challenge())
    await visitor.button("Log in at the bank").dblclick()
    await visitor.says("Your bank asks")
    await visitor.page.get_by_label("Your answer").fill(visitor.token)
    await visitor.button("Send").dblclick()
    await visitor.is_connected()
    assert (house.box.count("POST"), house.box.count("PATCH")) == (1, 1)


async def test_the_form_of_an_earlier_question_does_not_answer_the_next_one(visitor: Visitor, house: House) -> None:
    """Another tab still shows it; what is typed there is sent nowhere."""
    await visitor.connect(visitor.challenge())
    await visitor.says("Your bank asks")
    old = await visitor.other_tab(live=False)
    await visitor.answer("wrong-canary")
    await visitor.reads("This is question 2.")
    await old.answer()
    await old.reads("for an earlier question, so it was not sent.")
    await old.reads("This is question 2.")
    assert house.box.count("PATCH") == 1
    await old.answer()
    await old.says("Your account is connected")
    await visitor.page.bring_to_front()
    await visitor.is_connected()


async def test_two_tabs_show_the_same(visitor: Visitor) -> None:
    """The live status brings the one along when the other has answered."""
    await visitor.connect(visitor.challenge())
    await visitor.says("Your bank asks")
    other = await visitor.other_tab()
    await other.answer("wrong-canary")
    await other.reads("This is question 2.")
    await visitor.page.bring_to_front()
    await visitor.reads("This is question 2.")
    await visitor.answer()
    await visitor.says("Your account is connected")
    await other.page.bring_to_front()
    await other.says("Your account is connected")


async def test_the_back_button_shows_how_it_stands_now(visitor: Visitor, house: House) -> None:
    """Never an old question, nor a form that was sent."""
    await visitor.connect(visitor.challenge(), visitor.challenge("numeric", value="4711"))
    await visitor.answer()
    await visitor.reads("4711")
    await visitor.page.go_back()
    await visitor.reads("4711")
    await visitor.page.go_back()
    assert await visitor.page.get_by_label("Password").input_value() == ""
    await visitor.page.go_forward()
    await visitor.reads("4711")
    await visitor.answer()
    await visitor.says("Your account is connected")
    await visitor.page.go_back()
    await visitor.says("Your account is connected")
    assert house.box.count("POST") == 1


async def test_a_second_click_on_a_renewal_logs_in_once(visitor: Visitor, house: House) -> None:
    await visitor.connect(Step.link(), visitor.challenge())
    await visitor.page.get_by_role("listitem").get_by_role("link").click()
    await visitor.page.get_by_label("Password").fill(visitor.password())
    visitor.box.inject(Fault.delay_after(2), method="PUT")
    await visitor.press_twice("Log in at the bank", "PUT")
    await visitor.says("Your bank asks")
    assert house.box.count("PUT") == 1
    await visitor.answer()
    await visitor.is_connected()
