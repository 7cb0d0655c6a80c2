"""What the page shows, and what it never does."""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from belvo_links.sandbox import Fault, Sandbox, Step
from belvo_links.sandbox.control import history, views
from tests.sandbox.conftest import START
from tests.sandbox.visiting import KEY, Visitor

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    "\u202egnp.exe\u2066",
    "{{ 7 * 7 }}{% raw %}",
    "x" * 5000,
]


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(clock=lambda: START, control_key=KEY, record_limit=50) as sandbox:
        yield sandbox


@pytest.fixture
def api(box: Sandbox, open_api: Callable[[Sandbox], Any]) -> Any:
    return open_api(box)


@pytest.fixture
async def visitor(box: Sandbox, http: aiohttp.ClientSession) -> Visitor:
    visitor = Visitor(box, http)
    await visitor.enter()
    return visitor


async def test_an_empty_simulator_says_so(visitor: Visitor) -> None:
    """Each part in its own words."""
    words = (await visitor.page()).words
    for said in (
        "No login waits for anything.",
        "There are no links yet.",
        "No fault waits.",
        "Nothing has come yet.",
        "2026-03-01 09:00:00 UTC",
    ):
        assert said in words


# --- Logins


async def test_every_kind_of_challenge_is_shown(api: Any, visitor: Visitor) -> None:
    """Its instructions, what the bank shows, and what would be accepted."""
    await api.challenge("sim_mfa_text")
    page = await visitor.page()
    assert "Enter the code sent to your phone Token 111111" in page.words
    assert "Time left: 12:00" in page.words
    await api.challenge("sim_mfa_chain")
    assert "The bank shows 12345 Token 111111" in (await visitor.page()).words
    await api.challenge("sim_mfa_inputless")
    page = await visitor.page()
    assert page.words.count("Token 111111") == 2
    assert "Confirm in the bank's app" in page.words
    qr = await api.challenge("mfa_qr", "qr_code", institution="heimdall_mx_retail")
    picture = qr["token_generation_data"]["value"]
    assert f'src="data:image/png;base64,{picture}"' in (await visitor.page()).text
    assert (await visitor.page()).words.count("Heimdall Bank Mexico register of mfa_qr , round 1") == 0
    assert "2:40:00 register of mfa_qr , round 1" in (await visitor.page()).words


async def test_a_login_is_shown_as_long_as_it_waits(api: Any, box: Sandbox, visitor: Visitor) -> None:
    """Not once it is done, has run out, or its link is gone."""
    first, second, _ = [await api.challenge("sim_mfa_text") for _ in range(3)]
    assert (await visitor.page()).words.count("Token 111111") == 3
    await api.complete(first)
    assert (await visitor.page()).words.count("Token 111111") == 2
    box.remove_link(second["link"])
    assert (await visitor.page()).words.count("Token 111111") == 1
    box.advance(minutes=12)
    page = (await visitor.page()).words
    assert "No login waits for anything." in page
    assert "2026-03-01 09:12:00 login expired" in page


async def test_a_confirmation_is_given_once(api: Any, box: Sandbox, visitor: Visitor) -> None:
    """Then there is nothing to press, and the next Complete goes through."""
    challenge = await api.challenge("sim_mfa_inputless")
    reply = await visitor.send("/_sandbox/confirm", link=challenge["link"])
    assert (reply.status, reply.headers["Location"]) == (303, "/#logins")
    page = await visitor.page()
    assert "Confirmed: the next Complete goes through." in page.words
    assert 'action="/_sandbox/confirm"' not in page.text
    assert (await api.complete(challenge, None)).status == 201


async def test_only_so_many_logins_are_shown(api: Any, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest ones."""
    monkeypatch.setattr(views, "MOST_LOGINS", 2)
    links = [(await api.challenge("sim_mfa_text"))["link"] for _ in range(3)]
    shown = re.findall(r'id="bank-([^"]+)"', (await visitor.page()).text)
    assert shown == [links[2], links[1]]


# --- Links and their history


def history_of(page: str, link_id: str) -> list[str]:
    part = page[page.index(f'id="history-{link_id}"') :]
    lines = re.findall(r"<li><time[^>]*>([^<]*)</time> <span>([^<]*)</span>", part[: part.index("</ol>")])
    return [f"{at.removeprefix('2026-')} {what}" for at, what in lines]


async def test_the_life_of_a_link_is_told(api: Any, box: Sandbox, visitor: Visitor) -> None:
    """From its creation to its end, each event at the simulated time at which it happened."""
    challenge = await api.challenge("sim_mfa_text", access_mode="single")
    link_id = challenge["link"]
    again = (await api.complete(challenge, "999999")).body[0]
    box.advance(minutes=1)
    assert (await api.complete(again)).status == 201
    box.advance(hours=1)
    assert (await api("POST", f"/api/links/{link_id}/refresh/", {})).status == 202
    box.advance(seconds=3)
    box.set_status(link_id, "invalid")
    assert (await api("PUT", f"/api/links/{link_id}/", {"password": "new", "token": "111111"})).status == 200
    assert (await api("DELETE", f"/api/links/{link_id}/")).status == 204
    page = (await visitor.page()).text
    assert history_of(page, link_id) == [
        "03-01 09:00:00 created",
        "03-01 09:00:00 register: asked for a text token (round 1)",
        "03-01 09:00:00 register: asked again for a text token (round 2)",
        "03-01 09:01:00 register: completed",
        "03-01 09:01:00 status: unconfirmed → valid",
        "03-01 10:01:00 refresh accepted",
        "03-01 10:01:03 status: valid → token_required",
        "03-01 10:01:03 status: token_required → invalid",
        "03-01 10:01:03 status: invalid → valid",
        "03-01 10:01:03 deleted",
    ]
    assert '<p class="status deleted">' in page


async def test_what_time_does_happened_when_it_was_due(api: Any, box: Sandbox, visitor: Visitor) -> None:
    """However far the time is moved at once."""
    recurrent = await api.link_id(access_mode="recurrent")
    lapsing = await api.link_id("sim_lapse_invalid", access_mode="recurrent")
    brief = await api.link_id(access_mode="single", credentials_storage="1d")
    silent = box.add_links(1, access_mode="recurrent")[0]
    deleted = await api.link_id()
    await api("DELETE", f"/api/links/{deleted}/", headers={**api.headers, "X-Belvo-Request-Mode": "async"})
    box.advance(days=15)
    page = (await visitor.page()).text
    assert history_of(page, deleted)[1:] == ["03-01 09:00:03 deleted"]
    assert history_of(page, recurrent)[1:] == ["03-08 09:00:00 accessed", "03-15 09:00:00 accessed"]
    assert history_of(page, lapsing)[1:] == ["03-08 09:00:00 status: valid → invalid"]
    assert history_of(page, brief)[1:] == ["03-02 09:00:00 status: valid → invalid"]
    assert [line.partition(" ")[0] for line in history_of(page, silent)] == ["03-01", "03-15"]
    assert "recurrent, accessed 2026-03-15 09:00:00" in (await visitor.page()).words


async def test_a_change_of_mode_is_told(api: Any, visitor: Visitor) -> None:
    """And a refused login is."""
    link_id = await api.link_id(access_mode="recurrent")
    assert (await api("PATCH", f"/api/links/{link_id}/", {"access_mode": "single"})).status == 200
    refused = await api.challenge("sim_mfa_expired")
    assert (await api.complete(refused)).status == 400
    page = (await visitor.page()).text
    assert history_of(page, link_id)[1:] == ["03-01 09:00:00 access_mode: recurrent → single"]
    assert history_of(page, refused["link"])[2:] == ["03-01 09:00:00 register: refused"]


async def test_refusals_by_a_script_and_of_the_impatient_are_told(
    open_api: Callable[[Sandbox], Any], http: aiohttp.ClientSession
) -> None:
    """They end a login as well."""
    from belvo_links.sandbox import Switches

    switches = Switches(early_complete="login_error", confirm_after=None)
    async with Sandbox(clock=lambda: START, control_key=KEY, switches=switches) as box:
        api = open_api(box)
        box.script("me", [Step.challenge("text"), Step.error("login_error")])
        scripted, early = await api.challenge("me"), await api.challenge("sim_mfa_inputless")
        assert [(await api.complete(each)).status for each in (scripted, early)] == [400, 400]
        visitor = Visitor(box, http)
        await visitor.enter()
        page = (await visitor.page()).text
    for each in (scripted, early):
        assert history_of(page, each["link"])[2:] == ["03-01 09:00:00 register: refused"]


async def test_the_newest_links_of_all_accounts_are_shown(
    api: Any, box: Sandbox, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many, so many; and how many there are."""
    monkeypatch.setattr(views, "MOST_LINKS", 3)
    ids = box.add_links(5)
    other = await api.other_account().link_id("sim_mfa_update", external_id="theirs")
    page = await visitor.page()
    shown = re.findall(r'<details id="history-([^"]+)"', page.text)
    assert shown == [other, *ids[:2]]
    assert "The newest 3 of 6 links." in page.words
    assert "sim_mfa_update for theirs" in page.words


async def test_history_is_bounded(api: Any, box: Sandbox, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some links, some events of each, some that are gone."""
    monkeypatch.setattr(history, "LINKS", 2)
    ids = [await api.link_id() for _ in range(3)]
    for link_id in ids:
        for number in range(history.EVENTS + 5):
            box.set_status(link_id, ("valid", "invalid")[number % 2])
    page = (await visitor.page()).text
    assert [len(history_of(page, link_id)) for link_id in ids] == [1, history.EVENTS + 1, history.EVENTS + 1]
    for link_id in box.add_links(history.GONE + 5):
        box.remove_link(link_id)
    assert (await visitor.page()).text.count("status deleted") == history.GONE


async def test_many_links_have_no_history_until_something_happens(box: Sandbox) -> None:
    """A million of them must not cost more than without the page."""
    assert box._control is not None
    box.add_links(1000)
    assert not box._control._history._events


# --- Requests


async def test_requests_are_shown_the_last_first(api: Any, box: Sandbox, visitor: Visitor) -> None:
    """With their status; those that were broken have none."""
    await api.link_id()
    await api("GET", "/api/links/?page_size=3&status__in=valid")
    box.inject(Fault.drop_before())
    with pytest.raises(aiohttp.ClientError):
        await api("POST", "/api/links/", {})
    words = (await visitor.page()).words
    lines = re.findall(r"\d\d:\d\d:\d\d (GET|POST) (/api/\S*) (\d{3}|no answer)", words)
    assert lines == [
        ("POST", "/api/links/", "no answer"),
        ("GET", "/api/links/", "200"),
        ("POST", "/api/links/", "201"),
    ]
    assert "query page_size=3&status__in=valid" in words
    assert '"institution": "erebor_mx_retail"' in words
    assert "3 requests in all." in words


async def test_the_count_goes_on_where_the_memory_ends(api: Any, box: Sandbox, visitor: Visitor) -> None:
    """The page shows the latest; none is counted twice, and none is lost by emptying the memory."""
    for _ in range(60):
        await api("GET", "/api/links/")
    assert (len(box.requests), box.served) == (50, 60)
    page = await visitor.page()
    assert "60 requests in all." in page.words
    assert page.text.count('class="good"') == views.MOST_REQUESTS
    assert 'id="request-60"' in page.text
    box.requests.clear()
    await api("GET", "/api/links/")
    assert box.served == 61
    assert 'id="request-61"' in (await visitor.page()).text


CANARY = "canary-4711-secret"


async def test_no_secret_is_ever_shown(api: Any, box: Sandbox, visitor: Visitor) -> None:
    """Wherever a client puts it: in fields, in unknown ones, in nested ones, in the query, in headers."""
    await api.register("bnk100", CANARY, token=CANARY, unknown=CANARY, external_id={"deep": CANARY})
    await api.register("bnk100", "full", username2=CANARY, password2=CANARY, fetch_resources=[["x", {"a": CANARY}]])
    await api("PATCH", "/api/links/", {"session": CANARY, "token": CANARY, "link": [CANARY and {"x": CANARY}]})
    await api("PUT", "/api/links/x/", {"password": CANARY, "private_key": CANARY, "certificate": CANARY})
    await api("GET", f"/api/links/?token={CANARY}&{CANARY}&secret__in={CANARY}")
    await api("POST", "/api/links/", [CANARY])
    headers = {**api.headers, "X-Key": CANARY, "Cookie": f"a={CANARY}", "Idempotency-Key": CANARY}
    await api("GET", "/api/links/", headers=headers)
    await api("GET", "/api/links/", headers={"Authorization": f"Basic {CANARY}"})
    page = (await visitor.page()).text
    requests = await visitor.read("/_sandbox/requests")
    assert requests["served"] == 8
    for shown in (page, str(requests)):
        assert "•••" in shown
        for secret in (CANARY, box.secret_password, api.headers["Authorization"].split()[1]):
            assert secret not in shown


# --- Hostile names


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name[:12].encode("ascii", "replace").decode())
async def test_names_are_text_and_nothing_else(api: Any, box: Sandbox, visitor: Visitor, name: str) -> None:
    """Whatever a user or a client calls itself: the page has the same tags as with a harmless name."""

    def tags(text: str) -> list[str]:
        return re.findall(r"</?[a-z0-9]+", text)

    async def page_with(text: str) -> str:
        box.requests.clear()
        for link in box.links:
            box.remove_link(str(link["id"]))
        watched.gone.clear()
        await api.register(f"sim_x{text}", "pass", external_id=text[:99], checked=False)
        body = {"institution": text, "username": text, text: text}
        agent = {"User-Agent": text.encode().decode("latin-1")[:900]}
        await api("POST", "/api/links/", body, headers={**api.headers, **agent}, checked=False)
        async with visitor.http.get(f"{box.url}/api/{quote(text[:900])}", headers=api.headers):
            pass
        box.script("me", [Step.challenge("text", instructions=text, token=text, value=text)])
        await api.challenge("me")
        assert box.requests[2].path == f"/api/{text[:900]}"
        return (await visitor.page()).text

    assert box._control is not None
    watched = box._control._history
    harmless = tags(await page_with("harmless"))
    text = await page_with(name)
    assert tags(text) == harmless
    assert "<script>alert" not in text
    assert len(text) < 40_000
    assert (await visitor("GET", "/_sandbox/live")).status == 200
    assert await visitor.read("/_sandbox/requests")
    assert await visitor.read("/_sandbox/links")
    assert await visitor.read("/_sandbox/logins")


async def test_what_is_no_utf_8_is_shown_all_the_same(box: Sandbox, visitor: Visitor, raw: Any) -> None:
    """Headers are bytes."""
    request = b"GET /api/ HTTP/1.1\r\nHost: x\r\nUser-Agent: \xff\xfe<b>\r\nConnection: close\r\n\r\n"
    await raw(box, request)
    assert "<b>" not in (await visitor.page()).text
    assert (await visitor.read("/_sandbox/requests"))["requests"][0]["headers"]["user-agent"].endswith("<b>")


# --- Faults and live parts


async def test_faults_that_wait_are_listed(box: Sandbox, visitor: Visitor) -> None:
    """What they do, to whom, how often."""
    wanted: list[dict[str, Any]] = [
        {"kind": "status", "code": "503", "call": "POST /api/links/", "times": "1"},
        {"kind": "delay", "seconds": "0.5", "call": "", "times": "always"},
        {"kind": "drop_after", "times": "3"},
    ]
    for fields in wanted:
        assert (await visitor.send("/_sandbox/faults", **fields)).headers["Location"] == "/#faults"
    words = (await visitor.page()).words
    assert "status 503 for POST /api/links/ , once" in words
    assert "delay 0.5 s for any call , until cleared" in words
    assert "drop_after for any call , 3 times" in words
    await visitor.send("/_sandbox/faults/clear")
    assert "No fault waits." in (await visitor.page()).words
    assert box._service.faults.waiting == []


async def test_only_what_has_changed_is_sent_again(api: Any, box: Sandbox, visitor: Visitor) -> None:
    """Time that passes is no change of a part: the page counts by itself."""

    def known(news: Any) -> str:
        return "&".join(f"{name}={part['version']}" for name, part in sorted(news["parts"].items()))

    await api.challenge("sim_mfa_text")
    first = (await visitor("GET", "/_sandbox/live")).json
    assert set(first["parts"]) == {"logins", "links", "faults", "requests"}
    versions = known(first)
    assert (await visitor("GET", f"/_sandbox/live?{versions}")).json["parts"] == {}
    box.advance(seconds=30)
    later = (await visitor("GET", f"/_sandbox/live?{versions}")).json
    assert (later["now"], later["clock"], later["parts"]) == (
        "2026-03-01T09:00:30.100000Z",
        "2026-03-01 09:00:30",
        {},
    )
    box.inject(Fault.html())
    changed = (await visitor("GET", f"/_sandbox/live?{versions}")).json["parts"]
    assert list(changed) == ["faults"]
    assert "<html" not in changed["faults"]["html"]


async def test_a_mistake_of_the_page_fails_the_test(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every mistake of the simulator does."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    box = await Sandbox(control_key=KEY).start()
    visitor = Visitor(box, http)
    await visitor.enter()
    monkeypatch.setattr(views, "logins_view", broken)
    assert (await visitor("GET", "/")).status == 500
    with pytest.raises(ExceptionGroup) as caught:
        await box.stop()
    assert [str(error) for error in caught.value.exceptions] == ["a bug"]
