"""aiohttp's client, held to what this package promises: the only module that speaks to it.

* One session, owned and opened on first use, or borrowed and never closed.
* Requests go to one origin only; redirects are not followed; the ``Authorization`` header is set per request.
* aiohttp repeats GET, PUT, DELETE and others by itself when a kept-alive connection turns out closed; here it does
  not, since a token inside a PUT would reach the service twice.
* Replies are read to their end, up to a size.
* Every failure is told apart by what matters: was anything sent? Nothing of aiohttp's errors is passed on, since some
  of them print headers and bodies.
"""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sized
from typing import Any, Final, Self, TypeAlias

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload
from yarl import URL

from belvo_links.errors import (
    BelvoLinksError,
    ClientClosedError,
    ConnectError,
    LoopMismatchError,
    PoolTimeoutError,
    ResponseLostError,
    TransportError,
    UnexpectedResponseError,
)
from belvo_links.redact import Secret
from belvo_links.transport.messages import Request, Response
from belvo_links.transport.timeouts import AttemptLimits, least
from belvo_links.wire import Unpacker

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
"""A page of 1,000 links has about half a megabyte."""

_UNSENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)


OnSend: TypeAlias = Callable[[], None]


class _BrokenOffError(Exception):
    """Stands in for an error that aiohttp would answer by sending the request again."""


class _TellingPayload(BytesPayload):
    """A body that says when it is about to be written: aiohttp holds the headers back until then."""

    def __init__(self, body: bytes, on_write: OnSend) -> None:
        super().__init__(body, content_type="application/json")
        self._on_write = on_write

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._on_write()
        await super().write_with_length(writer, content_length)


class HttpTransport:
    """Carries requests to one origin through aiohttp.

    Args:
        base_url: scheme, host and port, with a path if the service lives below one.
        authorization: the value of the ``Authorization`` header.
        http_session: a session to borrow; it is never closed here.
        max_connections: how many requests may be under way at once.
        user_agent: how to introduce oneself.
        max_reply_bytes: how large a reply may be, decompressed.

    Raises:
        ValueError: the borrowed session has ``auth`` or middlewares, which collide with ours, or no connection is left.
    """

    def __init__(
        self,
        base_url: str,
        authorization: Secret[str],
        *,
        http_session: aiohttp.ClientSession | None = None,
        max_connections: int = 100,
        user_agent: str = "belvo_links",
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> None:
        if max_connections < 1:
            msg = "max_connections: give 1 or more"
            raise ValueError(msg)
        if http_session is not None:
            _refuse_collisions(http_session)
            max_connections = _narrowest(http_session, max_connections)
        self._base = base_url.rstrip("/")
        self._authorization = authorization
        self._user_agent = user_agent
        self._max_reply_bytes = max_reply_bytes
        self._borrowed = http_session is not None
        self._session = http_session
        self._keeper: AsyncGenerator[aiohttp.ClientSession] | None = None
        self._slots = asyncio.Semaphore(max_connections)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def check(self) -> None:
        """Raise unless a call can be made here and now.

        Raises:
            ClientClosedError: it is closed, or the borrowed session is.
            LoopMismatchError: the running event loop is not the one of the first call.
        """
        if self._closed:
            raise ClientClosedError
        loop = asyncio.get_running_loop()
        if self._loop is None:
            # aiohttp has no public way to ask for a session's loop; used in another one, it hangs.
            if self._borrowed and getattr(self._session, "_loop", loop) is not loop:
                msg = "The borrowed HTTP session belongs to another event loop."
                raise LoopMismatchError(msg)
            self._loop = loop
        elif self._loop is not loop:
            raise LoopMismatchError
        if self._is_closed():
            raise ClientClosedError

    def _is_closed(self) -> bool:
        return self._closed or (self._session is not None and self._session.closed)

    async def send(self, request: Request, *, limits: AttemptLimits, on_send: OnSend | None = None) -> Response:
        """Send one request and read its reply; see :class:`belvo_links.transport.base.Transport`."""
        self.check()
        sending = _Sending(request, self._authorization, limits, on_send)
        failure: BelvoLinksError
        try:
            async with sending.whole:
                return await self._send_in_turn(request, limits, sending)
        except BelvoLinksError:
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled the task: aiohttp cancels what waits inside it when its session is closed.
            failure = sending.translate(error, closed=True)
        except Exception as error:  # noqa: BLE001  # no error of aiohttp escapes, not even one it does not document
            failure = sending.translate(error, closed=self._is_closed())
        # Outside of the handler, so that aiohttp's error, which may print headers, is not even the suppressed context.
        raise failure

    async def _send_in_turn(self, request: Request, limits: AttemptLimits, sending: _Sending) -> Response:
        patience = least(limits.total, limits.opening, limits.pool_wait)
        if patience <= 0:  # asyncio.timeout lets what does not suspend pass, and all of a request may not
            raise TimeoutError
        if self._slots.locked():
            async with asyncio.timeout(patience):
                await self._slots.acquire()
        else:
            await self._slots.acquire()  # does not suspend
        sending.has_slot = True
        try:
            return await self._exchange(request, limits, sending)
        finally:
            self._slots.release()

    async def _exchange(self, request: Request, limits: AttemptLimits, sending: _Sending) -> Response:
        """Make one HTTP exchange over a connection from the pool."""
        session = await self._open_session()
        sending.must_queue = self._borrowed and _is_full(session)
        opening = least(limits.pool_wait if sending.must_queue else limits.connect, sending.opening_left())
        if opening <= 0:  # aiohttp takes 0 for "no limit"
            raise ConnectError(method=request.method, path=request.path, reason="deadline")
        headers = {
            **request.headers,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Authorization": self._authorization.reveal(),
            "User-Agent": self._user_agent,
        }
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        url = URL(self._base + request.path, encoded=True)
        async with (
            sending.exchange_within(opening),
            session.request(
                request.method,
                url.with_query(list(request.query)) if request.query else url,
                headers=headers,
                data=sending.payload(),
                allow_redirects=False,
                auto_decompress=False,  # aiohttp unpacks a bomb before anyone can ask for its size
                raise_for_status=False,
                middlewares=(sending.pass_on,),
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    connect=opening,
                    sock_connect=min(limits.connect, opening),
                    sock_read=limits.reply,
                    ceil_threshold=float("inf"),  # no rounding up to whole seconds
                ),
            ) as reply,
        ):
            return Response(
                status=reply.status,
                headers={name.lower(): value for name, value in reply.headers.items()},
                body=await self._read(reply),
            )

    async def _read(self, reply: aiohttp.ClientResponse) -> bytes:
        unpacker = Unpacker(reply.headers.get("Content-Encoding", ""))
        chunks: list[bytes] = []
        size = 0
        async for packed in reply.content.iter_any():
            for chunk in unpacker.feed(packed):
                size += len(chunk)
                if size > self._max_reply_bytes:
                    reply.close()
                    problem = f"$: larger than {self._max_reply_bytes} bytes"
                    raise UnexpectedResponseError(status=reply.status, problems=[problem])
                chunks.append(chunk)
        unpacker.finish()
        return b"".join(chunks)

    async def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._keeper = _owned_session()
            self._session = await anext(self._keeper)  # does not suspend
        return self._session

    async def aclose(self) -> None:
        """Close the session if it is ours. May be called twice, and from any event loop, also after its own is gone."""
        self._closed = True
        session, keeper, home = self._session, self._keeper, self._loop
        if session is None or session.closed or keeper is None or home is None:
            return
        if home is asyncio.get_running_loop():
            await keeper.aclose()
        elif home.is_running():
            await _run_elsewhere(keeper.aclose(), home)
        elif home.is_closed():  # one that is halted closes it when it goes on or is shut down
            # Reached only where it was not shut down as asyncio.run does it; there is nothing to wait for then.
            with contextlib.suppress(RuntimeError):
                await session.close()

    def __del__(self) -> None:
        if getattr(self, "_keeper", None) is None or self._closed:
            return
        self._session = self._keeper = None  # forgotten by us, the session is closed by its loop: see _owned_session
        warnings.warn(
            "A BelvoLinks client was not closed; use `async with` or `await client.aclose()`.",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )


async def _owned_session() -> AsyncGenerator[aiohttp.ClientSession]:
    """Keep a session open until this generator is closed.

    Event loops close generators that were forgotten, and, when they are shut down, all that are left. So a session that
    lives in one ends with its loop, and with a client that nobody closed, and leaves no sockets behind.
    """
    # The number of connections is bounded by our own slots, so that waiting for one can be told apart.
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def _run_elsewhere(job: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> None:
    """Run a job in another running event loop, and wait for it as long as that loop runs."""
    running = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(job, loop))
    while loop.is_running() and not running.done():
        await asyncio.wait((running,), timeout=0.05)


def _refuse_collisions(session: aiohttp.ClientSession) -> None:
    # aiohttp has no public way to ask for middlewares; ours would silently replace them for each request.
    for name, what in (("auth", session.auth), ("middlewares", getattr(session, "_middlewares", ()))):
        if what:
            msg = f"http_session: it has {name} of its own, which would collide with ours; give one without"
            raise ValueError(msg)


def _narrowest(session: aiohttp.ClientSession, most: int) -> int:
    """Return how many requests to have under way, so that waiting happens at our own slots, where it can be told."""
    limits = (c.limit, c.limit_per_host) if (c := session.connector) is not None else ()
    return min([most, *(limit for limit in limits if limit > 0)])  # aiohttp says 0 for "no limit"


def _is_full(session: aiohttp.ClientSession) -> bool:
    """Return whether others have taken all connections of a borrowed session, so that a request waits for one."""
    if (connector := session.connector) is None:
        return False
    # aiohttp has no public way to ask. Without an answer, waiting is taken for connecting.
    taken = len(getattr(connector, "_acquired", ()))
    per_host: Mapping[object, Sized] = getattr(connector, "_acquired_per_host", {})
    most = max(map(len, per_host.values()), default=0)
    return 0 < connector.limit <= taken or 0 < connector.limit_per_host <= most


class _Sending:
    """How far one request has come, and what a failure therefore means."""

    def __init__(self, request: Request, keys: Secret[str], limits: AttemptLimits, on_send: OnSend | None) -> None:
        self._request = request
        self._keys = keys
        self._limits = limits
        self._on_send = on_send
        self._clock = asyncio.get_running_loop().time
        self._opens_by = None if limits.opening is None else self._clock() + limits.opening
        self.whole = asyncio.timeout(limits.total)
        self._exchange = asyncio.timeout(None)
        self.has_slot = False
        self.must_queue = False
        self._reached_aiohttp = False
        self._sent = False

    def __deepcopy__(self, memo: object) -> Self:
        return self  # tools that record calls, as aioresponses does, would copy the event loop along

    def opening_left(self) -> float | None:
        """Return the seconds until it is too late to begin sending, or ``None`` where it never is."""
        return None if self._opens_by is None else self._opens_by - self._clock()

    def exchange_within(self, opening: float) -> asyncio.Timeout:
        """Return the limit of the exchange: of its opening, and then of the reply, as soon as that moment is known."""
        self._exchange = asyncio.timeout(opening + self._limits.reply)
        return self._exchange

    def payload(self) -> _TellingPayload | None:
        """Return the body; without one the moment of sending cannot be told beforehand, so it is now."""
        if self._request.body is not None:
            return _TellingPayload(self._request.body.reveal(), self._about_to_write)
        if self._on_send is not None:
            self._on_send()
        return None

    def _about_to_write(self) -> None:
        left = self.opening_left()
        if left is not None and left <= 0:
            raise TimeoutError  # nothing is written then
        self._exchange.reschedule(self._clock() + self._limits.reply)  # or raises: the time was up
        if self._on_send is not None:
            self._on_send()
        self._sent = True

    async def pass_on(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """A middleware that keeps aiohttp from repeating the request (after these two errors, if idempotent)."""
        self._reached_aiohttp = True
        # With trust_env, aiohttp 3.13.0 puts the keys of a netrc file in the place of ours.
        request.headers["Authorization"] = self._keys.reveal()
        try:
            reply = await handler(request)
        except _UNSENT:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            cause = type(error).__name__
        else:
            if self._request.body is None:  # not knowing when it was sent, limit at least what is left of the reply
                self._exchange.reschedule(self._clock() + self._limits.reply)
            return reply
        finally:
            if self._request.body is None:
                # aiohttp makes the object for the response when it has written a request that has no body.
                self._sent = getattr(request, "response", request) is not None
        raise _BrokenOffError(cause)

    def translate(self, error: BaseException, *, closed: bool) -> BelvoLinksError:
        """Return our error for one of aiohttp's, by what is known about sending and closing."""
        reason = str(error) if isinstance(error, _BrokenOffError) else type(error).__name__
        kind: type[TransportError] = ConnectError
        if not self.has_slot or (self.must_queue and not self._sent and isinstance(error, TimeoutError)):
            kind = PoolTimeoutError
        elif not isinstance(error, _UNSENT) and self._may_be_sent(error):
            kind = ResponseLostError
        elif closed:
            return ClientClosedError()
        elif isinstance(error, ValueError) and not self._reached_aiohttp:
            reason += "; with trust_env, see that no netrc file has an entry for this host"
        return kind(method=self._request.method, path=self._request.path, reason=reason)

    def _may_be_sent(self, error: BaseException) -> bool:
        if self._reached_aiohttp:
            return self._sent
        # Either it failed before, by a wrong address or our own limits, or aiohttp is a stand-in that passes
        # middlewares by and knows nothing about sending: then the worst is taken.
        ours = self.whole.expired() or self._exchange.expired()
        return isinstance(error, aiohttp.ClientError | OSError) and not ours
