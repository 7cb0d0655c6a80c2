"""Pending records in a store: loading, inserting and moving them, whatever else happens to the store meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

import attrs

from belvo_links.errors import BelvoLinksError, IllegalTransitionError, PendingNotFoundError, StoreError
from belvo_links.protocol.mfa import DeadlinePassed, Event, LeaseRanOut, PendingRecord, PendingState, advance, later
from belvo_links.stores.base import PendingStore

T = TypeVar("T")

log: Final = logging.getLogger("belvo_links")

STORE_LIMIT: Final = 20.0
"""Seconds after which a store that does not answer counts as unreachable."""

_users: Final[WeakKeyDictionary[PendingStore, int]] = WeakKeyDictionary()
"""How many open clients of this process use a store: it is closed with the last of them."""


class Ledger:
    """The store as the session layer sees it.

    Args:
        store: where records live.
        clock: gives the time, aware UTC.
    """

    def __init__(self, store: PendingStore, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._in_use = False

    async def insert(self, record: PendingRecord) -> None:
        """Keep a new record; where its id exists, the version that counts stays.

        Raises:
            StoreError: the store failed.
        """
        if not await self._ask(self._store.insert(record)):
            await self._reconcile_versions(record)

    async def current(self, pending_id: str, *, brought: PendingRecord | None = None) -> PendingRecord:
        """Return the record as it is now: leases that ran out and deadlines that passed are taken into account.

        Args:
            pending_id: which one.
            brought: a version that the caller brings back; the store learns of it first.

        Raises:
            PendingNotFoundError: the store has none.
            StoreError: the store failed.
        """
        if brought is not None:
            await self.insert(brought)
        stored = await self._ask(self._store.load(pending_id))
        if stored is None:
            raise PendingNotFoundError
        record = stored.record
        if record.state is PendingState.SUBMITTING and stored.lease_left is not None and stored.lease_left <= 0:
            return await self.move(record, LeaseRanOut())
        if record.state is PendingState.AWAITING and self._clock() >= record.expires_at:
            return await self.move(record, DeadlinePassed())
        return record

    async def claim(self, old: PendingRecord, new: PendingRecord, *, lease: float) -> bool:
        """Take the round exclusively; return whether it was still to be had."""
        return await self._ask(self._store.swap(old, new, lease=lease))

    async def replace(self, old: PendingRecord, new: PendingRecord) -> bool:
        """Replace a record; return whether it still was what the caller saw."""
        return await self._ask(self._store.swap(old, new))

    async def move(self, record: PendingRecord, event: Event) -> PendingRecord:
        """Apply an event to the record as it is by now, and return what it then is.

        Where the record has moved on so that the event no longer applies, that is returned and nothing is changed.

        Raises:
            StoreError: the store failed.
        """
        current = record
        while True:
            try:
                moved = advance(current, event, now=self._clock())
            except IllegalTransitionError:
                return current
            if await self._ask(self._store.swap(current, moved)):
                return moved
            stored = await self._ask(self._store.load(current.id))
            if stored is None:  # purged: what has happened has happened all the same
                return moved
            current = stored.record

    async def settle(self, record: PendingRecord, event: Event) -> tuple[PendingRecord, bool]:
        """Record what has happened to a submission, and return the record and whether it is on record.

        A store that fails does not take away what has happened: the failure is logged, and the lease makes the record
        indeterminate for others.
        """
        try:
            return await self.move(record, event), True
        except StoreError as error:
            # Without the traceback, which may show what a store's driver was given.
            log.error("pending %s: %s could not be recorded: %s", record.id, type(event).__name__, error)  # noqa: TRY400
        try:
            return advance(record, event, now=self._clock()), False
        except IllegalTransitionError:
            return record, False

    async def iterate(self, state: PendingState | None) -> AsyncIterator[PendingRecord]:
        """Yield the records, or those in one state."""
        self._begin_use()
        try:
            async for record in self._store.iterate(state):
                yield record
        except (BelvoLinksError, GeneratorExit):
            raise
        except Exception as error:  # noqa: BLE001  # a store of somebody else's may raise anything
            cause = type(error).__name__
        else:
            return
        raise StoreError(reason=cause)

    async def aclose(self) -> None:
        """Close the store if this was its last open client."""
        if not self._in_use:
            return
        self._in_use = False
        users = _users.get(self._store, 1) - 1
        if users > 0:
            _users[self._store] = users
            return
        _users.pop(self._store, None)
        await self._store.aclose()

    async def _reconcile_versions(self, brought: PendingRecord) -> None:
        """Let the store learn of a version that counts more than its own."""
        while (stored := await self._ask(self._store.load(brought.id))) is not None:
            winner = later(stored.record, brought)
            if winner is stored.record:
                return
            new = attrs.evolve(winner, revision=stored.record.revision + 1)
            if await self._ask(self._store.swap(stored.record, new)):
                return

    async def _ask(self, answer: Awaitable[T]) -> T:
        """Await the store, for a bounded time and without letting anything foreign out."""
        self._begin_use()
        try:
            async with asyncio.timeout(STORE_LIMIT):
                return await answer
        except BelvoLinksError:
            raise
        except Exception as error:  # noqa: BLE001  # a store of somebody else's may raise anything
            cause = type(error).__name__
        raise StoreError(reason=cause)

    def _begin_use(self) -> None:
        if not self._in_use:
            self._in_use = True
            _users[self._store] = _users.get(self._store, 0) + 1


def until(moment: datetime, now: datetime) -> float:
    """Return the seconds from now until a moment, at least 0."""
    return max(0.0, (moment - now) / timedelta(seconds=1))
