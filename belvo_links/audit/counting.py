"""Counts and lists what a report shows, by SQL over the file of a run. Everything here blocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from belvo_links.audit.figures import (
    AGE_DAYS,
    INSTITUTIONS,
    WEEKS,
    WORST_FIRST,
    CheckCount,
    Figures,
    Institution,
    ReportedFinding,
    RunningOut,
)
from belvo_links.audit.findings import Severity
from belvo_links.audit.rows import Value, moment
from belvo_links.audit.runfile import RunFile

DAY: Final = 86_400
WEEK: Final = 7 * DAY

_STATUSES: Final = "SELECT status, count(*) FROM links GROUP BY 1 ORDER BY 2 DESC, 1"
_LARGEST: Final = f"SELECT institution FROM links GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {INSTITUTIONS}"  # noqa: S608  # constants
_BY_INSTITUTION: Final = f"""
SELECT institution, status, count(*) FROM links WHERE institution IN ({_LARGEST}) GROUP BY 1, 2
"""  # noqa: S608  # made of constants
_ABOUT_INSTITUTION: Final = f"""
SELECT links.institution, count(*) FROM findings JOIN links ON links.id = findings.link_id
WHERE links.institution IN ({_LARGEST}) GROUP BY 1
"""  # noqa: S608  # made of constants
_CHECKS: Final = "SELECT check_name, severity, count(*) FROM findings GROUP BY 1, 2"
_CONCERNED: Final = "SELECT count(DISTINCT link_id) FROM findings WHERE severity IN ('medium', 'high')"
_AGES: Final = f"""
SELECT CASE {" ".join(f"WHEN :now - last_accessed_at < {days * DAY} THEN {at}" for at, days in enumerate(AGE_DAYS))}
    ELSE {len(AGE_DAYS)} END, count(*)
FROM links WHERE last_accessed_at IS NOT NULL GROUP BY 1
"""  # noqa: S608  # made of constants
_UNUSED: Final = "SELECT count(*) FROM links WHERE last_accessed_at IS NULL"
_RUNNING_OUT: Final = """
SELECT CASE WHEN {column} IS NULL THEN -2 WHEN {column} <= :now THEN -1
    WHEN {column} >= :end THEN {weeks} ELSE ({column} - :now) / {week} END, count(*)
FROM links GROUP BY 1
"""
_FINDINGS: Final = """
SELECT check_name, severity, link_id, message, remedy, institution, status, access_mode, external_id,
    institution_user_id, created_at, last_accessed_at
FROM (SELECT * FROM findings WHERE severity = ? ORDER BY id LIMIT ?) AS found
LEFT JOIN links ON links.id = found.link_id ORDER BY found.id
"""


def figures_of(run: RunFile) -> Figures:
    """Count everything that a report shows.

    Raises:
        RunFileError: the file cannot be read.
    """
    now = int(run.facts.judged_at.timestamp())
    institutions = _institutions(run)
    checks = _checks(run)
    ages = dict(_pairs(run, _AGES, now=now))
    return Figures(
        links=run.facts.links,
        unreadable=run.facts.unreadable,
        concerned=_number(run, _CONCERNED),
        statuses={str(status): _whole(number) for status, number in run.query(_STATUSES)},
        institutions=institutions,
        other_institutions=run.facts.links - sum(each.total for each in institutions),
        severities={each: sum(one.findings for one in checks if one.severity is each) for each in WORST_FIRST},
        checks=checks,
        ages=tuple(ages.get(at, 0) for at in range(len(AGE_DAYS) + 1)),
        unused=_number(run, _UNUSED),
        credentials=_running_out(run, "credentials_until", now),
        data=_running_out(run, "data_until", now),
    )


def reported(run: RunFile, limit: int | None = None) -> Iterator[ReportedFinding]:
    """Iterate over the findings with what is known of their links, worst first, in bounded memory.

    Args:
        run: the file of the run.
        limit: at most so many.

    Raises:
        RunFileError: the file cannot be read.
    """
    left = limit
    for severity in WORST_FIRST:
        for row in run.query(_FINDINGS, (severity.value, -1 if left is None else left)):
            yield _reported(row, named=run.facts.pseudonymised)
            left = None if left is None else left - 1


def _reported(row: tuple[Value, ...], *, named: bool) -> ReportedFinding:
    check, severity, link_id, message, remedy, institution, status, mode, external_id, user_id, created, accessed = row
    return ReportedFinding(
        check=str(check),
        severity=Severity(str(severity)),
        link_id=str(link_id),
        message=str(message),
        remedy=str(remedy),
        institution=_text(institution),
        status=_text(status),
        access_mode=_text(mode),
        external_id=_text(external_id) if named else None,  # under a key that is gone, it says nothing
        institution_user_id=_text(user_id) if named else None,
        created_at=_moment(created),
        last_accessed_at=_moment(accessed),
    )


def _institutions(run: RunFile) -> tuple[Institution, ...]:
    findings = {str(name): _whole(number) for name, number in run.query(_ABOUT_INSTITUTION)}
    links: dict[str, dict[str, int]] = {}
    for name, status, number in run.query(_BY_INSTITUTION):
        links.setdefault(str(name), {})[str(status)] = _whole(number)
    all_of_them = (Institution(name=name, links=each, findings=findings.get(name, 0)) for name, each in links.items())
    return tuple(sorted(all_of_them, key=lambda each: (-each.total, each.name)))


def _checks(run: RunFile) -> tuple[CheckCount, ...]:
    rows = run.query(_CHECKS)
    counts = (CheckCount(check=str(c), severity=Severity(str(s)), findings=_whole(n)) for c, s, n in rows)
    return tuple(sorted(counts, key=lambda each: (-each.severity.rank, -each.findings, each.check)))


def _running_out(run: RunFile, column: str, now: int) -> RunningOut:
    statement = _RUNNING_OUT.format(column=column, weeks=WEEKS, week=WEEK)
    counts = dict(_pairs(run, statement, now=now, end=now + WEEKS * WEEK))
    weeks = tuple(counts.get(week, 0) for week in range(WEEKS))
    return RunningOut(past=counts.get(-1, 0), weeks=weeks, later=counts.get(WEEKS, 0), never=counts.get(-2, 0))


def _pairs(run: RunFile, statement: str, **values: int) -> Iterator[tuple[int, int]]:
    for key, number in run.query(statement, values):
        yield _whole(key), _whole(number)


def _number(run: RunFile, statement: str) -> int:
    return next(_whole(number) for (number,) in run.query(statement))


def _whole(value: Value) -> int:
    return value if isinstance(value, int) else 0


def _text(value: Value) -> str | None:
    return None if value is None else str(value)


def _moment(value: Value) -> datetime | None:
    return moment(value) if isinstance(value, int) else None
