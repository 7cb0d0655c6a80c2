"""Limiters on the servers of this machine, each test with a name or a table of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, TypeAlias

import psycopg
import pytest
import redis

from belvo_links import Lane, LocalLimiter, RateLimit
from belvo_links.limits import PostgresLimiter, RedisLimiter
from tests.http.conftest import nothing_left_behind

__all__ = ["nothing_left_behind"]

Shared: TypeAlias = RedisLimiter | PostgresLimiter
Kind: TypeAlias = Literal["redis", "postgres"]
KINDS: tuple[Kind, ...] = ("redis", "postgres")


class Place:
    """A server with a name of this test's own.

    Attributes:
        kind: which.
        address: its URL or DSN.
        name: of the limiter, or of the table.
    """

    def __init__(self, kind: Kind, address: str, name: str) -> None:
        self.kind = kind
        self.address = address
        self.name = name
        self._stack = contextlib.AsyncExitStack()

    def limiter(self, limit: RateLimit, **options: Any) -> Shared:
        """Another limiter of the same name, as another process has it. It is closed after the test."""
        made: Shared
        if self.kind == "redis":
            made = RedisLimiter(self.address, limit, **{"name": self.name, **options})
        else:
            made = PostgresLimiter(self.address, limit, **{"table": self.name, **options})
        self._stack.push_async_callback(made.aclose)
        return made

    def counted(self) -> dict[str, float]:
        """Until when each ticket of the window counts, in seconds by the server's clock."""
        if self.kind == "redis":
            with self.redis() as client:
                found: list[Any] = client.zrange(f"belvo_links:limit:{{{self.name}}}:window", 0, -1, withscores=True)
            return {ticket: ends / 1e6 for ticket, ends in found}
        return dict(self.rows("SELECT ticket, extract(epoch FROM ends)::float8 FROM {} WHERE lane IS NULL"))

    def waiting(self) -> list[str]:
        """The tickets in the line."""
        if self.kind == "redis":
            with self.redis() as client:
                found: list[Any] = client.zrange(f"belvo_links:limit:{{{self.name}}}:line", 0, -1)
            return list(map(str, found))
        return [ticket for (ticket,) in self.rows("SELECT ticket FROM {} WHERE lane IS NOT NULL ORDER BY arrival")]

    def redis(self) -> contextlib.closing[redis.Redis]:
        return contextlib.closing(redis.Redis.from_url(self.address, decode_responses=True))

    def rows(self, statement: str) -> list[Any]:
        with psycopg.connect(self.address, autocommit=True) as connection:
            return connection.execute(statement.format(self.name).encode()).fetchall()

    async def close(self) -> None:
        await self._stack.aclose()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
async def place(kind: Kind, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Each of the servers in turn."""
    if kind == "redis":
        made = Place(kind, request.getfixturevalue("redis_url"), request.getfixturevalue("redis_namespace"))
    else:
        made = Place(kind, request.getfixturevalue("postgres_dsn"), request.getfixturevalue("limits_table"))
    yield made
    await made.close()


@pytest.fixture
def limits_table(postgres_dsn: str, postgres_table: str) -> Iterator[str]:
    """A table with its functions, which go with it."""
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(limits_sql(postgres_table).encode())
        yield postgres_table
        drop_functions(connection, postgres_table)


def limits_sql(table: str) -> str:
    from importlib.resources import files

    text = files("belvo_links.limits").joinpath("postgres.sql").read_text("utf-8")
    return text.replace("belvo_limits", table)


def drop_functions(connection: psycopg.Connection[Any], table: str) -> None:
    found = connection.execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE starts_with(proname, %s)", [table]
    ).fetchall()
    for (function,) in found:
        connection.execute(f"DROP FUNCTION {function}".encode())


@pytest.fixture(params=["local", *KINDS])
async def limit_of(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A function that makes a limiter of each kind, the one of a single process included."""
    if request.param == "local":
        yield LocalLimiter
        return
    if request.param == "redis":
        made = Place("redis", request.getfixturevalue("redis_url"), request.getfixturevalue("redis_namespace"))
    else:
        made = Place("postgres", request.getfixturevalue("postgres_dsn"), request.getfixturevalue("limits_table"))
    yield lambda limit: made.limiter(limit, margin=0)
    await made.close()


PERSON, CALL, BULK = Lane
