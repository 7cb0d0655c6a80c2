"""Which page to ask for: a listing is cut by number and size only, so that a stretch of it begins where a page may."""

from __future__ import annotations

import math
from typing import Final

import attrs

_TRIED: Final = 100


@attrs.frozen
class Slot:
    """One page to ask for.

    Attributes:
        page: its number, from 1.
        size: links per page.
    """

    page: int
    size: int

    @property
    def start(self) -> int:
        """The position of its first link."""
        return (self.page - 1) * self.size

    @property
    def end(self) -> int:
        """The position behind its last link."""
        return self.page * self.size


def last_of_grid(end: int, size: int) -> Slot:
    """Return the page of exactly this size that holds the position before ``end``."""
    return Slot(max(1, math.ceil(end / size)), size)


def up_to(end: int, size: int) -> Slot:
    """Return the page of at most this size that goes on up to a position and reaches back from there as far as can be.

    Pages begin at multiples of their size, so a size just below the largest often fits better.
    """
    last = max(1, end) - 1
    best = max(range(size, size // 2, -1), key=lambda each: last % each)
    return Slot(last // best + 1, best)


def around(start: int, end: int, size: int) -> Slot | None:
    """Return the page of at most this size that holds these positions, far from its own ends; ``None``: none does."""
    best: tuple[int, Slot] | None = None
    first = math.ceil(end / size)
    for page in range(first, first + _TRIED):
        smallest = math.ceil(end / page)
        largest = size if page == 1 else min(size, start // (page - 1))
        if smallest <= largest:
            slot = Slot(page, largest if page == 1 else (smallest + largest) // 2)
            room = slot.end - end if page == 1 else min(slot.end - end, start - slot.start)
            if best is None or room > best[0]:
                best = room, slot
    return best[1] if best is not None else None
