"""Listing links page by page: a bounded number of pages at once, in order, each link once.

The pages of one window are read by a task group that ends before any of their links is handed out, so nothing is left
running when the caller leaves the loop. A page is decoded when its turn comes, and the event loop gets a turn before
each, so that no stretch of work is longer than one page.

Links are listed newest first, and creation never changes (documentation section 5). A link that is newer than the last
one handed out was therefore handed out before and has been pushed onto a later page by new ones: it is passed over. So
no memory of all ids is needed. A page that is not newest first breaks that reasoning and is an error.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from operator import attrgetter, ge
from typing import Final, Self, TypeAlias

from belvo_links.errors import NotFoundError, ScanAssumptionError
from belvo_links.protocol import checks
from belvo_links.protocol.models import Link, LinkPage

DecodePage: TypeAlias = Callable[[], LinkPage]
ReadPage: TypeAlias = Callable[[int], Awaitable[DecodePage]]

_created_at: Final[Callable[[Link], datetime]] = attrgetter("created_at")


class LinkIterator:
    """An async iterator of links.

    After an error of the network or the service it goes on where it was. Several tasks may share one.

    Args:
        readers: one per part of the filter; each reads a page by its number, from 1, and gives what decodes it.
        concurrency: how many pages are read at once.
    """

    def __init__(self, readers: Iterable[ReadPage], *, concurrency: int) -> None:
        if checks.whole_number("concurrency", concurrency) < 1:
            msg = "concurrency: give 1 or more"
            raise ValueError(msg)
        self._parts: deque[ReadPage] = deque(readers)
        self._concurrency = concurrency
        self._part: _Part | None = None
        self._links: deque[Link] = deque()
        self._refilling = asyncio.Lock()
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Link:
        try:
            return self._links.popleft()
        except IndexError:
            pass
        async with self._refilling:
            while not self._links:
                if self._closed:
                    raise StopAsyncIteration
                await self._refill()
            return self._links.popleft()

    async def _refill(self) -> None:
        if self._part is None:
            if not self._parts:
                self._closed = True
                return
            self._part = _Part(self._parts.popleft())
        try:
            links = await self._part.next_links(self._concurrency)
        except ScanAssumptionError:
            self._closed = True  # what it has passed over cannot be told
            raise
        if self._closed:  # meanwhile
            return
        self._links.extend(links)
        if self._part.is_done:
            self._part = None

    async def aclose(self) -> None:
        """End the iteration; what was read ahead is dropped."""
        self._closed = True
        self._links.clear()
        self._parts.clear()
        self._part = None


class _Part:
    """The listing of one filter."""

    def __init__(self, read_page: ReadPage) -> None:
        self._read_page = read_page
        self._next_page = 1
        self._last_page = 1
        self._oldest: datetime | None = None
        self._ids_of_oldest: set[str] = set()
        # A window is kept until the next one has been read: replies whose memory is freed before are taken back by the
        # system page by page, and asked for again.
        self._window: Sequence[DecodePage] = ()
        self._decoded = 0
        self._may_end = False

    @property
    def is_done(self) -> bool:
        """Whether no link is left."""
        return self._may_end and self._decoded == len(self._window)

    async def next_links(self, concurrency: int) -> Sequence[Link]:
        """Return the links of the next page that were not returned before; none at all where the list has ended.

        Args:
            concurrency: how many pages to read at once where none is left.
        """
        if self._decoded < len(self._window):
            await asyncio.sleep(0)  # the event loop's turn
        else:
            await self._read_window(concurrency)
        if not self._window:
            return ()
        page = self._window[self._decoded]()  # or raises, and does so again the next time
        self._decoded += 1
        fresh = self._fresh(page.results)
        if self._decoded == len(self._window):
            self._plan(page)
        return fresh

    async def _read_window(self, concurrency: int) -> None:
        """Read the next pages at once. One that is missing is gone since the pages were counted, so the list ends."""
        numbers = range(self._next_page, min(self._last_page, self._next_page + concurrency - 1) + 1)
        pages = await self._read_pages(numbers)
        self._window = [page for page in pages if page is not None]
        self._decoded = 0
        self._next_page = numbers[-1] + 1
        self._may_end = pages[-1] is None

    def _plan(self, last: LinkPage) -> None:
        """Take from the last page of a window how far to read."""
        if last.next is None or not last.results:
            self._may_end = True
        elif self._next_page == 2:
            # The service may have lowered the page size, so it is taken from what came.
            self._last_page = math.ceil(last.count / len(last.results))
        # New links may have made more pages than were counted; the address of a next one is all that says so. It is
        # not followed: pages are asked for by number, of our own origin.
        self._last_page = max(self._last_page, self._next_page)

    async def _read_pages(self, numbers: range) -> list[DecodePage | None]:
        if len(numbers) == 1:
            return [await self._read_or_none(numbers[0])]
        failure: BaseException
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._read_or_none(number)) for number in numbers]
            return [task.result() for task in tasks]
        except BaseExceptionGroup as failures:
            failure = _first(failures)
        raise failure

    async def _read_or_none(self, number: int) -> DecodePage | None:
        try:
            return await self._read_page(number)
        except NotFoundError:
            if number == 1:
                raise
            return None

    def _fresh(self, links: Sequence[Link]) -> Sequence[Link]:
        """Return the links of a page that were not returned before."""
        if not links:
            return ()
        moments = list(map(_created_at, links))
        if not all(map(ge, moments, islice(moments, 1, None))):
            msg = "The service did not list links newest first, so it cannot be told which were seen."
            raise ScanAssumptionError(msg)
        oldest = moments[-1]
        if self._oldest is None or moments[0] < self._oldest:  # the usual page: all of it lies behind
            self._oldest, self._ids_of_oldest = oldest, {link.id for link in _at_end(links, oldest)}
            return links
        return [link for link in links if self._is_fresh(link)]

    def _is_fresh(self, link: Link) -> bool:
        if self._oldest is None or link.created_at < self._oldest:
            self._oldest = link.created_at
            self._ids_of_oldest = {link.id}
            return True
        if link.created_at > self._oldest or link.id in self._ids_of_oldest:
            return False
        self._ids_of_oldest.add(link.id)
        return True


def _at_end(links: Sequence[Link], moment: datetime) -> Iterator[Link]:
    """Yield the links of this moment, from the end."""
    for link in reversed(links):
        if link.created_at != moment:
            return
        yield link


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = failures.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
