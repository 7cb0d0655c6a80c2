"""The limiter of one process: calls wait in line for a sliding window."""

from __future__ import annotations

import asyncio
import heapq
import itertools

import attrs

from belvo_links.errors import LoopMismatchError
from belvo_links.transport.limit import RateLimit, SlidingWindow
from belvo_links.transport.messages import Lane


@attrs.define(order=True)
class _Waiter:
    lane: Lane
    number: int
    turn: asyncio.Future[float] = attrs.field(order=False)


class LocalLimiter:
    """An exact sliding window for one process and one event loop.

    Args:
        limit: requests and seconds.

    Calls are let in by lane, then in the order in which they came. Share one between clients to count them together.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._window = SlidingWindow(limit)
        self._waiting: list[_Waiter] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def acquire(self, lane: Lane) -> None:
        """Return when a request of this lane may go out, and count it.

        Raises:
            LoopMismatchError: another event loop has calls waiting here.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._waiting:
                msg = "This limiter is in use by another event loop."
                raise LoopMismatchError(msg)
            self._loop = loop
        waiter = _Waiter(lane, next(self._numbers), loop.create_future())
        heapq.heappush(self._waiting, waiter)
        self._admit()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def _admit(self) -> None:
        """Let in whoever may go now, and set the timer for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = self._loop
        while self._waiting and loop is not None:
            first = self._waiting[0]
            if first.turn.cancelled():
                heapq.heappop(self._waiting)
                continue
            now = loop.time()
            wait = self._window.wait(now, first.lane)
            if wait > 0:
                self._timer = loop.call_later(wait, self._admit)
                return
            self._window.take(now)
            heapq.heappop(self._waiting).turn.set_result(now)

    def _withdraw(self, waiter: _Waiter) -> None:
        if not waiter.turn.cancelled():  # it was let in at the moment in which its call was cancelled
            self._window.give_back(waiter.turn.result())
        elif waiter in self._waiting:
            self._waiting.remove(waiter)
            heapq.heapify(self._waiting)
        self._admit()
