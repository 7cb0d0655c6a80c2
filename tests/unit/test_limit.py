"""The sliding window, without a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.transport.limit import RateLimit, SlidingWindow
from belvo_links.transport.messages import Lane

LIMITS = st.builds(RateLimit, st.integers(1, 12), st.floats(0.5, 60))
STEPS = st.lists(st.tuples(st.floats(0, 20), st.sampled_from(list(Lane)), st.booleans()), max_size=80)


def drive(limit: RateLimit, steps: list[tuple[float, Lane, bool]]) -> list[tuple[float, Lane]]:
    """Come at the given intervals, wait when told so, sometimes give back; what went out, and when."""
    window = SlidingWindow(limit)
    now, out = 0.0, []
    for pause, lane, gives_back in steps:
        now += pause
        wait = window.wait(now, lane)
        if wait > 0:
            now += wait
            # Adding may round down by a hair; then a little is still to be waited, as a timer would.
            while (rest := window.wait(now, lane)) > 0:
                now += max(rest, now * 1e-15)
        window.take(now)
        if gives_back:
            window.give_back(now)
        else:
            out.append((now, lane))
    return out


@given(LIMITS, STEPS)
def test_no_window_of_the_length_holds_more_than_allowed(
    limit: RateLimit, steps: list[tuple[float, Lane, bool]]
) -> None:
    """Wherever it begins: enough to look at those that begin with a request."""
    moments = [moment for moment, _ in drive(limit, steps)]
    for first in moments:
        inside = [moment for moment in moments if first <= moment < first + limit.seconds]
        assert len(inside) <= limit.requests


@given(LIMITS, STEPS)
def test_bulk_work_leaves_a_quarter_free(limit: RateLimit, steps: list[tuple[float, Lane, bool]]) -> None:
    """When one of it goes out, the window holds no more than three quarters of what is allowed."""
    out = drive(limit, steps)
    for at, (moment, lane) in enumerate(out):
        if lane is Lane.BULK:
            inside = [other for other, _ in out[: at + 1] if other + limit.seconds > moment]
            assert len(inside) <= max(1, limit.requests * 3 // 4)


def test_the_default_is_what_belvo_allows() -> None:
    """80 in 30 seconds, of which bulk work takes 60."""
    limit = RateLimit()
    assert (limit.requests, limit.seconds) == (80, 30)
    assert [limit.allowance(lane) for lane in Lane] == [80, 80, 60]


@pytest.mark.parametrize("requests, bulk", [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3), (8, 6), (9, 6)])
def test_the_quarter_is_rounded_up_but_bulk_work_never_starves(requests: int, bulk: int) -> None:
    """At least one is always allowed."""
    assert RateLimit(requests, 1.0).allowance(Lane.BULK) == bulk


def test_the_wait_ends_when_enough_have_left_the_window() -> None:
    """Neither sooner nor later."""
    window = SlidingWindow(RateLimit(4, 10.0))
    for moment in (0.0, 1.0, 2.0, 3.0):
        assert window.wait(moment, Lane.CALL) == 0
        window.take(moment)
    assert window.wait(4.0, Lane.PERSON) == 6.0
    assert window.wait(4.0, Lane.BULK) == 7.0
    assert window.wait(10.0, Lane.CALL) == 0
    assert window.wait(10.0, Lane.BULK) == 1.0


def test_what_is_given_back_makes_room_and_the_unknown_is_ignored() -> None:
    """A request that was counted and never went out."""
    window = SlidingWindow(RateLimit(1, 10.0))
    window.take(0.0)
    window.give_back(5.0)
    assert window.wait(1.0, Lane.CALL) == 9.0
    window.give_back(0.0)
    assert window.wait(1.0, Lane.CALL) == 0


@pytest.mark.parametrize(
    "requests, seconds", [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -1.0), (1, float("inf")), (1, float("nan"))]
)
def test_a_limit_is_a_positive_number_in_a_real_time(requests: int, seconds: float) -> None:
    """None turns it off, not 0."""
    with pytest.raises(ValueError, match="give"):
        RateLimit(requests, seconds)
