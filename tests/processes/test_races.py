"""Several processes, and many tasks in each, complete the same pending sessions: each is submitted once."""

from collections import Counter
from collections.abc import Callable, Iterable
from time import perf_counter

import pytest

from belvo_links.sandbox import Fault, Sandbox
from tests.processes.crew import LIMIT, LINKS, TOKEN, Crew, Worker, size

PROCESSES_ON_ONE = 6
TASKS_ON_ONE = 100
PROCESSES_ON_MANY = 4

pytestmark = [pytest.mark.prove, pytest.mark.timeout(LIMIT)]


async def race(workers: Iterable[Worker], ids: list[str], *, tasks: int, at_once: int) -> Counter[str]:
    """Let all workers complete all sessions at the same time, and count what comes out."""
    total: Counter[str] = Counter()
    for worker in workers:
        worker.tell(do="race", ids=ids, tasks=tasks, at_once=at_once)
    for worker in workers:
        total.update(await worker.says())
    return total


async def test_a_hundred_tasks_in_each_of_six_processes_send_one_request(
    box: Sandbox, crew: Crew, tell: Callable[[str], None]
) -> None:
    """Whether the bank answers at once, late, or never: one Complete, one token, one link."""
    workers = await crew.hire(PROCESSES_ON_ONE)
    losers = {"AlreadyClaimedError", "AlreadySettledError"}
    banks = [
        ("answers at once", None, losers),
        ("takes its time", Fault.delay(0.4), losers),
        ("is not heard", Fault.drop_after(), losers | {"IndeterminateOutcomeError"}),
    ]
    for bank, fault, expected in banks:
        [begun] = await crew.register(1)
        if fault is not None:
            box.inject(fault, method="PATCH", template=LINKS)
        box.requests.clear()
        box.tokens.clear()
        results = await race(workers, [begun.id], tasks=TASKS_ON_ONE, at_once=TASKS_ON_ONE)
        tell(f"bank {bank}: {PROCESSES_ON_ONE} x {TASKS_ON_ONE} tasks, {box.tokens} received; {dict(results)}")
        assert box.tokens == [TOKEN]
        assert box.count("PATCH") == 1
        assert results.pop("Link") == 1
        assert results.total() == PROCESSES_ON_ONE * TASKS_ON_ONE - 1
        assert set(results) <= expected
        assert crew.status(begun.link_id) == "valid"


async def test_four_processes_that_race_for_many_sessions_send_one_request_each(
    box: Sandbox, crew: Crew, tell: Callable[[str], None]
) -> None:
    """Every session is submitted exactly once, by whichever process, and every one ends linked."""
    number = size(usual=60, full=1000)
    begun = await crew.register(number)
    workers = await crew.hire(PROCESSES_ON_MANY)
    began = perf_counter()
    results = await race(workers, [one.id for one in begun], tasks=1, at_once=8)
    took = perf_counter() - began
    submitted = crew.submissions()
    tell(
        f"{PROCESSES_ON_MANY} processes x {number} sessions: {submitted.total()} Completes for {len(submitted)} rounds"
        f" in {took:.1f} s; {dict(results)}"
    )
    assert len(box.tokens) == submitted.total() == len(submitted) == number
    assert results.pop("Link") == number
    assert results.total() == (PROCESSES_ON_MANY - 1) * number
    assert set(results) <= {"AlreadyClaimedError", "AlreadySettledError"}
    assert {link["status"] for link in box.links} == {"valid"}
    states = Counter([str(one.state) async for one in crew.belvo.iterate_pending()])
    assert states == {"linked": number}
