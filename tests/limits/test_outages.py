"""Servers that hang, die, come back, or are not what they should be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from belvo_links import RateLimit, StoreError
from belvo_links.limits import PostgresLimiter, RedisLimiter, shared
from belvo_links.limits.shared import SharedLimiter
from tests.limits.conftest import BULK, CALL, Kind, Place
from tests.limits.waiting import until
from tests.servers import PrivatePostgres, PrivateRedis

PrivateServer = PrivateRedis | PrivatePostgres
LIMIT = RateLimit(80, 1)


@pytest.fixture
def server(kind: Kind, request: pytest.FixtureRequest) -> PrivateServer:
    found: PrivateServer = request.getfixturevalue(f"private_{kind}")
    return found


@pytest.fixture
async def limiter(server: PrivateServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SharedLimiter]:
    """A limiter that has been used."""
    monkeypatch.setattr(shared, "PROBE_EVERY", 0.1)
    made: RedisLimiter | PostgresLimiter
    made = RedisLimiter(server.url, LIMIT) if isinstance(server, PrivateRedis) else PostgresLimiter(server.dsn, LIMIT)
    if isinstance(made, PostgresLimiter):
        await made.create()
    async with made:
        await made.acquire(CALL)
        yield made


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The levels of what this package has logged; nobody else says anything."""
    found = [record for record in caplog.records if record.name != "asyncio"]
    assert {record.name for record in found} <= {"belvo_links"}
    return [record.levelname for record in found]


async def test_a_server_that_hangs_is_done_without(
    server: PrivateServer, limiter: SharedLimiter, caplog: pytest.LogCaptureFixture
) -> None:
    """After about two seconds, for all who wait; when it answers again, it counts again, and each is said once."""
    caplog.set_level(logging.INFO)
    clock = asyncio.get_running_loop().time
    server.pause()
    began = clock()
    await asyncio.gather(*(limiter.acquire(lane) for lane in (CALL, BULK) for _ in range(3)))
    assert shared.LIMIT - 0.1 < clock() - began < 1.6 * shared.LIMIT
    began = clock()
    await limiter.acquire(CALL)
    assert clock() - began < 0.5 * shared.LIMIT
    assert said(caplog) == ["WARNING"]
    server.resume()
    await until(lambda: limiter._outage is None)
    await limiter.acquire(CALL)
    assert said(caplog) == ["WARNING", "INFO"]


async def test_a_server_that_dies_is_done_without_at_once(
    server: PrivateServer, limiter: SharedLimiter, caplog: pytest.LogCaptureFixture
) -> None:
    """And counts again once it is started anew."""
    caplog.set_level(logging.INFO)
    clock = asyncio.get_running_loop().time
    await asyncio.to_thread(server.kill)
    began = clock()
    await limiter.acquire(CALL)
    assert clock() - began < 0.5 * shared.LIMIT
    assert said(caplog) == ["WARNING"]
    await asyncio.to_thread(server.start)
    await until(lambda: limiter._outage is None)
    await limiter.acquire(CALL)
    assert said(caplog) == ["WARNING", "INFO"]


async def test_a_server_that_was_started_anew_between_two_calls_is_no_outage(
    server: PrivateServer, limiter: SharedLimiter, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection has ended, another one is opened, and nobody need know."""
    caplog.set_level(logging.INFO)
    await asyncio.to_thread(server.restart)
    await limiter.acquire(CALL)
    assert said(caplog) == []


@pytest.mark.parametrize("kind", ["postgres"])
async def test_a_missing_table_is_an_outage_that_says_what_to_do(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until somebody makes it."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(shared, "PROBE_EVERY", 0.02)
    limiter = place.limiter(LIMIT, table=f"{place.name}_2")
    await limiter.acquire(CALL)
    assert "call create() once" in caplog.messages[0]
    assert isinstance(limiter, PostgresLimiter)
    await limiter.create()
    await until(lambda: limiter._outage is None)
    assert said(caplog) == ["WARNING", "INFO"]


@pytest.mark.parametrize("kind", ["postgres"])
async def test_a_table_that_cannot_be_made_is_an_error(place: Place) -> None:
    """Without a word of the server's."""
    limiter = place.limiter(LIMIT, table="there_is_no_such_schema.limits")
    assert isinstance(limiter, PostgresLimiter)
    with pytest.raises(StoreError) as caught:
        await limiter.create()
    assert (caught.value.reason, caught.value.__context__) == ("InvalidSchemaName", None)


@pytest.mark.parametrize("kind", ["postgres"])
async def test_a_stricter_isolation_is_refused(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Where it is the default, what others have counted meanwhile could not be seen."""
    limiter = place.limiter(LIMIT)
    connection: psycopg.AsyncConnection[Any] = await limiter._server._owned.get()  # type: ignore[attr-defined]  # its own
    await connection.execute("SET default_transaction_isolation = 'repeatable read'")
    await limiter.acquire(CALL)
    assert "READ COMMITTED" in caplog.text


@pytest.mark.parametrize("kind", ["redis"])
async def test_a_server_that_refuses_is_an_outage(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """What it says is not repeated: it may quote what it was sent."""
    limiter = place.limiter(LIMIT)
    with place.redis() as client:
        client.set(f"belvo_links:limit:{{{place.name}}}:window", "no sorted set")
    await limiter.acquire(CALL)
    assert "(ResponseError)" in caplog.text
    assert "WRONGTYPE" not in caplog.text
