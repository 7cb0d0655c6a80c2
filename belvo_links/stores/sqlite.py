"""A store in an SQLite file: survives restarts, and is safe for several processes of one machine."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias, TypeVar

import aiosqlite
import attrs

from belvo_links.errors import BelvoLinksError, StoreError
from belvo_links.protocol.mfa import SETTLED, PendingRecord, PendingState
from belvo_links.stores.base import KEPT_UNSETTLED, StoredRecord
from belvo_links.stores.form import Seen, form_for, readable, seconds_kept

T = TypeVar("T")

Values: TypeAlias = Mapping[str, object]

SCHEMA_VERSION: Final = 1
BUSY_SECONDS: Final = 10.0
"""How long a call waits for another process that writes."""

BUSY_PAUSE: Final = 0.01
"""Seconds between tries where SQLite does not wait by itself."""

PURGE_EVERY: Final = 60.0
"""Seconds between removals of what is over."""

# The clock of the store is SQLite's, read in the statement that uses it, in seconds since 1970.
_NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS belvo_pending (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    round INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    claim TEXT,
    lease_until REAL,
    expires_at REAL NOT NULL,
    keep_until REAL NOT NULL,
    record TEXT NOT NULL
) STRICT, WITHOUT ROWID
"""
_INSERT: Final = f"""
INSERT INTO belvo_pending (state, round, revision, claim, lease_until, expires_at, keep_until, record, id)
VALUES (:state, :round, :revision, :claim, NULL, :expires_at, {_NOW} + :kept, :record, :id)
ON CONFLICT (id) DO NOTHING
"""  # noqa: S608  # made of constants
_SWAP: Final = f"""
UPDATE belvo_pending
SET state = :state, round = :round, revision = :revision, claim = :claim, lease_until = {_NOW} + :lease,
    expires_at = :expires_at, keep_until = {_NOW} + :kept, record = :record
WHERE id = :id AND state = :old_state AND round = :old_round AND revision = :old_revision AND claim IS :old_claim
"""  # noqa: S608  # made of constants
_FIELDS: Final = "record, state, round, revision, claim"
_LOAD: Final = f"SELECT lease_until - {_NOW}, {_FIELDS} FROM belvo_pending WHERE id = :id"  # noqa: S608  # constants
_PAGE: Final = f"""
SELECT id, {_FIELDS} FROM belvo_pending WHERE id > :last AND (:state IS NULL OR state = :state) ORDER BY id LIMIT 100
"""  # noqa: S608  # made of constants
_SWEEP: Final = f"DELETE FROM belvo_pending WHERE keep_until < {_NOW}"  # noqa: S608  # made of constants
_PURGE: Final = """
DELETE FROM belvo_pending
WHERE expires_at < CASE WHEN state IN (SELECT value FROM json_each(:settled)) THEN :before ELSE :before - :kept END
"""


class SqliteStore:
    """Keeps pending records in an SQLite file.

    Args:
        path: the file; it is made on first use, readable by its owner alone (0600). Its folder must exist, on a disk
            of this machine: SQLite's locks do not hold on network file systems.
        keys: 32 bytes each as url-safe base64; what is kept is then encrypted with the first, and read with any. Needs
            the extra ``[seal]``.

    Every write is synchronous (WAL, ``synchronous=FULL``), so that a claim outlives a crash of the machine. Needs the
    extra ``[sqlite]``. Close it with :meth:`aclose` or ``async with``, unless a client does.
    """

    def __init__(self, path: str | os.PathLike[str], *, keys: Sequence[str] | None = None) -> None:
        self._path = Path(path)
        self._form = form_for(keys)
        self._connection: aiosqlite.Connection | None = None
        self._opening = asyncio.Lock()
        self._swept = float("-inf")

    async def insert(self, record: PendingRecord) -> bool:
        """Keep a new record; return ``False``, changing nothing, where its id exists."""
        now = asyncio.get_running_loop().time()
        if now - self._swept >= PURGE_EVERY:
            self._swept = now
            await self._change(_SWEEP, {})
        return await self._change(_INSERT, self._columns(record)) == 1

    async def load(self, pending_id: str) -> StoredRecord | None:
        """Return the record with this id, or ``None``.

        Raises:
            StoredFormatError: it was changed, or a version of this package that this one does not know has written it.
            SealError: it was sealed with other keys, or without.
        """
        rows = await self._fetch(_LOAD, {"id": pending_id})
        if not rows:
            return None
        lease_left, text, *seen = rows[0]
        return StoredRecord(record=self._form.read(pending_id, text, seen=Seen(*seen)), lease_left=lease_left)

    async def swap(self, old: PendingRecord, new: PendingRecord, *, lease: float | None = None) -> bool:
        """Replace a record if it still is what the caller saw."""
        values = self._columns(new) | {
            "lease": lease,
            "old_state": str(old.state),
            "old_round": old.round,
            "old_revision": old.revision,
            "old_claim": old.claim,
        }
        return await self._change(_SWAP, values) == 1

    async def iterate(self, state: PendingState | None = None) -> AsyncIterator[PendingRecord]:
        """Yield the records, or those in one state; what cannot be read is passed over and logged."""
        last = ""
        while rows := await self._fetch(_PAGE, {"last": last, "state": state}):  # none stays open between them
            for last, text, *seen in rows:
                if (record := readable(self._form.read, last, text, seen=Seen(*seen))) is not None:
                    yield record

    async def purge(self, before: datetime) -> int:
        """Remove what is over and return how many records that were."""
        values = {
            "settled": "[" + ",".join(f'"{state}"' for state in SETTLED) + "]",
            "before": before.timestamp(),
            "kept": KEPT_UNSETTLED.total_seconds(),
        }
        return await self._change(_PURGE, values)

    async def aclose(self) -> None:
        """Close the file. It is opened again when the store is used again."""
        async with self._opening:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _ask(self, work: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        """Await SQLite, and turn what it raises into ours."""
        try:
            return await work(await self._opened())
        except BelvoLinksError:
            raise
        except (sqlite3.Error, OSError, ValueError) as error:
            cause = type(error).__name__
        raise StoreError(reason=cause)

    async def _fetch(self, statement: str, values: Values) -> list[sqlite3.Row]:
        return list(await self._ask(lambda database: database.execute_fetchall(statement, values)))

    async def _change(self, statement: str, values: Values) -> int:
        """Execute a statement and return how many rows it changed."""

        async def change(database: aiosqlite.Connection) -> int:
            async with database.execute(statement, values) as cursor:
                return cursor.rowcount

        return await self._ask(change)

    async def _opened(self) -> aiosqlite.Connection:
        async with self._opening:
            if self._connection is None:
                self._connection = await self._connect()
            return self._connection

    def _columns(self, record: PendingRecord) -> dict[str, object]:
        return {
            "id": record.id,
            **attrs.asdict(Seen.of(record)),
            "expires_at": record.expires_at.timestamp(),
            "kept": seconds_kept(record),
            "record": _Unshown(self._form.write(record)),
        }

    async def _connect(self) -> aiosqlite.Connection:
        await asyncio.to_thread(_make_private, self._path)
        connection = await aiosqlite.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        connection.text_factory = _decoded
        try:
            await _use_wal(connection)
            await connection.execute("PRAGMA synchronous = FULL")
            await connection.execute("PRAGMA secure_delete = ON")  # an erased session leaves no trace in the file
            await _ensure_schema(connection)
        except BaseException:
            await connection.close()
            raise
        return connection


class _Unshown:
    """A value of a statement, hidden from aiosqlite's log: a record holds Belvo's session."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __conform__(self, protocol: object) -> str:
        """Return the text: how sqlite3 asks for what it is to store."""
        return self._text

    def __repr__(self) -> str:
        return "<hidden>"


def _decoded(data: bytes) -> str:
    """Return a text; in one that was cut inside a character, what is no UTF-8 stays for whoever reads the record."""
    return data.decode("utf-8", "surrogateescape")


def _make_private(path: Path) -> None:
    """Make the file, or take away what others may do with it; SQLite gives its side files the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)


async def _use_wal(connection: aiosqlite.Connection) -> None:
    """Switch to a journal with which readers and a writer do not wait for each other.

    While another process does so for the first time, SQLite refuses at once, whatever its timeout.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + BUSY_SECONDS
    while True:
        try:
            await connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or loop.time() >= until:
                raise
        else:
            return
        await asyncio.sleep(BUSY_PAUSE)


async def _ensure_schema(connection: aiosqlite.Connection) -> None:
    """Make the table, unless a later version of this package has made another."""
    for (version,) in await connection.execute_fetchall("PRAGMA user_version"):
        if version > SCHEMA_VERSION:
            raise StoreError(reason=f"schema version {version} of a later package")
    await connection.execute(_SCHEMA)
    await connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
