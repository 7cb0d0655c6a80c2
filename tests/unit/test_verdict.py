"""What a reply means for a pending session, and what a look at the link proves."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links import errors
from belvo_links.protocol.challenge import Challenge, TokenRequired
from belvo_links.protocol.mfa import (
    Baseline,
    ChallengedAgain,
    Linked,
    NotSent,
    PendingRecord,
    PendingState,
    ProvedExpired,
    ProvedFailed,
    ProvedLinked,
    PutBack,
    Refused,
    Rejected,
    ReplyLost,
    SessionOver,
)
from belvo_links.protocol.models import AccessMode, Link, LinkStatus, Resource
from belvo_links.protocol.operations import complete
from belvo_links.protocol.verdict import proof, verdict
from belvo_links.redact import Secret
from belvo_links.transport.messages import Response

NOW = datetime(2024, 3, 1, 9, tzinfo=UTC)
LINK_ID = "758b0262-4b7d-475a-8e8b-c9d9a143bdc9"
REQUEST_ID = "734face09b271116046fb5e61c48f41d"
LINK = Link(id=LINK_ID, institution="a", status=LinkStatus.VALID, created_at=NOW)


def judged(status: int, body: Any = None) -> Any:
    """What a reply to a Complete, read as it always is, means."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        outcome: Any = complete(Secret("s"), LINK_ID).interpret(Response(status=status, body=raw))
    except errors.BelvoLinksError as error:
        outcome = error
    return verdict(outcome, claim="mine")


def item(code: str | None, field: str | None = None) -> dict[str, object]:
    return {"code": code, "field": field, "message": "m", "request_id": REQUEST_ID}


WIRE_LINK = {"id": LINK_ID, "institution": "a", "status": "valid", "created_at": "2024-03-01T09:00:00Z"}
CHALLENGE = {"session": "s", "link": LINK_ID, "request_id": REQUEST_ID}

REPLIES: list[tuple[int, Any, type]] = [
    (200, WIRE_LINK, Linked),
    (201, WIRE_LINK, Linked),
    (200, {"id": LINK_ID}, ReplyLost),
    (201, b"<html>", ReplyLost),
    (200, b"", ReplyLost),
    (202, WIRE_LINK, ReplyLost),
    (204, b"", ReplyLost),
    (302, b"", ReplyLost),
    (428, [CHALLENGE], ChallengedAgain),
    (428, {"detail": "Token Required"}, ChallengedAgain),
    (428, b"<html>", ReplyLost),
    (428, [{"session": 5}], ReplyLost),
    (400, [item("session_expired")], SessionOver),
    (400, item("session_expired"), SessionOver),
    (400, [item("invalid", "token"), item("session_expired")], SessionOver),
    (400, [item("invalid", "token")], Refused),
    (400, [item("required", "session"), item("blank", "token")], Refused),
    (400, [item("new_code", "token")], Refused),
    (400, [item("too_many_sessions")], Refused),
    (400, [item("login_error")], Rejected),
    (400, [item("required", "session")], Rejected),
    (400, [item("institution_down")], Rejected),
    (400, [item("token")], Rejected),
    (400, b"<html>", Rejected),
    (401, [item("authentication_failed")], Refused),
    (401, b"", Refused),
    (403, [item("access_to_resource_denied")], Refused),
    (403, [item("session_expired")], Refused),
    (404, [item("not_found")], Rejected),
    (404, [item("not_found", "token")], Rejected),
    (405, b"", Rejected),
    (409, [item("conflict")], Rejected),
    (410, b"", Rejected),
    (415, b"", Rejected),
    (418, b"", Rejected),
    (422, [item("invalid", "token")], Rejected),
    (429, [item("throttled")], Refused),
    (429, b"", Refused),
    (408, [item("request_timeout")], ReplyLost),
    (408, b"", ReplyLost),
    (500, [item("unexpected_error")], ReplyLost),
    (500, [item("session_expired")], ReplyLost),
    (502, b"<html>", ReplyLost),
    (599, b"", ReplyLost),
    (600, b"", ReplyLost),
    (999, b"", ReplyLost),
]


@pytest.mark.parametrize("status, body, kind", REPLIES)
def test_each_reply_is_the_event_of_the_contract(status: int, body: Any, kind: Any) -> None:
    """Status first, then code and field; the event belongs to the claim and carries the request id."""
    event = judged(status, body)
    assert type(event) is kind
    assert event.claim == "mine"
    told = body if isinstance(body, dict) else body[0] if isinstance(body, list) else {}
    if kind in {Refused, SessionOver, Rejected}:
        assert event.request_id == told.get("request_id")


def test_a_success_and_a_challenge_bring_what_they_say() -> None:
    """The link's id, and the whole of the 428."""
    assert verdict(LINK, claim="mine") == Linked(claim="mine", link_id=LINK_ID)
    asked = TokenRequired(session=Secret("s"), challenge=Challenge())
    assert verdict(asked, claim="mine") == ChallengedAgain(claim="mine", asked=asked)


@pytest.mark.parametrize(
    "error, kind",
    [
        (errors.ConnectError(method="PATCH", path="/api/links/"), NotSent),
        (errors.PoolTimeoutError(method="PATCH", path="/api/links/"), NotSent),
        (errors.ClientClosedError(), NotSent),
        (errors.ResponseLostError(method="PATCH", path="/api/links/"), ReplyLost),
        (errors.TransportError(method="PATCH", path="/api/links/"), ReplyLost),
        (errors.BadRequestError(status=400, field="token"), Refused),
        (errors.BelvoLinksError(), ReplyLost),
    ],
)
def test_the_network_is_judged_too(error: errors.BelvoLinksError, kind: type) -> None:
    """Only what certainly was not sent gives the round back; what nobody knows is taken as lost."""
    assert type(verdict(error, claim="mine")) is kind


@given(status=st.integers(100, 999).filter(lambda status: status != 428), body=st.binary())
def test_every_status_means_something(status: int, body: bytes) -> None:
    """Nothing raises, and no status outside of 2xx and 428 is a success or a challenge."""
    event = judged(status, body)
    assert isinstance(event, Refused | SessionOver | Rejected | ReplyLost)
    assert isinstance(event, ReplyLost) == (status == 408 or status not in range(400, 500))


# ----------------------------------------------------------------------------------------------------------- proof

BASELINE = Baseline.of(
    attrs.evolve(LINK, status=LinkStatus.INVALID, access_mode=AccessMode.SINGLE, last_accessed_at=NOW, stale_in="90d")
)
DEADLINE = NOW + timedelta(minutes=12)


def record(operation: str = "update", *, token_sent: bool = True, **facts: Any) -> PendingRecord:
    wanted: dict[str, Any] = {"state": PendingState.INDETERMINATE, "claim": "mine", "baseline": BASELINE}
    return PendingRecord(
        id="ours", operation=operation, link_id=LINK_ID, origin="o", account="a", created_at=NOW, expires_at=DEADLINE,
        session=Secret("s"), challenge=Challenge(), token_sent=token_sent, **{**wanted, **facts},
    )  # fmt: skip


def found(status: str = "valid", **facts: Any) -> Link:
    wanted: dict[str, Any] = {"access_mode": AccessMode.SINGLE, "last_accessed_at": NOW, "stale_in": "90d"}
    return attrs.evolve(LINK, status=LinkStatus(status), **{**wanted, **facts})


@pytest.mark.parametrize(
    "link, late, kind",
    [
        (found("valid"), False, ProvedLinked),
        (found("valid"), True, ProvedLinked),
        (found("unconfirmed"), False, None),
        (found("unconfirmed"), True, ProvedExpired),
        (found("invalid"), False, None),
        (found("invalid"), True, None),
        (found("token_required"), True, None),
        (found("a_new_word"), True, None),
        (None, False, ProvedFailed),
        (None, True, ProvedFailed),
    ],
)
def test_what_proves_a_registration(link: Link | None, late: bool, kind: type | None) -> None:
    """Valid; unconfirmed past the deadline; gone. Nothing else, and no clock of Belvo's."""
    at = DEADLINE if late else DEADLINE - timedelta(microseconds=1)
    for baseline in (None, BASELINE):
        event = proof(record("register", baseline=baseline), link, now=at)
        assert (None if event is None else type(event)) is kind


@pytest.mark.parametrize("operation", ["register", "update", "patch", "get", "refresh"])
def test_without_a_token_what_proves_nothing_puts_the_round_back(operation: str) -> None:
    """Confirming elsewhere can be asked for again; a token is never sent again."""
    look = found("invalid")
    assert proof(record(operation, token_sent=False), look, now=NOW) == PutBack()
    assert proof(record(operation, token_sent=True), look, now=NOW) is None
    assert proof(record(operation, token_sent=False, baseline=None), look, now=DEADLINE) == PutBack()


@pytest.mark.parametrize("before", ["invalid", "unconfirmed", "token_required", "valid"])
def test_a_login_is_proved_by_a_link_that_was_not_valid_and_is_now(before: str) -> None:
    """One that was valid before proves nothing by being valid still."""
    baseline = attrs.evolve(BASELINE, status=before)
    event = proof(record(baseline=baseline), found("valid"), now=NOW)
    assert event == (None if before == "valid" else ProvedLinked())
    assert proof(record(baseline=baseline), found("invalid"), now=NOW) is None


VALID = attrs.evolve(BASELINE, status="valid")


def test_without_a_baseline_nothing_is_proved() -> None:
    """Not even by a link that is gone: the login may have succeeded before somebody deleted it."""
    for operation in ("update", "patch", "get", "delete", "refresh"):
        assert proof(record(operation, baseline=None), found("valid"), now=NOW) is None
        assert proof(record(operation, baseline=None), None, now=NOW) is None
        assert proof(record(operation), None, now=NOW) is None


def test_only_a_registration_is_proved_expired() -> None:
    """An unconfirmed link says nothing about an update."""
    assert proof(record("update"), found("unconfirmed"), now=DEADLINE) is None


@pytest.mark.parametrize(
    "requested, changes, proved",
    [
        ({"stale_in": "42d"}, {"stale_in": "42d"}, True),
        ({"stale_in": "42d"}, {"stale_in": "41d"}, False),
        ({"stale_in": "90d"}, {}, False),
        ({"stale_in": None}, {"stale_in": None}, True),
        ({"access_mode": "recurrent"}, {"access_mode": AccessMode.RECURRENT}, True),
        ({"access_mode": "recurrent", "stale_in": "90d"}, {"access_mode": AccessMode.RECURRENT}, True),
        ({"access_mode": "recurrent", "stale_in": "42d"}, {"access_mode": AccessMode.RECURRENT}, False),
        ({"fetch_resources": ["OWNERS", "BILLS"]}, {"fetch_resources": (Resource.BILLS, Resource.OWNERS)}, True),
        ({"fetch_resources": ["OWNERS"]}, {"fetch_resources": (Resource.BILLS, Resource.OWNERS)}, False),
        ({"fetch_resources": []}, {}, False),
        ({}, {"stale_in": "42d"}, False),
        (None, {"stale_in": "42d"}, False),
        ({"unheard_of": "x"}, {"stale_in": "42d"}, False),
        ({"unheard_of": None}, {"stale_in": "42d"}, False),
    ],
)
def test_a_patch_is_proved_by_what_it_asked_for(requested: Any, changes: dict[str, Any], proved: bool) -> None:
    """All of it holds now, and some of it did not before; the order of resources means nothing."""
    event = proof(record("patch", baseline=VALID, requested=requested), found(**changes), now=NOW)
    assert (event == ProvedLinked()) is proved


@pytest.mark.parametrize(
    "before, mode, then, after, proved",
    [
        ("single", "single", NOW, NOW + timedelta(microseconds=1), True),
        ("single", "single", None, NOW, True),
        ("single", "single", NOW, NOW, False),
        ("single", "single", NOW, NOW - timedelta(1), False),
        ("single", "single", NOW, None, False),
        ("recurrent", "recurrent", NOW, NOW + timedelta(1), False),
        ("single", "recurrent", NOW, NOW + timedelta(1), False),
        ("recurrent", "single", NOW, NOW + timedelta(1), False),
        (None, None, NOW, NOW + timedelta(1), False),
    ],
)
def test_a_single_link_that_was_accessed_since_proves_a_login(
    before: str | None, mode: str | None, then: datetime | None, after: datetime | None, proved: bool
) -> None:
    """A recurrent one is accessed by its schedule too; moments of Belvo's are compared with each other alone."""
    baseline = attrs.evolve(VALID, access_mode=before, last_accessed_at=then)
    link = found(access_mode=None if mode is None else AccessMode(mode), last_accessed_at=after)
    for at in (NOW - timedelta(365), NOW, NOW + timedelta(365)):
        assert (proof(record(baseline=baseline), link, now=at) == ProvedLinked()) is proved
