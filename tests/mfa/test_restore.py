"""A pending session as text: without loss, in another client, and never a way back for what is over."""

import asyncio
import json
import pickle
from typing import Any

import attrs
import pytest

from belvo_links import (
    AlreadyClaimedError,
    AlreadySettledError,
    BelvoLinks,
    BelvoLinksError,
    IndeterminateOutcomeError,
    Link,
    PendingNotFoundError,
    PendingSession,
    SessionExpiredError,
    StoredFormatError,
    WrongAccountError,
)
from belvo_links.protocol import stored
from belvo_links.protocol.mfa import PendingState
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.stores import MemoryStore
from tests.mfa import helpers
from tests.mfa.helpers import GOOD, LINKS, WRONG, arrived, begin, client, completes, link, pending, register

SHOWN = (
    "id", "link_id", "operation", "challenge", "round", "state", "created_at", "expires_at", "correlation",
    "request_ids", "record",
)  # fmt: skip


def shown(asked: PendingSession) -> dict[str, Any]:
    """Return everything that a handle shows."""
    return {name: getattr(asked, name) for name in SHOWN}


@pytest.mark.parametrize("operation", ["register", "update", "patch"])
async def test_text_keeps_everything(box: Sandbox, belvo: BelvoLinks, operation: helpers.Begun) -> None:
    """What a restored session shows is what the first one showed, and it is written as it was read."""
    asked = await begin(belvo, operation, correlation={"user": [1, None, "ü"]})
    text = asked.to_json()
    before = len(box.requests)
    again = belvo.restore(text)
    assert shown(again) == shown(asked)
    assert again.to_json() == text
    assert (again.unsaved, asked.unsaved, len(box.requests)) == (True, False, before)


async def test_a_qr_challenge_survives(box: Sandbox, belvo: BelvoLinks) -> None:
    """The image is in the text."""
    asked = await register(belvo, "mfa_qr")
    again = belvo.restore(asked.to_json())
    assert again.challenge.qr == asked.challenge.qr is not None


async def test_another_client_without_the_store_goes_on(box: Sandbox, belvo: BelvoLinks) -> None:
    """Its first use inserts the record into its own store."""
    asked = await register(belvo)
    async with client(box) as other:
        again = other.restore(asked.to_json())
        with pytest.raises(PendingNotFoundError):
            await other.pending(asked.id)
        second = pending(await again.complete(WRONG))
        assert (second.id, second.round, again.unsaved) == (asked.id, 2, False)
        assert (await other.pending(asked.id)).round == 2
        third = other.restore(second.to_json())
        assert link(await third.complete(GOOD)).id == asked.link_id


@pytest.mark.parametrize("use", ["complete", "cancel", "reconcile", "wait"])
async def test_every_use_inserts(box: Sandbox, use: str) -> None:
    """Whatever is done with it first."""
    store = MemoryStore()
    async with client(box) as first, client(box, store=store) as second:
        asked = second.restore((await register(first, "sim_mfa_inputless")).to_json())
        options = {"timeout": 0.001} if use == "wait" else {}
        await getattr(asked, use)(**options)
        assert (await helpers.stored(store, asked.id)).id == asked.id


async def test_the_later_round_wins(box: Sandbox, belvo: BelvoLinks) -> None:
    """A text of a later round replaces an earlier one in the store; a text of an earlier round changes nothing."""
    first = await register(belvo, "sim_mfa_chain")
    async with client(box) as other:
        second = pending(await other.restore(first.to_json()).complete(GOOD))
    assert (await belvo.pending(first.id)).round == 1
    third = belvo.restore(second.to_json())
    await third.reconcile()
    assert (await belvo.pending(first.id)).round == 2
    with pytest.raises(AlreadyClaimedError):
        await belvo.restore(first.to_json()).complete(GOOD)
    assert link(await third.complete(GOOD)).status == "valid"


async def test_at_the_same_round_the_store_counts(box: Sandbox, belvo: BelvoLinks) -> None:
    """A text that says "awaiting" does not free a round that is being submitted, or was."""
    asked = await register(belvo)
    text = asked.to_json()
    box.inject(Fault.delay(0.2), method="PATCH", template=LINKS)
    task = asyncio.create_task(asked.complete(GOOD))
    await arrived(box)
    with pytest.raises(AlreadyClaimedError):
        await belvo.restore(text).complete(GOOD)
    await task
    assert box.tokens == [GOOD]


@pytest.mark.parametrize("end", ["linked", "cancelled", "expired", "failed"])
async def test_old_text_revives_nothing(box: Sandbox, belvo: BelvoLinks, end: str) -> None:
    """A settled record wins over any text of the same session, also of a later round."""
    asked = await register(belvo, "sim_mfa_login_error" if end == "failed" else "mfa_numeric")
    text = asked.to_json()
    record = attrs.evolve(stored.load(text), round=7, revision=99)
    if end == "expired":
        box.advance(days=1)
    try:
        await (asked.cancel() if end == "cancelled" else asked.complete(GOOD))
    except BelvoLinksError:
        assert end in {"expired", "failed"}
    before = completes(box)
    for old in (text, stored.dump(record)):
        with pytest.raises((AlreadySettledError, SessionExpiredError)) as caught:
            await belvo.restore(old).complete(GOOD)
        assert caught.value.pending is not None
        assert caught.value.pending.state == end
    assert completes(box) == before


async def test_a_settled_text_settles_the_store(box: Sandbox, belvo: BelvoLinks) -> None:
    """What another store knows to be over is over."""
    asked = await register(belvo)
    async with client(box) as other:
        elsewhere = other.restore(asked.to_json())
        await elsewhere.cancel()
    with pytest.raises(AlreadySettledError):
        await belvo.restore(elsewhere.to_json()).complete(GOOD)
    with pytest.raises(AlreadySettledError):
        await asked.complete(GOOD)
    assert completes(box) == 0


async def test_what_was_being_submitted_is_indeterminate(box: Sandbox, belvo: BelvoLinks) -> None:
    """Nobody waits for its reply any more; reconciling tells."""
    asked = await register(belvo)
    box.inject(Fault.delay_after(5), method="PATCH", template=LINKS)
    task = asyncio.create_task(asked.complete(GOOD))
    await arrived(box)
    assert asked.state == "submitting"
    text = asked.to_json()
    async with client(box) as other:
        again = other.restore(text)
        assert again.state == "indeterminate"
        with pytest.raises(IndeterminateOutcomeError):
            await again.complete(GOOD)
        assert isinstance(await again.reconcile(), Link)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert box.tokens == [GOOD]


async def test_past_its_deadline_a_text_is_expired(box: Sandbox, belvo: BelvoLinks) -> None:
    """Where no store knows it any more, it still cannot be used."""
    text = (await register(belvo)).to_json()
    box.advance(days=3)
    async with client(box) as other:
        with pytest.raises(SessionExpiredError):
            await other.restore(text).complete(GOOD)
    assert completes(box) == 0


@pytest.mark.parametrize("other", ["account", "origin"])
async def test_another_account_or_address_sends_nothing(box: Sandbox, store: MemoryStore, other: str) -> None:
    """Every use of such a record raises, be it restored or loaded, and nothing is stored or called."""
    async with client(box, store=store) as owner:
        asked = await register(owner)
    empty = MemoryStore()
    secret_id, secret_password = box.add_account() if other == "account" else (box.secret_id, box.secret_password)
    url = box.url if other == "account" else box.url.replace("127.0.0.1", "localhost")
    before = len(box.requests)
    for kept in (empty, store):
        async with BelvoLinks(secret_id, secret_password, base_url=url, store=kept, **box.client_options) as stranger:
            again = stranger.restore(asked.to_json())
            for call in (again.complete(GOOD), again.cancel(), again.reconcile()):
                with pytest.raises(WrongAccountError) as caught:
                    await call
                assert caught.value.pending is not None
            assert [each async for each in stranger.iterate_pending()] == []
            if kept is store:
                for load in (stranger.complete(asked.id, GOOD), stranger.pending(asked.id)):
                    with pytest.raises(WrongAccountError):
                        await load
    assert len(box.requests) == before
    assert [each async for each in empty.iterate()] == []
    assert (await helpers.stored(store, asked.id)).state is PendingState.AWAITING


async def test_sessions_are_found_by_state(box: Sandbox, belvo: BelvoLinks) -> None:
    """After a deployment, say: all, or those in one state."""
    awaiting, linked, cancelled = [await register(belvo, "mfa_default") for _ in range(3)]
    await linked.complete(GOOD)
    await cancelled.cancel()
    found = {each.id: each.state async for each in belvo.iterate_pending()}
    assert found == {awaiting.id: "awaiting", linked.id: "linked", cancelled.id: "cancelled"}
    assert [each.id async for each in belvo.iterate_pending("awaiting")] == [awaiting.id]
    assert [each.id async for each in belvo.iterate_pending(PendingState.LINKED)] == [linked.id]
    async for each in belvo.iterate_pending("awaiting"):
        assert link(await each.complete(GOOD)).id == awaiting.link_id
    with pytest.raises(ValueError, match="nonsense"):
        [each async for each in belvo.iterate_pending("nonsense")]


async def test_text_that_is_not_ours_is_refused(belvo: BelvoLinks) -> None:
    """Cut, changed, or of another version."""
    text = (await register(belvo)).to_json()
    changed = {**json.loads(text), "round": 0}
    for bad in ("", text[:-5], "{}", json.dumps(changed), json.dumps({**json.loads(text), "belvo_links_pending": 99})):
        with pytest.raises(StoredFormatError):
            belvo.restore(bad)


async def test_handles_are_not_pickled(belvo: BelvoLinks) -> None:
    """They belong to their client; text carries them."""
    asked = await register(belvo)
    with pytest.raises(TypeError, match="to_json"):
        pickle.dumps(asked)
