"""A reply that was lost: what a look at the link proves, and what it does not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from belvo_links import (
    AlreadyClaimedError,
    AlreadySettledError,
    BelvoLinks,
    BelvoLinksError,
    Credentials,
    IndeterminateOutcomeError,
    PendingSession,
    SessionExpiredError,
)
from belvo_links.errors import ResponseLostError, ServerError, UnexpectedResponseError
from belvo_links.protocol.mfa import PendingRecord
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.stores import MemoryStore
from tests.mfa import helpers
from tests.mfa.helpers import (
    GOOD,
    LINK,
    LINKS,
    Leased,
    arrived,
    begin,
    client,
    completes,
    link,
    looks,
    pending,
    plain_link,
    register,
)

COMPLETE = {"method": "PATCH", "template": LINKS}
LOOK = {"method": "GET", "template": LINK}


def lose(box: Sandbox, *, processed: bool) -> None:
    """Let the next Complete lose its reply."""
    box.inject(Fault.drop_after() if processed else Fault.drop_before(), **COMPLETE)  # type: ignore[arg-type]


async def indeterminate(box: Sandbox, asked: PendingSession, *, processed: bool = False) -> None:
    """Complete so that the reply is lost and the look at the link fails too."""
    lose(box, processed=processed)
    box.inject(Fault.status(503), **LOOK)  # type: ignore[arg-type]
    with pytest.raises(IndeterminateOutcomeError) as caught:
        await asked.complete(GOOD if asked.challenge.expects_user_input else None)
    assert caught.value.pending is not None
    assert (caught.value.pending.id, asked.state) == (asked.id, "indeterminate")


# ------------------------------------------------------------------------------------------------------------ register


async def test_a_registration_that_went_through_is_proved_by_its_link(box: Sandbox, belvo: BelvoLinks) -> None:
    """``valid``: the link is returned, after one Complete and one look."""
    asked = await register(belvo)
    lose(box, processed=True)
    assert link(await asked.complete(GOOD)).status == "valid"
    assert (asked.state, completes(box), looks(box)) == ("linked", 1, 1)


async def test_a_registration_that_is_unconfirmed_may_still_go_through(box: Sandbox, belvo: BelvoLinks) -> None:
    """Before the deadline it proves nothing, and the token is not sent again; past it, it has expired."""
    asked = await register(belvo)
    await indeterminate(box, asked)
    for _ in range(2):
        with pytest.raises(IndeterminateOutcomeError):
            await asked.reconcile()
        with pytest.raises(IndeterminateOutcomeError):
            await asked.complete(GOOD)
        with pytest.raises(IndeterminateOutcomeError):
            await asked.cancel()
    box.advance(seconds=9600)
    assert (await belvo.pending(asked.id)).state == "indeterminate"
    with pytest.raises(SessionExpiredError, match="left behind"):
        await asked.reconcile()
    assert (asked.state, completes(box)) == ("expired", 1)


async def test_a_registration_whose_link_is_gone_has_failed(box: Sandbox, belvo: BelvoLinks) -> None:
    """404: reconciling raises that it has failed."""
    asked = await register(belvo)
    await indeterminate(box, asked)
    box.remove_link(asked.link_id)
    with pytest.raises(AlreadySettledError) as caught:
        await asked.reconcile()
    assert (caught.value.state, caught.value.link_id, asked.state) == ("failed", asked.link_id, "failed")


async def test_a_registration_that_went_through_is_found_later(box: Sandbox, belvo: BelvoLinks) -> None:
    """Where the first look failed as well, ``reconcile`` makes up for it."""
    asked = await register(belvo)
    await indeterminate(box, asked, processed=True)
    assert link(await asked.reconcile()).id == asked.link_id
    assert asked.state == "linked"
    with pytest.raises(AlreadySettledError):
        await asked.reconcile()


async def test_a_challenge_at_the_look_is_no_evidence(box: Sandbox, belvo: BelvoLinks, store: MemoryStore) -> None:
    """A 428 on that read proves nothing and opens no session."""
    asked = await register(belvo)
    lose(box, processed=False)
    box.inject(Fault.status(428, [{"code": "token_required", "session": "c" * 32}]), **LOOK)  # type: ignore[arg-type]
    with pytest.raises(IndeterminateOutcomeError):
        await asked.complete(GOOD)
    assert [each.id async for each in store.iterate()] == [asked.id]


# ------------------------------------------------------------------------------------------------------------- others


async def test_an_update_is_proved_by_a_link_that_became_valid(box: Sandbox, belvo: BelvoLinks) -> None:
    """Not valid when the challenge came, valid now, even where the link is recurrent."""
    made = await plain_link(belvo, access_mode="recurrent")
    box.set_status(made.id, "invalid")
    asked = pending(await belvo.update(made.id, Credentials(password="new")))
    lose(box, processed=True)
    assert link(await asked.complete(GOOD)).status == "valid"
    assert asked.state == "linked"


async def test_an_update_of_a_link_that_was_valid_already_proves_nothing(box: Sandbox, belvo: BelvoLinks) -> None:
    """A recurrent link is accessed by its schedule too, so that ``last_accessed_at`` does not count."""
    made = await plain_link(belvo, access_mode="recurrent")
    asked = pending(await belvo.update(made.id, Credentials(password="new")))
    lose(box, processed=True)
    with pytest.raises(IndeterminateOutcomeError):
        await asked.complete(GOOD)
    assert asked.state == "indeterminate"


async def test_a_single_link_is_proved_by_its_last_access(box: Sandbox, belvo: BelvoLinks) -> None:
    """Nobody else accesses a single link; it was valid all the time."""
    asked = await begin(belvo, "update")
    lose(box, processed=True)
    assert link(await asked.complete(GOOD)).last_accessed_at is not None


async def test_a_patch_is_proved_by_what_was_asked_for(box: Sandbox, belvo: BelvoLinks) -> None:
    """The requested values differed then and hold now."""
    made = await plain_link(belvo)
    asked = pending(await belvo.patch(made.id, access_mode="recurrent", stale_in="90d"))
    lose(box, processed=True)
    changed = link(await asked.complete(GOOD))
    assert (changed.access_mode, changed.stale_in) == ("recurrent", "90d")


async def test_a_patch_that_changes_nothing_is_not_proved(box: Sandbox, belvo: BelvoLinks) -> None:
    """What held before proves nothing when it holds now."""
    made = await plain_link(belvo, access_mode="recurrent")
    box.inject(
        Fault.status(428, [{"code": "token_required", "session": "d" * 32, "link": made.id}]),
        method="PATCH",
        template=LINK,
    )
    asked = pending(await belvo.patch(made.id, access_mode="recurrent"))
    lose(box, processed=False)
    with pytest.raises(IndeterminateOutcomeError):
        await asked.complete(GOOD)


@pytest.mark.parametrize(
    "fault", [Fault.status(500), Fault.status(428, [{"code": "token_required"}]), Fault.status(404)]
)
async def test_without_a_baseline_nothing_is_proved(box: Sandbox, belvo: BelvoLinks, fault: Fault) -> None:
    """The link could not be read when the challenge came, so nothing can be compared; the session works."""
    made = await plain_link(belvo)
    box.set_status(made.id, "invalid")
    box.inject(fault, **LOOK)  # type: ignore[arg-type]
    asked = pending(await belvo.update(made.id, Credentials(password="new")))
    assert looks(box) == 1
    lose(box, processed=True)
    with pytest.raises(IndeterminateOutcomeError):
        await asked.complete(GOOD)


@pytest.mark.parametrize("operation, reads", [("register", 0), ("update", 1), ("patch", 1)])
async def test_the_baseline_is_read_once_after_the_record(box: Sandbox, operation: Any, reads: int) -> None:
    """Every operation but register: recorded first, then the link is read once."""
    notes: list[str] = []

    class Watching(helpers.Recording):
        async def insert(self, record: PendingRecord) -> bool:
            notes.append(f"looks {looks(box)}")
            return await super().insert(record)

    async with client(box, store=Watching(notes)) as belvo:
        await begin(belvo, operation)
    assert looks(box) == reads
    assert notes == (["looks 0", "insert"] if operation == "register" else ["looks 0", "insert", "settle"])


# ----------------------------------------------------------------------------------------------------- without a token


@pytest.mark.parametrize(
    "fault, error",
    [
        (Fault.drop_before(), ResponseLostError),
        (Fault.status(500), ServerError),
        (Fault.status(302, b""), UnexpectedResponseError),
        (Fault.status(200, b"?"), UnexpectedResponseError),
    ],
)
async def test_without_a_token_the_round_is_put_back(
    box: Sandbox, belvo: BelvoLinks, fault: Fault, error: type[Exception]
) -> None:
    """The link shows no success and no token was spent: awaiting again, and the error is raised."""
    asked = await register(belvo, "sim_mfa_inputless")
    box.inject(fault, **COMPLETE)  # type: ignore[arg-type]
    with pytest.raises(error):
        await asked.complete()
    assert (asked.state, looks(box)) == ("awaiting", 1)
    box.confirm(asked.link_id)
    assert link(await asked.complete()).status == "valid"


async def test_without_a_token_and_without_a_look_it_is_indeterminate(box: Sandbox, belvo: BelvoLinks) -> None:
    """Reconciling later puts it back, and returns the session that may be completed."""
    asked = await register(belvo, "sim_mfa_inputless")
    await indeterminate(box, asked)
    again = pending(await asked.reconcile())
    assert (again.id, again.round, again.state, asked.state) == (asked.id, 1, "awaiting", "awaiting")
    box.confirm(asked.link_id)
    assert link(await again.complete()).status == "valid"


# ------------------------------------------------------------------------------------------------------ leases, others


@pytest.fixture
async def leased(box: Sandbox) -> AsyncIterator[tuple[BelvoLinks, Leased]]:
    """Give a client over a store whose leases can be made to run out."""
    store = Leased()
    async with client(box, store=store) as belvo:
        yield belvo, store


async def under_way(box: Sandbox, asked: PendingSession, token: str | None) -> asyncio.Task[Any]:
    """Return a submission whose request has come to the simulator and whose reply is held back."""
    before = completes(box)
    task = asyncio.create_task(asked.complete(token))
    await arrived(box, before + 1)
    return task


async def test_a_claim_whose_lease_ran_out_is_indeterminate(box: Sandbox, leased: tuple[BelvoLinks, Leased]) -> None:
    """A process that died while submitting: nobody may send the token again; until then it is claimed."""
    belvo, store = leased
    asked = await register(belvo)
    other = await belvo.pending(asked.id)
    box.inject(Fault.delay(0.2), **COMPLETE)  # type: ignore[arg-type]
    task = await under_way(box, asked, GOOD)
    for call in (other.complete(GOOD), other.cancel(), other.reconcile()):
        with pytest.raises(AlreadyClaimedError):
            await call
    store.elapsed = 1_000.0
    with pytest.raises(IndeterminateOutcomeError):
        await other.complete(GOOD)
    found = [each.state async for each in belvo.iterate_pending("indeterminate")]
    assert (found, other.state, completes(box)) == (["indeterminate"], "indeterminate", 1)
    assert link(await task).status == "valid"


@pytest.mark.parametrize(
    "fault, outcome, state",
    [
        (Fault.delay(0), "Link", "linked"),
        (Fault.status(401), "AuthenticationError", "awaiting"),
        (Fault.status(404), "NotFoundError", "failed"),
    ],
)
async def test_a_late_definite_reply_beats_indeterminate(
    box: Sandbox, leased: tuple[BelvoLinks, Leased], fault: Fault, outcome: str, state: str
) -> None:
    """Another client found the lease run out meanwhile; the reply comes all the same, and counts."""
    belvo, store = leased
    asked = await register(belvo)
    box.inject(fault, **COMPLETE)  # type: ignore[arg-type]
    found: list[str] = []

    async def look() -> None:
        store.elapsed = 1_000.0
        found.append((await belvo.pending(asked.id)).state)
        store.elapsed = 0.0

    store.on_settle = look
    try:
        result: Any = await asked.complete(GOOD)
    except BelvoLinksError as error:
        result = error
    assert found == ["indeterminate"]
    assert (type(result).__name__, asked.state) == (outcome, state)
    assert (await helpers.stored(store, asked.id)).state == state


async def test_a_late_challenge_goes_on(box: Sandbox, leased: tuple[BelvoLinks, Leased]) -> None:
    """A late 428 brings the next round, although the session was indeterminate meanwhile."""
    belvo, store = leased
    asked = await register(belvo)
    box.inject(Fault.delay(0.2), **COMPLETE)  # type: ignore[arg-type]
    task = await under_way(box, asked, helpers.WRONG)
    store.elapsed = 1_000.0
    assert (await belvo.pending(asked.id)).state == "indeterminate"
    store.elapsed = 0.0
    second = pending(await task)
    assert (second.round, second.state) == (2, "awaiting")
    assert link(await second.complete(GOOD)).status == "valid"


async def test_a_challenge_that_comes_after_the_end_is_not_answered(
    box: Sandbox, leased: tuple[BelvoLinks, Leased]
) -> None:
    """Reconciling settled it meanwhile (the link was gone): the late 428 changes nothing and says so."""
    belvo, store = leased
    asked = await register(belvo)
    box.inject(Fault.delay_after(0.2), **COMPLETE)  # type: ignore[arg-type]
    task = await under_way(box, asked, helpers.WRONG)
    store.elapsed = 1_000.0
    other = await belvo.pending(asked.id)
    box.inject(Fault.status(404), **LOOK)  # type: ignore[arg-type]
    with pytest.raises(AlreadySettledError):
        await other.reconcile()
    with pytest.raises(AlreadySettledError):
        await task
    assert (asked.state, (await helpers.stored(store, asked.id)).state) == ("failed", "failed")


async def test_a_late_reply_counts_only_for_its_own_claim(box: Sandbox, leased: tuple[BelvoLinks, Leased]) -> None:
    """Without a token, a round may be put back and claimed anew; the first claim's late refusal does not touch that."""
    belvo, store = leased
    asked = await register(belvo, "sim_mfa_inputless")
    box.inject(Fault.delay(0.2), **COMPLETE)  # type: ignore[arg-type]
    first = await under_way(box, asked, None)
    store.elapsed = 1_000.0
    again = pending(await (await belvo.pending(asked.id)).reconcile())
    store.elapsed = 0.0
    box.inject(Fault.delay(0.4), **COMPLETE)  # type: ignore[arg-type]
    second = await under_way(box, again, None)
    with pytest.raises(AlreadyClaimedError):
        await first
    assert (await helpers.stored(store, asked.id)).state == "submitting"
    with pytest.raises(SessionExpiredError):  # the simulator gave its session to the first request
        await second


async def test_two_that_reconcile_find_the_same(box: Sandbox, belvo: BelvoLinks) -> None:
    """Both look, both return the link."""
    asked = await register(belvo)
    await indeterminate(box, asked, processed=True)
    both = [(await belvo.pending(asked.id)).reconcile() for _ in range(2)]
    assert [link(each).id for each in await asyncio.gather(*both)] == [asked.link_id] * 2


async def test_a_timeout_cuts_reconciling_but_not_the_record(box: Sandbox, belvo: BelvoLinks) -> None:
    """``timeout=`` covers request and look together; what happened is on record."""
    asked = await register(belvo)
    box.inject(Fault.delay(5), **COMPLETE)  # type: ignore[arg-type]
    box.inject(Fault.delay(5), **LOOK)  # type: ignore[arg-type]
    with pytest.raises(IndeterminateOutcomeError):
        await asked.complete(GOOD, timeout=0.03)
    assert ((await belvo.pending(asked.id)).state, looks(box)) == ("indeterminate", 0)
    with pytest.raises(IndeterminateOutcomeError):
        await asked.reconcile(timeout=0.03)
    assert looks(box) == 1
