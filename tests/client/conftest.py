"""What the tests of the client share: a simulator, and a client of it that does not wait."""

from collections.abc import AsyncIterator

import pytest

from belvo_links import BelvoLinks
from belvo_links.sandbox import Sandbox
from tests.client.making import client
from tests.http.conftest import nothing_left_behind
from tests.processes.conftest import pytest_configure, tell

__all__ = ["belvo", "box", "nothing_left_behind", "pytest_configure", "tell"]


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    """A simulator of its own for each test."""
    async with Sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
async def belvo(box: Sandbox) -> AsyncIterator[BelvoLinks]:
    """A client of it."""
    async with client(box) as one:
        yield one
