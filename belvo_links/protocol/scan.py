"""Reading one listing completely while links come and go: which pages to ask for, and what their replies prove.

The guarantee and its proof are in docs/scans.md. Nothing is missing between two pages

1. that overlap, whatever the rest of the list does (:mod:`belvo_links.protocol.coverage`); and, in a list that can only
   lose links, between two pages that touch, if
2. the newer one was asked for after the older one had come, since what is unread only moves towards the top, or
3. a request that was sent after both reports the same count as both of them;

and nothing is missing anywhere

4. if as many links were found as there were when the first page was asked for.

Without change that is enough to read each page once, several at a time. From the first sign of change on, pages that
are asked for together overlap by a margin, which follows what is observed. A page that proves nothing does no harm:
what it shows is known from then on, and the gap beside it is read again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Final

import attrs

from belvo_links.errors import ScanAssumptionError
from belvo_links.protocol.coverage import Coverage, Edge, Stretch
from belvo_links.protocol.motion import Motion, placed
from belvo_links.protocol.shown import Shown, check
from belvo_links.protocol.slots import Slot, around, last_of_grid, up_to

LARGEST_PAGE: Final = 1000
LEAST_OVERLAPPING: Final = 20
"""Links per page at least once the list is seen to change: pages of one or two links cannot overlap and go on."""
PATIENCE: Final = 40
"""After so many batches that brought nothing, a listing counts as one that does not hold together."""

_batch: Final = attrgetter("batch")


@attrs.frozen(kw_only=True)
class Rules:
    """What is known of a listing before it is read.

    Attributes:
        page_size: links per page.
        concurrency: pages at once at most.
        began: when the scan began; a link that was created later did not exist before.
        shrinks: whether the listing can only lose links.
        is_strict: whether one that can only lose links and gains some breaks what the scan rests on; otherwise it is
            read on as one that grows.
        since: no link may be older.
        until: every link must be older.
    """

    page_size: int
    concurrency: int
    began: datetime
    shrinks: bool = False
    is_strict: bool = True
    since: datetime | None = None
    until: datetime | None = None


class Listing:
    """One listing while it is read; it decides, and asks nobody.

    :meth:`plan` says what to ask for next, all at once. :meth:`take` is then given each reply, in the plan's order. A
    plan that could not be carried out is made again.

    Attributes:
        rules: what is known of it before.
        expected: how many links that existed when the scan began there are to be found, where that is known.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.expected: int | None = None
        self._coverage = Coverage()
        self._motion = Motion()
        self._found = 0
        self._batch = 0
        self._size = rules.page_size
        self._limit: int | None = None
        self._short: tuple[Slot, int] | None = None
        self._served = 0
        self._follows_sizes = True
        self._lowest: int | None = None
        self._lowest_of_batch: int | None = None
        self._progress: object = None
        self._futile = 0
        self._page: Shown | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every link that existed throughout was seen."""
        return self._coverage.is_complete

    @property
    def total(self) -> int:
        """How many links it holds, as last reported."""
        return self._motion.total

    def begin(self, shown: Shown) -> None:
        """Begin with its newest links, which another listing has shown; ``count`` says how many it may hold in all."""
        edge = Edge(
            moment=shown.moments[-1],
            ids=shown.of_last(),
            position=len(shown.ids),
            count=shown.count,
            batch=0,
            is_sure=False,
        )
        self._coverage.add(Stretch(None, edge))
        self._motion.total = shown.count
        self._served = self.rules.page_size
        self._found = self.old(shown.moments)

    # ------------------------------------------------------------------------------------------------ what to ask for

    def plan(self) -> Sequence[Slot]:
        """Return what to ask for next, all at once, the oldest links first; nothing where the listing is complete.

        Raises:
            ScanAssumptionError: pages do not fit together, however often they are read.
        """
        if self.is_complete:
            return ()
        self._begin_batch()
        if not self._coverage.stretches:
            return (Slot(1, self._size),)
        slots = self._slots()
        if not slots:  # everything has been read once, and not all of it is proved
            self._motion.note_change()
            slots = self._slots()
        return slots

    def _begin_batch(self) -> None:
        self._motion.begin_batch()
        self._lowest = self._lowest_of_batch
        progress = (self._found, [_moments(each) for each in self._coverage.stretches])
        if not self._batch or progress != self._progress:
            self._futile = 0
        elif not self._motion.has_ended:  # otherwise at least the end has come nearer
            self._futile += 1
            self._motion.note_failure(self._largest)
        if self._futile > PATIENCE:
            msg = "The service's pages do not fit together, however often they are read."
            raise ScanAssumptionError(msg)
        self._progress = progress
        self._batch += 1

    @property
    def _largest(self) -> int:
        if not self._motion.has_changed:
            return self._size
        larger = LEAST_OVERLAPPING << self._futile // 4  # a page must show more than what changes meanwhile
        return max(self._size, min(larger, LARGEST_PAGE if self._limit is None else self._limit))

    @property
    def _margin(self) -> int:
        return self._motion.margin(self._largest)

    def _slots(self) -> Sequence[Slot]:
        room = self._motion.room(self.rules.concurrency, self._largest)
        slots: list[Slot] = []
        for low, high in self._gaps():
            slots += islice(self._walk(low, high), room - len(slots))
            if len(slots) == room:
                break
        return slots

    def _gaps(self) -> Iterator[tuple[int, int]]:
        """Yield the positions to read, as far as they can be told, from the end of the list to its top."""
        older: Edge | None = None
        for stretch in reversed(self._coverage.stretches):  # the last of which reaches the top: its first page did
            if stretch.oldest is not None:
                yield from self._gap(stretch.oldest, older)
            older = stretch.newest

    def _gap(self, newer: Edge, older: Edge | None) -> Iterator[tuple[int, int]]:
        """Yield from where to where to read between two edges; nothing where, without change, they touch."""
        if self._motion.overlaps:
            yield self._overlapping(newer, older)
            return
        high = self.total if older is None else older.position
        if newer.position < high:
            yield newer.position, high

    def _overlapping(self, newer: Edge, older: Edge | None) -> tuple[int, int]:
        margin, motion, shrinks = self._margin, self._motion, self.rules.shrinks
        where = partial(motion.moved, shrinks=shrinks)
        low = where(newer) - 1 - margin
        end = motion.total + (0 if shrinks or motion.has_ended else max(1, margin))  # only a short page is the last one
        high = end if older is None else older.position if shrinks else where(older) + margin
        if older is not None and newer.position > older.position and not shrinks:
            middle = where(max(newer, older, key=_batch))  # known at different times; the later knowledge counts
            low, high = middle - 1 - margin, middle + margin
        high = max(1, min(high, end))
        return max(0, min(low, high - 2)), high

    def _walk(self, low: int, high: int) -> Iterator[Slot]:
        """Yield pages that hold these positions, from the last one on."""
        while True:
            slot = self._choose(low, high)
            yield slot
            if slot.start <= low:
                return
            high = slot.start + self._margin

    def _choose(self, low: int, high: int) -> Slot:
        size, margin, overlaps = self._largest, self._margin, self._motion.overlaps
        on_grid = high % size == 0 or (high == self.total and not overlaps)
        if not self._follows_sizes or (on_grid and not margin):
            return last_of_grid(high, size)
        if self.rules.shrinks:  # what goes on up to there proves something, however far back it reaches
            return (around(low, high, size) if high - low <= size else None) or up_to(high, size)
        while 0 < high - low <= size:
            if (fitting := around(low, high, size)) is not None:
                return fitting
            low, high = low + 1, high - 1
        slots = (up_to(high - less, size) for less in range(max(1, margin)))
        return next((slot for slot in slots if slot.start < high - margin - size // 4), up_to(high, size))

    def _overlap_if_free(self) -> None:
        """Let pages overlap from the start where that takes no more requests than reading each link once."""
        oldest = self._coverage.stretches[0].oldest
        if oldest is None or self._motion.overlaps:
            return
        self._motion.overlaps = True
        needed = math.ceil(self.total / self._size) - 1
        slots = list(islice(self._walk(max(0, oldest.position - 2), self.total + 1), needed + 1))
        self._motion.overlaps = len(slots) <= needed

    def smaller(self, slot: Slot) -> bool:
        """Ask for smaller pages, since the service takes too long for one as large; false where there are none."""
        if slot.size == 1:
            return False
        self._size = self._limit = min(self._size, slot.size // 2)
        self._progress = None  # that nothing came is no sign of change
        return True

    # ---------------------------------------------------------------------------------------------- what replies prove

    def take(self, slot: Slot, shown: Shown | None) -> Sequence[int]:
        """Take a reply, ``None`` where there is no such page, and return the places of the links not seen before.

        Raises:
            ScanAssumptionError: the service does not list as the scan needs it.
        """
        if shown is None or not shown.ids:
            if slot.page == 1:
                self._coverage.close()
            else:
                self._motion.note_end(slot.start)
            return ()
        check(shown, self._page, since=self.rules.since, until=self.rules.until)
        self._page = shown
        is_first = not self._coverage.stretches
        if is_first:
            self.expected = shown.count
        self._take_count(shown.count)
        places = self._coverage.unseen(shown.moments, shown.ids)
        known = len(shown.ids) - len(places)
        if known and not self._motion.overlaps:
            self._motion.note_change()
        self._found += self.old(shown.moments, places)
        self._prove(slot, shown, known)
        if self._found == self.expected:
            self._coverage.close()
        if is_first and not self.rules.shrinks:
            self._overlap_if_free()
        return places

    def old(self, moments: Sequence[datetime], places: Sequence[int] | None = None) -> int:
        """Return how many links were there when the scan began, of all or of those at some places."""
        places = range(len(moments)) if places is None else places
        if not moments or moments[0] <= self.rules.began:
            return len(places)
        return sum(moments[place] <= self.rules.began for place in places)

    def _take_count(self, count: int) -> None:
        self._motion.note_count(count, is_first=not self._coverage.stretches)
        if self.rules.shrinks and self._lowest is not None and count > self._lowest:
            if self.rules.is_strict:
                msg = "The service lists links as created long ago that were not there before."
                raise ScanAssumptionError(msg)
            self.rules = attrs.evolve(self.rules, shrinks=False)
        lowest = self._lowest_of_batch
        self._lowest_of_batch = count if lowest is None else min(lowest, count)

    def _prove(self, slot: Slot, shown: Shown, known: int) -> None:
        if self.rules.shrinks:
            self._trust_counts(shown.count)
        page = self._stretch(slot, shown)
        stretches = self._coverage.stretches
        if self._motion.overlaps:
            self._motion.learn(page, [each for each in stretches if page.meets(each)], stretches, shown, known)
        place = self._coverage.add(page)
        if self._motion.overlaps:
            put = partial(placed, page=page, shrinks=self.rules.shrinks)
            self._coverage.stretches = [
                Stretch(put(each.newest), put(each.oldest)) for each in self._coverage.stretches
            ]
        if self.rules.shrinks:
            self._trust_order(place, page)

    def _stretch(self, slot: Slot, shown: Shown) -> Stretch:
        """Return what a page shows as a stretch, with how certain its position is."""
        length, served, start = len(shown.ids), self._served, slot.start
        if length > slot.size:  # the service cuts as it likes
            self._follows_sizes, self._size, start = False, length, (slot.page - 1) * length
        is_sure = slot.page == 1 or length >= slot.size or slot.size <= served
        holds_rest = is_sure and shown.count <= start + length
        if length < slot.size and slot.size > served and not holds_rest:
            self._note_short(slot, max(length, served))
        self._served = max(served, length)
        is_last = length < min(slot.size, served) or (
            holds_rest and (self.rules.shrinks or (length < slot.size and shown.count == start + length))
        )
        edge = partial(Edge, count=shown.count, batch=self._batch, is_sure=is_sure)
        return Stretch(
            edge(moment=shown.moments[0], ids=shown.of_first(), position=start) if slot.page > 1 else None,
            edge(moment=shown.moments[-1], ids=shown.of_last(), position=start + length) if not is_last else None,
        )

    def _note_short(self, slot: Slot, length: int) -> None:
        """A page was shorter than it was asked for: the service gives no more at once, or the list ends there."""
        if self._short is not None and self._short[0] != slot and self._short[1] == length:
            self._limit = length
        self._short = slot, length
        self._size = min(self._size, length)

    def _trust_counts(self, count: int) -> None:
        """Join what touches where this count, of a later request, is the one that both sides reported."""
        stretches = self._coverage.stretches
        for place in range(len(stretches) - 2, -1, -1):
            newer, older = stretches[place].oldest, stretches[place + 1].newest
            if newer is None or older is None or newer.position != older.position:
                continue
            if newer.count == older.count == count and self._is_exact(newer) and self._is_exact(older):
                self._coverage.join(place)

    def _trust_order(self, place: int, page: Stretch) -> None:
        """Join a page with what is older and was known before the page was asked for, if it goes on up to there."""
        stretches = self._coverage.stretches
        older = stretches[place + 1].newest if place + 1 < len(stretches) else None
        if older is None or page.oldest is None or not page.oldest.is_sure:
            return
        if self._is_settled(older) and page.oldest.position >= older.position:
            self._coverage.join(place)

    def _is_settled(self, edge: Edge) -> bool:
        return edge.is_sure and edge.batch < self._batch

    def _is_exact(self, edge: Edge) -> bool:
        return edge.is_exact and self._is_settled(edge)


def _moments(stretch: Stretch) -> tuple[datetime | None, datetime | None]:
    newest, oldest = stretch.newest, stretch.oldest
    return None if newest is None else newest.moment, None if oldest is None else oldest.moment
