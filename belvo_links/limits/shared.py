"""A limiter whose window lives on a server: this process's side of it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

import attrs

from belvo_links.errors import LoopMismatchError
from belvo_links.limits.outage import LocalQuotas, LocalShare
from belvo_links.transport.limit import RateLimit
from belvo_links.transport.messages import Lane, Quota
from belvo_links.transport.shield import finish

T = TypeVar("T")

log: Final = logging.getLogger("belvo_links")

LIMIT: Final = 2.0
"""Seconds for one question to the server; then it counts as out of reach."""

LONGEST_SLEEP: Final = 0.5
"""Seconds between two questions of a call that waits: each also says that the call is still there."""

SHORTEST_SLEEP: Final = 0.001

PATIENCE: Final = 4.0
"""Seconds for which the server keeps the place of a call that does not ask."""

PROBE_EVERY: Final = 2.0
"""Seconds between attempts to reach the server again."""


class UnreachableError(Exception):
    """The server did not answer, or could not do what it was asked.

    Args:
        reason: what happened, without a value of anybody's.
        dropped: whether it was just a connection that has ended, as after an idle hour or a restart.
    """

    def __init__(self, reason: str, *, dropped: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.dropped = dropped


class Server(Protocol):
    """What counts for all processes, by its own clock.

    Each call ends within about :data:`LIMIT` seconds and raises :class:`UnreachableError` alone. They are not
    cancelled by whoever waits for a turn, so that none of them is left undone halfway.
    """

    async def ask(self, ticket: str, lane: Lane, limit: RateLimit) -> float:
        """Count a request if it is its turn, or keep its place in the line.

        The turn has come when what the window holds and those who go before leave room. One that has been counted
        already counts as of now instead, so that a question may be repeated when its answer was lost or late.

        Returns:
            0 if it was counted; otherwise the seconds until it may be its turn.
        """
        ...

    async def withdraw(self, ticket: str) -> None:
        """Forget a request, whether it waits or is counted."""
        ...

    async def report(self, ages: Mapping[str, float], limit: RateLimit) -> None:
        """Count requests that were let in so many seconds ago, unless the server knows of them."""
        ...

    async def reserve(self, quota: Quota, ticket: str) -> float:
        """Count a call of this kind if there is room, as :meth:`SharedLimiter.reserve` does."""
        ...

    async def give_back(self, quota: Quota, ticket: str) -> None:
        """Forget a call of this kind."""
        ...

    async def aclose(self) -> None:
        """Close what was opened."""
        ...


@attrs.define(eq=False)
class _Lines:
    """The lines of one event loop: only the first of each asks the server."""

    loop: asyncio.AbstractEventLoop
    inside: int = 0
    locks: Mapping[Lane, asyncio.Lock] = attrs.field(factory=lambda: {lane: asyncio.Lock() for lane in Lane})


class SharedLimiter:
    """What the limiters of this package have in common.

    Args:
        server: what counts.
        what: names it in the log.
        limit: requests and seconds.
        margin: seconds by which windows are longer.
        fallback: the limit while the server cannot be reached; ``None`` for an eighth of the requests.
        quotas: whether to count the service's limits on single kinds of calls, too.
    """

    def __init__(
        self,
        server: Server,
        *,
        what: str,
        limit: RateLimit,
        margin: float,
        fallback: RateLimit | None,
        quotas: bool,
    ) -> None:
        if not margin >= 0:
            msg = "margin: give seconds, 0 or more"
            raise ValueError(msg)
        self._server = server
        self._what = what
        self._margin = margin
        self._limit = attrs.evolve(limit, seconds=limit.seconds + margin)
        self._fallback = fallback or attrs.evolve(limit, requests=max(1, limit.requests // 8))
        self._quotas = quotas
        self._local_quotas = LocalQuotas()
        self._lines: _Lines | None = None
        self._outage: LocalShare | None = None
        self._prober: asyncio.Task[None] | None = None
        # What this process has let in during the last window, with the moment by the loop's clock, for the server that
        # was out of reach or has lost its memory.
        self._let_in: deque[tuple[str, float]] = deque()

    async def acquire(self, lane: Lane) -> None:
        """Return when a request of this lane may go out, and count it.

        Raises:
            LoopMismatchError: another event loop has calls waiting here.
        """
        with self._entered() as lines:
            async with lines.locks[lane]:
                ticket = secrets.token_hex(8)
                try:
                    await self._wait(ticket, lane)
                except asyncio.CancelledError:
                    await self._withdraw(ticket)
                    raise

    async def reserve(self, quota: Quota, ticket: str) -> float:
        """Count a call of this kind if there is room.

        Args:
            quota: what is counted.
            ticket: names this call, for :meth:`give_back`; asked again with the same, it counts as of now.

        Returns:
            0 if it was counted; otherwise the seconds until there may be room.

        Raises:
            LoopMismatchError: another event loop has calls waiting here.
        """
        if not self._quotas:
            return 0.0
        with self._entered():
            widened = attrs.evolve(quota, seconds=quota.seconds + self._margin)
            wait = None
            if self._outage is None:
                wait = await finish(self._reach(lambda: self._server.reserve(widened, ticket)))
            now = asyncio.get_running_loop().time()
            if wait is None:
                return self._local_quotas.reserve(widened, ticket, now)
            if wait == 0:
                self._local_quotas.count(widened, ticket, now)
            return wait

    async def give_back(self, quota: Quota, ticket: str) -> None:
        """Forget a call that was counted but had no effect. Raises nothing but a cancellation."""
        self._local_quotas.give_back(quota, ticket)
        if self._quotas and self._outage is None:
            await finish(self._reach(lambda: self._server.give_back(quota, ticket)))

    async def aclose(self) -> None:
        """Close what was opened here. It is opened again when the limiter is used again."""
        prober, self._prober, self._outage = self._prober, None, None
        try:
            if prober is not None and prober.get_loop() is asyncio.get_running_loop():
                prober.cancel()
                await asyncio.wait([prober])
        finally:
            await self._server.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._what}>"

    # ------------------------------------------------------------------------------------------------------ waiting

    @contextmanager
    def _entered(self) -> Iterator[_Lines]:
        """Give the lines of this event loop, unless another has calls in its own."""
        loop = asyncio.get_running_loop()
        lines = self._lines
        if lines is None or lines.loop is not loop:
            if lines is not None and lines.inside and not lines.loop.is_closed():
                msg = "This limiter is in use by another event loop."
                raise LoopMismatchError(msg)
            lines = self._lines = _Lines(loop)
            self._outage = self._prober = None
        lines.inside += 1
        try:
            yield lines
        finally:
            lines.inside -= 1

    async def _wait(self, ticket: str, lane: Lane) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            outage = self._outage
            if outage is None:
                wait = await finish(self._ask(ticket, lane, clock))
                if wait == 0:
                    break
                if wait is not None:
                    await asyncio.sleep(min(max(wait, SHORTEST_SLEEP), LONGEST_SLEEP))
            elif await outage.admits(lane, LONGEST_SLEEP) and self._outage is outage:
                break
        self._let_in.append((ticket, clock()))
        self._recently_let_in(clock())

    async def _ask(self, ticket: str, lane: Lane, clock: Callable[[], float]) -> float | None:
        """Ask the server, and once more where its yes is too old to act upon: the request would arrive too late."""
        asked = clock()
        wait = await self._reach(lambda: self._server.ask(ticket, lane, self._limit))
        if wait == 0 and clock() - asked > self._margin:
            wait = await self._reach(lambda: self._server.ask(ticket, lane, self._limit))
        return wait

    async def _withdraw(self, ticket: str) -> None:
        if self._outage is None:
            await finish(self._reach(lambda: self._server.withdraw(ticket)))

    def _recently_let_in(self, now: float) -> tuple[tuple[str, float], ...]:
        while self._let_in and self._let_in[0][1] + self._limit.seconds <= now:
            self._let_in.popleft()
        return tuple(self._let_in)

    # ----------------------------------------------------------------------------------------------------- reaching

    async def _reach(self, question: Callable[[], Awaitable[T]]) -> T | None:
        """Return the server's answer, or ``None`` if it cannot be reached, which begins an outage."""
        try:
            return await question()
        except UnreachableError as error:
            failure = error
        if failure.dropped and self._outage is None:
            try:
                await self._report()
                return await question()
            except UnreachableError as error:
                failure = error
        self._begin_outage(failure)
        return None

    async def _report(self) -> None:
        """Tell the server what was let in here, until there is nothing new to tell."""
        clock = asyncio.get_running_loop().time
        while True:
            now = clock()
            recent = self._recently_let_in(now)
            await self._server.report({ticket: now - moment for ticket, moment in recent}, self._limit)
            if tuple(self._let_in)[-1:] == recent[-1:]:
                return

    def _begin_outage(self, failure: UnreachableError) -> None:
        if self._outage is not None:
            return
        recent = self._recently_let_in(asyncio.get_running_loop().time())
        self._outage = outage = LocalShare(self._fallback, (moment for _, moment in recent))
        log.warning(
            "%s cannot be reached (%s): until it can, this process lets in %d requests in %g s of its own",
            *(self._what, failure.reason, self._fallback.requests, self._fallback.seconds),
        )
        self._prober = asyncio.create_task(self._probe(outage))

    async def _probe(self, outage: LocalShare) -> None:
        """Try to reach the server from time to time; once it is reached, it counts again, beginning with our own."""
        while self._outage is outage:
            await asyncio.sleep(PROBE_EVERY)
            with suppress(UnreachableError):
                await finish(self._recover(outage))

    async def _recover(self, outage: LocalShare) -> None:
        await self._report()
        if self._outage is outage:  # nothing is let in between the report and this
            self._outage = None
            log.info("%s is reached again", self._what)
