"""A pending session as sealed text: for a cookie or a form, when the place it is kept in is not to be trusted."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from belvo_links.errors import SealError, SealReason
from belvo_links.protocol import checks, packed
from belvo_links.protocol.mfa import PendingRecord, PendingState
from belvo_links.stores import Seal
from belvo_links.stores.base import KEPT_UNSETTLED

PURPOSE: Final = "session"
"""What keys are derived for, so that a store's text is not accepted here, nor the other way round."""

LONGEST: Final = 64 * 1024
"""Characters: whatever is longer is refused unread, since it may come from anybody."""

_AUDIENCE_BYTES: Final = 16


def seal(record: PendingRecord, keys: Sequence[str], audience: str | None) -> str:
    """Return the record as sealed text, without QR data.

    Raises:
        ValueError, TypeError: the keys are not keys, the audience is empty or no text, or what is asked for is too
            long to be sealed.
    """
    content = bytes([packed.VERSION]) + _digest(audience) + packed.pack(record)
    text = Seal(keys, purpose=PURPOSE).close(content)
    if len(text) > LONGEST:
        msg = "seal: the texts of this challenge are too long to be sealed; keep the session in a store"
        raise ValueError(msg)
    return text


def unseal(text: str, keys: Sequence[str], audience: str | None, *, now: datetime) -> PendingRecord:
    """Return the record that :func:`seal` sealed for this audience.

    Args:
        text: the sealed text; it may come from anywhere.
        keys: one of them has sealed it.
        audience: whom it was sealed for.
        now: the time, aware UTC.

    Raises:
        SealError: it is no sealed text, was changed, is for another audience, of another key or version, or too old.
        ValueError, TypeError: the keys are not keys, or the audience is empty or no text.
    """
    wanted = _digest(audience)
    opener = Seal(keys, purpose=PURPOSE)
    given: object = text  # a missing cookie: whoever calls has not always been type-checked
    if isinstance(given, str) and len(given) > LONGEST:
        raise SealError(SealReason.NOT_SEALED)
    content = opener.open(text)
    if content[:1] != bytes([packed.VERSION]):
        raise SealError(SealReason.UNKNOWN_VERSION)
    if not hmac.compare_digest(content[1 : 1 + _AUDIENCE_BYTES], wanted):
        raise SealError(SealReason.OTHER_AUDIENCE)
    record = packed.unpack(content[1 + _AUDIENCE_BYTES :])
    # After its deadline only an outcome that nobody knew can still be found out, as long as a store would keep it.
    useful = timedelta() if record.state is PendingState.AWAITING else KEPT_UNSETTLED
    if now - record.expires_at >= useful:
        raise SealError(SealReason.EXPIRED, pending_id=record.id)
    return record


def _digest(audience: str | None) -> bytes:
    """Return what stands for the audience in the sealed text; nobody in particular is an audience too."""
    if audience is None:
        return bytes(_AUDIENCE_BYTES)
    if not checks.text("audience", audience):
        msg = "audience: give the id of your user, or leave it out"
        raise ValueError(msg)
    return hashlib.sha256(audience.encode("utf-8")).digest()[:_AUDIENCE_BYTES]
