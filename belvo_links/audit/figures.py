"""The figures of an audit: what is counted for the report, and into which classes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import attrs

from belvo_links.audit.findings import Severity
from belvo_links.wire import JsonValue

AGE_DAYS: Final = (1, 7, 30, 90, 365)
"""Upper ends, in days, of the classes of time since the last access; there is one more without an end."""

WEEKS: Final = 26
"""How many weeks ahead it is counted what runs out."""

WORST_FIRST: Final = tuple(sorted(Severity, key=lambda severity: -severity.rank))
"""The severities in the order in which findings are listed."""

SHOWN: Final = 2000
"""How many findings a report holds itself; the data files have all."""

INSTITUTIONS: Final = 200
"""How many institutions the report tells apart: their names come from outside."""


@attrs.frozen(kw_only=True)
class Institution:
    """The links at one institution.

    Attributes:
        name: Belvo's name of it.
        links: how many, by status.
        findings: how many findings there are about them.
    """

    name: str
    links: Mapping[str, int]
    findings: int

    @property
    def total(self) -> int:
        """How many links in all."""
        return sum(self.links.values())


@attrs.frozen(kw_only=True)
class CheckCount:
    """How often a check has found something of one severity."""

    check: str
    severity: Severity
    findings: int


@attrs.frozen(kw_only=True)
class RunningOut:
    """How many links lose something, and when.

    Attributes:
        past: so many have lost it.
        weeks: how many will, by week from the moment of the audit.
        later: how many will after those weeks.
        never: how many will not, or nobody can say.
    """

    past: int
    weeks: tuple[int, ...]
    later: int
    never: int


@attrs.frozen(kw_only=True)
class Figures:
    """What is counted over all links and findings.

    Attributes:
        links: how many links were read.
        unreadable: how many records could not be read.
        concerned: how many links have a finding of severity medium or high.
        statuses: links by status, most first.
        institutions: the largest, by institution, most links first; at most :data:`INSTITUTIONS`.
        other_institutions: how many links the institutions have that are not among them.
        severities: findings by severity, worst first; all severities are there.
        checks: findings by check and severity, worst first.
        ages: links by time since the last access, in the classes of :data:`AGE_DAYS`.
        unused: links that were never accessed.
        credentials: when stored credentials run out.
        data: when data run out.
    """

    links: int
    unreadable: int
    concerned: int
    statuses: Mapping[str, int]
    institutions: tuple[Institution, ...]
    other_institutions: int
    severities: Mapping[Severity, int]
    checks: tuple[CheckCount, ...]
    ages: tuple[int, ...]
    unused: int
    credentials: RunningOut
    data: RunningOut

    @property
    def findings(self) -> int:
        """How many findings there are."""
        return sum(self.severities.values())

    @property
    def worst(self) -> Severity | None:
        """The worst severity that was found."""
        return next((severity for severity in WORST_FIRST if self.severities.get(severity)), None)


@attrs.frozen(kw_only=True)
class ReportedFinding:
    """A finding together with what is known of its link: one row of a report.

    Attributes:
        check: the name of the check.
        severity: how grave it is.
        link_id: Belvo's id of the link.
        message: one sentence for people.
        remedy: the call that mends it.
        institution: Belvo's name of the institution.
        status: the status of the link.
        access_mode: how the link is used.
        external_id: the pseudonym of the caller's own id; ``None`` without a key for pseudonyms.
        institution_user_id: the pseudonym of Belvo's id of the user at the institution; likewise.
        created_at: when the link was created, UTC.
        last_accessed_at: the last successful access, UTC.
    """

    check: str
    severity: Severity
    link_id: str
    message: str
    remedy: str
    institution: str | None = None
    status: str | None = None
    access_mode: str | None = None
    external_id: str | None = None
    institution_user_id: str | None = None
    created_at: datetime | None = None
    last_accessed_at: datetime | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as data; times are text (RFC 3339, UTC)."""
        return {name: _plain(getattr(self, name)) for name in COLUMNS}


COLUMNS: Final = tuple(field.name for field in attrs.fields(ReportedFinding))
"""The columns of a data file, in order."""


def _plain(value: object) -> JsonValue:
    if isinstance(value, datetime):
        return instant(value)
    return None if value is None else str(value)


def instant(moment: datetime) -> str:
    """Return a UTC time as text, to the second.

    >>> from datetime import UTC, datetime
    >>> instant(datetime(2026, 3, 1, 9, 30, 5, tzinfo=UTC))
    '2026-03-01T09:30:05Z'
    """
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
