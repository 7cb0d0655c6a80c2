"""Before the first byte: connecting, waiting for a connection, deadlines, cancellation."""

import asyncio
import socket
import ssl
import time
from typing import Any

import aiohttp
import aiohttp.abc
import pytest
import trustme

from belvo_links.errors import (
    BelvoLinksError,
    ClientClosedError,
    ConnectError,
    PoolTimeoutError,
    ResponseLostError,
    TransportError,
)
from belvo_links.transport.http import HttpTransport, _narrowest
from tests.http.lines import METHODS, Told, a, limits, transport
from tests.http.rude import OK, Peer, RudeServer, free_port, polite, replying, rude


class HangingResolver(aiohttp.abc.AbstractResolver):
    """Never finds anything, and says when it is asked."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def resolve(self, *_: Any, **__: Any) -> list[aiohttp.abc.ResolveResult]:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def close(self) -> None:
        pass


class LostResolver(HangingResolver):
    async def resolve(self, *_: Any, **__: Any) -> list[aiohttp.abc.ResolveResult]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def session_with(resolver: aiohttp.abc.AbstractResolver, **more: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver, **more))


def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


async def fails(carrier: HttpTransport, method: str = "PATCH", **changed: float | None) -> tuple[TransportError, Told]:
    """What a send raises, and whether anything was said to go out."""
    told = Told()
    with pytest.raises(TransportError) as caught:
        await carrier.send(a(method), limits=limits(**changed), on_send=told)
    return caught.value, told


# --- no connection ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
async def test_a_refused_connection_sent_nothing(method: str) -> None:
    """Nobody listens: ConnectError, and where there is a body, nothing was announced either."""
    carrier = transport(f"http://127.0.0.1:{free_port()}")
    error, told = await fails(carrier, method)
    await carrier.aclose()
    assert type(error) is ConnectError
    assert error.reason == "ClientConnectorError"
    if method == "PATCH":
        assert told.times == 0


@pytest.mark.parametrize("method", METHODS)
async def test_a_name_that_is_not_found_sent_nothing(method: str) -> None:
    """DNS fails."""
    async with session_with(LostResolver()) as session:
        error, _ = await fails(transport("http://belvo.example", session), method)
    assert type(error) is ConnectError
    assert error.reason == "ClientConnectorDNSError"


@pytest.mark.parametrize("method", METHODS)
async def test_an_unknown_authority_is_refused_by_default(method: str) -> None:
    """TLS is verified without being asked, and nothing is sent to whom it fails for."""
    async with rude(polite, tls=tls(trustme.CA())) as server:
        carrier = transport(server.url)
        error, _ = await fails(carrier, method)
        await carrier.aclose()
    assert type(error) is ConnectError
    assert error.reason == "ClientConnectorCertificateError"
    assert server.requests == []


async def test_a_private_authority_works_through_a_borrowed_session() -> None:
    """Whoever trusts a CA of their own brings a connector that does."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with (
        rude(polite, tls=tls(authority)) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
    ):
        reply = await transport(server.url, session).send(a("GET"), limits=limits())
    assert reply.status == 200


async def test_a_server_that_speaks_no_tls_was_told_nothing() -> None:
    """A handshake that fails in any other way is a connection that never opened."""

    async def behave(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with rude(behave) as server:
        carrier = transport(f"https://localhost:{server.port}")
        error, told = await fails(carrier)
        await carrier.aclose()
    assert type(error) is ConnectError
    assert told.times == 0


# --- limits while connecting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["connect", "opening", "total"])
@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
async def test_a_connection_that_does_not_open_is_given_up(limit: str, method: str) -> None:
    """Whichever limit comes first: nothing was sent, so it is a ConnectError, long before any other limit."""
    async with session_with(HangingResolver()) as session, asyncio.timeout(2):
        error, told = await fails(transport("http://belvo.example", session), method, **{limit: 0.05})
    assert type(error) is ConnectError
    if method == "PATCH":
        assert told.times == 0


async def test_a_tls_handshake_that_hangs_is_given_up() -> None:
    """The connection is there, the handshake is not: the connect limit covers both."""
    async with rude(lambda peer: peer.hung_up()) as server:
        carrier = transport(f"https://localhost:{server.port}")
        error, told = await fails(carrier, connect=0.05)
        await server.all_gone.wait()
        await carrier.aclose()
    assert type(error) is ConnectError
    assert told.times == 0


@pytest.mark.parametrize("method", ["GET", "PATCH"])
@pytest.mark.parametrize("limit", ["opening", "total"])
@pytest.mark.parametrize("left", [0.0, -1.0])
async def test_nothing_goes_out_when_the_time_is_already_up(method: str, limit: str, left: float) -> None:
    """Not even over a connection that is open already, and although aiohttp takes 0 for "no limit"."""
    async with rude(polite) as server:
        carrier = transport(server.url)
        await carrier.send(a("GET"), limits=limits())
        error, told = await fails(carrier, method, **{limit: left})
        await carrier.aclose()
    assert type(error) is PoolTimeoutError
    assert told.times == 0
    assert len(server.requests) == 1


async def test_waiting_for_a_slot_uses_up_the_time_to_open() -> None:
    """`opening` counts from the start: what the wait for a slot took, connecting does not get again."""
    release = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await release.wait()
        await peer.send(OK)

    async with rude(behave) as server:
        carrier = transport(server.url, max_connections=1)
        first = asyncio.create_task(carrier.send(a("GET"), limits=limits()))
        await server.got_request.wait()
        error, told = await fails(carrier, opening=0.05)
        release.set()
        await first
        await carrier.aclose()
    assert type(error) is PoolTimeoutError
    assert told.times == 0
    assert len(server.requests) == 1


async def test_a_slot_that_came_too_late_is_not_used() -> None:
    """The loop was busy elsewhere: the slot is there, and so is the deadline."""
    async with rude(polite) as server:
        carrier = transport(server.url, max_connections=1)
        await carrier._slots.acquire()
        waiting = asyncio.create_task(fails(carrier, opening=0.02))
        await asyncio.sleep(0)
        carrier._slots.release()
        time.sleep(0.03)  # noqa: ASYNC251  # blocking the loop is what is tested
        error, told = await waiting
        await carrier.aclose()
    assert type(error) in {ConnectError, PoolTimeoutError}
    assert told.times == 0
    assert server.connections == 0


async def test_a_trace_that_dawdles_past_the_deadline_keeps_the_request_back() -> None:
    """The last look at the clock comes right before the first byte."""

    async def dawdle(*_: object) -> None:
        await asyncio.sleep(0.1)

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(dawdle)
    async with rude(polite) as server, aiohttp.ClientSession(trace_configs=[trace]) as session:
        error, told = await fails(transport(server.url, session), opening=0.05)
        assert type(error) is ConnectError
        assert told.times == 0
        assert server.requests == []
        reply = await transport(server.url, session).send(a("PATCH"), limits=limits())
    assert reply.status == 200


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_a_trace_that_hangs_before_connecting_sent_nothing(method: str) -> None:
    """Our own limit ends it, and nothing of the request had reached the line."""

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(hang)
    async with rude(polite) as server, aiohttp.ClientSession(trace_configs=[trace]) as session:
        error, _ = await fails(transport(server.url, session), method, total=0.05)
    assert type(error) is ConnectError
    assert server.connections == 0


@pytest.mark.parametrize(
    "pool, slots", [({"limit": 3}, 3), ({"limit": 0}, 7), ({"limit": 5, "limit_per_host": 2}, 2), ({"limit": 50}, 7)]
)
async def test_our_slots_are_no_more_than_a_borrowed_pool_has(pool: dict[str, Any], slots: int) -> None:
    """So that our calls wait for each other at our own slots, where waiting can be told from connecting."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(**pool)) as session:
        assert _narrowest(session, 7) == slots


# --- the pool --------------------------------------------------------------------------------------------------


async def hog(peer: Peer) -> None:
    """Keep the first connection busy until the client hangs up, be polite to the others."""
    if peer.number == 1:
        await peer.request()
        await peer.hung_up()
    await polite(peer)


@pytest.mark.parametrize("method", ["GET", "PATCH"])
@pytest.mark.parametrize("limit", ["pool_wait", "total", "opening"])
async def test_no_free_slot_of_our_own_pool_in_time(method: str, limit: str) -> None:
    """PoolTimeoutError: nothing was sent, and what to change is something else than with ConnectError."""
    async with rude(hog) as server:
        carrier = transport(server.url, max_connections=1)
        busy = asyncio.create_task(carrier.send(a("GET"), limits=limits()))
        await server.got_request.wait()
        error, told = await fails(carrier, method, **{limit: 0.05})
        busy.cancel()
        with pytest.raises(asyncio.CancelledError):
            await busy
        reply = await carrier.send(a(method), limits=limits())  # the slot came back
        await carrier.aclose()
    assert type(error) is PoolTimeoutError
    assert told.times == 0
    assert reply.status == 200


@pytest.mark.parametrize("method", ["GET", "PATCH"])
@pytest.mark.parametrize("pool", [{"limit": 1}, {"limit": 10, "limit_per_host": 1}], ids=["limit", "per host"])
@pytest.mark.parametrize("whose", ["ours", "others"])
async def test_no_free_connection_of_a_borrowed_pool_in_time(method: str, pool: dict[str, Any], whose: str) -> None:
    """The same for a connector that is not ours, whether we filled it or somebody else did."""
    async with rude(hog) as server, aiohttp.ClientSession(connector=aiohttp.TCPConnector(**pool)) as session:
        carrier = transport(server.url, session)

        async def keep_busy() -> None:
            if whose == "ours":
                await carrier.send(a("GET"), limits=limits())
            else:
                await session.get(server.url)

        busy = asyncio.create_task(keep_busy())
        await server.got_request.wait()
        async with asyncio.timeout(2):
            error, told = await fails(carrier, method, pool_wait=0.05)
        busy.cancel()
        with pytest.raises(asyncio.CancelledError):
            await busy
        reply = await carrier.send(a(method), limits=limits())
    assert type(error) is PoolTimeoutError
    if method == "PATCH":
        assert told.times == 0
    assert reply.status == 200


async def test_a_full_pool_does_not_hide_that_a_request_was_sent() -> None:
    """It waited in a borrowed pool, then was sent, then its reply did not come: that is lost, not a full pool."""
    async with rude(hog) as server, session_limited_to_one() as session:
        carrier = transport(server.url, session)
        busy = asyncio.create_task(session.get(server.url))
        await server.got_request.wait()
        server.behaviour = replying(b"", hang_up=False)
        waits = asyncio.create_task(fails(carrier, reply=0.05))
        await asyncio.sleep(0)
        busy.cancel()
        with pytest.raises(asyncio.CancelledError):
            await busy
        error, told = await waits
    assert type(error) is ResponseLostError
    assert told.times == 1


def session_limited_to_one() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))


async def test_slots_bound_the_connections_and_all_come_back() -> None:
    """Twenty calls over two connections: no more than two at once, and none is lost on the way."""
    async with rude(polite) as server:
        carrier = transport(server.url, max_connections=2)
        async with asyncio.TaskGroup() as group:
            for method in METHODS * 4:
                group.create_task(carrier.send(a(method), limits=limits()))
        await carrier.aclose()
    assert len(server.requests) == 20
    assert server.connections <= 2


@pytest.mark.parametrize("number", [0, -1])
def test_no_connections_at_all_are_refused(number: int) -> None:
    """Rather than waiting for one that never comes."""
    with pytest.raises(ValueError, match="max_connections"):
        transport("http://localhost", max_connections=number)


# --- cancellation ----------------------------------------------------------------------------------------------


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_cancelled_while_waiting_for_a_slot(method: str) -> None:
    """Nothing was sent, and the slot that was waited for stays usable."""
    async with rude(hog) as server:
        carrier = transport(server.url, max_connections=1)
        busy = asyncio.create_task(carrier.send(a("GET"), limits=limits()))
        await server.got_request.wait()
        told = Told()
        waiting = asyncio.create_task(carrier.send(a(method), limits=limits(), on_send=told))
        await asyncio.sleep(0)
        await cancelled(waiting)
        await cancelled(busy)
        assert (await carrier.send(a(method), limits=limits())).status == 200
        await carrier.aclose()
    assert told.times == 0
    assert len(server.requests) == 2


async def test_cancelled_in_the_moment_in_which_a_slot_becomes_free() -> None:
    """Being let in and being cancelled at once must not lose the slot."""
    async with rude(hog) as server:
        carrier = transport(server.url, max_connections=1)
        busy = asyncio.create_task(carrier.send(a("GET"), limits=limits()))
        await server.got_request.wait()
        waiting = asyncio.create_task(carrier.send(a("PATCH"), limits=limits()))
        await asyncio.sleep(0)
        busy.add_done_callback(lambda _: waiting.cancel())
        await cancelled(busy)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await carrier.send(a("GET"), limits=limits())).status == 200
        await carrier.aclose()


async def test_cancelled_while_connecting() -> None:
    """`on_send` was not called: nothing was sent."""
    resolver = HangingResolver()
    async with session_with(resolver) as session:
        carrier = transport("http://belvo.example", session, max_connections=1)
        told = Told()
        task = asyncio.create_task(carrier.send(a("PATCH"), limits=limits(), on_send=told))
        await resolver.asked.wait()
        await cancelled(task)
        error, _ = await fails(carrier, connect=0.01)  # the slot came back
    assert told.times == 0
    assert type(error) is ConnectError


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"], ids=["silent", "mid-body"])
@pytest.mark.parametrize("method", METHODS)
async def test_cancelled_after_sending(method: str, begun: bytes) -> None:
    """`on_send` was called, the connection is closed, the slot comes back."""
    async with rude(replying(begun, hang_up=False)) as server:
        carrier = transport(server.url, max_connections=1)
        told = Told()
        task = asyncio.create_task(carrier.send(a(method), limits=limits(), on_send=told))
        await server.got_request.wait()
        await cancelled(task)
        await server.all_gone.wait()
        server.behaviour = polite
        assert (await carrier.send(a(method), limits=limits())).status == 200
        await carrier.aclose()
    assert told.times == 1


@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST"])
async def test_nothing_leaves_before_on_send_was_called(method: str) -> None:
    """Cancelled after any number of turns of the loop: the server saw a request only if `on_send` had been called."""
    outcomes = set()
    for turns in range(40):
        async with rude(polite) as server:
            carrier = transport(server.url)
            told = Told()
            task = asyncio.create_task(carrier.send(a(method), limits=limits(), on_send=told))
            for _ in range(turns):
                await asyncio.sleep(0)
            done = task.done()
            if done:
                await task
            else:
                await cancelled(task)
            announced = told.times
            await carrier.aclose()
            if server.connections:
                await server.all_gone.wait()
            assert told.times == announced  # nothing happens after the call has ended
            assert len(server.requests) <= told.times
            outcomes.add((bool(told.times), done))
    assert (False, False) in outcomes
    assert (True, True) in outcomes or (True, False) in outcomes


async def test_a_failing_on_send_keeps_the_request_back() -> None:
    """Whoever cannot note that it goes out does not want it to."""

    def fail() -> None:
        raise LookupError

    async with rude(polite) as server:
        carrier = transport(server.url)
        with pytest.raises(ConnectError):
            await carrier.send(a("PATCH"), limits=limits(), on_send=fail)
        await carrier.aclose()
    assert server.requests == []


# --- closing under way -----------------------------------------------------------------------------------------


async def closes(server: RudeServer, carrier: HttpTransport, method: str) -> tuple[BelvoLinksError, Told]:
    told = Told()
    task = asyncio.create_task(carrier.send(a(method), limits=limits(), on_send=told))
    await server.got_request.wait()
    await carrier.aclose()
    with pytest.raises(BelvoLinksError) as caught:
        await task
    return caught.value, told


@pytest.mark.parametrize("method", METHODS)
async def test_closing_while_a_reply_is_awaited_loses_it(method: str) -> None:
    """The request was sent; that the client was closed does not undo it."""
    async with rude(replying(b"", hang_up=False)) as server:
        error, told = await closes(server, transport(server.url), method)
    assert type(error) is ResponseLostError
    assert told.times == 1


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_closing_a_borrowed_session_while_connecting_is_no_cancellation(method: str) -> None:
    """aiohttp cancels what waits inside it; the caller's task was not cancelled, so the call says what happened."""
    resolver = HangingResolver()
    session = session_with(resolver)
    told = Told()
    carrier = transport("http://belvo.example", session)
    task = asyncio.create_task(carrier.send(a(method), limits=limits(), on_send=told))
    await resolver.asked.wait()
    await session.close()
    with pytest.raises(ClientClosedError):
        await task
    if method == "PATCH":
        assert told.times == 0


async def test_closing_while_others_wait_for_a_slot_turns_them_away() -> None:
    """They must not open a new session after the end."""
    async with rude(replying(b"", hang_up=False)) as server:
        carrier = transport(server.url, max_connections=1)
        busy = asyncio.create_task(carrier.send(a("GET"), limits=limits()))
        await server.got_request.wait()
        waiting = asyncio.create_task(carrier.send(a("PATCH"), limits=limits()))
        await asyncio.sleep(0)
        await carrier.aclose()
        with pytest.raises(ResponseLostError):
            await busy
        with pytest.raises(ClientClosedError):
            await waiting
    assert len(server.requests) == 1
