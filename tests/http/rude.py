"""A server that misbehaves as told: raw asyncio streams, so that every byte and every hang-up is chosen by the test."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import attrs

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@attrs.frozen
class Seen:
    """A request as it came over the line."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Peer:
    """One connection, from the server's side."""

    def __init__(self, server: "RudeServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.number = server.connections

    async def request(self) -> Seen:
        """Read one request; raises IncompleteReadError when the client hangs up instead."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        seen = Seen(method, path, headers, body)
        self.server.requests.append(seen)
        self.server.got_request.set()
        return seen

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hung_up(self) -> bytes:
        """Wait until the client hangs up; returns what it still sent."""
        return await self.reader.read()

    def reset(self) -> None:
        """Drop the connection without a goodbye: what is closed with nothing to linger for is reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour = Callable[[Peer], Awaitable[object]]


class RudeServer:
    """Counts connections and requests, and leaves the rest to a behaviour."""

    def __init__(self, behaviour: Behaviour, scheme: str) -> None:
        self.behaviour = behaviour
        self.requests: list[Seen] = []
        self.connections = 0
        self.open = 0
        self.connected = asyncio.Event()
        self.got_request = asyncio.Event()
        self.all_gone = asyncio.Event()
        self.port = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self._scheme = scheme

    @property
    def url(self) -> str:
        return f"{self._scheme}://localhost:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        self.open += 1
        self.all_gone.clear()
        self.connected.set()
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await self.behaviour(Peer(self, reader, writer))
        finally:
            writer.close()
            self.tasks.discard(task)
            self.open -= 1
            if not self.open:
                self.all_gone.set()


@contextlib.asynccontextmanager
async def rude(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[RudeServer]:
    """Serve on a free port of the loopback."""
    rude_server = RudeServer(behaviour, "https" if tls else "http")
    server = await asyncio.start_server(rude_server.serve, "127.0.0.1", 0, ssl=tls)
    rude_server.port = server.sockets[0].getsockname()[1]
    try:
        yield rude_server
    finally:
        server.close()
        for task in list(rude_server.tasks):
            task.cancel()
        if rude_server.connections and rude_server.open:
            await rude_server.all_gone.wait()


async def polite(peer: Peer) -> None:
    """Answer everything with an empty object, and keep the connection alive."""
    while True:
        await peer.request()
        await peer.send(OK)


def replying(data: bytes, *, hang_up: bool = True) -> Behaviour:
    """Answer each request of a connection with these bytes, and hang up or wait for the client to do so."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        if not hang_up:
            await peer.hung_up()

    return behave


def free_port() -> int:
    """A port on which nobody listens, a moment later."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def chain(error: BaseException) -> list[BaseException]:
    """The error with everything that a traceback would print along with it, suppressed or not."""
    found: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is not None and one not in found:
            found.append(one)
            todo += [one.__cause__, one.__context__]
    return found


def told(error: BaseException) -> str:
    """Everything that an error and its chain say in any way."""
    parts: list[Any] = []
    for one in chain(error):
        parts += [str(one), repr(one), one.args, vars(one)]
    return " ".join(map(str, parts))
