"""A login that waits for a second factor, as data: what is stored of it, and nothing that changes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

import attrs

from belvo_links.protocol.challenge import Challenge
from belvo_links.protocol.models import Link
from belvo_links.redact import Secret
from belvo_links.wire import JsonValue


class PendingState(StrEnum):
    """Where a pending session stands."""

    AWAITING = "awaiting"
    """A token may be submitted."""
    SUBMITTING = "submitting"
    """Somebody has claimed this round and may have sent the token."""
    INDETERMINATE = "indeterminate"
    """The token was sent and no reply came; it is never sent again."""
    LINKED = "linked"
    EXPIRED = "expired"
    FAILED = "failed"
    CANCELLED = "cancelled"


SETTLED: Final = frozenset({PendingState.LINKED, PendingState.EXPIRED, PendingState.FAILED, PendingState.CANCELLED})
"""States that are never left. Reaching one erases Belvo's session and the challenge."""


@attrs.frozen(kw_only=True)
class Baseline:
    """What the link was like when the challenge came: what a later look is compared with."""

    status: str
    access_mode: str | None = None
    stale_in: str | None = None
    credentials_storage: str | None = None
    last_accessed_at: datetime | None = None
    fetch_resources: tuple[str, ...] = ()

    @classmethod
    def of(cls, link: Link) -> Baseline:
        """Return what matters of a link."""
        return cls(
            status=str(link.status),
            access_mode=None if link.access_mode is None else str(link.access_mode),
            stale_in=link.stale_in,
            credentials_storage=link.credentials_storage,
            last_accessed_at=link.last_accessed_at,
            fetch_resources=tuple(str(resource) for resource in link.fetch_resources),
        )


@attrs.frozen(kw_only=True)
class PendingRecord:
    """What is stored of a login that waits: frozen data, never a credential, never a token.

    Attributes:
        id: ours; the same over all rounds.
        operation: the call that met the challenge.
        link_id: the link it is about.
        origin: the address of the service.
        account: a digest of the API key's id.
        state: where it stands.
        round: which challenge this is, from 1.
        revision: counts the changes; a store replaces exactly the revision that it was shown.
        session: Belvo's session, needed to continue; erased when settled.
        challenge: what is asked for; erased when settled.
        created_at: when the first challenge came, UTC.
        expires_at: until when this round can be answered, UTC.
        limited_until: a bound that no later round extends (``nostore``).
        correlation: the caller's own JSON value.
        request_ids: of every reply so far.
        claim: who submits, or submitted last; a reply counts only for its own claim.
        token_sent: whether that submission carries a token.
        baseline: what the link was like before, where the operation needs it as proof.
        requested: what ``patch`` asked for, as proof.
        named: whether the caller gave an ``external_id``.
    """

    id: str
    operation: str
    link_id: str
    origin: str
    account: str
    created_at: datetime
    expires_at: datetime
    state: PendingState = PendingState.AWAITING
    round: int = 1
    revision: int = 0
    session: Secret[str] | None = None
    challenge: Challenge | None = None
    limited_until: datetime | None = None
    correlation: JsonValue = attrs.field(default=None, repr=False)
    request_ids: tuple[str, ...] = attrs.field(default=(), repr=False)
    claim: str | None = None
    token_sent: bool = False
    baseline: Baseline | None = None
    requested: Mapping[str, JsonValue] | None = None
    named: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether it has reached a state that is never left."""
        return self.state in SETTLED
