"""One operation from start to end: wait its turn, send, read, and repeat where that is allowed."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, TypeVar

from belvo_links.errors import BelvoLinksError, NotFoundError, PoolTimeoutError, ResponseLostError, TransportError
from belvo_links.errors.root import shown_name
from belvo_links.transport.base import Gate, Limiter, Transport
from belvo_links.transport.messages import Lane, Operation, Request, Response
from belvo_links.transport.observe import Attempted, LimitWaited, Retrying, template
from belvo_links.transport.quota import Reservation
from belvo_links.transport.retry import MAYBE_DONE, RetryPolicy, classify, next_delay
from belvo_links.transport.timeouts import AttemptLimits, Timeouts, attempt_limits
from belvo_links.transport.watch import Watch

T = TypeVar("T")

_UNWATCHED: Final[AbstractContextManager[None]] = nullcontext()

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
        watch: told of what happens; ``None`` for nobody.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        limiter: Limiter | None,
        retry: RetryPolicy,
        timeouts: Timeouts,
        jitter: Callable[[], float],
        watch: Watch | None = None,
    ) -> None:
        self.timeouts = timeouts
        self._watch = watch
        self._transport = transport
        self._limiter = limiter
        self._retry = retry
        self._jitter = jitter

    async def run(
        self, operation: Operation[T], *, budget: Budget, lane: Lane | None = None, gate: Gate | None = None
    ) -> T:
        """Run an operation and return its result.

        Args:
            operation: what to do.
            budget: bounds the whole call.
            lane: its place in the limiter's queue, where it is not the operation's own.
            gate: what every attempt has to pass.

        Raises:
            BelvoLinksError: what the last attempt failed with.
        """
        with self.watching(operation.name, operation.request):
            return await self.perform(operation, budget=budget, lane=lane, gate=gate)

    def watching(self, name: str, request: Request) -> AbstractContextManager[None]:
        """Return what surrounds a call of this name for the observer, if there is one."""
        return _UNWATCHED if self._watch is None else self._watch.call(name, request)

    async def perform(
        self, operation: Operation[T], *, budget: Budget, lane: Lane | None = None, gate: Gate | None = None
    ) -> T:
        """Run an operation as a part of a call that is being watched; otherwise the same as :meth:`run`.

        Args:
            operation: what to do.
            budget: bounds the whole call.
            lane: its place in the limiter's queue, where it is not the operation's own.
            gate: what every attempt has to pass.

        Raises:
            BelvoLinksError: what the last attempt failed with.
        """
        maybe_done = False
        for number in itertools.count(1):
            try:
                return await self._attempt(operation, budget, lane, number, gate)
            except BelvoLinksError as error:
                if maybe_done and operation.gone is not None and isinstance(error, NotFoundError):
                    return operation.gone()
                maybe_done = maybe_done or classify(error) in MAYBE_DONE
                if isinstance(error, TransportError):
                    error.attempts = number
                delay = next_delay(self._retry, operation.repeat, attempt=number, error=error, jitter=self._jitter)
                if delay is None or not budget.allows(delay):
                    raise
                self._announce(operation.name, number, error, delay)
            await asyncio.sleep(delay)
        raise AssertionError  # pragma: no cover  # the loop has no end

    async def _attempt(
        self, operation: Operation[T], budget: Budget, lane: Lane | None, number: int, gate: Gate | None
    ) -> T:
        """Wait for a turn and make one attempt; what had no effect is not counted against its quota."""
        reservation = Reservation.of(operation, self._limiter)
        try:
            if gate is not None:
                await gate.before_turn()
            await self.turn(operation, budget=budget, lane=lane, reservation=reservation)
            if gate is not None:
                await gate.before_sending()
        except BaseException:  # also a cancelled wait has had no effect
            if reservation is not None:
                await reservation.give_back()
            raise
        if reservation is None:
            return await self.once(operation, budget=budget, number=number)
        try:
            result = await self.once(operation, budget=budget, number=number, on_reply=reservation.note)
        except BelvoLinksError as error:
            if not reservation.used and classify(error) not in MAYBE_DONE:
                await reservation.give_back()
            raise
        if not reservation.used:  # the institution asks for a second factor first
            await reservation.give_back()
        return result

    def _announce(self, name: str, number: int, error: BelvoLinksError, delay: float) -> None:
        kind = type(error).__name__
        log.info("%s: attempt %d failed (%s), next in %.1f s", name, number, kind, delay)
        if self._watch is not None:
            self._watch.tell(Retrying(call=name, number=number, error=kind, delay=delay))

    async def turn(
        self,
        operation: Operation[T],
        *,
        budget: Budget,
        lane: Lane | None = None,
        reservation: Reservation | None = None,
    ) -> None:
        """Wait for the limiter; bulk work as long as it takes, everything else as long as ``timeouts.pool_wait``.

        Raises:
            PoolTimeoutError: no slot became free in time.
            BelvoLinksError: the quota of this call has no room and is not one to wait for.
        """
        if self._limiter is None:
            return
        chosen = operation.lane if lane is None else lane
        limits = [budget.left(), None if chosen is Lane.BULK else self.timeouts.pool_wait]
        patience = min((limit for limit in limits if limit is not None), default=None)
        started, admitted = asyncio.get_running_loop().time(), False
        try:
            async with asyncio.timeout(patience):
                if reservation is not None:
                    await reservation.wait()
                await self._limiter.acquire(chosen)
                if reservation is not None:
                    await reservation.wait()  # counted as of now: the line may have been long
            admitted = True
        except TimeoutError:
            request = operation.request
            raise PoolTimeoutError(method=request.method, path=request.path, reason="rate limit") from None
        finally:
            if self._watch is not None:
                waited = asyncio.get_running_loop().time() - started
                self._watch.tell(LimitWaited(call=operation.name, lane=chosen, seconds=waited, admitted=admitted))

    async def once(
        self,
        operation: Operation[T],
        *,
        budget: Budget,
        number: int = 1,
        opening: float | None = None,
        on_send: Callable[[], None] | None = None,
        on_reply: Callable[[Response], None] | None = None,
    ) -> T:
        """Make one attempt, without waiting for the limiter, and return its result.

        Args:
            operation: what to do.
            budget: bounds the attempt.
            number: which attempt it is, from 1.
            opening: seconds until it is too late to begin sending.
            on_send: called just before the first byte may leave.
            on_reply: called with the reply, before it is read.
        """
        started = asyncio.get_running_loop().time()
        limits = attempt_limits(self.timeouts, logs_in=operation.logs_in, opening=opening, total=budget.left())
        response: Response | None = None
        outcome: object = None
        try:
            response = await self._send(operation, limits, on_send)
            if on_reply is not None:
                on_reply(response)
            outcome = result = operation.interpret(response)
            return result
        except BaseException as error:  # a cancellation is an outcome to tell of, too
            outcome = error
            raise
        finally:
            if self._watch is not None or log.isEnabledFor(logging.DEBUG):
                took = asyncio.get_running_loop().time() - started
                self._report(_attempted(operation, number, response, outcome, took))

    def _report(self, event: Attempted) -> None:
        if self._watch is not None:
            self._watch.tell(event)
        outcome = " ".join(str(part) for part in (event.status, event.error) if part is not None)
        log.debug("%s: %s %s: %s (%.3f s)", event.call, event.method, event.template, outcome, event.seconds)

    async def _send(
        self, operation: Operation[T], limits: AttemptLimits, on_send: Callable[[], None] | None
    ) -> Response:
        try:
            return await self._transport.send(operation.request, limits=limits, on_send=on_send)
        except ResponseLostError as error:
            error.hint = operation.lost_hint
            raise


def _attempted(
    operation: Operation[T], number: int, response: Response | None, outcome: object, took: float
) -> Attempted:
    request_id = getattr(outcome, "request_id", None)
    return Attempted(
        call=operation.name,
        number=number,
        method=operation.request.method,
        template=template(operation.request),
        status=None if response is None else response.status,
        error=type(outcome).__name__ if isinstance(outcome, BaseException) else None,
        request_id=shown_name(request_id) if isinstance(request_id, str) else None,
        seconds=took,
    )
