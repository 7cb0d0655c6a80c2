"""``python -m tests.browser.picture`` takes the picture of the page for the documentation, always the same one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from belvo_links.client.links import BelvoLinks
from belvo_links.client.pending import PendingSession
from belvo_links.protocol.credentials import Credentials
from belvo_links.sandbox import Fault, Sandbox
from tests.browser.looking import KEY, START, Looker, chromium

PICTURE: Final = Path(__file__).parents[2] / "docs" / "simulator-page.png"
LARGEST: Final = 150_000
"""Bytes that a reader of the documentation should have to load at most."""
WIDTH, HEIGHT = 1140, 856
PORT: Final = 8700


async def lived_in(box: Sandbox) -> None:
    """A morning in the life of a simulator."""
    async with BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, **box.client_options) as belvo:
        await belvo.register("erebor_mx_retail", Credentials("bnk100", "full"), external_id="user-38")
        await belvo.register("gringotts_br_retail", Credentials("sim_lapse_invalid", "full"), external_id="user-39")
        box.advance(days=7, minutes=37)
        for bank, username, password, user in (
            ("heimdall_co_retail", "mfa_qr", "qr_code", "user-40"),
            ("erebor_co_retail", "sim_mfa_inputless", "full", "user-41"),
        ):
            await belvo.register(bank, Credentials(username, password), access_mode="single", external_id=user)
            box.advance(seconds=34)
        done = await belvo.register(
            "gotham_mx_business", Credentials("sim_mfa_chain", "full"), access_mode="single", external_id="user-42"
        )
        assert isinstance(done, PendingSession)
        box.advance(seconds=20)
        again = await done.complete("111111")
        assert isinstance(again, PendingSession)
        await again.complete("111111")
        box.advance(seconds=41)
        await belvo.count()
        box.inject(Fault.drop_after(), method="PATCH", template="/api/links/")


async def take() -> None:
    """Write the picture anew."""
    async with Sandbox(seed=7, clock=lambda: START, port=PORT, control_key=KEY) as box, chromium() as browser:
        await lived_in(box)
        looks = {"width": WIDTH, "height": HEIGHT}
        looker = await Looker.at(box, browser, viewport=looks, color_scheme="light", reduced_motion="reduce")
        page = await looker.enter()
        finished = looker.page.locator("li.link").filter(has_text="user-42")
        await finished.locator("summary").click()
        await page.mouse.move(0, 0)
        await page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
        await page.screenshot(path=PICTURE)


if __name__ == "__main__":
    asyncio.run(take())
