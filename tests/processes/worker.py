"""A process that completes pending sessions until its input ends, or until it is killed.

The first line of its input says where the store is, every other one is an order; each is answered by one line.
"""

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from typing import Any

from belvo_links import (
    AlreadyClaimedError,
    AlreadySettledError,
    BelvoLinks,
    BelvoLinksError,
    ConnectError,
    IndeterminateOutcomeError,
    Link,
    PendingRecord,
    PendingSession,
    PendingState,
    PoolTimeoutError,
    ResponseLostError,
    Timeouts,
)
from belvo_links.stores import PendingStore
from tests.processes.place import Place

TOKEN = "111111"
PAUSE = 0.05
UNSETTLED = (PendingState.AWAITING, PendingState.SUBMITTING, PendingState.INDETERMINATE)


class FatalStore:
    """Kills its process at a chosen moment of a submission.

    Attributes:
        moment: before or after the claim, or the outcome, is recorded.
        slow: seconds that it may take around everything that it records, so that others can hit these moments.
        aloud: whether to say what has been recorded.
    """

    moment: str | None = None
    slow = 0.0
    aloud = False

    def __init__(self, inner: PendingStore) -> None:
        self.insert = inner.insert
        self.load = inner.load
        self.iterate = inner.iterate
        self.purge = inner.purge
        self.aclose = inner.aclose
        self._swap = inner.swap

    async def swap(self, old: PendingRecord, new: PendingRecord, *, lease: float | None = None) -> bool:
        event = "the outcome is recorded" if lease is None else "the claim"
        self._die(f"before {event}")
        await asyncio.sleep(random.random() * self.slow)
        swapped = await self._swap(old, new, lease=lease)
        self._die(f"after {event}")
        if swapped and self.aloud:
            say(["moved" if lease is None else "claimed", old.link_id, old.round])
        await asyncio.sleep(random.random() * self.slow)
        return swapped

    def _die(self, moment: str) -> None:
        if moment == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)


async def race(belvo: BelvoLinks, *, ids: list[str], tasks: int, at_once: int) -> Counter[str]:
    """Complete each session by so many tasks, and return how often what came out."""
    slots = asyncio.Semaphore(at_once)

    async def one(pending_id: str) -> str:
        async with slots:
            try:
                return type(await belvo.complete(pending_id, TOKEN, round=1)).__name__
            except BelvoLinksError as error:
                return type(error).__name__

    return Counter(await asyncio.gather(*(one(pending_id) for pending_id in ids for _ in range(tasks))))


async def clear(belvo: BelvoLinks, *, at_once: int) -> Counter[str]:
    """Do what a worker does after a crash: bring every session in the store to its end, and return how often how.

    One whose outcome cannot be known is put aside, and one that somebody else has is looked at again.
    """
    slots = asyncio.Semaphore(at_once)
    aside: set[str] = set()
    results: Counter[str] = Counter()

    async def one(pending: PendingSession) -> None:
        async with slots:
            results[await bring_to_its_end(pending, aside)] += 1

    while True:
        found = {pending.id: pending for state in UNSETTLED async for pending in belvo.iterate_pending(state)}
        left = [pending for pending in found.values() if pending.id not in aside]
        if not left:
            return results
        random.shuffle(left)
        async with asyncio.TaskGroup() as group:
            for pending in left:
                group.create_task(one(pending))
        await asyncio.sleep(PAUSE)


async def bring_to_its_end(pending: PendingSession, aside: set[str]) -> str:
    try:
        if pending.state is not PendingState.AWAITING:
            await pending.reconcile()
            return "reconciled"
        result: Link | PendingSession = pending
        while isinstance(result, PendingSession):
            result = await result.complete(TOKEN)
    except (AlreadyClaimedError, AlreadySettledError):
        return "somebody else's"
    except IndeterminateOutcomeError:
        aside.add(pending.id)
        return "put aside"
    except (ConnectError, PoolTimeoutError, ResponseLostError):
        return "to be tried again"
    return "completed"


async def main() -> None:
    setup = json.loads(sys.stdin.readline())
    store = FatalStore(Place(**setup["place"]).open())
    timeouts = Timeouts(**setup["timeouts"])
    async with BelvoLinks.from_env(store=store, rate_limit=None, timeouts=timeouts) as belvo:
        say("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            store.moment = order.pop("die", None)
            store.slow, store.aloud = order.pop("slow", 0.0), order.pop("aloud", False)
            say(await (race if order.pop("do") == "race" else clear)(belvo, **order))


def say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
