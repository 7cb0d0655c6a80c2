"""The pictures of the documentation show the application as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.web import pictures
from tests.browser.web.house import ROOT, House

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")


def size(png: Path) -> tuple[int, int]:
    """Width and height in pixels, from the file's head."""
    head = png.read_bytes()[16:24]
    return int.from_bytes(head[:4]), int.from_bytes(head[4:])


async def test_the_pictures_can_be_taken_again(house: House, browser: Browser, tmp_path: Path) -> None:
    """By the same steps, as large as they are; another machine's letters look a little different."""
    await pictures.take(house, browser, tmp_path)
    for name in pictures.NAMES:
        for png in (ROOT / "docs" / name, tmp_path / name):
            assert size(png) == (360, 720)
            assert png.stat().st_size < pictures.LARGEST
