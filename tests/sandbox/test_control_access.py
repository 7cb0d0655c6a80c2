"""Who may look at the page and steer the simulator."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest

from belvo_links.sandbox import Sandbox
from belvo_links.sandbox.control.access import Gate
from tests.sandbox.conftest import START
from tests.sandbox.visiting import KEY, Visitor

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CONTROLLED = ["/", "/_sandbox/live", "/_sandbox/logins", "/_sandbox/requests", "/_sandbox/nothing"]


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(clock=lambda: START, control_key=KEY) as sandbox:
        yield sandbox


@pytest.fixture
def visitor(box: Sandbox, http: aiohttp.ClientSession) -> Visitor:
    return Visitor(box, http)


# --- Without it


async def test_a_plain_simulator_has_no_page(http: aiohttp.ClientSession) -> None:
    """It answers as the API does where there is nothing."""
    async with Sandbox() as box:
        visitor = Visitor(box, http)
        for path in ("/", f"/?key={KEY}", "/_sandbox/logins", "/_sandbox/page.css"):
            assert (await visitor("GET", path)).status == 404
        assert len(box.requests) == 4
        with pytest.raises(RuntimeError, match="control_key"):
            _ = box.page_url


def test_a_plain_simulator_loads_nothing_of_it() -> None:
    """Neither the template engine nor the page's own modules: its start stays as quick as it was."""
    code = (
        "import sys, belvo_links.sandbox.sandbox as s; s.Sandbox()\n"
        "print([m for m in sys.modules if m.partition('.')[0] == 'jinja2' or 'sandbox.control' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_missing_template_engine_is_named() -> None:
    """With the extra that brings it."""
    code = (
        "import sys; sys.modules['jinja2'] = None\n"
        "from belvo_links.sandbox import Sandbox\n"
        "Sandbox()\n"
        "try: Sandbox(control_key='a-control-key-of-tests')\n"
        "except ModuleNotFoundError as error: print(error.name, error, error.__cause__, error.__context__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "jinja2 the simulator's page needs the extra [cli]: pip install 'belvo-links[cli]' None None\n"
    )


@pytest.mark.parametrize("key", ["", "short", "with a space in it, long", "ñandú-ñandú-ñandú-ñandú"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    """It is not to be guessed, and must fit into a header; the message does not repeat it."""
    with pytest.raises(ValueError, match="at least 16") as caught:
        Sandbox(control_key=key)
    assert not key or key not in str(caught.value)


# --- Getting in


@pytest.mark.parametrize("path", CONTROLLED)
async def test_without_the_key_nothing_is_shown(box: Sandbox, visitor: Visitor, path: str) -> None:
    """401, how to get in, and nothing of the simulated world."""
    [link_id] = box.add_links(1)
    reply = await visitor("GET", path)
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert "This needs the control key." in reply.text
    assert "belvo-links sandbox" in reply.text
    assert link_id not in reply.text
    assert box.secret_id not in reply.text


@pytest.mark.parametrize("path", CONTROLLED)
async def test_a_wrong_key_is_refused_wherever_it_stands(visitor: Visitor, path: str) -> None:
    """In the header, in the cookie, in the address."""
    port = visitor.box.url.rpartition(":")[2]
    for headers in (
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Basic {KEY}"},
        {"Cookie": f"belvo_sandbox_{port}={KEY}"},
    ):
        assert (await visitor("GET", path, headers=headers)).status == 403
    reply = await visitor("GET", f"/?key={KEY}x")
    assert reply.status == 403
    assert "Set-Cookie" not in reply.headers
    assert KEY not in reply.text


async def test_a_wrong_key_is_not_made_up_for_by_a_cookie(visitor: Visitor) -> None:
    """Whoever sends one means it."""
    await visitor.enter()
    assert (await visitor("GET", "/", headers={"Authorization": "Bearer wrong"})).status == 403


async def test_the_printed_address_lets_in_and_leaves_the_address(box: Sandbox, visitor: Visitor) -> None:
    """A redirect to the bare page; what stands in the cookie is not the key."""
    entered = await visitor.enter()
    assert (entered.status, entered.headers["Location"]) == (303, "/")
    cookie = entered.headers["Set-Cookie"]
    assert re.fullmatch(r"belvo_sandbox_\d+=[0-9a-f]{64}; HttpOnly; Path=/; SameSite=Strict", cookie)
    assert KEY not in cookie
    page = await visitor.page()
    assert KEY not in page.text
    assert box.url in page.text


async def test_a_program_may_send_the_key_in_a_header(visitor: Visitor) -> None:
    """For the page as well; its errors are JSON."""
    assert (await visitor("GET", "/", headers={"Authorization": f"bearer {KEY}"})).status == 200
    reply = await visitor("GET", "/_sandbox/logins", headers={"Authorization": "Bearer no"})
    assert reply.json == {"error": "This is not the control key."}


async def test_keys_of_the_api_do_not_open_it(box: Sandbox, visitor: Visitor) -> None:
    """Its key is its own, and follows from no seed."""
    for key in (box.secret_id, box.secret_password):
        assert (await visitor("GET", "/", headers={"Authorization": f"Bearer {key}"})).status == 403


async def test_api_paths_are_as_they_were(box: Sandbox, visitor: Visitor) -> None:
    """Without the key, whatever host is named; and visits of the page are no requests to the API."""
    await visitor.enter()
    await visitor.page()
    assert box.requests == []
    reply = await visitor("GET", "/api/links/", headers={"Host": "belvo.example", "Origin": "https://evil.example"})
    assert reply.json[0]["code"] == "not_authenticated"
    assert "Content-Security-Policy" not in reply.headers
    assert [received.path for received in box.requests] == ["/api/links/"]


async def test_the_key_is_in_no_repr(box: Sandbox) -> None:
    """Neither in that of the simulator nor in that of the gate."""
    assert KEY not in repr([box, Gate(key=KEY, host="127.0.0.1")])
    assert box.page_url == f"{box.url}/?key={KEY}"


# --- What every reply carries


@pytest.mark.parametrize("path", ["/", "/?key=wrong", f"/?key={KEY}", "/_sandbox/page.js", "/_sandbox/logins"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {KEY}"}])
async def test_every_reply_is_guarded(visitor: Visitor, path: str, headers: dict[str, str]) -> None:
    """Nothing is kept, framed, guessed or told to others."""
    reply = await visitor("GET", path, headers=headers)
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["X-Frame-Options"] == "DENY"
    assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


async def test_the_page_has_nothing_inline_and_nothing_foreign(visitor: Visitor) -> None:
    """As its policy wants it."""
    await visitor.enter()
    page = (await visitor.page()).text
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", page)
    assert not re.search(r'(?:src|href|action)="(?!/|data:image/png|#)', page)


@pytest.mark.parametrize(
    "name, kind", [("page.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml")]
)
async def test_assets_need_no_key(visitor: Visitor, name: str, kind: str) -> None:
    """The page that says how to get in uses them as well; nothing else is served from there."""
    reply = await visitor("GET", f"/_sandbox/{name}")
    assert (reply.status, reply.headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
    assert (await visitor("GET", f"/_sandbox/more/{name}")).status == 401
    assert (await visitor("POST", f"/_sandbox/{name}")).status == 401


# --- Other sites


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.example:80", "[", ""]
)
async def test_another_name_for_this_machine_is_refused(visitor: Visitor, host: str) -> None:
    """DNS rebinding: a foreign site whose name leads here; not even the right key helps."""
    for path in ("/", f"/?key={KEY}", "/_sandbox/page.css"):
        reply = await visitor("GET", path, headers={"Host": host, "Authorization": f"Bearer {KEY}"})
        assert reply.status in (400, 403)
        assert "Set-Cookie" not in reply.headers


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1", "127.0.0.2:80", "[::1]:80"])
async def test_this_machine_has_many_names(visitor: Visitor, host: str) -> None:
    """And a forwarded port is another number."""
    assert (await visitor("GET", "/", headers={"Host": host, "Authorization": f"Bearer {KEY}"})).status == 200


async def test_a_form_of_the_page_works(box: Sandbox, visitor: Visitor) -> None:
    """A redirect back to where one was."""
    await visitor.enter()
    for headers in ({}, {"Origin": box.url}, {"Origin": "null", "Sec-Fetch-Site": "same-origin"}):
        before = box.clock()
        reply = await visitor.send("/_sandbox/advance", headers, minutes="1")
        assert (reply.status, reply.headers["Location"]) == (303, "/#time")
        assert (box.clock() - before).total_seconds() == 60


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": ""},
    ],
)
async def test_a_form_of_another_origin_is_refused(box: Sandbox, visitor: Visitor, headers: dict[str, str]) -> None:
    """Also one that knows everything, and a program's JSON."""
    await visitor.enter()
    reply = await visitor.send("/_sandbox/advance", headers, minutes="1")
    assert reply.status == 403
    assert "Another site has sent this." in reply.text
    by_key = {**headers, "Authorization": f"Bearer {KEY}"}
    assert (await visitor("POST", "/_sandbox/advance", b'{"minutes": 1}', by_key)).status == 403
    assert box.clock() == START


@pytest.mark.parametrize("token", ["", "0" * 64, KEY])
async def test_a_form_needs_the_token_of_the_page(box: Sandbox, visitor: Visitor, token: str) -> None:
    """A browser sends the cookie with whatever it sends."""
    await visitor.enter()
    reply = await visitor.send("/_sandbox/advance", token=token, minutes="1")
    assert reply.status == 403
    assert "This form is not of this page" in reply.text
    assert box.clock() == START


async def test_the_token_of_another_key_does_not_do(visitor: Visitor) -> None:
    """It belongs to the key."""
    other = Gate(key="another-control-key", host="127.0.0.1").form_token
    await visitor.enter()
    assert (await visitor.send("/_sandbox/advance", token=other, minutes="1")).status == 403


async def test_nothing_is_done_without_a_key(box: Sandbox, visitor: Visitor) -> None:
    """Whatever is sent."""
    for path in ("/_sandbox/advance", "/_sandbox/faults/clear", "/_sandbox/nothing", "/"):
        reply = await visitor("POST", path, b"minutes=1", FORM)
        assert reply.status == 401
    assert box.clock() == START


async def test_a_get_changes_nothing(visitor: Visitor) -> None:
    """Where something is done, and where there is nothing at all."""
    await visitor.enter()
    assert (await visitor("GET", "/_sandbox/advance?minutes=1")).status == 405
    assert (await visitor("GET", "/_sandbox/nothing")).status == 404
    assert (await visitor("DELETE", "/_sandbox/faults")).status == 405
    assert (await visitor("POST", "/")).status == 405
    assert (await visitor("PUT", "/_sandbox/nothing")).status == 404
    assert (await visitor("HEAD", "/")).status == 200


# --- Listening for others


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_the_page_says_loudly_that_others_can_come(http: aiohttp.ClientSession, host: str) -> None:
    """Then any name may be used; the key is still wanted."""
    box = Sandbox(host=host, control_key=KEY)
    try:
        await box.start()
    except OSError:
        pytest.skip("no such addresses on this machine")
    try:
        visitor = Visitor(box, http)
        assert (await visitor("GET", "/", headers={"Host": "box.example"})).status == 401
        page = await visitor("GET", "/", headers={"Host": "box.example", "Authorization": f"Bearer {KEY}"})
        assert 'role="alert"' in page.text
        assert f"It listens on {host} ," in page.words
    finally:
        await box.stop()


async def test_a_page_of_this_machine_warns_of_nothing(visitor: Visitor) -> None:
    """There is nobody to warn of."""
    await visitor.enter()
    assert 'role="alert"' not in (await visitor.page()).text
