"""What can happen to a store, made to happen: each begins when it is told to, and ends so that all is as before."""

import asyncio
import os
import pwd
import resource
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from typing import Any, Final, LiteralString, TypeAlias, cast

import attrs
import psycopg
import pytest
from psycopg import sql
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import BlockingConnectionPool, Redis

from belvo_links.drivers import lifetimes as driver
from belvo_links.stores import PendingStore, PostgresStore, RedisStore
from belvo_links.stores import postgres as postgres_module
from belvo_links.stores import redis as redis_module
from tests.processes.crew import PROVING
from tests.servers import Relay, free_port
from tests.stores.places import Place, PostgresPlace, RedisPlace, SqlitePlace
from tests.stores.table import Kind

Store: TypeAlias = Callable[[], AbstractAsyncContextManager[PendingStore]]
Step: TypeAlias = Callable[[], Awaitable[None]]


@attrs.frozen
class Outage:
    """A fault at a place.

    Attributes:
        begin: make it happen.
        end: undo it, and wait until nothing of it is under way any more.
        store: opens a store that it happens to; each has a connection of its own.
    """

    begin: Step
    end: Step
    store: Store


Making: TypeAlias = Callable[[Any, pytest.MonkeyPatch], AbstractAsyncContextManager[Outage]]


async def _nothing() -> None:
    pass


# --------------------------------------------------------------------------------------------------- of every store


@asynccontextmanager
async def nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """All is well."""
    yield Outage(_nothing, _nothing, place.store)


@asynccontextmanager
async def emptied(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """Somebody has removed all records."""
    yield Outage(place.empty, _nothing, place.store)


# ---------------------------------------------------------------------------------------------------- of the servers


Server: TypeAlias = RedisPlace | PostgresPlace


@asynccontextmanager
async def restarted(place: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """SIGKILL, and a new start before the next command."""

    async def begin() -> None:
        await asyncio.to_thread(place.server.restart)

    yield Outage(begin, _nothing, place.store)


@asynccontextmanager
async def killed(place: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """SIGKILL, and a new start afterwards."""

    async def begin() -> None:
        await asyncio.to_thread(place.server.kill)

    async def end() -> None:
        await asyncio.to_thread(place.server.start)

    yield Outage(begin, end, place.store)


@asynccontextmanager
async def hanging(place: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """SIGSTOP, for longer than a store waits, and SIGCONT."""
    module = redis_module if isinstance(place, RedisPlace) else postgres_module
    whole, grace = module.LIMIT, driver.GRACE

    async def begin() -> None:
        place.server.pause()
        if not PROVING:  # it is as long as that anyway
            monkeypatch.setattr(module, "LIMIT", 0.3)
            monkeypatch.setattr(driver, "GRACE", 0.1)

    async def end() -> None:
        monkeypatch.setattr(module, "LIMIT", whole)
        monkeypatch.setattr(driver, "GRACE", grace)
        place.server.resume()
        if isinstance(place, PostgresPlace):  # what it was told while it hung, it does in its own time
            await place.is_left()

    yield Outage(begin, end, place.store)


class Cutting(Relay):
    """Loses commands as well: so many of the next ones, and the connection with each."""

    commands = 0

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool) -> None:
        while data := await reader.read(65536):
            if replies and self.lose:
                self.lose -= 1
                return
            if not replies and self.commands:
                self.commands -= 1
                return
            writer.write(data)
            await writer.drain()


def cut(*, commands: int = 0, replies: int = 0) -> Making:
    """Return what loses so many commands, or replies, of every store."""

    @asynccontextmanager
    async def making(place: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
        relays: list[Cutting] = []

        @asynccontextmanager
        async def store() -> AsyncIterator[PendingStore]:
            async with Cutting.to(place.server.port) as relay, place.store(relay.port) as opened:
                relays.append(cast(Cutting, relay))
                yield opened

        async def begin() -> None:
            for relay in relays:
                relay.commands, relay.lose = commands, replies

        async def end() -> None:
            for relay in relays:
                relay.commands, relay.lose = 0, 0

        yield Outage(begin, end, store)

    return making


MANY: Final = 1_000_000


# ------------------------------------------------------------------------------------------------------------ SQLite


@asynccontextmanager
async def locked_file(place: SqlitePlace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """Another process writes and does not come to an end."""
    if not PROVING:
        monkeypatch.setattr("belvo_links.stores.sqlite.BUSY_SECONDS", 0.3)
    with closing(sqlite3.connect(place.path, isolation_level=None, timeout=10)) as other:

        async def begin() -> None:
            other.execute("BEGIN EXCLUSIVE")

        async def end() -> None:
            other.execute("ROLLBACK")

        yield Outage(begin, end, place.store)


@asynccontextmanager
async def no_file_grows(place: SqlitePlace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """The kernel refuses every write of this process to a file, as it does where the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def begin() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))

    async def end() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    yield Outage(begin, end, place.store)


@asynccontextmanager
async def full_disk(place: SqlitePlace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """The disk of the file has no block left: for a small one, that can be filled."""
    filling = place.path.with_name("filling")

    async def begin() -> None:
        with filling.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass

    async def end() -> None:
        filling.unlink()

    yield Outage(begin, end, place.store)


@asynccontextmanager
async def unwritable_file(place: SqlitePlace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """The file is opened anew, and may no longer be written; root may write to every file, and so is somebody else."""
    is_root = os.geteuid() == 0

    async def begin() -> None:
        for store in place.opened:
            await store.aclose()
        place.path.chmod(0o400)
        if is_root:
            os.seteuid(pwd.getpwnam("nobody").pw_uid)

    async def end() -> None:
        if is_root:
            os.seteuid(0)
        place.path.chmod(0o600)

    yield Outage(begin, end, place.store)


@asynccontextmanager
async def missing_sqlite_table(place: SqlitePlace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """Somebody has renamed it."""

    async def begin() -> None:
        place.execute("ALTER TABLE belvo_pending RENAME TO elsewhere")

    async def end() -> None:
        place.execute("ALTER TABLE elsewhere RENAME TO belvo_pending")

    yield Outage(begin, end, place.store)


# ------------------------------------------------------------------------------------------------------------- Redis


@asynccontextmanager
async def redis_pool(place: RedisPlace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """The one connection of a given client is in use."""
    pools: list[BlockingConnectionPool] = []
    held: list[Any] = []

    @asynccontextmanager
    async def store() -> AsyncIterator[PendingStore]:
        pool = BlockingConnectionPool.from_url(place.url(), max_connections=1, timeout=0.05)
        pools.append(pool)
        async with Redis.from_pool(pool) as client:
            yield RedisStore(client, namespace=place.namespace)

    async def begin() -> None:
        held.extend([(pool, await pool.get_connection()) for pool in pools])  # type: ignore[no-untyped-call]  # theirs

    async def end() -> None:
        for pool, connection in held:
            await pool.release(connection)

    yield Outage(begin, end, store)


@asynccontextmanager
async def too_many_clients(place: RedisPlace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """The server has as many as it takes, and the store's connections are not among them."""
    with place.admin() as client:
        whole = str(client.config_get("maxclients")["maxclients"])

        async def begin() -> None:
            client.config_set("maxclients", 1)
            client.execute_command("CLIENT", "KILL", "USER", "app")  # type: ignore[no-untyped-call]  # the driver's

        async def end() -> None:
            client.config_set("maxclients", whole)

        yield Outage(begin, end, place.store)


def redis_commands(begins: tuple[str, ...], ends: tuple[str, ...]) -> Making:
    """Return what an administrator of the server has done, and undone."""

    @asynccontextmanager
    async def making(place: RedisPlace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
        async def begin() -> None:
            with place.admin() as client:
                client.execute_command(*begins)  # type: ignore[no-untyped-call]  # the driver's

        async def end() -> None:
            with place.admin() as client:
                client.execute_command(*ends)  # type: ignore[no-untyped-call]  # the driver's

        yield Outage(begin, end, place.store)

    return making


# -------------------------------------------------------------------------------------------------------- PostgreSQL


@asynccontextmanager
async def postgres_pool(place: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """The one connection of a given pool is in use."""
    whole = postgres_module.POOL_SECONDS
    pools: list[AsyncConnectionPool] = []
    held = AsyncExitStack()

    @asynccontextmanager
    async def store() -> AsyncIterator[PendingStore]:
        async with AsyncConnectionPool(place.dsn(), min_size=1, max_size=1, open=False) as pool:
            await pool.wait()
            pools.append(pool)
            yield PostgresStore(pool, table=place.table)

    async def begin() -> None:
        for pool in pools:
            await held.enter_async_context(pool.connection())
        monkeypatch.setattr(postgres_module, "POOL_SECONDS", 0.3)

    async def end() -> None:
        monkeypatch.setattr(postgres_module, "POOL_SECONDS", whole)
        await held.aclose()

    yield Outage(begin, end, store)


@asynccontextmanager
async def locked_table(place: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
    """A migration, say, holds the table for longer than a store waits."""
    whole = postgres_module.LIMIT
    with psycopg.connect(place.server.dsn) as other:

        async def begin() -> None:
            other.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier(place.table)))
            if not PROVING:
                monkeypatch.setattr(postgres_module, "LIMIT", 0.3)
            monkeypatch.setattr(driver, "GRACE", 10.0)  # that a statement was cancelled must get through

        async def end() -> None:
            other.rollback()
            monkeypatch.setattr(postgres_module, "LIMIT", whole)

        yield Outage(begin, end, place.store)


def postgres_statements(begins: LiteralString, ends: LiteralString, *, anew: bool = False) -> Making:
    """Return what an administrator of the server has done, and undone; ``anew``: it holds for new sessions only."""

    @asynccontextmanager
    async def making(place: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outage]:
        async def begin() -> None:
            place.execute(begins)
            if anew:
                await place.end_sessions()

        async def end() -> None:
            place.execute(ends)
            if anew:
                await place.end_sessions()

        yield Outage(begin, end, place.store)

    return making


# --------------------------------------------------------------------------------------------------------- all of them


def of_servers(making: Making) -> dict[Kind, Making]:
    return {Kind.REDIS: making, Kind.POSTGRES: making}


OUTAGES: Final[dict[str, dict[Kind, Making]]] = {
    "nothing": dict.fromkeys(Kind, nothing),
    "it was emptied": dict.fromkeys(Kind, emptied),
    "the server was killed and started again": of_servers(restarted),
    "the server was killed and is down": of_servers(killed),
    "the server hangs": of_servers(hanging),
    "the connection breaks before the command arrives": of_servers(cut(commands=1)),
    "the connection breaks before the reply arrives": of_servers(cut(replies=1)),
    "no reply arrives any more": of_servers(cut(replies=MANY)),
    "no connection in the pool is free": {Kind.REDIS: redis_pool, Kind.POSTGRES: postgres_pool},
    "the server has too many connections": {
        Kind.REDIS: too_many_clients,
        Kind.POSTGRES: postgres_statements(
            "ALTER ROLE app CONNECTION LIMIT 0", "ALTER ROLE app CONNECTION LIMIT -1", anew=True
        ),
    },
    "another process holds the lock": {Kind.SQLITE: locked_file, Kind.POSTGRES: locked_table},
    "the disk is full": {Kind.SQLITE: no_file_grows},
    "the memory is full": {
        Kind.REDIS: redis_commands(("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    },
    "it became read-only": {
        Kind.SQLITE: unwritable_file,
        Kind.REDIS: redis_commands(("REPLICAOF", "127.0.0.1", str(free_port())), ("REPLICAOF", "NO", "ONE")),
        Kind.POSTGRES: postgres_statements(
            "ALTER ROLE app SET default_transaction_read_only = on",
            "ALTER ROLE app RESET default_transaction_read_only",
            anew=True,
        ),
    },
    "the right to change it was withdrawn": {
        Kind.REDIS: redis_commands(("ACL", "SETUSER", "app", "-@scripting"), ("ACL", "SETUSER", "app", "+@all")),
        Kind.POSTGRES: postgres_statements("REVOKE INSERT, UPDATE ON {} FROM app", "GRANT INSERT, UPDATE ON {} TO app"),
    },
    "the table is missing": {
        Kind.SQLITE: missing_sqlite_table,
        Kind.POSTGRES: postgres_statements("ALTER TABLE {} RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO {}"),
    },
}
"""How each fault of the table is made."""
