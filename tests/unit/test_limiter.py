"""Calls waiting in line, in one event loop."""

import asyncio
from collections.abc import Callable

import pytest

from belvo_links.errors import LoopMismatchError
from belvo_links.transport.base import Limiter
from belvo_links.transport.limit import RateLimit
from belvo_links.transport.limiter import LocalLimiter
from belvo_links.transport.messages import Lane


def test_it_is_a_limiter() -> None:
    """Checked where a user hands one in."""
    assert isinstance(LocalLimiter(RateLimit()), Limiter)
    assert not isinstance(object(), Limiter)


class Line:
    """Calls that note when they are let in."""

    def __init__(self, limiter: LocalLimiter) -> None:
        self.limiter = limiter
        self.let_in: list[str] = []

    def join(self, name: str, lane: Lane = Lane.CALL) -> asyncio.Task[None]:
        return asyncio.create_task(self._wait(name, lane))

    async def _wait(self, name: str, lane: Lane) -> None:
        await self.limiter.acquire(lane)
        self.let_in.append(name)


async def turn() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_are_let_in_at_once_and_the_next_wait() -> None:
    """As many as the window allows."""
    line = Line(LocalLimiter(RateLimit(2, 60.0)))
    tasks = [line.join(name) for name in "abc"]
    await turn()
    assert line.let_in == ["a", "b"]
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_persons_go_first_then_calls_then_bulk_work_each_in_order() -> None:
    """Somebody is waiting for the first, nobody for the last."""
    line = Line(LocalLimiter(RateLimit(1, 0.01)))
    await line.limiter.acquire(Lane.CALL)
    joined = [("bulk1", Lane.BULK), ("call1", Lane.CALL), ("person1", Lane.PERSON)]
    joined += [("bulk2", Lane.BULK), ("call2", Lane.CALL), ("person2", Lane.PERSON)]
    await asyncio.gather(*(line.join(name, lane) for name, lane in joined))
    assert line.let_in == ["person1", "person2", "call1", "call2", "bulk1", "bulk2"]


async def test_bulk_work_waits_while_others_still_go() -> None:
    """The free quarter is for those that come later."""
    line = Line(LocalLimiter(RateLimit(4, 60.0)))
    bulk = [line.join(f"bulk{n}", Lane.BULK) for n in range(4)]
    await turn()
    assert line.let_in == ["bulk0", "bulk1", "bulk2"]
    await line.join("call")
    assert line.let_in[-1] == "call"
    bulk[3].cancel()
    await asyncio.gather(*bulk, return_exceptions=True)


async def test_the_window_is_exact_by_the_loops_own_clock() -> None:
    """Twelve calls, three in any window of 20 milliseconds."""
    limiter = LocalLimiter(RateLimit(3, 0.02))
    clock = asyncio.get_running_loop().time
    moments: list[float] = []

    async def call() -> None:
        before = clock()
        await limiter.acquire(Lane.CALL)
        moments.append(max(before, limiter._window._moments[-1]))

    for _ in range(12):
        await call()
    for first in moments:
        assert sum(first <= moment < first + 0.02 for moment in moments) <= 3


async def test_cancelled_while_waiting_leaves_the_line() -> None:
    """And whoever stands behind moves up."""
    line = Line(LocalLimiter(RateLimit(1, 0.02)))
    await line.limiter.acquire(Lane.CALL)
    first, second = line.join("first", Lane.PERSON), line.join("second")
    await turn()
    first.cancel()
    await turn()
    assert first.cancelled()
    await second
    assert line.let_in == ["second"]


async def test_cancelled_in_the_moment_of_being_let_in_gives_the_slot_back() -> None:
    """It was counted, and never went out: the next one gets it, without waiting for a window."""
    line = Line(LocalLimiter(RateLimit(1, 60.0)))
    await line.limiter.acquire(Lane.CALL)
    first = line.join("first")
    second = line.join("second")
    await turn()
    line.limiter._window.give_back(line.limiter._window._moments[0])
    line.limiter._admit()  # as the timer does: the first is let in, and has not been told yet
    first.cancel()
    async with asyncio.timeout(2):
        await second
    assert first.cancelled()
    assert line.let_in == ["second"]


async def test_cancelled_and_not_yet_told_is_passed_over() -> None:
    """A slot becomes free between the cancellation and the task's hearing of it: the next one gets it."""
    line = Line(LocalLimiter(RateLimit(1, 60.0)))
    await line.limiter.acquire(Lane.CALL)
    first = line.join("first")
    second = line.join("second")
    await turn()
    first.cancel()
    line.limiter._window.give_back(line.limiter._window._moments[0])
    line.limiter._admit()
    async with asyncio.timeout(2):
        await second
    assert first.cancelled()
    assert line.let_in == ["second"]


async def test_the_last_to_leave_stops_the_timer() -> None:
    """Nothing is left in the loop."""
    limiter = LocalLimiter(RateLimit(1, 60.0))
    await limiter.acquire(Lane.CALL)
    task = asyncio.create_task(limiter.acquire(Lane.CALL))
    await turn()
    assert (limiter._timer, len(limiter._waiting)) != (None, 0)
    task.cancel()
    await turn()
    assert (limiter._timer, len(limiter._waiting)) == (None, 0)


@pytest.mark.parametrize("lanes", [(Lane.CALL, Lane.CALL), (Lane.PERSON, Lane.BULK)])
async def test_two_that_share_one_are_counted_together(lanes: tuple[Lane, Lane]) -> None:
    """Two clients with one limiter have one allowance."""
    shared = LocalLimiter(RateLimit(1, 60.0))
    await Line(shared).join("one", lanes[0])
    other = Line(shared)
    task = other.join("two", lanes[1])
    await turn()
    assert other.let_in == []
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_another_loop_is_refused_while_calls_wait_in_the_first(run: Callable[..., None]) -> None:
    """Its waiters could not be told."""
    limiter = LocalLimiter(RateLimit(1, 60.0))
    first = asyncio.new_event_loop()

    async def wait_twice() -> None:
        await limiter.acquire(Lane.CALL)
        await limiter.acquire(Lane.CALL)

    waiting = first.create_task(wait_twice())
    first.run_until_complete(asyncio.sleep(0))
    first.run_until_complete(asyncio.sleep(0))
    with pytest.raises(LoopMismatchError):
        run(limiter.acquire(Lane.CALL))
    waiting.cancel()
    first.run_until_complete(asyncio.gather(waiting, return_exceptions=True))
    first.close()


def test_loops_may_follow_each_other(run: Callable[..., None]) -> None:
    """The window goes on: the service counts on, too."""
    limiter = LocalLimiter(RateLimit(2, 60.0))
    run(limiter.acquire(Lane.CALL))
    run(limiter.acquire(Lane.CALL))
    with pytest.raises(TimeoutError):
        run(asyncio.wait_for(limiter.acquire(Lane.CALL), 0.01))


@pytest.fixture
def run() -> Callable[..., None]:
    return asyncio.run
