"""What becomes of one call of a bulk action: decided here, without effects."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Final

import attrs

from belvo_links.errors import (
    ApiError,
    AuthenticationError,
    BelvoLinksError,
    ConnectError,
    NotFoundError,
    PoolTimeoutError,
    RateLimitedError,
    RefreshCooldownError,
    UnexpectedResponseError,
)
from belvo_links.errors.root import shown_name
from belvo_links.transport.retry import MAYBE_DONE, classify


class Kind(StrEnum):
    """What a plan does with its links."""

    REFRESH = "refresh"
    DELETE = "delete"
    PATCH = "patch"


class Outcome(StrEnum):
    """What became of one link of a plan."""

    DONE = "done"
    """Carried out, or accepted where Belvo finishes it later."""
    SKIPPED = "skipped"
    """There was nothing to do now; ``reason`` says why."""
    FAILED = "failed"
    """Refused or not sent; ``error`` and ``code`` say why. Nothing was done."""
    WAITING = "waiting"
    """The institution asks for a second factor; ``pending_id`` is the session that waits for it."""
    UNKNOWN = "unknown"
    """Begun, and nobody knows whether it was carried out: look at the link."""


COOLDOWN: Final = "refreshed less than ten minutes ago"
GONE: Final = "there is no such link any more"
INTERRUPTED: Final = "the process ended before the reply"
CANCELLED: Final = "cancelled before the reply"

NOT_MADE: Final = (AuthenticationError, ConnectError, PoolTimeoutError, RateLimitedError)
"""Failures that say nothing about a link: nothing was done, and a run that is continued makes these calls again."""

_NOT_MADE_NAMES: Final = frozenset(kind.__name__ for kind in NOT_MADE)


@attrs.frozen(kw_only=True)
class LinkResult:
    """What became of one link of a plan.

    Attributes:
        link_id: the link.
        outcome: an :class:`Outcome`.
        request_id: Belvo's id of the request, where the reply names one; a webhook repeats that of accepted work.
        reason: why it was skipped, or why its outcome is unknown; one of a few fixed sentences.
        error: the class of the error, such as ``InvalidLinkError``.
        code: Belvo's code of it.
        retry_after: how long to wait before the call may succeed, where that is known.
        pending_id: the ``id`` of the pending session that waits for a token.
    """

    link_id: str
    outcome: Outcome
    request_id: str | None = None
    reason: str | None = None
    error: str | None = None
    code: str | None = None
    retry_after: timedelta | None = None
    pending_id: str | None = None


def judge(kind: Kind, link_id: str, error: BelvoLinksError, *, repeated: bool) -> LinkResult:
    """Return the result of a call that ended with an error.

    Args:
        kind: what was to be done.
        link_id: with which link.
        error: what the call ended with.
        repeated: whether an earlier run had called for this link, so that it may have been done before.
    """
    outcome, reason = _judged(kind, error, repeated=repeated)
    if outcome is Outcome.DONE:
        return LinkResult(link_id=link_id, outcome=outcome)
    api = error if isinstance(error, ApiError) else None
    request_id = getattr(error, "request_id", None)
    return LinkResult(
        link_id=link_id,
        outcome=outcome,
        request_id=shown_name(request_id if isinstance(request_id, str) else None),
        reason=reason,
        error=type(error).__name__,
        code=None if api is None else shown_name(api.code),
        retry_after=None if api is None else api.retry_after,
    )


def _judged(kind: Kind, error: BelvoLinksError, *, repeated: bool) -> tuple[Outcome, str | None]:
    if isinstance(error, NotFoundError) and kind is Kind.DELETE:
        return (Outcome.DONE, None) if repeated else (Outcome.SKIPPED, GONE)
    if isinstance(error, RefreshCooldownError) and kind is Kind.REFRESH:
        return Outcome.SKIPPED, COOLDOWN
    # A success that cannot be read is a success, of which we know nothing.
    unread = isinstance(error, UnexpectedResponseError) and 200 <= error.status < 300
    return (Outcome.UNKNOWN if unread or classify(error) in MAYBE_DONE else Outcome.FAILED), None


def is_left(kind: Kind, result: LinkResult | None) -> bool:
    """Return whether a run that is continued has to call for a link.

    A deletion of unknown outcome is made again, since a second one changes nothing. A refresh or a patch is not: it may
    be billed twice, or log in twice.

    Args:
        kind: what is to be done.
        result: what the journal has on the link, if anything.
    """
    if result is None:
        return True
    if result.outcome is Outcome.UNKNOWN:
        return kind is Kind.DELETE
    return result.outcome is Outcome.FAILED and result.error in _NOT_MADE_NAMES
