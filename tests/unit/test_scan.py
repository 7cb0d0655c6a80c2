"""A scan misses no link and gives none twice, whatever happens to the list between any two steps; and what it costs."""

import math
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from belvo_links.errors import ScanAssumptionError
from belvo_links.protocol.filters import LinkFilter
from belvo_links.protocol.shown import Shown
from belvo_links.protocol.windows import Ask, Scan, ScanWindow, WholeScan, WindowedScan
from tests.unit.listings import NOON, Backwards, Changes, Forwards, Listed, Service, listing, read, scope, steadily

SPACINGS = [timedelta(minutes=1), timedelta(minutes=20), timedelta(hours=7), timedelta(days=3)]


@st.composite
def change(draw: st.DrawFn, *, creates: bool = True) -> Changes:
    """Links that are created and deleted, at random, at a rate from none to several at every step."""
    chance = random.Random(draw(st.integers(0, 1 << 32)))
    rate = draw(st.sampled_from([0.0, 0.02, 0.1, 0.5, 2.0, 4.0]))
    creating = draw(st.sampled_from([0.0, 0.1, 0.5, 0.9])) if creates else 0.0

    def happen(listed: Listed) -> None:
        while chance.random() < rate / (1 + rate):
            if chance.random() < creating:
                listed.create()
            else:
                listed.delete(chance.randrange(1 << 30))

    return happen


orders = st.integers(0, 1 << 32).map(lambda seed: random.Random(seed).shuffle)
sizes = st.sampled_from([1, 2, 3, 5, 7, 10, 20, 50])
at_once = st.integers(1, 6)


def assert_complete(listed: Listed, found: Sequence[str]) -> None:
    """Every link that existed throughout, and none twice."""
    assert len(found) == len(set(found)), "a link was given twice"
    assert listed.survivors() <= set(found), "a link was missed"


@given(
    number=st.integers(0, 150),
    same_moment=st.integers(1, 4),
    size=sizes,
    together=at_once,
    order=orders,
    one_step=st.booleans(),
    happen=change(),
)
def test_a_list_that_grows_and_shrinks_is_read_completely(
    number: int,
    same_moment: int,
    size: int,
    together: int,
    order: Callable[[list[int]], None],
    one_step: bool,
    happen: Changes,
) -> None:
    """Any size of pages, any order of steps, counted and sliced in one step or in two, links of the same moment."""
    listed = Listed(number, same_moment=same_moment)
    service = Service(listed, happen, order=order, one_step=one_step)
    assert_complete(listed, read(listing(size, together, shrinks=False), service))


@given(
    number=st.integers(0, 150),
    same_moment=st.integers(1, 4),
    size=sizes,
    together=at_once,
    order=orders,
    one_step=st.booleans(),
    happen=change(creates=False),
)
def test_a_list_that_only_shrinks_is_read_completely(
    number: int,
    same_moment: int,
    size: int,
    together: int,
    order: Callable[[list[int]], None],
    one_step: bool,
    happen: Changes,
) -> None:
    """Here touching pages count where the counts, or the order of the requests, prove them."""
    listed = Listed(number, same_moment=same_moment)
    service = Service(listed, happen, order=order, one_step=one_step)
    assert_complete(listed, read(listing(size, together, shrinks=True), service))


@given(
    number=st.integers(0, 400),
    spacing=st.sampled_from(SPACINGS),
    hour=st.integers(0, 23),
    size=sizes,
    together=at_once,
    order=orders,
    happen=change(),
    by_windows=st.booleans(),
)
def test_an_account_is_read_completely(
    number: int,
    spacing: timedelta,
    hour: int,
    size: int,
    together: int,
    order: Callable[[list[int]], None],
    happen: Changes,
    by_windows: bool,
) -> None:
    """Whatever the part of its links that are of today, by windows of days or not."""
    now = NOON.replace(hour=hour)
    listed = Listed(number, now=now, spacing=spacing)
    what = scope(size, together, now=now)
    scan: Scan = WindowedScan(what) if by_windows else WholeScan(what)
    assert_complete(listed, read(scan, Service(listed, happen, order=order)))


@given(
    number=st.integers(0, 300),
    spacing=st.sampled_from(SPACINGS),
    most=st.integers(10, 30),
    size=st.sampled_from([1, 5, 10, 50, 1000]),
    together=at_once,
    order=orders,
    happen=change(),
)
def test_a_service_that_gives_fewer_links_at_once_is_followed(
    number: int,
    spacing: timedelta,
    most: int,
    size: int,
    together: int,
    order: Callable[[list[int]], None],
    happen: Changes,
) -> None:
    """It says so by its count."""
    listed = Listed(number, spacing=spacing)
    service = Service(listed, happen, order=order, one_step=True, most=most)
    assert_complete(listed, read(WholeScan(scope(size, together)), service))


@given(number=st.integers(0, 300), spacing=st.sampled_from(SPACINGS), size=sizes, together=at_once, order=orders)
def test_without_change_every_link_is_asked_for_once(
    number: int, spacing: timedelta, size: int, together: int, order: Callable[[list[int]], None]
) -> None:
    """As many requests as there are pages; where a long list begins today, two more at most."""
    listed = Listed(number, spacing=spacing)
    assert_complete(listed, read(WholeScan(scope(size, together)), Service(listed, order=order)))
    pages = max(1, math.ceil(number / size))
    assert pages <= listed.requests <= pages + (0 if pages <= 32 else 2)


@pytest.mark.parametrize("together", [1, 4])
@pytest.mark.parametrize("spacing", [timedelta(seconds=10), timedelta(hours=1)])
def test_a_long_list_costs_a_few_requests_more_under_steady_deletion(together: int, spacing: timedelta) -> None:
    """Twelve deletions at every request: seventeen pages, of today and of the past."""
    for seed in range(10):
        listed = Listed(1700, spacing=spacing)
        happen = steadily(6, 0, random.Random(seed))
        assert_complete(listed, read(WholeScan(scope(100, together)), Service(listed, happen)))
        assert listed.requests <= 17 + (4 if together == 1 else 9)


@pytest.mark.parametrize("seed", range(3))
def test_a_hundred_pages_cost_hardly_more_under_steady_deletion(seed: int) -> None:
    """Four at a time."""
    listed = Listed(10_000, spacing=timedelta(hours=1))
    happen = steadily(6, 0, random.Random(seed))
    assert_complete(listed, read(WholeScan(scope(100, 4)), Service(listed, happen)))
    assert listed.requests <= 115


def test_a_list_from_which_almost_everything_goes_is_read_to_its_end() -> None:
    """Pages that were counted are gone."""
    listed = Listed(2000, spacing=timedelta(hours=1))

    def happen(listed: Listed) -> None:
        while len(listed.links) > 25 and listed.requests:
            listed.delete(25)

    assert_complete(listed, read(WholeScan(scope(100, 4)), Service(listed, happen)))
    assert listed.requests < 20


# ------------------------------------------------------------------------------------- that the tests above can fail


def misses(scan: Callable[[], Scan], happen: Callable[[random.Random], Changes]) -> int:
    """Return in how many of fifty runs a reader misses a link, of those in which it gives none twice."""
    number = 0
    for seed in range(50):
        listed = Listed(100)
        found = read(scan(), Service(listed, happen(random.Random(seed)), order=random.Random(seed).shuffle))
        assert len(found) == len(set(found))
        number += not listed.survivors() <= set(found)
    return number


@pytest.mark.parametrize(
    "reader",
    [lambda: Forwards(10), lambda: Backwards(10, 4)],
    ids=["forwards", "backwards, several at a time"],
)
def test_a_naive_reader_is_found_out(reader: Callable[[], Scan]) -> None:
    """By the same service under the same changes."""
    assert misses(reader, lambda chance: steadily(0.25, 0, chance)) > 10
    assert misses(lambda: listing(10, 4, shrinks=True), lambda chance: steadily(0.25, 0, chance)) == 0


def test_backwards_one_at_a_time_is_found_out_where_links_are_created() -> None:
    """They push unread links behind what was read."""
    assert misses(lambda: Backwards(10, 1), lambda chance: steadily(0, 0.25, chance)) > 10
    assert misses(lambda: listing(10, 1, shrinks=False), lambda chance: steadily(0, 0.25, chance)) == 0


def test_counts_that_agree_are_no_proof_where_links_are_created() -> None:
    """One deleted, one created: a reader of a list that grows must not trust that."""

    def happen(chance: random.Random) -> Changes:
        def both(listed: Listed) -> None:
            if chance.random() < 0.2:
                listed.delete(chance.randrange(1 << 30))
                listed.create()

        return both

    assert misses(lambda: listing(10, 4, shrinks=False), happen) == 0


def test_a_link_that_is_created_while_links_are_counted_hides_no_other() -> None:
    """It is on the first page and not in the count; a deletion later makes the counts agree again."""
    listed = Listed(20)
    steps = iter(range(1000))

    def happen(listed: Listed) -> None:
        match next(steps):
            case 0:  # counted, not yet cut
                listed.create()
            case 1:
                listed.delete(1)

    assert_complete(listed, read(listing(10, 1, shrinks=False), Service(listed, happen)))


# ------------------------------------------------------------------------------------------- what a scan rests on


@attrs.define
class Bent:
    """A scan whose replies are bent before it takes them."""

    scan: Scan
    bend: Callable[[Shown], Shown]

    def plan(self) -> Sequence[Ask]:
        return self.scan.plan()

    def take(self, ask: Ask, shown: Shown | None) -> Sequence[int]:
        return self.scan.take(ask, None if shown is None else self.bend(shown))

    def smaller(self, ask: Ask) -> bool:
        return self.scan.smaller(ask)


def swapped(shown: Shown) -> Shown:
    """Oldest first."""
    return attrs.evolve(shown, moments=shown.moments[::-1], ids=shown.ids[::-1])


def doubled(shown: Shown) -> Shown:
    """The first link stands in the place of the second one too."""
    return attrs.evolve(shown, ids=[shown.ids[0], shown.ids[0], *shown.ids[2:]])


def later(shown: Shown) -> Shown:
    """All were created a year later."""
    return attrs.evolve(shown, moments=[moment + timedelta(days=365) for moment in shown.moments])


@pytest.mark.parametrize("by_windows", [False, True])
@pytest.mark.parametrize(
    "bend,words",
    [(swapped, "newest first"), (doubled, "twice"), (later, "days that were asked for")],
)
def test_a_page_that_is_not_as_assumed_is_an_error(
    bend: Callable[[Shown], Shown], words: str, by_windows: bool
) -> None:
    """Not newest first, a link twice, creation on other days than asked for."""
    listed = Listed(100, spacing=timedelta(days=1))
    what = scope(10, 1, filters=LinkFilter(created_at__lt=NOON.date()))
    inner: Scan = WindowedScan(what) if by_windows else WholeScan(what)
    with pytest.raises(ScanAssumptionError, match=words):
        read(Bent(inner, bend), Service(listed))


@pytest.mark.parametrize("together", [1, 4])
def test_links_that_appear_in_the_past_are_an_error(together: int) -> None:
    """The moment of creation cannot be what it says."""
    listed = Listed(200, spacing=timedelta(hours=20))

    def happen(listed: Listed) -> None:
        listed.links.insert(100, listed.links[100]._replace(id=f"late {len(listed.links)}"))

    with pytest.raises(ScanAssumptionError, match="long ago"):
        read(WholeScan(scope(10, together)), Service(listed, happen))


def test_under_a_filter_on_what_changes_links_may_appear_in_the_past() -> None:
    """They enter the filter; and the ones that match throughout are found all the same."""
    listed = Listed(200, spacing=timedelta(hours=20))

    def happen(listed: Listed) -> None:
        if listed.requests % 3 == 0:
            listed.links.insert(100, listed.links[100]._replace(id=f"late {listed.requests} {len(listed.links)}"))

    found = read(WholeScan(scope(10, 1, filters=LinkFilter(status="valid"))), Service(listed, happen))
    assert listed.survivors() <= set(found)


def test_a_link_whose_moment_of_creation_changes_is_an_error() -> None:
    """Where it is seen again."""
    listed = Listed(40)
    scan = listing(20, 1, shrinks=False)

    def bend(shown: Shown) -> Shown:
        moments = [moment - timedelta(seconds=scan.listing.total % 7) for moment in shown.moments]
        return attrs.evolve(shown, moments=moments)

    with pytest.raises(ScanAssumptionError, match="another moment"):
        read(Bent(scan, bend), Service(listed, steadily(1, 0, random.Random(1))))


def test_pages_that_never_fit_together_end_the_scan() -> None:
    """It says so instead of going on for ever."""
    service = Service(Listed(100), steadily(0.5, 0.5, random.Random(1)), most=1)
    with pytest.raises(ScanAssumptionError, match="fit together"):
        read(listing(10, 1, shrinks=False), service)


# ------------------------------------------------------------------------------------------------------- by windows


def windows(number: int, spacing: timedelta, size: int = 10, **more: object) -> list[ScanWindow]:
    """Return the windows in which so many links are read."""
    listed = Listed(number, spacing=spacing)
    scan = WindowedScan(scope(size, 4))
    service, seen, done = Service(listed), list[ScanWindow](), list[ScanWindow]()
    while asks := scan.plan():
        for ask, shown in zip(asks, service.serve(asks), strict=True):
            scan.take(ask, shown)
            seen.append(scan.window)
            if scan.is_window_done and (not done or done[-1] != scan.window):
                done.append(scan.window)
    assert list(dict.fromkeys(seen))[-1] == done[-1]
    return done


def test_windows_follow_one_another_from_today_to_the_beginning() -> None:
    """Without a gap, each of a fair size."""
    done = windows(2000, timedelta(minutes=50))
    assert done[0].until is None
    assert done[-1].since is None
    assert all(newer.since == older.until for newer, older in pairwise(done))
    assert 8 <= len(done) <= 25


def test_a_window_that_turns_out_too_large_is_opened_anew() -> None:
    """Links were not created evenly."""
    assert len(windows(2000, timedelta(minutes=1))) >= 2
    listed = Listed(300, spacing=timedelta(days=1))
    crowd = Listed(3000, now=NOON - timedelta(days=310), spacing=timedelta(minutes=30))
    listed.links += [link._replace(id=f"crowd {link.id}") for link in crowd.links]
    listed.began = frozenset(listed.links)
    scan = WindowedScan(scope(10, 4))
    assert_complete(listed, read(scan, Service(listed)))
    assert scan.window.since is None


@given(stop=st.integers(0, 60), happen=change(), together=at_once)
def test_a_scan_by_windows_goes_on_behind_the_last_one_that_was_ended(
    stop: int, happen: Changes, together: int
) -> None:
    """What it had ended is not read again, and nothing is missed over both."""
    listed = Listed(150, spacing=timedelta(hours=8))
    scan, service = WindowedScan(scope(2, together)), Service(listed, happen)
    kept: list[str] = []
    open_window: list[str] = []
    last: ScanWindow | None = None
    for _ in range(stop):
        asks = scan.plan()
        if not asks:
            break
        for ask, shown in zip(asks, service.serve(asks), strict=True):
            open_window += [shown.ids[place] for place in scan.take(ask, shown)] if shown is not None else []
            if scan.is_window_done:
                kept, open_window, last = kept + open_window, [], scan.window
    assume(last is None or last.since is not None)
    again = WindowedScan(scope(2, together), until=None if last is None else last.since)
    assert_complete(listed, kept + read(again, service))


def test_days_of_the_users_own_filter_bound_the_windows() -> None:
    """Nothing outside is asked for."""
    listed = Listed(1800, spacing=timedelta(hours=1))
    first, end = NOON.date() - timedelta(days=60), NOON.date() - timedelta(days=30)
    filters = LinkFilter(created_at__gte=first, created_at__lt=end)
    found = read(WindowedScan(scope(10, 2, filters=filters)), Service(listed))
    assert sorted(found) == sorted(link.id for link in listed.matching(filters))
    assert len(found) == 720
