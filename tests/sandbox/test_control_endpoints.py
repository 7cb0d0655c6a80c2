"""Steering the simulator from a program in any language: JSON and a key."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from belvo_links.sandbox import Sandbox
from belvo_links.sandbox.triggers import RIGHT_TOKEN
from tests.sandbox.conftest import START
from tests.sandbox.visiting import KEY, Visitor


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(clock=lambda: START, control_key=KEY) as sandbox:
        yield sandbox


@pytest.fixture
def api(box: Sandbox, open_api: Callable[[Sandbox], Any]) -> Any:
    return open_api(box)


@pytest.fixture
def visitor(box: Sandbox, http: aiohttp.ClientSession) -> Visitor:
    return Visitor(box, http)


# --- Looking


async def test_a_program_reads_the_token_and_completes(api: Any, visitor: Visitor) -> None:
    """As a person would on a phone."""
    challenge = await api.challenge("sim_mfa_chain")
    told = await visitor.read("/_sandbox/logins")
    assert told["now"] == "2026-03-01T09:00:00.100000Z"
    [login] = told["logins"]
    assert login == {
        "link": challenge["link"],
        "institution": "erebor_mx_retail",
        "username": "sim_mfa_chain",
        "operation": "register",
        "kind": "numeric",
        "instructions": "Use this code to generate the token",
        "value": "12345",
        "round": 1,
        "expires_at": "2026-03-01T09:12:00.100000Z",
        "seconds_left": 720.0,
        "expects_user_input": True,
        "token": RIGHT_TOKEN,
        "confirmed": False,
    }
    await api.complete(challenge, login["token"])
    [login] = (await visitor.read("/_sandbox/logins"))["logins"]
    assert (login["kind"], login["round"]) == ("text", 2)


async def test_links_requests_and_faults_can_be_read(api: Any, box: Sandbox, visitor: Visitor) -> None:
    """What the page shows, as data."""
    link_id = await api.link_id(external_id="user-1")
    await visitor.tell("/_sandbox/faults", {"kind": "truncate", "method": "GET", "times": None})
    assert await visitor.read("/_sandbox/links") == {
        "now": "2026-03-01T09:00:00.100000Z",
        "total": 1,
        "links": [
            {
                "id": link_id,
                "institution": "erebor_mx_retail",
                "username": "bnk100",
                "external_id": "user-1",
                "access_mode": "recurrent",
                "status": "valid",
                "history": [{"at": "2026-03-01T09:00:00.100000Z", "what": "created"}],
            }
        ],
    }
    told = await visitor.read("/_sandbox/requests")
    assert told["served"] == 1
    [request] = told["requests"]
    assert (request["number"], request["method"], request["path"]) == (1, "POST", "/api/links/")
    assert (request["status"], request["at"]) == (201, "2026-03-01T09:00:00.100000Z")
    assert (await visitor.read("/_sandbox/faults")) == {
        "faults": [{"kind": "truncate", "method": "GET", "template": None, "times": None}]
    }


# --- Steering


@pytest.mark.parametrize(
    "fields, seconds",
    [
        ({"minutes": 15}, 900),
        ({"days": 1, "hours": 2, "minutes": "3", "seconds": 0.5}, 93780.5),
        ({"amount": 2, "unit": "hours"}, 7200),
        ({"seconds": 0}, 0),
    ],
)
async def test_time_moves(box: Sandbox, visitor: Visitor, fields: dict[str, object], seconds: float) -> None:
    """By what is given, and its new state is told."""
    reply = await visitor.tell("/_sandbox/advance", fields)
    assert (box.clock() - START).total_seconds() == seconds
    assert reply.json == {"now": box.clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ")}


@pytest.mark.parametrize(
    "fields",
    [
        None,
        {},
        {"minutes": ""},
        {"minutes": -1},
        {"minutes": "one"},
        {"minutes": True},
        {"minutes": None, "hours": [1]},
        {"days": float("nan")},
        {"days": float("inf")},
        {"days": 10**40},
        {"days": 4_000_000},
        {"amount": 1, "unit": "weeks"},
        {"amount": 1},
        [1],
    ],
)
async def test_time_does_not_move_by_what_is_no_time(box: Sandbox, visitor: Visitor, fields: object) -> None:
    """400 with a sentence, and nothing has changed."""
    reply = await visitor.tell("/_sandbox/advance", fields)
    assert (reply.status, list(reply.json)) == (400, ["error"])
    assert box.clock() == START


async def test_a_body_that_is_no_json_is_refused(visitor: Visitor) -> None:
    """Whatever it looks like."""
    for body in (b"{", b"minutes=1", b"\xff", b"[" * 100_000):
        reply = await visitor("POST", "/_sandbox/advance", body, {"Authorization": f"Bearer {KEY}"})
        assert (reply.status, reply.json) == (400, {"error": "The body is a JSON object."})


async def test_a_body_that_contradicts_its_headers_is_refused(box: Sandbox, raw: Any) -> None:
    """That is no failure of the simulator."""
    head = f"POST /_sandbox/advance HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    more = "Content-Encoding: gzip\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnone"
    reply, body = await raw(box, f"{head}{more}".encode())
    assert reply.startswith(b"HTTP/1.1 400")
    assert body == b'{"error": "The body could not be read."}'


async def test_a_program_confirms(api: Any, visitor: Visitor) -> None:
    """In the place of the user; 404 where nobody waits."""
    challenge = await api.challenge("sim_mfa_inputless")
    assert (await visitor.tell("/_sandbox/confirm", {"link": challenge["link"]})).json == {"link": challenge["link"]}
    [login] = (await visitor.read("/_sandbox/logins"))["logins"]
    assert (login["confirmed"], login["token"]) == (True, None)
    assert (await api.complete(challenge, None)).status == 201
    missing = await visitor.tell("/_sandbox/confirm", {"link": challenge["link"]})
    assert (missing.status, missing.json) == (404, {"error": "No login of this link waits for anything."})
    assert (await visitor.tell("/_sandbox/confirm", {"link": "<b>"})).json == {"error": "There is no such link."}
    assert (await visitor.tell("/_sandbox/confirm", {"link": 7})).status == 400


@pytest.mark.parametrize(
    "fault, status",
    [
        ({"kind": "status", "code": 503}, 503),
        ({"kind": "status"}, 500),
        ({"kind": "status", "code": 418, "body": {"mine": True}}, 418),
        ({"kind": "status_after", "code": 504}, 504),
        ({"kind": "html"}, 502),
        ({"kind": "html_after"}, 502),
        ({"kind": "switched", "switches": {"page_size": 1}}, 200),
        ({"kind": "delay", "seconds": 0}, 200),
        ({"kind": "delay_after", "seconds": 0}, 200),
        ({"kind": "slow_body", "seconds": 0}, 200),
        ({"kind": "foreign_next"}, 200),
        ({"kind": "replace_body", "body": '{"mine": true}'}, 200),
        ({"kind": "drop_before"}, None),
        ({"kind": "drop_during"}, None),
        ({"kind": "drop_after"}, None),
        ({"kind": "truncate"}, None),
    ],
)
async def test_every_fault_can_be_injected(
    box: Sandbox, api: Any, http: aiohttp.ClientSession, visitor: Visitor, fault: dict[str, object], status: int | None
) -> None:
    """The next matching call meets it, and it alone."""
    reply = await visitor.tell("/_sandbox/faults", {**fault, "method": "GET", "template": "/api/links/"})
    assert reply.json == {"kind": fault["kind"], "times": 1}
    assert (await api("GET", "/api/")).status == 200
    met = None
    try:
        async with http.get(f"{box.url}/api/links/", headers=api.headers) as answer:
            content = await answer.read()
            met = answer.status
            assert "body" not in fault or b"mine" in content
    except aiohttp.ClientError:
        pass
    if status is not None:
        assert met == status
        assert (await api("GET", "/api/links/")).status == 200
    assert (await visitor.read("/_sandbox/faults")) == {"faults": []}


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"kind": "explode"},
        {"kind": ["status"]},
        {"kind": "switched"},
        {"kind": "switched", "switches": {"page_size": 0}},
        {"kind": "switched", "switches": {"hidden": "hunter2"}},
        {"kind": "status", "code": 99},
        {"kind": "status", "code": "<b>"},
        {"kind": "delay", "seconds": 601},
        {"kind": "delay", "seconds": -1},
        {"kind": "html", "times": 0},
        {"kind": "html", "times": 10**9},
        {"kind": "html", "method": 7},
        {"kind": "replace_body"},
    ],
)
async def test_a_fault_that_is_none_is_refused(visitor: Visitor, fault: dict[str, object]) -> None:
    """With what would be one, and without what was given."""
    reply = await visitor.tell("/_sandbox/faults", fault)
    assert reply.status == 400
    assert "<b>" not in reply.text
    assert (await visitor.read("/_sandbox/faults")) == {"faults": []}


async def test_faults_and_scripts_are_cleared(api: Any, visitor: Visitor) -> None:
    """All of them."""
    await visitor.tell("/_sandbox/faults", {"kind": "html", "times": None})
    assert (await visitor.tell("/_sandbox/script", {"name": "me", "steps": ["link"]})).json == {"steps": 1}
    assert (await visitor.tell("/_sandbox/faults/clear")).json == {}
    assert (await api("GET", "/api/links/")).status == 200
    assert not api.box._world.scripts._waiting


async def test_logins_are_scripted(api: Any, visitor: Visitor) -> None:
    """As plain data, with a token of one's own."""
    steps = [{"challenge": "numeric", "value": "77", "token": "424242"}, {"error": "login_error"}]
    await visitor.tell("/_sandbox/script", {"name": "me", "steps": steps})
    challenge = await api.challenge("me")
    assert challenge["token_generation_data"]["value"] == "77"
    [login] = (await visitor.read("/_sandbox/logins"))["logins"]
    assert login["token"] == "424242"
    assert (await api.complete(challenge, "424242")).code == "login_error"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "me"},
        {"name": "me", "steps": "link"},
        {"name": "me", "steps": [1]},
        {"name": "me", "steps": ["explode"]},
        {"name": "me", "steps": [{"challenge": ["text"]}]},
        {"name": "me", "steps": [{"link": True, "fault": {}}]},
        {"steps": ["link"]},
    ],
)
async def test_a_script_that_is_none_is_refused(visitor: Visitor, fields: dict[str, object]) -> None:
    """It is not begun, either."""
    assert (await visitor.tell("/_sandbox/script", fields)).status == 400
    assert not visitor.box._world.scripts._waiting


async def test_statuses_are_set(api: Any, box: Sandbox, visitor: Visitor) -> None:
    """Of a link, and of an institution."""
    link_id = await api.link_id()
    told = await visitor.tell("/_sandbox/link-status", {"link": link_id, "status": "token_required"})
    assert told.json == {"link": link_id, "status": "token_required"}
    assert box.links[0]["status"] == "token_required"
    down = {"name": "erebor_mx_retail", "status": "down"}
    assert (await visitor.tell("/_sandbox/institution-status", down)).json == down
    assert (await api.register()).code == "institution_down"
    await visitor.tell("/_sandbox/institution-status", {**down, "status": "healthy"})
    assert (await api.register()).status == 201
    for path, fields, status in (
        ("/_sandbox/link-status", {"link": link_id, "status": "fine"}, 400),
        ("/_sandbox/link-status", {"link": "x", "status": "valid"}, 404),
        ("/_sandbox/institution-status", {**down, "status": "fine"}, 400),
        ("/_sandbox/institution-status", {"name": "x", "status": "down"}, 404),
    ):
        assert (await visitor.tell(path, fields)).status == status


# --- What a script of the page gets


async def test_a_form_that_is_sent_by_a_script_is_answered_in_words(visitor: Visitor) -> None:
    """For its reader; without a script, a page says it."""
    await visitor.enter()
    asking = {"Accept": "application/json"}
    done = await visitor.send("/_sandbox/advance", asking, minutes="1")
    assert done.json == {"said": "It is 2026-03-01 09:01:00 now."}
    wrong = await visitor.send("/_sandbox/advance", asking, minutes="x")
    assert (wrong.status, wrong.json) == (400, {"error": "Minutes is a number that is not negative."})
    page = await visitor.send("/_sandbox/advance", minutes="x")
    assert page.status == 400
    assert "Minutes is a number that is not negative." in page.words
    assert "Back to the simulator" in page.words
