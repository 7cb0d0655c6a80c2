"""One operation from start to end: wait its turn, send, read, and repeat where that is allowed."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from belvo_links.errors import BelvoLinksError, NotFoundError, PoolTimeoutError, ResponseLostError, TransportError
from belvo_links.redact import mask_path
from belvo_links.transport.base import Limiter, Transport
from belvo_links.transport.messages import Lane, Operation, Response
from belvo_links.transport.retry import MAYBE_DONE, RetryPolicy, classify, next_delay
from belvo_links.transport.timeouts import AttemptLimits, Timeouts, attempt_limits

T = TypeVar("T")

log: Final = logging.getLogger("belvo_links")
log.addHandler(logging.NullHandler())


class Budget:
    """What is left of a caller's ``timeout=``. Make it inside the event loop that the call runs in.

    Args:
        timeout: seconds for the whole call, or ``None`` for no limit.
    """

    def __init__(self, timeout: float | None) -> None:
        if timeout is not None and not timeout > 0:
            msg = "timeout: give seconds, more than 0"
            raise ValueError(msg)
        self._ends = None if timeout is None else asyncio.get_running_loop().time() + timeout

    def left(self) -> float | None:
        """Return the seconds that are left, at least 0, or ``None`` where there is no limit."""
        return None if self._ends is None else max(0.0, self._ends - asyncio.get_running_loop().time())

    def allows(self, seconds: float) -> bool:
        """Return whether a wait of that length still fits."""
        left = self.left()
        return left is None or seconds < left


class Caller:
    """Runs operations over a transport.

    Args:
        transport: carries the requests.
        limiter: makes calls wait their turn; ``None`` for no limit.
        retry: how failed calls are repeated.
        timeouts: how long each part may take.
        jitter: draws from 0 to 1.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        limiter: Limiter | None,
        retry: RetryPolicy,
        timeouts: Timeouts,
        jitter: Callable[[], float],
    ) -> None:
        self.timeouts = timeouts
        self._transport = transport
        self._limiter = limiter
        self._retry = retry
        self._jitter = jitter

    async def run(self, operation: Operation[T], *, budget: Budget, lane: Lane | None = None) -> T:
        """Run an operation and return its result.

        Args:
            operation: what to do.
            budget: bounds the whole call.
            lane: its place in the limiter's queue, where it is not the operation's own.

        Raises:
            BelvoLinksError: what the last attempt failed with.
        """
        maybe_done = False
        for attempt in itertools.count(1):
            try:
                await self.turn(operation, budget=budget, lane=lane)
                return await self.once(operation, budget=budget)
            except BelvoLinksError as error:
                if maybe_done and operation.gone is not None and isinstance(error, NotFoundError):
                    return operation.gone()
                maybe_done = maybe_done or classify(error) in MAYBE_DONE
                if isinstance(error, TransportError):
                    error.attempts = attempt
                delay = next_delay(self._retry, operation.repeat, attempt=attempt, error=error, jitter=self._jitter)
                if delay is None or not budget.allows(delay):
                    raise
                log.info(
                    "%s: attempt %d failed (%s), next in %.1f s",
                    operation.name,
                    attempt,
                    type(error).__name__,
                    delay,
                )
            await asyncio.sleep(delay)
        raise AssertionError  # pragma: no cover  # the loop has no end

    async def turn(self, operation: Operation[T], *, budget: Budget, lane: Lane | None = None) -> None:
        """Wait for the limiter; bulk work as long as it takes, everything else as long as ``timeouts.pool_wait``.

        Raises:
            PoolTimeoutError: no slot became free in time.
        """
        if self._limiter is None:
            return
        chosen = operation.lane if lane is None else lane
        limits = [budget.left(), None if chosen is Lane.BULK else self.timeouts.pool_wait]
        patience = min((limit for limit in limits if limit is not None), default=None)
        try:
            async with asyncio.timeout(patience):
                await self._limiter.acquire(chosen)
        except TimeoutError:
            request = operation.request
            raise PoolTimeoutError(method=request.method, path=request.path, reason="rate limit") from None

    async def once(
        self,
        operation: Operation[T],
        *,
        budget: Budget,
        opening: float | None = None,
        on_send: Callable[[], None] | None = None,
    ) -> T:
        """Make one attempt, without waiting for the limiter, and return its result.

        Args:
            operation: what to do.
            budget: bounds the attempt.
            opening: seconds until it is too late to begin sending.
            on_send: called just before the first byte may leave.
        """
        request = operation.request
        started = asyncio.get_running_loop().time()
        limits = attempt_limits(self.timeouts, logs_in=operation.logs_in, opening=opening, total=budget.left())
        outcome = "cancelled"
        try:
            response = await self._send(operation, limits, on_send)
            outcome = str(response.status)
            return operation.interpret(response)
        except BelvoLinksError as error:
            outcome = f"{outcome} {type(error).__name__}" if outcome != "cancelled" else type(error).__name__
            raise
        finally:
            if log.isEnabledFor(logging.DEBUG):
                took = asyncio.get_running_loop().time() - started
                place = mask_path(request.path)
                log.debug("%s: %s %s: %s (%.3f s)", operation.name, request.method, place, outcome, took)

    async def _send(
        self, operation: Operation[T], limits: AttemptLimits, on_send: Callable[[], None] | None
    ) -> Response:
        try:
            return await self._transport.send(operation.request, limits=limits, on_send=on_send)
        except ResponseLostError as error:
            error.hint = operation.lost_hint
            raise
