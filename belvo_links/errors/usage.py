"""Text that is not ours, assumptions that broke, and the client or a webhook used wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from belvo_links.errors.root import BelvoLinksError, PlainError


class StoredFormatError(PlainError):
    """The text is not a stored pending session of a version that this package reads."""


class SealReason(StrEnum):
    """Why sealed text was refused."""

    CHANGED = "changed"
    """It was cut or changed after it was sealed."""
    NOT_SEALED = "not_sealed"
    """It is no sealed text at all, or lacks its beginning."""
    NO_KEYS = "no_keys"
    """It is sealed, and no keys were given."""
    UNKNOWN_KEY = "unknown_key"
    """None of the keys sealed it, or one did for another purpose: a store's text is no cookie."""
    UNKNOWN_VERSION = "unknown_version"
    """A version of this package that this one does not know has sealed it."""
    OTHER_AUDIENCE = "other_audience"
    """It was sealed for another audience."""
    OTHER_RECORD = "other_record"
    """It is the sealed form of another record than the one it was kept for."""
    EXPIRED = "expired"
    """It is genuine, but the time to use it is over."""


_WHY_SEALED_TEXT_FAILS: Final[Mapping[SealReason, str]] = {
    SealReason.CHANGED: "The sealed text was cut or changed.",
    SealReason.NOT_SEALED: "The text is not sealed, or its beginning is missing.",
    SealReason.NO_KEYS: "The text is sealed; give `keys=`.",
    SealReason.UNKNOWN_KEY: (
        "The text was sealed with a key that is not among those given, or for another purpose. "
        "Keep an old key behind the new one."
    ),
    SealReason.UNKNOWN_VERSION: "The text was sealed by a version of this package that this one does not know.",
    SealReason.OTHER_AUDIENCE: "The text was sealed for another audience.",
    SealReason.OTHER_RECORD: "The text is the sealed form of another pending session.",
    SealReason.EXPIRED: "The sealed text is genuine, but the time to use it is over; start again.",
}


class SealError(BelvoLinksError):
    """Sealed text was refused.

    Attributes:
        reason: a :class:`SealReason`.
        pending_id: the id of the pending session in it where that is certain: ``expired``, ``other_record``.
    """

    def __init__(self, reason: SealReason, *, pending_id: str | None = None) -> None:
        super().__init__()
        self.reason = reason
        self.pending_id = pending_id

    def describe(self) -> str:
        """Say which of the reasons it is."""
        return _WHY_SEALED_TEXT_FAILS[self.reason]

    def details(self) -> Sequence[str]:
        """Return our id of the pending session, where that is certain."""
        return [f"pending {self.pending_id}"] if self.pending_id else []


class ScanAssumptionError(PlainError):
    """The listing breaks an assumption that a complete scan rests on."""


class JournalError(PlainError):
    """The journal of a bulk action cannot be used; nothing more was sent."""


class RunFileError(PlainError):
    """The file of an audit's run cannot be used."""


class IllegalTransitionError(PlainError):
    """The event is not allowed in this state; nothing was changed."""


class LoopMismatchError(PlainError):
    """The client is used from an event loop other than its first one."""

    advice = "Make one client per event loop."


class ClientClosedError(PlainError):
    """The client, or the HTTP session it borrowed, is closed."""

    advice = "Make a new one."


class UndrawableQrError(PlainError):
    """The QR code cannot be drawn."""

    advice = "Save its image as a file, or show its text."


class WebhookError(PlainError):
    """A webhook was refused."""


class WebhookUnauthorizedError(WebhookError):
    """The webhook's Authorization header is missing or wrong."""


class WebhookMalformedError(WebhookError):
    """The webhook's body is not an event.

    Attributes:
        problems: where the body differs, as JSON paths with a reason, never with a value; empty where it was not read
            because of its size.
    """

    def __init__(self, what: str = "", *, problems: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.problems = tuple(problems)

    def details(self) -> Sequence[str]:
        """Return what does not fit."""
        return self.problems
