"""Waiting for a confirmation elsewhere: patient, bounded, and never beyond what the caller allowed."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from belvo_links import (
    AlreadyClaimedError,
    AlreadySettledError,
    BelvoLinks,
    BelvoLinksError,
    IndeterminateOutcomeError,
    Link,
    PendingSession,
    SessionExpiredError,
    StoreError,
)
from belvo_links.client.settings import Waiting
from belvo_links.errors import (
    AuthenticationError,
    ConnectError,
    LoginError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    UnexpectedResponseError,
)
from belvo_links.sandbox import Fault, Sandbox, Switches
from tests.mfa import helpers
from tests.mfa.helpers import (
    FAST,
    GOOD,
    LINK,
    LINKS,
    Counting,
    Failing,
    arrived,
    client,
    completes,
    link,
    looks,
    pending,
    register,
)

COMPLETE: dict[str, Any] = {"method": "PATCH", "template": LINKS}
QUICK = Waiting(0.001, 0.002)


@pytest.fixture
async def box(nothing_left_behind: None) -> AsyncIterator[Sandbox]:
    """Give a simulator where only ``box.confirm`` confirms."""
    async with Sandbox(seed=1, switches=Switches(confirm_after=None)) as sandbox:
        yield sandbox


async def confirm_after(box: Sandbox, asked: PendingSession, early: int) -> None:
    """Confirm elsewhere, once so many submissions have come too early."""
    await arrived(box, early)
    while True:
        try:
            box.confirm(asked.link_id)
        except LookupError:
            await asyncio.sleep(0)
        else:
            return


@pytest.mark.parametrize("username", ["sim_mfa_inputless", "sim_mfa_qr_scan"])
async def test_it_polls_until_the_person_has_confirmed(box: Sandbox, belvo: BelvoLinks, username: str) -> None:
    """Rounds that say "not yet" go on without a limit; no token is ever sent."""
    asked = await register(belvo, username)
    early = FAST.max_rounds + 3
    outcome, _ = await asyncio.gather(asked.wait(), confirm_after(box, asked, early))
    assert link(outcome).id == asked.link_id
    assert completes(box) >= early + 1
    assert (asked.state, asked.round, box.tokens) == ("linked", 1, [])
    assert (await belvo.pending(asked.id)).round >= early + 1


async def test_input_cannot_be_waited_for(box: Sandbox, belvo: BelvoLinks) -> None:
    """A challenge that expects a token raises ``ValueError`` before anything happens."""
    asked = await register(belvo)
    with pytest.raises(ValueError, match="expects input"):
        await asked.wait()
    assert (asked.state, completes(box)) == ("awaiting", 0)


async def test_it_ends_where_a_later_challenge_expects_input(box: Sandbox, belvo: BelvoLinks) -> None:
    """That session is returned, to be completed with its token."""
    asked = await register(belvo, "sim_mfa_confirm_text")
    outcome, _ = await asyncio.gather(asked.wait(), confirm_after(box, asked, 1))
    later = pending(outcome)
    assert (later.id, later.challenge.kind, later.challenge.expects_user_input) == (asked.id, "text", True)
    assert link(await later.complete(GOOD)).status == "valid"


async def test_the_first_submission_comes_after_the_first_wait(box: Sandbox) -> None:
    """Exactly ``waiting.first``; the later waits grow, are jittered, and never exceed ``waiting.ceiling``."""
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, result: object = None) -> None:
        if seconds:
            slept.append(seconds)
        await real(0)

    async with client(box, waiting=Waiting(5.0, 12.0)) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio, "sleep", sleep)
            outcome, _ = await asyncio.gather(asked.wait(), confirm_after(box, asked, 6))
        assert isinstance(outcome, Link)
    assert slept[0] == 5.0
    assert slept[0] < slept[1] < slept[2]
    assert slept[1] not in (7.5, slept[2])
    assert max(slept) <= 12.0


async def test_after_the_timeout_the_session_is_returned(box: Sandbox, belvo: BelvoLinks) -> None:
    """It can be waited for again."""
    asked = await register(belvo, "sim_mfa_inputless")
    started = time.monotonic()
    later = pending(await asked.wait(timeout=0.05))
    assert time.monotonic() - started >= 0.05
    sent = completes(box)
    assert (later.id, later.round, later.state) == (asked.id, sent + 1, "awaiting")
    box.confirm(asked.link_id)
    assert isinstance(await later.wait(), Link)
    assert completes(box) == sent + 1


async def test_a_timeout_before_the_first_submission_sends_nothing(box: Sandbox) -> None:
    """Zero, or less than ``waiting.first``."""
    async with client(box, waiting=Waiting(5.0, 5.0)) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
        for timeout in (0, 0.001, -1):
            assert pending(await asked.wait(timeout=timeout)).round == 1
    assert completes(box) == 0


async def test_no_submission_under_way_is_cut(box: Sandbox, belvo: BelvoLinks) -> None:
    """The timeout passes while the service takes its time: the outcome is awaited."""
    asked = await register(belvo, "sim_mfa_inputless")
    box.confirm(asked.link_id)
    box.inject(Fault.delay(0.4), **COMPLETE)
    assert isinstance(await asked.wait(timeout=0.3), Link)
    assert completes(box) == 1


async def test_no_submission_begins_after_the_timeout(box: Sandbox) -> None:
    """Not even one that had to wait for its turn."""
    limiter = Counting()
    async with client(box, rate_limit=limiter) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")

        async def late() -> None:
            await asyncio.Event().wait()

        limiter.hook = late
        later = pending(await asked.wait(timeout=0.05))
    assert (later.state, later.round, completes(box)) == ("awaiting", 1, 0)


async def test_nothing_is_sent_past_the_deadline(box: Sandbox) -> None:
    """However long the interval, it wakes at the deadline and says that the time is over."""
    async with client(box, waiting=Waiting(60.0, 60.0)) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
        box.advance(seconds=719.9)
        with pytest.raises(SessionExpiredError):
            await asked.wait()
    assert (asked.state, completes(box)) == ("expired", 0)


async def test_a_lost_reply_is_reconciled_and_the_polling_goes_on(box: Sandbox, belvo: BelvoLinks) -> None:
    """Each lost reply is followed by a look at the link, and then by another submission."""
    asked = await register(belvo, "sim_mfa_inputless")
    box.inject(Fault.drop_before(), **COMPLETE, times=2)
    outcome, _ = await asyncio.gather(asked.wait(), confirm_after(box, asked, 3))
    assert link(outcome).status == "valid"
    assert looks(box) == 2


async def test_a_confirmation_whose_reply_was_lost_is_found(box: Sandbox, belvo: BelvoLinks) -> None:
    """The look at the link ends the waiting; where it fails first, the next one does."""
    for look_fails in (False, True):
        asked = await register(belvo, "sim_mfa_inputless")
        box.confirm(asked.link_id)
        before = completes(box)
        box.inject(Fault.drop_after(), **COMPLETE)
        if look_fails:
            box.inject(Fault.status(503), method="GET", template=LINK)
        assert link(await asked.wait()).id == asked.link_id
        assert completes(box) == before + 1


async def test_an_unexplained_lost_reply_is_looked_into_before_anything_is_sent(box: Sandbox) -> None:
    """While the link cannot be read, nothing is submitted; three failures are borne, not more."""
    async with client(box, waiting=QUICK) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
        box.inject(Fault.drop_before(), **COMPLETE)
        box.inject(Fault.status(503), method="GET", template=LINK, times=None)
        with pytest.raises(IndeterminateOutcomeError):
            await asked.wait()
        assert (completes(box), looks(box), asked.state) == (1, 4, "indeterminate")
        box.clear_faults()
        box.confirm(asked.link_id)
        assert isinstance(await asked.wait(), Link)


TRANSIENT = {
    "429": Fault.status(429),
    "408": Fault.status(408),
    "500": Fault.status(500),
    "503": Fault.status(503),
    "302": Fault.status(302, b""),
    "unreadable": Fault.status(200, b"?"),
    "unreadable 428": Fault.status(428, b"?"),
    "too_many_sessions": Fault.status(400, [{"code": "too_many_sessions"}]),
    "dropped": Fault.drop_before(),
}


@pytest.mark.parametrize("fault", TRANSIENT)
async def test_three_transient_failures_in_a_row_are_borne(box: Sandbox, fault: str) -> None:
    """A success in between begins the count anew; the fourth in a row is raised."""
    async with client(box, waiting=QUICK) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
        for _ in range(2):
            box.inject(TRANSIENT[fault], **COMPLETE, times=3)
            box.inject(Fault.delay(0), **COMPLETE)
        box.inject(TRANSIENT[fault], **COMPLETE, times=4)
        with pytest.raises(BelvoLinksError):
            await asked.wait()
        assert (completes(box), (await belvo.pending(asked.id)).round) == (3 + 1 + 3 + 1 + 4, 3)
        assert asked.state == "awaiting"


async def test_a_service_that_cannot_be_reached_is_borne_three_times(box: Sandbox) -> None:
    """Nothing was sent each time."""
    async with client(box, waiting=QUICK) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
    async with client(box, waiting=QUICK) as belvo:
        again = belvo.restore(asked.to_json())
        await box.stop()
        with pytest.raises(ConnectError):
            await again.wait()
        assert again.state == "awaiting"


async def test_a_failure_when_the_time_is_over_is_no_news(box: Sandbox) -> None:
    """What cannot be borne any more is not raised if the timeout has passed meanwhile: the session is returned."""
    async with client(box, waiting=QUICK) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
        box.inject(Fault.status(429), **COMPLETE, times=3)
        box.inject(Fault.delay_after(0.1), **COMPLETE)
        assert pending(await asked.wait(timeout=0.08)).state == "awaiting"


async def test_the_service_may_ask_to_wait(box: Sandbox) -> None:
    """``Retry-After`` makes the next wait longer, here up to the timeout."""
    async with client(box, waiting=QUICK) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
        box.inject(Fault.status(429, headers={"Retry-After": "60"}), **COMPLETE)
        assert pending(await asked.wait(timeout=0.3)).state == "awaiting"
    assert completes(box) == 1


@pytest.mark.parametrize(
    "fault, error",
    [
        (Fault.status(401), AuthenticationError),
        (Fault.status(404), NotFoundError),
        (Fault.status(422, [{"code": "x"}]), UnexpectedResponseError),
        (Fault.status(400, [{"code": "login_error"}]), LoginError),
        (Fault.status(400, [{"code": "session_expired"}]), SessionExpiredError),
    ],
)
async def test_any_definite_answer_ends_it(
    box: Sandbox, belvo: BelvoLinks, fault: Fault, error: type[Exception]
) -> None:
    """It is raised at once."""
    asked = await register(belvo, "sim_mfa_inputless")
    box.inject(fault, **COMPLETE)
    with pytest.raises(error):
        await asked.wait()
    assert completes(box) == 1


async def test_it_ends_when_the_link_has_vanished(box: Sandbox, belvo: BelvoLinks) -> None:
    """A lost reply, and then no link: the session has failed."""
    asked = await register(belvo, "sim_mfa_inputless")
    box.inject(Fault.drop_before(), **COMPLETE)
    box.remove_link(asked.link_id)
    with pytest.raises(AlreadySettledError) as caught:
        await asked.wait()
    assert caught.value.state == "failed"


async def test_it_ends_when_somebody_else_goes_on(box: Sandbox, belvo: BelvoLinks) -> None:
    """A page that completes meanwhile, or cancels, is not disturbed."""
    asked = await register(belvo, "sim_mfa_inputless")
    await (await belvo.pending(asked.id)).complete()
    with pytest.raises(AlreadyClaimedError):
        await asked.wait()
    await (await belvo.pending(asked.id)).cancel()
    with pytest.raises(AlreadySettledError):
        await asked.wait()
    assert completes(box) == 1


async def test_it_is_cancelled_at_once(box: Sandbox) -> None:
    """While it sleeps, and while a slow store is asked."""
    store = Failing()
    async with client(box, store=store, waiting=Waiting(3600.0, 3600.0)) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
        for call in (asked.wait(), asked.complete()):
            store.fail(lambda name, number: name == "load", error=None)
            task = asyncio.create_task(call)
            await helpers.settle_loop()
            started = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - started < 1
        store.recover()
        assert (await belvo.pending(asked.id)).state == "awaiting"


async def test_a_store_that_fails_ends_it(box: Sandbox) -> None:
    """Nothing can be claimed then."""
    store = Failing()
    async with client(box, store=store, waiting=QUICK) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
        store.fail(lambda name, number: name == "claim")
        with pytest.raises(StoreError):
            await asked.wait()
        assert completes(box) == 0


async def test_a_round_that_could_not_be_recorded_is_waited_for_all_the_same(box: Sandbox) -> None:
    """The next step writes it."""
    store = Failing()
    async with client(box, store=store, waiting=QUICK) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
        store.fail(lambda name, number: number == 3)
        outcome, _ = await asyncio.gather(asked.wait(), confirm_after(box, asked, 2))
        assert link(outcome).status == "valid"
        assert (await helpers.stored(store, asked.id)).state == "linked"


async def test_a_lost_server_error_of_the_last_round_is_raised_as_it_is(box: Sandbox) -> None:
    """The fourth failure is the error of that submission, with the round left to be answered."""
    async with client(box, waiting=QUICK) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
        box.inject(Fault.status(429), **COMPLETE, times=3)
        box.inject(Fault.status(500), **COMPLETE)
        with pytest.raises(ServerError):
            await asked.wait()
        box.inject(Fault.status(500), **COMPLETE, times=3)
        box.inject(Fault.status(429), **COMPLETE)
        with pytest.raises(RateLimitedError):
            await asked.wait()
