"""A callback answers the challenges of a login: with a token, with a confirmation elsewhere, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from belvo_links import (
    BelvoLinks,
    ChallengeAbandonedError,
    Credentials,
    Link,
    PendingSession,
    SessionExpiredError,
    StoreError,
    TooManyRoundsError,
)
from belvo_links.client.settings import Waiting
from belvo_links.errors import RateLimitedError
from belvo_links.sandbox import Fault, Sandbox, Switches
from belvo_links.stores import MemoryStore
from tests.mfa import helpers
from tests.mfa.helpers import GOOD, LINKS, NOWHERE, WRONG, Failing, arrived, client, completes, link, plain_link

Callback = Callable[[PendingSession], Awaitable[str | None]]


async def register(belvo: BelvoLinks, username: str, on_challenge: Callback, **options: Any) -> Link:
    """Register with a callback."""
    passwords = {"mfa_numeric": "numeric_code"}
    credentials = Credentials(username, passwords.get(username, "any"))
    return await belvo.register(NOWHERE, credentials, access_mode="single", on_challenge=on_challenge, **options)


class Person:
    """Answers with what was prepared, and remembers what was asked."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.asked: list[PendingSession] = []

    async def __call__(self, pending: PendingSession) -> str | None:
        self.asked.append(pending)
        return self.answers[len(self.asked) - 1]


async def test_a_token_completes_the_login(box: Sandbox, belvo: BelvoLinks) -> None:
    """The result is the link; nobody is asked where there is no challenge."""
    person = Person(GOOD)
    made = await register(belvo, "mfa_numeric", person, correlation="user-1")
    assert [(each.round, each.correlation, each.link_id) for each in person.asked] == [(1, "user-1", made.id)]
    assert (await register(belvo, "bnk100", person)).status == "valid"
    assert (len(person.asked), box.tokens) == (1, [GOOD])


async def test_a_chain_is_asked_round_by_round(box: Sandbox, belvo: BelvoLinks) -> None:
    """The same session, another challenge each time."""
    person = Person(GOOD, GOOD, GOOD)
    await register(belvo, "sim_mfa_chain3", person)
    assert [(each.round, each.challenge.kind) for each in person.asked] == [(1, "numeric"), (2, "text"), (3, "qr")]
    assert len({each.id for each in person.asked}) == 1


@pytest.mark.parametrize("call", ["update", "patch"])
async def test_update_and_patch_ask_too(box: Sandbox, belvo: BelvoLinks, call: str) -> None:
    """The callback is a part of every call that logs in."""
    made, person = await plain_link(belvo), Person(GOOD)
    if call == "update":
        result = await belvo.update(made.id, Credentials(password="new"), on_challenge=person)
    else:
        result = await belvo.patch(made.id, access_mode="recurrent", on_challenge=person)
    assert (result.id, person.asked[0].operation) == (made.id, call)


async def test_none_means_confirmed_elsewhere(box: Sandbox, belvo: BelvoLinks) -> None:
    """The SDK then waits as ``wait()`` does, and asks again where a later challenge expects input."""
    person = Person(None, GOOD)
    assert (await register(belvo, "sim_mfa_confirm_text", person)).status == "valid"
    assert [each.challenge.kind for each in person.asked] == ["inputless", "text"]
    assert box.tokens == [GOOD]


async def test_none_where_a_token_is_expected_abandons_the_challenge(box: Sandbox, belvo: BelvoLinks) -> None:
    """Nothing is sent, and the session on the exception is still usable."""
    with pytest.raises(ChallengeAbandonedError) as caught:
        await register(belvo, "mfa_numeric", Person(None))
    await _still_usable(box, caught.value.pending)


class PersonLeftError(Exception):
    """What a callback of the tests raises."""


@pytest.mark.parametrize("error", [PersonLeftError("gone"), TimeoutError()])
async def test_a_callback_that_raises_leaves_the_session_usable(
    box: Sandbox, belvo: BelvoLinks, error: Exception
) -> None:
    """Its exception is the cause, and the session is on ours."""

    async def leave(pending: PendingSession) -> str:
        raise error

    with pytest.raises(ChallengeAbandonedError) as caught:
        await register(belvo, "mfa_numeric", leave)
    assert caught.value.__cause__ is error
    await _still_usable(box, caught.value.pending)


@pytest.mark.parametrize("answer", [111111, b"111111", "\ud800"])
async def test_an_answer_that_is_no_token_leaves_the_session_usable(
    box: Sandbox, belvo: BelvoLinks, answer: Any
) -> None:
    """A number, say: nothing is sent, and its value is not shown."""
    with pytest.raises(ChallengeAbandonedError) as caught:
        await register(belvo, "mfa_numeric", Person(answer))
    assert "111111" not in f"{caught.value!r} {caught.value.__cause__!r}"
    await _still_usable(box, caught.value.pending)


async def _still_usable(box: Sandbox, pending: PendingSession | None) -> None:
    assert pending is not None
    assert (pending.state, completes(box)) == ("awaiting", 0)
    assert link(await pending.complete(GOOD)).status == "valid"


async def test_a_call_that_is_cancelled_while_the_person_thinks(
    box: Sandbox, belvo: BelvoLinks, store: MemoryStore
) -> None:
    """The cancellation passes, through the callback too; the session can be found and completed."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def think(pending: PendingSession) -> str:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return GOOD

    task = asyncio.create_task(register(belvo, "mfa_numeric", think))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    found = [each async for each in belvo.iterate_pending("awaiting")]
    assert link(await found[0].complete(GOOD)).status == "valid"


async def test_a_person_who_is_too_late_is_told_so(box: Sandbox, belvo: BelvoLinks) -> None:
    """The token that comes after the deadline is not sent."""

    async def slow(pending: PendingSession) -> str:
        box.advance(days=1)
        return GOOD

    with pytest.raises(SessionExpiredError) as caught:
        await register(belvo, "mfa_numeric", slow)
    assert caught.value.pending is not None
    assert (caught.value.pending.state, completes(box)) == ("expired", 0)


def _short(method: str, session: str = "e" * 32) -> dict[str, Any]:
    """Return how to inject a challenge that lives for 50 milliseconds."""
    body: list[dict[str, str | float]] = [
        {"code": "token_required", "session": session, "expiry": 0.05, "link": helpers.SOME_LINK}
    ]
    return {"fault": Fault.status(428, body), "method": method, "template": LINKS}


@pytest.mark.parametrize("saved", [True, False])
async def test_the_callback_is_ended_at_the_deadline(box: Sandbox, saved: bool) -> None:
    """It is not waited for any longer, be the challenge on record or not."""
    ended: list[int] = []

    async def dream(pending: PendingSession) -> str:
        if pending.round == 1:
            return WRONG
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(pending.round)
        return GOOD

    store = Failing()
    async with client(box, store=store) as belvo:
        box.inject(**_short("PATCH"))
        if not saved:
            store.fail(lambda name, number: name == "settle" and number == 4)
        with pytest.raises(SessionExpiredError) as caught:
            await register(belvo, "sim_mfa_text", dream)
    assert caught.value.pending is not None
    assert (ended, completes(box), caught.value.pending.state) == ([2], 1, "expired")


async def test_a_clock_that_stands_still_ends_the_callback_all_the_same(box: Sandbox) -> None:
    """The callback gets the seconds that were left when it was asked; the challenge is then given up."""
    start = box.clock()
    async with client(box, clock=lambda: start) as belvo:
        box.inject(**_short("POST"))
        with pytest.raises(ChallengeAbandonedError) as caught:
            await register(belvo, "sim_mfa_text", _forever)
    assert caught.value.pending is not None
    assert (caught.value.pending.state, completes(box)) == ("awaiting", 0)


async def _forever(pending: PendingSession) -> str:
    await asyncio.Event().wait()
    raise AssertionError


async def test_at_most_so_many_rounds_are_asked(box: Sandbox) -> None:
    """``waiting.max_rounds``: the session of the next round is on the error, and usable."""
    person = Person(WRONG, WRONG)
    async with client(box, waiting=Waiting(0.01, 0.01, 2)) as belvo:
        with pytest.raises(TooManyRoundsError) as caught:
            await register(belvo, "mfa_numeric", person)
        pending = caught.value.pending
        assert pending is not None
        assert (pending.round, pending.state, len(person.asked)) == (3, "awaiting", 2)
        assert link(await pending.complete(GOOD)).status == "valid"
    assert box.tokens == [WRONG, WRONG, GOOD]


async def test_a_refusal_of_the_token_is_raised(box: Sandbox, belvo: BelvoLinks) -> None:
    """The session stays in the store, awaiting."""
    box.inject(Fault.status(429), method="PATCH", template=LINKS)
    with pytest.raises(RateLimitedError):
        await register(belvo, "mfa_numeric", Person(GOOD))
    found = [each async for each in belvo.iterate_pending("awaiting")]
    assert link(await found[0].complete(GOOD)).status == "valid"


async def test_a_challenge_that_cannot_be_saved_is_not_asked(box: Sandbox) -> None:
    """No token could be sent, so nobody is bothered; the session is on the error."""
    store, person = Failing(), Person(GOOD)
    store.fail(lambda name, number: True)
    async with client(box, store=store) as belvo:
        with pytest.raises(StoreError) as caught:
            await register(belvo, "mfa_numeric", person)
        assert (person.asked, caught.value.pending is None) == ([], False)


async def test_the_time_that_a_person_takes_does_not_count(box: Sandbox, belvo: BelvoLinks) -> None:
    """``timeout=`` is for each request."""

    async def ponder(pending: PendingSession) -> str:
        await asyncio.sleep(0.6)
        return GOOD

    assert (await register(belvo, "mfa_numeric", ponder, timeout=0.5)).status == "valid"


@pytest.fixture
async def unconfirmed() -> AsyncIterator[Sandbox]:
    """Give a simulator where only ``box.confirm`` confirms."""
    async with Sandbox(seed=1, switches=Switches(confirm_after=None)) as box:
        yield box


async def test_waiting_for_the_confirmation_has_no_limit_of_rounds(unconfirmed: Sandbox) -> None:
    """The person says that it is done, and the bank takes its time."""
    person = Person(None)
    async with client(unconfirmed, waiting=Waiting(0.001, 0.001, 1)) as belvo:
        task = asyncio.create_task(register(belvo, "sim_mfa_inputless", person))
        await arrived(unconfirmed, 6)
        while not task.done():
            await asyncio.sleep(0)
            try:
                unconfirmed.confirm(person.asked[0].link_id)
            except LookupError:
                continue
        assert (await task).status == "valid"
    assert len(person.asked) == 1
