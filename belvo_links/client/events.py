"""What an observer is told of a pending session: facts about the record, and nothing that is secret in it."""

from __future__ import annotations

from belvo_links.errors.root import shown_name
from belvo_links.protocol.challenge import ChallengeKind
from belvo_links.protocol.record import PendingRecord
from belvo_links.redact import MASK
from belvo_links.transport.observe import OPERATIONS, OTHER, Challenged, Claimed, Settled


def challenged(record: PendingRecord) -> Challenged:
    """Return the event of the challenge that the record now awaits an answer to."""
    challenge = record.challenge
    return Challenged(
        pending_id=_id(record),
        operation=_operation(record),
        round=record.round,
        kind=None if challenge is None else _kind(challenge.kind),
        expects_user_input=challenge is None or challenge.expects_user_input,
        request_id=shown_name(next(reversed(record.request_ids), None)),
    )


def claimed(record: PendingRecord, *, round: int, won: bool) -> Claimed:  # noqa: A002  # the event's attribute
    """Return the event of a submission that wanted to take a round of the record."""
    return Claimed(pending_id=_id(record), operation=_operation(record), round=round, won=won)


def settled(before: PendingRecord, now: PendingRecord, *, recorded: bool = True) -> Settled:
    """Return the event of a record that has changed its state."""
    return Settled(
        pending_id=_id(now),
        operation=_operation(now),
        round=now.round,
        before=str(before.state),
        state=str(now.state),
        recorded=recorded,
    )


def _id(record: PendingRecord) -> str:
    return shown_name(record.id) or MASK  # a record may be restored from text that somebody else has written


def _operation(record: PendingRecord) -> str:
    return record.operation if record.operation in OPERATIONS else OTHER


def _kind(kind: ChallengeKind | None) -> str | None:
    return None if kind is None else str(kind) if kind.is_known else OTHER
