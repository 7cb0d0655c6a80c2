"""What the file of a run holds of a link, and how it names people without naming them."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import Final, TypeAlias

import attrs

from belvo_links.audit import lifetimes
from belvo_links.audit.findings import CheckContext
from belvo_links.protocol.models import Link
from belvo_links.redact import Secret

Value: TypeAlias = str | int | None
"""What a cell holds. Moments are whole seconds since 1970, UTC."""


class Pseudonyms:
    """Stands in for what may name a person: HMAC-SHA256 under a key, as 64 hexadecimal digits.

    Args:
        key: the key.
    """

    def __init__(self, key: Secret[bytes]) -> None:
        self._key = key

    def of(self, value: str) -> str:
        """Return what stands in for a value: always the same under the same key."""
        return hmac.digest(self._key.reveal(), value.encode("utf-8", "surrogatepass"), "sha256").hex()

    def of_optional(self, value: str | None) -> str | None:
        """Return what stands in for a value, or ``None`` where there is none."""
        return None if value is None else self.of(value)


@attrs.frozen(kw_only=True)
class LinkRow:
    """What the file of a run holds of a link: no personal data.

    Attributes:
        id: Belvo's id.
        institution: Belvo's name of the institution.
        institution_user_id: a pseudonym, see :class:`Pseudonyms`.
        external_id: a pseudonym; ``None`` where the link has none.
        status: a word of Belvo's.
        access_mode: likewise.
        refresh_rate: likewise.
        created_at: when it was created, in seconds since 1970, UTC; so are the moments below.
        last_accessed_at: the last successful access to the institution.
        credentials_storage: such as ``store``, ``nostore`` or ``30d``.
        credentials_until: when its credentials are erased; ``None`` for never, or where they are not kept at all.
        data_until: when its data are erased unless it is updated before.
    """

    id: str
    institution: str
    institution_user_id: str | None
    external_id: str | None
    status: str
    access_mode: str | None
    refresh_rate: str | None
    created_at: int
    last_accessed_at: int | None
    credentials_storage: str | None
    credentials_until: int | None
    data_until: int | None


COLUMNS: Final = tuple(field.name for field in attrs.fields(LinkRow))
"""The names of the columns, in the order of :func:`cells`."""


def cells(link: Link, context: CheckContext, pseudonyms: Pseudonyms) -> tuple[Value, ...]:
    """Return the row of a link, in the order of :data:`COLUMNS`."""
    return (
        link.id,
        link.institution,
        pseudonyms.of_optional(link.institution_user_id),
        pseudonyms.of_optional(link.external_id),
        link.status.value,
        None if link.access_mode is None else link.access_mode.value,
        None if link.refresh_rate is None else link.refresh_rate.value,
        seconds(link.created_at),
        seconds(link.last_accessed_at),
        link.credentials_storage,
        seconds(lifetimes.credentials_until(link)),
        seconds(lifetimes.data_until(link, context.data_kept)),
    )


def seconds(moment: datetime | None) -> int | None:
    """Return a moment in whole seconds since 1970."""
    return None if moment is None else int(moment.timestamp())


def moment(seconds_since_1970: int) -> datetime:
    """Return the moment of so many seconds since 1970."""
    return datetime.fromtimestamp(seconds_since_1970, UTC)
