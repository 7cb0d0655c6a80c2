"""A store that fails, at any moment and in any way: no token without a recorded claim, no reply taken away."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import pytest

from belvo_links import (
    AlreadyClaimedError,
    BelvoLinks,
    BelvoLinksError,
    IndeterminateOutcomeError,
    Link,
    PendingNotFoundError,
    PendingSession,
    StoreError,
)
from belvo_links.client import ledger
from belvo_links.errors import AuthenticationError, LoginError, SealError, SealReason, StoredFormatError
from belvo_links.protocol.mfa import PendingRecord, PendingState
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.stores import MemoryStore
from tests.mfa import helpers
from tests.mfa.helpers import (
    GOOD,
    LINK,
    LINKS,
    WRONG,
    Failing,
    Leased,
    T,
    Work,
    arrived,
    begin,
    client,
    completes,
    link,
    pending,
    register,
)

ERRORS: dict[str, Exception | None] = {
    "foreign": helpers.DOWN,
    "ours": StoreError(reason="Down"),
    "silence": None,
}
WHEN: dict[str, Callable[[int], Callable[[str, int], bool]]] = {
    "once": lambda k: lambda _, number: number == k,
    "from then on": lambda k: lambda _, number: number >= k,
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not answer counts as unreachable soon."""
    monkeypatch.setattr(ledger, "STORE_LIMIT", 0.01)


def settling(name: str, number: int) -> bool:
    return name == "settle"


def everything(name: str, number: int) -> bool:
    return True


@pytest.mark.parametrize("after", [False, True], ids=["without effect", "after its effect"])
@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("k", range(1, 7))
async def test_a_submission_over_a_store_that_fails_at_the_kth_operation(
    box: Sandbox, impatient: None, error: str, when: str, k: int, after: bool
) -> None:
    """A token goes out only under a recorded claim; then its reply is returned, and going on never sends it again."""
    leases = Leased()
    store = Failing(leases)
    async with client(box, store=store) as belvo:
        asked = await register(belvo)
        store.fail(WHEN[when](k), after=after, error=ERRORS[error])
        try:
            outcome: Any = await asked.complete(GOOD)
        except StoreError as failure:
            outcome = failure
        record = await helpers.stored(leases, asked.id)
        if box.tokens:
            assert isinstance(outcome, Link)
            assert record.state in {PendingState.SUBMITTING, PendingState.LINKED}
            assert asked.state == "linked"
        else:
            assert isinstance(outcome, StoreError)
            assert "hunter2" not in str(outcome)
            assert record.state in {PendingState.AWAITING, PendingState.SUBMITTING}
        store.recover()
        leases.elapsed = 1_000.0
        await _go_on(belvo, asked)
    assert box.tokens == [GOOD] or record.state is PendingState.SUBMITTING


async def _go_on(belvo: BelvoLinks, asked: PendingSession) -> None:
    current = await belvo.pending(asked.id)
    if current.state == "awaiting":
        link(await asked.complete(GOOD))
    elif current.state == "indeterminate":
        with pytest.raises(IndeterminateOutcomeError):
            await asked.complete(GOOD)
    else:
        assert current.state == "linked"


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("operation", ["register", "update", "patch"])
async def test_a_fresh_challenge_that_cannot_be_saved_is_on_the_error(
    box: Sandbox, impatient: None, error: str, operation: helpers.Begun
) -> None:
    """``StoreError.pending`` is the session: unusable while the store is down, and saved by its first use."""
    store = Failing()
    async with client(box, store=store) as belvo:
        store.fail(everything, error=ERRORS[error])
        with pytest.raises(StoreError) as caught:
            await begin(belvo, operation)
        asked = caught.value.pending
        assert asked is not None
        assert (asked.operation, asked.round, asked.state, asked.unsaved) == (operation, 1, "awaiting", True)
        assert asked.id in str(caught.value)
        with pytest.raises(StoreError):
            await asked.complete(GOOD)
        assert box.tokens == []
        store.recover()
        with pytest.raises(PendingNotFoundError):
            await belvo.pending(asked.id)
        assert link(await asked.complete(GOOD)).id == asked.link_id
        assert not asked.unsaved
        assert (await belvo.pending(asked.id)).state == "linked"


async def test_an_unsaved_challenge_is_saved_once(box: Sandbox) -> None:
    """The handle on the error and a text made of it are one session: one of them wins."""
    store = Failing()
    async with client(box, store=store) as belvo:
        store.fail(everything)
        with pytest.raises(StoreError) as caught:
            await register(belvo)
        store.recover()
        assert caught.value.pending is not None
        both = caught.value.pending, belvo.restore(caught.value.pending.to_json())
        outcomes = await asyncio.gather(*(each.complete(GOOD) for each in both), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Link, AlreadyClaimedError}
    assert box.tokens == [GOOD]


async def test_a_baseline_that_cannot_be_saved_is_done_without(box: Sandbox) -> None:
    """The challenge is on record, so the session is handed out; there is just no proof later."""
    store = Failing()
    store.fail(settling)
    async with client(box, store=store) as belvo:
        asked = await begin(belvo, "update")
        assert ((await helpers.stored(store, asked.id)).baseline, asked.unsaved) == (None, False)
        store.recover()
        assert link(await asked.complete(GOOD)).status == "valid"


async def test_the_link_is_returned_although_it_cannot_be_recorded(
    box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged, without what the store's driver said; the lease makes the record indeterminate."""
    leases = Leased()
    store = Failing(leases)
    async with client(box, store=store) as belvo:
        asked = await register(belvo)
        store.fail(settling, error=ERRORS["foreign"])
        assert link(await asked.complete(GOOD)).status == "valid"
        assert asked.state == "linked"
        assert [record.levelno for record in caplog.records if record.levelno >= logging.WARNING] == [logging.ERROR]
        assert "hunter2" not in caplog.text
        assert asked.id in caplog.text
        store.recover()
        with pytest.raises(AlreadyClaimedError):
            await asked.complete(GOOD)
        leases.elapsed = 1_000.0
        assert (await belvo.pending(asked.id)).state == "indeterminate"
        assert link(await asked.reconcile()).id == asked.link_id
        assert completes(box) == 1


@pytest.mark.parametrize("lease_over", [False, True])
@pytest.mark.parametrize("through", ["handle", "json"])
async def test_the_next_challenge_is_returned_although_it_cannot_be_recorded(
    box: Sandbox, lease_over: bool, through: str
) -> None:
    """Its first use writes it, over the claim that is still on record or what the lease has made of that."""
    leases = Leased()
    store = Failing(leases)
    async with client(box, store=store) as belvo:
        asked = await register(belvo)
        store.fail(settling)
        second = pending(await asked.complete(WRONG))
        assert (second.id, second.round, second.state, second.unsaved) == (asked.id, 2, "awaiting", True)
        store.recover()
        assert (await helpers.stored(store, asked.id)).state == "submitting"
        if lease_over:
            leases.elapsed = 1_000.0
            assert (await belvo.pending(asked.id)).state == "indeterminate"
        if through == "json":
            second = belvo.restore(second.to_json())
        with pytest.raises(AlreadyClaimedError if not lease_over else IndeterminateOutcomeError):
            await asked.complete(GOOD)
        leases.elapsed = 0.0
        assert link(await second.complete(GOOD)).status == "valid"
        assert (await helpers.stored(store, asked.id)).state == "linked"
    assert box.tokens == [WRONG, GOOD]


async def test_a_refusal_is_raised_although_it_cannot_be_recorded(box: Sandbox) -> None:
    """The service's error, not the store's."""
    store = Failing()
    async with client(box, store=store) as belvo:
        asked = await register(belvo, "sim_mfa_login_error")
        store.fail(settling)
        with pytest.raises(LoginError):
            await asked.complete(GOOD)
        assert asked.state == "failed"


@pytest.mark.parametrize("recovers", [True, False])
@pytest.mark.parametrize("processed", [True, False])
async def test_a_lost_reply_over_a_store_that_fails(box: Sandbox, recovers: bool, processed: bool) -> None:
    """What the look at the link proves is returned all the same; once the store is back, it has everything."""
    leases = Leased()
    store = Failing(leases)
    async with client(box, store=store) as belvo:
        asked = await register(belvo)
        box.inject(Fault.drop_after() if processed else Fault.drop_before(), method="PATCH", template=LINKS)
        store.fail(lambda name, number: name == "settle" and (number == 3 or not recovers))
        if processed:
            assert link(await asked.complete(GOOD)).status == "valid"
        else:
            with pytest.raises(IndeterminateOutcomeError):
                await asked.complete(GOOD)
        assert asked.state == ("linked" if processed else "indeterminate")
        record = await helpers.stored(leases, asked.id)
        assert record.state == (asked.state if recovers else "submitting")
    assert completes(box) == 1


async def test_a_claim_that_failed_never_releases_somebody_elses(box: Sandbox) -> None:
    """While the store failed, another client claimed the round: giving back goes by the claim's own nonce."""
    inner = MemoryStore()
    started: list[asyncio.Task[Any]] = []

    class Overtaken(helpers.Wrapped):
        async def around(self, name: str, work: Work[T]) -> T:
            if name == "claim" and not started:
                started.append(asyncio.create_task(lucky.complete(asked.id, GOOD)))
                await arrived(box)
                raise ConnectionResetError
            return await work()

    async with client(box, store=inner) as lucky, client(box, store=Overtaken(inner)) as unlucky:
        asked = await register(lucky)
        box.inject(Fault.delay(0.2), method="PATCH", template=LINKS)
        with pytest.raises(StoreError):
            await unlucky.complete(asked.id, GOOD)
        assert (await helpers.stored(inner, asked.id)).state == "submitting"
        with pytest.raises(AlreadyClaimedError):
            await unlucky.complete(asked.id, GOOD)
        assert link(await started[0]).status == "valid"
    assert box.tokens == [GOOD]


@pytest.mark.parametrize("error", [StoredFormatError("version 9"), SealError(SealReason.UNKNOWN_KEY)])
async def test_what_a_store_cannot_read_is_told_as_it_is(box: Sandbox, error: BelvoLinksError) -> None:
    """A look raises it; a reply that is to be recorded is not taken away by it."""
    store = Failing()
    async with client(box, store=store) as belvo:
        asked = await register(belvo)
        store.fail(lambda name, number: name == "load", error=error)
        with pytest.raises(type(error)):
            await asked.complete(GOOD)
        store.fail(lambda name, number: name == "settle", error=error)
        assert link(await asked.complete(GOOD)).status == "valid"
        store.fail(lambda name, number: name == "insert", error=error)
        with pytest.raises(StoreError, match=type(error).__name__) as caught:
            await register(belvo)
        assert caught.value.pending is not None


async def test_a_store_that_has_forgotten_the_claim_keeps_what_came_of_it(box: Sandbox) -> None:
    """A record that vanished while the reply was awaited is written anew, so that old text cannot revive it."""
    store = MemoryStore()
    async with client(box, store=store) as belvo:
        asked = await register(belvo)
        text = asked.to_json()
        box.inject(Fault.delay(0.2), method="PATCH", template=LINKS)
        task = asyncio.create_task(asked.complete(WRONG))
        await arrived(box)
        await store.purge(box.clock().replace(year=9999))
        second = pending(await task)
        assert (await helpers.stored(store, asked.id)).round == 2
        with pytest.raises(AlreadyClaimedError):
            await belvo.restore(text).complete(GOOD)
        assert link(await second.complete(GOOD)).status == "valid"


async def test_a_session_that_is_purged_between_two_looks_is_written_anew(box: Sandbox) -> None:
    """An insertion that found the id, and then nothing to compare with, is made again."""

    class Forgetful(helpers.Wrapped):
        purged = False

        async def insert(self, record: PendingRecord) -> bool:
            if not self.purged:
                self.purged = True
                return False
            return await super().insert(record)

    async with client(box, store=Forgetful()) as belvo:
        assert link(await (await register(belvo)).complete(GOOD)).status == "valid"


async def test_two_that_bring_a_version_back_at_once_agree(box: Sandbox) -> None:
    """Where the store's version changes while a later one is brought, it is compared anew."""

    class Contended(helpers.Wrapped):
        contended = False

        async def around(self, name: str, work: Work[T]) -> T:
            if name == "settle" and self.contended:
                self.contended = False
                return cast(T, False)
            return await work()

    store = Contended()
    async with client(box, store=store) as belvo, client(box) as other:
        asked = await register(belvo)
        second = pending(await other.restore(asked.to_json()).complete(WRONG))
        store.contended = True
        assert link(await belvo.restore(second.to_json()).complete(GOOD)).status == "valid"
        assert not store.contended


# ------------------------------------------------------------------------------------------------------------- looking


async def test_a_store_may_iterate_without_a_generator(box: Sandbox) -> None:
    """Any asynchronous iterator will do."""

    class Nothing:
        def __aiter__(self) -> "Nothing":
            return self

        async def __anext__(self) -> PendingRecord:
            raise StopAsyncIteration

    class Plain(helpers.Wrapped):
        def iterate(self, state: PendingState | None = None) -> Any:
            return Nothing()

    async with client(box, store=Plain()) as belvo:
        assert [each async for each in belvo.iterate_pending()] == []


async def test_iterating_over_a_store_that_fails_is_a_store_error(box: Sandbox) -> None:
    """Nothing foreign comes out of it, and ours passes."""

    class Broken(helpers.Wrapped):
        error: Exception = OSError("hunter2")

        async def iterate(self, state: PendingState | None = None) -> Any:
            async for record in self.inner.iterate(state):
                yield record
            raise self.error

    store = Broken()
    async with client(box, store=store) as belvo:
        with pytest.raises(StoreError, match="OSError"):
            [each async for each in belvo.iterate_pending()]
        store.error = StoreError(reason="Down")
        with pytest.raises(StoreError, match="Down"):
            [each async for each in belvo.iterate_pending("awaiting")]


async def test_iterating_tells_what_time_has_done(box: Sandbox) -> None:
    """Deadlines and leases count although nobody has looked at the record since; what vanishes is left out."""
    leases = Leased()
    async with client(box, store=leases) as belvo, client(box, store=leases) as dying:
        awaiting = await register(belvo, "mfa_default")
        short = await register(belvo, "sim_mfa_short")
        died = await register(dying)
        box.inject(Fault.delay(5), method="PATCH", template=LINKS)
        task = asyncio.create_task(died.complete(GOOD))
        await arrived(box)
        assert await _ids(belvo, "submitting") == [died.id]
        assert await _ids(belvo, "indeterminate") == []
        leases.elapsed = 1_000.0
        box.advance(seconds=3)
        assert await _ids(belvo, "indeterminate") == [died.id]
        assert await _ids(belvo, "submitting") == []
        assert await _ids(belvo, "expired") == [short.id]
        assert await _ids(belvo, "awaiting") == [awaiting.id]
        assert set(await _ids(belvo, None)) == {awaiting.id, short.id, died.id}
        box.advance(days=1)
        found = belvo.iterate_pending()
        assert (await anext(found)).id in {short.id, died.id}
        await leases.purge(box.clock().replace(year=9999))
        assert [each.id async for each in found if each.state != "expired"] in ([], [died.id])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def _ids(belvo: BelvoLinks, state: str | None) -> list[str]:
    return [each.id async for each in belvo.iterate_pending(state)]


# ------------------------------------------------------------------------------------------------------------- closing


class Closing(helpers.Wrapped):
    """Counts how often it was closed."""

    closed = 0
    error: Exception | None = None

    async def aclose(self) -> None:
        self.closed += 1
        if self.error is not None:
            raise self.error


async def test_a_store_is_closed_with_the_last_of_its_clients(box: Sandbox) -> None:
    """Clients that never used it do not count; one that was forgotten open does not either."""
    store = Closing()
    first, second, unused = client(box, store=store), client(box, store=store), client(box, store=store)
    await register(first)
    await register(second)
    await first.aclose()
    await unused.aclose()
    assert store.closed == 0
    await second.aclose()
    await second.aclose()
    assert store.closed == 1


async def test_a_store_that_cannot_be_closed_is_a_store_error(box: Sandbox) -> None:
    """Nothing foreign comes out of closing either."""
    store = Closing()
    for error in (OSError("hunter2"), StoreError(reason="Down")):
        store.error = error
        belvo = client(box, store=store)
        await register(belvo)
        with pytest.raises(StoreError):
            await belvo.aclose()


async def test_a_store_need_not_be_hashable(box: Sandbox) -> None:
    """Any object with the methods will do."""

    class Equal(Closing):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

        __hash__ = None  # type: ignore[assignment]

    store = Equal()
    async with client(box, store=store) as belvo:
        assert link(await (await register(belvo)).complete(GOOD)).status == "valid"
    assert store.closed == 1


async def test_what_is_under_way_when_the_client_closes_is_still_recorded(box: Sandbox) -> None:
    """The store is closed when it has answered, or, opened again for it, closed again."""
    reached, closed = asyncio.Event(), asyncio.Event()

    class Late(Closing):
        async def around(self, name: str, work: Work[T]) -> T:
            if name == "settle":
                reached.set()
                await closed.wait()
            return await work()

    store = Late()
    belvo = client(box, store=store)
    asked = await register(belvo)
    box.inject(Fault.status(401), method="PATCH", template=LINKS)
    task = asyncio.create_task(asked.complete(GOOD))
    await reached.wait()
    await belvo.aclose()
    assert store.closed == 0
    closed.set()
    with pytest.raises(AuthenticationError):
        await task
    assert ((await helpers.stored(store, asked.id)).state, store.closed) == ("awaiting", 1)


async def test_a_reply_that_arrives_while_the_client_closes_is_recorded(box: Sandbox) -> None:
    """Closing breaks the connection, so that the outcome is not known; that is on record, and nothing is read."""
    store = Closing()
    belvo = client(box, store=store)
    asked = await register(belvo)
    box.inject(Fault.delay(5), method="PATCH", template=LINKS)
    task = asyncio.create_task(asked.complete(GOOD))
    await arrived(box)
    await belvo.aclose()
    with pytest.raises(IndeterminateOutcomeError):
        await task
    assert (await helpers.stored(store, asked.id)).state == "indeterminate"
    assert (store.closed in (1, 2), box.count("GET", LINK)) == (True, 0)


def test_all_that_is_counted_is_counted_out_again() -> None:
    """No store is kept alive or counted by a client that is gone."""
    assert ledger._users == {}
