"""Replies that go wrong, over real sockets."""

import asyncio
import gzip
import tracemalloc
import zlib

import aiohttp
import pytest

from belvo_links.errors import ConnectError, ResponseLostError, UnexpectedResponseError
from belvo_links.transport.messages import Request
from tests.http.lines import KEYS, METHODS, TOKEN, Told, a, limits, transport
from tests.http.rude import OK, Peer, polite, replying, rude, told


@pytest.mark.parametrize("method", METHODS)
async def test_a_request_goes_out_once_with_our_headers_and_its_reply_is_read(method: str) -> None:
    """The plain case: origin, keys, body and nothing that nobody asked for."""
    async with rude(polite) as server:
        carrier = transport(server.url)
        on_send = Told()
        reply = await carrier.send(a(method), limits=limits(), on_send=on_send)
        await carrier.aclose()
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"{}", "application/json")
    assert on_send.times == 1
    (seen,) = server.requests
    assert (seen.method, seen.path, seen.headers["authorization"]) == (method, "/api/links/", KEYS)
    assert seen.headers["accept"] == "application/json"
    assert seen.headers["user-agent"] == "belvo_links"
    if method in {"POST", "PUT", "PATCH"}:
        assert (seen.body, seen.headers["content-type"]) == (TOKEN, "application/json")
    else:
        assert seen.body == b""
        assert "content-type" not in seen.headers


async def test_query_and_path_are_encoded_once_and_the_base_path_is_kept() -> None:
    """A base address may hold a path; names and values of the query are encoded, what the path holds is left."""
    request = Request(method="GET", path="/api/links/", query=(("id", "a b"), ("id", "c&d/é")))
    async with rude(polite) as server:
        carrier = transport(server.url + "/proxy/")
        await carrier.send(request, limits=limits())
        await carrier.aclose()
    assert server.requests[0].path == "/proxy/api/links/?id=a+b&id=c%26d/%C3%A9"


async def test_a_connection_is_reused_after_a_reply_was_read_to_its_end() -> None:
    """Ten requests, one connection."""
    async with rude(polite) as server:
        carrier = transport(server.url)
        for _ in range(10):
            await carrier.send(a("GET"), limits=limits())
        await carrier.aclose()
    assert (len(server.requests), server.connections) == (10, 1)


@pytest.mark.parametrize("method", METHODS)
async def test_a_reply_dropped_after_processing_is_lost(method: str) -> None:
    """The server got the request and hung up without a word: it may have been carried out."""
    async with rude(replying(b"")) as server:
        carrier = transport(server.url)
        with pytest.raises(ResponseLostError) as caught:
            await carrier.send(a(method), limits=limits())
        await carrier.aclose()
    assert len(server.requests) == 1
    assert caught.value.reason == "ServerDisconnectedError"
    assert (caught.value.method, caught.value.path) == (method, "/api/links/")


@pytest.mark.parametrize("method", METHODS)
async def test_a_connection_reset_after_the_request_is_a_lost_reply(method: str) -> None:
    """The same with a reset instead of a goodbye, which surfaces as an OSError."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with rude(behave) as server:
        carrier = transport(server.url)
        with pytest.raises(ResponseLostError):
            await carrier.send(a(method), limits=limits())
        await carrier.aclose()
    assert len(server.requests) == 1


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", METHODS)
async def test_accepting_and_hanging_up_is_never_taken_for_a_reply(method: str, how: str) -> None:
    """Whether the request was still written is a race; what counts is that the report does not claim too little."""

    async def behave(peer: Peer) -> None:
        if how == "reset":
            peer.reset()

    async with rude(behave) as server:
        carrier = transport(server.url)
        on_send = Told()
        with pytest.raises((ConnectError, ResponseLostError)) as caught:
            await carrier.send(a(method), limits=limits(), on_send=on_send)
        await carrier.aclose()
    if method not in {"GET", "DELETE"}:
        assert isinstance(caught.value, ResponseLostError) == bool(on_send.times)


@pytest.mark.parametrize("method", METHODS)
async def test_a_kept_alive_connection_closed_under_the_next_request_is_not_replayed(method: str) -> None:
    """aiohttp repeats GET, PUT and DELETE by itself here: a token inside a PUT would reach the server twice."""
    served = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number == 1:
            served.set()
            await peer.request()  # read, and not answered: the client meets a closed connection
            peer.reset()
        else:
            await polite(peer)

    async with rude(behave) as server:
        carrier = transport(server.url)
        await carrier.send(a("GET"), limits=limits())
        await served.wait()
        on_send = Told()
        with pytest.raises(ResponseLostError):
            await carrier.send(a(method), limits=limits(), on_send=on_send)
        await carrier.aclose()
    assert on_send.times == 1
    assert [seen.method for seen in server.requests] == ["GET", method]
    assert server.connections == 1


@pytest.mark.parametrize("method", METHODS)
async def test_a_connection_that_dies_in_the_moment_of_writing_is_not_replayed(method: str) -> None:
    """The server closes while the client sends: not more than one request comes in, and it is reported as lost."""
    session = aiohttp.ClientSession()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number > 1:
            await polite(peer)
        sock = peer.writer.get_extra_info("socket")
        sock.shutdown(2)  # the peer's kernel knows, its event loop does not yet: the next write goes into the void

    async with rude(behave) as server, session:
        carrier = transport(server.url, session)
        sends = asyncio.create_task(carrier.send(a("GET"), limits=limits()))
        await sends
        try:
            await carrier.send(a(method), limits=limits())
        except (ResponseLostError, ConnectError):
            assert len(server.requests) == 1
        else:  # the close was noticed in time, and a new connection opened
            assert server.connections == 2


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", id="shorter than its length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", id="last chunk missing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}", id="inside a chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", id="no chunk at all"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="inside the headers"),
        pytest.param(b"HTTP/1.1 200", id="inside the status line"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", id="gzip that is none"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + gzip.compress(b"{}" * 99)[:20],
            id="gzip that ends too early",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", id="a header without end"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_a_cut_or_unreadable_reply_is_lost(method: str, cut: bytes) -> None:
    """Whatever aiohttp calls it: the request was sent, and there is no reply."""
    async with rude(replying(cut)) as server:
        carrier = transport(server.url)
        with pytest.raises(ResponseLostError):
            await carrier.send(a(method), limits=limits())
        await carrier.aclose()
    assert len(server.requests) == 1


async def test_a_gateways_page_is_handed_on_as_it_is() -> None:
    """Reading it is not the transport's business."""
    page = b"<html>Bad gateway</html>"
    head = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page)
    async with rude(replying(head + page)) as server:
        carrier = transport(server.url)
        reply = await carrier.send(a("GET"), limits=limits())
        await carrier.aclose()
    assert (reply.status, reply.body, reply.headers["content-type"]) == (502, page, "text/html")


async def test_an_endless_body_is_refused_at_the_limit_in_bounded_memory() -> None:
    """The rest is never read, the connection is not used again, and no more than the limit is held."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.send(b"x" * 65_536)

    async with rude(behave) as server:
        carrier = transport(server.url, max_reply_bytes=1_000_000)
        tracemalloc.start()
        try:
            with pytest.raises(UnexpectedResponseError) as caught:
                await carrier.send(a("GET"), limits=limits())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await server.all_gone.wait()
        await carrier.aclose()
    assert caught.value.status == 200
    assert caught.value.problems == ("$: larger than 1000000 bytes",)
    assert peak < 8_000_000


async def test_a_bomb_is_defused_at_the_limit() -> None:
    """A hundred kilobytes that unpack to a hundred megabytes are unpacked no further than allowed."""
    bomb = gzip.compress(bytes(100_000_000))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with rude(replying(head + bomb, hang_up=False)) as server:
        carrier = transport(server.url, max_reply_bytes=1_000_000)
        tracemalloc.start()
        try:
            with pytest.raises(UnexpectedResponseError):
                await carrier.send(a("GET"), limits=limits())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await carrier.aclose()
    assert peak < 8_000_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZIP"])
async def test_a_packed_reply_is_unpacked(encoding: str) -> None:
    """Also where a borrowed session would not; a reply without a body has nothing to unpack."""
    pack = zlib.compress if encoding == "deflate" else gzip.compress
    body = pack(b'{"count":0}')
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: ".encode()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(head + b"%d\r\n\r\n" % len(body) + body)
        await peer.request()
        await peer.send(head + b"0\r\n\r\n")

    async with rude(behave) as server, aiohttp.ClientSession(auto_decompress=False) as session:
        for carrier in (transport(server.url), transport(server.url, session)):
            assert (await carrier.send(a("GET"), limits=limits())).body == b'{"count":0}'
            assert (await carrier.send(a("GET"), limits=limits())).body == b""
            await carrier.aclose()
    assert {seen.headers["accept-encoding"] for seen in server.requests} == {"gzip"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["silence", "headers that do not end"])
async def test_a_reply_that_does_not_come_is_lost_after_its_limit(method: str, begun: bytes) -> None:
    """The server has the request and stays silent."""
    async with rude(replying(begun, hang_up=False)) as server:
        carrier = transport(server.url)
        async with asyncio.timeout(2):
            with pytest.raises(ResponseLostError):
                await carrier.send(a(method), limits=limits(reply=0.05))
        await server.all_gone.wait()
        await carrier.aclose()
    assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_a_dribbling_reply_is_cut_at_its_limit(method: str) -> None:
    """A byte now and then keeps any limit between two reads away; the limit is for the whole reply."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await peer.send(b"x")
            await asyncio.sleep(0.01)

    async with rude(behave) as server:
        carrier = transport(server.url)
        async with asyncio.timeout(2):
            with pytest.raises(ResponseLostError):
                await carrier.send(a(method), limits=limits(reply=0.1, connect=60.0))
        await server.all_gone.wait()
        await carrier.aclose()


async def test_dribbling_headers_are_cut_too() -> None:
    """Without a body the moment of sending is not known: then connecting and replying share one limit."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            await peer.send(b"x")
            await asyncio.sleep(0.01)

    async with rude(behave) as server:
        carrier = transport(server.url)
        async with asyncio.timeout(2):
            with pytest.raises(ResponseLostError):
                await carrier.send(a("GET"), limits=limits(reply=0.05, connect=0.05))
        await server.all_gone.wait()
        await carrier.aclose()


@pytest.mark.parametrize("limit", ["reply", "total"])
@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_after_a_timeout_no_half_read_connection_is_used_again(method: str, limit: str) -> None:
    """The late rest of one reply must not be taken for the next one."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst")
            await peer.hung_up()
        else:
            await peer.send(OK)
            await polite(peer)

    async with rude(behave) as server:
        carrier = transport(server.url)
        with pytest.raises(ResponseLostError):
            await carrier.send(a(method), limits=limits(**{limit: 0.05}))
        reply = await carrier.send(a(method), limits=limits())
        await carrier.aclose()
    assert reply.body == b"{}"
    assert server.connections == 2


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_a_broken_status_line_that_echoes_the_request_is_not_repeated_to_the_caller(method: str) -> None:
    """aiohttp's own error shows the bytes of the reply and our headers: neither it nor its text may be left."""

    async def behave(peer: Peer) -> None:
        seen = await peer.request()
        echo = " ".join(f"{name}:{value}" for name, value in seen.headers.items())
        await peer.send(f"OOPS {seen.method} {seen.path} {echo} {seen.body.decode()}\r\n\r\n".encode())

    async with rude(behave) as server:
        carrier = transport(server.url)
        with pytest.raises(ResponseLostError) as caught:
            await carrier.send(a(method), limits=limits())
        await carrier.aclose()
    words = told(caught.value)
    assert KEYS not in words
    assert KEYS.partition(" ")[2] not in words
    assert "918273" not in words
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed_and_the_second_origin_learns_nothing(status: int) -> None:
    """A redirect is a reply like any other."""
    async with rude(polite) as other:
        head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {other.url}/api/links/\r\nContent-Length: 0\r\n\r\n"
        async with rude(replying(head.encode(), hang_up=False)) as server:
            carrier = transport(server.url)
            reply = await carrier.send(a("PUT"), limits=limits())
            await carrier.aclose()
    assert reply.status == status
    assert len(server.requests) == 1
    assert other.connections == 0


async def test_an_early_reply_to_a_body_that_is_still_being_sent_is_read() -> None:
    """A server may refuse before it has read everything."""
    request = Request(method="POST", path="/api/links/", body=a("POST").body)
    head = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    async def behave(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(head)
        await peer.hung_up()

    async with rude(behave) as server:
        carrier = transport(server.url)
        reply = await carrier.send(request, limits=limits())
        await carrier.aclose()
    assert reply.status == 413
