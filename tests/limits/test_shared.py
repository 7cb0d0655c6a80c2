"""Limiters on real servers: what several of them, as several processes have them, let in together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from belvo_links import Lane, Limiter, RateLimit
from belvo_links.limits.shared import SharedLimiter
from belvo_links.transport.base import QuotaLimiter
from tests.limits.conftest import BULK, CALL, PERSON, Place
from tests.limits.waiting import end, until

HOUR = 3600.0
KEPT = {"redis": ("PATIENCE", 0.6), "postgres": ("_PATIENCE", timedelta(seconds=0.6))}


class Line:
    """Calls that note when they are let in."""

    def __init__(self) -> None:
        self.let_in: list[str] = []

    async def join(self, limiter: Limiter, name: str, lane: Lane) -> None:
        await limiter.acquire(lane)
        self.let_in.append(name)


async def test_it_is_a_limiter_that_counts_quotas(place: Place) -> None:
    """As checked where a client is made and where a call is counted."""
    limiter = place.limiter(RateLimit())
    assert isinstance(limiter, Limiter)
    assert isinstance(limiter, QuotaLimiter)


async def test_bulk_work_leaves_a_quarter_free(limit_of: Callable[[RateLimit], Limiter]) -> None:
    """For those that somebody waits for."""
    limiter, line = limit_of(RateLimit(4, HOUR)), Line()
    bulk = [asyncio.create_task(line.join(limiter, f"bulk{n}", BULK)) for n in range(4)]
    await until(lambda: len(line.let_in) == 3)
    await line.join(limiter, "call", CALL)
    late = asyncio.create_task(line.join(limiter, "person", PERSON))
    await asyncio.sleep(0.05)
    assert line.let_in == ["bulk0", "bulk1", "bulk2", "call"]
    await end(*bulk, late)


async def test_persons_go_first_then_calls_then_bulk_work_each_in_order(
    limit_of: Callable[[RateLimit], Limiter],
) -> None:
    """Also those that came later."""
    limiter, line = limit_of(RateLimit(1, 0.2)), Line()
    await limiter.acquire(CALL)
    joined = [(f"{lane.name}{number}", lane) for number in (1, 2) for lane in (BULK, CALL, PERSON)]
    waiting = [asyncio.create_task(line.join(limiter, name, lane)) for name, lane in joined]
    await asyncio.gather(*waiting)
    assert line.let_in == ["PERSON1", "PERSON2", "CALL1", "CALL2", "BULK1", "BULK2"]


async def test_no_window_holds_more_by_the_servers_clock(place: Place) -> None:
    """Of four processes that want all they can get."""
    limit = RateLimit(5, 0.3)
    moments: dict[str, float] = {}

    async def worker(limiter: SharedLimiter) -> None:
        for _ in range(6):
            await limiter.acquire(CALL)
            ticket = limiter._let_in[-1][0]
            moments[ticket] = (await asyncio.to_thread(place.counted)).get(ticket, 0) - limit.seconds

    await asyncio.gather(*(worker(place.limiter(limit, margin=0)) for _ in range(4)))
    found = sorted(moment for moment in moments.values() if moment > 0)  # one may be over before it is looked at
    assert len(found) >= 20
    for first in found:
        assert sum(first <= moment < first + limit.seconds - 1e-5 for moment in found) <= limit.requests


async def test_of_many_that_ask_at_the_same_moment_no_more_are_let_in(place: Place) -> None:
    """The server takes them one by one."""
    limiters = [place.limiter(RateLimit(3, HOUR)) for _ in range(8)]
    for turn in range(20):
        tickets = {f"{turn} {number}": limiter for number, limiter in enumerate(limiters)}
        waits = await asyncio.gather(
            *(limiter._server.ask(ticket, CALL, limiter._limit) for ticket, limiter in tickets.items())
        )
        assert waits.count(0) == 3
        await asyncio.gather(*(limiter._server.withdraw(ticket) for ticket, limiter in tickets.items()))


async def test_a_process_with_one_call_does_not_wait_for_another_with_a_hundred(place: Place) -> None:
    """They are served in turn."""
    first, second, line = place.limiter(RateLimit(1, 0.1), margin=0), place.limiter(RateLimit(1, 0.1), margin=0), Line()
    await first.acquire(CALL)
    many = [asyncio.create_task(line.join(first, "many", CALL)) for _ in range(100)]
    await until(lambda: len(line.let_in) >= 2)
    before = len(line.let_in)
    await line.join(second, "one", CALL)
    assert len(line.let_in) - before <= 3
    await end(*many)


async def test_two_processes_share_evenly(place: Place) -> None:
    """Whatever each of them wants."""
    limiters, line = [place.limiter(RateLimit(2, 0.1), margin=0) for _ in range(2)], Line()
    tasks = [
        asyncio.create_task(line.join(limiter, name, BULK))
        for limiter, name, number in zip(limiters, "ab", (200, 20), strict=True)
        for _ in range(number)
    ]
    await until(lambda: len(line.let_in) >= 20)
    counted = Counter(line.let_in[:20])
    await end(*tasks)
    assert min(counted.values()) >= 8


@pytest.mark.parametrize("full", [False, True])
async def test_cancelled_it_leaves_no_trace(place: Place, full: bool) -> None:
    """At whatever moment: neither in the window nor in the line."""
    limiter = place.limiter(RateLimit(1, HOUR))
    if full:
        await limiter.acquire(CALL)
    before = place.counted()
    for steps in range(0, 40, 2):
        task = asyncio.create_task(limiter.acquire(CALL))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        if result is None:  # it was let in before
            await limiter._server.withdraw(limiter._let_in.pop()[0])
        assert (place.counted().keys(), place.waiting()) == (before.keys(), [])


async def test_the_place_of_a_process_that_died_is_not_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ticket held up whoever came after it for as long as it could have been alive, and no longer."""
    monkeypatch.setattr(f"belvo_links.limits.{place.kind}.{KEPT[place.kind][0]}", KEPT[place.kind][1])
    dead, alive = place.limiter(RateLimit(1, 0.2), margin=0), place.limiter(RateLimit(1, 0.2), margin=0)
    await alive.acquire(CALL)
    assert await dead._server.ask("dead", CALL, dead._limit) > 0
    assert place.waiting() == ["dead"]
    clock = asyncio.get_running_loop().time
    began = clock()
    await alive.acquire(CALL)
    assert 0.5 < clock() - began < 3
    assert place.waiting() == []


@pytest.mark.parametrize("kind", ["redis"])  # PostgreSQL forgets nothing, and ends its connections when it goes down
async def test_a_server_that_forgot_is_told_what_was_let_in(place: Place) -> None:
    """A Redis without a disk that was started anew, or one whose replica has taken over."""
    limiter = place.limiter(RateLimit(3, HOUR))
    await limiter.acquire(CALL)
    await limiter.acquire(CALL)
    known = place.counted()
    with place.redis() as client:
        for key in client.scan_iter(match=f"*{place.name}*"):
            client.delete(key)
    assert place.counted() == {}
    await limiter.acquire(CALL)
    assert known.keys() < place.counted().keys()
    assert len(place.counted()) == 3
    assert all(place.counted()[ticket] == pytest.approx(ends, abs=0.5) for ticket, ends in known.items())


async def test_names_are_counted_apart(place: Place) -> None:
    """One for each account."""
    limit = RateLimit(1, HOUR)
    await place.limiter(limit).acquire(CALL)
    async with asyncio.timeout(5):
        await place.limiter(limit, name=f"{place.name}.other").acquire(CALL)
