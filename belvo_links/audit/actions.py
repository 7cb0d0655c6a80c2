"""Carrying out a plan: bounded, under the limits, written down before and after each call."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import os
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

import attrs

from belvo_links.audit.journal import PAGE, Journal
from belvo_links.audit.outcomes import CANCELLED, NOT_MADE, Kind, LinkResult, Outcome, is_left, judge
from belvo_links.audit.plans import Plan
from belvo_links.client.account import account_of
from belvo_links.client.bulk import BulkCalls
from belvo_links.client.links import BelvoLinks
from belvo_links.client.pending import PendingSession
from belvo_links.errors import BelvoLinksError, ClientClosedError, JournalError, LoopMismatchError
from belvo_links.errors.root import shown_name
from belvo_links.protocol import checks
from belvo_links.protocol.models import Accepted, Link
from belvo_links.transport.limit import RateLimit
from belvo_links.transport.shield import finish

GIVE_UP_AFTER: Final = 10
"""So many calls in a row that fail for a reason that is none of the link's end a run."""


@attrs.frozen(kw_only=True)
class RunSummary:
    """What a run of a plan has come to, or what it would do.

    Attributes:
        plan: the plan.
        dry_run: whether nothing was sent.
        counts: for each :class:`Outcome`, how many of the plan's links came to it, in this run or before.
        before: how many of them had their outcome before this run.
        left: how many calls are left: none after a run, all that a dry run would make.
    """

    plan: Plan
    dry_run: bool
    counts: Mapping[Outcome, int]
    before: int
    left: int
    _journal: Journal = attrs.field(repr=False, eq=False)

    async def results(self, outcome: Outcome | str | None = None) -> AsyncIterator[LinkResult]:
        """Iterate over the results in the journal, by the links' ids, a few at a time.

        Args:
            outcome: only these; all by default.

        Raises:
            JournalError: the journal is not there any more, or another run has it.
        """
        if self.dry_run and not await self._journal.is_there({}):
            return
        async for result in self._journal.results(outcome):
            yield result

    def describe(self) -> str:
        """Say in a line what it has come to."""
        known = ", ".join(f"{self.counts[outcome]:,} {outcome}" for outcome in Outcome if self.counts[outcome])
        left = f"{self.left:,} call{'' if self.left == 1 else 's'} to make" if self.left else ""
        said = "; ".join(part for part in (left, known) if part) or "nothing to do"
        return f"dry run, nothing was sent: {said}" if self.dry_run else said


async def carry_out(
    plan: Plan,
    belvo: BelvoLinks,
    *,
    journal: str | os.PathLike[str] | Journal,
    dry_run: bool,
    concurrency: int,
    on_result: Callable[[LinkResult], None] | None,
) -> RunSummary:
    """Carry a plan out; see :meth:`belvo_links.audit.Plan.run`."""
    if checks.whole_number("concurrency", concurrency) < 1:
        msg = "concurrency: give 1 or more"
        raise ValueError(msg)
    kept = journal if isinstance(journal, Journal) else Journal(journal)
    account = account_of(belvo)
    binding = {**plan.fingerprint, "origin": account.origin, "account": account.digest}
    if dry_run:
        return await _look(plan, kept, binding)
    run = _Run(plan, BulkCalls.of(belvo), kept, on_result)
    await kept.open(binding)
    try:
        await run.go(concurrency)
    finally:
        await finish(kept.aclose())
    return run.summary()


async def _look(plan: Plan, journal: Journal, binding: Mapping[str, str]) -> RunSummary:
    """Return what a run would do."""
    todo, left = _Todo(plan, journal), 0
    if not await journal.is_there(binding):
        left = len(plan.ids)
    else:
        while await todo.next() is not None:
            left += 1
    return RunSummary(
        plan=plan, dry_run=True, counts=_of_all(todo.before), before=todo.before.total(), left=left, journal=journal
    )


def _of_all(counts: Counter[Outcome]) -> Mapping[Outcome, int]:
    return {outcome: counts[outcome] for outcome in Outcome}


class _Todo:
    """Hands out the links that are left to call for, each once, a few of them in memory.

    Attributes:
        before: how many of the others came to each outcome.
    """

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self.before: Counter[Outcome] = Counter()
        self._kind = plan.kind
        self._journal = journal
        self._ids = iter(plan.ids)
        self._ready: deque[tuple[str, LinkResult | None]] = deque()
        self._lock = asyncio.Lock()

    async def next(self) -> tuple[str, LinkResult | None] | None:
        """Return the next link with what the journal has on it; ``None`` at the end."""
        async with self._lock:
            while not self._ready:
                ids = list(itertools.islice(self._ids, PAGE))
                if not ids:
                    return None
                found = await self._journal.find(ids)
                for link_id in ids:
                    earlier = found.get(link_id)
                    if is_left(self._kind, earlier):
                        self._ready.append((link_id, earlier))
                    elif earlier is not None:
                        self.before[earlier.outcome] += 1
            return self._ready.popleft()


class _Run:
    """One run of a plan, with its journal open."""

    def __init__(
        self, plan: Plan, calls: BulkCalls, journal: Journal, on_result: Callable[[LinkResult], None] | None
    ) -> None:
        self._plan = plan
        self._calls = calls
        self._journal = journal
        self._on_result = on_result
        self._todo = _Todo(plan, journal)
        self._pace: Pace | None = None
        self._counts: Counter[Outcome] = Counter()
        self._in_a_row = 0
        self._failure: Exception | None = None

    async def go(self, concurrency: int) -> None:
        """Make the calls, so many at once, and raise what ends the run before all are made."""
        workers = min(concurrency, len(self._plan.ids))
        if self._plan.deletes_in_sync:
            limit = self._plan.sync_deletions
            self._pace = Pace(limit, await self._journal.latest(limit.requests))
            workers = min(workers, limit.requests)
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())
        if self._failure is not None:
            raise self._failure

    def summary(self) -> RunSummary:
        """Return what it has come to."""
        before = self._todo.before
        return RunSummary(
            plan=self._plan,
            dry_run=False,
            counts=_of_all(self._counts + before),
            before=before.total(),
            left=0,
            journal=self._journal,
        )

    async def _work(self) -> None:
        """Make one call after the other; what ends the run lets the calls that are under way come to their end."""
        try:
            while self._failure is None and (link := await self._todo.next()) is not None:
                await self._settle(*link)
        except Exception as error:  # noqa: BLE001  # `go` raises it, whatever it is, when the others have ended
            self._failure = self._failure or error

    async def _settle(self, link_id: str, earlier: LinkResult | None) -> None:
        """Call for a link, and write down and tell what has become of it."""
        failed: BelvoLinksError | None = None
        gate = _Gate(link_id, self._journal, self._pace)
        try:
            result = _done(link_id, await self._call(link_id, gate))
        except JournalError:
            raise
        except (ClientClosedError, LoopMismatchError):
            await finish(self._journal.withdraw(link_id, earlier))
            raise
        except BelvoLinksError as error:
            failed = error
            result = judge(self._plan.kind, link_id, error, repeated=earlier is not None)
        except asyncio.CancelledError:
            await self._abandon(link_id, earlier, gate)
            raise
        finally:
            gate.leave()
        await finish(self._journal.settle(result))
        self._note(result, failed)

    async def _call(self, link_id: str, gate: _Gate) -> Accepted | Link | PendingSession | None:
        plan = self._plan
        requested = dict(plan.arguments) if plan.kind is Kind.PATCH else None
        return await self._calls.make(plan.operation(link_id), link_id, gate=gate, requested=requested)

    async def _abandon(self, link_id: str, earlier: LinkResult | None, gate: _Gate) -> None:
        """Write down that a call was cancelled. Where that fails, the journal says already that it was begun."""
        with contextlib.suppress(JournalError):
            if gate.passed:
                unknown = LinkResult(link_id=link_id, outcome=Outcome.UNKNOWN, reason=CANCELLED)
                await finish(self._journal.settle(unknown))
            else:
                await finish(self._journal.withdraw(link_id, earlier))

    def _note(self, result: LinkResult, failed: BelvoLinksError | None) -> None:
        self._counts[result.outcome] += 1
        self._in_a_row = self._in_a_row + 1 if isinstance(failed, NOT_MADE) else 0
        if self._in_a_row >= GIVE_UP_AFTER:
            self._failure = self._failure or failed
        if self._on_result is not None:
            self._on_result(result)


def _done(link_id: str, outcome: Accepted | Link | PendingSession | None) -> LinkResult:
    if isinstance(outcome, PendingSession):
        return LinkResult(link_id=link_id, outcome=Outcome.WAITING, pending_id=outcome.id)
    request_id = outcome.request_id if isinstance(outcome, Accepted) else None
    return LinkResult(link_id=link_id, outcome=Outcome.DONE, request_id=shown_name(request_id))


class _Gate:
    """Paces the attempts of one call, and writes down that its request is about to be sent.

    Attributes:
        passed: whether it may have been sent.
    """

    def __init__(self, link_id: str, journal: Journal, pace: Pace | None) -> None:
        self.passed = False
        self._link_id = link_id
        self._journal = journal
        self._pace = pace
        self._paced = False

    async def before_turn(self) -> None:
        """Wait until one more synchronous deletion is allowed."""
        self.leave()
        if self._pace is not None:
            await self._pace.take()
            self._paced = True

    async def before_sending(self) -> None:
        """Write it down, also if the run is cancelled meanwhile."""
        await finish(self._journal.begin(self._link_id))
        self.passed = True

    def leave(self) -> None:
        """Count an attempt that has ended, as of now."""
        if self._pace is not None and self._paced:
            self._paced = False
            self._pace.give()


class Pace:
    """Lets so many through at once, and the next each a window after one of them has ended.

    The service counts a request somewhere between its start and its end, so that no window of the service's holds more.

    Args:
        limit: how many in how many seconds.
        ago: how many seconds ago the latest of an earlier run were; no more than the limit has.
    """

    def __init__(self, limit: RateLimit, ago: Sequence[float] = ()) -> None:
        self._seconds = limit.seconds
        now = asyncio.get_running_loop().time()
        since = [now + min(limit.seconds, limit.seconds - each) for each in ago]  # a clock may have been set back
        self._free = [*since, *[now] * (limit.requests - len(since))]
        heapq.heapify(self._free)

    async def take(self) -> None:
        """Wait for a place. No more may wait or have one than the limit has."""
        moment = heapq.heappop(self._free)
        try:
            await asyncio.sleep(moment - asyncio.get_running_loop().time())
        except asyncio.CancelledError:
            heapq.heappush(self._free, moment)
            raise

    def give(self) -> None:
        """Give a place back, for a window from now."""
        heapq.heappush(self._free, asyncio.get_running_loop().time() + self._seconds)
