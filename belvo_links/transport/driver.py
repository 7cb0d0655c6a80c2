"""What drivers of databases need around them: a home in one event loop, and an end to waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

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
