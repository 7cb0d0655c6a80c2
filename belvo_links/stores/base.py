"""What a store of pending sessions is: records that are replaced only by somebody who saw their last revision."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Final, Protocol, runtime_checkable

import attrs

from belvo_links.protocol.mfa import SETTLED, PendingRecord, PendingState

KEPT_UNSETTLED: Final = timedelta(hours=24)
"""How long after its deadline a record that was never settled is kept at least."""


@attrs.frozen(kw_only=True)
class StoredRecord:
    """A record as the store has it.

    Attributes:
        record: the record.
        lease_left: seconds until the claim on it runs out, by the store's own clock; 0 or less when it has;
            ``None`` where there is no claim.
    """

    record: PendingRecord
    lease_left: float | None = None


@runtime_checkable
class PendingStore(Protocol):
    """Keeps pending records, for one process or for many.

    The one hard promise is :meth:`swap`: of any number of callers that saw the same revision, at the same time, in
    any process, exactly one succeeds. Everything that makes a token be sent at most once stands on it.

    Methods raise :class:`~belvo_links.StoreError` when the store is unreachable, full or refuses;
    :class:`~belvo_links.StoredFormatError` or :class:`~belvo_links.SealError` when what is kept cannot be read; and
    nothing else.
    A store opens on first use and reopens when it is used after :meth:`aclose`.
    """

    async def insert(self, record: PendingRecord) -> bool:
        """Keep a new record; return ``False``, changing nothing, where its id exists."""
        ...

    async def load(self, pending_id: str) -> StoredRecord | None:
        """Return the record with this id, or ``None``."""
        ...

    async def swap(self, old: PendingRecord, new: PendingRecord, *, lease: float | None = None) -> bool:
        """Replace a record if it still is what the caller saw.

        Args:
            old: what the caller saw; its id, state, round, revision and claim are compared.
            new: what to keep instead.
            lease: seconds, by the store's own clock, for which ``new`` is claimed; ``None`` ends a claim.

        Returns:
            Whether it was replaced. ``False`` means that it has changed or is gone, and nothing was changed.
        """
        ...

    def iterate(self, state: PendingState | None = None) -> AsyncIterator[PendingRecord]:
        """Yield the records, or those in one state, in no promised order."""
        ...

    async def purge(self, before: datetime) -> int:
        """Remove what is over and return how many records that were.

        Args:
            before: aware UTC; settled records whose deadline lies before it go, and unsettled ones whose deadline
                lies 24 hours before it.
        """
        ...

    async def aclose(self) -> None:
        """Close what the store itself opened; what it was given stays open."""
        ...


def is_over(state: str, expires_at: datetime, before: datetime) -> bool:
    """Return whether :meth:`PendingStore.purge` removes a record in this state with this deadline."""
    kept = timedelta() if state in SETTLED else KEPT_UNSETTLED
    return expires_at + kept < before
