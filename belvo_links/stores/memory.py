"""A store in this process's memory: for one process, and gone with it."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

import attrs

from belvo_links.protocol.mfa import PendingRecord, PendingState
from belvo_links.stores.base import KEPT_UNSETTLED, StoredRecord, is_over, is_same

SWEEP_EVERY: Final = 60.0
"""Seconds between looks for records that are over."""


@attrs.frozen(kw_only=True)
class _Entry:
    record: PendingRecord
    lease_until: float | None
    keep_until: float


class MemoryStore:
    """Keeps pending records in memory. One object serves any number of clients, event loops and threads.

    Records that are over are forgotten by themselves, so that a process that runs for long does not grow. Time is
    counted from the last change of a record, by a monotonic clock: an injected ``clock`` cannot make it forget early.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()
        self._swept = time.monotonic()

    async def insert(self, record: PendingRecord) -> bool:
        """Keep a new record; return ``False``, changing nothing, where its id exists."""
        with self._lock:
            self._sweep()
            if record.id in self._entries:
                return False
            self._entries[record.id] = _entry(record, None)
            return True

    async def load(self, pending_id: str) -> StoredRecord | None:
        """Return the record with this id, or ``None``."""
        entry = self._entries.get(pending_id)
        if entry is None:
            return None
        lease_left = None if entry.lease_until is None else entry.lease_until - time.monotonic()
        return StoredRecord(record=entry.record, lease_left=lease_left)

    async def swap(self, old: PendingRecord, new: PendingRecord, *, lease: float | None = None) -> bool:
        """Replace a record if it still is what the caller saw."""
        with self._lock:
            entry = self._entries.get(old.id)
            if entry is None or not is_same(old, entry.record):
                return False
            self._entries[old.id] = _entry(new, lease)
            return True

    async def iterate(self, state: PendingState | None = None) -> AsyncIterator[PendingRecord]:
        """Yield the records, or those in one state, as they were when the iteration began."""
        with self._lock:
            records = [entry.record for entry in self._entries.values()]
        for record in records:
            if state is None or record.state == state:
                yield record

    async def purge(self, before: datetime) -> int:
        """Remove what is over and return how many records that were."""
        with self._lock:
            over = [entry.record.id for entry in self._entries.values() if is_over(entry.record, before)]
            for pending_id in over:
                del self._entries[pending_id]
        return len(over)

    async def aclose(self) -> None:
        """Do nothing: the records stay."""

    def _sweep(self) -> None:
        now = time.monotonic()
        if now - self._swept < SWEEP_EVERY:
            return
        self._swept = now
        self._entries = {key: entry for key, entry in self._entries.items() if entry.keep_until > now}


def _entry(record: PendingRecord, lease: float | None) -> _Entry:
    now = time.monotonic()
    lifetime = max(0.0, (record.expires_at - record.created_at).total_seconds())
    kept = lifetime if record.is_settled else lifetime + KEPT_UNSETTLED.total_seconds()
    return _Entry(record=record, lease_until=None if lease is None else now + lease, keep_until=now + kept)
