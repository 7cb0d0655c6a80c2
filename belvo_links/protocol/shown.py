"""What a page shows of a listing, and the checks of what a scan rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice, takewhile
from operator import ge

import attrs

from belvo_links.errors import ScanAssumptionError


@attrs.frozen(kw_only=True)
class Shown:
    """What one page shows.

    Attributes:
        count: how many links the page says there are.
        moments: when its links were created, in its order.
        ids: their ids.
    """

    count: int
    moments: Sequence[datetime]
    ids: Sequence[str]

    def of_first(self) -> frozenset[str]:
        """Return the ids of the links of the same moment as the first one."""
        return frozenset(_of_one_moment(iter(self.moments), iter(self.ids)))

    def of_last(self) -> frozenset[str]:
        """Return the ids of the links of the same moment as the last one."""
        return frozenset(_of_one_moment(reversed(self.moments), reversed(self.ids)))


def _of_one_moment(moments: Iterator[datetime], ids: Iterator[str]) -> Iterator[str]:
    pairs = zip(moments, ids, strict=True)
    moment, link_id = next(pairs)
    yield link_id
    yield from (each for _, each in takewhile(lambda pair: pair[0] == moment, pairs))


def check(shown: Shown, before: Shown | None, *, since: datetime | None, until: datetime | None) -> None:
    """Check a page.

    Args:
        shown: the page.
        before: another page of the same links.
        since: no link may be older.
        until: every link must be older.

    Raises:
        ScanAssumptionError: it is not newest first, or the moment of creation cannot be what it says.
    """
    moments = shown.moments
    if not all(map(ge, moments, islice(moments, 1, None))):
        msg = "The service did not list links newest first, so it cannot be told which were seen."
        raise ScanAssumptionError(msg)
    if (until is not None and moments[0] >= until) or (since is not None and moments[-1] < since):
        msg = "The service listed links that were not created on the days that were asked for."
        raise ScanAssumptionError(msg)
    ids = frozenset(shown.ids)
    if len(ids) < len(moments):
        msg = "The service listed a link twice on one page."
        raise ScanAssumptionError(msg)
    if before is not None and not ids.isdisjoint(before.ids) and _contradict(shown, before):
        msg = "The service listed a link with another moment of creation than before."
        raise ScanAssumptionError(msg)


def _contradict(one: Shown, other: Shown) -> bool:
    known = dict(zip(other.ids, other.moments, strict=True))
    return any(known.get(link_id, moment) != moment for link_id, moment in zip(one.ids, one.moments, strict=True))
