"""The line of one process before a server that the test holds in its hand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from belvo_links import Lane, LoopMismatchError, RateLimit
from belvo_links.limits import shared
from belvo_links.limits.outage import LocalShare
from belvo_links.limits.shared import SharedLimiter, UnreachableError
from belvo_links.transport.messages import Quota
from tests.limits.conftest import BULK, CALL, PERSON
from tests.limits.model import Model
from tests.limits.waiting import end, until

HOUR = 3600.0
QUOTA = Quota(name="two an hour", requests=2, seconds=HOUR)
KEPT = int(shared.PATIENCE * 1_000_000)


class Counter:
    """A server in this process.

    Attributes:
        model: what it has counted.
        quota: the same for quotas.
        asked: what was asked of it, in order.
        answered: the tickets that it has decided on.
        fails: raised by every question.
        loses: how many answers to lose after doing what was asked.
        delays: seconds that the next answers take.
    """

    def __init__(self) -> None:
        self.model = Model()
        self.quota = Model()
        self.asked: list[tuple[str, str]] = []
        self.answered: list[str] = []
        self.fails: UnreachableError | None = None
        self.loses = 0
        self.delays: list[float] = []

    def now(self) -> int:
        return int(asyncio.get_running_loop().time() * 1_000_000)

    async def _question(self, kind: str, ticket: str) -> None:
        self.asked.append((kind, ticket))
        await asyncio.sleep(self.delays.pop() if self.delays else 0)
        if self.fails is not None:
            raise self.fails

    def _lose(self) -> None:
        if self.loses:
            self.loses -= 1
            raise UnreachableError("lost", dropped=True)

    async def ask(self, ticket: str, lane: Lane, limit: RateLimit) -> float:
        await self._question("ask", ticket)
        length = int(limit.seconds * 1e6)
        allowance = limit.allowance(lane)
        wait = self.model.ask(self.now(), ticket, lane, allowance=allowance, length=length, patience=KEPT)
        self.answered.append(ticket)
        self._lose()
        return wait / 1e6

    async def withdraw(self, ticket: str) -> None:
        await self._question("withdraw", ticket)
        self.model.withdraw(ticket)

    async def report(self, ages: Mapping[str, float], limit: RateLimit) -> None:
        await self._question("report", " ".join(ages))
        for ticket, age in ages.items():
            self.model.report(self.now(), ticket, int(age * 1e6), length=int(limit.seconds * 1e6))

    async def reserve(self, quota: Quota, ticket: str) -> float:
        await self._question("reserve", ticket)
        length = int(quota.seconds * 1e6)
        wait = self.quota.reserve(self.now(), ticket, requests=quota.requests, length=length)
        return wait / 1e6

    async def give_back(self, quota: Quota, ticket: str) -> None:
        await self._question("give back", ticket)
        self.quota.withdraw(ticket)

    async def aclose(self) -> None:
        self.asked.append(("close", ""))

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.asked]


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
async def make(counter: Counter) -> AsyncIterator[Callable[..., SharedLimiter]]:
    made: list[SharedLimiter] = []

    def one(limit: RateLimit, **options: Any) -> SharedLimiter:
        given: dict[str, Any] = {"what": "The limiter", "margin": 0.05, "fallback": None, "quotas": True} | options
        made.append(SharedLimiter(counter, limit=limit, **given))
        return made[-1]

    yield one
    for limiter in made:
        await limiter.aclose()


def down(*, dropped: bool = False) -> UnreachableError:
    return UnreachableError("OutOfOrder", dropped=dropped)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What this package has logged: asyncio complains of a slow machine."""
    return [f"{one.levelname} {one.getMessage()}" for one in caplog.records if one.name == "belvo_links"]


async def turn(times: int = 10) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


# ------------------------------------------------------------------------------------------------------------ waiting


async def test_a_turn_that_is_free_costs_one_question(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """And no more."""
    await make(RateLimit(1, HOUR)).acquire(CALL)
    assert counter.kinds() == ["ask"]


async def test_only_the_first_of_each_lane_asks(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """However many wait behind them."""
    limiter = make(RateLimit(1, HOUR))
    await limiter.acquire(CALL)
    counter.asked.clear()
    waiting = [asyncio.create_task(limiter.acquire(lane)) for lane in Lane for _ in range(50)]
    await turn(300)
    assert len(dict.fromkeys(ticket for _, ticket in counter.asked)) == len(Lane) == len(counter.model.line)
    await end(*waiting)
    assert counter.model.line == []


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("full", [False, True])
async def test_cancelled_at_any_moment_it_leaves_no_trace(
    counter: Counter, make: Callable[..., SharedLimiter], steps: int, full: bool
) -> None:
    """Neither in the window nor in the line; unless it was let in before."""
    limiter = make(RateLimit(1, HOUR))
    if full:
        await limiter.acquire(CALL)
    before = dict(counter.model.window)
    task = asyncio.create_task(limiter.acquire(CALL))
    await turn(steps)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    if result is None:
        assert len(counter.model.window) == 1
    else:
        assert isinstance(result, asyncio.CancelledError)
        assert (counter.model.window, counter.model.line) == (before, [])


async def test_a_question_is_never_left_halfway(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """Otherwise it could arrive after its ticket was withdrawn."""
    limiter = make(RateLimit(1, HOUR))
    counter.delays = [0.02]
    task = asyncio.create_task(limiter.acquire(CALL))
    await turn()
    await end(task)
    assert counter.kinds() == ["ask", "withdraw"]
    assert counter.answered == [counter.asked[0][1]]


async def test_cancelled_in_the_line_it_asks_nothing(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """And whoever stands behind it moves up."""
    limiter = make(RateLimit(1, 0.4))
    await limiter.acquire(CALL)
    first, second, third = (asyncio.create_task(limiter.acquire(CALL)) for _ in range(3))
    await turn()
    asked = len({ticket for _, ticket in counter.asked})
    await end(second)
    assert len({ticket for _, ticket in counter.asked}) == asked
    await asyncio.gather(first, third)


async def test_an_answer_that_is_too_late_is_asked_for_again(
    counter: Counter, make: Callable[..., SharedLimiter]
) -> None:
    """Its request would arrive when the margin is over; asked again, the same ticket counts as of then."""
    counter.delays = [0, 0.06]
    await make(RateLimit(1, HOUR)).acquire(CALL)
    assert counter.kinds() == ["ask", "ask"]
    (ends,) = counter.model.window.values()
    assert ends / 1e6 == pytest.approx(asyncio.get_running_loop().time() + HOUR + 0.05, abs=0.03)


async def test_a_lost_answer_counts_nothing_twice(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """The question is repeated at once, with the same ticket, after telling what was let in here."""
    limiter = make(RateLimit(3, HOUR))
    await limiter.acquire(CALL)
    counter.loses = 1
    await limiter.acquire(CALL)
    assert counter.kinds() == ["ask", "ask", "report", "ask"]
    assert len(counter.model.window) == 2


async def test_a_server_that_forgot_is_told(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """Nothing that was let in is let in again."""
    limiter = make(RateLimit(3, HOUR))
    await limiter.acquire(CALL)
    await limiter.acquire(CALL)
    counter.model.window.clear()
    counter.loses = 1
    await limiter.acquire(CALL)
    assert len(counter.model.window) == 3


async def test_what_was_let_in_long_ago_is_forgotten(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """Here, too: memory is bounded by the limit."""
    limiter = make(RateLimit(2, 0.004), margin=0.001)
    for _ in range(10):
        await limiter.acquire(CALL)
    assert len(limiter._let_in) <= 4


# ------------------------------------------------------------------------------------------------------------ outages


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "PROBE_EVERY", 0.01)
    monkeypatch.setattr(shared, "LONGEST_SLEEP", 0.01)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("dropped", [False, True])
async def test_an_outage_is_said_once_and_ends(
    counter: Counter, make: Callable[..., SharedLimiter], caplog: pytest.LogCaptureFixture, dropped: bool
) -> None:
    """A share of its own meanwhile; who waits is let in by it; then the server knows of all."""
    caplog.set_level(logging.INFO, "belvo_links")
    limiter = make(RateLimit(16, HOUR))
    await limiter.acquire(CALL)
    counter.fails = down(dropped=dropped)
    await limiter.acquire(CALL)
    waiting = [asyncio.create_task(limiter.acquire(lane)) for lane in Lane for _ in range(3)]
    await until(lambda: counter.kinds().count("report") > 4)
    assert not any(task.done() for task in waiting)  # an eighth of 16, and the one before counts
    assert set(counter.kinds()[2:]) == {"report"}  # nobody asks but the one who probes
    counter.fails = None
    await asyncio.gather(*waiting)
    assert len(counter.model.window) == 11
    assert said(caplog) == [
        (
            "WARNING The limiter cannot be reached (OutOfOrder):"
            " until it can, this process lets in 2 requests in 3600 s of its own"
        ),
        "INFO The limiter is reached again",
    ]


@pytest.mark.usefixtures("soon")
async def test_whoever_finds_the_outage_it_is_said_once(
    counter: Counter, make: Callable[..., SharedLimiter], caplog: pytest.LogCaptureFixture
) -> None:
    """Three calls ask at the same moment, and one share lets them in."""
    limiter = make(RateLimit(16, HOUR))
    counter.fails = down()
    waiting = [asyncio.create_task(limiter.acquire(lane)) for lane in Lane]
    await until(lambda: sum(task.done() for task in waiting) == 2)
    await end(*waiting)
    assert counter.kinds().count("ask") == 3
    assert len(said(caplog)) == 1


async def test_a_turn_of_ones_own_that_comes_when_the_server_is_back_is_not_taken(
    counter: Counter, make: Callable[..., SharedLimiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server would not know of it."""
    limiter = make(RateLimit(16, HOUR))
    counter.fails = down()

    async def admits(share: LocalShare, lane: Lane, patience: float) -> bool:
        counter.fails = limiter._outage = None
        return True

    monkeypatch.setattr(LocalShare, "admits", admits)
    await limiter.acquire(CALL)
    assert len(counter.model.window) == 1


@pytest.mark.usefixtures("soon")
async def test_a_call_that_waits_for_the_server_goes_on_by_itself(
    counter: Counter, make: Callable[..., SharedLimiter]
) -> None:
    """As soon as somebody finds that it cannot be reached."""
    limiter = make(RateLimit(1, HOUR), fallback=RateLimit(9, HOUR))
    await limiter.acquire(CALL)
    waiting = asyncio.create_task(limiter.acquire(BULK))
    await turn()
    counter.fails = down()
    await limiter.acquire(PERSON)
    await waiting


@pytest.mark.usefixtures("soon")
async def test_persons_go_first_in_an_outage(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """And bulk work leaves a quarter free."""
    limiter = make(RateLimit(80, HOUR), fallback=RateLimit(4, HOUR))
    counter.fails = down()
    bulk = [asyncio.create_task(limiter.acquire(BULK)) for _ in range(4)]
    await until(lambda: sum(task.done() for task in bulk) == 3)
    await limiter.acquire(PERSON)
    person = asyncio.create_task(limiter.acquire(PERSON))
    await turn(100)
    assert (bulk[3].done(), person.done()) == (False, False)
    await end(*bulk, person)
    assert len(limiter._let_in) == 4


@pytest.mark.usefixtures("soon")
async def test_cancelled_in_an_outage_it_counts_nowhere(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """And nobody asks a server that is out of reach to forget it."""
    limiter = make(RateLimit(80, HOUR), fallback=RateLimit(1, HOUR))
    counter.fails = down()
    await limiter.acquire(CALL)
    waiting = asyncio.create_task(limiter.acquire(CALL))
    await turn()
    await end(waiting)
    assert "withdraw" not in counter.kinds()
    counter.fails = None
    await until(lambda: limiter._outage is None)
    assert len(counter.model.window) == 1


async def test_closing_ends_an_outage_and_the_next_use_asks_again(
    counter: Counter, make: Callable[..., SharedLimiter]
) -> None:
    """Nothing goes on in the background."""
    limiter = make(RateLimit(80, HOUR))
    counter.fails = down()
    async with limiter:
        await limiter.acquire(CALL)
    assert len(asyncio.all_tasks()) == 1
    counter.fails = None
    await limiter.acquire(CALL)
    assert counter.kinds()[-1] == "ask"


# ------------------------------------------------------------------------------------------------------------- quotas


async def test_a_quota_is_counted_by_the_server(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """Once for each ticket, in a window that is longer by the margin; a place given back is free."""
    limiter = make(RateLimit(), margin=10)
    assert [await limiter.reserve(QUOTA, ticket) for ticket in ("a", "b", "a")] == [0, 0, 0]
    assert await limiter.reserve(QUOTA, "c") == pytest.approx(HOUR + 10, abs=2)
    await limiter.give_back(QUOTA, "b")
    assert await limiter.reserve(QUOTA, "c") == 0


async def test_quotas_may_be_left_to_others(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """`quotas=False`: everything has room."""
    limiter = make(RateLimit(), quotas=False)
    assert [await limiter.reserve(QUOTA, ticket) for ticket in "abc"] == [0, 0, 0]
    await limiter.give_back(QUOTA, "a")
    assert counter.asked == []


async def test_quotas_are_counted_here_in_an_outage(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """Beginning with what this process had reserved before."""
    limiter = make(RateLimit())
    assert await limiter.reserve(QUOTA, "a") == 0
    counter.fails = down()
    assert await limiter.reserve(QUOTA, "b") == 0
    assert await limiter.reserve(QUOTA, "c") == pytest.approx(HOUR + 0.05, abs=0.1)
    await limiter.give_back(QUOTA, "a")
    assert await limiter.reserve(QUOTA, "c") == 0
    assert counter.kinds() == ["reserve", "reserve"]


async def test_quotas_that_are_over_are_forgotten(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """Here, too: a link that is refreshed once is not remembered for ever."""
    limiter = make(RateLimit(), margin=0)
    for number in range(50):
        quota = Quota(name=f"link {number}", requests=1, seconds=0.001)
        assert await limiter.reserve(quota, "a") == 0
        await asyncio.sleep(0.002)
    assert len(limiter._local_quotas._held) <= 2


async def test_giving_back_raises_nothing(counter: Counter, make: Callable[..., SharedLimiter]) -> None:
    """Also where the server fails just then."""
    limiter = make(RateLimit())
    assert await limiter.reserve(QUOTA, "a") == 0
    counter.fails = down()
    await limiter.give_back(QUOTA, "a")


# -------------------------------------------------------------------------------------------------------- event loops


def test_another_loop_is_refused_while_calls_wait_in_the_first() -> None:
    """Its waiters could not be told; after them, the limiter may be used there."""
    limiter = SharedLimiter(
        Counter(), what="The limiter", limit=RateLimit(1, 0.05), margin=0, fallback=None, quotas=True
    )
    first = asyncio.new_event_loop()
    first.run_until_complete(limiter.acquire(CALL))
    waiting = first.create_task(limiter.acquire(CALL))
    first.run_until_complete(turn())
    with pytest.raises(LoopMismatchError):
        asyncio.run(limiter.acquire(CALL))
    with pytest.raises(LoopMismatchError):
        asyncio.run(limiter.reserve(QUOTA, "a"))
    first.run_until_complete(waiting)
    asyncio.run(limiter.acquire(CALL))
    first.close()


def test_a_loop_that_was_closed_on_waiting_calls_holds_nobody_up() -> None:
    """They will never be let in."""
    limiter = SharedLimiter(
        Counter(), what="The limiter", limit=RateLimit(1, 0.3), margin=0, fallback=None, quotas=True
    )
    loop = asyncio.new_event_loop()
    loop.run_until_complete(limiter.acquire(CALL))
    call = limiter.acquire(CALL)
    task = loop.create_task(call)
    loop.run_until_complete(turn(50))
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # what asyncio would say of it is not the point
    loop.close()
    asyncio.run(limiter.acquire(CALL))
    call.close()


@pytest.mark.usefixtures("soon")
def test_an_outage_belongs_to_its_loop() -> None:
    """The next loop begins by asking the server."""
    counter = Counter()
    limiter = SharedLimiter(counter, what="The limiter", limit=RateLimit(9), margin=0, fallback=None, quotas=True)
    counter.fails = down()
    asyncio.run(limiter.acquire(CALL))
    counter.fails = None
    asyncio.run(limiter.acquire(CALL))
    assert counter.kinds()[-1] == "ask"
    asyncio.run(limiter.aclose())


def test_a_margin_is_no_less_than_nothing() -> None:
    """A shorter window would let too many in."""
    for margin in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="margin"):
            SharedLimiter(Counter(), what="", limit=RateLimit(), margin=margin, fallback=None, quotas=True)
