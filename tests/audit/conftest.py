"""What the tests of audits and bulk actions share: a simulator, and a client of it that does not wait."""

from collections.abc import AsyncIterator

import pytest

from belvo_links import BelvoLinks
from belvo_links.sandbox import Sandbox
from tests.client.making import client
from tests.http.conftest import nothing_left_behind

__all__ = ["nothing_left_behind"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "prove: runs in full size where BELVO_LINKS_PROVE=1, as in `nox -s prove`")


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    """A simulator of its own for each test."""
    async with Sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
async def belvo(box: Sandbox) -> AsyncIterator[BelvoLinks]:
    """A client of it without a limit."""
    async with client(box, rate_limit=None) as one:
        yield one
