"""All links of the simulator: by id and, for each account, along their moments of creation."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import accumulate, compress, islice, pairwise
from operator import attrgetter
from typing import Literal, get_args

from .columns import Column, Mask
from .state import Course, Order, StoredLink

Filtered = Literal["institution", "external_id", "institution_user_id", "access_mode", "refresh_rate", "created_by"]
"""The fields that links are filtered by, besides the id, the status and the moment of creation."""
_BLOCK = 4096
_FEW = 1000
"""So many new links are inserted one by one sooner than everything is sorted again."""
_MANY = 20
"""One link in so many: looking each of them up would take longer than looking at all."""


class Matches:
    """The links of a stretch of a timeline that a mask means, oldest first, without a list of them.

    It holds until the timeline changes.
    """

    __slots__ = ("_before", "_first", "_links", "_mask")

    def __init__(self, links: Sequence[StoredLink], first: int, mask: Mask) -> None:
        self._links, self._first, self._mask = links, first, mask
        counts = (mask.count(1, start, start + _BLOCK) for start in range(0, len(mask), _BLOCK))
        self._before = list(accumulate(counts, initial=0))  # how many there are before each block

    def __len__(self) -> int:
        return self._before[-1]

    def __getitem__(self, part: slice, /) -> list[StoredLink]:
        """Some of them that follow one another; only the blocks that hold them are looked at."""
        start, stop, _ = part.indices(len(self))
        block = bisect_right(self._before, start) - 1
        begin, end = block * _BLOCK, bisect_left(self._before, stop) * _BLOCK
        found = compress(self._links[self._first + begin : self._first + end], self._mask[begin:end])
        before = self._before[block]
        return list(islice(found, start - before, max(start, stop) - before))


class Timeline:
    """The links of one account, oldest first, with a column for each field that they are filtered by."""

    __slots__ = ("_by_id", "_columns", "_courses", "links")

    def __init__(self, by_id: Mapping[str, StoredLink]) -> None:
        self._by_id = by_id
        self.links: list[StoredLink] = []
        """Changed by the methods below alone."""
        self._columns, self._courses = _columns(), _courses()

    def _all_columns(self) -> Sequence[Column[Course] | Column[str | None]]:
        return (self._courses, *self._columns.values())

    def add(self, link: StoredLink) -> None:
        """Add a new link in its place."""
        position = bisect_right(self.links, link.order, key=_order)
        self.links.insert(position, link)
        for column in self._all_columns():
            column.insert(position, link)

    def add_many(self, links: Sequence[StoredLink]) -> None:
        """Add new links, oldest first."""
        if self.links and links[0].order < self.links[-1].order:
            if len(links) < _FEW:
                for link in links:
                    self.add(link)
                return
            links = sorted([*self.links, *links], key=_order)
            self._columns, self._courses, self.links = _columns(), _courses(), []
        for column in self._all_columns():
            column.extend(links)
        self.links.extend(links)

    def put(self, link: StoredLink) -> None:
        """Replace a link by its changed self."""
        position = self._position(link)
        for column in self._all_columns():
            column.replace(position, self.links[position], link)
        self.links[position] = link

    def remove(self, link: StoredLink) -> None:
        """Forget a link."""
        position = self._position(link)
        for column in self._all_columns():
            column.delete(position, link)
        del self.links[position]

    def _position(self, link: StoredLink) -> int:
        return bisect_left(self.links, link.order, key=_order)

    def created(self, first: datetime, last: datetime) -> range:
        """The positions of the links that were created between two moments, both included."""
        begin = bisect_left(self.links, first, key=_created_at)
        return range(begin, bisect_right(self.links, last, lo=begin, key=_created_at))

    def having(self, span: range, field: Filtered, values: AbstractSet[str | None]) -> Mask:
        """Those of a span that have one of these values."""
        column = self._columns[field]
        mask = column.mask(span.start, span.stop, values)
        return self._with_ids(mask, span, list(column.rare(values)))

    def identified(self, span: range, ids: AbstractSet[str]) -> Mask:
        """Those of a span that have one of these ids."""
        return self._with_ids(bytearray(len(span)), span, ids)

    def with_status(self, span: range, statuses: AbstractSet[str | None], now: datetime) -> Mask:
        """Those of a span that have one of these statuses at a moment.

        Links of the same course turn at the same age, the older ones first. Between two such places, all of one
        course have the same status.
        """
        ages = {age for course in self._courses.values for age in (course.stored, course.lapse) if age is not None}
        turns = (bisect_right(self.links, now - age, span.start, span.stop, key=_created_at) for age in ages)
        mask = bytearray()
        for first, last in pairwise(sorted({span.start, *turns, span.stop})):
            age = now - self.links[first].created_at
            meant = {course for course in self._courses.values if course.status_at(age) in statuses}
            mask += self._courses.mask(first, last, meant)
        rare = [each for each in self._courses.all_rare() if self._by_id[each].status_at(now) in statuses]
        return self._with_ids(mask, span, rare)

    def _with_ids(self, mask: bytearray, span: range, ids: Collection[str]) -> Mask:
        """A mask that means these links too."""
        if len(ids) * _MANY > len(span):
            wanted = frozenset(ids)
            for place, link in enumerate(self.links[span.start : span.stop]):
                if link.id in wanted:
                    mask[place] = 1
            return mask
        for link_id in ids:
            found = self._by_id.get(link_id)
            position = -1 if found is None else self._position(found)
            if position in span and self.links[position] is found:  # otherwise it is another account's
                mask[position - span.start] = 1
        return mask


class Links:
    """All links, by id and in the timelines of their accounts."""

    __slots__ = ("_by_id", "_made", "_timelines")

    def __init__(self) -> None:
        self._by_id: dict[str, StoredLink] = {}
        self._timelines: dict[str, Timeline] = {}
        self._made = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def next_number(self) -> int:
        """A number for a new link."""
        self._made += 1
        return self._made

    def get(self, link_id: str, account: str | None = None) -> StoredLink | None:
        """The link with this id, if it exists and, where one is named, belongs to the account."""
        link = self._by_id.get(link_id)
        return link if link is not None and account in (None, link.account) else None

    def timeline(self, account: str) -> Timeline:
        """The account's links in their order; changed by the methods below alone."""
        timeline = self._timelines.get(account)
        if timeline is None:
            timeline = self._timelines[account] = Timeline(self._by_id)
        return timeline

    def oldest_first(self, account: str) -> list[StoredLink]:
        """The account's links; not to be changed."""
        return self.timeline(account).links

    def add(self, link: StoredLink) -> None:
        """Add a new link."""
        self.timeline(link.account).add(link)
        self._by_id[link.id] = link

    def add_many(self, links: Sequence[StoredLink]) -> None:
        """Add new links of one account, oldest first."""
        if links:
            self.timeline(links[0].account).add_many(links)
            self._by_id.update((link.id, link) for link in links)

    def put(self, link: StoredLink) -> None:
        """Replace a link by its changed self."""
        self.timeline(link.account).put(link)
        self._by_id[link.id] = link

    def remove(self, link_id: str) -> None:
        """Forget a link."""
        link = self._by_id.pop(link_id)
        self.timeline(link.account).remove(link)


def _columns() -> dict[Filtered, Column[str | None]]:
    return {name: Column(attrgetter(name)) for name in get_args(Filtered)}


def _courses() -> Column[Course]:
    return Column(attrgetter("course"))


def _order(link: StoredLink) -> Order:
    return link.created_at, link.number


def _created_at(link: StoredLink) -> datetime:
    return link.created_at
