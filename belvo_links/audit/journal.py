"""The journal of a bulk action: an SQLite file that knows of every call before it is sent and when it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from belvo_links.audit.outcomes import INTERRUPTED, LinkResult, Outcome
from belvo_links.audit.private import make_private
from belvo_links.errors import JournalError
from belvo_links.wire import encode_json

T = TypeVar("T")
X = TypeVar("X")

SCHEMA_VERSION: Final = 1
BUSY_SECONDS: Final = 1.0
"""How long to wait for somebody who reads a few entries; a run has the file for longer."""

PAGE: Final = 500
"""How many entries are in memory at once."""

_APPLICATION: Final = 0x42656C4A
"""Marks the file as ours, in SQLite's own header."""

_SCHEMA: Final = (
    "CREATE TABLE plan (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """
    CREATE TABLE calls (
        id TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        at REAL NOT NULL,
        request_id TEXT,
        reason TEXT,
        error TEXT,
        code TEXT,
        retry_after REAL,
        pending_id TEXT
    ) STRICT, WITHOUT ROWID
    """,
)
_BEGIN: Final = """
INSERT INTO calls (id, state, at) VALUES (:id, 'begun', :at) ON CONFLICT (id) DO UPDATE SET
    state = 'begun', at = :at, request_id = NULL, reason = NULL, error = NULL, code = NULL, retry_after = NULL,
    pending_id = NULL
"""
_FORGET: Final = "DELETE FROM calls WHERE id = :id"
_SETTLE: Final = """
INSERT INTO calls (id, state, at, request_id, reason, error, code, retry_after, pending_id)
VALUES (:id, :state, :at, :request_id, :reason, :error, :code, :retry_after, :pending_id)
ON CONFLICT (id) DO UPDATE SET
    state = :state, at = :at, request_id = :request_id, reason = :reason, error = :error, code = :code,
    retry_after = :retry_after, pending_id = :pending_id
"""
_INTERRUPT: Final = "UPDATE calls SET state = 'unknown', reason = :reason WHERE state = 'begun'"
_FIELDS: Final = "id, state, request_id, reason, error, code, retry_after, pending_id"
_FIND: Final = f"SELECT {_FIELDS} FROM calls WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608  # constants
_RESULTS: Final = f"""
SELECT {_FIELDS} FROM calls
WHERE id > :after AND (:state IS NULL OR state = :state OR (:state = 'unknown' AND state = 'begun'))
ORDER BY id LIMIT {PAGE}
"""  # noqa: S608  # made of constants
_COUNTS: Final = "SELECT iif(state = 'begun', 'unknown', state), count(*) FROM calls GROUP BY 1"
_LATEST: Final = "SELECT at FROM calls ORDER BY at DESC LIMIT ?"


class Journal:
    """The journal of one plan, in a file.

    Args:
        path: the file; a run makes it, readable by its owner alone (0600). Its folder must exist, on a disk of this
            machine: SQLite's locks do not hold on network file systems.

    It holds ids of links, of requests and of pending sessions, and names of errors; no credentials, tokens or data.
    Every entry is on disk before the request is sent (WAL, ``synchronous=FULL``). One run at a time has it, in
    whichever process; until it ends, others cannot read it either.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None

    # ------------------------------------------------------------------------------------------------------- for people

    async def counts(self) -> Mapping[Outcome, int]:
        """Return how many links came to each outcome.

        Raises:
            JournalError: there is none, it is no journal, or a run has it.
        """
        return await self._ask(_counts)

    async def results(self, outcome: Outcome | str | None = None) -> AsyncIterator[LinkResult]:
        """Iterate over the results, by the links' ids, a few at a time.

        Args:
            outcome: only these; all by default.

        Raises:
            JournalError: there is none, it is no journal, or a run has it.
        """
        state = None if outcome is None else str(Outcome(outcome))
        page = await self._ask(partial(_page, after="", state=state))
        while page:
            for result in page:
                yield result
            page = await self._ask(partial(_page, after=page[-1].link_id, state=state))

    # -------------------------------------------------------------------------------------------------------- for a run

    async def open(self, binding: Mapping[str, str]) -> None:
        """Take the journal for one run: make it, or go on with that of the same plan.

        Args:
            binding: names and values that say which plan and account it is of.

        Raises:
            JournalError: another run has it, it is another plan's or account's, or it cannot be written.
        """
        if self._thread is not None:
            raise JournalError(_IN_USE)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="belvo_links journal")
        try:
            await self._in_thread(self._open, binding)
        except BaseException:  # also a cancelled opening gives the file back
            await self.aclose()
            raise

    def _open(self, binding: Mapping[str, str]) -> None:
        make_private(self._path)
        self._connection = connection = _connect(self._path)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # from the first transaction on until it is closed
        connection.execute("BEGIN EXCLUSIVE")
        with connection:
            if _is_new(connection):
                _make(connection, binding)
            _check(connection, binding)
            connection.execute(_INTERRUPT, {"reason": INTERRUPTED})
        # Nothing is changed before it is known to be ours: the first would stay with somebody else's file.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if self._path.stat().st_mode & 0o077:
            self._path.chmod(0o600)

    async def is_there(self, binding: Mapping[str, str]) -> bool:
        """Return whether there is a journal.

        Raises:
            JournalError: it is not of this plan and account, or a run has it.
        """
        return await self._in_thread(self._is_there, binding)

    def _is_there(self, binding: Mapping[str, str]) -> bool:
        if not self._path.exists():  # SQLite would make one
            return False
        with contextlib.closing(_connect(self._path)) as connection:
            if _is_new(connection):  # its run died at once
                return False
            _check(connection, binding)
            return True

    async def find(self, ids: Sequence[str]) -> Mapping[str, LinkResult]:
        """Return what there is on these links; of unknown outcome is what was begun and has not ended."""
        return await self._ask(lambda connection: _find(connection, ids))

    async def latest(self, number: int) -> Sequence[float]:
        """Return how many seconds ago the latest calls were begun or ended."""
        return await self._ask(lambda connection: _latest(connection, number))

    async def begin(self, link_id: str) -> None:
        """Write down that the request for a link is about to be sent."""
        await self._write(_BEGIN, {"id": link_id})

    async def withdraw(self, link_id: str, earlier: LinkResult | None) -> None:
        """Write down that it was not sent after all, so that what there was on the link before holds."""
        if earlier is not None:
            await self.settle(earlier)
        else:
            await self._write(_FORGET, {"id": link_id})

    async def settle(self, result: LinkResult) -> None:
        """Write down what became of a link."""
        await self._write(_SETTLE, _columns(result))

    async def aclose(self) -> None:
        """Close the file and let others have it. May be called twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
        finally:
            thread.shutdown(wait=False)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # ------------------------------------------------------------------------------------------------------- the thread

    async def _write(self, statement: str, values: Mapping[str, object]) -> None:
        await self._ask(lambda connection: connection.execute(statement, {"at": time.time(), **values}).close())

    async def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the file that a run has open, or one opened for this question alone."""
        return await self._in_thread(self._answer, question)

    def _answer(self, question: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is not None:
            return question(self._connection)
        if not self._is_there({}):
            raise JournalError("There is no journal at this path.")
        with contextlib.closing(_connect(self._path)) as connection:
            return question(connection)

    async def _in_thread(self, work: Callable[[X], T], argument: X) -> T:
        """Do the work where it may block, and turn what SQLite raises into ours."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, argument)
        except (sqlite3.Error, OSError) as error:
            locked = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
            what = _IN_USE if locked else _broken(error)
        raise JournalError(what)


_IN_USE: Final = "Another run has this journal; let it end, or give this plan a journal of its own."


def _broken(error: Exception) -> str:
    return f"The journal cannot be read or written ({type(error).__name__})."


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)


def _is_new(connection: sqlite3.Connection) -> bool:
    return not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]


def _make(connection: sqlite3.Connection, binding: Mapping[str, str]) -> None:
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.executemany("INSERT INTO plan (name, value) VALUES (?, ?)", binding.items())
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _check(connection: sqlite3.Connection, binding: Mapping[str, str]) -> None:
    """Raise unless the file is a journal, of this version, and bound to what is given."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise JournalError("The file is no journal of a bulk action.")
    if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
        raise JournalError("Another version of this package made the journal.")
    bound = dict(connection.execute("SELECT name, value FROM plan"))
    other = [name for name, value in binding.items() if bound.get(name) != value]
    if other:
        raise JournalError(f"The journal is another plan's ({', '.join(other)} differ); give each plan its own.")


def _counts(connection: sqlite3.Connection) -> Mapping[Outcome, int]:
    return {Outcome(state): number for state, number in connection.execute(_COUNTS)}


def _page(connection: sqlite3.Connection, *, after: str, state: str | None) -> Sequence[LinkResult]:
    rows = connection.execute(_RESULTS, {"after": after, "state": state})
    return [_result(row) for row in rows]


def _find(connection: sqlite3.Connection, ids: Sequence[str]) -> Mapping[str, LinkResult]:
    rows = connection.execute(_FIND, (encode_json(list(ids)).decode(),))
    return {row[0]: _result(row) for row in rows}


def _latest(connection: sqlite3.Connection, number: int) -> Sequence[float]:
    now = time.time()
    return [now - at for (at,) in connection.execute(_LATEST, (number,))]


def _result(row: tuple[Any, ...]) -> LinkResult:
    link_id, state, request_id, reason, error, code, retry_after, pending_id = row
    return LinkResult(
        link_id=link_id,
        outcome=Outcome.UNKNOWN if state == "begun" else Outcome(state),
        request_id=request_id,
        reason=reason,
        error=error,
        code=code,
        retry_after=None if retry_after is None else timedelta(seconds=retry_after),
        pending_id=pending_id,
    )


def _columns(result: LinkResult) -> dict[str, object]:
    return {
        "id": result.link_id,
        "state": str(result.outcome),
        "request_id": result.request_id,
        "reason": result.reason,
        "error": result.error,
        "code": result.code,
        "retry_after": None if result.retry_after is None else result.retry_after.total_seconds(),
        "pending_id": result.pending_id,
    }
