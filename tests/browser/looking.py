"""A browser to look with: the system's Chromium, and what went wrong on a page while somebody looked at it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest
from attrs import field, frozen

from belvo_links.sandbox import Sandbox

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

KEY: Final = "a-control-key-of-tests"
START: Final = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
REQUIRED: Final = os.environ.get("BELVO_LINKS_REQUIRE_BROWSER") == "1"
CHROMIUM: Final = os.environ.get("BELVO_LINKS_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS: Final = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE: Final = 10_000
"""Milliseconds after which something that should appear has not."""


def what_is_missing() -> str:
    """What the browser tests need and this machine has not; empty: nothing."""
    if importlib.util.find_spec("playwright") is None:
        return "the browser tests need Playwright: pip install -e '.[test,browser]'"
    if not os.access(CHROMIUM, os.X_OK):
        return "the browser tests need Chromium: apt-get install chromium, or its path in BELVO_LINKS_CHROMIUM"
    return ""


def require_browser() -> None:
    """Skip the test without a browser, or fail it where one is required."""
    if missing := what_is_missing():
        if REQUIRED:
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser without a window."""
    from playwright.async_api import async_playwright

    as_root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *as_root])
        try:
            yield browser
        finally:
            await browser.close()


@frozen
class Looker:
    """Somebody who looks at the page of a simulator."""

    box: Sandbox
    page: Page
    problems: list[str] = field(factory=list[str])
    """What the page, or the browser about it, has complained of; hosts that it asked besides the simulator."""

    @classmethod
    async def at(cls, box: Sandbox, browser: Browser, **looks: Any) -> Looker:
        """Open a page for a simulator; ``looks`` are a browser context's."""
        context = await browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **looks})
        context.set_default_timeout(PATIENCE)
        looker = cls(box, await context.new_page())
        page, note = looker.page, looker.problems.append
        page.on("pageerror", lambda error: note(f"error: {error}"))
        page.on("console", lambda message: note(f"console: {message.text}"))
        page.on("request", lambda request: looker._watch(request.url))

        async def refuse(dialog: Any) -> None:
            note(f"dialog: {dialog.message}")
            await dialog.dismiss()

        page.on("dialog", refuse)
        return looker

    def _watch(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.netloc != urlsplit(self.box.url).netloc:
            self.problems.append(f"request: {parts.netloc}")

    async def enter(self) -> Page:
        """Open the printed address, and wait until the page renews itself."""
        await self.page.goto(self.box.page_url)
        await self.said("#connection", "live")
        return self.page

    async def said(self, where: str, text: str) -> Locator:
        """Wait until something on the page says this."""
        found = self.page.locator(where).filter(has_text=text).first
        await found.wait_for()
        return found

    async def gone(self, where: str, text: str = "") -> None:
        """Wait until nothing on the page says this any more."""
        await self.page.locator(where).filter(has_text=text).first.wait_for(state="detached")

    def login(self, link_id: str) -> Locator:
        """The card of a waiting login."""
        return self.page.locator(f"article[aria-labelledby='bank-{link_id}']")

    def link(self, link_id: str) -> Locator:
        """The card of a link."""
        return self.page.locator(f"li.link:has([id='history-{link_id}'])")

    async def token(self, link_id: str) -> str:
        """Read the token off the card, as the user off the phone."""
        return await self.login(link_id).locator(".token").inner_text()

    async def width(self) -> int:
        """How wide the page is, in CSS pixels."""
        width: int = await self.page.evaluate("document.documentElement.scrollWidth")
        return width
