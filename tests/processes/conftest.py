"""What the proofs over several processes share."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from belvo_links.sandbox import Sandbox
from tests.processes.crew import PROVING, Crew


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


@pytest.fixture
async def crew(box: Sandbox, tmp_path: Path) -> AsyncIterator[Crew]:
    """Worker processes on one SQLite file, none of which outlives the test."""
    crew = Crew(box, tmp_path / "pending.db")
    try:
        yield crew
    finally:
        await crew.dismiss()
