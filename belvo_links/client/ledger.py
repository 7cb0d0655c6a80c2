"""Pending records in a store: loading, inserting and moving them, whatever else happens to the store meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar
from weakref import finalize

import attrs

from belvo_links.client import events
from belvo_links.errors import BelvoLinksError, IllegalTransitionError, PendingNotFoundError, StoreError
from belvo_links.protocol.mfa import (
    DeadlinePassed,
    Event,
    LeaseRanOut,
    NotSent,
    PendingRecord,
    PendingState,
    advance,
    later,
)
from belvo_links.stores.base import PendingStore, StoredRecord
from belvo_links.transport.watch import Watch

T = TypeVar("T")

log: Final = logging.getLogger("belvo_links")

STORE_LIMIT: Final = 20.0
"""Seconds after which a store that does not answer counts as unreachable."""

_users: Final[dict[int, int]] = {}
"""How many open clients of this process use the store of this ``id()``: it is closed with the last of them."""


class Ledger:
    """The store as the session layer sees it.

    Args:
        store: where records live.
        clock: gives the time, aware UTC.
        watch: told of what happens; ``None`` for nobody.
    """

    def __init__(self, store: PendingStore, clock: Callable[[], datetime], *, watch: Watch | None = None) -> None:
        self._store = store
        self._clock = clock
        self._watch = watch
        self._use: finalize[[int], Ledger] | None = None
        self._asking = 0
        self._closed = False

    async def open(self, record: PendingRecord) -> None:
        """Keep the record of a login that has just met its first challenge.

        Raises:
            StoreError: the store failed.
        """
        if self._watch is not None:
            self._watch.tell(events.challenged(record))
        await self.insert(record)

    async def insert(self, record: PendingRecord) -> None:
        """Keep a new record; where its id exists, the version that counts stays.

        Raises:
            StoreError: the store failed.
        """
        while not await self._ask(self._store.insert(record)):
            if (stored := await self._load(record.id)) is None:
                continue  # purged in this very moment
            winner = later(stored.record, record)
            if winner is stored.record:
                return
            new = attrs.evolve(winner, revision=stored.record.revision + 1)
            if await self.replace(stored.record, new):
                return

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
        stored = await self._load(pending_id)
        if stored is None:
            raise PendingNotFoundError
        record = stored.record
        if record.state is PendingState.SUBMITTING and (stored.lease_left is None or stored.lease_left <= 0):
            return await self.move(record, LeaseRanOut())
        if self.is_overdue(record):
            return await self.move(record, DeadlinePassed())
        return record

    async def claim(self, old: PendingRecord, new: PendingRecord, *, lease: float) -> bool:
        """Take the round exclusively; return whether the record still was what the caller saw."""
        won = await self._ask(self._store.swap(old, new, lease=lease))
        if won and self._watch is not None:
            self._watch.tell(events.claimed(old, round=old.round, won=True))
        return won

    def miss(self, record: PendingRecord, wanted: int) -> None:
        """Tell the observer of a submission whose round is not to be had."""
        if self._watch is not None:
            self._watch.tell(events.claimed(record, round=wanted, won=False))

    async def release(self, claimed: PendingRecord) -> None:
        """Give back a claim that may or may not be on record; where the store fails, the lease does it.

        It is looked for by its nonce: a record that somebody else has claimed meanwhile looks the same otherwise.
        """
        try:
            stored = await self._load(claimed.id)
            if stored is not None and stored.record.claim == claimed.claim:
                await self.move(stored.record, NotSent(claim=claimed.claim or ""))
        except BelvoLinksError as error:
            _complain(claimed, "a claim that was not used", error)

    async def replace(self, old: PendingRecord, new: PendingRecord) -> bool:
        """Replace a record; return whether it still was what the caller saw."""
        return await self._ask(self._store.swap(old, new))

    async def move(self, record: PendingRecord, *happened: Event, told: bool = False) -> PendingRecord:
        """Apply events, one after the other, to the record as it is by now, and return what it then is.

        One that does not apply, since the record has moved on, changes nothing.

        Args:
            record: as it was seen last.
            happened: the events.
            told: whether the observer knows already.

        Raises:
            StoreError: the store failed.
        """
        current = record
        while (moved := self._advanced(current, happened)) is not current:
            if await self.replace(current, moved):
                self._tell(current, moved, told=told)
                return moved
            stored = await self._load(current.id)
            if stored is None:  # purged or forgotten: what has happened has happened all the same
                await self.insert(moved)
                self._tell(current, moved, told=told)
                return moved
            current = stored.record
        return current

    async def settle(self, record: PendingRecord, *happened: Event, told: bool = False) -> tuple[PendingRecord, bool]:
        """Record what has happened to a submission, and return the record and whether it is on record.

        A store that fails does not take away what has happened: the failure is logged, and the lease makes the record
        indeterminate for others.

        Args:
            record: as it was claimed.
            happened: the events.
            told: whether the observer knows already, since they could not be recorded before.
        """
        try:
            return await self.move(record, *happened, told=told), True
        except BelvoLinksError as error:
            _complain(record, ", ".join(type(event).__name__ for event in happened), error)
        moved = self._advanced(record, happened)
        self._tell(record, moved, recorded=False, told=told)
        return moved, False

    def _tell(self, before: PendingRecord, now: PendingRecord, *, recorded: bool = True, told: bool = False) -> None:
        if self._watch is None or told:
            return
        self._watch.tell(events.settled(before, now, recorded=recorded))
        if now.round != before.round:
            self._watch.tell(events.challenged(now))

    async def iterate(self, state: PendingState | None) -> AsyncIterator[PendingRecord]:
        """Yield the records, or those in one state, as they are now.

        Raises:
            StoreError: the store failed.
        """
        self._begin_use()
        stale: list[str] = []
        async for record in self._iterate_store(state):
            if record.state is PendingState.SUBMITTING or self.is_overdue(record):
                stale.append(record.id)
            elif state is None or record.state is state:
                yield record
        for pending_id in stale:
            with contextlib.suppress(PendingNotFoundError):  # purged meanwhile
                record = await self.current(pending_id)
                if state is None or record.state is state:
                    yield record

    async def _iterate_store(self, state: PendingState | None) -> AsyncIterator[PendingRecord]:
        """Yield what is stored in this state, and what may have come into it by time alone."""
        for stored_as in _STORED_AS.get(state, (state,)):
            records = self._store.iterate(stored_as)
            try:
                async for record in records:
                    yield record
            except BelvoLinksError:
                raise
            except Exception as error:  # noqa: BLE001  # a store of somebody else's may raise anything
                cause = type(error).__name__
            else:
                continue
            finally:
                if (aclose := getattr(records, "aclose", None)) is not None:
                    await aclose()
            raise StoreError(reason=cause)

    async def aclose(self) -> None:
        """Close the store if this was its last open client, as soon as it has answered what it is being asked."""
        self._closed = True
        if not self._asking:
            await self._end_use()

    def _advanced(self, record: PendingRecord, happened: tuple[Event, ...]) -> PendingRecord:
        now = self._clock()
        for event in happened:
            with contextlib.suppress(IllegalTransitionError):
                record = advance(record, event, now=now)
        return record

    def is_overdue(self, record: PendingRecord) -> bool:
        """Return whether a record awaits an answer that would come too late."""
        return record.state is PendingState.AWAITING and self._clock() >= record.expires_at

    async def _load(self, pending_id: str) -> StoredRecord | None:
        # What a store cannot read says more than that it failed: another version, another key.
        return await self._ask(self._store.load(pending_id), passing=BelvoLinksError)

    async def _ask(self, answer: Awaitable[T], *, passing: type[BelvoLinksError] = StoreError) -> T:
        """Await the store, for a bounded time and without letting anything foreign out."""
        self._begin_use()
        self._asking += 1
        try:
            async with asyncio.timeout(STORE_LIMIT):
                return await answer
        except passing:
            raise
        except Exception as error:  # noqa: BLE001  # a store of somebody else's may raise anything
            cause = type(error).__name__
        finally:
            self._asking -= 1
            if self._closed and not self._asking:  # what was under way is recorded now
                await self._end_use()
        raise StoreError(reason=cause)

    def _begin_use(self) -> None:
        if self._use is None:
            key = id(self._store)  # a store need not be hashable
            _users[key] = _users.get(key, 0) + 1
            self._use = finalize(self, _leave, key)

    async def _end_use(self) -> None:
        use, self._use = self._use, None
        if use is None or use.detach() is None or not _leave(id(self._store)):
            return
        try:
            await self._store.aclose()
        except BelvoLinksError:
            raise
        except Exception as error:  # noqa: BLE001  # a store of somebody else's may raise anything
            cause = type(error).__name__
        else:
            return
        raise StoreError(reason=cause)


_STORED_AS: Final[dict[PendingState | None, tuple[PendingState, ...]]] = {
    PendingState.INDETERMINATE: (PendingState.INDETERMINATE, PendingState.SUBMITTING),
    PendingState.EXPIRED: (PendingState.EXPIRED, PendingState.AWAITING),
}
"""States that a record comes into by time alone, with how it may still be stored."""


def _leave(key: int) -> bool:
    """Count a client of a store out; return whether it was the last."""
    _users[key] -= 1
    if last := not _users[key]:
        del _users[key]
    return last


def _complain(record: PendingRecord, what: str, error: BelvoLinksError) -> None:
    # Without the traceback, which may show what a store's driver was given.
    log.error("pending %s: could not be recorded: %s: %s", record.id, what, error)


def until(moment: datetime, now: datetime) -> float:
    """Return the seconds from now until a moment, at least 0."""
    return max(0.0, (moment - now) / timedelta(seconds=1))
