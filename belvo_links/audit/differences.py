"""What has changed between two runs: links that came, went or changed, findings that came, went or changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import islice
from typing import Final, TypeAlias, TypeVar

import attrs

from belvo_links.audit.findings import Severity
from belvo_links.audit.rows import Value
from belvo_links.audit.runfile import RunFile
from belvo_links.errors import RunFileError
from belvo_links.wire import JsonValue

T = TypeVar("T")
Row: TypeAlias = tuple[Value, ...]

_LINKS: Final = "SELECT id, status, institution FROM links ORDER BY id"
_FINDINGS: Final = """
SELECT link_id, check_name, severity, message, remedy, min(id) FROM findings GROUP BY 1, 2 ORDER BY 1, 2
"""
_AT_ONCE: Final = 500


class Change(StrEnum):
    """What became of something between two runs."""

    NEW = "new"
    GONE = "gone"
    CHANGED = "changed"


@attrs.frozen(kw_only=True)
class LinkChange:
    """A link that is new, gone, or has another status.

    Attributes:
        change: which of these.
        link_id: Belvo's id of the link.
        institution: Belvo's name of the institution.
        before: the status in the old run, or ``None``.
        after: the status in the new run, or ``None``.
    """

    change: Change
    link_id: str
    institution: str
    before: str | None
    after: str | None

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as data."""
        return {name: None if value is None else str(value) for name, value in attrs.asdict(self).items()}


@attrs.frozen(kw_only=True)
class FindingChange:
    """A finding that is new, gone, or has another severity. One check finds one thing about a link here.

    Attributes:
        change: which of these.
        check: the name of the check.
        link_id: Belvo's id of the link.
        before: the severity in the old run, or ``None``.
        after: the severity in the new run, or ``None``.
        message: the sentence of the new run; of the old one where it is gone.
        remedy: likewise.
    """

    change: Change
    check: str
    link_id: str
    before: Severity | None
    after: Severity | None
    message: str
    remedy: str

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as data."""
        return {name: None if value is None else str(value) for name, value in attrs.asdict(self).items()}


class Comparison:
    """Two runs, compared while somebody iterates: memory does not grow with the number of links.

    Args:
        old: the file of the earlier run.
        new: the file of the later run.

    Attributes:
        notes: what to keep in mind when reading it, one sentence each: a run that is not complete, other filters or
            checks.
    """

    def __init__(self, old: RunFile, new: RunFile) -> None:
        self._old, self._new = old, new
        self.notes: Final = _notes(old, new)

    async def iterate_links(self) -> AsyncIterator[LinkChange]:
        """Iterate over the links that came, went or changed, by their ids.

        Raises:
            RunFileError: a file cannot be read.
        """
        async for each in _slowly(lambda: link_changes(self._old.query(_LINKS), self._new.query(_LINKS))):
            yield each

    async def iterate_findings(self) -> AsyncIterator[FindingChange]:
        """Iterate over the findings that came, went or changed, by the ids of their links.

        Raises:
            RunFileError: a file cannot be read.
        """
        async for each in _slowly(lambda: finding_changes(self._old.query(_FINDINGS), self._new.query(_FINDINGS))):
            yield each


async def compare(old: str | os.PathLike[str], new: str | os.PathLike[str]) -> Comparison:
    """Compare two runs that were kept.

    Args:
        old: the file of the earlier run.
        new: the file of the later run.

    Raises:
        RunFileError: one is no file of a run that has ended, or they are of different accounts.
    """
    return await asyncio.to_thread(lambda: Comparison(RunFile(old), RunFile(new)))


def link_changes(old: Iterable[Row], new: Iterable[Row]) -> Iterator[LinkChange]:
    """Yield what is different between links, each (id, status, institution), in order of their ids."""
    for before, after in merged(old, new, keys=1):
        there = after or before or ()
        statuses = (None if before is None else str(before[1]), None if after is None else str(after[1]))
        if statuses[0] != statuses[1]:
            yield LinkChange(
                change=_change(before, after),
                link_id=str(there[0]),
                institution=str(there[2]),
                before=statuses[0],
                after=statuses[1],
            )


def finding_changes(old: Iterable[Row], new: Iterable[Row]) -> Iterator[FindingChange]:
    """Yield what is different between findings, each (link, check, severity, message, remedy, …), in this order."""
    for before, after in merged(old, new, keys=2):
        there = after or before or ()
        was, is_now = (None if row is None else Severity(str(row[2])) for row in (before, after))
        if was is not is_now:
            yield FindingChange(
                change=_change(before, after),
                check=str(there[1]),
                link_id=str(there[0]),
                before=was,
                after=is_now,
                message=str(there[3]),
                remedy=str(there[4]),
            )


def merged(old: Iterable[Row], new: Iterable[Row], *, keys: int) -> Iterator[tuple[Row | None, Row | None]]:
    """Yield the rows of two sorted sequences in pairs of equal keys; ``None`` where one has no such row.

    >>> list(merged([("a",), ("c",)], [("b",), ("c",)], keys=1))
    [(('a',), None), (None, ('b',)), (('c',), ('c',))]
    """
    left, right = iter(old), iter(new)
    before, after = next(left, None), next(right, None)
    while before is not None or after is not None:
        first, second = _key(before, keys), _key(after, keys)
        is_old = before is not None and (after is None or first <= second)
        is_new = after is not None and (before is None or second <= first)
        yield before if is_old else None, after if is_new else None
        before = next(left, None) if is_old else before
        after = next(right, None) if is_new else after


def _key(row: Row | None, keys: int) -> list[bytes]:
    """Return what SQLite sorts by: UTF-8."""
    return [] if row is None else [str(value).encode() for value in row[:keys]]


def _change(before: Row | None, after: Row | None) -> Change:
    if before is None:
        return Change.NEW
    return Change.GONE if after is None else Change.CHANGED


def _notes(old: RunFile, new: RunFile) -> Sequence[str]:
    if (old.facts.origin, old.facts.account) != (new.facts.origin, new.facts.account):
        raise RunFileError("The two runs are of different accounts or services.")
    notes = [
        f"The {name} run is not complete: links may only seem to be {seems}."
        for name, run, seems in (("old", old, "new"), ("new", new, "gone"))
        if not run.facts.complete
    ]
    if list(old.facts.filters) != list(new.facts.filters):
        notes.append("The runs have other filters: a link may be new or gone because of that.")
    if set(old.facts.checks) != set(new.facts.checks):
        notes.append("The runs have other checks: a finding may be new or gone because of that.")
    if old.facts.judged_at > new.facts.judged_at:
        notes.append("The old run is the later one.")
    return notes


async def _slowly(begin: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
    """Fetch in a thread, some at a time."""
    rows = await asyncio.to_thread(begin)
    while some := await asyncio.to_thread(lambda: list(islice(rows, _AT_ONCE))):
        for each in some:
            yield each
