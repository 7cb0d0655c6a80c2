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
import warnings
from collections.abc import Callable
from typing import Final

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
    UnexpectedResponseError,
)
from belvo_links.redact import Secret
from belvo_links.transport.messages import Request, Response
from belvo_links.transport.timeouts import AttemptLimits

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


class _BrokenOffError(Exception):
    """Stands in for an error that aiohttp would answer by sending the request again."""


class _TooLargeError(Exception):
    """The reply is larger than allowed."""


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating the request by itself (it does so on these two errors, for idempotent methods)."""
    try:
        return await handler(request)
    except _UNSENT:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        cause = type(error).__name__
    raise _BrokenOffError(cause)


class _TellingPayload(BytesPayload):
    """A body that says when it is about to be written: aiohttp holds the headers back until then."""

    def __init__(self, body: bytes, on_send: Callable[[], None]) -> None:
        super().__init__(body, content_type="application/json")
        self._on_send = on_send

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._on_send()
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
        ValueError: the borrowed session has ``auth`` or middlewares of its own, which would collide with ours.
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
        if http_session is not None:
            _refuse_collisions(http_session)
        self._base = base_url.rstrip("/")
        self._authorization = authorization
        self._user_agent = user_agent
        self._max_reply_bytes = max_reply_bytes
        self._borrowed = http_session is not None
        self._session = http_session
        self._slots = asyncio.Semaphore(max_connections)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def check(self) -> None:
        """Raise unless a call can be made here and now.

        Raises:
            ClientClosedError: it is closed, or the borrowed session is.
            LoopMismatchError: the running event loop is not the one of the first call.
        """
        if self._closed or (self._borrowed and self._session is not None and self._session.closed):
            raise ClientClosedError
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise LoopMismatchError

    async def send(
        self, request: Request, *, limits: AttemptLimits, on_send: Callable[[], None] | None = None
    ) -> Response:
        """Send one request and read its reply; see :class:`belvo_links.transport.base.Transport`."""
        self.check()
        sending = _Sending(request, on_send)
        failure: BelvoLinksError
        try:
            async with asyncio.timeout(limits.total):
                await self._wait_for_slot(_least(limits.pool_wait, limits.opening))
                sending.has_slot = True
                try:
                    return await self._exchange(request, limits, sending)
                finally:
                    self._slots.release()
        except _TooLargeError:
            failure = sending.too_large(self._max_reply_bytes)
        except (
            aiohttp.ClientError,
            _BrokenOffError,
            TimeoutError,
            OSError,
            ValueError,
            RuntimeError,
        ) as error:
            failure = sending.translate(error)
        # Outside of the handler, so that aiohttp's error, which may print headers, is not even the suppressed context.
        raise failure

    async def _wait_for_slot(self, patience: float) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # does not suspend
            return
        async with asyncio.timeout(patience):
            await self._slots.acquire()

    async def _exchange(self, request: Request, limits: AttemptLimits, sending: _Sending) -> Response:
        """Make one HTTP exchange over a connection from the pool."""
        opening = _least(limits.connect + (limits.pool_wait if self._borrowed else 0.0), limits.opening)
        sending.opening_ends(opening if opening > limits.connect else None)
        url = URL(self._base + request.path, encoded=True)
        async with (
            asyncio.timeout(opening + limits.reply),
            self._open_session().request(
                request.method,
                url.with_query(list(request.query)) if request.query else url,
                headers={
                    **request.headers,
                    "Accept": "application/json",
                    "Authorization": self._authorization.reveal(),
                    "User-Agent": self._user_agent,
                },
                data=sending.payload(),
                allow_redirects=False,
                raise_for_status=False,
                middlewares=(_send_once,),
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    connect=opening,
                    sock_connect=min(limits.connect, opening),
                    sock_read=limits.reply,
                    ceil_threshold=float("inf"),  # no rounding up to whole seconds
                ),
            ) as reply,
        ):
            sending.status = reply.status
            return Response(
                status=reply.status,
                headers={name.lower(): value for name, value in reply.headers.items()},
                body=await self._read(reply),
            )

    async def _read(self, reply: aiohttp.ClientResponse) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in reply.content.iter_any():
            size += len(chunk)
            if size > self._max_reply_bytes:
                reply.close()
                raise _TooLargeError
            chunks.append(chunk)
        return b"".join(chunks)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # The number of connections is bounded by our own slots, so that waiting for one can be told apart.
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def aclose(self) -> None:
        """Close the session if it is ours. May be called twice, and from any event loop, also after its own is gone."""
        self._closed = True
        session, home = self._session, self._loop
        if self._borrowed or session is None or session.closed:
            return
        if home is asyncio.get_running_loop():
            await session.close()
        elif home is not None and home.is_running():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(session.close(), home))
        else:
            _abandon(session)

    def __del__(self) -> None:
        session = getattr(self, "_session", None)
        if session is None or self._borrowed or session.closed:
            return
        _abandon(session)
        warnings.warn(
            "A BelvoLinks client was not closed; use `async with` or `await client.aclose()`.",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )


def _refuse_collisions(session: aiohttp.ClientSession) -> None:
    if session.auth is not None:
        msg = "http_session: it has `auth` of its own, which would collide with ours; give one without"
        raise ValueError(msg)
    # aiohttp has no public way to ask; ours would silently replace them for each request.
    if getattr(session, "_middlewares", ()):
        msg = "http_session: it has middlewares of its own, which ours would replace; give one without"
        raise ValueError(msg)


def _abandon(session: aiohttp.ClientSession) -> None:
    """Close a session whose event loop can no longer be awaited on: its sockets, and nothing gracefully."""
    connector = session.connector
    session.detach()
    if connector is None:
        return
    try:
        # Closes at once; awaiting what it returns would only wait for the sockets to say goodbye.
        closing = connector.close()
    except RuntimeError:  # "Event loop is closed": its sockets went with it
        return
    if asyncio.iscoroutine(closing):
        closing.close()


def _least(*limits: float | None) -> float:
    """Return the least of the limits given, at least 0."""
    return max(0.0, min(limit for limit in limits if limit is not None))


class _Sending:
    """How far one request has come, and what a failure therefore means."""

    def __init__(self, request: Request, on_send: Callable[[], None] | None) -> None:
        self._request = request
        self._on_send = on_send
        self._pool_until: float | None = None
        self.has_slot = False
        self.sent = False
        self.status = 0

    def payload(self) -> _TellingPayload | None:
        """Return the body; without one the moment of sending cannot be told, so it is now."""
        if self._request.body is None:
            self._mark()
            return None
        return _TellingPayload(self._request.body.reveal(), self._mark)

    def _mark(self) -> None:
        self.sent = True
        if self._on_send is not None:
            self._on_send()

    def opening_ends(self, opening: float | None) -> None:
        """Note when waiting for a borrowed pool ends, if it can be told from connecting at all."""
        if opening is not None:
            self._pool_until = asyncio.get_running_loop().time() + opening

    def too_large(self, limit: int) -> UnexpectedResponseError:
        """Return the error for a reply that is larger than allowed."""
        return UnexpectedResponseError(status=self.status, problems=[f"$: larger than {limit} bytes"])

    def translate(self, error: Exception) -> BelvoLinksError:
        """Return our error for one of aiohttp's, by what it says about sending."""
        method, path = self._request.method, self._request.path
        reason = str(error) if isinstance(error, _BrokenOffError) else type(error).__name__
        if not self.has_slot or self._was_in_pool(error):
            return PoolTimeoutError(method=method, path=path, reason=reason)
        untold = self._request.body is None or not self.sent
        if untold and isinstance(error, RuntimeError) and "closed" in str(error).lower():
            return ClientClosedError()
        if isinstance(error, _UNSENT) or not self.sent:
            return ConnectError(method=method, path=path, reason=reason)
        return ResponseLostError(method=method, path=path, reason=reason)

    def _was_in_pool(self, error: Exception) -> bool:
        if self._pool_until is None or not isinstance(error, aiohttp.ConnectionTimeoutError):
            return False
        return asyncio.get_running_loop().time() >= self._pool_until - 0.01
