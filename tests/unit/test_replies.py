"""What the service says when it refuses: four shapes, one class per situation, no word of a person."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links import errors
from belvo_links.protocol.replies import FIXED_MESSAGES, LOGIN_REASONS, error_for, error_items, retry_after
from belvo_links.transport.messages import Response

REQUEST_ID = "734face09b271116046fb5e61c48f41d"
CANARY = "CANARY Jane Doe, 4711"


def error(status: int, body: object = None, **headers: str) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_for(Response(status=status, headers=named, body=raw))


def item(**facts: object) -> dict[str, Any]:
    return {"request_id": REQUEST_ID, "message": "Something", **facts}


STATUSES = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    405: errors.ApiError,
    408: errors.RequestTimeoutError,
    409: errors.ConflictError,
    415: errors.ApiError,
    428: errors.ApiError,
    429: errors.RateLimitedError,
    500: errors.ServerError,
    502: errors.ServerError,
    503: errors.ServerError,
    504: errors.ServerError,
    599: errors.ServerError,
}


@pytest.mark.parametrize("status, kind", STATUSES.items())
@pytest.mark.parametrize("shape", ["array", "object", "detail", "html"])
def test_every_status_is_its_class_in_every_shape(status: int, kind: type[errors.ApiError], shape: str) -> None:
    """Array, bare object, `detail` and what is no JSON at all."""
    told = item(code="some_code")
    body = {"array": [told], "object": told, "detail": {"detail": "Something"}, "html": b"<html>Bad Gateway</html>"}
    refused = error(status, body[shape])
    if status == 409 and shape in {"detail", "html"}:
        kind = errors.RefreshCooldownError  # the only documented conflict, where no code says otherwise
    assert type(refused) is kind
    assert refused.status == status
    known = shape in {"array", "object"}
    assert (refused.code, refused.request_id) == (("some_code", REQUEST_ID) if known else (None, None))
    assert refused.message == (None if shape == "html" else "Something")
    assert f"HTTP {status}" in str(refused)


@pytest.mark.parametrize("status", [100, 202, 206, 300, 302, 304, 402, 406, 410, 418, 422, 451, 600, 999])
def test_a_status_that_is_none_of_ours_is_unexpected(status: int) -> None:
    """It keeps status and request id."""
    refused = error(status, [item(code="x", message=CANARY)])
    assert type(refused) is errors.UnexpectedResponseError
    assert (refused.status, refused.request_id) == (status, REQUEST_ID)
    assert refused.problems == ("$: this status is not documented",)
    assert "CANARY" not in str(refused)


CODES = {
    "session_expired": errors.BadRequestError,
    "too_many_sessions": errors.TooManySessionsError,
    "invalid_link": errors.InvalidLinkError,
    "unconfirmed_link": errors.UnconfirmedLinkError,
    "institution_down": errors.InstitutionError,
    "institution_unavailable": errors.InstitutionError,
    "institution_inactive": errors.InstitutionError,
    "unsupported_operation": errors.UnsupportedOperationError,
    "invalid_access_mode_switch": errors.BadRequestError,
    "invalid_credentials_storage": errors.BadRequestError,
    "invalid_fetch_resources": errors.BadRequestError,
    "login_error": errors.LoginError,
    "required": errors.InvalidFieldsError,
    "null": errors.InvalidFieldsError,
    "blank": errors.InvalidFieldsError,
    "does_not_exist": errors.InvalidFieldsError,
    "invalid": errors.InvalidFieldsError,
    "invalid_choice": errors.InvalidFieldsError,
    "min_length": errors.InvalidFieldsError,
    "max_length": errors.InvalidFieldsError,
    "parse_error": errors.BadRequestError,
    "activation_failed": errors.BadRequestError,
    "something_new": errors.BadRequestError,
}


@pytest.mark.parametrize("code, kind", CODES.items())
def test_every_documented_code_of_a_400_is_its_class(code: str, kind: type[errors.ApiError]) -> None:
    """The code decides, not the message; an unknown one is a plain bad request."""
    for body in ([item(code=code)], item(code=code)):
        refused = error(400, body)
        assert type(refused) is kind
        assert refused.code == code
        assert f"code {code}" in str(refused) or f": {code}" in str(refused)
    assert type(error(404, [item(code=code)])) is errors.NotFoundError


@pytest.mark.parametrize("code, retryable", [("institution_down", True), ("institution_inactive", False)])
def test_waiting_helps_unless_belvo_has_switched_the_institution_off(code: str, retryable: bool) -> None:
    """`retryable` follows the documents."""
    assert error(400, [item(code=code)]).retryable is retryable


REASONS = {
    "Invalid credentials provided to login to the institution": "invalid_credentials",
    "Missing credentials to login to the institution": "missing_credentials",
    "The user account is locked, user needs to contact the institution to unlock it": "account_locked",
    "The user account access was forbidden by the institution": "access_forbidden",
    "Login not attempted due to invalid credentials": "not_attempted",
    "A MFA token is required by the institution, but it's not supported yet by Belvo.": "mfa_unsupported",
    "Impossible to login, something unexpected happened while logging into the institution. Try again later.": (
        "unexpected"
    ),
}


@pytest.mark.parametrize("message, reason", REASONS.items())
def test_only_the_message_tells_why_a_login_failed(message: str, reason: str) -> None:
    """Seven documented messages, seven reasons, and the message is shown."""
    refused = error(400, [item(code="login_error", message=message)])
    assert type(refused) is errors.LoginError
    assert refused.reason == reason
    assert message in str(refused)
    assert LOGIN_REASONS.keys() == REASONS.keys()


@pytest.mark.parametrize("message", [CANARY, "", None, 5])
def test_an_unknown_login_message_is_unexpected_and_not_shown(message: object) -> None:
    """Belvo may reword; the reason is open, and the text stays in `.message`."""
    refused = error(400, [item(code="login_error", message=message)])
    assert refused.reason == "unexpected"
    assert "CANARY" not in str(refused) + repr(refused)


def test_credentials_that_must_be_stored_are_no_login_error() -> None:
    """The contract's sample carries the code `login_error`, so the message is asked too."""
    refused = error(400, [item(code="login_error", message="Recurrent links must store the credentials")])
    assert type(refused) is errors.BadRequestError
    assert refused.code == "login_error"
    assert "Recurrent links must store the credentials" in str(refused)


def test_several_fields_are_told_each() -> None:
    """All elements are kept; the fields map to their messages as they came."""
    refused = error(
        400,
        [
            item(code="does_not_exist", field="institution", message="Object with name=narnia does not exist."),
            item(code="blank", field="username", message="This field may not be blank."),
            item(code="invalid", field="username", message=CANARY),
            item(code="odd"),
        ],
    )
    assert type(refused) is errors.InvalidFieldsError
    assert refused.fields == {
        "institution": ["Object with name=narnia does not exist."],
        "username": ["This field may not be blank.", CANARY],
        "": ["Something"],
    }
    assert "institution: does_not_exist, username: blank, username: invalid" in str(refused)
    assert "narnia" not in str(refused)
    assert "CANARY" not in str(refused)


def test_a_field_makes_any_other_code_a_field_error() -> None:
    """The code need not be documented where a field is named, in any element."""
    assert type(error(400, [item(code="new_rule", field="token")])) is errors.InvalidFieldsError
    assert type(error(400, [item(code="new_rule"), item(field="token")])) is errors.InvalidFieldsError


@pytest.mark.parametrize(
    "message, minutes",
    [
        ("The link has already been refreshed. Please wait 7 minutes before trying again.", 7),
        ("The link has already been refreshed. Please wait 1 minute before trying again.", 1),
        ("wait 3 or 4", 3),
        ("no number", 10),
        ("", 10),
        (None, 10),
        ("9" * 5000, 24 * 60),
        ("٣ minutes", 10),
    ],
)
def test_a_cooldown_says_how_long(message: str | None, minutes: int) -> None:
    """The first number of the message, else the documented ten minutes; the absurd is cut."""
    refused = error(409, [item(code="link_refreshed", message=message)])
    assert type(refused) is errors.RefreshCooldownError
    assert refused.retry_after == timedelta(minutes=minutes)


def test_the_header_outranks_the_message_of_a_cooldown() -> None:
    """Also where it says zero."""
    body = [item(code="link_refreshed", message="Please wait 7 minutes")]
    assert error(409, body, retry_after="30").retry_after == timedelta(seconds=30)
    assert error(409, body, retry_after="0").retry_after == timedelta()


def test_a_cooldown_is_known_by_its_message_too() -> None:
    """The code of the 409 was undocumented for long; any other conflict is a plain one."""
    wait = "The link has already been refreshed. Please wait 7 minutes before trying again."
    assert type(error(409, [item(code="other", message=wait)])) is errors.RefreshCooldownError
    assert type(error(409, [item(code="other", message="Not found")])) is errors.ConflictError


NOW = "Fri, 01 Mar 2024 09:00:00 GMT"


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("42", 42),
        (" 42 ", 42),
        ("0", 0),
        ("9" * 50, 86_400),
        ("Fri, 01 Mar 2024 09:01:30 GMT", 90),
        ("Fri, 01 Mar 2024 08:00:00 GMT", 0),
        ("Fri, 01 Mar 2024 10:00:30 +0100", 30),
        ("Fri, 01 Mar 2034 09:00:00 -0000", 86_400),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("4.5", None),
        ("４２", None),  # noqa: RUF001  # digits, but not ASCII's
        ("Fri, 99 Mar 2024 09:00:00 GMT", None),
        ("Fri, 01 Mar 99999 09:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: int | None) -> None:
    """A date counts from the reply's own date; what says nothing is None, and the absurd is cut."""
    for status in (429, 503, 408, 400):
        wait = error(status, [], retry_after=value, date=NOW).retry_after
        assert wait == (None if seconds is None else timedelta(seconds=seconds))


def test_a_date_needs_the_replys_own_date() -> None:
    """This ring has no clock."""
    assert error(429, [], retry_after=NOW).retry_after is None
    assert error(429, []).retry_after is None
    assert error(429, [], retry_after=NOW, date="yesterday").retry_after is None


@given(value=st.text(max_size=40), date=st.text(max_size=40) | st.just(NOW))
def test_no_header_breaks_the_reading(value: str, date: str) -> None:
    """Whatever stands there, it is a waiting time up to a day, or nothing."""
    wait = retry_after(Response(status=429, headers={"retry-after": value, "date": date}))
    assert wait is None or timedelta() <= wait <= timedelta(days=1)


@pytest.mark.parametrize("message", sorted(FIXED_MESSAGES))
def test_a_documented_message_is_shown(message: str) -> None:
    """The documented fixed texts quote nobody."""
    assert message in str(error(403, [item(code="x", message=message)]))


@pytest.mark.parametrize(
    "message",
    [
        CANARY,
        "Object with name=CANARY does not exist.",
        '"CANARY" is not a valid choice.',
        'Method "CANARY" not allowed.',
        "Not found CANARY",
        "This field is required. CANARY",
        "The institution only supports the following resources: CANARY",
        "The link has already been refreshed. Please wait CANARY minutes before trying again.",
        "Request was throttled. Expected available in 42 seconds.\nCANARY",
    ],
)
@pytest.mark.parametrize("status", [400, 403, 404, 409, 429, 500])
def test_any_other_message_is_kept_but_not_shown(status: int, message: str) -> None:
    """`.message` has Belvo's words; str and repr do not."""
    refused = error(status, [item(code="invalid", message=message)])
    assert refused.message == message
    assert refused.errors[0].message == message
    assert "CANARY" not in str(refused) + repr(refused) + repr(refused.errors)


def test_a_throttled_message_is_documented() -> None:
    """By its form, since the number differs."""
    message = "Request was throttled. Expected available in 42 seconds."
    assert message in str(error(429, [item(code="throttled", message=message)]))


@pytest.mark.parametrize("name", ["code", "field", "request_id"])
@pytest.mark.parametrize("status", [400, 401, 404, 409, 500, 418])
def test_what_does_not_look_like_a_name_is_not_shown(name: str, status: int) -> None:
    """Code, field and request id are shown only where they look like one: they too come from outside.

    What does look like one is shown, a secret of plain letters included: without codes and ids an error helps nobody.
    """
    refused = error(status, [{**item(code="x"), name: CANARY}, {**item(code="y"), name: "CANARY\n"}])
    assert "CANARY" not in str(refused) + repr(refused)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["code", "message", "field", "request_id", "detail", "x"]), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(status=st.integers(100, 999), body=anything)
def test_any_json_in_any_status_is_one_of_our_errors(status: int, body: object) -> None:
    """Wrong types in any place raise nothing, and the error can be shown."""
    refused = error(status, body)
    assert isinstance(refused, errors.ApiError | errors.UnexpectedResponseError)
    assert str(refused)
    assert repr(refused)


@given(status=st.integers(100, 999), body=st.binary())
def test_any_bytes_in_any_status_are_one_of_our_errors(status: int, body: bytes) -> None:
    """What is no JSON has no code."""
    assert isinstance(error(status, body), errors.ApiError | errors.UnexpectedResponseError)


def test_items_are_read_from_every_shape() -> None:
    """An array, an object, and nothing from anything else."""
    assert [one.code for one in error_items([item(code="a"), 5, item(code="b")])] == ["a", "b"]
    assert [one.code for one in error_items(item(code="a"))] == ["a"]
    assert error_items("text") == error_items(None) == error_items([]) == ()


def test_the_request_id_of_any_element_counts() -> None:
    """The first one that is there."""
    assert error(404, [{"code": "a"}, item(code="b")]).request_id == REQUEST_ID
