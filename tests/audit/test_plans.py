"""Plans before anything is done: what is in them, how long they take, what they say."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from uuid import UUID

import attrs
import pytest

from belvo_links import (
    AuthenticationError,
    BelvoLinksError,
    ConflictError,
    ConnectError,
    InvalidLinkError,
    NotFoundError,
    PoolTimeoutError,
    RateLimit,
    RateLimitedError,
    RefreshCooldownError,
    RequestTimeoutError,
    ResponseLostError,
    ServerError,
    StoreError,
    TooManySessionsError,
    UnexpectedResponseError,
)
from belvo_links.audit import LinkResult, Outcome, Plan, plan_delete, plan_patch, plan_refresh
from belvo_links.audit.outcomes import COOLDOWN, GONE, Kind, is_left, judge

LINK = "e4bb1afb-4a4f-4dd6-8be0-e615d233185b"


def ids(number: int) -> list[str]:
    return [str(UUID(int=each + 1)) for each in range(number)]


# ------------------------------------------------------------------------------------------------------- what is in it


def test_each_link_is_there_once_in_the_order_given_however_its_id_is_written() -> None:
    first, second = "aaaaaaaa-4a4f-4dd6-8be0-e615d233185b", LINK
    plan = plan_delete(iter([second, first, second.upper(), first]))
    assert plan.ids == (second, first)


@pytest.mark.parametrize("make", [list, tuple, set, iter, lambda each: (one for one in each), dict.fromkeys])
def test_any_iterable_will_do(make: Callable[[list[str]], Iterable[str]]) -> None:
    assert sorted(plan_refresh(make(ids(3))).ids) == ids(3)


def test_a_hundred_thousand_links_are_a_plan_and_its_repr_stays_short() -> None:
    plan = plan_delete(ids(100_000))
    assert len(plan.ids) == 100_000
    assert len(repr(plan)) < 500


@pytest.mark.parametrize("make", [plan_delete, plan_refresh, lambda each: plan_patch(each, stale_in="90d")])
@pytest.mark.parametrize("wrong", ["secret-of-a-person", "", 7, None, f"{LINK}/../x", UUID(LINK)])
def test_what_is_no_link_s_id_is_named_by_its_place_and_not_by_its_value(
    make: Callable[[Iterable[str]], Plan], wrong: str
) -> None:
    with pytest.raises(ValueError, match="ids: number 3 is not a link's id, a UUID such as") as refused:
        make([*ids(2), wrong])
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("wrong", [LINK, LINK.encode(), 7, None])
def test_a_single_id_is_no_iterable_of_ids(wrong: list[str]) -> None:
    with pytest.raises(TypeError, match="ids: give an iterable"):
        plan_delete(wrong)


def test_what_no_call_could_send_is_no_plan() -> None:
    with pytest.raises(ValueError, match="nothing to change"):
        plan_patch(ids(1))
    with pytest.raises(ValueError, match="stale_in"):
        plan_patch([], stale_in="a year")
    with pytest.raises(ValueError, match="fetch_resources"):
        plan_refresh([], [""])
    with pytest.raises(ValueError, match="mode"):
        plan_delete([], mode="later")  # type: ignore[arg-type]  # what a plain program may give


def test_a_plan_does_not_change() -> None:
    plan = plan_delete(ids(1))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        plan.ids = ()  # type: ignore[misc]  # that is what is refused
    with pytest.raises(TypeError):
        plan.arguments["mode"] = "sync"  # type: ignore[index]  # the same


def test_the_same_plan_has_the_same_fingerprint_and_another_one_has_not() -> None:
    assert plan_refresh([], ["OWNERS", "BILLS"]).fingerprint == plan_refresh(ids(1), ["BILLS", "OWNERS"]).fingerprint
    plans = [
        plan_refresh([]),
        plan_refresh([], ["BILLS"]),
        plan_delete([]),
        plan_delete([], mode="sync"),
        plan_patch([], stale_in="90d"),
        plan_patch([], stale_in=None),
        plan_patch([], access_mode="single"),
        plan_patch([], fetch_resources=None),
        plan_patch([], fetch_resources=["BILLS"]),
    ]
    assert len({tuple(plan.fingerprint.items()) for plan in plans}) == len(plans)


# ------------------------------------------------------------------------------------------------------------ how long


@pytest.mark.parametrize(
    "plan,seconds",
    [
        (plan_delete([]), 0),
        (plan_delete(ids(60)), 0),
        (plan_delete(ids(61)), 30),
        (plan_refresh(ids(6000)), 99 * 30),
        (plan_patch(ids(9), stale_in="90d", rate_limit=RateLimit(4, 10)), 20),
        (plan_delete(ids(5), mode="sync"), 0),
        (plan_delete(ids(6), mode="sync"), 60),
        (plan_delete(ids(100), mode="sync"), 19 * 60),
        (plan_delete(ids(100), mode="sync", sync_deletions=RateLimit(50, 60)), 60),
        (plan_delete(ids(100), mode="sync", sync_deletions=RateLimit(100, 60)), 30),
    ],
)
def test_the_duration_is_what_the_limits_leave(plan: Plan, seconds: float) -> None:
    assert plan.duration == timedelta(seconds=seconds)


# ------------------------------------------------------------------------------------------------------------ in words


def test_a_plan_of_deletions_says_that_they_are_for_good() -> None:
    assert plan_delete(ids(100_000)).describe() == (
        "Delete 100,000 links and all their data, for good (Belvo accepts each and finishes it later).\n"
        "It takes at least 13 h 53 min: bulk work uses 60 of 80 requests in 30 seconds.\n"
        "It starts no update that could be billed."
    )
    assert plan_delete(ids(6), mode="sync").describe() == (
        "Delete 6 links and all their data, for good (each is gone when its call returns).\n"
        "It takes at least 1 min: 5 synchronous deletions in 60 seconds are allowed.\n"
        "It starts no update that could be billed.\n"
        'mode="async" has no limit of its own.'
    )


def test_a_plan_of_refreshes_says_what_may_be_billed_and_what_is_skipped() -> None:
    words = plan_refresh(ids(1)).describe()
    assert words.startswith("Refresh 1 link: fetch everything anew.\nIt takes moments: ")
    assert "Each accepted refresh may be billed: up to 1 link." in words
    assert "less than ten minutes ago is skipped" in words
    assert plan_refresh([], ["OWNERS", "BILLS"]).describe().startswith("Refresh 0 links: fetch BILLS, OWNERS anew.")


def test_a_plan_of_patches_says_whether_it_is_billed() -> None:
    recurrent = plan_patch(ids(61), access_mode="recurrent", stale_in=None).describe()
    assert recurrent.startswith("Patch 61 links: access_mode = recurrent, stale_in = null.\nIt takes at least 30 s: ")
    assert "is updated regularly, which is billed: up to 61 links." in recurrent
    assert "second factor" in recurrent
    assert "may start an update that is billed" in plan_patch(ids(2), access_mode="single").describe()
    assert "no update that could be billed" in plan_patch(ids(2), stale_in="90d").describe()


# ------------------------------------------------------------------------------------------------ what becomes of calls

ANSWERED = {"status": 400, "request_id": "f00"}
SENT = {"method": "POST", "path": "/api/links/"}


@pytest.mark.parametrize(
    "kind,error,outcome,reason",
    [
        (Kind.DELETE, NotFoundError(status=404), Outcome.SKIPPED, GONE),
        (Kind.REFRESH, NotFoundError(status=404), Outcome.FAILED, None),
        (Kind.REFRESH, RefreshCooldownError(status=409), Outcome.SKIPPED, COOLDOWN),
        (Kind.PATCH, RefreshCooldownError(status=409), Outcome.FAILED, None),
        (Kind.REFRESH, ConflictError(status=409), Outcome.FAILED, None),
        (Kind.REFRESH, InvalidLinkError(status=400), Outcome.FAILED, None),
        (Kind.PATCH, TooManySessionsError(status=400), Outcome.FAILED, None),
        (Kind.PATCH, StoreError(), Outcome.FAILED, None),
        (Kind.REFRESH, RateLimitedError(status=429), Outcome.FAILED, None),
        (Kind.REFRESH, AuthenticationError(status=401), Outcome.FAILED, None),
        (Kind.REFRESH, ConnectError(method="POST", path="/"), Outcome.FAILED, None),
        (Kind.REFRESH, ResponseLostError(method="POST", path="/"), Outcome.UNKNOWN, None),
        (Kind.DELETE, ResponseLostError(method="DELETE", path="/"), Outcome.UNKNOWN, None),
        (Kind.PATCH, ServerError(status=502), Outcome.UNKNOWN, None),
        (Kind.REFRESH, RequestTimeoutError(status=408), Outcome.UNKNOWN, None),
        (Kind.REFRESH, UnexpectedResponseError(status=202, problems=["$: not JSON"]), Outcome.UNKNOWN, None),
        (Kind.REFRESH, UnexpectedResponseError(status=302, problems=["$: no"]), Outcome.FAILED, None),
    ],
)
def test_an_error_is_judged_by_whether_anything_may_have_been_done(
    kind: Kind, error: BelvoLinksError, outcome: Outcome, reason: str | None
) -> None:
    result = judge(kind, LINK, error, repeated=False)
    assert (result.outcome, result.reason, result.error) == (outcome, reason, type(error).__name__)


def test_a_deletion_that_was_called_for_before_and_finds_nothing_is_done() -> None:
    assert judge(Kind.DELETE, LINK, NotFoundError(status=404), repeated=True) == LinkResult(
        link_id=LINK, outcome=Outcome.DONE
    )


def test_a_result_has_names_and_no_words_of_the_service() -> None:
    error = InvalidLinkError(
        status=400, code="invalid_link", message="a person's words", request_id="f00", retry_after=timedelta(seconds=7)
    )
    assert judge(Kind.REFRESH, LINK, error, repeated=False) == LinkResult(
        link_id=LINK,
        outcome=Outcome.FAILED,
        error="InvalidLinkError",
        code="invalid_link",
        request_id="f00",
        retry_after=timedelta(seconds=7),
    )
    odd = judge(Kind.REFRESH, LINK, InvalidLinkError(status=400, code="a b", request_id="c\nd"), repeated=False)
    assert (odd.code, odd.request_id) == (None, None)


@pytest.mark.parametrize(
    "kind,outcome,error,left",
    [
        (Kind.DELETE, Outcome.UNKNOWN, None, True),
        (Kind.DELETE, Outcome.UNKNOWN, ResponseLostError, True),
        (Kind.REFRESH, Outcome.UNKNOWN, None, False),
        (Kind.PATCH, Outcome.UNKNOWN, ServerError, False),
        *((Kind.REFRESH, outcome, None, False) for outcome in (Outcome.DONE, Outcome.SKIPPED, Outcome.WAITING)),
        (Kind.DELETE, Outcome.DONE, None, False),
        *(
            (Kind.PATCH, Outcome.FAILED, error, True)
            for error in (ConnectError, PoolTimeoutError, RateLimitedError, AuthenticationError)
        ),
        (Kind.PATCH, Outcome.FAILED, InvalidLinkError, False),
        (Kind.DELETE, Outcome.FAILED, TooManySessionsError, False),
    ],
)
def test_a_run_that_goes_on_makes_the_calls_that_were_not_made(
    kind: Kind, outcome: Outcome, error: type[BelvoLinksError] | None, left: bool
) -> None:
    name = None if error is None else error.__name__
    assert is_left(kind, LinkResult(link_id=LINK, outcome=outcome, error=name)) is left
    assert is_left(kind, None)
