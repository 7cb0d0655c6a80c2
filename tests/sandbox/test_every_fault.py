"""Each fault that a client must bear can be asked for by call and by script, and each has a name."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import frozen

from belvo_links.sandbox import Fault, Sandbox, Step, Switches

START = datetime(2026, 3, 1, 9, 0, 0, 100000, UTC)
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "simulator.md"
USER = "my_user"


@frozen
class Met:
    """What a client has met: a reply with its JSON (or text), or none; and what has become of the world."""

    status: int | None
    body: Any
    headers: Any
    links: int


async def _register(box: Sandbox, api: Any) -> Met:
    """Register, as a client that takes what comes."""
    body = {"institution": "erebor_mx_retail", "username": USER, "password": "full"}
    try:
        async with api.http.post(f"{box.url}/api/links/", json=body, headers=api.headers) as reply:
            text = await reply.text()
            parsed = await reply.json() if reply.content_type == "application/json" else text
            return Met(reply.status, parsed, reply.headers, len(box.links))
    except aiohttp.ClientError:
        return Met(None, None, None, len(box.links))


FAULTS: dict[str, tuple[Fault, Callable[[Met], bool]]] = {
    "latency before": (Fault.delay(0.01), lambda met: (met.status, met.links) == (201, 1)),
    "latency after": (Fault.delay_after(0.01), lambda met: (met.status, met.links) == (201, 1)),
    "5xx": (Fault.status(503), lambda met: (met.status, met.links) == (503, 0)),
    "5xx after": (Fault.status_after(500), lambda met: (met.status, met.links) == (500, 1)),
    "HTML": (Fault.html(), lambda met: (met.status, met.body[:6], met.links) == (502, "<html>", 0)),
    "HTML after": (Fault.html_after(504), lambda met: (met.status, met.body[:6], met.links) == (504, "<html>", 1)),
    "dropped before": (Fault.drop_before(), lambda met: (met.status, met.links) == (None, 0)),
    "dropped after": (Fault.drop_after(), lambda met: (met.status, met.links) == (None, 1)),
    "truncated": (Fault.truncate(), lambda met: (met.status, met.links) == (None, 1)),
    "slow body": (Fault.slow_body(0.001), lambda met: (met.status, met.body["status"], met.links) == (201, "valid", 1)),
    "other body": (Fault.replace_body(b"[]"), lambda met: (met.status, met.body, met.links) == (201, [], 1)),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("by", ["call", "script"])
async def test_a_fault_spoils_one_request(open_api: Any, name: str, by: str) -> None:
    """Whether asked for by call or as a step; the request after it is answered as usual, and there is no step left."""
    fault, expected = FAULTS[name]
    async with Sandbox(clock=lambda: START) as box:
        api = open_api(box)
        if by == "call":
            box.inject(fault, method="POST", template="/api/links/")
        else:
            box.script(USER, [Step.link(fault=fault)])
        met = await _register(box, api)
        assert expected(met), met
        assert (await api.register(USER)).status == 201
        assert len(box.links) == met.links + 1


@pytest.mark.parametrize("by", ["call", "script"])
async def test_a_connection_may_break_before_the_effect_is_there(open_api: Any, by: str) -> None:
    """The client is told while the institution still works; the link comes later, and nobody says so."""
    async with Sandbox() as box:
        fault, api = Fault.drop_during(0.05), open_api(box)
        if by == "call":
            box.inject(fault)
        else:
            box.script(USER, [Step.link(fault=fault)])
        assert await _register(box, api) == Met(None, None, None, 0)
        async with asyncio.timeout(5):
            while not box.links:  # noqa: ASYNC110  # the simulator has no event for it, as the service has none
                await asyncio.sleep(0.01)
        assert (box.links[0]["status"], box.requests[-1].status) == ("valid", None)


async def test_a_broken_connection_does_not_delay_the_end(open_api: Any) -> None:
    """Nor does its effect come after it."""
    async with Sandbox() as box:
        box.inject(Fault.drop_during(60))
        assert (await _register(box, open_api(box))).status is None
        started = asyncio.get_running_loop().time()
        await box.stop()
        assert asyncio.get_running_loop().time() - started < 0.2
        assert box.links == []


CHALLENGE = Step.challenge("text")
INPUTLESS = Step.challenge("inputless")


async def _asked(open_api: Any, by: str, switches: Switches, steps: list[Step], position: int) -> list[Any]:
    """What a login meets that is asked and then completed without a token; one request with other switches."""
    fault = Fault.switched(switches)
    async with Sandbox() as box:
        api = open_api(box)
        calls = [Step(step.kind, step.what, fault=fault if by == "script" and n == position else None) for n, step in
                 enumerate(steps)]  # fmt: skip
        box.script(USER, calls)
        replies: list[Any] = []
        link: dict[str, Any] = {}
        for number in range(len(steps)):
            if by == "call" and number == position:
                box.inject(fault)
            path = "/api/links/"
            body: dict[str, Any] = {"institution": "erebor_mx_retail", "username": USER, "password": "full"}
            if link:
                body = {"session": link["session"], "link": link["link"], "token": "111111"}
            reply = await api("PATCH" if link else "POST", path, body, checked=False)
            told = reply.body[0] if isinstance(reply.body, list) else reply.body
            link = told if "session" in told else link
            replies.append(reply)
        return replies


@pytest.mark.parametrize("by", ["call", "script"])
async def test_other_switches_for_one_request(open_api: Any, by: str) -> None:
    """Expiry as text, a bare object, the old `detail`, the same session again, 200 instead of 201."""
    usual = (await _asked(open_api, by, Switches(), [CHALLENGE], 0))[0].body[0]
    assert usual["expiry"] == 9600
    [reply] = await _asked(open_api, by, Switches(expiry_as_text=True), [CHALLENGE], 0)
    assert reply.body[0]["expiry"] == "9600"
    [reply] = await _asked(open_api, by, Switches(error_shape="object"), [CHALLENGE], 0)
    assert reply.body["code"] == "token_required"
    [reply] = await _asked(open_api, by, Switches(error_shape="detail"), [CHALLENGE], 0)
    assert set(reply.body) == {"detail", "session", "expiry", "link"}
    chain = [CHALLENGE, Step.challenge("numeric"), Step.link()]
    for switches, same in ((Switches(), False), (Switches(session_changes=False), True)):
        first, second, last = await _asked(open_api, by, switches, chain, 1)
        assert (first.body[0]["session"] == second.body[0]["session"]) is same
        assert last.status == 201
    *_, last = await _asked(open_api, by, Switches(complete_status="always_200"), [CHALLENGE, Step.link()], 1)
    assert last.status == 200


async def test_an_early_complete_may_be_refused_once(api: Any, box: Any) -> None:
    """By call with the switch, by script with an error of the same code."""
    challenge = await api.challenge("sim_mfa_inputless")
    box.inject(Fault.switched(Switches(early_complete="login_error")), method="PATCH")
    assert (await api.complete(challenge, None)).code == "login_error"
    assert (await api.complete(await api.challenge("sim_mfa_inputless"), None)).status == 428
    box.script(USER, [INPUTLESS, Step.error("login_error")])
    challenge = await api.challenge(USER)
    box.confirm(challenge["link"])
    assert (await api.complete(challenge, None)).code == "login_error"


async def test_one_page_may_come_in_another_order(api: Any, box: Any) -> None:
    """As when the service does what it never promised not to do."""
    ids = box.add_links(25)
    box.inject(Fault.switched(Switches(list_order="oldest_first")), method="GET", template="/api/links/")
    pages = [(await api("GET", f"/api/links/?page={page}")).body["results"] for page in (1, 1)]
    assert [link["id"] for link in pages[0]] == ids[::-1][:10]
    assert [link["id"] for link in pages[1]] == ids[:10]


@pytest.mark.parametrize("by", ["call", "script"])
@pytest.mark.parametrize("skew", [-3600, 90])
async def test_the_clock_may_be_wrong_for_one_request(open_api: Any, by: str, skew: int) -> None:
    """In what is said only: what is stored is right."""
    async with Sandbox(clock=lambda: START) as box:
        api, fault = open_api(box), Fault.switched(Switches(clock_skew_seconds=skew))
        if by == "call":
            box.inject(fault)
        else:
            box.script("bnk100", [Step.link(fault=fault)])
        reply = await api.register(external_id="2026-03-01")
        there = START + timedelta(seconds=skew)
        assert datetime.fromisoformat(reply.body["created_at"]) == there
        assert parsedate_to_datetime(reply.headers["Date"]) == there.replace(microsecond=0)
        assert reply.body["external_id"] == "2026-03-01"
        right = (await api("GET", f"/api/links/{reply.body['id']}/")).body
        assert datetime.fromisoformat(right["created_at"]) == START
        page = (await api("GET", "/api/links/")).body
        box.inject(fault)
        moved = (await api("GET", "/api/links/")).body
        assert datetime.fromisoformat(moved["results"][0]["created_at"]) == there
        assert {**moved, "results": []} == {**page, "results": []}


async def test_a_wrong_clock_may_be_right_for_once(open_api: Any) -> None:
    """The switches of that request stand in the place of all others."""
    async with Sandbox(clock=lambda: START, switches=Switches(clock_skew_seconds=60)) as box:
        box.inject(Fault.switched(Switches()))
        reply = await open_api(box).register()
        assert datetime.fromisoformat(reply.body["created_at"]) == START
        assert parsedate_to_datetime(reply.headers["Date"]) == START.replace(microsecond=0)


async def test_an_address_elsewhere_in_one_page(api: Any, box: Any) -> None:
    """A listing is no login, and so no step of a script."""
    box.add_links(11)
    box.inject(Fault.foreign_next())
    pages = [(await api("GET", "/api/links/")).body["next"] for _ in range(2)]
    assert [page.startswith("https://elsewhere.example/api/links/") for page in pages] == [True, False]


@pytest.mark.parametrize("fault", [Fault.drop_before(), Fault.delay(0), Fault.switched(Switches(error_shape="object"))])
async def test_an_injected_fault_silences_that_of_the_step(api: Any, box: Any, fault: Fault) -> None:
    """One fault at a time, also where the step's would come first; the step itself is taken."""
    box.script(USER, [Step.challenge("text", fault=fault), Step.link()])
    box.inject(Fault.replace_body(b"{}"))
    body = {"institution": "erebor_mx_retail", "username": USER, "password": "full"}
    reply = await api("POST", "/api/links/", body, checked=False)
    assert (reply.status, reply.body) == (428, {})
    assert (await api.register(USER)).status == 201


async def test_a_delayed_step_counts_as_one_request(open_api: Any) -> None:
    """Against the limit of the whole API."""
    async with Sandbox(clock=lambda: START, switches=Switches(request_limit=2)) as box:
        box.script(USER, [Step.link(fault=Fault.delay(0))])
        statuses = [(await _register(box, open_api(box))).status for _ in range(3)]
        assert statuses == [201, 201, 429]


def test_every_fault_is_told() -> None:
    """By its name, in the documentation."""
    text = DOCUMENT.read_text(encoding="utf-8")
    names = [name for name in vars(Fault) if isinstance(vars(Fault)[name], classmethod)]
    assert len(names) == 14
    assert [name for name in names if not re.search(rf"`(Fault\.)?{name}`", text)] == []
