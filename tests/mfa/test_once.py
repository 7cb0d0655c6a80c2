"""Whatever happens at the same time: one request, in a fixed order of steps."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from belvo_links import (
    AlreadyClaimedError,
    AlreadySettledError,
    BelvoLinks,
    Link,
    PendingSession,
    PoolTimeoutError,
    RateLimit,
    SessionExpiredError,
    Timeouts,
)
from belvo_links.errors import ConnectError, LoopMismatchError
from belvo_links.protocol.mfa import PendingState
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.stores import MemoryStore, PendingStore
from tests.mfa import helpers
from tests.mfa.helpers import (
    GOOD,
    LINKS,
    WRONG,
    Counting,
    Recording,
    Slow,
    T,
    Work,
    client,
    completes,
    link,
    pending,
    register,
)

LOST = (AlreadyClaimedError, AlreadySettledError)


async def test_a_hundred_tasks_send_one_request(box: Sandbox, any_store: PendingStore) -> None:
    """One gets the link, the others an error that says why nothing was sent, and only one takes a limiter's slot."""
    limiter = Counting()
    async with client(box, store=any_store, rate_limit=limiter) as belvo:
        asked = await register(belvo)
        limiter.slots = 0
        outcomes = await asyncio.gather(*(belvo.complete(asked.id, GOOD) for _ in range(100)), return_exceptions=True)
    assert (completes(box), box.tokens, limiter.slots) == (1, [GOOD], 1)
    assert sum(isinstance(outcome, Link) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, LOST) for outcome in outcomes) == 99


@pytest.mark.parametrize("with_round", [True, False])
@pytest.mark.parametrize("delay", [0.0, 0.02])
async def test_a_hundred_tasks_never_spend_the_next_challenge(
    box: Sandbox, any_store: PendingStore, with_round: bool, delay: float
) -> None:
    """When the first is challenged again, those that were called for the same round do not answer the next one."""
    async with client(box, store=Slow(any_store)) as belvo:
        asked = await register(belvo)
        if delay:
            box.inject(Fault.delay_after(delay), method="PATCH", template=LINKS)
        outcomes = await asyncio.gather(
            *(belvo.complete(asked.id, WRONG, round=1 if with_round else None) for _ in range(100)),
            return_exceptions=True,
        )
    assert box.tokens == [WRONG]
    assert sum(isinstance(outcome, PendingSession) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, AlreadyClaimedError) for outcome in outcomes) == 99


async def test_several_clients_on_one_store_send_one_request(box: Sandbox, any_store: PendingStore) -> None:
    """Clients know nothing of each other but the store; handles, ids and restored texts all count as one session."""
    store, limiters = Slow(any_store), [Counting() for _ in range(5)]
    clients = [client(box, store=store, rate_limit=limiter) for limiter in limiters]
    asked = await register(clients[0])
    text = asked.to_json()
    calls: list[Coroutine[Any, Any, object]] = [asked.complete(GOOD) for _ in range(4)]
    for each in clients:
        calls += [each.complete(asked.id, GOOD, round=1) for _ in range(4)]
        calls += [each.restore(text).complete(GOOD) for _ in range(4)]
        calls += [(await each.pending(asked.id)).complete(GOOD)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for each in clients:
        await each.aclose()
    assert (completes(box), box.tokens) == (1, [GOOD])
    assert sum(isinstance(outcome, Link) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, LOST) for outcome in outcomes) == len(outcomes) - 1


async def test_of_two_that_have_both_looked_one_claims(box: Sandbox, any_store: PendingStore) -> None:
    """The claim itself decides: two clients stand behind the limiter with the same record, one loses the swap."""
    store = any_store
    both = asyncio.Barrier(2)
    limiters = [Counting(), Counting()]
    clients = [client(box, store=store, rate_limit=limiter) for limiter in limiters]
    asked = await register(clients[0])

    async def meet() -> None:
        await both.wait()

    for limiter in limiters:
        limiter.hook = meet
    outcomes = await asyncio.gather(*(each.complete(asked.id, GOOD) for each in clients), return_exceptions=True)
    for each in clients:
        await each.aclose()
    assert completes(box) == 1
    assert {type(outcome) for outcome in outcomes} == {Link, AlreadyClaimedError}


async def test_a_call_that_cannot_win_takes_no_slot(box: Sandbox, store: MemoryStore) -> None:
    """Submitting, a later round, settled: the look at the record comes before the limiter."""
    limiter = Counting()
    async with client(box, store=store, rate_limit=limiter) as belvo:
        first = await register(belvo, "sim_mfa_chain")
        second = pending(await first.complete(GOOD))
        await second.complete(GOOD)
        limiter.slots = 0
        for call in (first.complete(GOOD), second.complete(GOOD), belvo.complete(first.id, GOOD, round=9)):
            with pytest.raises(AlreadySettledError):
                await call
        assert limiter.slots == 0


async def test_the_order_is_look_slot_deadline_claim_send(box: Sandbox) -> None:
    """What the guarantees stand on, observed from outside; a look comes first and the record of the reply last."""
    notes: list[str] = []
    limiter = Counting(notes)
    async with client(box, store=Recording(notes), rate_limit=limiter) as belvo:
        asked = await register(belvo)
        notes.clear()
        await asked.complete(GOOD)
    assert notes == ["load", "slot PERSON", "claim", "settle"]


async def test_nothing_reaches_the_service_before_the_claim(box: Sandbox) -> None:
    """At the moment of the claim no request has come; when the request comes, the claim is on record."""
    seen: list[int] = []

    class Watching(helpers.Wrapped):
        async def around(self, name: str, work: Work[T]) -> T:
            if name == "claim":
                seen.append(completes(box))
            result = await work()
            if name == "claim":
                seen.append(completes(box))
            return result

    async with client(box, store=Watching()) as belvo:
        asked = await register(belvo)
        await asked.complete(GOOD)
    assert (seen, completes(box)) == ([0, 0], 1)


async def test_a_deadline_that_passes_in_the_limiter_sends_nothing(box: Sandbox) -> None:
    """It is checked after the wait for a slot: no claim, no request."""
    notes: list[str] = []
    limiter = Counting(notes)
    store = Recording(notes)

    async def wait_long() -> None:
        box.advance(seconds=9600)

    async with client(box, store=store, rate_limit=limiter) as belvo:
        asked = await register(belvo)
        limiter.hook = wait_long
        notes.clear()
        with pytest.raises(SessionExpiredError):
            await asked.complete(GOOD)
        assert "claim" not in notes
        assert (asked.state, completes(box)) == ("expired", 0)
        assert (await helpers.stored(store, asked.id)).state == "expired"


async def test_the_deadline_is_checked_again_before_the_first_byte(box: Sandbox) -> None:
    """A claim that took long may leave no time for connecting: nothing is sent, and the session has expired."""

    class Dawdling(helpers.Wrapped):
        async def around(self, name: str, work: Work[T]) -> T:
            result = await work()
            if name == "claim":
                box.advance(seconds=9600)
            return result

    async with client(box, store=Dawdling()) as belvo:
        asked = await register(belvo)
        with pytest.raises(SessionExpiredError):
            await asked.complete(GOOD)
        assert (asked.state, completes(box)) == ("expired", 0)


async def test_a_claim_that_lost_a_race_against_the_deadline_is_no_illegal_transition(box: Sandbox) -> None:
    """The time is asked once for the check and the claim, so that nothing can pass between them."""
    async with client(box, clock=box.clock) as belvo:
        asked = await register(belvo)
    ticks = iter([asked.expires_at.replace(microsecond=0)] * 2)

    def clock() -> Any:
        return next(ticks, asked.expires_at)

    async with client(box, clock=clock) as late:
        with pytest.raises(SessionExpiredError):
            await late.restore(asked.to_json()).complete(GOOD)
    assert completes(box) == 0


async def test_a_timeout_in_the_limiter_claims_nothing(box: Sandbox) -> None:
    """``timeout=`` bounds the wait for a slot; the round stays to be answered."""
    notes: list[str] = []
    limiter = Counting()
    async with client(box, store=Recording(notes), rate_limit=limiter) as belvo:
        asked = await register(belvo)

        async def never() -> None:
            await asyncio.Event().wait()

        limiter.hook = never
        notes.clear()
        first = asyncio.create_task(asked.complete(GOOD))
        await helpers.settle_loop()
        with pytest.raises(PoolTimeoutError, match="another submission"):
            await asked.complete(GOOD, timeout=0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        with pytest.raises(PoolTimeoutError, match="rate limit"):
            await asked.complete(GOOD, timeout=0.01)
        assert "claim" not in notes
        limiter.hook = None
        assert link(await asked.complete(GOOD)).status == "valid"


async def test_a_timeout_that_is_over_after_the_slot_claims_nothing(box: Sandbox) -> None:
    """A slot that comes at the last moment is not followed by a claim that could not be used."""
    notes: list[str] = []
    limiter = Counting()
    async with client(box, store=Recording(notes), rate_limit=limiter) as belvo:
        asked = await register(belvo)
        loop = asyncio.get_running_loop()

        async def busy() -> None:
            until = loop.time() + 0.02
            while loop.time() < until:
                pass

        limiter.hook = busy
        notes.clear()
        with pytest.raises(PoolTimeoutError):
            await asked.complete(GOOD, timeout=0.01)
        assert ("claim" in notes, asked.state) == (False, "awaiting")


async def test_a_refused_connection_gives_the_round_back(box: Sandbox, store: MemoryStore) -> None:
    """Nothing was sent: awaiting, ``ConnectError``, and the token may be used; it was one attempt."""
    async with client(box, store=store) as belvo:
        asked = await register(belvo)
    async with client(box, store=store, timeouts=Timeouts(connect=0.5)) as belvo:
        await box.stop()
        again = await belvo.pending(asked.id)
        with pytest.raises(ConnectError) as caught:
            await again.complete(GOOD)
        assert (caught.value.attempts, again.state) == (1, "awaiting")
    assert (await helpers.stored(store, asked.id)).state is PendingState.AWAITING


async def test_completes_are_never_repeated_not_even_where_other_calls_are(box: Sandbox, store: MemoryStore) -> None:
    """A generous retry policy changes nothing: one attempt on 429, on 500 and on a refused connection."""
    async with client(box, store=store, retry=helpers.EAGER) as belvo:
        asked = await register(belvo)
        for status, state in ((429, "awaiting"), (500, "indeterminate")):
            box.inject(Fault.status(status), method="PATCH", template=LINKS)
            with pytest.raises(Exception):  # noqa: B017  # the table of replies says which
                await asked.complete(GOOD)
            assert asked.state == state
    assert box.tokens == [GOOD, GOOD]


async def test_the_limiter_of_a_client_counts_submissions(box: Sandbox) -> None:
    """The default kind of limiter makes a submission wait its turn."""
    async with client(box, rate_limit=RateLimit(2, 0.05)) as belvo:
        asked = await register(belvo, "sim_mfa_chain")
        second = pending(await asked.complete(GOOD))
        assert link(await second.complete(GOOD)).status == "valid"


def test_a_handle_in_a_second_event_loop_raises_and_claims_nothing() -> None:
    """A client serves one loop: elsewhere the round is given back, and the error says so."""
    runner, other = asyncio.Runner(debug=True), asyncio.Runner(debug=True)
    box, store = Sandbox(seed=3), MemoryStore()

    async def start() -> tuple[BelvoLinks, PendingSession]:
        await box.start()
        belvo = client(box, store=store)
        return belvo, await register(belvo)

    async def elsewhere(asked: PendingSession) -> None:
        with pytest.raises(LoopMismatchError):
            await asked.complete(GOOD)
        assert (await helpers.stored(store, asked.id)).state is PendingState.AWAITING

    with runner, other:
        belvo, asked = runner.run(start())
        other.run(elsewhere(asked))
        assert completes(box) == 0
        assert link(runner.run(asked.complete(GOOD))).status == "valid"
        runner.run(belvo.aclose())
        runner.run(box.stop())
