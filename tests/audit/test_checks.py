"""What each check finds, and what a check may do without harm to an audit."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from belvo_links import AccessMode, Link, LinkStatus, RefreshRate
from belvo_links.audit import checks, lifetimes
from belvo_links.audit.checks import CHECKS
from belvo_links.audit.findings import Check, CheckContext, Finding, Severity
from belvo_links.audit.inspection import DRIFT_REMEMBERED, FAILED, Inspector, named
from tests.audit.found import CONTEXT, DAY, FOUND, HOUR, ID, NOW, link, recurrent

LAST_MOMENT = datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("check, link, severity, message, remedy", FOUND)
def test_what_a_check_finds_says_how_grave_it_is_and_which_call_mends_it(
    check: Check, link: Link, severity: str, message: str, remedy: str
) -> None:
    (finding,) = check(link, CONTEXT)
    assert (finding.check, finding.severity, finding.link_id) == (check.__name__, severity, ID)
    assert message in finding.message
    assert finding.message.endswith(".")
    assert remedy in finding.remedy


NOT_FOUND: list[tuple[Check, Link]] = [
    (checks.unconfirmed, link(status="unconfirmed", age=timedelta(seconds=9600), used=None)),
    (checks.unconfirmed, link(age=DAY)),
    (checks.credentials_running_out, link(age=350 * DAY, credentials_storage="365d")),
    (checks.credentials_running_out, link(status="invalid", credentials_storage="3d")),
    (checks.credentials_running_out, link(status="invalid", credentials_storage="nostore")),
    (checks.credentials_running_out, link(credentials_storage="for a while")),
    (checks.credentials_running_out, link(credentials_storage=None)),
    (checks.data_running_out, link(used=350 * DAY, stale_in=None)),
    (checks.data_running_out, link(status="unconfirmed", age=400 * DAY, used=None)),
    (checks.not_refreshed, recurrent("6h", 18 * HOUR)),
    (checks.not_refreshed, recurrent("30d", 30 * DAY)),
    (checks.not_refreshed, recurrent("never", 300 * DAY)),
    (checks.not_refreshed, recurrent("6h", 19 * HOUR, status="invalid")),
    (checks.not_refreshed, link(used=300 * DAY)),
    (checks.never_accessed, link(age=DAY, used=None)),
    (checks.never_accessed, link(status="unconfirmed", used=None)),
    *((check, link()) for check in CHECKS),
]


@pytest.mark.parametrize("check, link", NOT_FOUND)
def test_what_is_in_order_gives_no_finding(check: Check, link: Link) -> None:
    assert list(check(link, CONTEXT)) == []


def test_the_lengths_that_checks_judge_by_can_be_set() -> None:
    sooner = attrs.evolve(CONTEXT, credentials_lead=DAY, data_lead=DAY, data_kept=30 * DAY, refresh_slack=DAY)
    assert not list(checks.credentials_running_out(link(credentials_storage="12d"), sooner))
    assert list(checks.credentials_running_out(link(credentials_storage="11d"), sooner))
    assert not list(checks.data_running_out(link(used=28 * DAY, stale_in=None), sooner))
    assert list(checks.data_running_out(link(used=29 * DAY, stale_in=None), sooner))
    assert not list(checks.not_refreshed(recurrent("6h", 30 * HOUR), sooner))
    later = attrs.evolve(CONTEXT, session_lifetime=30 * DAY, unused_after=30 * DAY)
    assert not list(checks.unconfirmed(link(status="unconfirmed"), later))
    assert not list(checks.never_accessed(link(used=None), later))


@pytest.mark.parametrize(
    "wrong, name",
    [
        ({"now": datetime(2026, 3, 1)}, "now"),  # noqa: DTZ001  # naive is the point
        ({"now": NOW, "credentials_lead": -DAY}, "credentials_lead"),
        ({"now": NOW, "data_lead": 14}, "data_lead"),
    ],
)
def test_a_context_without_sense_is_refused(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        CheckContext(**wrong)


def test_a_word_that_looks_like_none_is_not_shown() -> None:
    (finding,) = checks.drift(link(status="Ana López, 4152-3137"), CONTEXT)
    assert "López" not in finding.message
    assert "(not a plain word)" in finding.message


@given(
    st.builds(
        link,
        age=st.timedeltas(timedelta(0), 9000 * DAY),
        used=st.none() | st.timedeltas(timedelta(0), 9000 * DAY),
        status=st.sampled_from([*LinkStatus, "paused"]),
        access_mode=st.sampled_from([*AccessMode, "thrice"]),
        refresh_rate=st.sampled_from([*RefreshRate, "1h", "0d", "9999d"]),
        credentials_storage=st.none()
        | st.sampled_from(["store", "nostore", "1d", "9999d", "0d", "99999d"])
        | st.text(),
        stale_in=st.none() | st.sampled_from(["1d", "9999d", "d", "-1d", "\u0661d"]) | st.text(),
        external_id=st.none() | st.just("canary-4711"),
        institution_user_id=st.none() | st.just("canary-4712"),
    )
)
def test_no_link_makes_a_check_fail_and_no_finding_names_a_person(some: Link) -> None:
    for finding in Inspector(named(CHECKS), CONTEXT).inspect(some):
        assert finding.check != FAILED
        assert finding.link_id == ID
        assert finding.remedy
        assert "canary" not in repr(finding)


@given(st.integers(0, 9999), st.datetimes(timezones=st.just(UTC)))
@example(1, LAST_MOMENT)
def test_what_outlasts_the_calendar_lasts_for_good(number: int, created: datetime) -> None:
    length = timedelta(days=number)
    until = lifetimes.credentials_until(link(created_at=created, credentials_storage=f"{number}d"))
    assert until == created + length if length <= LAST_MOMENT - created else until is None


# ------------------------------------------------------------------------------------------------------ the inspector


def raising(link: Link, context: CheckContext) -> Iterable[Finding]:
    msg = f"canary {link.external_id}"
    raise LookupError(msg)


def raising_late(link: Link, context: CheckContext) -> Iterable[Finding]:
    yield Finding(check="raising_late", severity=Severity.HIGH, link_id=link.id, message="Never seen.", remedy="")
    raise LookupError


def returning_nothing(link: Link, context: CheckContext) -> Iterable[Finding]:
    return None  # type: ignore[return-value]  # what a check may do by mistake


def returning_text(link: Link, context: CheckContext) -> Iterable[Finding]:
    return "ab"  # type: ignore[return-value]  # the same


def with_no_message(link: Link, context: CheckContext) -> Iterable[Finding]:
    message: Any = None
    return [Finding(check="x", severity=Severity.HIGH, link_id=link.id, message=message, remedy="")]


def with_half_a_character(link: Link, context: CheckContext) -> Iterable[Finding]:
    return [Finding(check="x", severity=Severity.HIGH, link_id=link.id, message="\ud800", remedy="")]


def with_an_unknown_severity(link: Link, context: CheckContext) -> Iterable[Finding]:
    severity: Any = "worst"
    return [Finding(check="x", severity=severity, link_id=link.id, message="", remedy="")]


@pytest.mark.parametrize(
    "check, error",
    [
        (raising, "LookupError"),
        (raising_late, "LookupError"),
        (returning_nothing, "TypeError"),
        (returning_text, "TypeError"),
        (with_no_message, "AttributeError"),
        (with_half_a_character, "UnicodeEncodeError"),
        (with_an_unknown_severity, "ValueError"),
    ],
)
def test_a_check_that_fails_costs_itself_on_this_link_and_nothing_else(check: Check, error: str) -> None:
    inspector = Inspector(named([check, checks.invalid]), CONTEXT)
    failed, found = inspector.inspect(link(status="invalid"))
    assert (failed.check, failed.severity, failed.link_id) == (FAILED, Severity.MEDIUM, ID)
    assert f"failed on this link with {error}." in failed.message
    assert "canary" not in repr(failed)
    assert found.check == "invalid"


def test_drift_is_told_once_for_each_word_with_the_first_link_that_has_it() -> None:
    inspector = Inspector(
        named(CHECKS), CONTEXT, drift=['The word "seen" in status is not known to this version of belvo_links.']
    )
    first, second = link(id="a", status="paused"), link(id="b", status="paused", refresh_rate="36h")
    assert [each.link_id for each in inspector.inspect(first)] == ["a"]
    assert [each.message.split('"')[1] for each in inspector.inspect(second)] == ["36h"]
    assert list(inspector.inspect(link(status="seen"))) == []


def test_drift_without_end_is_not_remembered_without_end() -> None:
    inspector = Inspector(named([checks.drift]), CONTEXT)
    found = [
        finding for number in range(DRIFT_REMEMBERED + 5) for finding in inspector.inspect(link(status=f"w{number}"))
    ]
    assert len(found) == DRIFT_REMEMBERED


async def a_coroutine(link: Link, context: CheckContext) -> Iterable[Finding]:
    return []


@pytest.mark.parametrize(
    "wrong, error",
    [
        ([a_coroutine], TypeError),
        (["invalid"], TypeError),
        ([checks.invalid, checks.invalid], ValueError),
        ([lambda link, context: [], lambda link, context: []], ValueError),
    ],
)
def test_checks_that_cannot_be_told_apart_or_run_are_refused(wrong: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="checks: give"):
        named(wrong)


def test_severities_are_in_order() -> None:
    assert sorted(Severity, key=lambda each: each.rank) == ["info", "low", "medium", "high"]
