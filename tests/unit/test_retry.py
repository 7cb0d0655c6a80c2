"""What is repeated, and when."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.errors import (
    ApiError,
    BelvoLinksError,
    ConnectError,
    NotFoundError,
    PoolTimeoutError,
    RateLimitedError,
    RequestTimeoutError,
    ResponseLostError,
    ServerError,
    TooManySessionsError,
    UnexpectedResponseError,
)
from belvo_links.transport import retry
from belvo_links.transport.messages import Repeat
from belvo_links.transport.retry import MAYBE_DONE, ONCE, Failure, RetryPolicy, classify, next_delay

ERRORS: dict[Failure, list[BelvoLinksError]] = {
    Failure.UNSENT: [ConnectError(method="GET", path="/"), PoolTimeoutError(method="GET", path="/")],
    Failure.LOST: [ResponseLostError(method="GET", path="/")],
    Failure.SLOW: [RequestTimeoutError(status=408)],
    Failure.THROTTLED: [RateLimitedError(status=429)],
    Failure.BROKEN: [ServerError(status=500), ServerError(status=503)],
    Failure.TOO_MANY_SESSIONS: [TooManySessionsError(status=400)],
}

F = Failure
TABLE = {
    # The contract's section 4, once more and by hand: what may be repeated after what.
    Repeat.READ: {F.UNSENT, F.LOST, F.SLOW, F.THROTTLED, F.BROKEN},
    Repeat.DELETE: {F.UNSENT, F.LOST, F.SLOW, F.THROTTLED, F.BROKEN},
    Repeat.CHANGE: {F.UNSENT, F.THROTTLED},
    Repeat.NEVER: set(),
}


def delay(
    policy: RetryPolicy, repeat: Repeat, error: BelvoLinksError, attempt: int = 1, jitter: float = 1.0
) -> float | None:
    return next_delay(policy, repeat, attempt=attempt, error=error, jitter=lambda: jitter)


@pytest.mark.parametrize("failure", list(Failure))
@pytest.mark.parametrize("repeat", list(Repeat))
def test_the_table(repeat: Repeat, failure: Failure) -> None:
    """Every operation with every failure."""
    for error in ERRORS[failure]:
        assert classify(error) is failure
        assert (delay(RetryPolicy(), repeat, error) is not None) == (failure in TABLE[repeat])


@pytest.mark.parametrize("repeat", list(Repeat))
def test_too_many_sessions_is_waited_out_only_where_the_policy_allows_it(repeat: Repeat) -> None:
    """And never for anything that carries a token."""
    error = TooManySessionsError(status=400)
    assert (delay(RetryPolicy(too_many_sessions=True), repeat, error) is not None) == (repeat is not Repeat.NEVER)


@pytest.mark.parametrize(
    "error", [NotFoundError(status=404), UnexpectedResponseError(status=200, problems=[]), ApiError(status=418)]
)
def test_what_repeating_cannot_mend_is_not_repeated(error: BelvoLinksError) -> None:
    """A definite answer is one."""
    assert classify(error) is None
    assert delay(RetryPolicy(), Repeat.READ, error) is None


def test_attempts_are_counted_and_at_most_three() -> None:
    """In all, the first included."""
    error = ERRORS[Failure.LOST][0]
    for attempts in (1, 2, 3):
        policy = RetryPolicy(attempts=attempts)
        waits = [delay(policy, Repeat.READ, error, attempt) for attempt in (1, 2, 3)]
        assert [wait is not None for wait in waits] == [attempt < attempts for attempt in (1, 2, 3)]
    assert delay(ONCE, Repeat.READ, error) is None


@given(st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 2))
def test_full_jitter_between_nothing_and_a_range_that_doubles_up_to_the_ceiling(
    jitter: float, base: float, ceiling: float, attempt: int
) -> None:
    """So that many clients do not come back in step."""
    wait = delay(RetryPolicy(base=base, ceiling=ceiling), Repeat.READ, ERRORS[F.BROKEN][0], attempt, jitter)
    assert wait == jitter * min(ceiling, base * 2 ** (attempt - 1))


@pytest.mark.parametrize("kind", [RateLimitedError, ServerError])
@pytest.mark.parametrize("asked, waits", [(0, 0), (7, 7), (30, 30), (3600, 30), (-5, 0)])
def test_retry_after_is_honoured_up_to_the_ceiling(kind: type[ApiError], asked: int, waits: int) -> None:
    """Without jitter: the service said when."""
    error = kind(status=503, retry_after=timedelta(seconds=asked))
    assert delay(RetryPolicy(ceiling=30), Repeat.READ, error, jitter=0.5) == waits


@pytest.mark.parametrize("attempts", [0, 4, -1])
def test_a_policy_has_one_to_three_attempts(attempts: int) -> None:
    """Belvo asks for at most three."""
    with pytest.raises(ValueError, match="attempts"):
        RetryPolicy(attempts=attempts)


@pytest.mark.parametrize("name", ["base", "ceiling"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_policy_waits_a_real_time(name: str, value: float) -> None:
    """And says which setting is wrong."""
    with pytest.raises(ValueError, match=name):
        RetryPolicy(**{name: value})  # type: ignore[arg-type]  # one of two floats


def test_in_doubt_it_may_be_done() -> None:
    """What lets a deletion that finds nothing afterwards count as done."""
    assert {F.LOST, F.SLOW, F.BROKEN} == MAYBE_DONE


def test_the_drawing_says_what_the_code_does() -> None:
    """The table in the docstring has a yes exactly where the code repeats."""
    drawing = (retry.__doc__ or "").split("\n")
    rows = {
        line.split()[0]: [word for word in line.split() if word in {"yes", "no", "if"}]
        for line in drawing
        if " no " in line or " yes " in line
    }
    columns = [F.UNSENT, F.LOST, F.SLOW, F.THROTTLED, F.BROKEN]
    names = {"reads": Repeat.READ, "DELETE": Repeat.DELETE, "other": Repeat.CHANGE, "anything": Repeat.NEVER}
    assert set(rows) == set(names)
    for name, repeat in names.items():
        assert [word == "yes" for word in rows[name][:5]] == [column in TABLE[repeat] for column in columns]
