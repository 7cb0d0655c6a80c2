"""The file of an audit's run, as a report reads it: links, findings and unreadable records, in SQLite.

Everything here blocks; in an event loop, call it through ``asyncio.to_thread``. Every call opens a connection of its
own and reads a few rows at a time, so that memory does not grow with the number of links.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import attrs

from belvo_links.audit.findings import Finding, Severity
from belvo_links.audit.rows import COLUMNS, LinkRow, Value
from belvo_links.audit.schema import APPLICATION, SCHEMA_VERSION
from belvo_links.errors import RunFileError

GROUPS_SHOWN: Final = 1000
"""How many values one group of the totals tells apart, the most frequent first: words come from outside."""

_RANK: Final = f"CASE severity {' '.join(f'WHEN {each.value!r} THEN {each.rank}' for each in Severity)} END"
_FINDINGS: Final = "SELECT check_name, severity, link_id, message, remedy FROM findings"
_AT_LEAST: Final = f" WHERE {_RANK} >= :rank"
_WORST_FIRST: Final = f" ORDER BY {_RANK} DESC, id"
_LINKS: Final = f"SELECT {', '.join(COLUMNS)} FROM links ORDER BY number"  # noqa: S608  # made of constants
_TOTALS: Final = {
    "status": ("links", "status"),
    "institution": ("links", "institution"),
    "access_mode": ("links", "coalesce(access_mode, 'none')"),
    "severity": ("findings", "severity"),
    "check": ("findings", "check_name"),
}


@attrs.frozen(kw_only=True)
class RunFacts:
    """What a run was about, and how it went.

    Attributes:
        account: a digest of the API key's id.
        origin: the address of the service.
        filters: which links were asked for, in words; values that may name a person are left out.
        checks: the names of the checks.
        pseudonymised: whether the pseudonyms are made with a key of the user's, so that the user can tell who they are.
        started_at: when it began the first time.
        judged_at: what the checks took for now.
        ended_at: when it ended.
        interruptions: how many times it was interrupted and continued.
        complete: whether it provably saw every link that existed from its start to its end.
        reason: why not, or ``None``.
        links: how many links it read.
        unreadable: how many records could not be read.
        findings: how many findings there are.
    """

    account: str
    origin: str
    filters: Sequence[str]
    checks: Sequence[str]
    pseudonymised: bool
    started_at: datetime
    judged_at: datetime
    ended_at: datetime
    interruptions: int
    complete: bool
    reason: str | None
    links: int
    unreadable: int
    findings: int


@attrs.frozen(kw_only=True)
class UnreadableRow:
    """A record that could not be read.

    Attributes:
        link_id: its id, where even that can be read.
        problems: where it is wrong and why, as paths such as ``$.status: expected text``, never with a value.
    """

    link_id: str | None
    problems: Sequence[str]


class RunFile:
    """The file of a run that has ended.

    Args:
        path: the file.
        temporary: whether the file goes when this object is closed, or no longer used.

    Raises:
        RunFileError: there is none, it is of something else or another version, or its run has not ended.
    """

    def __init__(self, path: str | os.PathLike[str], *, temporary: bool = False) -> None:
        self.path: Final = Path(path)
        self._remove = weakref.finalize(self, remove if temporary else _keep, self.path)
        self.facts: Final = self._read_facts()

    def totals(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many there are: links by ``status``, ``institution``, ``access_mode``; findings by ``severity``,
        ``check``.
        """
        return {name: dict(self._count(*group)) for name, group in _TOTALS.items()}

    def _count(self, table: str, column: str) -> Iterator[tuple[str, int]]:
        statement = f"SELECT {column}, count(*) FROM {table} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {GROUPS_SHOWN}"  # noqa: S608  # constants
        yield from self._rows(statement)

    def worst(self) -> Severity | None:
        """Return the gravest severity among the findings, or ``None`` where there is no finding."""
        for (severity,) in self._rows(f"SELECT severity FROM findings{_WORST_FIRST} LIMIT 1"):  # noqa: S608  # constants
            return Severity(severity)
        return None

    def iterate_findings(
        self, *, min_severity: Severity | str | None = None, worst_first: bool = False, limit: int | None = None
    ) -> Iterator[Finding]:
        """Iterate over the findings, in the order in which they were found.

        Args:
            min_severity: only those of this severity or graver.
            worst_first: the gravest first instead.
            limit: at most so many.
        """
        statement = _FINDINGS if min_severity is None else _FINDINGS + _AT_LEAST
        statement += (_WORST_FIRST if worst_first else " ORDER BY id") + " LIMIT :limit"
        rank = 0 if min_severity is None else Severity(min_severity).rank
        for check, severity, link_id, message, remedy in self._rows(
            statement, {"rank": rank, "limit": -1 if limit is None else limit}
        ):
            yield Finding(check=check, severity=Severity(severity), link_id=link_id, message=message, remedy=remedy)

    def iterate_links(self) -> Iterator[LinkRow]:
        """Iterate over the links, in the order in which they were read."""
        for row in self._rows(_LINKS):
            yield LinkRow(**dict(zip(COLUMNS, row, strict=True)))

    def iterate_unreadable(self, *, limit: int | None = None) -> Iterator[UnreadableRow]:
        """Iterate over the records that could not be read, in the order in which they were met.

        Args:
            limit: at most so many.
        """
        rows = self._rows(
            "SELECT link_id, problems FROM unreadable ORDER BY id LIMIT ?", (-1 if limit is None else limit,)
        )
        for link_id, problems in rows:
            yield UnreadableRow(link_id=link_id, problems=tuple(json.loads(problems)))

    def query(self, statement: str, values: Mapping[str, Value] | Sequence[Value] = ()) -> Iterator[tuple[Value, ...]]:
        """Iterate over the rows of any SELECT. Tables: ``run``, ``windows``, ``links``, ``findings``, ``unreadable``.

        Args:
            statement: the SELECT.
            values: what it is given.

        Raises:
            RunFileError: the file cannot be read.
        """
        yield from self._rows(statement, values)

    def _rows(self, statement: str, values: Mapping[str, Value] | Sequence[Value] = ()) -> Iterator[tuple[Any, ...]]:
        with self._open() as connection:
            yield from connection.execute(statement, values)

    def close(self) -> None:
        """Remove the file if it is a temporary one. May be called twice."""
        self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the file for reading alone, and turn what SQLite raises into ours."""
        with failures_told():
            # One connection may be used by several threads, though not at once: a report's rows are fetched wherever.
            connection = sqlite3.connect(
                self.path.absolute().as_uri() + "?mode=ro", uri=True, check_same_thread=False, timeout=0
            )
            try:
                yield connection
            finally:
                connection.close()

    def _read_facts(self) -> RunFacts:
        with self._open() as connection:
            check_kind(connection)
            kept = dict(connection.execute("SELECT key, value FROM run"))
        if "ended" not in kept:
            raise RunFileError("The run of this file has not ended; let `audit` continue it first.")
        with changes_told():
            facts = json.loads(kept["facts"]) | json.loads(kept["ended"])
            moments = {name: datetime.fromisoformat(facts[name]) for name in ("started_at", "judged_at", "ended_at")}
            return RunFacts(**facts | moments)


def check_kind(connection: sqlite3.Connection) -> None:
    """Raise unless the file is that of a run, and of this version.

    Raises:
        RunFileError: it is not.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION:
        raise RunFileError("The file is none of an audit's run.")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise RunFileError("Another version of this package made the file of this run.")


@contextmanager
def failures_told() -> Iterator[None]:
    """Turn what SQLite and the system raise into ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise RunFileError(_told(error)) from None


@contextmanager
def changes_told() -> Iterator[None]:
    """Turn what reading a row raises that this package did not write into ours."""
    try:
        yield
    except (ValueError, KeyError, TypeError):
        raise RunFileError("The file of the run has been changed.") from None


def _told(error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its extension
    if code == sqlite3.SQLITE_BUSY:
        return "Another audit is writing this file; let it end, or give each a file of its own."
    if code == sqlite3.SQLITE_NOTADB:
        return "The file is none of an audit's run."
    return f"The file of the run cannot be read or written ({type(error).__name__})."


def remove(path: Path) -> None:
    """Remove the file of a run, if it is there; returns before the system has freed what a large one occupied."""
    with suppress(OSError):
        path.with_name(f"{path.name}-journal").unlink()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    with suppress(OSError):
        path.unlink()
    # What is open is freed when it is closed, which takes some 10 ms where there were a million links.
    try:
        threading.Thread(target=os.close, args=(descriptor,), name="belvo_links audit").start()
    except RuntimeError:  # the interpreter is about to end
        os.close(descriptor)


def _keep(path: Path) -> None:
    """Leave the file where it is."""
