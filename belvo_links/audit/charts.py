"""The charts of a report: from figures to shapes. Positions across are percentages, so that a chart fits any width.

Every chart has a title and a sentence that says the same in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Final

from belvo_links.audit.figures import WEEKS, WORST_FIRST, CheckCount, Figures, Institution, RunningOut
from belvo_links.audit.findings import Severity
from belvo_links.audit.shapes import Bar, Bars, Charts, Column, Histogram, Lane, Mark, Piece, Timeline

STATUSES: Final = ("valid", "token_required", "unconfirmed", "invalid")
"""The statuses in the order of a stacked bar; any other word comes last, as ``other``."""

OTHER: Final = "other"
BARS: Final = 12
"""How many bars a chart has at most; the rest becomes one."""

AGES: Final = ("< 1", "1–7", "7–30", "30–90", "90–365", "> 365", "never")  # noqa: RUF001  # the dash of ranges
"""The classes of days since the last access, see :data:`belvo_links.audit.figures.AGE_DAYS`."""
COLUMN_HEIGHT: Final = 174
"""Pixels of the highest column of the histogram."""
LANE_HEIGHT: Final = 64
"""Pixels of the highest column of a lane of the timeline."""
PLOT_WIDTH: Final = 93.0
"""Percent of the timeline; the rest is for the numbers of its axis."""
_GAP: Final = 0.22
"""Part of a column's place that stays empty."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LEAST_BETWEEN_MONTHS: Final = 11.0
"""Percent of the timeline between two names of months."""


def charts_of(figures: Figures, now: datetime) -> Charts:
    """Return the charts.

    Args:
        figures: what was counted.
        now: the moment that everything is judged by.
    """
    return Charts(
        statuses=_statuses(figures.statuses),
        severities=_severities(figures.severities),
        ages=_ages((*figures.ages, figures.unused)),
        running_out=_timeline(figures.credentials, figures.data, now),
        institutions=_institutions(figures.institutions, figures.other_institutions),
        checks=_checks(figures.checks),
    )


def status_kind(status: str) -> str:
    """Return what a status is drawn as: words from outside name no class of a page."""
    return status if status in STATUSES else OTHER


def share(part: int, whole: int) -> str:
    """Return a part of a whole in percent; what is there is never said to be nothing, and a rest never to be all.

    >>> share(1, 3), share(1, 5000), share(4999, 5000), share(5, 5), share(0, 0)
    ('33 %', '< 1 %', '> 99 %', '100 %', '0 %')
    """
    if not whole or not part:
        return "0 %"
    percent = 100 * part / whole
    if percent < 1:
        return "< 1 %"
    if 99 < percent < 100:
        return "> 99 %"
    return f"{percent:.0f} %"


def compact(number: int) -> str:
    """Return a number for an axis.

    >>> [compact(number) for number in (7, 999, 1_000, 1_500, 250_000, 2_000_000)]
    ['7', '999', '1k', '1.5k', '250k', '2M']
    """
    for size, sign in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.3g}{sign}"
    return str(number)


def round_up(number: int) -> int:
    """Return the next even round number, for the upper end of an axis.

    >>> [round_up(number) for number in (0, 1, 3, 7, 12, 21, 480, 601)]
    [2, 2, 4, 8, 20, 30, 500, 800]
    """
    if number <= 2:
        return 2
    power = int("1".ljust(len(str(number)), "0"))
    steps = (1, 2, 3, 4, 5, 6, 8, 10) if power > 1 else (2, 4, 6, 8, 10)
    return next(step * power for step in steps if step * power >= number)


def _statuses(statuses: Mapping[str, int]) -> Bars:
    whole = sum(statuses.values())
    rows = [(status, number, status_kind(status)) for status, number in _few(statuses.items())]
    return Bars(
        title="Links by status",
        said=_said(((label, number) for label, number, _ in rows), "There are no links."),
        bars=_simple(rows, whole, unit="links"),
    )


def _severities(severities: Mapping[Severity, int]) -> Bars:
    rows = [(str(severity), severities.get(severity, 0), str(severity)) for severity in WORST_FIRST]
    whole = sum(number for _, number, _ in rows)
    return Bars(
        title="Findings by severity",
        said=_said(((label, number) for label, number, _ in rows), "") if whole else "There are no findings.",
        bars=_simple(rows, whole, unit="findings"),
    )


def _checks(checks: Sequence[CheckCount]) -> Bars:
    by_check: dict[str, dict[str, int]] = {}
    for each in checks:
        by_check.setdefault(each.check, {})[str(each.severity)] = each.findings
    rows = sorted(by_check.items(), key=lambda row: -sum(row[1].values()))
    shown = [*rows[:BARS], *_rest(rows[BARS:], "other checks")]
    return Bars(
        title="Findings by check",
        said=_said(((name, sum(parts.values())) for name, parts in shown), "There are no findings."),
        bars=_stacked(shown, [str(severity) for severity in WORST_FIRST]),
        kinds=tuple(str(severity) for severity in WORST_FIRST) if shown else (),
    )


def _institutions(institutions: Sequence[Institution], others: int) -> Bars:
    rows = [(each.name, _kinds(each.links)) for each in institutions]
    rest = _rest(rows[BARS:], "others")
    if others:
        rest = [("others", _added(*(parts for _, parts in rest), {OTHER: others}))]
    shown = [*rows[:BARS], *rest]
    present = {kind for _, parts in shown for kind, number in parts.items() if number}
    return Bars(
        title="Links by institution",
        said=_said(((name, sum(parts.values())) for name, parts in shown), "There are no links."),
        bars=_stacked(shown, (*STATUSES, OTHER)),
        kinds=tuple(kind for kind in (*STATUSES, OTHER) if kind in present),
    )


def _ages(counts: Sequence[int]) -> Histogram:
    top = max(*counts, 1)
    place = 100 / len(counts)
    columns = tuple(
        Column(
            kind="quiet" if label == AGES[-1] else "accent",
            start=round(place * (at + _GAP / 2), 2),
            width=round(place * (1 - _GAP), 2),
            height=_height(number, top, COLUMN_HEIGHT),
            label=label,
            value=(f"{number:,}" if number < 10_000 else compact(number)) if number else "",
            said=f"{label}: {number:,} links",
        )
        for at, (label, number) in enumerate(zip(AGES, counts, strict=True))
    )
    return Histogram(
        title="Days since the last access",
        said=_said(zip(AGES, counts, strict=True), "There are no links.") if any(counts) else "There are no links.",
        height=COLUMN_HEIGHT,
        columns=columns,
    )


def _timeline(credentials: RunningOut, data: RunningOut, now: datetime) -> Timeline:
    lanes = tuple(
        Lane(
            name=name,
            past=f"{out.past:,} {'has' if out.past == 1 else 'have'} run out",
            later=f"{out.later:,} later",
            top=compact(round_up(max(out.weeks))),
            columns=_weeks(out, round_up(max(out.weeks)), now),
        )
        for name, out in (("Credentials", credentials), ("Data", data))
    )
    return Timeline(
        title="When credentials and data run out",
        said=f"{_coming('Credentials', credentials)} {_coming('Data', data)}",
        height=LANE_HEIGHT,
        lanes=lanes,
        months=_months(now),
    )


def _weeks(out: RunningOut, top: int, now: datetime) -> tuple[Column, ...]:
    place = PLOT_WIDTH / WEEKS
    return tuple(
        Column(
            kind="warn" if week < 2 else "accent",
            start=round(place * (week + _GAP / 2), 2),
            width=round(place * (1 - _GAP), 2),
            height=_height(number, top, LANE_HEIGHT),
            label="",
            value="",
            said=f"Week of {(now + timedelta(weeks=week)):%Y-%m-%d}: {number:,}",
        )
        for week, number in enumerate(out.weeks)
    )


def _months(now: datetime) -> tuple[Mark, ...]:
    marks = [Mark(at=0.0, text="now")]
    for day in range(1, 7 * WEEKS):
        moment = now + timedelta(days=day)
        at = round(PLOT_WIDTH * day / (7 * WEEKS), 2)
        if moment.day == 1 and at - marks[-1].at >= _LEAST_BETWEEN_MONTHS:
            marks.append(Mark(at=at, text=_MONTHS[moment.month - 1]))
    return tuple(marks)


def _coming(name: str, out: RunningOut) -> str:
    soon, weeks = sum(out.weeks[:4]), sum(out.weeks)
    return (
        f"{name}: {out.past:,} have run out, {soon:,} will within 4 weeks, {weeks:,} within {WEEKS} weeks,"
        f" {out.later:,} later."
    )


def _simple(rows: Sequence[tuple[str, int, str]], whole: int, *, unit: str) -> tuple[Bar, ...]:
    top = max((number for _, number, _ in rows), default=0) or 1
    return tuple(
        Bar(
            label=label,
            value=f"{number:,}",
            pieces=_pieces([(kind, number, f"{label}: {number:,} {unit}, {share(number, whole)}")], top),
        )
        for label, number, kind in rows
    )


def _stacked(rows: Sequence[tuple[str, Mapping[str, int]]], order: Sequence[str]) -> tuple[Bar, ...]:
    top = max((sum(parts.values()) for _, parts in rows), default=0) or 1
    return tuple(
        Bar(
            label=name,
            value=f"{sum(parts.values()):,}",
            pieces=_pieces(
                [(kind, parts.get(kind, 0), f"{name}, {kind}: {parts.get(kind, 0):,}") for kind in order], top
            ),
        )
        for name, parts in rows
    )


def _pieces(parts: Sequence[tuple[str, int, str]], top: int) -> tuple[Piece, ...]:
    there = [part for part in parts if part[1]]
    starts = [0, *accumulate(number for _, number, _ in there)]
    return tuple(
        Piece(kind=kind, start=round(100 * start / top, 2), width=max(round(100 * number / top, 2), 0.6), said=said)
        for (kind, number, said), start in zip(there, starts, strict=False)
    )


def _height(number: int, top: int, height: int) -> float:
    """Return a column's height; what is there is always seen."""
    return max(round(height * number / top, 1), 2.0) if number else 0.0


def _kinds(links: Mapping[str, int]) -> dict[str, int]:
    return _added(*({status_kind(status): number} for status, number in links.items()))


def _added(*parts: Mapping[str, int]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for each in parts:
        for kind, number in each.items():
            sums[kind] = sums.get(kind, 0) + number
    return sums


def _rest(rows: Sequence[tuple[str, Mapping[str, int]]], name: str) -> list[tuple[str, Mapping[str, int]]]:
    return [(name, _added(*(parts for _, parts in rows)))] if rows else []


def _few(items: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    every = list(items)
    rest = sum(number for _, number in every[BARS:])
    return [*every[:BARS], *([("other words", rest)] if rest else [])]


def _said(rows: Iterable[tuple[str, int]], nothing: str) -> str:
    parts = [f"{label}: {number:,}" for label, number in rows]
    return f"{'; '.join(parts)}." if parts else nothing
