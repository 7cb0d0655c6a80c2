"""A complete scan by pages and windows: for audits, and whatever wants to go on later where it was."""

from __future__ import annotations

from typing import Self

import attrs

from belvo_links.client.pages import Reader
from belvo_links.errors import ScanAssumptionError
from belvo_links.protocol.models import Link, RecordPage, UnreadableLink
from belvo_links.protocol.shown import Shown
from belvo_links.protocol.windows import ScanWindow, WindowedScan


@attrs.frozen(kw_only=True)
class ScanPage:
    """What one page has added to a scan.

    Attributes:
        window: the days that it belongs to. Windows follow one another, the newest first.
        links: links that were not given before; their ``extra`` is read on the first page of each window.
        unreadable: records that are no links and were not given before.
        total: how many links the window holds, as last reported.
        ends_window: whether the window is complete with this page. Keep the window to go on behind it later.
    """

    window: ScanWindow
    links: tuple[Link, ...]
    unreadable: tuple[UnreadableLink, ...]
    total: int
    ends_window: bool


class LinkScan:
    """An async iterator of the pages of a complete scan, for one task at a time.

    After an error of the network or the service it goes on where it was.
    """

    def __init__(self, reader: Reader[WindowedScan, RecordPage]) -> None:
        self._reader = reader
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ScanPage:
        while not self._closed:
            try:
                taken = await self._reader.next_page()
            except ScanAssumptionError:
                self._closed = True  # what it has passed over cannot be told
                raise
            if taken is None:
                break
            scan = taken.scan
            records = [taken.page.records[place] for place in taken.places] if taken.page is not None else []
            if records or scan.is_window_done:
                return ScanPage(
                    window=scan.window,
                    links=tuple(each for each in records if isinstance(each, Link)),
                    unreadable=tuple(each for each in records if isinstance(each, UnreadableLink)),
                    total=scan.total,
                    ends_window=scan.is_window_done,
                )
        self._closed = True
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the scan; what was read ahead is dropped."""
        self._closed = True
        self._reader.close()


def show_records(page: RecordPage) -> Shown:
    """Return what a page of records shows."""
    return Shown(count=page.count, moments=page.moments, ids=page.ids)
