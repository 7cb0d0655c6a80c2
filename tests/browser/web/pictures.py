"""``python -m tests.browser.web.pictures`` takes the pictures of the example for the documentation, always the same."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve

from belvo_links.sandbox import Step
from tests.browser.looking import chromium
from tests.browser.web.house import ROOT, House
from tests.browser.web.visitor import Visitor

if TYPE_CHECKING:
    from playwright.async_api import Browser

NAMES: Final = ("web-qr.png", "web-confirm.png", "web-renew.png")
LARGEST: Final = 100_000
"""Bytes that a reader should have to load at most, for each."""
LOOKS: Final = {"viewport": {"width": 360, "height": 720}, "color_scheme": "light", "java_script_enabled": False}
"""As on a phone; without JavaScript the time that is left stands still."""


async def take(house: House, browser: Browser, folder: Path) -> None:
    """Write the pictures: a QR code, a confirmation elsewhere, an account that has to be renewed."""
    visitor = evolve(await Visitor.arrive(house, browser, **LOOKS), name="user-42")
    await visitor.sign_in()
    await visitor.connect(visitor.challenge("qr"))
    await visitor.says("Scan this code")
    await visitor.page.screenshot(path=folder / NAMES[0])
    await visitor.answer()
    await visitor.connect(visitor.challenge("inputless"), Step.link())
    await visitor.button("I have confirmed").click()
    await visitor.says("Confirm in your bank's app")
    await visitor.page.screenshot(path=folder / NAMES[1])
    lapsed = str(house.box.links[-1]["id"])
    house.box.set_status(lapsed, "token_required")
    await visitor.webhook(lapsed)
    await visitor.comes_back_until("Your bank wants to see you")
    await visitor.page.screenshot(path=folder / NAMES[2])
    await visitor.page.context.close()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with House.open(Path(folder)) as house, chromium() as browser:
            await take(house, browser, ROOT / "docs")


if __name__ == "__main__":
    asyncio.run(main())
