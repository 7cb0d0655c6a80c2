"""What the state of a pending session means for somebody who wants to submit to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from belvo_links.errors import (
    AlreadyClaimedError,
    AlreadySettledError,
    IndeterminateOutcomeError,
    MfaError,
    PoolTimeoutError,
    SessionExpiredError,
)
from belvo_links.protocol import operations
from belvo_links.protocol.mfa import PendingRecord, PendingState

if TYPE_CHECKING:
    from belvo_links.client.pending import PendingSession


def refusal(record: PendingRecord, pending: PendingSession) -> MfaError:
    """Return the error for a record that does not await an answer, or awaits one to another round.

    Args:
        record: as it is now.
        pending: the handle that the error carries.
    """
    request_id = record.request_ids[-1] if record.request_ids else None
    match record.state:
        case PendingState.EXPIRED:
            return SessionExpiredError(pending=pending, request_id=request_id)
        case PendingState.INDETERMINATE:
            return IndeterminateOutcomeError(pending=pending, request_id=request_id)
        case PendingState.LINKED | PendingState.FAILED | PendingState.CANCELLED:
            return AlreadySettledError(
                pending=pending, state=str(record.state), link_id=record.link_id, request_id=request_id
            )
        case _:
            return AlreadyClaimedError(pending=pending, request_id=request_id)


def out_of_time(reason: str) -> PoolTimeoutError:
    """Return the error for a submission whose turn did not come in time: nothing was claimed and nothing sent."""
    return PoolTimeoutError(method="PATCH", path=operations.LINKS, reason=reason)
