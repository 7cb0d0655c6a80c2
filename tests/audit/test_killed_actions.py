"""Processes are killed in the midst of a plan: who goes on with its journal repeats nothing that was done."""

import asyncio
import contextlib
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from belvo_links import BelvoLinks
from belvo_links.audit import Journal, Outcome, Plan, plan_delete, plan_refresh
from belvo_links.sandbox import Fault, Sandbox
from tests.audit.process import waiting

PROVING = os.environ.get("BELVO_LINKS_PROVE") == "1"
KILLS = 200 if PROVING else 3
LINKS = 24
CONCURRENCY = 4
SLOW = 0.02
"""Seconds that a call takes at most, on either side of its effect, and the moment of a kill after a request."""

pytestmark = [pytest.mark.prove, pytest.mark.timeout(3600 if PROVING else 60)]


@attrs.define
class Tally:
    """What was seen over all kills."""

    killed: int = 0
    done: int = 0
    unknown_sent: int = 0
    unknown_unsent: int = 0
    untouched: int = 0


async def killed_in_the_midst(box: Sandbox, plan: Plan, journal: Path, rng: random.Random) -> None:
    """Let a process begin with the plan, and kill it when some requests have come, and a random moment later."""
    order = {
        "kind": str(plan.kind),
        "ids": plan.ids,
        "journal": str(journal),
        "concurrency": CONCURRENCY,
    }
    async with waiting(box, "tests.audit.acting") as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        wanted = rng.randrange(LINKS - CONCURRENCY)
        async with asyncio.timeout(45):
            while len(box.requests) < wanted or not journal.exists():  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0.001)
        await asyncio.sleep(rng.random() * SLOW)
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL


def delay(box: Sandbox, rng: random.Random) -> None:
    """Let calls take long, some before and some after their effect, so that a kill hits every phase."""
    for _ in range(LINKS):
        make = rng.choice([Fault.delay, Fault.delay_after])
        box.inject(make(rng.random() * SLOW))


def called_for(box: Sandbox) -> Counter[str]:
    return Counter(one.path.split("/")[3] for one in box.requests)


async def states(journal: Path) -> dict[str, Outcome]:
    """What the journal says; a process may have died before it made one."""
    if not await Journal(journal).is_there({}):
        return {}
    return {result.link_id: result.outcome async for result in Journal(journal).results()}


@pytest.mark.parametrize("make", [plan_delete, plan_refresh], ids=["delete", "refresh"])
async def test_whenever_a_process_is_killed_its_journal_says_what_was_begun_and_what_is_done(
    make: Callable[[list[str]], Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is done is not repeated, what is unknown is listed, what was not begun was not sent."""
    tally = Tally()
    for number in range(KILLS):
        rng = random.Random(f"{make.__name__} {number}")
        async with Sandbox(seed=number) as box:
            await one_kill(box, make(box.add_links(LINKS)), tmp_path / f"{number}.db", rng, tally)
    with capsys.disabled() if PROVING else contextlib.nullcontext():
        print(f"\n{make.__name__}, {LINKS} links each: {tally}", flush=True)  # noqa: T201  # figures that are asked for
    assert tally.killed == KILLS
    assert not PROVING or (tally.unknown_sent and tally.untouched)


async def one_kill(box: Sandbox, plan: Plan, journal: Path, rng: random.Random, tally: Tally) -> None:
    delay(box, rng)
    await killed_in_the_midst(box, plan, journal, rng)
    box.clear_faults()
    await until_nothing_is_under_way(box)
    before, left = called_for(box), await states(journal)
    done = {link_id for link_id, outcome in left.items() if outcome is Outcome.DONE}
    unknown = {link_id for link_id, outcome in left.items() if outcome is Outcome.UNKNOWN}
    assert done | unknown == left.keys()
    assert before.keys() <= left.keys()  # nothing was sent that the journal does not know
    assert done <= before.keys()
    assert len(unknown) <= CONCURRENCY
    box.requests.clear()

    async with BelvoLinks.from_env(box.env, rate_limit=None) as belvo:
        summary = await plan.run(belvo, journal=journal, dry_run=False)
    again = called_for(box)
    listed = {result.link_id async for result in summary.results(Outcome.UNKNOWN)}
    repeated = unknown if plan.kind == "delete" else set()
    assert listed == unknown - repeated
    assert summary.counts[Outcome.DONE] == LINKS - len(listed)
    assert again == dict.fromkeys(set(plan.ids) - done - listed, 1)
    box.advance(minutes=1)
    assert plan.kind != "delete" or not box.links
    tally.killed += 1
    tally.done += len(done)
    tally.unknown_sent += len(unknown & before.keys())
    tally.unknown_unsent += len(unknown - before.keys())
    tally.untouched += LINKS - len(left)


async def until_nothing_is_under_way(box: Sandbox) -> None:
    """A request that was sent may still be on its way when its process is dead, and take its effect later."""
    seen = -1
    while seen != len(box.requests):
        seen = len(box.requests)
        await asyncio.sleep(2 * SLOW)
