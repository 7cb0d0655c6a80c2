"""The memory store keeps the contract, and forgets what is over."""

import time
from datetime import timedelta

import pytest

from belvo_links.protocol.envelope import is_sealed
from belvo_links.protocol.mfa import Cancelled, advance
from belvo_links.stores import MemoryStore, new_key
from belvo_links.stores.contract import PendingStoreContract, fresh_record
from belvo_links.stores.form import Seen


class TestMemoryStore(PendingStoreContract):
    """The contract, in one process."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        """Give an empty store."""
        return MemoryStore()


class TestMemoryStoreWithKeys(PendingStoreContract):
    """The contract, with everything encrypted."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        """Give an empty store."""
        return MemoryStore(keys=[new_key(), new_key()])


async def test_with_keys_nothing_is_kept_in_clear() -> None:
    """The id and what a claim compares excepted."""
    record = fresh_record()
    store = MemoryStore(keys=[new_key()])
    await store.insert(record)
    entry = store._entries[record.id]
    assert is_sealed(entry.kept)
    assert entry.seen == Seen.of(record)


async def test_records_that_are_over_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that runs for long does not grow: settled records go after their lifetime, others a day later."""
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    store = MemoryStore()
    settled, unsettled = fresh_record(), fresh_record()
    for record in (settled, unsettled):
        await store.insert(record)
    await store.swap(settled, advance(settled, Cancelled(), now=settled.created_at))
    now += timedelta(minutes=13).total_seconds()
    await store.insert(fresh_record())
    assert await store.load(settled.id) is None
    assert await store.load(unsettled.id) is not None
    now += timedelta(hours=25).total_seconds()
    await store.insert(fresh_record())
    assert await store.load(unsettled.id) is None
