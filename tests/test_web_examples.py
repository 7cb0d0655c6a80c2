"""The small web examples, asked over a socket as a browser would."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from belvo_links import BelvoLinks, Link
from belvo_links.sandbox import Fault, Sandbox, Step
from belvo_links.webhooks import parse_webhook
from examples.web_aiohttp import app as small
from examples.webhooks.receiver import Inbox, Receiver, main, serving

TOKEN = "111111"
PASSWORD = "canary-password"
Browser = TestClient[aiohttp.web.Request, aiohttp.web.Application]
BEARER = "Bearer of-a-test"


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox() as box:
        yield box


@pytest.fixture
async def server(box: Sandbox) -> AsyncIterator[TestServer]:
    belvo = BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, **box.client_options)
    server = TestServer(small.create_app(belvo))
    async with server:
        yield server


@pytest.fixture
async def browser(server: TestServer) -> AsyncIterator[Browser]:
    async with TestClient(server, cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        yield browser


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, page
    return found[1]


async def connect(browser: Browser, user: str, password: str = PASSWORD) -> tuple[str, str]:
    """Type user name and password; return where that leads to, and the page."""
    form = await (await browser.get("/")).text()
    assert "User name" in form
    assert "Password" in form
    typed = {"csrf": field(form, "csrf"), "username": user, "password": password}
    async with browser.post("/", data=typed) as reply:
        page = await reply.text()
        assert PASSWORD not in page
        assert reply.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        return reply.url.path, page


async def answer(browser: Browser, place: str, page: str, token: str | None = TOKEN) -> str:
    """Send the form of a page."""
    typed = {"csrf": field(page, "csrf"), "round": field(page, "round")}
    async with browser.post(place, data=typed | ({"token": token} if token else {})) as reply:
        assert reply.url.path == place
        return await reply.text()


def test_the_smallest_form_is_small() -> None:
    """Under 200 lines, all of it."""
    assert len(Path(small.__file__).read_text().splitlines()) < 200


@pytest.mark.parametrize(
    "user, password, shown",
    [("mfa_default", "pass_valid", "code"), ("mfa_numeric", "numeric_code", "12345"), ("mfa_qr", "qr_code", "<svg")],
)
async def test_every_kind_of_token_connects(
    browser: Browser, box: Sandbox, user: str, password: str, shown: str
) -> None:
    place, page = await connect(browser, user, password)
    assert place.startswith("/logins/")
    assert shown in page
    assert "Your account is connected" in await answer(browser, place, page)
    box.assert_token_sent_once()
    assert box.links[0]["status"] == "valid"


async def test_a_confirmation_elsewhere_needs_no_token(browser: Browser, box: Sandbox) -> None:
    place, page = await connect(browser, "sim_mfa_inputless")
    assert "I have confirmed" in page
    page = await answer(browser, place, page, None)  # too early: the next round of the same question
    assert "Question 2" in page
    assert "Your account is connected" in await answer(browser, place, page, None)


async def test_without_a_second_factor_it_is_done_at_once(browser: Browser) -> None:
    _, page = await connect(browser, "bnk100", "full")
    assert "Your account is connected" in page


async def test_a_second_question_follows_and_an_old_form_spends_nothing(browser: Browser, box: Sandbox) -> None:
    place, first = await connect(browser, "sim_mfa_chain")
    second = await answer(browser, place, first)
    assert "Question 2" in second
    assert "Question 2" in await answer(browser, place, first)  # the form of the first round, sent again
    assert box.tokens == [TOKEN]
    assert "Your account is connected" in await answer(browser, place, second)


async def test_two_clicks_send_one_token(browser: Browser, box: Sandbox) -> None:
    place, page = await connect(browser, "mfa_default", "pass_valid")
    await asyncio.gather(answer(browser, place, page), answer(browser, place, page))
    box.assert_token_sent_once()


async def test_a_lost_reply_is_explained_and_found_out_by_looking(browser: Browser, box: Sandbox) -> None:
    place, page = await connect(browser, "mfa_default", "pass_valid")
    box.inject(Fault.drop_before(), method="PATCH", template="/api/links/")
    page = await answer(browser, place, page)
    assert "We could not tell" in page
    async with browser.post(f"{place}/look", data={"csrf": field(page, "csrf")}) as reply:
        assert "We could not tell" in await reply.text()
    box.advance(hours=3)
    async with browser.post(f"{place}/look", data={"csrf": field(page, "csrf")}) as reply:
        assert "The time is over" in await reply.text()
    box.assert_token_sent_once()


async def test_what_is_too_late_is_not_sent(browser: Browser, box: Sandbox) -> None:
    place, page = await connect(browser, "mfa_default", "pass_valid")
    box.advance(hours=3)
    assert "The time is over" in await answer(browser, place, page)
    box.assert_nothing_sent("PATCH", "/api/links/")


async def test_refusals_are_told_without_what_was_typed(browser: Browser, box: Sandbox) -> None:
    _, page = await connect(browser, "sim_account_locked")
    assert "account_locked" in page
    _, page = await connect(browser, "sim_institution_down")
    assert "That did not work" in page
    place, page = await connect(browser, "sim_mfa_login_error")
    assert "did not take" in (await answer(browser, place, page))
    async with browser.get(place) as reply:
        assert "Your bank refused the login" in await reply.text()


async def test_a_form_without_its_answer_is_incomplete(browser: Browser, box: Sandbox) -> None:
    place, page = await connect(browser, "mfa_default", "pass_valid")
    for typed in ({"round": "1"}, {"round": "one", "token": TOKEN}):
        async with browser.post(place, data={"csrf": field(page, "csrf")} | typed) as reply:
            assert reply.status == 422
    box.assert_nothing_sent("PATCH", "/api/links/")


async def test_words_of_the_bank_are_text(browser: Browser, box: Sandbox) -> None:
    box.script("hostile", [Step.challenge("text", instructions="<script>alert(1)</script>", value="<b>"), "link"])
    _, page = await connect(browser, "hostile", "any")
    assert "<script>" not in page
    assert "&lt;b&gt;" in page


async def test_somebody_elses_login_does_not_exist_and_foreign_forms_are_refused(
    browser: Browser, server: TestServer, box: Sandbox
) -> None:
    place, page = await connect(browser, "mfa_default", "pass_valid")
    assert (await browser.get("/logins/never")).status == 404
    async with TestClient(server, cookie_jar=aiohttp.CookieJar(unsafe=True)) as other:
        assert (await other.get(place)).url.path == "/"  # a stranger, who is given a number first
        assert (await other.get(place)).status == 404
        typed = {"csrf": field(page, "csrf"), "round": "1", "token": TOKEN}
        assert (await other.post(place, data=typed)).status == 403
    box.assert_nothing_sent("PATCH", "/api/links/")


async def test_the_receiver_reads_the_link_once_for_each_event(box: Sandbox, tmp_path: Path) -> None:
    """What comes twice is looked at once; strangers and nonsense are refused; a link that is gone is told as that."""
    acted: list[tuple[str, str | None]] = []
    seen = asyncio.Event()

    async def act(link_id: str, link: Link | None) -> None:
        acted.append((link_id, None if link is None else str(link.status)))
        seen.set()

    inbox = Inbox(tmp_path / "inbox.db")
    event = {"webhook_id": "a" * 32, "webhook_type": "LINK", "webhook_code": "invalid_credentials"}
    async with BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, **box.client_options) as belvo:
        receiver = Receiver(belvo, inbox, authorization=[BEARER], act=act)
        async with serving(receiver) as url, aiohttp.ClientSession() as http:

            async def tell(body: object, authorization: str = BEARER) -> int:
                async with http.post(url, json=body, headers={"Authorization": authorization}) as reply:
                    return reply.status

            [link_id] = box.add_links(1, status="invalid")
            assert await tell({**event, "link_id": link_id}, "Bearer of-somebody") == 401
            assert await tell(["no event"]) == 400
            assert acted == []
            assert await tell({**event, "link_id": link_id, "request_id": "1" * 32}) == 204
            await seen.wait()
            seen.clear()
            assert await tell({**event, "link_id": link_id, "request_id": "1" * 32}) == 204
            [other] = box.add_links(1)  # looked at after whatever came before, so that a second look would show
            assert await tell({**event, "link_id": other, "request_id": "1" * 32}) == 204
            await seen.wait()
            seen.clear()
            assert acted == [(link_id, "invalid"), (other, "valid")]
            box.remove_link(link_id)
            box.inject(Fault.status(500), method="GET", times=3)  # could not be read: the next event tries again
            assert await tell({**event, "link_id": link_id, "request_id": "2" * 32}) == 204
            async with asyncio.timeout(10):
                while box.count("GET", "/api/links/{id}/") < 5:  # noqa: ASYNC110  # two, and the next one's three
                    await asyncio.sleep(0.01)
            assert await tell({**event, "link_id": link_id, "request_id": "3" * 32}) == 204
            await seen.wait()
    inbox.close()
    assert acted == [(link_id, "invalid"), (other, "valid"), (link_id, None)]


def test_the_inbox_tells_what_is_new(tmp_path: Path) -> None:
    """Also to the process after the one that has worked on it."""
    link_id = "e4bb1afb-4a4f-4dd6-8be0-e615d233185b"
    fields = {"webhook_id": "a" * 32, "webhook_type": "LINK", "webhook_code": "invalid_credentials", "link_id": link_id}
    body = json.dumps(fields).encode()
    event = parse_webhook(body, {"Authorization": BEARER}, authorization=BEARER)
    for new in (True, False):
        inbox = Inbox(tmp_path / "inbox.db")
        assert inbox.add(event) is new
        assert inbox.waiting() == [link_id] * new
        inbox.done(link_id)
        inbox.close()


async def test_the_receiver_shows_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await main(tmp_path)
    assert "Ask this person to log in again" in capsys.readouterr().out
