"""The life of a login that waits for a second factor, as one table.

A **pending record** is born with the first 428 of a login. It is *awaiting* a token. Somebody claims it, which makes it
*submitting*; the reply, or the lack of one, moves it on. Five kinds of events move it:

* what a caller does: :class:`Submitted`, :class:`Cancelled`;
* what the service replies: :class:`Linked`, :class:`ChallengedAgain`, :class:`Refused`, :class:`SessionOver`,
  :class:`Rejected`;
* what the network does: :class:`NotSent`, :class:`ReplyLost`;
* what time does: :class:`DeadlinePassed`, :class:`LeaseRanOut`;
* what a look at the link proves after a lost reply: :class:`ProvedLinked`, :class:`ProvedExpired`,
  :class:`ProvedFailed`, :class:`PutBack`.

A reply belongs to one claim: it moves the record only while that claim is the record's last one, be it that the record
is still submitting or, the reply being late, indeterminate. The token itself is never part of a record or an event.

Everything that can change a record's state is in this file, and every change is a row of :data:`TRANSITIONS`. A pair
that has no row is illegal: :func:`advance` raises and changes nothing. The diagram in the documentation, the tests and
the error's text are made from the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import attrs

from belvo_links.errors import IllegalTransitionError, MalformedChallengeError
from belvo_links.protocol import checks
from belvo_links.protocol.challenge import DEFAULT_EXPIRY, TokenRequired
from belvo_links.protocol.models import Link
from belvo_links.protocol.record import SETTLED, Baseline, PendingRecord, PendingState
from belvo_links.wire import JsonValue

__all__ = [
    "GUARDS",
    "NOSTORE_LIFETIME",
    "SETTLED",
    "TRANSITIONS",
    "Baseline",
    "Cancelled",
    "ChallengedAgain",
    "DeadlinePassed",
    "Event",
    "LeaseRanOut",
    "Linked",
    "NotSent",
    "PendingRecord",
    "PendingState",
    "ProvedExpired",
    "ProvedFailed",
    "ProvedLinked",
    "PutBack",
    "Refused",
    "Rejected",
    "Reply",
    "ReplyLost",
    "SessionOver",
    "State",
    "Submitted",
    "advance",
    "begin",
    "later",
    "restored",
    "with_baseline",
]

NOSTORE_LIFETIME: Final = timedelta(minutes=15)
"""How long Belvo keeps the credentials of a ``nostore`` link that waits for a token (documentation section 10.3)."""

State: TypeAlias = PendingState

# ------------------------------------------------------------------------------------------------------- events


@attrs.frozen(kw_only=True)
class Submitted:
    """Somebody claims the round, with or without a token."""

    claim: str
    token_sent: bool


@attrs.frozen(kw_only=True)
class Cancelled:
    """The caller gives up."""


@attrs.frozen(kw_only=True)
class Linked:
    """Reply: success."""

    claim: str
    link_id: str | None = None


@attrs.frozen(kw_only=True)
class ChallengedAgain:
    """Reply: a new challenge, after a wrong token or as the next of a chain."""

    claim: str
    asked: TokenRequired


@attrs.frozen(kw_only=True)
class Refused:
    """Reply: refused without consuming the round."""

    claim: str
    request_id: str | None = None


@attrs.frozen(kw_only=True)
class SessionOver:
    """Reply: Belvo's session has expired."""

    claim: str
    request_id: str | None = None


@attrs.frozen(kw_only=True)
class Rejected:
    """Reply: refused for good."""

    claim: str
    request_id: str | None = None


@attrs.frozen(kw_only=True)
class NotSent:
    """Network: nothing was sent."""

    claim: str


@attrs.frozen(kw_only=True)
class ReplyLost:
    """Network: it was sent, and whatever came back says nothing definite."""

    claim: str
    request_id: str | None = None


@attrs.frozen(kw_only=True)
class LeaseRanOut:
    """Time: whoever claimed the round has not come back."""


@attrs.frozen(kw_only=True)
class DeadlinePassed:
    """Time: the challenge can no longer be answered."""


@attrs.frozen(kw_only=True)
class ProvedLinked:
    """A look at the link: the login succeeded."""


@attrs.frozen(kw_only=True)
class ProvedExpired:
    """A look at the link: it was never confirmed, and the time is over."""


@attrs.frozen(kw_only=True)
class ProvedFailed:
    """A look at the link: there is none."""


@attrs.frozen(kw_only=True)
class PutBack:
    """A look at the link shows no success, and no token was sent: the round may be submitted again."""


Reply: TypeAlias = Linked | ChallengedAgain | Refused | SessionOver | Rejected | NotSent | ReplyLost
Event: TypeAlias = (
    Submitted | Cancelled | Reply | LeaseRanOut | DeadlinePassed | ProvedLinked | ProvedExpired | ProvedFailed | PutBack
)

TRANSITIONS: Final[Mapping[tuple[State, type[Event]], State]] = {
    (State.AWAITING, Submitted): State.SUBMITTING,
    (State.AWAITING, DeadlinePassed): State.EXPIRED,
    (State.AWAITING, Cancelled): State.CANCELLED,
    (State.SUBMITTING, Linked): State.LINKED,
    (State.SUBMITTING, ChallengedAgain): State.AWAITING,
    (State.SUBMITTING, Refused): State.AWAITING,
    (State.SUBMITTING, NotSent): State.AWAITING,
    (State.SUBMITTING, SessionOver): State.EXPIRED,
    (State.SUBMITTING, Rejected): State.FAILED,
    (State.SUBMITTING, ReplyLost): State.INDETERMINATE,
    (State.SUBMITTING, LeaseRanOut): State.INDETERMINATE,
    (State.INDETERMINATE, Linked): State.LINKED,
    (State.INDETERMINATE, ChallengedAgain): State.AWAITING,
    (State.INDETERMINATE, Refused): State.AWAITING,
    (State.INDETERMINATE, NotSent): State.AWAITING,
    (State.INDETERMINATE, SessionOver): State.EXPIRED,
    (State.INDETERMINATE, Rejected): State.FAILED,
    (State.INDETERMINATE, ProvedLinked): State.LINKED,
    (State.INDETERMINATE, ProvedExpired): State.EXPIRED,
    (State.INDETERMINATE, ProvedFailed): State.FAILED,
    (State.INDETERMINATE, PutBack): State.AWAITING,
}


def _in_time(record: PendingRecord, _: Event, now: datetime) -> bool:
    return now < record.expires_at


def _too_late(record: PendingRecord, _: Event, now: datetime) -> bool:
    return now >= record.expires_at


def _no_token_sent(record: PendingRecord, _: Event, __: datetime) -> bool:
    return not record.token_sent


def _own_claim(record: PendingRecord, event: Event, _: datetime) -> bool:
    return getattr(event, "claim", None) == record.claim is not None


GUARDS: Final[Mapping[type[Event], Callable[[PendingRecord, Event, datetime], bool]]] = {
    Submitted: _in_time,
    DeadlinePassed: _too_late,
    ProvedExpired: _too_late,
    PutBack: _no_token_sent,
    Linked: _own_claim,
    ChallengedAgain: _own_claim,
    Refused: _own_claim,
    NotSent: _own_claim,
    SessionOver: _own_claim,
    Rejected: _own_claim,
    ReplyLost: _own_claim,
}
"""What must hold beside the row, so that an event cannot come too early, too late, or from somebody else."""


def begin(
    asked: TokenRequired,
    *,
    id: str,  # noqa: A002  # the record's attribute
    operation: str,
    origin: str,
    account: str,
    now: datetime,
    link_id: str | None = None,
    correlation: JsonValue = None,
    requested: Mapping[str, JsonValue] | None = None,
    nostore: bool = False,
    named: bool = False,
) -> PendingRecord:
    """Return the record of a login that has just met its first challenge.

    Args:
        asked: the 428.
        id: a fresh identifier of at least 128 random bits.
        operation: the call that met the challenge.
        origin: the address of the service.
        account: a digest of the API key's id.
        now: the time, aware UTC.
        link_id: the link that was called, where the 428 names none.
        correlation: the caller's own JSON value.
        requested: what ``patch`` asked for.
        nostore: whether the credentials are not stored, which bounds the time to 15 minutes.
        named: whether the caller gave an ``external_id``.

    Raises:
        MalformedChallengeError: the 428 lacks the session, or names no link where none was called.
    """
    about = asked.link_id or link_id
    missing = [f"$.{name}: missing" for name, value in (("session", asked.session), ("link", about)) if value is None]
    if missing or about is None:
        raise MalformedChallengeError(problems=missing, request_id=asked.request_id)
    limited_until = now + NOSTORE_LIFETIME if nostore else None
    return PendingRecord(
        id=id,
        operation=operation,
        link_id=about,
        origin=origin,
        account=account,
        created_at=now,
        expires_at=_deadline(asked, now, limited_until),
        session=asked.session,
        challenge=asked.challenge,
        limited_until=limited_until,
        correlation=correlation,
        request_ids=_with_id((), asked.request_id),
        requested=requested,
        named=named,
    )


def with_baseline(record: PendingRecord, link: Link) -> PendingRecord:
    """Return the record with what the link was like; a ``nostore`` link also bounds the time to 15 minutes."""
    limited_until = record.limited_until
    if link.credentials_storage == "nostore" and limited_until is None:
        limited_until = record.created_at + NOSTORE_LIFETIME
    return attrs.evolve(
        record,
        baseline=Baseline.of(link),
        limited_until=limited_until,
        expires_at=record.expires_at if limited_until is None else min(record.expires_at, limited_until),
        revision=record.revision + 1,
    )


def advance(record: PendingRecord, event: Event, *, now: datetime) -> PendingRecord:
    """Return the record after an event.

    Args:
        record: what is; it is not changed.
        event: what has happened.
        now: the time, aware UTC.

    Raises:
        IllegalTransitionError: the table has no row for it, or its guard forbids it.
    """
    target = TRANSITIONS.get((record.state, type(event)))
    guard = GUARDS.get(type(event))
    if target is None or (guard is not None and not guard(record, event, now)):
        why = "is not allowed" if target is None else "does not apply"
        msg = f"{type(event).__name__} {why} in state {record.state}."
        raise IllegalTransitionError(msg)
    moved = attrs.evolve(_changed(record, event, now), state=target, revision=record.revision + 1)
    return attrs.evolve(moved, session=None, challenge=None) if moved.is_settled else moved


def _changed(record: PendingRecord, event: Event, now: datetime) -> PendingRecord:
    """Return the record with what the event itself brings."""
    match event:
        case Submitted(claim=claim, token_sent=token_sent):
            return attrs.evolve(record, claim=claim, token_sent=token_sent)
        case Linked(link_id=link_id):
            # The reader of replies takes any text for an id; a record does not.
            return attrs.evolve(record, link_id=link_id if checks.is_uuid(link_id) else record.link_id)
        case ChallengedAgain(asked=asked):
            return _next_round(record, asked, now)
        case Refused() | SessionOver() | Rejected() | ReplyLost():
            return attrs.evolve(record, request_ids=_with_id(record.request_ids, event.request_id))
        case _:
            return record


def _next_round(record: PendingRecord, asked: TokenRequired, now: datetime) -> PendingRecord:
    """Return the record with a new challenge; a session that the reply does not name stays as it was."""
    return attrs.evolve(
        record,
        round=record.round + 1,
        session=asked.session or record.session,
        link_id=asked.link_id or record.link_id,
        challenge=asked.challenge,
        expires_at=_deadline(asked, now, record.limited_until),
        request_ids=_with_id(record.request_ids, asked.request_id),
    )


def _deadline(asked: TokenRequired, now: datetime, limited_until: datetime | None) -> datetime:
    deadline = now + (DEFAULT_EXPIRY if asked.expiry is None else asked.expiry)
    return deadline if limited_until is None else min(deadline, limited_until)


def _with_id(request_ids: tuple[str, ...], request_id: str | None) -> tuple[str, ...]:
    return request_ids if request_id is None else (*request_ids, request_id)


def later(stored: PendingRecord, mine: PendingRecord) -> PendingRecord:
    """Return which of two versions of one record counts: a settled one always, else the later round, else the stored.

    Args:
        stored: what the store has.
        mine: what a caller brings back, such as a restored text or a challenge that could not be recorded.
    """
    if stored.is_settled:
        return stored
    return mine if mine.is_settled or mine.round > stored.round else stored


def restored(record: PendingRecord) -> PendingRecord:
    """Return a record that comes back from text: one that was being submitted is indeterminate, nobody waits for it."""
    if record.state is not State.SUBMITTING:
        return record
    return attrs.evolve(record, state=TRANSITIONS[State.SUBMITTING, LeaseRanOut])
