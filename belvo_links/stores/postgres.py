"""A store in PostgreSQL: for any number of machines, and the one that loses nothing it has acknowledged."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.resources import files
from types import TracebackType
from typing import Any, Final, LiteralString, Self, TypeAlias, TypeVar

import attrs
from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg import errors as refusals
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import Error as PsycopgError
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from belvo_links.drivers.lifetimes import Connections, NoConnectionError, PerLoop, bounded
from belvo_links.drivers.postgres import Connection, Pool, checked_dsn, checked_pool
from belvo_links.errors import StoreError
from belvo_links.protocol.mfa import SETTLED, PendingRecord, PendingState
from belvo_links.stores.base import KEPT_UNSETTLED, StoredRecord
from belvo_links.stores.form import Seen, form_for, readable, seconds_kept

T = TypeVar("T")

Values: TypeAlias = Mapping[str, object]
Rows: TypeAlias = list[tuple[Any, ...]]

LIMIT: Final = 15.0
"""Seconds for one call, whatever the pool's own limits are."""

CONNECT_SECONDS: Final = 5
"""Seconds for connecting, where the DSN does not say otherwise."""

POOL_SECONDS: Final = 10.0
"""Seconds to wait for a connection at most, also of a pool that was given."""

CONNECTIONS: Final = 8
PURGE_EVERY: Final = 60.0
"""Seconds between removals of what is over."""

ATTEMPTS: Final = 20
"""How often a statement is tried that PostgreSQL has undone because of others at the same rows."""

_DEFAULT_TABLE: Final = "belvo_pending"
_TABLE: Final = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{0,62}")

# A claim must not be lost once it is acknowledged, so a transaction that would not wait for the disk is made to; a
# setting that waits for more, as for a replica, stays. It is set within the statement and for its transaction alone:
# behind a pooler of transactions nothing else holds.
_DURABLE: Final = """
WITH durable AS MATERIALIZED (
    SELECT set_config('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'), true)
)
"""
_INSERT: Final = f"""
{_DURABLE}
INSERT INTO {{table}} (id, state, round, revision, claim, expires_at, keep_until, record)
SELECT %(id)s, %(state)s, %(round)s, %(revision)s, %(claim)s, %(expires_at)s,
    clock_timestamp() + make_interval(secs => %(kept)s), %(record)s
FROM durable
ON CONFLICT (id) DO NOTHING
RETURNING true
"""  # noqa: S608  # made of constants
_SWAP: Final = f"""
{_DURABLE}
UPDATE {{table}}
SET state = %(state)s, round = %(round)s, revision = %(revision)s, claim = %(claim)s,
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s), expires_at = %(expires_at)s,
    keep_until = clock_timestamp() + make_interval(secs => %(kept)s), record = %(record)s
FROM durable
WHERE id = %(id)s AND state = %(old_state)s AND round = %(old_round)s AND revision = %(old_revision)s
    AND claim IS NOT DISTINCT FROM %(old_claim)s
RETURNING true
"""  # noqa: S608  # made of constants
_LOAD: Final = """
SELECT extract(epoch FROM lease_until - clock_timestamp())::float8, record, state, round, revision, claim
FROM {table} WHERE id = %(id)s
"""
_PAGE: Final = """
SELECT id, record, state, round, revision, claim FROM {table}
WHERE id > %(last)s AND (%(state)s::text IS NULL OR state = %(state)s) ORDER BY id LIMIT 100
"""
# What another process is about to remove is passed over, so that nobody waits for anybody.
_SWEEP: Final = """
DELETE FROM {table} WHERE id IN (
    SELECT id FROM {table} WHERE keep_until < clock_timestamp() ORDER BY keep_until LIMIT 1000 FOR UPDATE SKIP LOCKED
)
"""
_PURGE: Final = """
DELETE FROM {table}
WHERE expires_at < CASE WHEN state = ANY(%(settled)s) THEN %(before)s ELSE %(before)s - %(kept)s::interval END
RETURNING true
"""


class PostgresStore:
    """Keeps pending records in a table of PostgreSQL 12 or newer.

    Args:
        dsn_or_pool: ``postgresql://…`` or ``host=… dbname=…``, for at most 8 connections that are opened when they are
            needed and closed by :meth:`aclose`; or an ``AsyncConnectionPool`` with settings of any kind, which is
            never closed.
        table: its name, with its schema before a dot where that is not on the search path: letters, digits and ``_``.
        keys: 32 bytes each as url-safe base64; what is kept is then encrypted with the first, and read with any. Needs
            the extra ``[seal]``.

    Raises:
        ValueError: the DSN or the name of the table is not valid. The DSN is not quoted.
        TypeError: it is neither a DSN nor such a pool.

    Make the table once with :meth:`create`, or with ``postgres.sql`` beside this module. Every write waits until it is
    on disk. Works behind a pooler of transactions. Needs the extra ``[postgres]``.
    """

    def __init__(
        self, dsn_or_pool: str | Pool, *, table: str = _DEFAULT_TABLE, keys: Sequence[str] | None = None
    ) -> None:
        if not _TABLE.fullmatch(table):
            msg = "table: give a name of letters, digits and _, at most 63, with its schema before a dot if need be"
            raise ValueError(msg)
        self._given: Pool | None = None
        if isinstance(dsn_or_pool, str):
            dsn = checked_dsn(dsn_or_pool)
            self._owned = PerLoop(lambda: _opened(dsn))
        else:
            self._given = checked_pool(dsn_or_pool)
        self._table = sql.Identifier(*table.split("."))
        self._form = form_for(keys)
        self._swept = float("-inf")

    async def create(self) -> None:
        """Make the table where there is none. Any number of processes may do so at the same time.

        Raises:
            StoreError: the role may not, or the schema does not exist.
        """
        await self._ask(self._create())

    async def insert(self, record: PendingRecord) -> bool:
        """Keep a new record; return ``False``, changing nothing, where its id exists."""
        now = asyncio.get_running_loop().time()
        if now - self._swept >= PURGE_EVERY:
            self._swept = now
            await self._fetch(_SWEEP, {})
        return bool(await self._fetch(_INSERT, self._columns(record)))

    async def load(self, pending_id: str) -> StoredRecord | None:
        """Return the record with this id, or ``None``.

        Raises:
            StoredFormatError: it was changed, or a version of this package that this one does not know has written it.
            SealError: it was sealed with other keys, or without.
        """
        if "\0" in pending_id:  # which no text of PostgreSQL holds
            return None
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
        return bool(await self._fetch(_SWAP, values))

    async def iterate(self, state: PendingState | None = None) -> AsyncIterator[PendingRecord]:
        """Yield the records, or those in one state; what cannot be read is passed over and logged."""
        last = ""
        while rows := await self._fetch(_PAGE, {"last": last, "state": None if state is None else str(state)}):
            for last, text, *seen in rows:
                if (record := readable(self._form.read, last, text, seen=Seen(*seen))) is not None:
                    yield record

    async def purge(self, before: datetime) -> int:
        """Remove what is over and return how many records that were."""
        values = {"settled": [str(state) for state in SETTLED], "before": before, "kept": KEPT_UNSETTLED}
        return len(await self._fetch(_PURGE, values))

    async def aclose(self) -> None:
        """Close the pool, unless it was given. It is opened again when the store is used again."""
        if self._given is None:
            await self._ask(self._owned.aclose())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _columns(self, record: PendingRecord) -> dict[str, object]:
        return {
            "id": record.id,
            **attrs.asdict(Seen.of(record)),
            "expires_at": record.expires_at,
            "kept": seconds_kept(record),
            "record": self._form.write(record),
        }

    # ------------------------------------------------------------------------------------------------- the server

    async def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Await the driver for a bounded time, and turn whatever it raises into ours."""
        try:
            return await bounded(work, LIMIT)
        except NoConnectionError:
            reason = "PoolTimeout"
        except refusals.UndefinedTable:
            reason = "there is no such table: call create() once"
        except Exception as error:  # noqa: BLE001  # besides its own errors a driver lets those of sockets and TLS out
            reason = type(error).__name__
        raise StoreError(reason=reason)

    async def _fetch(self, statement: LiteralString, values: Values) -> Rows:
        return await self._ask(self._execute(sql.SQL(statement).format(table=self._table), values))

    async def _execute(self, statement: sql.Composed, values: Values) -> Rows:
        """Execute one statement in a transaction of its own, and return its rows.

        Where connections are ``REPEATABLE READ`` or ``SERIALIZABLE`` by default, PostgreSQL undoes a statement that
        met another at the same rows, and says so. Nothing has happened then: the next attempt sees what the other has
        done, so that the answer is the true one.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._execute_once(statement, values)
            except (refusals.SerializationFailure, refusals.DeadlockDetected):
                await asyncio.sleep(0)
        return await self._execute_once(statement, values)

    async def _execute_once(self, statement: sql.Composed, values: Values) -> Rows:
        # A cursor of our own, since those of a given connection may take other parameters or give other rows.
        # Nothing is prepared: it would be looked for on another connection behind a pooler of transactions.
        async with (
            self._connection() as connection,
            AsyncCursor(connection, row_factory=tuple_row) as cursor,
        ):
            await cursor.execute(statement, values, prepare=False)
            return [] if cursor.description is None else await cursor.fetchall()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        pool = self._given
        if pool is None:
            lent = (await self._owned.get()).connection()
        else:
            lent = pool.connection(timeout=min(pool.timeout, POOL_SECONDS))
        async with lent as connection:
            yield connection

    async def _create(self) -> None:
        text = await asyncio.to_thread(files("belvo_links.stores").joinpath("postgres.sql").read_text, "utf-8")
        async with self._connection() as connection:
            name = self._table.as_string(connection)
            await AsyncCursor(connection).execute(text.replace(_DEFAULT_TABLE, name).encode())


async def _opened(dsn: str) -> AsyncGenerator[Connections[Connection]]:
    defaults: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "client_encoding": "utf8"}
    given = conninfo_to_dict(dsn)
    settings = {name: value for name, value in defaults.items() if name not in given}
    settings |= {"autocommit": True, "fallback_application_name": "belvo_links"}
    connections = Connections(
        lambda: AsyncConnection.connect(dsn, **settings), is_usable=_is_usable, size=CONNECTIONS, wait=POOL_SECONDS
    )
    try:
        yield connections
    finally:
        await connections.aclose()


def _is_usable(connection: Connection) -> bool:
    """Return whether a connection is idle, and open as far as this side can tell without asking the server."""
    try:
        for _ in range(2):  # where the server has ended, it may have said why, and then comes the end
            connection.pgconn.consume_input()
    except PsycopgError:
        return False
    return connection.info.transaction_status is TransactionStatus.IDLE
