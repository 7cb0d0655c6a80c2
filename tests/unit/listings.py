"""A list of links that changes while it is read, as the service lists it, and readers of it without a network."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple, Protocol

from belvo_links.protocol.filters import LinkFilter
from belvo_links.protocol.scan import Listing, Rules
from belvo_links.protocol.shown import Shown
from belvo_links.protocol.slots import Slot
from belvo_links.protocol.windows import Ask, Scan, Scope, WindowedScan

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)
NOTHING = LinkFilter()


class Made(NamedTuple):
    """A link: when it was created, and its id."""

    moment: datetime
    id: str


class Changes(Protocol):
    """What happens between two steps of the service."""

    def __call__(self, listed: "Listed") -> None: ...


class Listed:
    """The links, newest first.

    Attributes:
        links: those that there are.
        began: those that there were when the reading began.
        gone: the ids of those that were deleted.
        requests: how many pages were asked for.
        changed: how many links were created or deleted meanwhile.
    """

    def __init__(
        self, number: int, *, now: datetime = NOON, spacing: timedelta = timedelta(minutes=1), same_moment: int = 1
    ) -> None:
        places = (place - place % same_moment for place in range(1, number + 1))
        self.links = [Made(now - place * spacing, f"old {number}") for number, place in enumerate(places)]
        self.began = frozenset(self.links)
        self.gone: set[str] = set()
        self.requests = 0
        self.changed = 0
        self._now = now

    def create(self, number: int = 1) -> None:
        """Create links now."""
        for _ in range(number):
            self.changed += 1
            self._now += timedelta(milliseconds=1)
            self.links.insert(0, Made(self._now, f"new {self.changed}"))

    def delete(self, place: int) -> None:
        """Delete the link at a place, if there is one."""
        if self.links:
            self.changed += 1
            self.gone.add(self.links.pop(place % len(self.links)).id)

    def matching(self, filters: LinkFilter) -> Sequence[Made]:
        """Return the links that a filter on days of creation lets through."""
        since, until = filters.created_at__gte, filters.created_at__lt
        if since is None and until is None:
            return self.links
        first = datetime.combine(since or date.min, time.min, UTC)
        last = datetime.combine(until or date.max, time.min, UTC)
        return [each for each in self.links if first <= each.moment < last]

    def survivors(self) -> set[str]:
        """Return the ids of the links that existed throughout."""
        return {link.id for link in self.began} - self.gone


class Service:
    """Serves pages of a list, in two steps each: the count first, the links later.

    Args:
        listed: the list.
        changes: what happens between any two steps.
        order: puts the steps of requests that are under way together into an order.
        one_step: whether nothing happens between counting and slicing.
        most: the most links that are given at once.
    """

    def __init__(
        self,
        listed: Listed,
        changes: Changes = lambda listed: None,
        *,
        order: Callable[[list[int]], None] = lambda steps: None,
        one_step: bool = False,
        most: int = 1000,
    ) -> None:
        self._listed = listed
        self._changes = changes
        self._order = order
        self._one_step = one_step
        self._most = most

    def serve(self, asks: Sequence[Ask]) -> Sequence[Shown | None]:
        """Answer requests that are under way together."""
        steps = list(range(len(asks))) if self._one_step else [place for place in range(len(asks)) for _ in "ab"]
        self._order(steps)
        counts: dict[int, int] = {}
        answers: dict[int, Shown | None] = {}
        for place in steps:
            if place not in counts:
                counts[place] = len(self._listed.matching(asks[place].filters))
            if self._one_step or place in answers:
                answers[place] = self._slice(asks[place], counts[place])
            else:
                answers[place] = None
            self._changes(self._listed)
        self._listed.requests += len(asks)
        return [answers[place] for place in range(len(asks))]

    def _slice(self, ask: Ask, count: int) -> Shown | None:
        size = min(ask.slot.size, self._most)
        start = (ask.slot.page - 1) * size
        if ask.slot.page > 1 and start >= count:
            return None
        links = self._listed.matching(ask.filters)[start : start + size]
        return Shown(count=count, moments=[link.moment for link in links], ids=[link.id for link in links])


class OfOne:
    """One listing as a scan."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing

    def plan(self) -> Sequence[Ask]:
        return [Ask(NOTHING, slot) for slot in self.listing.plan()]

    def take(self, ask: Ask, shown: Shown | None) -> Sequence[int]:
        return self.listing.take(ask.slot, shown)

    def smaller(self, ask: Ask) -> bool:
        return self.listing.smaller(ask.slot)


class Forwards:
    """A naive reader: page after page, one at a time, until one is missing. It de-duplicates by id."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._page = 1
        self._seen: set[str] = set()

    def plan(self) -> Sequence[Ask]:
        return [Ask(NOTHING, Slot(self._page, self._size))] if self._page else []

    def take(self, ask: Ask, shown: Shown | None) -> Sequence[int]:
        self._page = 0 if shown is None or not shown.ids else self._page + 1
        ids = [] if shown is None else shown.ids
        places = [place for place, link_id in enumerate(ids) if link_id not in self._seen]
        self._seen.update(ids)
        return places

    def smaller(self, ask: Ask) -> bool:
        return False


class Backwards(Forwards):
    """A naive reader: from the last page to the first, several at a time, whatever happens to the counts."""

    def __init__(self, size: int, at_once: int) -> None:
        super().__init__(size)
        self._at_once = at_once
        self._next: int | None = None

    def plan(self) -> Sequence[Ask]:
        if self._next is None:
            return [Ask(NOTHING, Slot(1, self._size))]
        first = max(0, self._next - self._at_once)
        pages, self._next = range(self._next, first, -1), first
        return [Ask(NOTHING, Slot(page, self._size)) for page in pages]

    def take(self, ask: Ask, shown: Shown | None) -> Sequence[int]:
        if self._next is None and shown is not None:
            self._next = -(-shown.count // self._size)
        return super().take(ask, shown)


def read(scan: Scan, service: Service, *, at_most: int = 20_000) -> list[str]:
    """Carry out a scan, and return the ids that it gives."""
    found: list[str] = []
    asked = 0
    while asks := scan.plan():
        asked += len(asks)
        assert asked <= at_most, "the scan does not end"
        for ask, shown in zip(asks, service.serve(asks), strict=True):
            places = scan.take(ask, shown)
            found += [shown.ids[place] for place in places] if shown is not None else []
    return found


def listing(size: int, at_once: int, *, shrinks: bool, now: datetime = NOON) -> OfOne:
    """Return a scan of one listing."""
    return OfOne(Listing(Rules(page_size=size, concurrency=at_once, began=now, shrinks=shrinks)))


def scope(size: int, at_once: int, *, now: datetime = NOON, filters: LinkFilter = NOTHING) -> Scope:
    """Return what a scan is to read."""
    return Scope(filters=filters, now=now, page_size=size, concurrency=at_once)


def steadily(deletions: float, creations: float, chance: random.Random) -> Changes:
    """Return so many changes for each step of the service; a request has two."""
    due = [0.0, 0.0]

    def change(listed: Listed) -> None:
        due[0] += deletions
        due[1] += creations
        while due[0] >= 1:
            listed.delete(chance.randrange(1 << 30))
            due[0] -= 1
        while due[1] >= 1:
            listed.create()
            due[1] -= 1

    return change


__all__ = [
    "Backwards",
    "Forwards",
    "Listed",
    "OfOne",
    "Service",
    "WindowedScan",
    "listing",
    "read",
    "scope",
    "steadily",
]
