"""A limiter in PostgreSQL."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from importlib.resources import files
from typing import Any, Final

from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg import errors as refusals
from psycopg.errors import Error as PsycopgError
from psycopg.rows import tuple_row
from psycopg_pool import PoolTimeout

from belvo_links.drivers.lifetimes import PerLoop
from belvo_links.drivers.postgres import Connection, Pool, checked_dsn, checked_pool
from belvo_links.errors import StoreError
from belvo_links.limits.shared import LIMIT, PATIENCE, SharedLimiter, UnreachableError
from belvo_links.transport.limit import RateLimit
from belvo_links.transport.messages import Lane, Quota

CREATE_LIMIT: Final = 15.0
"""Seconds for making the table and the functions."""

_TABLE: Final = "belvo_limits"
# Not quoted in the functions' text, so in lower case; 63 letters with the longest function behind it.
_TABLES: Final = re.compile(r"(?:[a-z_][a-z0-9_]{0,62}\.)?[a-z_][a-z0-9_]{0,49}")
_NAME: Final = re.compile(r"[A-Za-z0-9_.:\-]{1,100}")
_MICRO: Final = 1_000_000
_SHUT_DOWN: Final = ("57P01", "57P02")
_PATIENCE: Final = timedelta(seconds=PATIENCE)


class PostgresLimiter(SharedLimiter):
    """An exact sliding window that processes and machines share, in PostgreSQL 12 or newer.

    Args:
        dsn_or_pool: ``postgresql://…`` or ``host=… dbname=…``, for one connection that is opened on first use and
            closed by :meth:`aclose`; or an ``AsyncConnectionPool``, which is never closed.
        limit: requests and seconds. Who shares a name gives the same.
        name: whose requests are counted together, one for each account: letters, digits and ``_ . : -``, at most 100.
        table: its name, with its schema before a dot where that is not on the search path: lower-case letters, digits
            and ``_``, at most 50.
        margin: seconds by which windows are longer than the service's. The limiter counts when a request may leave,
            the service when it arrives: give more than these moments can lie apart.
        fallback: the limit of this process alone while the server cannot be reached; by default an eighth of the
            requests in the same time.
        quotas: whether to count synchronous deletions (5 a minute) and the cooldown of refreshes (ten minutes per
            link), too: the sixth deletion waits, and a refresh that comes too early raises
            :class:`~belvo_links.RefreshCooldownError` without a request.

    Raises:
        ValueError: the DSN, the name, the name of the table or the margin is not valid. The DSN is not quoted.
        TypeError: the first is neither a DSN nor such a pool.

    Make the table and its functions once with :meth:`create`, or with ``postgres.sql`` beside this module. Give it to
    clients as ``rate_limit=``. They do not close it; use it as ``async with``, or call :meth:`aclose`. See the page on
    limits. Needs the extra ``[postgres]``.
    """

    def __init__(
        self,
        dsn_or_pool: str | Pool,
        limit: RateLimit = RateLimit(80, 30),  # noqa: B008  # frozen
        *,
        name: str = "default",
        table: str = _TABLE,
        margin: float = 0.5,
        fallback: RateLimit | None = None,
        quotas: bool = True,
    ) -> None:
        if not _NAME.fullmatch(name):
            msg = "name: give 1 to 100 letters, digits and _ . : -"
            raise ValueError(msg)
        if not _TABLES.fullmatch(table):
            msg = "table: give a name of lower-case letters, digits and _, with its schema before a dot if need be"
            raise ValueError(msg)
        server = _PostgresServer(dsn_or_pool, name=name, table=table)
        super().__init__(
            server,
            what=f"The limiter {name!r} in PostgreSQL",
            limit=limit,
            margin=margin,
            fallback=fallback,
            quotas=quotas,
        )
        self._create = server.create

    async def create(self) -> None:
        """Make the table and its functions, or put those of this version in place. Several may do so at once.

        Raises:
            StoreError: the server cannot be reached, the role may not, or the schema does not exist.
        """
        await self._create()


class _PostgresServer:
    """The functions, and the connection that calls them."""

    def __init__(self, dsn_or_pool: str | Pool, *, name: str, table: str) -> None:
        self._given: Pool | None = None
        if isinstance(dsn_or_pool, str):
            dsn = checked_dsn(dsn_or_pool)
            self._owned = PerLoop(lambda: _opened(dsn))
        else:
            self._given = checked_pool(dsn_or_pool)
        self._name = name
        self._table = table

    async def ask(self, ticket: str, lane: Lane, limit: RateLimit) -> float:
        length = timedelta(seconds=limit.seconds)
        values = (self._name, ticket, int(lane), limit.allowance(lane), length, _PATIENCE)
        return await self._call("ask", *values) / _MICRO

    async def withdraw(self, ticket: str) -> None:
        await self._call("withdraw", self._name, ticket)

    async def report(self, ages: Mapping[str, float], limit: RateLimit) -> None:
        values = (list(ages), list(ages.values()), timedelta(seconds=limit.seconds), _PATIENCE)
        await self._call("report", self._name, *values)

    async def reserve(self, quota: Quota, ticket: str) -> float:
        values = (ticket, quota.requests, timedelta(seconds=quota.seconds))
        return await self._call("reserve", self._name_of(quota), *values) / _MICRO

    async def give_back(self, quota: Quota, ticket: str) -> None:
        await self._call("withdraw", self._name_of(quota), ticket)

    async def aclose(self) -> None:
        if self._given is None:
            await self._owned.aclose()

    async def create(self) -> None:
        path = files("belvo_links.limits").joinpath("postgres.sql")
        text = (await asyncio.to_thread(path.read_text, "utf-8")).replace(_TABLE, self._table)
        try:
            async with self._connection(CREATE_LIMIT) as connection:
                await AsyncCursor(connection).execute(text.encode())
        except Exception as error:  # noqa: BLE001  # besides its own errors a driver lets those of sockets and TLS out
            reason = type(error).__name__
        else:
            return
        raise StoreError(reason=reason)

    def _name_of(self, quota: Quota) -> str:
        return f"{self._name} {quota.name}"

    async def _call(self, function: str, *values: object) -> int:
        """Call a function in a transaction of its own, and return what it says."""
        name = sql.SQL(f"{self._table}_{function}")  # checked by _TABLES
        statement = sql.SQL("SELECT {}({})").format(name, sql.SQL(", ").join(map(_typed, values)))
        try:
            async with self._connection(LIMIT) as connection, AsyncCursor(connection, row_factory=tuple_row) as cursor:
                # Nothing is prepared: it would be looked for on another connection behind a pooler of transactions.
                await cursor.execute(statement, values, prepare=False)
                (answer,) = (await cursor.fetchone()) or (0,)
                return int(answer)
        except Exception as error:  # noqa: BLE001  # besides its own errors a driver lets those of sockets and TLS out
            failure = _failure(error)
        raise failure

    @asynccontextmanager
    async def _connection(self, limit: float) -> AsyncIterator[Connection]:
        """Give a connection for so many seconds, in which every statement is a transaction of its own."""
        if self._given is not None:
            async with (
                self._given.connection(timeout=limit) as connection,
                _on_its_own(connection),
                _cut_after(limit, connection),
            ):
                yield connection
            return
        async with asyncio.timeout(limit):
            connection = await self._owned.get()
            if connection.closed:
                await self._owned.aclose()
                connection = await self._owned.get()
        async with _cut_after(limit, connection):
            yield connection


@asynccontextmanager
async def _on_its_own(connection: Connection) -> AsyncIterator[None]:
    """Make every statement a transaction of its own: a process that stops must not stop the others with its lock."""
    before = connection.autocommit
    await connection.set_autocommit(True)
    try:
        yield
    finally:
        if not connection.closed:
            await connection.set_autocommit(before)


@asynccontextmanager
async def _cut_after(limit: float, connection: Connection) -> AsyncIterator[None]:
    """End the connection if it is needed for longer than so many seconds.

    The driver's own way, upon cancellation, is to ask the server to give up, and to wait for that.

    Raises:
        TimeoutError: it was.
    """
    loop = asyncio.get_running_loop()
    timer = loop.call_later(limit, _cut, connection)
    try:
        yield
    except PsycopgError:
        if loop.time() < timer.when():
            raise
    else:
        return
    finally:
        timer.cancel()
    raise TimeoutError


def _cut(connection: Connection) -> None:
    with (
        suppress(OSError, PsycopgError),
        socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as line,
    ):
        line.shutdown(socket.SHUT_RDWR)


def _typed(value: object) -> sql.SQL:
    """Return a placeholder of this type: without one, PostgreSQL may take a function of another for the one meant."""
    match value:
        case int():
            return sql.SQL("%s::integer")
        case timedelta():
            return sql.SQL("%s::interval")
        case _:
            return sql.SQL("%s")


def _failure(error: Exception) -> UnreachableError:
    match error:
        case refusals.UndefinedFunction() | refusals.UndefinedTable() | refusals.InvalidSchemaName():
            return UnreachableError("there is no such table: call create() once")
        case refusals.InvalidTransactionState():
            return UnreachableError("its connections are not READ COMMITTED")
        case _:
            # Without a code it is not the server that refuses, but the connection that has ended.
            lost = isinstance(error, refusals.OperationalError) and error.sqlstate in {None, *_SHUT_DOWN}
            return UnreachableError(type(error).__name__, dropped=lost and not isinstance(error, PoolTimeout))


async def _opened(dsn: str) -> AsyncGenerator[Connection]:
    settings: dict[str, Any] = {"autocommit": True, "fallback_application_name": "belvo_links"}
    connection = await AsyncConnection.connect(dsn, **settings)
    try:
        yield connection
    finally:
        await connection.close()
