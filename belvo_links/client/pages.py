"""Carrying out a scan: its pages are read some at a time, and handed out with the places of the links that are new.

What to ask for and what a reply proves is decided in :mod:`belvo_links.protocol.scan`. Pages that are asked for
together are read by a task group that ends before any of their links is handed out, so nothing is left running when the
caller leaves the loop. A page is decoded when its turn comes, and the event loop gets a turn before each, so that no
stretch of work is longer than one page.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Final, Generic, Self, TypeAlias, TypeVar

import attrs

from belvo_links.errors import NotFoundError, RequestTimeoutError, ScanAssumptionError
from belvo_links.protocol.models import Link, LinkPage
from belvo_links.protocol.shown import Shown
from belvo_links.protocol.windows import Ask, Scan

S = TypeVar("S", bound=Scan)
P = TypeVar("P")
S_co = TypeVar("S_co", bound=Scan, covariant=True)

_created_at: Final[Callable[[Link], datetime]] = attrgetter("created_at")
_id: Final[Callable[[Link], str]] = attrgetter("id")

ReadPage: TypeAlias = Callable[[Ask], Awaitable[Callable[[], P]]]
"""Reads a page, and gives what decodes it."""


@attrs.frozen
class Taken(Generic[S, P]):
    """A page that a scan has taken.

    Attributes:
        scan: the scan.
        page: the page; ``None`` where there was none.
        places: the places on it of the links that are new.
    """

    scan: S
    page: P | None
    places: Sequence[int]


class Reader(Generic[S, P]):
    """Carries out scans, one after the other. An error leaves it where it was; the next call goes on from there.

    Args:
        scans: they are made when their turn comes.
        read: reads a page.
        show: what a page shows.
    """

    def __init__(self, scans: Iterable[S], read: ReadPage[P], show: Callable[[P], Shown]) -> None:
        self._scans = iter(scans)
        self._read = read
        self._show = show
        self._scan: S | None = None
        # A batch is kept until the next one has been read: replies whose memory is freed before are taken back by the
        # system page by page, and asked for again.
        self._batch: Sequence[tuple[Ask, Callable[[], P] | None]] = ()
        self._taken = 0

    async def next_page(self) -> Taken[S, P] | None:
        """Return the next page, ``None`` where every scan is complete."""
        if self._taken < len(self._batch):
            await asyncio.sleep(0)  # the event loop's turn
        else:
            asks = self._plan()
            if self._scan is None:
                return None
            self._batch, self._taken = await self._read_batch(self._scan, asks), 0
        scan = self._scan
        if scan is None:  # closed meanwhile
            return None
        if not self._batch:  # nothing that the service could answer in time
            return Taken(scan, None, ())
        ask, decode = self._batch[self._taken]
        try:
            page = None if decode is None else decode()
        except BaseException:
            self._batch, self._taken = (), 0  # read again, not decoded again
            raise
        self._taken += 1
        return Taken(scan, page, scan.take(ask, None if page is None else self._show(page)))

    def close(self) -> None:
        """Drop what was read ahead, and read nothing more."""
        self._scans, self._scan = iter(()), None
        self._batch, self._taken = (), 0

    def _plan(self) -> Sequence[Ask]:
        while True:
            if self._scan is None:
                self._scan = next(self._scans, None)
                if self._scan is None:
                    return ()
            if asks := self._scan.plan():
                return asks
            self._scan = None

    async def _read_batch(self, scan: S, asks: Sequence[Ask]) -> Sequence[tuple[Ask, Callable[[], P] | None]]:
        if len(asks) == 1:
            answers: Sequence[tuple[Ask, Callable[[], P] | None] | None] = [await self._read_one(scan, asks[0])]
        else:
            answers = await self._read_together(scan, asks)
        return [answer for answer in answers if answer is not None]

    async def _read_together(self, scan: S, asks: Sequence[Ask]) -> Sequence[tuple[Ask, Callable[[], P] | None] | None]:
        failure: BaseException
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._read_one(scan, ask)) for ask in asks]
            return [task.result() for task in tasks]
        except BaseExceptionGroup as failures:
            failure = _first(failures)
        raise failure

    async def _read_one(self, scan: S, ask: Ask) -> tuple[Ask, Callable[[], P] | None] | None:
        """Return what decodes a page, or that there is none; nothing at all if a smaller page has to be asked for."""
        try:
            return ask, await self._read(ask)
        except NotFoundError:
            if ask.slot.page == 1:
                raise
            return ask, None
        except RequestTimeoutError:
            if not scan.smaller(ask):
                raise
            return None


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = failures.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def show_page(page: LinkPage) -> Shown:
    """Return what a page of links shows."""
    return Shown(count=page.count, moments=list(map(_created_at, page.results)), ids=list(map(_id, page.results)))


class LinkIterator:
    """An async iterator of links.

    After an error of the network or the service it goes on where it was. Several tasks may share one.
    """

    def __init__(self, reader: Reader[Scan, LinkPage]) -> None:
        self._reader = reader
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
        try:
            taken = await self._reader.next_page()
        except ScanAssumptionError:
            self._closed = True  # what it has passed over cannot be told
            raise
        if taken is None:
            self._closed = True
        elif taken.page is not None and not self._closed:  # meanwhile
            links = taken.page.results
            everything = len(taken.places) == len(links)
            self._links.extend(links if everything else [links[place] for place in taken.places])

    async def aclose(self) -> None:
        """End the iteration; what was read ahead is dropped."""
        self._closed = True
        self._links.clear()
        self._reader.close()
