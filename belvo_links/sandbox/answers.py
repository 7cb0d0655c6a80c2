"""What the simulator says: answers as values, and the documented errors (documentation section 11.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from attrs import evolve, field, frozen

JsonValue = bool | int | float | str | None | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
JsonObject = Mapping[str, JsonValue]
Shape = Literal["array", "object", "detail"]
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")


@frozen
class Answer:
    """A reply before it is put on the wire: status, JSON (or none) and further headers."""

    status: int
    body: JsonValue = field(default=None, repr=False)
    headers: Mapping[str, str] = field(factory=dict[str, str])


@frozen
class Problem:
    """One error: Belvo's code, its message and the body field at fault."""

    status: int
    code: str
    message: str
    field: str | None = None


class RefusalError(Exception):
    """The request is refused with these problems, which share one status and one request id."""

    def __init__(self, *problems: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(", ".join(problem.code for problem in problems))
        self.problems = problems
        self.headers: Mapping[str, str] = headers or {}


def error_answer(refusal: RefusalError, *, request_id: str, shape: Shape) -> Answer:
    """The reply to a refused request, in one of the three JSON shapes (documentation section 11.1)."""
    first = refusal.problems[0]
    elements: list[dict[str, JsonValue]] = []
    for problem in refusal.problems:
        element: dict[str, JsonValue] = {
            "request_id": request_id,
            "message": problem.message,
            "code": problem.code,
        }
        if problem.field is not None:
            element["field"] = problem.field
        elements.append(element)
    body: JsonValue = elements
    if shape == "object":
        body = elements[0]
    elif shape == "detail":
        body = {"detail": first.message}
    return Answer(first.status, body, refusal.headers)


def encode(body: JsonValue) -> bytes:
    """The JSON text, with ``&`` escaped as real payloads do (documentation section 4).

    An ampersand can only stand inside a string, hence the plain replacement.
    """
    return msgspec.json.encode(body).replace(b"&", b"\\u0026")


def shifted(answer: Answer, by: timedelta) -> Answer:
    """The answer with every timestamp in its body moved, as of a service whose clock is wrong."""
    return evolve(answer, body=_shifted(answer.body, by))


def _shifted(value: JsonValue, by: timedelta) -> JsonValue:
    if isinstance(value, str):
        return _moved(value, by) if _TIMESTAMP.fullmatch(value) else value
    if isinstance(value, Mapping):
        return {name: _shifted(each, by) for name, each in value.items()}
    if isinstance(value, Sequence):
        return [_shifted(each, by) for each in value]
    return value


def _moved(timestamp: str, by: timedelta) -> str:
    moment = datetime.fromisoformat(timestamp) + by
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def login_error(message: str) -> Problem:
    """The one code that stands for seven situations; only the message tells them apart."""
    return Problem(400, "login_error", message)


INVALID_CREDENTIALS = login_error("Invalid credentials provided to login to the institution")
LOGIN_NOT_ATTEMPTED = login_error("Login not attempted due to invalid credentials")
MISSING_CREDENTIALS = login_error("Missing credentials to login to the institution")
ACCOUNT_LOCKED = login_error("The user account is locked, user needs to contact the institution to unlock it")
ACCESS_FORBIDDEN = login_error("The user account access was forbidden by the institution")
LOGIN_UNEXPECTED = login_error(
    "Impossible to login, something unexpected happened while logging into the institution. Try again later."
)
MFA_UNSUPPORTED = login_error("A MFA token is required by the institution, but it's not supported yet by Belvo.")
TOKEN_REQUIRED_TEXT = "A MFA token is required by the institution to login"  # noqa: S105 - a message
SESSION_EXPIRED = Problem(
    400,
    "session_expired",
    "The session you are trying to resume has expired, please start again from register/retrieve endpoint",
)
TOO_MANY_SESSIONS = Problem(
    400,
    "too_many_sessions",
    "Impossible to login, a session is already opened with the institution for these credentials",
)
INVALID_LINK = Problem(400, "invalid_link", "The link has been invalidated. You may need to update link credentials")
UNCONFIRMED_LINK = Problem(400, "unconfirmed_link", "The link creation has not been completed yet")
INSTITUTION_DOWN = Problem(400, "institution_down", "The financial institution is down, try again later")
INSTITUTION_UNAVAILABLE = Problem(400, "institution_unavailable", "The financial institution is unavailable")
INSTITUTION_INACTIVE = Problem(400, "institution_inactive", "The institution has been temporarily deactivated")
ACTIVATION_FAILED = Problem(
    400,
    "activation_failed",
    "The credentials provided were not accepted by the institution. Please verify CVV and PIN are correct.",
)
UNSUPPORTED_OPERATION = Problem(
    400,
    "unsupported_operation",
    "The resource you are trying to access is not supported by this institution",
)
INVALID_ACCESS_MODE_SWITCH = Problem(
    400,
    "invalid_access_mode_switch",
    "This link doesn't have stored credentials hence it can't be switched to recurrent mode",
)
INVALID_CREDENTIALS_STORAGE = Problem(400, "invalid_credentials_storage", "Recurrent links must store the credentials")
INVALID_FETCH_RESOURCES = Problem(
    400, "invalid_fetch_resources", "Single links without stored credentials must fetch resources"
)
AUTHENTICATION_FAILED = Problem(401, "authentication_failed", "Invalid Secret Keys")
NOT_AUTHENTICATED = Problem(401, "not_authenticated", "Authentication credentials were not provided.")
# The code is documented, its text is not (documentation section 2).
CONSENT_WITHOUT_ACCOUNTS = Problem(401, "consent_without_accounts", "The consent holds no accounts.")
ACCESS_DENIED = Problem(403, "access_to_resource_denied", "You don't have access to this resource.")
NOT_FOUND = Problem(404, "not_found", "Not found")
INVALID_PAGE = Problem(404, "not_found", "Invalid page.")
REQUEST_TIMEOUT = Problem(
    408,
    "request_timeout",
    "The request timed out, you can retry asking for less data by changing your query parameters",
)
UNEXPECTED_ERROR = Problem(
    500,
    "unexpected_error",
    "Belvo is unable to process the request due to an internal system issue"
    " or to an unsupported response from an institution",
)


def method_not_allowed(method: str) -> Problem:
    """405 (documentation section 11.2; only the status is documented)."""
    return Problem(405, "method_not_allowed", f'Method "{method}" not allowed.')


def unsupported_media_type(media_type: str) -> Problem:
    """415 (documentation section 11.2; unverified)."""
    return Problem(415, "unsupported_media_type", f'Unsupported media type "{media_type}" in request.')


def parse_error(reason: str) -> Problem:
    """400 for a body that is not JSON (documentation section 11.2)."""
    return Problem(400, "parse_error", f"JSON parse error - {reason}")


def link_refreshed(minutes: int) -> Problem:
    """409 within the refresh cooldown (documentation section 9.8)."""
    message = f"The link has already been refreshed. Please wait {minutes} minutes before trying again."
    return Problem(409, "link_refreshed", message)


def throttled(seconds: int) -> Problem:
    """429 of the delete limit; only the status is documented (documentation section 13)."""
    return Problem(429, "throttled", f"Request was throttled. Expected available in {seconds} seconds.")


BY_STATUS: Mapping[int, Problem] = {
    problem.status: problem
    for problem in (
        AUTHENTICATION_FAILED,
        ACCESS_DENIED,
        NOT_FOUND,
        REQUEST_TIMEOUT,
        link_refreshed(10),
        throttled(42),
        UNEXPECTED_ERROR,
    )
}
"""The documented error of a status, for scripted faults that give none of their own."""
