"""What a person sees and does on the page of the simulator."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from belvo_links.client.links import BelvoLinks
from belvo_links.client.pending import PendingSession
from belvo_links.errors import ServerError
from belvo_links.protocol.credentials import Credentials
from belvo_links.protocol.models import Link
from belvo_links.sandbox import Sandbox
from tests.browser.looking import Looker

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="session")

BANK = "heimdall_mx_retail"


async def challenged(belvo: BelvoLinks, username: str, password: str = "any") -> PendingSession:
    outcome = await belvo.register(BANK, Credentials(username, password), access_mode="single")
    assert isinstance(outcome, PendingSession)
    return outcome


def link_of(pending: PendingSession) -> str:
    assert pending.link_id
    return pending.link_id


# --- Logins


@pytest.mark.parametrize(
    "username, password, rounds",
    [
        ("mfa_default", "pass_valid", ["Enter the code sent to your phone"]),
        ("mfa_numeric", "numeric_code", ["12345"]),
        ("mfa_qr", "qr_code", ["Scan the QR code with your bank app"]),
        ("sim_mfa_chain3", "any", ["12345", "Enter the code sent to your phone", "Scan the QR code"]),
    ],
)
async def test_the_token_on_the_page_completes_the_login(
    looker: Looker, belvo: BelvoLinks, username: str, password: str, rounds: list[str]
) -> None:
    """The page shows each challenge by itself, and lets go of it once it is answered."""
    outcome: Link | PendingSession = await challenged(belvo, username, password)
    for number, shown in enumerate(rounds, 1):
        assert isinstance(outcome, PendingSession)
        card = looker.login(link_of(outcome))
        await card.filter(has_text=shown).filter(has_text=f"round {number}").wait_for()
        outcome = await outcome.complete(await looker.token(link_of(outcome)))
    assert isinstance(outcome, Link)
    await looker.login(outcome.id).wait_for(state="detached")
    await looker.link(outcome.id).locator(".status.valid").wait_for()


async def test_a_wrong_token_begins_another_round(looker: Looker, belvo: BelvoLinks) -> None:
    """Which the page counts."""
    pending = await challenged(belvo, "mfa_default", "pass_valid")
    again = await pending.complete("999999")
    assert isinstance(again, PendingSession)
    await looker.login(link_of(pending)).filter(has_text="round 2").wait_for()


async def test_the_picture_can_be_seen(looker: Looker, belvo: BelvoLinks, box: Sandbox) -> None:
    """It is the one that the API gave, and the browser could draw it."""
    pending = await challenged(belvo, "mfa_qr", "qr_code")
    picture = looker.login(link_of(pending)).get_by_role("img", name="QR code of this login")
    await picture.wait_for()
    assert await picture.evaluate("async image => { await image.decode(); return image.naturalWidth }") == 132
    source = await picture.get_attribute("src")
    assert source
    assert base64.b64decode(source.partition(",")[2]).startswith(b"\x89PNG")
    assert source.endswith(str(box.logins[0].value))


async def test_a_button_confirms_elsewhere(looker: Looker, belvo: BelvoLinks) -> None:
    """Until it is pressed, nothing goes through."""
    pending = await challenged(belvo, "sim_mfa_inputless")
    early = await pending.complete()
    assert isinstance(early, PendingSession)
    card = looker.login(link_of(pending))
    await card.filter(has_text="round 2").wait_for()
    await card.get_by_role("button", name="Confirm in the bank's app").click()
    await card.filter(has_text="Confirmed: the next Complete goes through.").wait_for()
    assert isinstance(await early.complete(), Link)


# --- Time


async def test_time_that_is_moved_ends_a_login_and_changes_a_link(
    looker: Looker, belvo: BelvoLinks, box: Sandbox
) -> None:
    """The page follows, countdowns included."""
    pending = await challenged(belvo, "mfa_default", "pass_valid")
    lapsing = await belvo.register(BANK, Credentials("sim_lapse_invalid", "any"), access_mode="recurrent")
    assert isinstance(lapsing, Link)
    card = looker.login(link_of(pending))
    await card.filter(has_text="2:40:00").wait_for()
    await looker.page.get_by_role("button", name="Advance 15 minutes").click()
    await card.filter(has_text="2:25:00").wait_for()
    await looker.said("#time .result", "It is 2026-03-01 09:15:00 now.")
    await looker.page.get_by_role("button", name="Advance 3 hours").click()
    await card.wait_for(state="detached")
    await looker.link(link_of(pending)).get_by_text("History").click()
    await looker.said(".history li", "login expired")
    await looker.link(lapsing.id).locator(".status.valid").wait_for()
    await looker.page.get_by_label("Advance by").fill("8")
    await looker.page.get_by_label("Unit").select_option("days")
    await looker.page.get_by_role("button", name="Advance", exact=True).click()
    await looker.link(lapsing.id).locator(".status.invalid").wait_for()
    assert (await looker.page.locator("#clock").inner_text()) == "2026-03-09 12:15:00"
    assert f"{box.clock():%Y-%m-%d %H:%M:%S}" == "2026-03-09 12:15:00"


async def test_a_countdown_that_ends_soon_is_seen(looker: Looker, belvo: BelvoLinks, box: Sandbox) -> None:
    """It counts the simulated time, not the browser's."""
    pending = await challenged(belvo, "sim_mfa_text")
    left = looker.login(link_of(pending)).locator(".countdown")
    await left.filter(has_text="12:00").wait_for()
    box.advance(minutes=11, seconds=15)
    await left.filter(has_text="0:45").wait_for()
    assert "soon" in (await left.get_attribute("class") or "")


# --- Faults and requests


async def test_a_fault_of_the_page_is_met_by_the_next_call(looker: Looker, belvo: BelvoLinks) -> None:
    """And then it waits no more."""
    await looker.page.get_by_label("Who meets it").select_option("POST /api/links/")
    await looker.page.get_by_label("What happens").select_option("a status instead")
    await looker.page.get_by_label("Status", exact=True).fill("503")
    await looker.page.get_by_role("button", name="Inject").click()
    await looker.said("#faults ol", "status 503 for POST /api/links/, once")
    with pytest.raises(ServerError):
        await belvo.register(BANK, Credentials("bnk100", "full"))
    await looker.said("#faults .empty", "No fault waits.")
    await looker.said(".log li.bad", "503")


async def test_faults_are_cleared(looker: Looker, belvo: BelvoLinks) -> None:
    """Before anything has met them."""
    await looker.page.get_by_label("How often").select_option("until cleared")
    await looker.page.get_by_role("button", name="Inject").click()
    await looker.said("#faults ol", "until cleared")
    await looker.page.get_by_role("button", name="Clear faults and scripts").click()
    await looker.said("#faults .empty", "No fault waits.")
    assert await belvo.count() == 0


async def test_what_cannot_be_done_is_said_beside_the_button(looker: Looker) -> None:
    """In the simulator's words."""
    await looker.page.locator("#amount").evaluate("field => { field.type = 'text'; field.value = 'soon' }")
    await looker.page.get_by_role("button", name="Advance", exact=True).click()
    await looker.said("#time .result.failed", "Amount is a number that is not negative.")
    # The browser notes every reply of 400.
    assert len(looker.problems) == 1
    looker.problems.clear()


async def test_requests_appear_by_themselves_and_without_secrets(
    looker: Looker, belvo: BelvoLinks, box: Sandbox
) -> None:
    """The last one first."""
    await looker.said("#requests", "Nothing has come yet.")
    await belvo.register(BANK, Credentials("bnk100", "canary_4711"), external_id="user-1")
    await belvo.count()
    await looker.said(".log li:nth-child(1)", "GET")
    await looker.said(".log li:nth-child(2)", "POST")
    await looker.page.locator(".log li:nth-child(2) summary").click()
    await looker.said(".log pre", '"external_id": "user-1"')
    await looker.said(".log pre", '"password": "•••"')
    content = await looker.page.content()
    authorization = box.requests[0].headers["authorization"].split()[1]
    for secret in ("canary_4711", box.secret_password, authorization):
        assert secret not in content


# --- While one looks


async def test_what_one_has_opened_stays_open_and_focus_stays(
    look: Callable[..., Awaitable[Looker]], belvo: BelvoLinks, box: Sandbox
) -> None:
    """Although the part around it is replaced."""
    looker = await look(viewport={"width": 1200, "height": 400})
    page = await looker.enter()
    pending = await challenged(belvo, "sim_mfa_inputless")
    history = looker.link(link_of(pending)).locator("summary")
    await history.click()
    button = looker.login(link_of(pending)).get_by_role("button")
    await button.focus()
    await page.evaluate("window.scrollTo(0, 150)")
    [link_id] = box.add_links(1)
    await challenged(belvo, "sim_mfa_text")
    await looker.link(link_id).wait_for()
    await looker.said(".login", "sim_mfa_text")
    assert await looker.link(link_of(pending)).locator("ol").is_visible()
    assert await button.evaluate("button => button === document.activeElement")
    assert await page.evaluate("window.scrollY") > 0


async def test_what_is_being_selected_is_left_alone(looker: Looker, belvo: BelvoLinks, box: Sandbox) -> None:
    """So that it can be copied."""
    pending = await challenged(belvo, "sim_mfa_text")
    token = looker.login(link_of(pending)).locator(".token")
    await token.click()  # one click selects all of it
    await challenged(belvo, "sim_mfa_chain")
    await looker.said(".log li:nth-child(2)", "428")
    assert await looker.page.evaluate("String(document.getSelection())") == "111111"
    await looker.page.evaluate("document.getSelection().removeAllRanges()")
    await looker.said(".login", "sim_mfa_chain")


async def test_the_page_is_no_burden(look: Callable[..., Awaitable[Looker]]) -> None:
    """It asks once a second, and not at all while nobody looks."""
    looker = await look()
    page = looker.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/live" in request.url else None)
    await page.clock.install()
    await looker.enter()
    for number in range(1, 6):
        async with page.expect_response("**/_sandbox/live?*"):
            await page.clock.run_for(1000)
        assert len(asked) == number + 1
    hidden = "Object.defineProperty(document, 'hidden', {{ value: {}, configurable: true }});"
    changed = "document.dispatchEvent(new Event('visibilitychange'))"
    await page.evaluate(hidden.format("true"))  # while the next question is due already
    async with page.expect_response("**/_sandbox/live?*"):
        await page.clock.run_for(1000)
    await wait_in_vain(page)
    assert len(asked) == 7
    async with page.expect_response("**/_sandbox/live?*"):
        await page.evaluate(hidden.format("false") + changed)
    async with page.expect_response("**/_sandbox/live?*"):
        await page.clock.run_for(1000)
    await page.evaluate(hidden.format("true") + changed)
    await wait_in_vain(page)
    assert len(asked) == 9


async def wait_in_vain(page: Page) -> None:
    """A while in which whatever is due is done, also what a reply has made due."""
    for _ in range(5):
        await page.clock.run_for(3000)
        await page.evaluate("fetch('/_sandbox/page.css').then(reply => reply.text())")


async def test_a_simulator_that_ends_and_comes_back_is_noticed(
    look: Callable[..., Awaitable[Looker]], belvo: BelvoLinks, box: Sandbox
) -> None:
    """The page says so, and goes on by itself."""
    looker = await look()
    await looker.enter()
    box._port = int(box.url.rpartition(":")[2])
    await box.stop()
    await looker.said("#connection.lost", "Connection lost")
    await box.start()
    await looker.said("#connection:not(.lost)", "live")
    await challenged(belvo, "sim_mfa_text")
    await looker.said(".login", "sim_mfa_text")
    assert all("Failed to load resource" in problem for problem in looker.problems)
    looker.problems.clear()


async def test_a_simulator_with_another_key_is_not_looked_at(
    look: Callable[..., Awaitable[Looker]], box: Sandbox
) -> None:
    """A new start has a new key; the page says what to do."""
    looker = await look()
    await looker.enter()
    port = int(box.url.rpartition(":")[2])
    await box.stop()
    async with Sandbox(port=port, control_key="another-key-of-tests"):
        await looker.said("#connection.lost", "The simulator has started anew")
    looker.problems.clear()
