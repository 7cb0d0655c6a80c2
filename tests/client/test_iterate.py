"""Iterating: every link once, a bounded number of pages at once, and a clean end however it ends."""

import asyncio
import gc
import itertools
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from belvo_links import (
    BelvoLinks,
    LinkFilter,
    NotFoundError,
    PermissionDeniedError,
    RequestTimeoutError,
    ScanAssumptionError,
    ServerError,
)
from belvo_links.sandbox import Fault, Sandbox, SandboxClock, Switches
from tests.client.changing import AtEveryAttempt
from tests.client.listing import a_link, a_page, listing, our_tasks
from tests.client.making import LINKS, client, drained
from tests.http.rude import rude


@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 95])
@pytest.mark.parametrize("concurrency", [1, 4, 100])
async def test_every_link_is_yielded_once(box: Sandbox, belvo: BelvoLinks, number: int, concurrency: int) -> None:
    """Whatever the number of pages and of requests at once."""
    ids = box.add_links(number) if number else []
    links = await drained(belvo.iterate(page_size=10, concurrency=concurrency))
    assert sorted(link.id for link in links) == sorted(ids)


async def test_the_defaults_ask_for_the_largest_pages(box: Sandbox, belvo: BelvoLinks) -> None:
    """One request for up to a thousand links."""
    box.add_links(1000)
    assert len(await drained(belvo.iterate())) == 1000
    assert "page_size=1000" in box.requests[0].query
    assert box.count() == 1


async def test_no_more_pages_are_under_way_than_allowed() -> None:
    """Four are, and never a fifth; the first goes alone, since it says how many there are."""
    links = [a_link(number) for number in range(100)]
    async with listing(lambda page, size: a_page(links, page, size)) as (lister, belvo):
        lister.hold = asyncio.Event()
        iterating = asyncio.create_task(drained(belvo.iterate(page_size=10, concurrency=4)))
        for asked, under_way in ((1, 1), (5, 4), (9, 4), (10, 1)):
            await lister.until(asked)
            assert lister.now == under_way
            hold, lister.hold = lister.hold, asyncio.Event()
            hold.set()
        assert len(await iterating) == 100
    assert lister.most == 4
    assert sorted(lister.asked) == list(range(1, 11))


async def test_pages_are_read_only_when_they_are_needed(box: Sandbox, belvo: BelvoLinks) -> None:
    """Nothing before the first link is asked for, and one window at most ahead of the caller."""
    box.add_links(100)
    links = belvo.iterate(page_size=10, concurrency=2)
    assert box.count() == 0
    for take, requests in ((1, 1), (9, 1), (1, 3), (19, 3), (1, 5)):
        for _ in range(take):
            await anext(links)
        assert box.count() == requests


async def test_memory_stays_at_a_few_pages() -> None:
    """Forty pages cost no more than eight."""
    peaks = []
    for pages in (8, 40):
        links = [a_link(number) for number in range(pages * 250)]
        async with listing(lambda page, size, links=links: a_page(links, page, size)) as (_, belvo):  # type: ignore[misc]
            gc.collect()
            tracemalloc.start()
            async for _link in belvo.iterate(page_size=250, concurrency=2):
                pass
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.3


async def test_leaving_the_loop_leaves_nothing_behind(box: Sandbox, belvo: BelvoLinks) -> None:
    """No task, no complaint (see the fixture), and the client goes on."""
    box.add_links(100)
    async for _ in belvo.iterate(page_size=10, concurrency=4):
        if box.count() > 1:
            break
    assert our_tasks() == set()
    assert await belvo.count() == 100


async def test_a_cancelled_iteration_ends_its_requests() -> None:
    """All of the window, at once; and the same iterator goes on where it was."""
    links = [a_link(number) for number in range(50)]
    async with listing(lambda page, size: a_page(links, page, size)) as (lister, belvo):
        iterator = belvo.iterate(page_size=10, concurrency=4)
        taken = [await anext(iterator) for _ in range(10)]
        lister.hold = asyncio.Event()
        going_on = asyncio.ensure_future(anext(iterator))
        await lister.until(5)
        assert len(our_tasks()) == 5  # the one that waits, and one for each page
        going_on.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going_on
        assert our_tasks() == set()
        lister.hold = None
        taken += await drained(iterator)
    assert sorted(link.id for link in taken) == sorted(link["id"] for link in links)


async def test_an_error_ends_the_window_and_comes_out_as_itself(box: Sandbox, belvo: BelvoLinks) -> None:
    """No group of exceptions; and the iterator may go on."""
    box.add_links(50)
    iterator = belvo.iterate(page_size=10, concurrency=4)
    taken = [await anext(iterator) for _ in range(10)]
    box.inject(Fault.status(403), times=4)
    with pytest.raises(PermissionDeniedError) as caught:
        await anext(iterator)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert our_tasks() == set()
    box.clear_faults()
    taken += await drained(iterator)
    assert len({link.id for link in taken}) == len(taken) == 50


async def test_a_page_is_repeated_like_any_read(box: Sandbox, belvo: BelvoLinks) -> None:
    """Twice; then its error is the iteration's."""
    box.add_links(5)
    box.inject(Fault.drop_before(), times=2)
    assert len(await drained(belvo.iterate())) == 5
    box.inject(Fault.status(500), times=3)
    with pytest.raises(ServerError):
        await drained(belvo.iterate())


async def test_an_account_without_links_is_no_error(belvo: BelvoLinks) -> None:
    """An empty page; but a list that is not there at all is one."""
    assert await drained(belvo.iterate()) == []


async def test_a_list_that_is_not_there_is_an_error(box: Sandbox, belvo: BelvoLinks) -> None:
    """404 on the first page is no end."""
    box.inject(Fault.status(404), template=LINKS)
    with pytest.raises(NotFoundError):
        await drained(belvo.iterate())


async def test_a_next_page_elsewhere_is_never_visited() -> None:
    """Pages are asked for by number, of our own origin; the address says only that there are more."""
    visited: list[object] = []

    async def trap(peer: Any) -> None:
        visited.append(peer)

    links = [a_link(number) for number in range(25)]
    async with rude(trap) as foreign:
        address = f"{foreign.url}/api/links/"
        async with listing(lambda page, size: a_page(links, page, size, address=address)) as (lister, belvo):
            assert len(await drained(belvo.iterate(page_size=10))) == 25
            (page,) = [await belvo.page(page_size=10)]
            assert page.next == f"{address}?page=2"
    assert visited == []
    assert sorted(lister.asked) == [1, 1, 2, 3]


async def test_links_that_are_created_meanwhile_push_none_out_of_view_or_twice_into_it(box: Sandbox) -> None:
    """Three at every request."""
    ids = box.add_links(40)
    async with client(box, observer=AtEveryAttempt(lambda: box.add_links(3))) as belvo:
        seen = [link.id for link in await drained(belvo.iterate(page_size=10, concurrency=1))]
    assert len(seen) == len(set(seen))
    assert set(ids) <= set(seen)


async def test_links_that_are_deleted_meanwhile_end_the_list_earlier() -> None:
    """Pages that were counted are gone: no error, no link twice."""
    links = [a_link(number) for number in range(100)]

    def answer(page: int, size: int) -> Any:
        shown = a_page(links, page, size)
        del links[20:]
        return shown

    async with listing(answer) as (lister, belvo):
        seen = [link.id for link in await drained(belvo.iterate(page_size=10, concurrency=4))]
    assert sorted(seen) == sorted(a_link(number)["id"] for number in range(20))
    assert len(lister.asked) <= 10


async def test_pages_of_which_nothing_is_left_end_the_list() -> None:
    """All but the first are gone."""
    links = [a_link(number) for number in range(100)]

    def answer(page: int, size: int) -> Any:
        shown = a_page(links, page, size)
        del links[10:]
        return shown

    async with listing(answer) as (_, belvo):
        assert len(await drained(belvo.iterate(page_size=10, concurrency=4))) == 10


async def test_a_page_in_the_middle_that_is_gone_for_a_moment_is_read_again() -> None:
    """The pages around it say that the list goes on."""
    links = [a_link(number) for number in range(60)]
    gone = iter([404])

    def answer(page: int, size: int) -> Any:
        return next(gone, a_page(links, page, size)) if page == 3 else a_page(links, page, size)

    async with listing(answer) as (_, belvo):
        assert len(await drained(belvo.iterate(page_size=10, concurrency=4))) == 60


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_a_list_that_is_not_newest_first_is_an_error(concurrency: int) -> None:
    """What was seen could not be told, so it is not guessed; nothing more is yielded."""
    links = [a_link(number) for number in range(30)]
    links[25], links[26] = links[26], links[25]
    async with listing(lambda page, size: a_page(links, page, size)) as (_, belvo):
        iterator = belvo.iterate(page_size=10, concurrency=concurrency)
        taken = [await anext(iterator) for _ in range(10)]
        with pytest.raises(ScanAssumptionError, match="newest first"):
            await anext(iterator)
        assert await drained(iterator) == []
        assert len(taken) == 10


async def test_a_simulator_that_lists_the_oldest_first_is_an_error(box: Sandbox, belvo: BelvoLinks) -> None:
    """On the first page."""
    box.add_links(30)
    box.inject(Fault.switched(Switches(list_order="oldest_first")), times=None)
    with pytest.raises(ScanAssumptionError, match="newest first"):
        await drained(belvo.iterate(page_size=10))


async def test_links_created_on_other_days_than_asked_for_are_an_error() -> None:
    """The service that filters does not mean by ``created_at`` what it shows."""
    links = [a_link(number) for number in range(30)]
    wanted = LinkFilter(created_at__gte=date(2025, 6, 2))
    async with listing(lambda page, size: a_page(links, page, size)) as (_, belvo):
        with pytest.raises(ScanAssumptionError, match="days"):
            await drained(belvo.iterate(wanted, page_size=10))


async def test_links_that_appear_in_the_past_are_an_error() -> None:
    """Long after they are said to have been created."""
    links = [a_link(number) for number in range(40)]
    created = iter(range(1, 1000))

    def answer(page: int, size: int) -> Any:
        shown = a_page(links, page, size)
        links.insert(0, a_link(-next(created)))
        return shown

    async with listing(answer) as (_, belvo):
        with pytest.raises(ScanAssumptionError, match="long ago"):
            await drained(belvo.iterate(page_size=10, concurrency=1))


async def test_links_of_the_same_moment_are_told_apart_by_their_ids(box: Sandbox) -> None:
    """Also across pages, and when they move from one to another."""
    with_one_clock = SandboxClock(lambda: datetime(2025, 6, 1, 12, tzinfo=UTC))
    async with Sandbox(clock=with_one_clock) as still:
        ids = [still.add_links(1)[0] for _ in range(30)]
        doomed = iter(ids[::3])

        def delete() -> None:
            if (link_id := next(doomed, None)) is not None:
                still.remove_link(link_id)
            still.add_links(1)

        async with client(still, observer=AtEveryAttempt(delete)) as belvo:
            seen = [link.id for link in await drained(belvo.iterate(page_size=10))]
        assert len(seen) == len(set(seen))
        assert {each["id"] for each in still.links} & set(ids) <= set(seen)


async def test_pages_that_take_the_service_too_long_are_asked_for_in_smaller_parts() -> None:
    """408 asks for less data (documentation section 9.1): half of it, until it goes."""
    async with Sandbox(switches=Switches(largest_page=30)) as box:
        ids = box.add_links(250)
        async with client(box) as belvo:
            assert sorted(link.id for link in await drained(belvo.iterate(page_size=100))) == sorted(ids)


async def test_a_service_that_is_too_slow_for_a_single_link_is_an_error(box: Sandbox, belvo: BelvoLinks) -> None:
    """There is no smaller page to ask for."""
    box.add_links(3)
    box.inject(Fault.status(408), times=None)
    with pytest.raises(RequestTimeoutError):
        await drained(belvo.iterate(page_size=4))


async def test_a_server_that_lowers_the_page_size_is_followed() -> None:
    """It decides how much it gives at once."""
    links = [a_link(number) for number in range(95)]
    async with listing(lambda page, _: a_page(links, page, 10)) as (lister, belvo):
        assert len(await drained(belvo.iterate(page_size=1000))) == 95
    assert sorted(lister.asked) == list(range(1, 11))


async def test_an_empty_page_ends_the_list() -> None:
    """Whatever its address of a next one says."""
    empty = {"count": 1000, "next": "/api/links/?page=2", "previous": None, "results": []}
    async with listing(lambda page, size: empty) as (lister, belvo):
        assert await drained(belvo.iterate(page_size=10)) == []
    assert lister.asked == [1]


async def test_filters_that_are_too_long_are_split(box: Sandbox, belvo: BelvoLinks) -> None:
    """Each link once all the same."""
    ids = box.add_links(450)
    wanted = LinkFilter(id__in=[*ids[:400], ids[0]], status="valid")
    links = await drained(belvo.iterate(wanted, page_size=100))
    assert sorted(link.id for link in links) == sorted(ids[:400])
    assert max(len(one.query) for one in box.requests) < 8000


async def test_closing_an_iteration_ends_it(box: Sandbox, belvo: BelvoLinks) -> None:
    """What was read ahead is dropped, also a page that is under way."""
    box.add_links(30)
    links = belvo.iterate(page_size=10)
    assert aiter(links) is links
    await anext(links)
    await links.aclose()
    await links.aclose()
    assert await drained(links) == []
    other = belvo.iterate(page_size=10)
    under_way = asyncio.ensure_future(drained(other))
    await asyncio.sleep(0)
    await other.aclose()
    assert await under_way == []


async def test_several_tasks_may_share_an_iteration(box: Sandbox, belvo: BelvoLinks) -> None:
    """Each link goes to one of them."""
    box.add_links(95)
    links = belvo.iterate(page_size=10)

    async def work() -> list[str]:
        found = []
        async for link in links:
            found.append(link.id)
            await asyncio.sleep(0)
        return found

    shares = await asyncio.gather(*(work() for _ in range(5)))
    assert sorted(itertools.chain(*shares)) == sorted(str(link["id"]) for link in box.links)
    assert min(map(len, shares)) > 0


async def test_the_event_loop_has_a_turn_between_pages(box: Sandbox) -> None:
    """A caller that awaits nothing in the loop must not hold everybody else up."""
    box.add_links(50)
    turns = 0

    async def others() -> AsyncIterator[None]:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)
            yield

    async def spin() -> None:
        async for _ in others():
            pass

    async with client(box) as belvo:
        links = belvo.iterate(page_size=10, concurrency=4)
        for _ in range(11):
            await anext(links)
        spinning = asyncio.create_task(spin())
        before = turns
        for _ in range(39):  # of the window that has been read
            await anext(links)
        assert turns >= before + 3
        spinning.cancel()
        await asyncio.wait([spinning])
