"""Scanning by pages and windows: resumable, and a record that cannot be read costs that record alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from belvo_links import BelvoLinks, LinkFilter, ScanAssumptionError, ServerError, UnexpectedResponseError
from belvo_links.client.scan import LinkScan, ScanPage
from belvo_links.protocol.models import UnreadableLink
from belvo_links.protocol.windows import ScanWindow
from belvo_links.sandbox import Fault, Sandbox, SandboxClock, Switches
from tests.client.listing import a_link, a_page, listing, our_tasks
from tests.client.making import client

PAST = LinkFilter(created_at__lt=date(2025, 6, 2))
"""All links of a listing of our own, none of which is of today."""


@pytest.fixture
async def year() -> AsyncIterator[tuple[Sandbox, list[str]]]:
    """A simulator whose links were created over a year, two a day."""
    start = datetime.fromisoformat("2024-06-01T12:00:00Z")
    async with Sandbox(clock=SandboxClock(lambda: start)) as box:
        ids = []
        for _ in range(365):
            ids += box.add_links(2)
            box.clock.advance(days=1)
        ids += box.add_links(1)
        yield box, ids


async def pages(scan: LinkScan) -> list[ScanPage]:
    """Everything that a scan gives."""
    return [page async for page in scan]


async def until_it_fails(scan: LinkScan, found: list[ScanPage]) -> None:
    """Keep what a scan gives before it fails."""
    async for page in scan:
        found.append(page)  # noqa: PERF401  # a list that is made at once would be lost


def ids_of(pages: list[ScanPage]) -> list[str]:
    return sorted(link.id for page in pages for link in page.links)


async def test_windows_lead_from_today_to_the_beginning(year: tuple[Sandbox, list[str]]) -> None:
    """Each ends once, and holds the links of its days alone."""
    box, ids = year
    async with client(box, rate_limit=None) as belvo:
        found = await pages(belvo.scan(page_size=5))
    assert ids_of(found) == sorted(ids)
    windows = [page.window for page in found if page.ends_window]
    assert len(windows) == len(set(windows)) > 5
    assert windows[0].until is None
    assert windows[-1].since is None
    for page in found:
        for link in page.links:
            assert page.window.since is None or link.created_at.date() >= page.window.since
            assert page.window.until is None or link.created_at.date() < page.window.until


async def test_a_scan_goes_on_behind_a_window_that_was_ended(year: tuple[Sandbox, list[str]]) -> None:
    """Nothing twice, nothing missed, and nothing of the windows before asked for again."""
    box, ids = year
    async with client(box, rate_limit=None) as belvo:
        found: list[ScanPage] = []
        ended: ScanWindow | None = None
        async for page in belvo.scan(page_size=5):
            found.append(page)
            if page.ends_window:
                ended = page.window
                if page.window.until is not None and page.window.until < date(2025, 3, 1):
                    break
        assert ended is not None
        assert ended.since is not None
        before = box.count()
        found += await pages(belvo.scan(page_size=5, after=ended))
    assert ids_of(found) == sorted(ids)
    asked = [parse_qs(one.query)["created_at__lt"][0] for one in box.requests[before:]]
    assert max(asked) == f"{ended.since}"


async def test_a_window_behind_the_last_one_is_empty(year: tuple[Sandbox, list[str]]) -> None:
    """Everything was read."""
    box, _ = year
    async with client(box, rate_limit=None) as belvo:
        last = [page.window for page in await pages(belvo.scan(page_size=100)) if page.ends_window][-1]
        assert await pages(belvo.scan(page_size=100, after=last)) == []


async def test_parts_of_a_long_filter_have_windows_of_their_own(box: Sandbox, belvo: BelvoLinks) -> None:
    """And a scan goes on in the part in which it was."""
    ids = box.add_links(450)
    filters = LinkFilter(id__in=ids)
    found = await pages(belvo.scan(filters, page_size=100))
    assert ids_of(found) == sorted(ids)
    parts = {page.window.part for page in found}
    assert parts == set(range(len(parts))) > {0}
    last_of_first = [page.window for page in found if page.window.part == 0 and page.ends_window][-1]
    rest = await pages(belvo.scan(filters, page_size=100, after=last_of_first))
    assert ids_of(rest) == ids_of([page for page in found if page.window.part > 0])


def broken(links: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with some records that cannot be read."""
    wrong = [dict(link) for link in links]
    wrong[3]["fetch_resources"] = "ACCOUNTS"
    wrong[11] = {"id": 7}
    wrong[12] = {"id": 7}
    wrong[25]["created_at"] = "yesterday"
    return wrong


async def test_a_record_that_cannot_be_read_costs_that_record() -> None:
    """It is given once, with its id if there is one, and what is wrong with it without a value."""
    links = broken([a_link(number) for number in range(30)])
    async with listing(lambda page, size: a_page(links, page, size)) as (_, belvo):
        found = await pages(belvo.scan(PAST, page_size=10))
        with pytest.raises(UnexpectedResponseError):
            async for _link in belvo.iterate(PAST, page_size=10):
                pass
    assert len(ids_of(found)) == 26
    unreadable = [each for page in found for each in page.unreadable]
    assert sorted(str(each.id) for each in unreadable) == sorted([links[3]["id"], links[25]["id"], "None", "None"])
    problems = json.dumps([each.problems for each in unreadable])
    assert "fetch_resources" in problems
    assert "ACCOUNTS" not in problems
    assert "yesterday" not in problems


async def test_a_page_of_which_nothing_can_be_placed_is_an_error() -> None:
    """No record says when it was created."""
    async with listing(lambda page, size: {"count": 2, "results": [{"id": 1}, {}]}) as (_, belvo):
        with pytest.raises(UnexpectedResponseError):
            await pages(belvo.scan(PAST))
    async with listing(lambda page, size: {"count": 0, "results": {}}) as (_, belvo):
        with pytest.raises(UnexpectedResponseError):
            await pages(belvo.scan(PAST))


async def test_the_first_page_of_each_window_is_read_with_its_unknown_fields() -> None:
    """So that a field that Belvo has added is noticed."""
    links = [{**a_link(number), "colour": "red"} for number in range(30)]
    async with listing(lambda page, size: a_page(links, page, size)) as (_, belvo):
        found = await pages(belvo.scan(PAST, page_size=10, concurrency=1))
    with_colour = [page for page in found if any(link.extra for link in page.links)]
    assert len(with_colour) == 1
    assert all(link.extra == {"colour": "red"} for link in with_colour[0].links)


async def test_an_error_leaves_the_scan_where_it_was(year: tuple[Sandbox, list[str]]) -> None:
    """The same iterator goes on."""
    box, ids = year
    async with client(box, rate_limit=None) as belvo:
        scan, found = belvo.scan(page_size=20), list[ScanPage]()
        for _ in range(4):
            found.append(await anext(scan))
        box.inject(Fault.status(500), times=3 * 4)
        with pytest.raises(ServerError):
            await until_it_fails(scan, found)
        assert our_tasks() == set()
        box.clear_faults()
        found += await pages(scan)
    assert ids_of(found) == sorted(ids)


async def test_a_scan_that_was_closed_gives_nothing_more(box: Sandbox, belvo: BelvoLinks) -> None:
    """Nor asks for anything."""
    box.add_links(30)
    scan = belvo.scan(page_size=10)
    assert aiter(scan) is scan
    await anext(scan)
    await scan.aclose()
    asked = box.count()
    assert await pages(scan) == []
    assert box.count() == asked


async def test_a_scan_that_is_left_leaves_nothing_behind(box: Sandbox, belvo: BelvoLinks) -> None:
    """No task."""
    box.add_links(100)
    async for _ in belvo.scan(page_size=10):
        break
    await asyncio.sleep(0)
    assert our_tasks() == set()


async def test_a_listing_that_is_not_as_assumed_ends_the_scan(box: Sandbox, belvo: BelvoLinks) -> None:
    """For good."""
    box.add_links(30)
    box.inject(Fault.switched(Switches(list_order="oldest_first")), times=None)
    scan = belvo.scan(page_size=10)
    with pytest.raises(ScanAssumptionError):
        await anext(scan)
    box.clear_faults()
    assert await pages(scan) == []


async def test_an_account_without_links_has_windows_without_links(belvo: BelvoLinks) -> None:
    """Today's, and the past."""
    found = await pages(belvo.scan())
    assert [page.ends_window for page in found] == [True, True]
    assert [page.total for page in found] == [0, 0]


async def test_concurrency_is_checked_before_anything_is_sent(box: Sandbox, belvo: BelvoLinks) -> None:
    """As are the filters and the size of pages."""
    for wrong in ({"concurrency": 0}, {"page_size": 1001}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            belvo.scan(**wrong)  # type: ignore[arg-type]  # mypy takes each value for every parameter
    assert box.count() == 0


def test_unreadable_links_are_values() -> None:
    """Equal where they are."""
    assert UnreadableLink(id=None, problems=("$: x",)) == UnreadableLink(id=None, problems=("$: x",))
    assert ScanWindow(since=date(2025, 1, 1)) == ScanWindow(part=0, since=date(2024, 12, 31) + timedelta(days=1))
