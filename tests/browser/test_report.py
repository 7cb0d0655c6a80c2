"""The HTML report in a browser: sorting, filtering, dark, narrow, printed, and nothing to complain of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from belvo_links.audit.findings import Finding, Severity
from belvo_links.protocol.models import LinkStatus
from tests.audit.reporting import link, portfolio, report
from tests.audit.test_html import HOSTILE
from tests.browser.looking import PATIENCE
from tests.browser.picture import LARGEST
from tests.browser.report_picture import PICTURE

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="session")

Open = Callable[..., "Awaitable[Page]"]
CONTRAST = """
() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (node) => {
    for (let each = node; each; each = each.parentElement) {
      const colour = channels(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const ratio = (a, b) => {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const worst = { text: 21, shape: 21 };
  for (const node of document.querySelectorAll("h1, h2, p, span, dt, dd, th button, td, code, figcaption, li, label")) {
    if (node.textContent.trim()) {
      worst.text = Math.min(worst.text, ratio(channels(getComputedStyle(node).color), ground(node)));
    }
  }
  for (const node of document.querySelectorAll("svg text")) {
    worst.text = Math.min(worst.text, ratio(channels(getComputedStyle(node).fill), ground(node.closest("figure"))));
  }
  for (const node of document.querySelectorAll("svg .piece, svg .column")) {
    worst.shape = Math.min(worst.shape, ratio(channels(getComputedStyle(node).fill), ground(node.closest("figure"))));
  }
  return worst;
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def usual(folder: Path) -> Path:
    path = folder / "usual.html"
    await report(folder / "usual", portfolio(400), unreadable=[(None, ["$.id: expected text"])]).write_html(path)
    return path


@pytest_asyncio.fixture(loop_scope="session")
async def look(browser: Browser) -> AsyncIterator[Open]:
    """Opens a report; at the end, no page may have complained of anything, or asked anybody for anything."""
    pages: list[Page] = []
    problems: list[str] = []

    async def look_at(path: Path, **looks: Any) -> Page:
        context = await browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **looks})
        context.set_default_timeout(PATIENCE)
        page = await context.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: problems.extend([] if request.url == path.as_uri() else [request.url[:80]]))
        await page.goto(path.as_uri())
        return page

    yield look_at
    for page in pages:
        await page.context.close()
    assert [each for each in problems if not each.startswith("data:image/svg+xml")] == []


async def column(page: Page, number: int, table: str = "findings-table") -> list[str]:
    """What the rows that are seen say in a column."""
    texts: list[str] = await page.evaluate(
        """([table, number]) => [...document.querySelectorAll(`#${table} tbody tr:not([hidden])`)]
             .map((row) => row.cells[number].innerText.trim())""",
        [table, number],
    )
    return texts


async def test_findings_are_sorted_by_a_click(look: Open, usual: Path) -> None:
    page = await look(usual)
    ranks = [Severity(text).rank for text in await column(page, 0)]
    assert ranks == sorted(ranks, reverse=True)
    head = page.get_by_role("columnheader", name="Check")
    await head.get_by_role("button").click()
    assert await head.get_attribute("aria-sort") == "ascending"
    assert (names := await column(page, 1)) == sorted(names)
    await head.get_by_role("button").click()
    assert await head.get_attribute("aria-sort") == "descending"
    assert await column(page, 1) == sorted(names, reverse=True)
    await page.get_by_role("columnheader", name="Severity").get_by_role("button").click()
    assert await head.get_attribute("aria-sort") is None
    assert (await column(page, 0))[0] == "high"


async def test_numbers_are_sorted_as_numbers(look: Open, usual: Path) -> None:
    page = await look(usual)
    table = page.locator("#institutions-table")
    await table.get_by_role("button", name="Findings").click()
    found = [
        int(text.replace(",", ""))
        for text in await column(page, len(await table.locator("th").all()) - 1, "institutions-table")
    ]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) > 3


async def test_findings_are_filtered_by_words_and_choices(look: Open, usual: Path) -> None:
    page = await look(usual)
    everything = len(await column(page, 0))
    status = page.get_by_role("status", name="Findings shown")
    assert await status.inner_text() == f"{everything} of {everything}"
    await page.locator("select[name=severity]").select_option("high")
    assert set(await column(page, 0)) == {"high"}
    await page.locator("select[name=check]").select_option("invalid")
    assert set(await column(page, 1)) == {"invalid"}
    one = (await column(page, 4))[0]
    await page.locator("input[name=text]").fill(f"{one.upper()} refuses")
    assert await column(page, 4) == [one]
    assert await status.inner_text() == f"1 of {everything}"
    await page.locator("input[name=text]").fill("no such words")
    assert await column(page, 4) == []
    await page.locator("input[name=text]").press("Enter")
    assert page.url == usual.as_uri()


async def test_without_javascript_everything_is_there(look: Open, usual: Path) -> None:
    page = await look(usual, java_script_enabled=False)
    assert await page.locator("#findings-table tbody tr").count() > 100
    assert not await page.locator("form").is_visible()
    assert await page.locator("th button").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_can_be_read(look: Open, usual: Path, scheme: str) -> None:
    page = await look(usual, color_scheme=scheme)
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(244, 245, 247)", "dark": "rgb(18, 22, 28)"}[scheme]
    worst = await page.evaluate(CONTRAST)
    assert worst["text"] >= 4.5
    assert worst["shape"] >= 3


@pytest.mark.parametrize("width", [360, 768])
async def test_it_fits_small_screens(look: Open, usual: Path, width: int) -> None:
    page = await look(usual, viewport={"width": width, "height": 780})
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    ends = await page.evaluate(
        """() => [...document.querySelectorAll("svg[role=img] text, svg[role=img] rect")]
             .map((each) => each.getBoundingClientRect()).flatMap((box) => [box.left, box.right])"""
    )
    assert min(ends) >= 0
    assert max(ends) <= width
    labels = await page.evaluate(
        """() => [...document.querySelectorAll("#ages .faint")].map((each) => each.getBoundingClientRect())
             .map((box) => [box.left, box.right])"""
    )
    assert all(before[1] < after[0] for before, after in pairwise(labels))


async def test_it_is_printed_on_white_without_its_filters(look: Open, usual: Path) -> None:
    page = await look(usual, color_scheme="dark")
    await page.emulate_media(media="print", color_scheme="dark")
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert await page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(29, 37, 48)"
    assert not await page.locator("form").is_visible()
    assert await page.locator("#findings-table tbody tr").last.is_visible()


async def test_hostile_words_do_nothing(look: Open, folder: Path) -> None:
    path = folder / "hostile.html"
    links = [
        link(number, institution=text, status=LinkStatus(text), external_id=None)
        for number, text in enumerate(HOSTILE, 1)
    ]
    extra = [
        Finding(check=text, severity=Severity.HIGH, link_id=text, message=text * 40, remedy=text) for text in HOSTILE
    ]
    await report(folder / "hostile", links, extra=extra, reason=HOSTILE[0], complete=False).write_html(path)
    page = await look(path, viewport={"width": 360, "height": 780})
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    await page.locator("select[name=check]").select_option(HOSTILE[0])
    assert set(await column(page, 1)) == {HOSTILE[0]}
    assert await page.get_by_role("alert").is_visible()


async def test_its_picture_is_small() -> None:
    assert 0 < PICTURE.stat().st_size < LARGEST
