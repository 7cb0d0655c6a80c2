"""Listing links page by page: a bounded number of pages at once, in order, each link once.

The pages of one window are read by a task group that ends before any of their links is handed out, so nothing is left
running when the caller leaves the loop.

Links are listed newest first, and creation never changes (documentation section 5). A link that is newer than the last
one handed out was therefore handed out before and has been pushed onto a later page by new ones: it is passed over. So
no memory of all ids is needed. A page that is not newest first breaks that reasoning and is an error.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime
from typing import Self

from belvo_links.errors import NotFoundError, ScanAssumptionError
from belvo_links.protocol.models import Link, LinkPage

ReadPage = Callable[[int], Awaitable[LinkPage]]


class LinkIterator:
    """An async iterator of links.

    Args:
        readers: one per part of the filter; each reads a page by its number, from 1.
        concurrency: how many pages are read at once.
    """

    def __init__(self, readers: Iterable[ReadPage], *, concurrency: int) -> None:
        if concurrency < 1:
            msg = "concurrency: give 1 or more"
            raise ValueError(msg)
        self._parts: Iterator[ReadPage] = iter(readers)
        self._concurrency = concurrency
        self._part: _Part | None = None
        self._links: deque[Link] = deque()
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Link:
        while not self._links:
            if self._closed:
                raise StopAsyncIteration
            await self._refill()
        return self._links.popleft()

    async def _refill(self) -> None:
        if self._part is None:
            reader = next(self._parts, None)
            if reader is None:
                self._closed = True
                return
            self._part = _Part(reader)
        self._links.extend(await self._part.read(self._concurrency))
        if self._part.is_done:
            self._part = None

    async def aclose(self) -> None:
        """End the iteration; what was read ahead is dropped."""
        self._closed = True
        self._links.clear()


class _Part:
    """The listing of one filter."""

    def __init__(self, read_page: ReadPage) -> None:
        self._read_page = read_page
        self._next_page = 1
        self._last_page = 1
        self._oldest: datetime | None = None
        self._ids_of_oldest: set[str] = set()
        self.is_done = False

    async def read(self, concurrency: int) -> list[Link]:
        """Read the next pages at once and return their links that were not returned before."""
        numbers = range(self._next_page, min(self._last_page, self._next_page + concurrency - 1) + 1)
        pages = await self._read_pages(numbers)
        fresh = [link for page in pages if page is not None for link in self._fresh(page)]
        self._next_page = numbers[-1] + 1
        last = pages[-1]
        if last is None or last.next is None or not last.results:
            self.is_done = True
        elif numbers[0] == 1:
            # The service may have lowered the page size, so it is taken from what came.
            self._last_page = math.ceil(last.count / len(last.results))
        # New links may have made more pages than were counted; the address of a next one is all that says so. It is
        # not followed: pages are asked for by number, of our own origin.
        self._last_page = max(self._last_page, self._next_page)
        return fresh

    async def _read_pages(self, numbers: range) -> list[LinkPage | None]:
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

    async def _read_or_none(self, number: int) -> LinkPage | None:
        """Read a page; one that is gone since the pages were counted is the end of the list, not an error."""
        try:
            return await self._read_page(number)
        except NotFoundError:
            if number == 1:
                raise
            return None

    def _fresh(self, page: LinkPage) -> Iterator[Link]:
        previous: datetime | None = None
        for link in page.results:
            if previous is not None and link.created_at > previous:
                msg = "The service did not list links newest first, so it cannot be told which were seen."
                raise ScanAssumptionError(msg)
            previous = link.created_at
            if self._is_fresh(link):
                yield link

    def _is_fresh(self, link: Link) -> bool:
        if self._oldest is None or link.created_at < self._oldest:
            self._oldest = link.created_at
            self._ids_of_oldest = {link.id}
            return True
        if link.created_at > self._oldest or link.id in self._ids_of_oldest:
            return False
        self._ids_of_oldest.add(link.id)
        return True


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = failures.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
