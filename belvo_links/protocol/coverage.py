"""What of a listing is known completely: stretches along the moments of creation, and what a page adds to them.

A page is a run of neighbours in a list that is ordered newest first, cut at one moment. So it holds every link between
its first and its last one that existed then, wherever other links have pushed it meanwhile. Two pages that share a
link, or overlap in time, leave no room for a third link between them. That needs no count, no clock and no order of
replies.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import datetime

import attrs


@attrs.frozen(kw_only=True)
class Edge:
    """Where a stretch ends on one side.

    Attributes:
        moment: when the outermost link was created.
        ids: of the links of that moment that belong to the stretch.
        position: how many links were newer (at the newest edge), or lay up to here (at the oldest edge).
        count: how many links the reply said there were.
        batch: which batch of requests it came with.
        is_sure: whether the position is certain: what it was when the page was cut, or (in a list that can only lose
            links) at most that.
        is_exact: whether it is the position, and not only a bound.
    """

    moment: datetime
    ids: frozenset[str]
    position: int
    count: int
    batch: int
    is_sure: bool = True
    is_exact: bool = True


@attrs.frozen
class Stretch:
    """A part of a listing that is known completely.

    Attributes:
        newest: its newest edge; ``None`` where it reaches the top of the list.
        oldest: its oldest edge; ``None`` where it reaches the end of the list.
    """

    newest: Edge | None
    oldest: Edge | None

    def reaches(self, older: Stretch) -> bool:
        """Return whether it goes on at least to where an older one begins."""
        here, there = self.oldest, older.newest
        if here is None or there is None:
            return True
        return here.moment < there.moment or (here.moment == there.moment and not here.ids.isdisjoint(there.ids))

    def meets(self, other: Stretch) -> bool:
        """Return whether they overlap, or share a link."""
        return self.reaches(other) and other.reaches(self)

    def holds(self, moment: datetime, link_id: str) -> bool:
        """Return whether a link belongs to it."""
        newest, oldest = self.newest, self.oldest
        if newest is not None and not (moment < newest.moment or (moment == newest.moment and link_id in newest.ids)):
            return False
        return oldest is None or moment > oldest.moment or (moment == oldest.moment and link_id in oldest.ids)

    def joined(self, other: Stretch) -> Stretch:
        """Return the two as one."""
        return Stretch(_newer(self.newest, other.newest), _older(self.oldest, other.oldest))


def _newer(one: Edge | None, other: Edge | None) -> Edge | None:
    if one is None or other is None:
        return None
    if one.moment == other.moment:
        nearer = min(one, other, key=lambda edge: edge.position)
        return attrs.evolve(nearer, ids=one.ids | other.ids, is_exact=False)
    return one if one.moment > other.moment else other


def _older(one: Edge | None, other: Edge | None) -> Edge | None:
    if one is None or other is None:
        return None
    if one.moment == other.moment:
        farther = max(one, other, key=lambda edge: edge.position)
        return attrs.evolve(farther, ids=one.ids | other.ids, is_exact=False)
    return one if one.moment < other.moment else other


class Coverage:
    """The stretches of one listing, newest first."""

    def __init__(self) -> None:
        self.stretches: list[Stretch] = []

    @property
    def is_complete(self) -> bool:
        """Whether no link can be missing."""
        return len(self.stretches) == 1 and self.stretches[0] == Stretch(None, None)

    def unseen(self, moments: Sequence[datetime], ids: Sequence[str]) -> Sequence[int]:
        """Return which links of a page, by their places on it, belong to no stretch yet."""
        page = range(len(moments))
        known = [each for each in self.stretches if _may_hold(each, moments)]
        if not known:
            return page
        rising = moments[::-1]
        held: set[int] = set()
        for stretch in known:
            # Only the links of the moments of its edges have to be looked at one by one.
            first = 0 if stretch.newest is None else len(page) - bisect_left(rising, stretch.newest.moment)
            after = len(page) if stretch.oldest is None else len(page) - bisect_right(rising, stretch.oldest.moment)
            held.update(range(first, after))
            for edge in (stretch.newest, stretch.oldest):
                if edge is not None:
                    places = range(
                        len(page) - bisect_right(rising, edge.moment), len(page) - bisect_left(rising, edge.moment)
                    )
                    held.update(place for place in places if stretch.holds(edge.moment, ids[place]))
        return [place for place in page if place not in held]

    def add(self, new: Stretch) -> int:
        """Add a stretch, and join it with those that it meets; returns its place among the stretches."""
        apart: list[Stretch] = []
        for each in self.stretches:
            if new.meets(each):
                new = each.joined(new)
            else:
                apart.append(each)
        place = next((place for place, each in enumerate(apart) if _is_behind(each, new)), len(apart))
        self.stretches = [*apart[:place], new, *apart[place:]]
        return place

    def join(self, place: int) -> None:
        """Join a stretch with the next older one, between which nothing is missing, as was found out otherwise."""
        self.stretches[place : place + 2] = [self.stretches[place].joined(self.stretches[place + 1])]

    def close(self) -> None:
        """Nothing is missing anywhere, as was found out otherwise."""
        self.stretches = [Stretch(None, None)]


def _may_hold(stretch: Stretch, moments: Sequence[datetime]) -> bool:
    if stretch.newest is not None and stretch.newest.moment < moments[-1]:
        return False
    return stretch.oldest is None or stretch.oldest.moment <= moments[0]


def _is_behind(stretch: Stretch, new: Stretch) -> bool:
    """Return whether a stretch that does not meet the new one comes after it."""
    if stretch.newest is None or new.oldest is None:
        return False
    if new.newest is None or stretch.oldest is None:
        return True
    if stretch.newest.moment == new.newest.moment:
        return stretch.newest.position > new.newest.position
    return stretch.newest.moment < new.newest.moment
