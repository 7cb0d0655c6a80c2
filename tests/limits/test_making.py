"""What limiters are made of, and what they say of themselves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis, RedisCluster

import belvo_links.limits
from belvo_links import RateLimit
from belvo_links.limits import PostgresLimiter, RedisLimiter
from belvo_links.protocol.quotas import SYNC_DELETIONS
from tests.limits.conftest import CALL, Place
from tests.servers import PrivateRedis, free_port

SECRET = "canary-of-a-password"
URL = f"redis://user:{SECRET}@127.0.0.1:1/0"
DSN = f"postgresql://user:{SECRET}@127.0.0.1:1/test"
HOUR = 3600.0

REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: RedisLimiter(f"http://{SECRET}@host"), ValueError, "url: give"),
    (lambda: RedisLimiter(7), TypeError, "url_or_client"),  # type: ignore[arg-type]  # the point
    (lambda: RedisLimiter(URL, name=""), ValueError, "name"),
    (lambda: RedisLimiter(URL, name="a}b"), ValueError, "name"),
    (lambda: RedisLimiter(URL, margin=-1), ValueError, "margin"),
    (lambda: PostgresLimiter(f"host={SECRET} and more"), ValueError, "dsn: give"),
    (lambda: PostgresLimiter(7), TypeError, "dsn_or_pool"),  # type: ignore[arg-type]  # the point
    (lambda: PostgresLimiter(DSN, name="a b"), ValueError, "name"),
    (lambda: PostgresLimiter(DSN, table="limits; drop"), ValueError, "table"),
    (lambda: PostgresLimiter(DSN, table="Limits"), ValueError, "table"),
    (lambda: PostgresLimiter(DSN, margin=-1), ValueError, "margin"),
]


@pytest.mark.parametrize("make, kind, words", REFUSED)
def test_what_is_not_valid_is_refused(make: Callable[[], object], kind: type[Exception], words: str) -> None:
    """At once, and without a piece of it."""
    with pytest.raises(kind, match=words) as caught:
        make()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_it_shows_its_name_and_no_address() -> None:
    """An address holds a password."""
    assert repr(RedisLimiter(URL, name="acme")) == "<RedisLimiter The limiter 'acme' in Redis>"
    assert repr(PostgresLimiter(DSN, name="acme")) == "<PostgresLimiter The limiter 'acme' in PostgreSQL>"


@pytest.mark.parametrize("make", [lambda: RedisLimiter(URL), lambda: PostgresLimiter(DSN)], ids=["redis", "postgres"])
async def test_what_it_logs_holds_no_address(make: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> None:
    """Nor what the driver says."""
    async with make() as limiter:
        await limiter.acquire(CALL)
    assert "cannot be reached" in caplog.text
    assert "10 requests in 30 s" in caplog.text
    assert SECRET not in caplog.text


async def test_it_is_opened_again_after_it_was_closed(place: Place) -> None:
    """And counts on."""
    async with place.limiter(RateLimit(2, HOUR)) as limiter:
        await limiter.acquire(CALL)
    await limiter.acquire(CALL)
    assert len(place.counted()) == 2
    await limiter.aclose()
    await limiter.aclose()


def test_loops_may_follow_each_other(place: Place) -> None:
    """Each opens for itself, and closes when it ends."""
    limiter = place.limiter(RateLimit(2, HOUR))
    asyncio.run(limiter.acquire(CALL))
    asyncio.run(limiter.acquire(CALL))
    assert len(place.counted()) == 2


@pytest.mark.parametrize("decode", [False, True])
async def test_a_client_that_was_given_stays_open(redis_url: str, redis_namespace: str, decode: bool) -> None:
    """However it reads replies."""
    async with Redis.from_url(redis_url, decode_responses=decode) as client:
        async with RedisLimiter(client, name=redis_namespace) as limiter:
            await limiter.acquire(CALL)
            await limiter.acquire(CALL)
        assert await client.ping()


async def test_a_cluster_keeps_one_limiter_on_one_node(make_private_redis: Callable[..., PrivateRedis]) -> None:
    """It refuses scripts that touch keys of several."""
    server = make_private_redis("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    async with Redis.from_url(server.url) as node:
        await node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)  # type: ignore[no-untyped-call]  # the driver's
        await until_it_is_up(node)
    async with RedisCluster("127.0.0.1", server.port) as client, RedisLimiter(client, RateLimit(2, 1)) as limiter:
        for _ in range(3):
            await limiter.acquire(CALL)
        assert await limiter.reserve(SYNC_DELETIONS, "one") == 0
        await limiter.give_back(SYNC_DELETIONS, "one")
        assert limiter._outage is None


async def until_it_is_up(node: Redis) -> None:
    while True:
        info = await node.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]  # the driver's
        if b"cluster_state:ok" in info:
            return
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("autocommit", [False, True])
async def test_a_pool_that_was_given_stays_open_as_it_was(
    postgres_dsn: str, limits_table: str, autocommit: bool
) -> None:
    """Its connections, too; meanwhile every question was a transaction of its own."""
    async with AsyncConnectionPool(postgres_dsn, max_size=1, min_size=1, kwargs={"autocommit": autocommit}) as pool:
        async with PostgresLimiter(pool, table=limits_table) as limiter:
            await limiter.acquire(CALL)
            await limiter.create()
        async with pool.connection() as connection:
            assert connection.autocommit is autocommit
            counted = await (await connection.execute(f"SELECT count(*) FROM {limits_table}".encode())).fetchone()
            assert counted == (1,)


async def test_a_pool_without_a_free_connection_is_an_outage(
    postgres_dsn: str, limits_table: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it for longer than for an answer."""
    monkeypatch.setattr("belvo_links.limits.postgres.LIMIT", 0.1)
    async with (
        AsyncConnectionPool(postgres_dsn, max_size=1, min_size=1) as pool,
        pool.connection(),
        PostgresLimiter(pool, table=limits_table) as limiter,
    ):
        await limiter.acquire(CALL)
    assert "(PoolTimeout)" in caplog.text


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As for any module."""
    with pytest.raises(AttributeError, match="has no attribute 'MemcachedLimiter'"):
        belvo_links.limits.MemcachedLimiter  # noqa: B018  # type: ignore[attr-defined]  # the point


@pytest.mark.parametrize(
    "name, extra, library", [("RedisLimiter", "redis", "redis"), ("PostgresLimiter", "postgres", "psycopg")]
)
def test_without_its_extra_a_limiter_says_which(name: str, extra: str, library: str) -> None:
    """Instead of naming a library."""
    code = f"""
        import sys
        sys.modules[{library!r}] = None
        import belvo_links.limits
        try:
            belvo_links.limits.{name}
        except ModuleNotFoundError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{name} needs the extra [{extra}]: pip install 'belvo-links[{extra}]'\n"
