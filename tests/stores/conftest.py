"""Servers that the faults happen to, and nothing that is left behind by them."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.mfa.conftest import box, nothing_left_behind  # noqa: F401  # pytest finds fixtures by their names
from tests.servers import PrivatePostgres, PrivateRedis, postgres_server, redis_servers
from tests.stores.places import REDIS_OPTIONS, MemoryPlace, Place, PostgresPlace, RedisPlace, SqlitePlace
from tests.stores.table import Kind


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "prove: runs in full size where BELVO_LINKS_PROVE=1, as in `nox -s prove`")


@pytest.fixture(scope="session")
def failing_redis() -> Iterator[PrivateRedis]:
    """Give a Redis that these tests share, each with a namespace of its own."""
    with redis_servers() as make:
        yield make(*REDIS_OPTIONS)


@pytest.fixture(scope="session")
def failing_postgres(postgres_template: tuple[Path, Path]) -> Iterator[PrivatePostgres]:
    """Give a PostgreSQL that these tests share, each with a table of its own."""
    with postgres_server(postgres_template) as server:
        yield server


@pytest.fixture
async def place(request: pytest.FixtureRequest, kind: Kind, tmp_path: Path) -> AsyncIterator[Place]:
    """Give a place of this kind, which is the test's own."""
    name = f"t_{secrets.token_hex(6)}"
    match kind:
        case Kind.MEMORY:
            yield MemoryPlace()
        case Kind.SQLITE:
            yield SqlitePlace(tmp_path / "pending.db")
        case Kind.REDIS:
            yield RedisPlace(request.getfixturevalue("failing_redis"), name)
        case Kind.POSTGRES:
            made = PostgresPlace(request.getfixturevalue("failing_postgres"), name)
            await made.create()
            yield made
