"""Writing the file of an audit's run: one thread, one transaction per window of the scan.

What is committed is finished windows and nothing else, so that whatever kills the process, the file is a checkpoint. An
exclusive lock keeps everybody else out until the run ends; the system takes it back from a process that dies.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import attrs

from belvo_links.audit import duplicates
from belvo_links.audit.binding import Binding
from belvo_links.audit.findings import CheckContext, Finding
from belvo_links.audit.private import make_private
from belvo_links.audit.progress import Tally
from belvo_links.audit.rows import Pseudonyms, Value
from belvo_links.audit.runfile import changes_told, check_kind, failures_told
from belvo_links.audit.schema import APPLICATION, SCHEMA, SCHEMA_VERSION, TABLES
from belvo_links.errors import RunFileError
from belvo_links.protocol.models import UnreadableLink
from belvo_links.protocol.windows import ScanWindow
from belvo_links.redact import Secret
from belvo_links.transport.shield import finish

T = TypeVar("T")

_KEY_BYTES: Final = 32
_AT_ONCE: Final = 50
"""Rows per statement: SQLite then works on all of them without giving the interpreter back and forth in between."""

_WRITE: Final = "INSERT INTO run (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_LAST_WINDOW: Final = "SELECT part, since, until FROM windows ORDER BY number DESC LIMIT 1"


@attrs.frozen(kw_only=True)
class Start:
    """Where a run begins, or goes on.

    Attributes:
        context: what the checks are told; the time is that of the first start.
        pseudonyms: what names people in the file.
        has_ended: whether nothing is left to be done.
        after: the last finished window, or ``None`` where there is none.
        interruptions: how many times it was interrupted.
        drift: what ``drift`` has found so far.
        tally: what is in the file.
    """

    context: CheckContext
    pseudonyms: Pseudonyms
    has_ended: bool
    after: ScanWindow | None
    interruptions: int
    drift: frozenset[str]
    tally: Tally


@attrs.frozen(kw_only=True)
class Ending:
    """How a run has ended.

    Attributes:
        at: when.
        reason: why it is not complete, or ``None`` if it is.
        with_duplicates: whether to look for duplicates.
    """

    at: datetime
    reason: str | None
    with_duplicates: bool


class Recorder:
    """Writes the file of a run. Every call waits for the one thread that has the file.

    Args:
        path: the file; it is made readable by its owner alone (0600). Its folder must exist.
        temporary: whether nobody needs it after a crash of the machine.
    """

    def __init__(self, path: Path, *, temporary: bool = False) -> None:
        self._path = path
        self._temporary = temporary
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="belvo_links audit")
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self.tally = Tally()

    async def open(self, binding: Binding, *, key: Secret[bytes] | None, now: datetime) -> Start:
        """Take the file for one run: make it, or go on behind its last finished window.

        Args:
            binding: what the audit is asked to do.
            key: what pseudonyms are made with; a random one, which is erased at the end, by default.
            now: the time.

        Raises:
            RunFileError: it is of something else, another audit has it, it is bound to other arguments, or it cannot
                be written.
        """
        start = await self._in_thread(lambda: self._open(binding, key, now))
        self.tally = start.tally
        return start

    async def add(
        self,
        links: Sequence[Sequence[Value]],
        findings: Sequence[Finding],
        unreadable: Sequence[UnreadableLink] = (),
    ) -> None:
        """Add to the window that is being read."""
        await self._in_thread(lambda: self._add(links, findings, unreadable))
        self.tally = Tally(
            links=self.tally.links + len(links),
            unreadable=self.tally.unreadable + len(unreadable),
            findings=self.tally.findings + len(findings),
        )

    async def finish_window(self, window: ScanWindow) -> None:
        """Keep what was added, and remember to go on behind this window."""
        await self._in_thread(lambda: self._finish_window(window))

    async def end(self, ending: Ending) -> None:
        """Keep what was added, and close the run for good."""
        await self._in_thread(lambda: self._end(ending))

    async def aclose(self) -> None:
        """Let others have the file; what belongs to an unfinished window is dropped. May be called twice."""
        await finish(self._hand_over())

    async def _hand_over(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            self._thread.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # ------------------------------------------------------------------------------------------------------- the thread

    async def _in_thread(self, work: Callable[[], T]) -> T:
        def told() -> T:
            with failures_told():
                return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, told)
        except asyncio.CancelledError:
            if (connection := self._connection) is not None:
                connection.interrupt()  # or closing would wait for a long statement
            raise

    def _open(self, binding: Binding, key: Secret[bytes] | None, now: datetime) -> Start:
        make_private(self._path)
        # The thread is the only one that uses it, save for interrupting.
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        self._connection = connection
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # from the first transaction on until it is closed
        connection.execute("PRAGMA secure_delete = ON")  # an erased key leaves no trace in the file
        connection.execute(f"PRAGMA synchronous = {'OFF' if self._temporary else 'FULL'}")
        connection.execute("BEGIN EXCLUSIVE")
        if _is_new(connection):
            _make(connection, binding, key, now)
        else:
            check_kind(connection)
        with changes_told():
            start = _start(connection, binding, key)
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        if self._path.stat().st_mode & 0o077:
            self._path.chmod(0o600)
        return start

    def _add(
        self, links: Sequence[Sequence[Value]], findings: Sequence[Finding], unreadable: Sequence[UnreadableLink]
    ) -> None:
        connection = self._file()
        _insert(connection, "links", links)
        _insert(
            connection,
            "findings",
            ((each.check, each.severity.value, each.link_id, each.message, each.remedy) for each in findings),
        )
        _insert(connection, "unreadable", ((each.id, json.dumps(each.problems)) for each in unreadable))

    def _finish_window(self, window: ScanWindow) -> None:
        connection = self._file()
        connection.execute(
            "INSERT INTO windows (part, since, until) VALUES (?, ?, ?)",
            (window.part, _text(window.since), _text(window.until)),
        )
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")

    def _end(self, ending: Ending) -> None:
        connection = self._file()
        if ending.with_duplicates:
            connection.execute(duplicates.FIND, duplicates.WORDS)
        kept = _kept(connection)
        ended = {
            "ended_at": ending.at.isoformat(),
            "interruptions": int(kept["interruptions"]),
            "complete": ending.reason is None,
            "reason": ending.reason,
            **attrs.asdict(_tally(connection)),
        }
        connection.execute("CREATE INDEX links_by_id ON links (id)")  # findings and other runs are compared by it
        connection.execute(_WRITE, ("ended", json.dumps(ended)))
        connection.execute("DELETE FROM run WHERE key = 'pseudonym_key'")
        connection.execute("COMMIT")

    def _file(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RunFileError("The file of the run has been closed.")
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _is_new(connection: sqlite3.Connection) -> bool:
    return not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]


def _make(connection: sqlite3.Connection, binding: Binding, key: Secret[bytes] | None, now: datetime) -> None:
    for statement in SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    facts = {
        "account": binding.account,
        "origin": binding.origin,
        "filters": binding.filters_in_words(),
        "checks": list(binding.checks),
        "pseudonymised": binding.keyed,
        "started_at": now.isoformat(),
        "judged_at": binding.context.now.isoformat(),
    }
    made = {"facts": json.dumps(facts), "interruptions": "-1", "salt": secrets.token_hex(_KEY_BYTES)}
    if key is None:
        made["pseudonym_key"] = secrets.token_hex(_KEY_BYTES)
    made["binding"] = json.dumps(binding.texts(_pseudonyms(made, key), salted=_salted(made)))
    connection.executemany(_WRITE, made.items())


def _start(connection: sqlite3.Connection, binding: Binding, key: Secret[bytes] | None) -> Start:
    """Check that the file is bound to these arguments, count the start, and return where to go on."""
    kept = _kept(connection)
    has_ended = "ended" in kept
    pseudonyms = _pseudonyms(kept, key)
    bound = json.loads(kept["binding"])
    other = [name for name, text in binding.texts(pseudonyms, salted=_salted(kept)).items() if bound.get(name) != text]
    if other:
        differing = "pseudonymise" if "pseudonymise" in other else ", ".join(other)  # with another key all else differs
        raise RunFileError(f"The run of this file is of other arguments: {differing}. Give this audit its own file.")
    interruptions = int(kept["interruptions"])
    if not has_ended:
        interruptions += 1
        connection.execute(_WRITE, ("interruptions", str(interruptions)))
    facts = json.loads(kept["facts"])
    drift = connection.execute("SELECT DISTINCT message FROM findings WHERE check_name = 'drift'")
    return Start(
        context=attrs.evolve(binding.context, now=datetime.fromisoformat(facts["judged_at"])),
        pseudonyms=pseudonyms,
        has_ended=has_ended,
        after=_last_window(connection),
        interruptions=interruptions,
        drift=frozenset(message for (message,) in drift),
        tally=_tally(connection),
    )


def _kept(connection: sqlite3.Connection) -> Mapping[str, str]:
    return dict(connection.execute("SELECT key, value FROM run"))


def _pseudonyms(kept: Mapping[str, str], key: Secret[bytes] | None) -> Pseudonyms:
    return Pseudonyms(Secret(bytes.fromhex(kept.get("pseudonym_key", ""))) if key is None else key)


def _salted(kept: Mapping[str, str]) -> Pseudonyms:
    return Pseudonyms(Secret(bytes.fromhex(kept["salt"])))


def _last_window(connection: sqlite3.Connection) -> ScanWindow | None:
    for part, since, until in connection.execute(_LAST_WINDOW):
        return ScanWindow(part=part, since=_day(since), until=_day(until))
    return None


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _tally(connection: sqlite3.Connection) -> Tally:
    counted = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}  # noqa: S608  # constants
    return Tally(**counted)


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[Sequence[Value]]) -> None:
    columns = TABLES[table]
    row = f"({', '.join('?' * len(columns))})"
    begin = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608  # made of constants
    remaining = iter(rows)
    while some := list(islice(remaining, _AT_ONCE)):
        if len(some) == _AT_ONCE:
            connection.execute(begin + ", ".join([row] * _AT_ONCE), list(chain.from_iterable(some)))
        else:
            connection.executemany(begin + row, some)
