"""Text that is not ours, assumptions that broke, and the client or a webhook used wrongly."""

from __future__ import annotations

from belvo_links.errors.root import PlainError


class StoredFormatError(PlainError):
    """The text is not a stored pending session of a version that this package reads."""


class SealError(PlainError):
    """The sealed text was changed, or belongs to another key or audience."""


class ScanAssumptionError(PlainError):
    """The listing breaks an assumption that a complete scan rests on."""


class IllegalTransitionError(PlainError):
    """The event is not allowed in this state; nothing was changed."""


class LoopMismatchError(PlainError):
    """The client is used from an event loop other than its first one."""

    advice = "Make one client per event loop."


class ClientClosedError(PlainError):
    """The client, or the HTTP session it borrowed, is closed."""

    advice = "Make a new one."


class WebhookError(PlainError):
    """A webhook was refused."""


class WebhookUnauthorizedError(WebhookError):
    """The webhook's Authorization header is missing or wrong."""


class WebhookMalformedError(WebhookError):
    """The webhook's body is not an event."""
