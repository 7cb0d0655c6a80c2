"""How a listing moves while it is read. These are guesses: they decide what to ask for, never what is proved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import attrs

from belvo_links.protocol.coverage import Edge, Stretch
from belvo_links.protocol.shown import Shown

_CALMING: Final = 0.3


class Motion:
    """What the replies tell of how the links move.

    Attributes:
        total: how many links there are, as last reported.
        has_ended: whether the last page that was asked for lay behind the end, so that ``total`` is a bound.
        has_changed: whether a change was noticed.
        overlaps: whether pages that are asked for together are to overlap.
        drift: by how many links two neighbouring pages drifted apart (or, below 0, together) at worst.
    """

    def __init__(self) -> None:
        self.total = 0
        self.has_ended = False
        self.has_changed = False
        self.overlaps = False
        self.drift = 0.0
        self._counts: list[int] = []
        self._middle: int | None = None
        self._trend = 0

    def margin(self, size: int) -> int:
        """Return by how many links pages of a size are to overlap."""
        return max(0, min(1 + math.ceil(self.drift), size // 4)) if self.overlaps else 0

    def room(self, concurrency: int, size: int) -> int:
        """Return how many pages to ask for at once: the more are under way, the more they move meanwhile."""
        if not self.overlaps or self.drift * 8 <= size:
            return concurrency
        return max(1, int(concurrency * size / (self.drift * 8)))

    def begin_batch(self) -> None:
        """Look back at the counts of the last pages that were asked for together."""
        if self._counts:
            middle = sum(self._counts) // len(self._counts)
            self._trend, self._middle = 0 if self._middle is None else middle - self._middle, middle
            self._counts = []

    def note_change(self, by: int = 0) -> None:
        """Note that the list changes, and by how many links as far as is known."""
        if not self.has_changed:
            self.drift = by / 2
        self.has_changed = self.overlaps = True

    def note_count(self, count: int, *, is_first: bool) -> None:
        """Note how many links a page says there are."""
        self._counts.append(count)
        if not is_first and count != self.total:
            self.note_change(abs(count - self.total))
        self.total, self.has_ended = count, False

    def note_end(self, position: int) -> None:
        """Note that there is no page that begins here; so far behind the end, smaller steps would take too long."""
        self.note_change()
        self.total, self.has_ended = min(self.total // 2 if self.has_ended else self.total, position), True

    def note_failure(self, size: int) -> None:
        """Note that the last pages, of this size, brought nothing."""
        self.note_change()
        self.drift = min(abs(self.drift) * 1.5 + 1, size)

    def learn(self, page: Stretch, met: Sequence[Stretch], others: Sequence[Stretch], shown: Shown, known: int) -> None:
        """Compare how many links of a page were known with how many were to be expected.

        Args:
            page: what it shows, as a stretch.
            met: the stretches that it meets.
            others: all stretches so far.
            shown: what it shows.
            known: how many of its links were known.
        """
        lost: float | None = None
        if not met:
            if any(each.newest is not None and each.newest.moment < shown.moments[-1] for each in others):
                lost = min(abs(self.drift) * 2 + 1, len(shown.ids))
        elif len(met) == 1:
            expected = _expected(page, met[0], shown)
            lost = None if expected is None else expected - known
        if lost is not None:
            self.drift = max(lost, self.drift + _CALMING * (lost - self.drift))

    def moved(self, edge: Edge, *, shrinks: bool) -> int:
        """Return where an edge may lie when the next pages are cut."""
        return _moved(edge, self.total + self._trend, shrinks=shrinks)


def _expected(page: Stretch, other: Stretch, shown: Shown) -> int | None:
    """Return how many links a page and a stretch would share if nothing had moved; ``None`` where it lies inside."""
    ahead = other.holds(shown.moments[0], shown.ids[0])
    behind = other.holds(shown.moments[-1], shown.ids[-1])
    if ahead and not behind and other.oldest is not None and page.newest is not None:
        return other.oldest.position - page.newest.position
    if behind and not ahead and other.newest is not None and page.oldest is not None:
        return page.oldest.position - other.newest.position
    return None


def _moved(edge: Edge, total: int, *, shrinks: bool) -> int:
    """New links push an edge on; deleted ones, spread evenly, pull it back in proportion."""
    total = max(0, total)
    if total >= edge.count:
        return edge.position if shrinks else edge.position + total - edge.count
    return edge.position * total // edge.count


def placed(edge: Edge | None, page: Stretch, *, shrinks: bool) -> Edge | None:
    """Return an edge with what a page that lies on one side of it tells of where it lies by now.

    In a list that can only lose links a position is a bound that proofs rest on: it may fall, never rise.
    """
    if edge is None:
        return None
    above, below = page.newest, page.oldest
    if above is not None and above.moment < edge.moment and (above.is_sure or not shrinks):
        position = min(above.position, edge.position if shrinks else _moved(edge, above.count, shrinks=False))
        return attrs.evolve(edge, position=position, count=above.count, batch=above.batch, is_exact=False)
    if below is not None and below.moment > edge.moment and not shrinks:
        position = max(below.position, _moved(edge, below.count, shrinks=False))
        return attrs.evolve(edge, position=position, count=below.count, batch=below.batch, is_exact=False)
    return edge
