"""A pending session as sealed text, and stores with keys: over a socket, between clients, and in the wrong hands."""

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from belvo_links import (
    AlreadyClaimedError,
    AlreadySettledError,
    BelvoLinks,
    BelvoLinksError,
    Credentials,
    IndeterminateOutcomeError,
    Link,
    PendingNotFoundError,
    PendingSession,
    SealError,
    SealReason,
    SessionExpiredError,
    StoredFormatError,
    WrongAccountError,
)
from belvo_links.protocol.checks import CORRELATION_BYTES
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.stores import MemoryStore, SqliteStore, new_key
from tests.mfa import helpers
from tests.mfa.helpers import GOOD, LINKS, WRONG, Counting, arrived, begin, client, completes, link, pending, register

KEYS = [new_key()]
USER = "user-42"


def reason(belvo: BelvoLinks, text: object, *args: Any) -> SealReason:
    """Why the text is refused."""
    with pytest.raises(SealError) as caught:
        belvo.unseal(text, *(args or (KEYS, USER)))  # type: ignore[arg-type]  # a missing cookie, say
    return caught.value.reason


# ----------------------------------------------------------------------------------------------------- from one to all


@pytest.mark.parametrize("operation", ["register", "update", "patch"])
async def test_sealed_text_keeps_everything(box: Sandbox, belvo: BelvoLinks, operation: helpers.Begun) -> None:
    """What an unsealed session shows is what the first one showed, and nothing is called or stored for it."""
    asked = await begin(belvo, operation, correlation={"user": [1, None, "ü"]})
    before = len(box.requests)
    again = belvo.unseal(asked.seal(KEYS, USER), KEYS, USER)
    assert again.record == asked.record
    assert again.to_json() == asked.to_json()
    assert (again.unsaved, asked.unsaved, len(box.requests)) == (True, False, before)
    assert belvo.unseal(asked.seal(KEYS), KEYS).record == asked.record


async def test_a_qr_challenge_loses_its_data_only(box: Sandbox, belvo: BelvoLinks) -> None:
    """It fits into a cookie, and the login can still be completed; the store has the image."""
    asked = await register(belvo, "mfa_qr")
    assert asked.challenge.qr is not None
    text = asked.seal(KEYS, USER)
    assert len(text) < 800 < len(asked.to_json())
    again = belvo.unseal(text, KEYS, USER)
    assert (again.challenge.action, again.challenge.qr) == ("scan", None)
    assert (await belvo.pending(again.id)).challenge.qr == asked.challenge.qr
    assert isinstance(await again.complete(GOOD), Link)


async def test_another_client_with_the_same_store_goes_on(box: Sandbox) -> None:
    """And what was completed once is not completed again by whoever has a copy."""
    store = MemoryStore()
    async with client(box, store=store) as first, client(box, store=store) as second:
        text = (await register(first)).seal(KEYS, USER)
        assert link(await second.unseal(text, KEYS, USER).complete(GOOD)).status == "valid"
        for belvo in (first, second):
            with pytest.raises(AlreadySettledError):
                await belvo.unseal(text, KEYS, USER).complete(GOOD)
    assert box.tokens == [GOOD]


async def test_of_many_copies_one_is_submitted(box: Sandbox) -> None:
    """A double click, two tabs, a stolen cookie: one store lets one of them through."""
    store = MemoryStore()
    async with client(box, store=store) as first, client(box, store=store) as second:
        text = (await register(first)).seal(KEYS, USER)
        copies = [belvo.unseal(text, KEYS, USER).complete(GOOD) for belvo in (first, second) for _ in range(10)]
        outcomes = await asyncio.gather(*copies, return_exceptions=True)
    assert sum(isinstance(outcome, Link) for outcome in outcomes) == 1
    assert all(isinstance(outcome, Link | AlreadyClaimedError | AlreadySettledError) for outcome in outcomes)
    assert box.tokens == [GOOD]


async def test_another_store_knows_nothing_of_the_first(box: Sandbox, belvo: BelvoLinks) -> None:
    """A bearer copy: with a store of its own it is submitted once more, and only the service can refuse it."""
    asked = await register(belvo)
    text = asked.seal(KEYS, USER)
    async with client(box) as other:
        with pytest.raises(PendingNotFoundError):
            await other.pending(asked.id)
        assert pending(await other.unseal(text, KEYS, USER).complete(WRONG)).round == 2
        assert (await other.pending(asked.id)).round == 2
    with pytest.raises(SessionExpiredError):  # the service has given the login a new session meanwhile
        await belvo.unseal(text, KEYS, USER).complete(GOOD)
    assert box.tokens == [WRONG, GOOD]


async def test_the_later_round_wins(box: Sandbox, belvo: BelvoLinks) -> None:
    """A cookie of an earlier round sends nothing once the store knows a later one."""
    first = await register(belvo)
    early = first.seal(KEYS, USER)
    second = pending(await first.complete(WRONG))
    with pytest.raises(AlreadyClaimedError):
        await belvo.unseal(early, KEYS, USER).complete(GOOD)
    assert link(await belvo.unseal(second.seal(KEYS, USER), KEYS, USER).complete(GOOD)).status == "valid"
    assert box.tokens == [WRONG, GOOD]


async def test_what_was_being_submitted_is_indeterminate(box: Sandbox, belvo: BelvoLinks) -> None:
    """Sealed while its reply was awaited, it is not submitted again; reconciling tells."""
    asked = await register(belvo)
    box.inject(Fault.delay_after(5), method="PATCH", template=LINKS)
    task = asyncio.create_task(asked.complete(GOOD))
    await arrived(box)
    assert asked.state == "submitting"
    text = asked.seal(KEYS, USER)
    async with client(box) as other:
        again = other.unseal(text, KEYS, USER)
        assert again.state == "indeterminate"
        with pytest.raises(IndeterminateOutcomeError):
            await again.complete(GOOD)
        assert isinstance(await again.reconcile(), Link)
    task.cancel()
    await asyncio.wait([task])
    assert box.tokens == [GOOD]


async def test_a_session_that_is_over_is_sealed_as_such(box: Sandbox, belvo: BelvoLinks) -> None:
    """It tells what became of it, and completes nothing in another store."""
    asked = await register(belvo)
    await asked.cancel()
    async with client(box) as other:
        again = other.unseal(asked.seal(KEYS, USER), KEYS, USER)
        assert again.state == "cancelled"
        with pytest.raises(AlreadySettledError):
            await again.complete(GOOD)
    assert completes(box) == 0


async def test_an_unsaved_session_is_sealed_too(box: Sandbox) -> None:
    """Where the store is down, a cookie may be what saves the login."""
    store = helpers.Failing()
    async with client(box, store=store) as belvo:
        store.fail(lambda name, number: True)
        with pytest.raises(BelvoLinksError) as caught:
            await register(belvo)
        asked = getattr(caught.value, "pending", None)
        assert isinstance(asked, PendingSession)
        text = asked.seal(KEYS, USER)
        store.recover()
        assert link(await belvo.unseal(text, KEYS, USER).complete(GOOD)).id == asked.link_id


# ---------------------------------------------------------------------------------------------------- in other hands


async def test_every_refusal_is_told_apart_and_nothing_is_sent(box: Sandbox, belvo: BelvoLinks) -> None:
    """Each with its reason; a missing cookie is one of them."""
    text = (await register(belvo)).seal(KEYS, USER)
    before = len(box.requests)
    assert reason(belvo, text[:-1]) is SealReason.CHANGED
    assert reason(belvo, text, KEYS, "user-43") is SealReason.OTHER_AUDIENCE
    assert reason(belvo, text, KEYS) is SealReason.OTHER_AUDIENCE
    assert reason(belvo, text, [new_key()], USER) is SealReason.UNKNOWN_KEY
    assert reason(belvo, text.replace("bls1.", "bls2.")) is SealReason.UNKNOWN_VERSION
    for missing in (None, "", b"", text.encode(), "x" * 10_000_000):
        assert reason(belvo, missing) is SealReason.NOT_SEALED
    box.advance(days=1)
    assert reason(belvo, text) is SealReason.EXPIRED
    assert len(box.requests) == before


async def test_the_deadline_is_told_by_the_clients_own_clock(box: Sandbox, belvo: BelvoLinks) -> None:
    """An awaiting session is too old at its deadline; its id is given, since the store may know a later round."""
    asked = await register(belvo)
    text = asked.seal(KEYS, USER)
    box.advance(seconds=asked.seconds_left - 1)
    assert belvo.unseal(text, KEYS, USER).id == asked.id
    box.advance(seconds=1.1)
    with pytest.raises(SealError) as caught:
        belvo.unseal(text, KEYS, USER)
    assert (caught.value.reason, caught.value.pending_id) == (SealReason.EXPIRED, asked.id)
    assert (await belvo.pending(asked.id)).state == "expired"


async def test_an_unknown_outcome_can_be_found_out_for_a_day(box: Sandbox, belvo: BelvoLinks) -> None:
    """As long as a store keeps it."""
    asked = await register(belvo)
    box.inject(Fault.drop_before(), method="PATCH", template=LINKS)
    with pytest.raises(IndeterminateOutcomeError):
        await asked.complete(GOOD)
    text = asked.seal(KEYS, USER)
    box.advance(seconds=asked.seconds_left + 23 * 3600)
    with pytest.raises(SessionExpiredError):
        await belvo.unseal(text, KEYS, USER).reconcile()
    box.advance(hours=2)
    assert reason(belvo, text) is SealReason.EXPIRED


async def test_another_account_sends_and_stores_nothing(box: Sandbox, belvo: BelvoLinks) -> None:
    """Sealing is by your keys; the session stays with the API key that began it."""
    text = (await register(belvo)).seal(KEYS, USER)
    secret_id, secret_password = box.add_account()
    store = MemoryStore()
    before = len(box.requests)
    async with BelvoLinks(secret_id, secret_password, base_url=box.url, store=store, **box.client_options) as stranger:
        again = stranger.unseal(text, KEYS, USER)
        for call in (again.complete(GOOD), again.cancel(), again.reconcile()):
            with pytest.raises(WrongAccountError):
                await call
    assert len(box.requests) == before
    assert [each async for each in store.iterate()] == []


async def test_keys_are_rotated(box: Sandbox, belvo: BelvoLinks) -> None:
    """The new one first, the old one behind it until its cookies are over."""
    old, new = new_key(), new_key()
    asked = await register(belvo)
    assert belvo.unseal(asked.seal([old]), [new, old]).id == asked.id
    assert belvo.unseal(asked.seal((new, old)), [new]).id == asked.id
    assert reason(belvo, asked.seal([old]), [new]) is SealReason.UNKNOWN_KEY


# ------------------------------------------------------------------------------------------------------------- size


RESOURCES = (
    "ACCOUNTS",
    "OWNERS",
    "TRANSACTIONS",
    "BILLS",
    "INVESTMENTS",
    "INVESTMENT_TRANSACTIONS",
    "INCOMES",
    "RECURRING_EXPENSES",
    "RISK_INSIGHTS",
)


async def test_it_fits_into_a_cookie(box: Sandbox, belvo: BelvoLinks) -> None:
    """A usual one is about 600 characters; the longest correlation and long instructions stay under 1.5 KB."""
    usual = await register(belvo, correlation={"user": "0f7a1d0e-27cb-4c55-9f0c-2b4c1f3f2f11"})
    assert 400 < len(usual.seal(KEYS, USER)) < 650
    made = await belvo.register(
        "heimdall_br_retail", Credentials("sim_mfa_update", "any"), access_mode="single", fetch_resources=RESOURCES,
        stale_in="365d", credentials_storage="365d",
    )  # fmt: skip
    assert isinstance(made, Link)
    question = {
        "type": "text",
        "instructions": "Ingrésalo. " * 18 + "Ya",
        "value": "1" * 20,
        "expects_user_input": True,
    }
    again: dict[str, Any] = {
        "code": "token_required",
        "session": "0f" * 16,
        "expiry": 720,
        "link": made.id,
        "request_id": "ab" * 16,
        "token_generation_data": question,
    }
    longest = "x" * (CORRELATION_BYTES - 2)
    asked = pending(await belvo.patch(made.id, access_mode="recurrent", fetch_resources=RESOURCES, correlation=longest))
    for _ in range(5):
        box.inject(Fault.status(428, [again]), method="PATCH", template=LINKS)
        asked = pending(await asked.complete(WRONG))
    assert asked.record.requested is not None
    assert asked.record.baseline is not None
    assert set(asked.record.baseline.fetch_resources) == set(RESOURCES)
    assert len(asked.challenge.instructions or "") == 200
    text = asked.seal(KEYS, USER)
    assert 1000 < len(text) < 1536
    assert belvo.unseal(text, KEYS, USER).correlation == longest


# ------------------------------------------------------------------------------------- stores with keys, and without


async def everything(belvo: BelvoLinks, asked: PendingSession) -> list[BelvoLinksError]:
    """What every use of a session raises: by its handle, by its id, and brought back from text."""
    again = belvo.restore(asked.to_json())
    calls = [
        each
        for one in (asked, again)
        for each in (one.complete(GOOD), one.cancel(), one.reconcile())
    ]  # fmt: skip
    errors: list[BelvoLinksError] = []
    async with asyncio.timeout(10):  # no call tries for ever
        for call in (*calls, belvo.complete(asked.id, GOOD), belvo.complete(asked.id, GOOD, round=1)):
            with pytest.raises(BelvoLinksError) as caught:
                await call
            errors.append(caught.value)
        with pytest.raises(BelvoLinksError) as caught:
            await belvo.pending(asked.id)
    return [*errors, caught.value]


@pytest.mark.parametrize(
    "written, read, why",
    [
        (KEYS, [new_key()], SealReason.UNKNOWN_KEY),
        (KEYS, None, SealReason.NO_KEYS),
        (None, KEYS, SealReason.NOT_SEALED),
    ],
)
async def test_a_wrong_key_is_told_and_nothing_is_sent(
    box: Sandbox,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    written: list[str] | None,
    read: list[str] | None,
    why: SealReason,
) -> None:
    """It is no session that is not there; iterating passes it over and says so."""
    path = tmp_path / "pending.db"
    async with client(box, store=SqliteStore(path, keys=written)) as first:
        asked = await register(first)
        text = asked.to_json()
    before = len(box.requests)
    async with client(box, store=SqliteStore(path, keys=read)) as second:
        for error in await everything(second, second.restore(text)):
            assert isinstance(error, SealError)
            assert error.reason is why
        with caplog.at_level(logging.WARNING, logger="belvo_links"):
            assert [each async for each in second.iterate_pending()] == []
        assert asked.id in caplog.text
    assert len(box.requests) == before
    async with client(box, store=SqliteStore(path, keys=written)) as first:
        assert link(await first.complete(asked.id, GOOD)).status == "valid"


async def test_a_stores_keys_are_rotated_in_the_middle_of_a_login(box: Sandbox, tmp_path: Path) -> None:
    """Each process when it is deployed."""
    path, old, new = tmp_path / "pending.db", new_key(), new_key()
    async with client(box, store=SqliteStore(path, keys=[old])) as first:
        asked = await register(first)
    async with client(box, store=SqliteStore(path, keys=[new, old])) as second:
        assert pending(await second.complete(asked.id, WRONG)).round == 2
    async with client(box, store=SqliteStore(path, keys=[new])) as third:
        assert link(await third.complete(asked.id, GOOD)).status == "valid"


CHANGES = {
    "state": "state = 'linked'",
    "a state that is none": "state = 'CANARY'",
    "round": "round = 2",
    "revision": "revision = revision + 1",
    "claim": "claim = 'CANARY'",
    "cut": "record = substr(record, 1, 100)",
    "emptied": "record = ''",
    "one character": "record = substr(record, 1, 99) || '!' || substr(record, 101)",
    "another's": "record = (SELECT record FROM belvo_pending AS other WHERE other.id <> belvo_pending.id)",
}


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement, values)


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("keys", [None, KEYS], ids=["plain", "sealed"])
async def test_a_row_that_was_changed_is_told_and_nothing_is_sent(
    box: Sandbox, tmp_path: Path, keys: list[str] | None, how: str
) -> None:
    """By whatever use; the other rows are none the worse."""
    path = tmp_path / "pending.db"
    async with client(box, store=SqliteStore(path, keys=keys)) as belvo:
        asked, other = await register(belvo), await register(belvo)
        before = len(box.requests)
        change(path, f"UPDATE belvo_pending SET {CHANGES[how]} WHERE id = ?", asked.id)
        for error in await everything(belvo, asked):
            assert isinstance(error, SealError | StoredFormatError)
            assert "CANARY" not in str(error)
        assert [each.id async for each in belvo.iterate_pending()] == [other.id]
        assert len(box.requests) == before
        assert link(await other.complete(GOOD)).status == "valid"


@pytest.mark.parametrize("how", CHANGES)
async def test_a_row_that_changes_just_before_the_claim_is_not_submitted(
    box: Sandbox, tmp_path: Path, how: str
) -> None:
    """After the look, while the call waited for its turn: the claim compares, and what does not fit is told."""
    path, limiter = tmp_path / "pending.db", Counting()
    async with client(box, store=SqliteStore(path, keys=KEYS), rate_limit=limiter) as belvo:
        asked, _ = await register(belvo), await register(belvo)

        async def spoil() -> None:
            change(path, f"UPDATE belvo_pending SET {CHANGES[how]} WHERE id = ?", asked.id)

        columns_only = "record" not in CHANGES[how]
        limiter.hook = spoil
        async with asyncio.timeout(10):
            if columns_only:
                with pytest.raises((SealError, StoredFormatError)):
                    await asked.complete(GOOD)
            else:  # the text is not compared but replaced: by the claim, which was made of what was read
                await asked.complete(GOOD)
    assert box.tokens == ([] if columns_only else [GOOD])


async def test_a_row_that_changes_while_the_reply_is_awaited_takes_no_reply_away(
    box: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The link is returned, the failure logged."""
    path = tmp_path / "pending.db"
    async with client(box, store=SqliteStore(path, keys=KEYS)) as belvo:
        asked = await register(belvo)
        box.inject(Fault.delay(0.2), method="PATCH", template=LINKS)
        task = asyncio.create_task(asked.complete(GOOD))
        await arrived(box)
        change(path, "UPDATE belvo_pending SET revision = 99")
        assert link(await task).status == "valid"
        assert "could not be recorded" in caplog.text
        with pytest.raises(StoredFormatError):
            await asked.complete(GOOD)
    assert box.tokens == [GOOD]
