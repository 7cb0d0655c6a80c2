"""What the reply to a submission means for the pending session; and what a look at the link proves after a lost one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from belvo_links.errors import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    BelvoLinksError,
    ClientClosedError,
    ConnectError,
    MalformedChallengeError,
    PermissionDeniedError,
    PoolTimeoutError,
    RateLimitedError,
    RequestTimeoutError,
    TooManySessionsError,
    UnexpectedResponseError,
)
from belvo_links.protocol.challenge import TokenRequired
from belvo_links.protocol.mfa import (
    Baseline,
    ChallengedAgain,
    Event,
    Linked,
    NotSent,
    PendingRecord,
    ProvedExpired,
    ProvedFailed,
    ProvedLinked,
    PutBack,
    Refused,
    Rejected,
    Reply,
    ReplyLost,
    SessionOver,
)
from belvo_links.protocol.models import AccessMode, Link, LinkStatus

_CLIENT_ERRORS: Final = range(400, 500)
_LEFT_THE_ROUND: Final = (TooManySessionsError, AuthenticationError, PermissionDeniedError, RateLimitedError)
_NOTHING_SENT: Final = (ConnectError, PoolTimeoutError, ClientClosedError)


def verdict(outcome: Link | TokenRequired | BelvoLinksError, *, claim: str) -> Reply:
    """Return the event that the outcome of a Complete stands for.

    Args:
        outcome: what the call returned or raised.
        claim: the claim under which it was made.
    """
    if isinstance(outcome, Link):
        return Linked(claim=claim, link_id=outcome.id)
    if isinstance(outcome, TokenRequired):
        return ChallengedAgain(claim=claim, asked=outcome)
    if isinstance(outcome, _NOTHING_SENT):
        return NotSent(claim=claim)
    request_id = getattr(outcome, "request_id", None)
    kind = _kind(outcome)
    return kind(claim=claim, request_id=request_id)


def _kind(error: BelvoLinksError) -> type[Refused | SessionOver | Rejected | ReplyLost]:
    if isinstance(error, MalformedChallengeError | RequestTimeoutError):
        return ReplyLost
    if not isinstance(error, ApiError | UnexpectedResponseError) or error.status not in _CLIENT_ERRORS:
        return ReplyLost
    if isinstance(error, BadRequestError):
        if "session_expired" in {error.code, *(item.code for item in error.errors)}:
            return SessionOver
        if "token" in {error.field, *(item.field for item in error.errors)}:
            return Refused
    return Refused if isinstance(error, _LEFT_THE_ROUND) else Rejected


def proof(record: PendingRecord, found: Link | None, *, now: datetime) -> Event | None:
    """Return the event that a look at the link stands for, or ``None`` where it proves nothing.

    Args:
        record: an indeterminate record.
        found: the link as it is now; ``None`` where there is none (404).
        now: the time, aware UTC.
    """
    registering = record.operation == "register"
    if found is None and registering:
        return ProvedFailed()
    if found is not None and _succeeded(record, found):
        return ProvedLinked()
    unconfirmed = found is not None and found.status == LinkStatus.UNCONFIRMED
    if registering and unconfirmed and now >= record.expires_at:
        return ProvedExpired()
    return None if record.token_sent else PutBack()


def _succeeded(record: PendingRecord, found: Link) -> bool:
    valid = found.status == LinkStatus.VALID
    if record.operation == "register":
        return valid
    before = record.baseline
    if before is None:
        return False
    if valid and before.status != LinkStatus.VALID:
        return True
    return _was_patched(record.requested, before, found) or _was_accessed(before, found)


def _was_patched(requested: Mapping[str, object] | None, before: Baseline, found: Link) -> bool:
    """Return whether what was asked for did not hold before and holds now."""
    if not requested:
        return False
    now = Baseline.of(found)
    return all(_holds(now, name, value) for name, value in requested.items()) and not all(
        _holds(before, name, value) for name, value in requested.items()
    )


def _holds(link: Baseline, name: str, value: object) -> bool:
    return _plain(getattr(link, name, ...)) == _plain(value)  # ... equals nothing that can be asked for


def _plain(value: object) -> object:
    """Return a value in a form that can be compared: the order of resources means nothing."""
    return sorted(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _was_accessed(before: Baseline, found: Link) -> bool:
    """Return whether a single link was accessed since; a recurrent one is accessed by its schedule too."""
    single = before.access_mode == AccessMode.SINGLE and found.access_mode == AccessMode.SINGLE
    moved = found.last_accessed_at is not None and (
        before.last_accessed_at is None or found.last_accessed_at > before.last_accessed_at
    )
    return single and moved
