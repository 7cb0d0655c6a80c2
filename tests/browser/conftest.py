"""A browser for all tests of this folder, and for each a simulator whose time is held still."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from belvo_links.client.links import BelvoLinks
from belvo_links.sandbox import Sandbox, Switches
from tests.browser.looking import KEY, START, Looker, chromium, require_browser

if TYPE_CHECKING:
    from playwright.async_api import Browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    require_browser()
    async with chromium() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(clock=lambda: START, control_key=KEY, switches=Switches(confirm_after=None)) as sandbox:
        yield sandbox


@pytest_asyncio.fixture(loop_scope="session")
async def belvo(box: Sandbox) -> AsyncIterator[BelvoLinks]:
    async with BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, **box.client_options) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def look(browser: Browser, box: Sandbox) -> AsyncIterator[Callable[..., Awaitable[Looker]]]:
    """Opens browser windows; at the end, none of them may have complained of anything."""
    lookers: list[Looker] = []

    async def open_window(**looks: Any) -> Looker:
        lookers.append(await Looker.at(box, browser, **looks))
        return lookers[-1]

    yield open_window
    for looker in lookers:
        await looker.page.context.close()
    assert [problem for looker in lookers for problem in looker.problems] == []


@pytest_asyncio.fixture(loop_scope="session")
async def looker(look: Callable[..., Awaitable[Looker]]) -> Looker:
    opened = await look()
    await opened.enter()
    return opened
