"""A store in this process's memory: for one process, and gone with it."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

import attrs

from belvo_links.protocol.mfa import PendingRecord, PendingState
from belvo_links.stores.base import StoredRecord, is_over
from belvo_links.stores.form import PlainForm, Seen, form_for, readable, seconds_kept

SWEEP_EVERY: Final = 60.0
"""Seconds between looks for records that are over."""


@attrs.frozen(kw_only=True)
class _Entry:
    seen: Seen
    kept: PendingRecord | str
    expires_at: datetime
    lease_until: float | None
    keep_until: float


class MemoryStore:
    """Keeps pending records in memory. One object serves any number of clients, event loops and threads.

    Records that are over are forgotten by themselves, so that a process that runs for long does not grow. Time is
    counted from the last change of a record, by a monotonic clock: an injected ``clock`` cannot make it forget early.

    Args:
        keys: 32 bytes each as url-safe base64; what is kept is then encrypted with the first, and read with any. Needs
            the extra ``[seal]``.
    """

    def __init__(self, *, keys: Sequence[str] | None = None) -> None:
        self._form = form_for(keys)
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()
        self._swept = time.monotonic()

    async def insert(self, record: PendingRecord) -> bool:
        """Keep a new record; return ``False``, changing nothing, where its id exists."""
        with self._lock:
            self._sweep()
            if record.id in self._entries:
                return False
            self._entries[record.id] = self._entry(record, None)
            return True

    async def load(self, pending_id: str) -> StoredRecord | None:
        """Return the record with this id, or ``None``."""
        entry = self._entries.get(pending_id)
        if entry is None:
            return None
        lease_left = None if entry.lease_until is None else entry.lease_until - time.monotonic()
        return StoredRecord(record=self._read(pending_id, entry), lease_left=lease_left)

    async def swap(self, old: PendingRecord, new: PendingRecord, *, lease: float | None = None) -> bool:
        """Replace a record if it still is what the caller saw."""
        with self._lock:
            entry = self._entries.get(old.id)
            if entry is None or entry.seen != Seen.of(old):
                return False
            self._entries[old.id] = self._entry(new, lease)
            return True

    async def iterate(self, state: PendingState | None = None) -> AsyncIterator[PendingRecord]:
        """Yield the records, or those in one state, as they were when the iteration began.

        What cannot be read is passed over and logged.
        """
        with self._lock:
            entries = list(self._entries.items())
        for pending_id, entry in entries:
            if state is not None and entry.seen.state != state:
                continue
            if (record := readable(self._read, pending_id, entry)) is not None:
                yield record

    async def purge(self, before: datetime) -> int:
        """Remove what is over and return how many records that were."""
        with self._lock:
            over = [
                pending_id
                for pending_id, entry in self._entries.items()
                if is_over(entry.seen.state, entry.expires_at, before)
            ]
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

    def _entry(self, record: PendingRecord, lease: float | None) -> _Entry:
        now = time.monotonic()
        return _Entry(
            seen=Seen.of(record),
            kept=record if isinstance(self._form, PlainForm) else self._form.write(record),
            expires_at=record.expires_at,
            lease_until=None if lease is None else now + lease,
            keep_until=now + seconds_kept(record),
        )

    def _read(self, pending_id: str, entry: _Entry) -> PendingRecord:
        if isinstance(entry.kept, PendingRecord):
            return entry.kept
        return self._form.read(pending_id, entry.kept, seen=entry.seen)
