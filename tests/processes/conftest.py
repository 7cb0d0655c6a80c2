"""What the proofs over several processes share."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from belvo_links.sandbox import Sandbox
from belvo_links.stores import PostgresStore
from tests.processes.crew import PROVING, Crew
from tests.processes.place import Place
from tests.servers import PrivateRedis


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "prove: runs in full size where BELVO_LINKS_PROVE=1, as in `nox -s prove`")


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line: on the terminal where figures were asked for, with the test's own output otherwise."""

    def say(line: str) -> None:
        if not PROVING:
            print(line)  # noqa: T201  # shown with the test where it fails
            return
        with capsys.disabled():
            print(f"\n{line}", flush=True)  # noqa: T201  # the figures are what was asked for

    return say


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox() as box:
        yield box


@pytest.fixture(params=["sqlite", "redis", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Say where an empty store is that processes can share, and that loses nothing that it has acknowledged."""
    if request.param == "sqlite":
        return Place("sqlite", str(tmp_path / "pending.db"))
    if request.param == "redis":
        server: PrivateRedis = request.getfixturevalue("private_redis")  # the usual one may lose claims
        return Place("redis", server.url, "processes")
    place = Place("postgres", request.getfixturevalue("postgres_dsn"), request.getfixturevalue("postgres_table"))
    async with PostgresStore(place.address, table=place.name) as store:
        await store.create()
    return place


@pytest.fixture
async def crew(box: Sandbox, place: Place) -> AsyncIterator[Crew]:
    """Worker processes on one store, none of which outlives the test."""
    crew = Crew(box, place)
    try:
        yield crew
    finally:
        await crew.dismiss()
