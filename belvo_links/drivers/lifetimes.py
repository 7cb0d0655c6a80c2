"""What drivers of databases need around them: a home in one event loop, connections to share, and an end to waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, Protocol, TypeVar


class Closable(Protocol):
    """A driver's connection."""

    async def close(self) -> None:
        """Close it."""
        ...


T = TypeVar("T")
C = TypeVar("C", bound=Closable)

GRACE: Final = 1.0
"""Seconds after which a driver that does not end upon cancellation is cancelled again."""


class PerLoop(Generic[T]):
    """Something that is opened on first use and belongs to the event loop that opened it, such as a pool.

    Used in several loops, each has its own. A loop that is shut down, as :func:`asyncio.run` does it, closes its own;
    what belongs to a closed one is forgotten.

    Args:
        open: makes a generator that opens the thing, yields it once, and closes it.
    """

    def __init__(self, open: Callable[[], AsyncGenerator[T]]) -> None:  # noqa: A002  # what it does
        self._open = open
        self._homes: dict[asyncio.AbstractEventLoop, _Home[T]] = {}

    async def get(self) -> T:
        """Return the thing of this event loop; it is opened where it is not."""
        loop = asyncio.get_running_loop()
        home = self._homes.get(loop)
        if home is None:
            self._forget_closed()
            home = self._homes[loop] = _Home()
        return await home.get(self._open)

    async def aclose(self) -> None:
        """Close the thing of this event loop; it is opened again when it is asked for."""
        home = self._homes.pop(asyncio.get_running_loop(), None)
        self._forget_closed()
        if home is not None:
            await home.aclose()

    def _forget_closed(self) -> None:
        for loop in [loop for loop in list(self._homes) if loop.is_closed()]:
            self._homes.pop(loop, None)


class _Home(Generic[T]):
    """The thing of one event loop.

    It lives inside an asynchronous generator: event loops close those that are left when they are shut down.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._keeper: AsyncGenerator[T] | None = None
        self._kept: list[T] = []

    async def get(self, open: Callable[[], AsyncGenerator[T]]) -> T:  # noqa: A002  # as above
        if not self._kept:
            async with self._lock:
                if not self._kept:
                    keeper = open()
                    self._kept = [await anext(keeper)]
                    self._keeper = keeper
        return self._kept[0]

    async def aclose(self) -> None:
        async with self._lock:
            keeper, self._keeper, self._kept = self._keeper, None, []
            if keeper is not None:
                await keeper.aclose()


class NoConnectionError(TimeoutError):
    """All connections were in use for too long."""


class Connections(Generic[C]):
    """A pool of connections without tasks of its own: who needs one opens it, and all share what is spare.

    For psycopg, whose pool opens connections in tasks that do not end upon cancellation: where nobody closed the pool,
    :func:`asyncio.run` would never return.

    Args:
        connect: opens a connection.
        is_usable: returns whether one that is spare, or comes back, can still be used. It must not wait.
        size: how many there may be at once.
        wait: seconds to wait for one that is free.
        idle: seconds after which one that nobody has used is not used again: others in between may have dropped it.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[C]],
        *,
        is_usable: Callable[[C], bool],
        size: int,
        wait: float,
        idle: float = 300.0,
    ) -> None:
        self._connect = connect
        self._is_usable = is_usable
        self._wait = wait
        self._idle = idle
        self._slots = asyncio.Semaphore(size)
        self._spare: list[tuple[float, C]] = []
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[C]:
        """Lend a connection.

        Raises:
            NoConnectionError: none was free in time.
        """
        await self._take_slot()
        try:
            connection = await self._spare_one() or await self._connect()
            try:
                yield connection
            finally:
                if self._is_usable(connection) and not self._closed:
                    self._spare.append((asyncio.get_running_loop().time(), connection))
                else:
                    await connection.close()
        finally:
            self._slots.release()

    async def aclose(self) -> None:
        """Close what is spare; what is lent is closed when it comes back."""
        self._closed = True
        while self._spare:
            _, connection = self._spare.pop()
            await connection.close()

    async def _take_slot(self) -> None:
        try:
            async with asyncio.timeout(self._wait):
                await self._slots.acquire()
        except TimeoutError:
            pass
        else:
            return
        raise NoConnectionError

    async def _spare_one(self) -> C | None:
        """Return the one that was used last, if it can be used; those that cannot are closed."""
        now = asyncio.get_running_loop().time()
        while self._spare:
            since, connection = self._spare.pop()
            if now - since < self._idle and self._is_usable(connection):
                return connection
            await connection.close()
        return None


async def bounded(work: Coroutine[Any, Any, T], limit: float) -> T:
    """Await a driver for at most so many seconds.

    A driver may answer cancellation with a conversation of its own: psycopg asks the server to cancel and waits for
    that, for ten seconds where the server hangs. After :data:`GRACE` it is cancelled again, which ends that too.

    Raises:
        TimeoutError: the time was up, and the work was cancelled.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    try:
        await asyncio.wait((task,), timeout=limit)
    except asyncio.CancelledError as error:
        cancelled = error
    while not task.done():
        task.cancel()
        cancelled = await _outlast(task, GRACE) or cancelled
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # taken note of: the cancellation is what passes
        raise cancelled
    if task.cancelled():
        raise TimeoutError
    return task.result()


async def _outlast(task: asyncio.Future[Any], seconds: float) -> asyncio.CancelledError | None:
    """Wait so long for a task, also if the caller is cancelled meanwhile; return that cancellation."""
    clock = asyncio.get_running_loop().time
    ends = clock() + seconds
    cancelled = None
    while not task.done() and (left := ends - clock()) > 0:
        try:
            await asyncio.wait((task,), timeout=left)
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled
