"""What the service limits of single kinds of calls, by clients of the simulator under a shared limiter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from belvo_links import (
    BelvoLinks,
    ConnectError,
    Lane,
    MfaRequiredError,
    PoolTimeoutError,
    RateLimit,
    RateLimitedError,
    RefreshCooldownError,
    ResponseLostError,
    ServerError,
    Timeouts,
)
from belvo_links.protocol import quotas
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.transport.messages import Quota
from tests.client.making import client
from tests.limits.conftest import Place
from tests.limits.waiting import until

SOON = Timeouts(pool_wait=1)


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
async def make(box: Sandbox, place: Place) -> AsyncIterator[Callable[..., BelvoLinks]]:
    """Clients, each with a limiter of its own, as if each were in another process."""
    made: list[BelvoLinks] = []

    def one(**options: Any) -> BelvoLinks:
        made.append(client(box, **{"rate_limit": place.limiter(RateLimit()), "retry": None, **options}))
        return made[-1]

    yield one
    for belvo in made:
        await belvo.aclose()


# ------------------------------------------------------------------------------------------------ synchronous deletions


async def test_the_sixth_synchronous_deletion_in_a_minute_waits(box: Sandbox, make: Callable[..., BelvoLinks]) -> None:
    """Whichever process it is in; asynchronous ones do not."""
    ids = box.add_links(7)
    first, second = make(timeouts=SOON), make(timeouts=SOON)
    for number, link_id in enumerate(ids[:5]):
        await (first, second)[number % 2].delete(link_id, mode="sync")
    with pytest.raises(PoolTimeoutError):
        await first.delete(ids[5], mode="sync")
    await second.delete(ids[6])
    assert box.count("DELETE") == 6
    assert [received.status for received in box.requests] == [204] * 5 + [202]


async def test_it_goes_out_when_there_is_room(
    box: Sandbox, make: Callable[..., BelvoLinks], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a wait, without an error."""
    monkeypatch.setattr("belvo_links.protocol.operations.SYNC_DELETIONS", Quota(name="few", requests=1, seconds=0.01))
    ids, belvo = box.add_links(2), make()
    for link_id in ids:
        await belvo.delete(link_id, mode="sync")
    one, two = (received.at for received in box.requests)
    assert two - one > timedelta(seconds=0.4)  # the margin


async def test_the_deletions_of_accounts_are_counted_apart(
    box: Sandbox, place: Place, make: Callable[..., BelvoLinks]
) -> None:
    """By the limiter's name."""
    other = make(rate_limit=place.limiter(RateLimit(), name=f"{place.name}.other"), timeouts=SOON)
    ids, belvo = box.add_links(6), make(timeouts=SOON)
    for link_id in ids[:5]:
        await belvo.delete(link_id, mode="sync")
    box.requests.clear()
    await asyncio.gather(other.delete(ids[5], mode="sync"), return_exceptions=True)
    assert box.count("DELETE") == 1


# -------------------------------------------------------------------------------------------------------- the cooldown


async def test_a_refresh_within_the_cooldown_is_refused_without_a_request(
    box: Sandbox, make: Callable[..., BelvoLinks]
) -> None:
    """In every process, with the time until the next may succeed; other links are free."""
    one, two = box.add_links(2, access_mode="recurrent")
    first, second = make(), make()
    await first.refresh(one)
    for belvo in (first, second):
        with pytest.raises(RefreshCooldownError) as caught:
            await belvo.refresh(one)
        assert caught.value.retry_after is not None
        assert timedelta(minutes=9.8) < caught.value.retry_after < timedelta(minutes=10.1)
    await second.refresh(two)
    assert box.count("POST") == 2


async def test_a_refresh_that_was_refused_may_be_asked_for_again(box: Sandbox, make: Callable[..., BelvoLinks]) -> None:
    """It has begun no cooldown; one that failed over there may have."""
    (link_id,) = box.add_links(1, access_mode="recurrent")
    belvo = make()
    box.inject(Fault.status(429))
    with pytest.raises(RateLimitedError):
        await belvo.refresh(link_id)
    box.inject(Fault.status(500))
    with pytest.raises(ServerError):
        await belvo.refresh(link_id)
    with pytest.raises(RefreshCooldownError):
        await belvo.refresh(link_id)


async def test_a_refresh_that_asks_for_a_token_begins_no_cooldown(
    box: Sandbox, place: Place, make: Callable[..., BelvoLinks]
) -> None:
    """Nothing is fetched before the second factor."""
    (link_id,) = box.add_links(1, access_mode="recurrent", status="token_required")
    with pytest.raises(MfaRequiredError):
        await make().refresh(link_id)
    assert await place.limiter(RateLimit()).reserve(quotas.refresh_cooldown(link_id), "again") == 0


async def test_a_refresh_that_found_no_connection_may_be_asked_for_again(
    box: Sandbox, make: Callable[..., BelvoLinks]
) -> None:
    """Nothing was sent."""
    (link_id,) = box.add_links(1, access_mode="recurrent")
    belvo = make()
    await box.stop()
    for _ in range(2):
        with pytest.raises(ConnectError):
            await belvo.refresh(link_id)


async def test_a_refresh_whose_reply_was_lost_counts(box: Sandbox, make: Callable[..., BelvoLinks]) -> None:
    """It may have been accepted."""
    (link_id,) = box.add_links(1, access_mode="recurrent")
    belvo = make()
    box.inject(Fault.drop_after())
    with pytest.raises(ResponseLostError):
        await belvo.refresh(link_id)
    with pytest.raises(RefreshCooldownError):
        await belvo.refresh(link_id)
    assert box.count("POST") == 1


async def test_a_refresh_that_was_cancelled_before_it_went_out_may_be_asked_for_again(
    box: Sandbox, place: Place
) -> None:
    """While it waited for its turn."""
    (link_id,) = box.add_links(1, access_mode="recurrent")
    limiter = place.limiter(RateLimit(1, 3600))
    async with client(box, rate_limit=limiter) as belvo:
        await limiter.acquire(Lane.CALL)
        waiting = asyncio.create_task(belvo.refresh(link_id))
        await until(lambda: place.waiting() != [])
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert await place.limiter(RateLimit()).reserve(quotas.refresh_cooldown(link_id), "again") == 0


# --------------------------------------------------------------------------------------------------- the order of turns


async def test_a_call_that_waited_long_for_its_turn_counts_as_of_then(box: Sandbox) -> None:
    """Its quota is reserved before it stands in line, so that no turn is wasted, and once more when it goes out."""
    asked: list[tuple[str, str]] = []

    class Watched:
        async def acquire(self, lane: Lane) -> None:
            asked.append(("acquire", ""))

        async def reserve(self, quota: Quota, ticket: str) -> float:
            asked.append(("reserve", ticket))
            return 0.0

        async def give_back(self, quota: Quota, ticket: str) -> None:
            asked.append(("give back", ticket))

    (link_id,) = box.add_links(1)
    async with client(box, rate_limit=Watched()) as belvo:
        await belvo.delete(link_id, mode="sync")
    assert [kind for kind, _ in asked] == ["reserve", "acquire", "reserve"]
    assert len({ticket for _, ticket in asked if ticket}) == 1
