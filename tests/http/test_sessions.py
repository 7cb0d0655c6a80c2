"""Owned and borrowed sessions: opening, closing, forgetting, event loops, and whose settings count."""

import asyncio
import gc
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from belvo_links.errors import ClientClosedError, ConnectError, LoopMismatchError, ResponseLostError
from belvo_links.transport.http import HttpTransport, _is_full
from tests.http.lines import KEYS, Told, a, limits, transport
from tests.http.rude import OK, Peer, RudeServer, polite, replying, rude


def test_the_constructor_needs_no_loop_and_does_nothing() -> None:
    """No event loop runs here, and nobody listens there."""
    carrier = transport("http://localhost:1")
    assert carrier._session is None
    del carrier  # forgetting what was never opened gives no warning
    gc.collect()


async def test_the_session_is_opened_on_first_use() -> None:
    """And closed with the transport; closing twice is one closing."""
    async with rude(polite) as server:
        carrier = transport(server.url)
        assert vars(carrier)["_session"] is None
        await carrier.send(a("GET"), limits=limits())
        assert isinstance(carrier._session, aiohttp.ClientSession)
        await carrier.aclose()
        await server.all_gone.wait()
        await carrier.aclose()


async def test_closing_what_was_never_opened_is_fine() -> None:
    """And closes it all the same."""
    carrier = transport("http://localhost:1")
    await carrier.aclose()
    with pytest.raises(ClientClosedError):
        await carrier.send(a("GET"), limits=limits())


async def test_use_after_closing_is_refused() -> None:
    """With a class of its own, before anything is sent."""
    async with rude(polite) as server:
        carrier = transport(server.url)
        await carrier.send(a("GET"), limits=limits())
        await carrier.aclose()
        told = Told()
        with pytest.raises(ClientClosedError):
            await carrier.send(a("PATCH"), limits=limits(), on_send=told)
    assert told.times == 0
    assert len(server.requests) == 1


async def test_a_forgotten_client_gives_one_warning_and_leaves_no_connection() -> None:
    """Ours, and none of aiohttp's beside it; its loop then closes the session."""
    async with rude(polite) as server:
        carrier = transport(server.url)
        await carrier.send(a("GET"), limits=limits())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del carrier
            gc.collect()
            messages = [(one.category, str(one.message)) for one in caught]
            del caught[:]
            await server.all_gone.wait()
            gc.collect()
            assert not caught
    assert messages == [
        (ResourceWarning, "A BelvoLinks client was not closed; use `async with` or `await client.aclose()`.")
    ]


# --- event loops -----------------------------------------------------------------------------------------------


class Elsewhere:
    """A polite server in a thread with an event loop of its own, so that loops may come and go here."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.loop = self.runner.get_loop()
        self.ready = threading.Event()
        self.end = asyncio.Event()
        self.server: RudeServer | None = None
        self.thread = threading.Thread(target=self.runner.run, args=(self.serve(),))

    async def serve(self) -> None:
        async with rude(polite) as self.server:
            self.ready.set()
            await self.end.wait()

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(5)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    one = Elsewhere()
    one.thread.start()
    assert one.ready.wait(5)
    yield one
    one.loop.call_soon_threadsafe(one.end.set)
    one.thread.join(5)
    one.runner.close()


async def use(carrier: HttpTransport) -> int:
    return (await carrier.send(a("GET"), limits=limits())).status


def in_a_new_loop(coroutine: Any) -> Any:
    """Run in a thread that has no loop yet, as `asyncio.run` in a script does."""
    results: list[Any] = []

    def work() -> None:
        try:
            results.append(asyncio.run(coroutine, debug=True))
        except Exception as error:  # noqa: BLE001  # handed over to the caller's thread
            results.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(5)
    return results[0]


def test_another_loop_is_refused_at_once(elsewhere: Elsewhere) -> None:
    """Instead of hanging; also after the first one has ended."""
    carrier = transport(elsewhere.url)
    assert in_a_new_loop(use(carrier)) == 200
    assert isinstance(in_a_new_loop(use(carrier)), LoopMismatchError)
    in_a_new_loop(carrier.aclose())


def test_closing_after_the_first_loop_is_gone(elsewhere: Elsewhere) -> None:
    """The loop's own shutdown has closed the session: nothing is left to warn about, not even without `aclose`."""
    carrier = transport(elsewhere.url)
    assert in_a_new_loop(use(carrier)) == 200
    assert carrier._session is not None
    assert carrier._session.closed
    in_a_new_loop(carrier.aclose())
    del carrier
    gc.collect()


def test_forgetting_after_the_first_loop_is_gone_still_warns(elsewhere: Elsewhere) -> None:
    """Nobody closed the client, whatever became of its session."""
    carrier = transport(elsewhere.url)
    assert in_a_new_loop(use(carrier)) == 200
    with pytest.warns(ResourceWarning, match="was not closed"):
        del carrier


def test_closing_from_another_loop_while_the_first_runs(elsewhere: Elsewhere) -> None:
    """The session is closed where it lives, and waited for here."""
    carrier = transport(elsewhere.url)
    assert elsewhere.run(use(carrier)) == 200
    in_a_new_loop(carrier.aclose())
    assert carrier._session is not None
    assert carrier._session.closed
    assert isinstance(in_a_new_loop(use(carrier)), ClientClosedError)


def test_closing_while_the_first_loop_is_halted(elsewhere: Elsewhere) -> None:
    """Its session ends with it, at the latest."""
    carrier = transport(elsewhere.url)
    with asyncio.Runner(debug=True) as runner:
        assert runner.run(use(carrier)) == 200
        in_a_new_loop(carrier.aclose())
        with pytest.raises(ClientClosedError):
            runner.run(use(carrier))
    assert carrier._session is not None
    assert carrier._session.closed


def test_closing_after_the_first_loop_was_closed_without_being_shut_down(elsewhere: Elsewhere) -> None:
    """asyncio itself then reports the connection it was closed over; from us there is neither hang nor error."""
    carrier = transport(elsewhere.url)
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(use(carrier)) == 200
    loop.close()
    in_a_new_loop(carrier.aclose())
    assert carrier._session is not None
    assert carrier._session.closed
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed", ResourceWarning)
        del carrier
        gc.collect()


def test_a_session_borrowed_from_another_loop_is_refused(elsewhere: Elsewhere) -> None:
    """It would hang."""

    async def borrow() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    session: aiohttp.ClientSession = elsewhere.run(borrow())
    assert isinstance(in_a_new_loop(use(transport(elsewhere.url, session))), LoopMismatchError)
    elsewhere.run(session.close())


# --- borrowed --------------------------------------------------------------------------------------------------


async def test_a_borrowed_session_is_never_closed() -> None:
    """Closing the transport leaves it open; forgetting it gives no warning."""
    async with rude(polite) as server, aiohttp.ClientSession() as session:
        carrier = transport(server.url, session)
        await carrier.send(a("GET"), limits=limits())
        await carrier.aclose()
        assert not session.closed
        with pytest.raises(ClientClosedError):
            await carrier.send(a("GET"), limits=limits())
        forgotten = transport(server.url, session)
        await forgotten.send(a("GET"), limits=limits())
        del forgotten
        gc.collect()
        assert not session.closed


async def test_a_borrowed_session_that_lost_its_connector_is_closed() -> None:
    """`detach` takes it away; there is nothing to wait for then, nor to be narrowed by."""
    session = aiohttp.ClientSession()
    connector = session.connector
    assert connector is not None
    session.detach()
    carrier = transport("http://localhost:1", session, max_connections=7)
    assert not _is_full(session)
    with pytest.raises(ClientClosedError):
        await carrier.send(a("GET"), limits=limits())
    await connector.close()


async def test_a_borrowed_session_that_is_closed_is_named() -> None:
    """Rather than aiohttp's RuntimeError."""
    session = aiohttp.ClientSession()
    carrier = transport("http://localhost:1", session)
    await session.close()
    with pytest.raises(ClientClosedError):
        await carrier.send(a("GET"), limits=limits())


@pytest.mark.parametrize("what", ["auth", "middlewares"])
async def test_a_borrowed_session_with_auth_or_middlewares_of_its_own_is_refused(what: str) -> None:
    """The one collides with our header, the other would silently be replaced."""

    async def pass_on(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        return await handler(request)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # aiohttp 3.14 deprecates `auth`
        given: dict[str, Any] = {"auth": aiohttp.BasicAuth("a", "b"), "middlewares": (pass_on,)}
        session = aiohttp.ClientSession(**{what: given[what]})
    async with session:
        with pytest.raises(ValueError, match=what):
            transport("http://localhost:1", session)


async def test_a_borrowed_session_may_raise_for_status() -> None:
    """Ours does not: an error is a reply."""
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n[]"
    async with (
        rude(replying(head, hang_up=False)) as server,
        aiohttp.ClientSession(raise_for_status=True) as session,
    ):
        reply = await transport(server.url, session).send(a("GET"), limits=limits())
    assert (reply.status, reply.body) == (400, b"[]")


async def test_a_borrowed_session_may_have_a_base_address_headers_and_cookies() -> None:
    """Its base address is not ours, its `Authorization` gives way to ours, its other headers and cookies are kept."""
    async with (
        rude(polite) as server,
        aiohttp.ClientSession(
            "http://elsewhere.example/api/",
            headers={"Authorization": "Bearer theirs", "X-Theirs": "1"},
            skip_auto_headers={"Content-Type"},
            cookies={"theirs": "1"},
            cookie_jar=aiohttp.CookieJar(unsafe=True),
        ) as session,
    ):
        await transport(server.url, session).send(a("PATCH"), limits=limits())
    (seen,) = server.requests
    assert seen.headers["authorization"] == KEYS
    assert seen.headers["x-theirs"] == "1"
    assert seen.headers["content-type"] == "application/json"


async def test_cookies_are_kept_by_a_borrowed_session_alone() -> None:
    """An API client has no use for them; a borrowed session's jar is its owner's business."""
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 2\r\n\r\n{}"

    async def behave(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(head)

    async with (
        rude(behave) as server,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        owned = transport(server.url)
        for carrier in (owned, transport(server.url, session)):
            for _ in range(2):
                await carrier.send(a("GET"), limits=limits())
        await owned.aclose()
    assert [seen.headers.get("cookie") for seen in server.requests] == [None, None, None, "a=1"]


async def test_a_borrowed_sessions_traces_are_called() -> None:
    """Begin and end of a call, and its exception."""
    called = []
    trace = aiohttp.TraceConfig()

    async def note(_: object, __: object, params: object) -> None:
        called.append(type(params).__name__)

    trace.on_request_start.append(note)
    trace.on_request_end.append(note)
    trace.on_request_exception.append(note)
    async with rude(polite) as server, aiohttp.ClientSession(trace_configs=[trace]) as session:
        carrier = transport(server.url, session)
        await carrier.send(a("GET"), limits=limits())
        server.behaviour = replying(b"")
        async with aiohttp.ClientSession(trace_configs=[trace]) as other:
            with pytest.raises(ResponseLostError):
                await transport(server.url, other).send(a("GET"), limits=limits())
    assert called == [
        "TraceRequestStartParams",
        "TraceRequestEndParams",
        "TraceRequestStartParams",
        "TraceRequestExceptionParams",
    ]


async def test_a_borrowed_sessions_proxy_is_used_for_plain_http() -> None:
    """The proxy gets the whole address."""
    async with rude(polite) as proxy, aiohttp.ClientSession(proxy=proxy.url) as session:
        reply = await transport("http://belvo.example", session).send(a("PATCH"), limits=limits())
    assert reply.status == 200
    (seen,) = proxy.requests
    assert seen.path == "http://belvo.example/api/links/"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", b""], ids=["403", "drop"])
async def test_a_proxy_that_opens_no_tunnel_was_told_nothing(answer: bytes) -> None:
    """CONNECT is refused or dropped: our request was never sent, and its headers not shown."""
    told = Told()
    async with rude(replying(answer)) as proxy, aiohttp.ClientSession(proxy=proxy.url) as session:
        with pytest.raises(ConnectError):
            await transport("https://belvo.example", session).send(a("PATCH"), limits=limits(), on_send=told)
    assert told.times == 0
    (seen,) = proxy.requests
    assert seen.method == "CONNECT"
    assert "authorization" not in seen.headers


async def test_a_netrc_entry_for_the_host_is_named_as_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `trust_env`, aiohttp adds keys of its own: it refuses both, or (3.13.0) replaces ours, which we undo."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with rude(polite) as server, aiohttp.ClientSession(trust_env=True) as session:
        try:
            await transport(server.url, session).send(a("PATCH"), limits=limits())
        except ConnectError as error:
            assert "netrc" in str(error)  # noqa: PT017  # which of the two happens is aiohttp's choice
            assert server.requests == []
        else:
            assert [seen.headers["authorization"] for seen in server.requests] == [KEYS]


async def test_trust_env_without_a_netrc_entry_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy is looked up, and there is none."""
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with rude(polite) as server, aiohttp.ClientSession(trust_env=True) as session:
        reply = await transport(server.url, session).send(a("PATCH"), limits=limits())
    assert reply.body == OK[-2:]
