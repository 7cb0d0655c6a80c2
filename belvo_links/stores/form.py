"""How a store writes a record: as plain text or sealed, beside the columns that a claim compares."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, Protocol

import attrs

from belvo_links.errors import SealError, SealReason, StoredFormatError
from belvo_links.protocol import envelope, stored
from belvo_links.protocol.mfa import PendingRecord
from belvo_links.stores.base import KEPT_UNSETTLED

if TYPE_CHECKING:
    from belvo_links.stores.seal import Seal

P = ParamSpec("P")

log: Final = logging.getLogger("belvo_links")

PURPOSE: Final = "store"
"""What keys are derived for, so that the sealed text of a store is nowhere else accepted."""


@attrs.frozen
class Seen:
    """What a claim compares: the part of a record that a store keeps readable for itself.

    Attributes:
        state: where it stands.
        round: which challenge it is.
        revision: counts the changes.
        claim: who submits, or submitted last; ``None`` for nobody so far.
    """

    state: str
    round: int
    revision: int
    claim: str | None

    @classmethod
    def of(cls, record: PendingRecord) -> Seen:
        """Return that part of a record."""
        return cls(str(record.state), record.round, record.revision, record.claim)


class Form(Protocol):
    """Writes records as text and reads them again."""

    def write(self, record: PendingRecord) -> str:
        """Return the record as text."""
        ...

    def read(self, pending_id: str, text: str, *, seen: Seen) -> PendingRecord:
        """Return the record that was written.

        Args:
            pending_id: the id that the text was kept for.
            text: what was kept.
            seen: what was kept beside it.

        Raises:
            StoredFormatError: it is not a record, of an unknown version, or not the one that it was kept for.
            SealError: it is sealed where it should not be, or the other way round, or with another key.
        """
        ...


class PlainForm:
    """Writes records as readable text."""

    def write(self, record: PendingRecord) -> str:
        """Return the record as JSON text."""
        return stored.dump(record)

    def read(self, pending_id: str, text: str, *, seen: Seen) -> PendingRecord:
        """Return the record that was written."""
        if envelope.is_sealed(text):
            raise SealError(SealReason.NO_KEYS)
        record = stored.load(text)
        if record.id != pending_id:
            msg = "The stored pending session was changed: it stands in the place of another."
            raise StoredFormatError(msg)
        return _matching(record, seen)


class SealedForm:
    """Writes records as authenticated ciphertext.

    Args:
        seal: made for :data:`PURPOSE`.
    """

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def write(self, record: PendingRecord) -> str:
        """Return the record sealed."""
        return self._seal.close(stored.dump(record).encode("utf-8"))

    def read(self, pending_id: str, text: str, *, seen: Seen) -> PendingRecord:
        """Return the record that was sealed: bound to its id, which is inside."""
        record = stored.load(self._seal.open(text).decode("utf-8"))
        if record.id != pending_id:
            raise SealError(SealReason.OTHER_RECORD, pending_id=record.id)
        return _matching(record, seen)


def form_for(keys: Sequence[str] | None) -> Form:
    """Return the form that a store's ``keys=`` asks for.

    Raises:
        ModuleNotFoundError: keys were given, and the extra ``[seal]`` is not installed.
        ValueError, TypeError: the keys are not keys.
    """
    if keys is None:
        return PlainForm()
    from belvo_links.stores import Seal

    return SealedForm(Seal(keys, purpose=PURPOSE))


def readable(
    read: Callable[Concatenate[str, P], PendingRecord], pending_id: str, *args: P.args, **kwargs: P.kwargs
) -> PendingRecord | None:
    """Return what ``read`` does, or ``None`` and a line in the log: one of many must not hide the others."""
    try:
        return read(pending_id, *args, **kwargs)
    except (StoredFormatError, SealError) as error:
        log.warning("pending %a is passed over: %s", pending_id, error)  # whoever changed it may have set the id
        return None


def seconds_kept(record: PendingRecord) -> float:
    """Return for how many seconds from now on a store keeps the record at least, by its own clock."""
    lifetime = max(0.0, (record.expires_at - record.created_at).total_seconds())
    return lifetime if record.is_settled else lifetime + KEPT_UNSETTLED.total_seconds()


def _matching(record: PendingRecord, seen: Seen) -> PendingRecord:
    """Return the record if it is what the columns beside it say; otherwise no claim on it could ever succeed."""
    if Seen.of(record) != seen:
        msg = "The stored pending session was changed: what is kept beside it contradicts it."
        raise StoredFormatError(msg)
    return record
