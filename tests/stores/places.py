"""Where the stores are that faults happen to: a file, and servers of the tests' own."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final, LiteralString, Protocol

import psycopg
import redis
from psycopg import sql
from psycopg.conninfo import make_conninfo

from belvo_links.stores import MemoryStore, PendingStore, PostgresStore, RedisStore, SqliteStore
from tests.servers import PrivatePostgres, PrivateRedis

PASSWORD: Final = "canary-password"
"""Of the user that stores are."""

REDIS_OPTIONS: Final = (
    *("--appendonly", "yes", "--appendfsync", "always"),
    *("--user", "app", "on", f">{PASSWORD}", "~*", "&*", "+@all"),
)
"""Of a server that loses nothing it has acknowledged, with the user that stores are."""


class Place(Protocol):
    """Where a store keeps its records."""

    def store(self) -> AbstractAsyncContextManager[PendingStore]:
        """Open a store there, as an application does."""
        ...

    def whole(self) -> AbstractAsyncContextManager[PendingStore]:
        """Open a store there to look at what it has, past everything that limits an application."""
        ...

    async def empty(self) -> None:
        """Remove all records."""
        ...


class MemoryPlace:
    """The memory of this process: one store for all."""

    def __init__(self) -> None:
        self._store = MemoryStore()

    @asynccontextmanager
    async def store(self) -> AsyncIterator[PendingStore]:
        yield self._store

    whole = store

    async def empty(self) -> None:
        self._store._entries.clear()


class SqlitePlace:
    """A file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: list[SqliteStore] = []

    @asynccontextmanager
    async def store(self) -> AsyncIterator[PendingStore]:
        async with SqliteStore(self.path) as store:
            self.opened.append(store)
            yield store

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[PendingStore]:
        async with SqliteStore(self.path) as store:
            yield store

    async def empty(self) -> None:
        self.execute("DELETE FROM belvo_pending")

    def execute(self, statement: str) -> None:
        """Execute a statement as another process would."""
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute(statement)


class RedisPlace:
    """A namespace of a server."""

    def __init__(self, server: PrivateRedis, namespace: str) -> None:
        self.server = server
        self.namespace = namespace

    def url(self, port: int | None = None) -> str:
        """Return the URL that an application has, at this port."""
        return f"redis://app:{PASSWORD}@127.0.0.1:{port or self.server.port}/0"

    @asynccontextmanager
    async def store(self, port: int | None = None) -> AsyncIterator[PendingStore]:
        async with RedisStore(self.url(port), namespace=self.namespace) as store:
            yield store

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[PendingStore]:
        async with RedisStore(self.server.url, namespace=self.namespace) as store:
            yield store

    async def empty(self) -> None:
        with self.admin() as client:
            client.flushall()

    @contextlib.contextmanager
    def admin(self) -> Iterator[redis.Redis]:
        """Connect as who may do everything."""
        with closing(redis.Redis.from_url(self.server.url, single_connection_client=True)) as client:
            yield client


class PostgresPlace:
    """A table of a server, and a role that may use it."""

    def __init__(self, server: PrivatePostgres, table: str) -> None:
        self.server = server
        self.table = table

    def dsn(self, port: int | None = None) -> str:
        """Return the DSN that an application has, at this port."""
        return make_conninfo(self.server.dsn, user="app", password=PASSWORD, port=port or self.server.port)

    @asynccontextmanager
    async def store(self, port: int | None = None) -> AsyncIterator[PendingStore]:
        async with PostgresStore(self.dsn(port), table=self.table) as store:
            yield store

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[PendingStore]:
        async with PostgresStore(self.server.dsn, table=self.table) as store:
            yield store

    async def create(self) -> None:
        """Make the table, and the role where there is none."""
        async with PostgresStore(self.server.dsn, table=self.table) as store:
            await store.create()
        self.execute("DO $$ BEGIN CREATE ROLE app LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        self.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO app")

    async def empty(self) -> None:
        self.execute("TRUNCATE {}")

    def execute(self, *statements: LiteralString) -> list[tuple[Any, ...]]:
        """Execute statements as who may do everything, and return the rows of the last."""
        rows: list[tuple[Any, ...]] = []
        with psycopg.connect(self.server.dsn, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(sql.SQL(statement).format(sql.Identifier(self.table)))
                rows = [] if cursor.description is None else cursor.fetchall()
        return rows

    async def end_sessions(self) -> None:
        """End what the role has open."""
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        await self.is_left()

    async def is_left(self) -> None:
        """Wait until the role has nothing open."""
        async with asyncio.timeout(10):
            while self.execute("SELECT FROM pg_stat_activity WHERE usename = 'app'"):  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.01)
