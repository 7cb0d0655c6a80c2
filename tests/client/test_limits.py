"""Limits of rate, time and patience, and what is repeated."""

import asyncio
from typing import Any

import pytest

from belvo_links import (
    BelvoLinks,
    ConnectError,
    Credentials,
    Lane,
    Link,
    LocalLimiter,
    PoolTimeoutError,
    RateLimit,
    RateLimitedError,
    ResponseLostError,
    RetryPolicy,
    ServerError,
    Timeouts,
    TooManySessionsError,
)
from belvo_links.sandbox import Fault, Sandbox
from tests.client.making import AT_ONCE, BANK, GOOD, LINK_ID, LINKS, MFA_BANK, ONE_LINK, client, drained, pending

# ------------------------------------------------------------------------------------------------------------- rate


class Gate:
    """A limiter that lets nobody in until it is told to, and then by lane."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Lane, int, asyncio.Event]] = []
        self.asked: list[Lane] = []
        self.came = asyncio.Event()
        self.is_open = False

    async def acquire(self, lane: Lane) -> None:
        self.asked.append(lane)
        if self.is_open:
            return
        turn = asyncio.Event()
        self.waiting.append((lane, len(self.asked), turn))
        self.came.set()
        await turn.wait()

    def admit_next(self) -> None:
        first = min(self.waiting, key=lambda one: one[:2])
        self.waiting.remove(first)
        first[2].set()


class Open:
    """A limiter that lets everybody in and remembers whom."""

    def __init__(self) -> None:
        self.asked: list[Lane] = []

    async def acquire(self, lane: Lane) -> None:
        self.asked.append(lane)


async def test_without_a_rate_limit_nobody_waits(box: Sandbox) -> None:
    """Also not more calls than Belvo allows."""
    async with client(box, rate_limit=None) as belvo:
        await asyncio.gather(*(belvo.count() for _ in range(100)))
    assert box.count() == 100


async def test_a_rate_limit_makes_calls_wait(box: Sandbox) -> None:
    """The third of two; no longer than `pool_wait`, and nothing is sent."""
    short = Timeouts(pool_wait=0.01)
    async with client(box, rate_limit=RateLimit(2, 600), timeouts=short, retry=None) as belvo:
        await belvo.count()
        await belvo.count()
        with pytest.raises(PoolTimeoutError, match="rate limit"):
            await belvo.count()
    assert box.count() == 2


async def test_a_limiter_counts_the_calls_of_all_clients_that_share_it(box: Sandbox) -> None:
    """They are one caller to Belvo."""
    shared = LocalLimiter(RateLimit(2, 600))
    short = Timeouts(pool_wait=0.01)
    async with (
        client(box, rate_limit=shared, timeouts=short, retry=None) as first,
        client(box, rate_limit=shared, timeouts=short, retry=None) as second,
    ):
        await first.count()
        await second.count()
        for belvo in (first, second):
            with pytest.raises(PoolTimeoutError):
                await belvo.count()


async def test_every_request_asks_the_limiter_in_its_lane(box: Sandbox) -> None:
    """Credentials and tokens first, iterations last; repetitions ask again."""
    ids = box.add_links(2)
    limiter = Open()
    async with client(box, rate_limit=limiter) as belvo:
        waiting = await pending(belvo)
        await waiting.complete("111111")
        await belvo.update(ids[0], Credentials(password="new"))
        await belvo.get(waiting.link_id)
        await belvo.count()
        await drained(belvo.iterate(page_size=2))
        box.inject(Fault.status(500), times=2)
        await belvo.get(waiting.link_id)
    person, call, bulk = [Lane.PERSON], [Lane.CALL], [Lane.BULK]
    assert limiter.asked == person * 3 + call * 2 + bulk * 2 + call * 3
    assert box.count() == len(limiter.asked)


async def test_a_persons_call_goes_first_while_an_iteration_runs(box: Sandbox) -> None:
    """It came last, and is let in before the pages that wait."""
    box.add_links(50)
    gate = Gate()
    async with client(box, rate_limit=gate) as belvo:
        iterating = asyncio.create_task(drained(belvo.iterate(page_size=10)))
        await gate.came.wait()
        gate.admit_next()
        while len(gate.waiting) < 4:
            gate.came.clear()
            await gate.came.wait()
        registering = asyncio.create_task(belvo.register(BANK, GOOD))
        gate.came.clear()
        await gate.came.wait()
        gate.admit_next()
        assert isinstance(await registering, Link)
        assert box.count() == 2
        gate.is_open = True
        while gate.waiting:
            gate.admit_next()
        assert len(await iterating) >= 50


async def test_an_iteration_leaves_a_quarter_of_the_allowance_free(box: Sandbox) -> None:
    """So that a login that comes meanwhile need not wait."""
    box.add_links(100)
    async with client(box, rate_limit=RateLimit(8, 600), timeouts=Timeouts(pool_wait=0.01), retry=None) as belvo:
        links = belvo.iterate(page_size=10, concurrency=1)
        for _ in range(60):
            await anext(links)
        stuck = asyncio.ensure_future(anext(links))
        assert isinstance(await belvo.register(BANK, GOOD), Link)
        assert (await belvo.count()) == 101
        with pytest.raises(PoolTimeoutError):
            await belvo.count()
        assert not stuck.done()
        stuck.cancel()
        await asyncio.wait([stuck])
    assert box.count("GET") == 7


# ------------------------------------------------------------------------------------------------------------- time


async def test_a_timeout_cuts_the_wait_for_the_limiter(box: Sandbox) -> None:
    """Nothing was sent."""
    async with client(box, rate_limit=Gate()) as belvo:
        with pytest.raises(PoolTimeoutError):
            await belvo.register(BANK, GOOD, timeout=0.01)
    assert box.requests == []


CALLS = {
    "register": lambda belvo: belvo.register(BANK, GOOD, timeout=0.1),
    "get": lambda belvo: belvo.get(LINK_ID, timeout=0.1),
    "page": lambda belvo: belvo.page(timeout=0.1),
    "partial page": lambda belvo: belvo.page(fields=["id"], timeout=0.1),
    "count": lambda belvo: belvo.count(timeout=0.1),
    "iterate": lambda belvo: anext(belvo.iterate(timeout=0.1)),
    "patch": lambda belvo: belvo.patch(LINK_ID, stale_in="90d", timeout=0.1),
    "update": lambda belvo: belvo.update(LINK_ID, Credentials(password="new"), timeout=0.1),
    "delete": lambda belvo: belvo.delete(LINK_ID, timeout=0.1),
    "refresh": lambda belvo: belvo.refresh(LINK_ID, timeout=0.1),
    "get_json": lambda belvo: belvo.get_json("/api/institutions/", timeout=0.1),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_timeout_bounds_the_whole_call(box: Sandbox, belvo: BelvoLinks, call: Any) -> None:
    """Every call takes one; the reply that does not come is lost, and no attempt follows."""
    await belvo.count()  # opens a connection, so that only the reply is waited for
    box.inject(Fault.delay(60), times=None)
    with pytest.raises(ResponseLostError):
        await call(belvo)
    assert box.count() == 2


async def test_the_time_for_a_login_is_longer_than_for_a_read(box: Sandbox) -> None:
    """Each has its own limit."""
    async with client(box, timeouts=Timeouts(read=0.02, login=30), retry=None) as belvo:
        box.inject(Fault.delay(0.1), times=None)
        with pytest.raises(ResponseLostError):
            await belvo.count()
        assert isinstance(await belvo.register(BANK, GOOD), Link)


async def test_calls_wait_for_a_connection_no_longer_than_told(box: Sandbox) -> None:
    """With one connection, the second call's wait is cut; nothing of it was sent."""
    async with client(box, max_connections=1, timeouts=Timeouts(pool_wait=0.02), retry=None) as belvo:
        box.inject(Fault.delay(60), template=LINKS)
        first = asyncio.create_task(belvo.count())
        await asyncio.sleep(0)  # it has the connection
        with pytest.raises(PoolTimeoutError):
            await belvo.get(LINK_ID)
        first.cancel()
        await asyncio.wait([first])
    assert box.count(template=ONE_LINK) == 0


# ----------------------------------------------------------------------------------------------------------- repeating


@pytest.mark.parametrize(
    "fault", [Fault.drop_before(), Fault.status(408), Fault.status(429), Fault.status(500), Fault.html(503)]
)
async def test_a_read_is_repeated(box: Sandbox, belvo: BelvoLinks, fault: Fault) -> None:
    """Twice, and then succeeds; the third failure would have been the last."""
    (link_id,) = box.add_links(1)
    box.inject(fault, times=2)
    assert (await belvo.get(link_id)).id == link_id
    assert box.count() == 3


async def test_a_call_that_fails_for_good_says_how_often(box: Sandbox, belvo: BelvoLinks) -> None:
    """Three attempts at most."""
    box.inject(Fault.drop_before(), times=None)
    with pytest.raises(ResponseLostError) as caught:
        await belvo.get(LINK_ID)
    assert caught.value.attempts == box.count() == 3


async def test_no_policy_means_one_attempt(box: Sandbox) -> None:
    """`retry=None`."""
    box.inject(Fault.status(500))
    async with client(box, retry=None) as belvo:
        with pytest.raises(ServerError):
            await belvo.count()
    assert box.count() == 1


@pytest.mark.parametrize("fault", [Fault.drop_before(), Fault.drop_after(), Fault.status(408), Fault.status(500)])
async def test_a_change_is_not_repeated_where_it_may_have_been_made(
    box: Sandbox, belvo: BelvoLinks, fault: Fault
) -> None:
    """Register, update, patch, refresh: another attempt could lock an account, or make a second link."""
    (link_id,) = box.add_links(1, access_mode="recurrent")
    box.inject(fault, times=None)
    for call in (
        belvo.register(BANK, GOOD),
        belvo.update(link_id, Credentials(password="new")),
        belvo.patch(link_id, stale_in="90d"),
        belvo.refresh(link_id),
    ):
        box.requests.clear()
        with pytest.raises(Exception, match="look"):
            await call
        assert box.count() == 1


async def test_a_change_is_repeated_when_it_was_refused_for_coming_too_soon(box: Sandbox, belvo: BelvoLinks) -> None:
    """After 429; but nothing that carries a token."""
    box.inject(Fault.status(429), times=2)
    assert isinstance(await belvo.register(BANK, GOOD), Link)
    assert box.count() == 3
    box.inject(Fault.status(429), times=2)
    with pytest.raises(RateLimitedError):
        await belvo.register(BANK, Credentials("bnk100", "full", token="111111"))
    waiting = await belvo.register(MFA_BANK, Credentials("sim_mfa_text", "any"), access_mode="single", timeout=5)
    before = box.count()
    box.inject(Fault.status(429))
    with pytest.raises(RateLimitedError):
        await belvo.complete(waiting.id, "111111")
    assert box.count() == before + 1


async def test_too_many_sessions_is_waited_out_where_the_policy_allows_it(box: Sandbox) -> None:
    """Not by default."""
    once = Credentials("sim_too_many_once", "any")
    async with client(box) as belvo:
        with pytest.raises(TooManySessionsError):
            await belvo.register(BANK, once)
    async with client(box, retry=RetryPolicy(base=0, too_many_sessions=True)) as belvo:
        assert isinstance(await belvo.register("gringotts_co_retail", once), Link)
    assert [one.status for one in box.requests] == [400, 400, 201]


async def test_a_refused_connection_is_tried_again(box: Sandbox) -> None:
    """For every call without a token, since nothing was sent."""
    await box.stop()
    async with client(box, retry=AT_ONCE) as belvo:
        for call, attempts in (
            (belvo.register(BANK, GOOD), 3),
            (belvo.get(LINK_ID), 3),
            (belvo.register(BANK, Credentials("bnk100", "full", token="111111")), 1),
        ):
            with pytest.raises(ConnectError) as caught:
                await call
            assert caught.value.attempts == attempts
