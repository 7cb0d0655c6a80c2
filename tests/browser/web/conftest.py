"""The example web application and its visitors; whatever happens, no token is sent twice and no secret shows."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.browser.looking import REQUIRED
from tests.browser.web.house import House
from tests.browser.web.visitor import Visitor

if TYPE_CHECKING:
    from playwright.async_api import Browser

NEEDED = ("fastapi", "uvicorn", "jinja2", "itsdangerous", "python_multipart", "aiosqlite", "segno")


def require_application() -> None:
    """Skip the test without what the example needs, or fail it where the browser tests are required."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        text = f"examples/web_fastapi needs {', '.join(missing)}: pip install -e '.[test,browser]'"
        if REQUIRED:
            pytest.fail(text, pytrace=False)
        pytest.skip(text)


@pytest.fixture(scope="session")
def application() -> None:
    require_application()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running(application: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder: Path = tmp_path_factory.mktemp("web")
    async with House.open(folder) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="session")
async def house(running: House) -> AsyncIterator[House]:
    yield running
    try:
        running.check()
    finally:
        running.tidy()
        await running.mend()


@pytest_asyncio.fixture(loop_scope="session")
async def arrive(house: House, browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Visitor]]]:
    """Opens a browser for one more person; at the end, none of the browsers may have complained."""
    visitors: list[Visitor] = []

    async def open_window(**looks: Any) -> Visitor:
        visitors.append(await Visitor.arrive(house, browser, **looks))
        return visitors[-1]

    yield open_window
    for visitor in visitors:
        await visitor.page.context.close()
    assert [problem for visitor in visitors for problem in visitor.problems] == []


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(arrive: Callable[..., Awaitable[Visitor]]) -> Visitor:
    return await (await arrive()).sign_in()
