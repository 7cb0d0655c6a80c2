"""``python -m tests.browser.report_picture`` takes the picture of an audit's report, always the same one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.audit.reporting import portfolio, report
from tests.browser.looking import chromium

PICTURE: Final = Path(__file__).parents[2] / "docs" / "audit-report.png"
WIDTH, HEIGHT = 1100, 1080
LINKS: Final = 4_200


async def take() -> None:
    """Write the picture anew."""
    with TemporaryDirectory() as folder:
        page_file = Path(folder, "report.html")
        await report(Path(folder, "run"), portfolio(LINKS)).write_html(page_file)
        async with chromium() as browser:
            context = await browser.new_context(
                viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light", reduced_motion="reduce"
            )
            page = await context.new_page()
            await page.goto(page_file.as_uri())
            await page.screenshot(path=PICTURE)
            await context.close()


if __name__ == "__main__":
    asyncio.run(take())
