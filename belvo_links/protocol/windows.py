"""Which listings a scan goes through: the links of today, which still grow, and the past, which can only lose links."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Protocol, overload

import attrs

from belvo_links.protocol.coverage import Edge, Stretch
from belvo_links.protocol.filters import LinkFilter
from belvo_links.protocol.scan import Listing, Rules
from belvo_links.protocol.shown import Shown, check
from belvo_links.protocol.slots import Slot

SETTLED_AFTER: Final = timedelta(hours=3)
"""After this time a link that is being created is listed, whatever clock says so: longer than a login session lives."""
AS_ONE: Final = 32
"""Pages up to which today and the past are read as one list, so that no page is cut between them."""
PAGES_PER_WINDOW: Final = 16
ROOM_FOR_DAYS: Final = len("&created_at__gte=2025-01-01&created_at__lt=2025-01-01")
_DAY: Final = timedelta(days=1)
_WIDER: Final = 4
_MOST_DAYS: Final = 3650


@attrs.frozen
class Ask:
    """One page to ask for.

    Attributes:
        filters: of which links.
        slot: which page.
        in_full: whether to read the fields that this version does not know.
    """

    filters: LinkFilter
    slot: Slot
    in_full: bool = False


@attrs.frozen(kw_only=True)
class ScanWindow:
    """The links of some days; a scan goes through such windows, the newest first.

    Attributes:
        part: which part of a filter that had to be split for its length; mostly 0.
        since: the first day of their creation, UTC; ``None``: the beginning.
        until: the day after the last one; ``None``: the window of today, which has no end.
    """

    part: int = 0
    since: date | None = None
    until: date | None = None


class Scan(Protocol):
    """What decides how links are read completely; it is asked and told in turn."""

    def plan(self) -> Sequence[Ask]:
        """Return which pages to ask for next, all at once; none where the scan is complete."""
        ...

    def take(self, ask: Ask, shown: Shown | None) -> Sequence[int]:
        """Take a reply, ``None`` where there is no such page, and return the places of the links that are new."""
        ...

    def smaller(self, ask: Ask) -> bool:
        """Ask for smaller pages, since the service takes too long for this one; false where there are none."""
        ...


@attrs.frozen(kw_only=True)
class Scope:
    """What is to be read, and how.

    Attributes:
        filters: which links.
        now: when the scan begins, aware UTC.
        page_size: links per page.
        concurrency: pages at once at most.
    """

    filters: LinkFilter
    now: datetime
    page_size: int
    concurrency: int

    @property
    def today(self) -> date:
        """The first day of which links may still appear."""
        return (self.now - SETTLED_AFTER).date()

    def listing(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        shrinks: bool = False,
        page_size: int | None = None,
    ) -> Listing:
        """Return the listing of the links of some days, not begun."""
        rules = Rules(
            page_size=page_size or self.page_size,
            concurrency=self.concurrency,
            began=self.now,
            shrinks=shrinks,
            is_strict=self.filters.is_of_what_never_changes,
            since=_midnight(max(filter(None, (since, self.filters.first_day())), default=None)),
            until=_midnight(min(filter(None, (until, self.filters.end_day())), default=None)),
        )
        return Listing(rules)


@overload
def _midnight(day: date) -> datetime: ...


@overload
def _midnight(day: None) -> None: ...


@overload
def _midnight(day: date | None) -> datetime | None: ...


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time.min, UTC)


class WholeScan:
    """Every link of a filter.

    Where nothing was created today, one listing of the past is read. Otherwise a list of a few pages is read as one; of
    a longer one the links of today are read for themselves, and then the past.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        end = scope.filters.end_day()
        is_past = end is not None and end <= scope.today
        self._filters = scope.filters
        self._listing = scope.listing(shrinks=is_past)
        self._later: deque[tuple[LinkFilter, Listing]] = deque()
        self._seen_before: Stretch | None = None
        self._is_first = True

    def plan(self) -> Sequence[Ask]:
        """Return which pages to ask for next; see :class:`Scan`."""
        slots = self._listing.plan()
        while not slots and self._later:
            self._filters, self._listing = self._later.popleft()
            slots = self._listing.plan()
        return [Ask(self._filters, slot) for slot in slots]

    def take(self, ask: Ask, shown: Shown | None) -> Sequence[int]:
        """Take a reply; see :class:`Scan`."""
        if self._is_first and shown is not None and shown.ids:
            self._is_first = False
            if not self._listing.rules.shrinks and self._divide(shown):
                return range(len(shown.ids))
        places = self._listing.take(ask.slot, shown)
        before = self._seen_before
        if before is None or shown is None:
            return places
        return [place for place in places if not before.holds(shown.moments[place], shown.ids[place])]

    def smaller(self, ask: Ask) -> bool:
        """Ask for smaller pages; see :class:`Scan`."""
        return self._listing.smaller(ask.slot)

    def _divide(self, shown: Shown) -> bool:
        """Decide by its first page how to read the list; true if this page is thereby taken."""
        scope, today = self._scope, self._scope.today
        past = scope.filters.between(None, today)
        if shown.moments[0] < _midnight(today):
            self._filters, self._listing = past, scope.listing(until=today, shrinks=True)
            return False
        if shown.count <= AS_ONE * len(shown.ids):
            return False
        check(shown, None, since=None, until=None)
        size = len(shown.ids)  # as many as the service gives at once
        rest = scope.listing(until=today, shrinks=True, page_size=size)
        number = bisect_right(shown.moments[::-1], _midnight(today) - timedelta.resolution)
        if number:  # this page holds all links of today
            self._begin(rest, shown, number)
            self._filters, self._listing = past, rest
        else:
            edge = Edge(moment=shown.moments[-1], ids=shown.of_last(), position=len(shown.ids), count=0, batch=0)
            self._seen_before = Stretch(None, edge)
            self._filters, self._listing = (
                scope.filters.between(today, None),
                scope.listing(since=today, page_size=size),
            )
            self._later.append((past, rest))
        return True

    def _begin(self, past: Listing, shown: Shown, number: int) -> None:
        """Begin with the past where the first page holds so many links of it."""
        new = len(shown.ids) - number
        past.begin(Shown(count=shown.count - new, moments=shown.moments[new:], ids=shown.ids[new:]))
        past.expected = shown.count - past.old(shown.moments[:new])


class WindowedScan:
    """Every link of a filter, day by day: windows of about sixteen pages, the newest first.

    Args:
        scope: what to read.
        part: what the windows say of the filter.
        until: everything that was created on this day or later was read before; ``None``: nothing was.
    """

    def __init__(self, scope: Scope, *, part: int = 0, until: date | None = None) -> None:
        self._scope = scope
        self._part = part
        self._target = PAGES_PER_WINDOW * scope.page_size
        self._days: int | None = None
        self._remaining: int | None = None
        self._first_count = 0
        end = min(filter(None, (until, scope.filters.end_day())), default=None)
        since = scope.today if end is None or end > scope.today else None
        self._since, self._until, self._is_new, self._listing = since, end, True, self._opened(since, end)

    @property
    def window(self) -> ScanWindow:
        """The window that is being read."""
        return ScanWindow(part=self._part, since=self._since, until=self._until)

    @property
    def total(self) -> int:
        """How many links the window holds, as last reported."""
        return self._listing.total

    @property
    def is_window_done(self) -> bool:
        """Whether the window has been read completely."""
        return self._listing.is_complete

    def plan(self) -> Sequence[Ask]:
        """Return which pages to ask for next; see :class:`Scan`."""
        if self._listing.is_complete and not self._go_on():
            return ()
        filters = self._scope.filters.between(self._since, self._until)
        return [Ask(filters, slot, in_full=self._is_new) for slot in self._listing.plan()]

    def take(self, ask: Ask, shown: Shown | None) -> Sequence[int]:
        """Take a reply; see :class:`Scan`."""
        if self._is_new and shown is not None and not self._fits(shown):
            return ()
        self._is_new = False
        return self._listing.take(ask.slot, shown)

    def smaller(self, ask: Ask) -> bool:
        """Ask for smaller pages; see :class:`Scan`."""
        return self._listing.smaller(ask.slot)

    def _open(self, since: date | None, until: date | None) -> None:
        self._since, self._until, self._is_new, self._listing = since, until, True, self._opened(since, until)

    def _opened(self, since: date | None, until: date | None) -> Listing:
        is_past = until is not None and until <= self._scope.today
        return self._scope.listing(since=since, until=until, shrinks=is_past)

    def _go_on(self) -> bool:
        """Open the next window, if there is one."""
        if self._since is None:
            return False
        count, until = self._first_count, self._since
        if self._until is not None and self._days is not None and self._remaining is not None:
            self._remaining -= count
            wanted = self._days * self._target // max(1, count)
            self._days = max(1, min(wanted, self._days * _WIDER, _MOST_DAYS))
        self._open(self._beginning(until), until)
        return True

    def _beginning(self, until: date) -> date | None:
        """Return the first day of the window that ends before a day; ``None`` where it is to hold all that is left."""
        if self._days is None or self._remaining is None or self._remaining * 2 <= self._target * 3:
            return None
        first = self._scope.filters.first_day()
        if (until - date.min).days <= self._days or (first is not None and until - self._days * _DAY <= first):
            return None
        return until - self._days * _DAY

    def _fits(self, shown: Shown) -> bool:
        """Return whether the window that was opened is of a fair size; otherwise it is opened anew, shorter."""
        self._first_count = shown.count
        if self._until is None or self._until > self._scope.today or not shown.ids:
            return True
        if self._since is None:
            self._remaining = shown.count
            if shown.count * 2 <= self._target * 3:
                return True
            span = (shown.moments[0] - shown.moments[-1]) / _DAY
            days = span * self._target / len(shown.ids)
        elif shown.count > self._target * _WIDER and self._until - self._since > _DAY:
            days = (self._until - self._since).days * self._target / shown.count
        else:
            return True
        self._days = max(1, min(math.floor(days), _MOST_DAYS))
        since = self._beginning(self._until)
        if since == self._since:
            return True
        self._open(since, self._until)
        return False
