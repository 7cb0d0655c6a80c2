"""Processes are killed while they complete: what they leave behind is brought to its end, and no token goes twice."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable
from time import perf_counter

import pytest

from belvo_links import (
    AlreadySettledError,
    IndeterminateOutcomeError,
    Link,
    PendingSession,
    PendingState,
    SessionExpiredError,
)
from belvo_links.sandbox import Fault, Sandbox
from tests.processes.crew import LIMIT, LINKS, PATIENCE, PROVING, Crew, Worker, seeded, size, until

SEED = 20
SLOW = 0.05
"""Seconds that the bank, each record and the moment of a kill take at most: none of them is too short to be hit."""

MOMENTS = {
    # when the process dies: whether the token is received, and what becomes of the session
    "before the claim": (False, "awaiting"),
    "after the claim": (False, "unknown, then expired"),
    "while the bank works": (True, "linked"),
    "before the outcome is recorded": (True, "linked"),
    "after the outcome is recorded": (True, "linked"),
}

pytestmark = [pytest.mark.prove, pytest.mark.timeout(LIMIT)]


async def test_what_a_process_leaves_behind_depends_on_the_moment_of_its_death(box: Sandbox, crew: Crew) -> None:
    """Before the claim nothing has happened; after it the session is never submitted again, and the link may prove."""
    begun = dict(zip(MOMENTS, await crew.register(len(MOMENTS)), strict=True))
    workers = dict(zip(MOMENTS, await crew.hire(len(MOMENTS)), strict=True))
    box.inject(Fault.delay(0.2), method="PATCH", template=LINKS, times=None)
    for moment, worker in workers.items():
        worker.tell(do="race", ids=[begun[moment].id], tasks=1, at_once=1, die=moment)
    link_id = begun["while the bank works"].link_id
    assert await until(lambda: any(body["link"] == link_id for body in crew.completes()))
    workers["while the bank works"].kill()
    for worker in workers.values():
        assert await worker.says() is None
        assert await worker.end() == -signal.SIGKILL

    ends = {}
    for moment, session in begun.items():
        await nobody_submits(crew, session.id)
        ends[moment] = (
            any(body["link"] == session.link_id for body in crew.completes()),
            await end_of(await crew.belvo.pending(session.id)),
        )
    for moment, (_, end) in ends.items():
        if end == "unknown":
            await expires(box, await crew.belvo.pending(begun[moment].id))
            ends[moment] = (ends[moment][0], "unknown, then expired")
    assert ends == MOMENTS
    assert max(crew.submissions().values()) == 1


async def nobody_submits(crew: Crew, pending_id: str) -> None:
    """Wait until no claim on the session is left; that of a dead process runs out."""
    async with asyncio.timeout(PATIENCE):
        while (await crew.belvo.pending(pending_id)).state is PendingState.SUBMITTING:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.02)


async def end_of(session: PendingSession) -> str:
    """Reconcile a session and return in a word what it has come to."""
    try:
        await session.reconcile()
    except AlreadySettledError as error:
        return error.state
    except IndeterminateOutcomeError:
        return "unknown"
    return str(session.state)


async def expires(box: Sandbox, session: PendingSession) -> None:
    """A registration of which nothing is known is expired once its deadline has passed."""
    box.advance(seconds=session.seconds_left + 1)
    with pytest.raises(SessionExpiredError):
        await session.reconcile()


async def test_however_often_processes_are_killed_every_session_comes_to_its_end(
    box: Sandbox, crew: Crew, tell: Callable[[str], None]
) -> None:
    """Linked; or unknown, which ends as linked, expired or put aside; and no round is ever submitted twice."""
    number, kills = size(usual=25, full=500), size(usual=6, full=150)
    chains, updates = number // 5, number // 5
    begun = await crew.register(number - chains - updates)
    begun += await crew.register(chains, "sim_mfa_chain")
    begun += await crew.update(updates)
    delay_completes(box, 2 * number + kills, seeded(SEED, "bank"))

    began = perf_counter()
    shift = Shift(crew, kills)
    async with asyncio.TaskGroup() as group:
        for place in range(size(usual=2, full=3)):
            group.create_task(shift.work(seeded(SEED, place)))
    [last] = await crew.hire()
    last.tell(do="clear", at_once=8)
    results = Counter(await last.says())
    took = perf_counter() - began

    # What a restarted application does: look at what is unknown, and look again when the time is over.
    known = await ends_of(crew)
    box.advance(hours=3)
    final = await ends_of(crew)
    left = shift.left_behind()
    tell(
        f"{number} sessions, {shift.killed} processes killed, {took:.1f} s:"
        f" {crew.submissions().total()} Completes, most per round {max(crew.submissions().values())};"
        f" killed between claim and request {left['unsent']}, between request and record {left['sent']};"
        f" at the end of the work {count(known)}, past the deadlines {count(final)};"
        f" the last process: {dict(results)}"
    )

    assert shift.killed
    assert not PROVING or (left["sent"] and left["unsent"])
    assert max(crew.submissions().values()) == 1
    assert len(box.tokens) == crew.submissions().total()
    sent = {body["link"] for body in crew.completes()}
    for session in begun:
        end, valid = final[session.id], crew.status(session.link_id) == "valid"
        if session.operation == "register":
            assert end == ("linked" if valid else "expired")  # no login that succeeded is lost
        else:
            assert end == ("linked" if session.link_id in sent else "indeterminate")


class Shift:
    """Processes that complete whatever is pending, and are killed one after the other."""

    def __init__(self, crew: Crew, kills: int) -> None:
        self.killed = 0
        self._crew = crew
        self._kills = kills
        self._begun = 0
        self._left: set[tuple[str, int]] = set()

    async def work(self, rng: random.Random) -> None:
        """Fill one place with a process after the other, until enough were killed or nothing awaits a token."""
        while self._begun < self._kills and await self._is_anything_left():
            self._begun += 1
            [worker] = await self._crew.hire()
            worker.tell(do="clear", at_once=4, slow=SLOW, aloud=True)
            await self._kill(worker, rng)

    async def _is_anything_left(self) -> bool:
        return any([True async for _ in self._crew.belvo.iterate_pending(PendingState.AWAITING)])

    async def _kill(self, worker: Worker, rng: random.Random) -> None:
        """Kill it at once or when some more requests have come, and a random moment later."""
        seen = len(self._crew.completes())
        wanted = seen + rng.randrange(5)
        await until(lambda: len(self._crew.completes()) >= wanted, patience=1.0)
        await asyncio.sleep(rng.random() * SLOW)
        worker.kill()
        self.killed += await worker.end() == -signal.SIGKILL
        held: set[tuple[str, int]] = set()
        for what, link_id, number in worker.said:
            (held.add if what == "claimed" else held.discard)((link_id, number))
        self._left |= held

    def left_behind(self) -> Counter[str]:
        """Return how many claims the killed left behind, by whether their request had been sent."""
        sent = Counter(body["link"] for body in self._crew.completes())
        return Counter("sent" if sent[link_id] >= number else "unsent" for link_id, number in self._left)


def delay_completes(box: Sandbox, number: int, rng: random.Random) -> None:
    """Let Completes take long, some before and some after they take effect: a kill then hits every phase."""
    for _ in range(number):
        make = rng.choice([Fault.delay, Fault.delay_after])
        box.inject(make(rng.random() * SLOW), method="PATCH", template=LINKS)


async def ends_of(crew: Crew) -> dict[str, str]:
    """Look at every session whose outcome is unknown, and return the state of all."""
    ends = {}
    async for session in crew.belvo.iterate_pending():
        try:
            if session.state is PendingState.INDETERMINATE:
                assert isinstance(await session.reconcile(), Link)
        except (IndeterminateOutcomeError, SessionExpiredError):
            pass
        ends[session.id] = str(session.state)
    return ends


def count(ends: dict[str, str]) -> dict[str, int]:
    return dict(Counter(ends.values()))
