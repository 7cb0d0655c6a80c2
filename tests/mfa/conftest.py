"""A simulator and a client per test; nothing may be left behind."""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from belvo_links import BelvoLinks
from belvo_links.sandbox import Sandbox
from belvo_links.stores import MemoryStore, PendingStore, PostgresStore, RedisStore, SqliteStore
from tests.mfa.helpers import client


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    """No task survives its test, and the event loop has nothing to complain about."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    for _ in range(20):  # handlers of a server that was just closed get a few turns to end
        if not left:
            break
        await asyncio.sleep(0)
        left = {task for task in left if not task.done()}
    assert not left
    gc.collect(1)
    assert complaints == []


@pytest.fixture
async def box(nothing_left_behind: None) -> AsyncIterator[Sandbox]:
    """Give a simulator on a socket."""
    async with Sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
def store() -> MemoryStore:
    """Give the store of ``belvo``."""
    return MemoryStore()


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
async def any_store(
    request: pytest.FixtureRequest, nothing_left_behind: None, tmp_path: Path
) -> AsyncIterator[PendingStore]:
    """Give every store in turn."""
    match request.param:
        case "memory":
            yield MemoryStore()
        case "sqlite":
            async with SqliteStore(tmp_path / "pending.db") as file:
                yield file
        case "redis":
            url, namespace = map(request.getfixturevalue, ("redis_url", "redis_namespace"))
            async with RedisStore(url, namespace=namespace) as server:
                yield server
        case _:
            dsn, table = map(request.getfixturevalue, ("postgres_dsn", "postgres_table"))
            async with PostgresStore(dsn, table=table) as database:
                await database.create()
                yield database


@pytest.fixture
async def belvo(box: Sandbox, store: MemoryStore) -> AsyncIterator[BelvoLinks]:
    """Give a client of the simulator."""
    async with client(box, store=store) as opened:
        yield opened
