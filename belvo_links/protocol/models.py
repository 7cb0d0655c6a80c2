"""What the service returns: links, pages of links, acknowledgements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Final

import attrs
import msgspec

from belvo_links.wire import JsonValue, OpenStrEnum

AwareDatetime = Annotated[datetime, msgspec.Meta(tz=True)]


class AccessMode(OpenStrEnum):
    """How a link is used (documentation section 7)."""

    SINGLE = "single"
    RECURRENT = "recurrent"


class LinkStatus(OpenStrEnum):
    """What state a link is in (documentation section 8)."""

    VALID = "valid"
    INVALID = "invalid"
    UNCONFIRMED = "unconfirmed"
    TOKEN_REQUIRED = "token_required"  # noqa: S105  # a status, not a token


class RefreshRate(OpenStrEnum):
    """How often Belvo refreshes a recurrent link (documentation section 7)."""

    EVERY_6_HOURS = "6h"
    EVERY_12_HOURS = "12h"
    DAILY = "24h"
    WEEKLY = "7d"
    MONTHLY = "30d"


class Resource(OpenStrEnum):
    """What can be fetched for a link (documentation section 18.1)."""

    ACCOUNTS = "ACCOUNTS"
    OWNERS = "OWNERS"
    TRANSACTIONS = "TRANSACTIONS"
    BILLS = "BILLS"
    INVESTMENTS = "INVESTMENTS"
    INVESTMENT_TRANSACTIONS = "INVESTMENT_TRANSACTIONS"
    INCOMES = "INCOMES"
    RECURRING_EXPENSES = "RECURRING_EXPENSES"
    RISK_INSIGHTS = "RISK_INSIGHTS"
    FINANCIAL_STATEMENTS = "FINANCIAL_STATEMENTS"
    INVOICES = "INVOICES"
    TAX_COMPLIANCE_STATUS = "TAX_COMPLIANCE_STATUS"
    TAX_RETENTIONS = "TAX_RETENTIONS"
    TAX_RETURNS = "TAX_RETURNS"
    TAX_STATUS = "TAX_STATUS"
    EMPLOYMENT_RECORDS = "EMPLOYMENT_RECORDS"
    EMPLOYMENT_METRICS = "EMPLOYMENT_METRICS"
    EMPLOYMENTS = "EMPLOYMENTS"
    CURRENT_EMPLOYMENTS = "CURRENT_EMPLOYMENTS"


class Extra(Mapping[str, JsonValue]):
    """The fields of a reply that this version does not know: a read-only mapping.

    Its ``repr`` shows names only, since nobody can say what the values are.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, JsonValue] | None = None) -> None:
        self._fields = dict(fields or {})

    def __getitem__(self, name: str) -> JsonValue:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"<Extra {', '.join(sorted(self._fields)) or 'empty'}>"


NO_EXTRA: Final = Extra()


@attrs.frozen(kw_only=True)
class Link:
    """One user's stored access to one institution (documentation section 7).

    Attributes:
        id: Belvo's id, a UUID.
        institution: Belvo's name of the institution.
        status: open enum; ``valid``, ``invalid``, ``unconfirmed``, ``token_required``.
        created_at: when it was created in Belvo, UTC.
        access_mode: open enum; ``single``, ``recurrent``.
        refresh_rate: open enum; ``None`` for single links.
        created_by: the UUID of the API user that created it.
        last_accessed_at: the last successful access to the institution, UTC.
        external_id: the caller's own id; ``None`` also where Belvo saw personal data in it.
        institution_user_id: the same for all links of one user at one institution.
        credentials_storage: ``store``, ``nostore`` or a number of days such as ``30d``.
        stale_in: how long data is kept without an update, such as ``90d``.
        fetch_resources: what historical updates deliver.
        extra: fields that this version does not know; no part of equality, and left empty by ``iterate``.
    """

    id: str
    institution: str
    status: LinkStatus
    created_at: AwareDatetime
    access_mode: AccessMode | None = None
    refresh_rate: RefreshRate | None = None
    created_by: str | None = None
    last_accessed_at: AwareDatetime | None = None
    external_id: str | None = None
    institution_user_id: str | None = None
    credentials_storage: str | None = None
    stale_in: str | None = None
    fetch_resources: tuple[Resource, ...] = ()
    extra: Extra = attrs.field(default=NO_EXTRA, eq=False)


@attrs.frozen(kw_only=True)
class LinkPage:
    """One page of links (documentation section 5).

    Attributes:
        count: how many links match in all.
        next: the address of the next page, as Belvo wrote it, or ``None``.
        previous: the address of the page before, or ``None``.
        results: the links, newest first.
    """

    count: int
    next: str | None = None
    previous: str | None = None
    results: tuple[Link, ...]


@attrs.frozen(kw_only=True)
class UnreadableLink:
    """A record of a page that is no :class:`Link`.

    Attributes:
        id: its id, ``None`` where even that cannot be read.
        problems: what is wrong with it: paths and reasons, never a value.
    """

    id: str | None
    problems: tuple[str, ...]


@attrs.frozen(kw_only=True)
class RecordPage:
    """One page of links of which some may be unreadable.

    Attributes:
        count: how many links match in all.
        records: links, newest first, and in their places the records that cannot be read.
        moments: when each was created, as far as that can be told; otherwise that of a neighbour.
        ids: of each; for one that has none, a name that stays the same.
    """

    count: int
    records: tuple[Link | UnreadableLink, ...]
    moments: tuple[datetime, ...]
    ids: tuple[str, ...]


@attrs.frozen(kw_only=True)
class PartialPage:
    """One page of parts of links, as asked for with ``fields`` or ``omit``.

    Attributes:
        count: how many links match in all.
        next: the address of the next page, as Belvo wrote it, or ``None``.
        previous: the address of the page before, or ``None``.
        results: plain mappings, since a part of a link is no :class:`Link`.
    """

    count: int
    next: str | None = None
    previous: str | None = None
    results: tuple[Mapping[str, JsonValue], ...]


@attrs.frozen(kw_only=True)
class Accepted:
    """Belvo has accepted work that it finishes later (documentation section 12).

    Attributes:
        link_id: the link it is about.
        request_id: repeated by the webhook that tells the end; ``None`` where the reply was lost and the deletion
            was found done.
    """

    link_id: str
    request_id: str | None
