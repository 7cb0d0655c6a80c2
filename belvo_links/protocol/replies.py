"""What the service says when it refuses: four shapes of error bodies, one place that turns them into errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from belvo_links.errors import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    BelvoLinksError,
    ConflictError,
    ErrorItem,
    InstitutionError,
    InvalidFieldsError,
    InvalidLinkError,
    LoginError,
    LoginReason,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RefreshCooldownError,
    RequestTimeoutError,
    ServerError,
    TooManySessionsError,
    UnconfirmedLinkError,
    UnexpectedResponseError,
    UnsupportedOperationError,
)
from belvo_links.transport.messages import Response
from belvo_links.wire import JsonValue, NotJsonError, decode_json

COOLDOWN: Final = timedelta(minutes=10)
"""How long a link cannot be refreshed again (documentation section 9.8)."""

MAX_WAIT: Final = timedelta(days=1)
"""A ``Retry-After`` beyond this is not believed."""

LOGIN_REASONS: Final[Mapping[str, LoginReason]] = {
    "Invalid credentials provided to login to the institution": LoginReason.INVALID_CREDENTIALS,
    "Missing credentials to login to the institution": LoginReason.MISSING_CREDENTIALS,
    "The user account is locked, user needs to contact the institution to unlock it": LoginReason.ACCOUNT_LOCKED,
    "The user account access was forbidden by the institution": LoginReason.ACCESS_FORBIDDEN,
    "Login not attempted due to invalid credentials": LoginReason.NOT_ATTEMPTED,
    "A MFA token is required by the institution, but it's not supported yet by Belvo.": LoginReason.MFA_UNSUPPORTED,
    "Impossible to login, something unexpected happened while logging into the institution. Try again later.": (
        LoginReason.UNEXPECTED
    ),
}
"""``login_error`` stands for seven situations; only the message tells which (documentation section 11.2)."""

CREDENTIALS_MUST_BE_STORED: Final = "Recurrent links must store the credentials"
"""The contract's sample of this message carries the code ``login_error``, so the message is asked too."""

FIXED_MESSAGES: Final = frozenset(
    {
        *LOGIN_REASONS,
        CREDENTIALS_MUST_BE_STORED,
        "The session you are trying to resume has expired, please start again from register/retrieve endpoint",
        "Impossible to login, a session is already opened with the institution for these credentials",
        "The link has been invalidated. You may need to update link credentials",
        "The link creation has not been completed yet",
        "The financial institution is down, try again later",
        "The financial institution is unavailable",
        "The institution has been temporarily deactivated",
        "The resource you are trying to access is not supported by this institution",
        "This link doesn't have stored credentials hence it can't be switched to recurrent mode",
        "Single links without stored credentials must fetch resources",
        "This field is required.",
        "This field may not be null.",
        "This field may not be blank.",
        "The credentials provided were not accepted by the institution. Please verify CVV and PIN are correct.",
        "Invalid Secret Keys",
        "Authentication credentials were not provided.",
        "You don't have access to this resource.",
        "Not found",
        "Not found.",
        "Invalid page.",
        "The request timed out, you can retry asking for less data by changing your query parameters",
        "A MFA token is required by the institution to login",
        (
            "Belvo is unable to process the request due to an internal system issue or to an unsupported response from "
            "an institution"
        ),
    }
)
"""The documented texts that never quote a value (documentation section 11.2)."""

_COOLDOWN: Final = re.compile(
    r"The link has already been refreshed\. Please wait \d{1,3} minutes? before trying again\.", re.ASCII
)
_THROTTLED: Final = re.compile(r"Request was throttled\. Expected available in \d{1,5} seconds?\.", re.ASCII)

_BY_CODE: Final[Mapping[str, type[BadRequestError]]] = {
    "too_many_sessions": TooManySessionsError,
    "invalid_link": InvalidLinkError,
    "unconfirmed_link": UnconfirmedLinkError,
    "unsupported_operation": UnsupportedOperationError,
    "institution_down": InstitutionError,
    "institution_unavailable": InstitutionError,
    "institution_inactive": InstitutionError,
}

_FIELD_CODES: Final = frozenset(
    {"required", "null", "blank", "does_not_exist", "invalid", "invalid_choice", "min_length", "max_length"}
)

_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: ApiError,
    408: RequestTimeoutError,
    415: ApiError,
    428: ApiError,
    429: RateLimitedError,
}

_FIRST_NUMBER: Final = re.compile(r"\d{1,6}", re.ASCII)
_SERVER_ERRORS: Final = range(500, 600)


def error_items(body: JsonValue) -> tuple[ErrorItem, ...]:
    """Read an error body in any of its shapes: array, bare object, ``detail``; anything else has no items."""
    elements = body if isinstance(body, list) else [body]
    return tuple(_item(element) for element in elements if isinstance(element, Mapping))


def _item(element: Mapping[str, JsonValue]) -> ErrorItem:
    message = _text(element.get("message"))
    return ErrorItem(
        code=_text(element.get("code")),
        message=message if message is not None else _text(element.get("detail")),
        field=_text(element.get("field")),
        request_id=_text(element.get("request_id")),
    )


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def error_for(response: Response) -> BelvoLinksError:
    """Return the error for a reply that is not a success (documentation section 11).

    Decides on the status first, then on the code. A body that is not JSON leaves an error without a code.
    """
    try:
        items = error_items(decode_json(response.body))
    except NotJsonError:
        items = ()
    first = items[0] if items else ErrorItem()
    request_id = next((item.request_id for item in items if item.request_id), None)
    kind, more = _kind(response, first, items)
    if kind is None:
        return UnexpectedResponseError(
            status=response.status, problems=["$: this status is not documented"], request_id=request_id
        )
    return kind(
        status=response.status,
        code=first.code,
        message=first.message,
        field=first.field,
        request_id=request_id,
        errors=items,
        documented=first.message if _is_fixed(first.message) else None,
        **{"retry_after": retry_after(response), **more},
    )


def _kind(
    response: Response, first: ErrorItem, items: tuple[ErrorItem, ...]
) -> tuple[type[ApiError] | None, dict[str, Any]]:
    """Return the class of the error and what it carries beyond the common facts."""
    status = response.status
    if status == 400:
        return _bad_request(first, items)
    if status == 409:
        # The cooldown is the only documented conflict, so one without a code is taken for it.
        if first.code in {"link_refreshed", None} or _COOLDOWN.fullmatch(first.message or ""):
            wait = retry_after(response)
            return RefreshCooldownError, {"retry_after": _minutes(first.message) if wait is None else wait}
        return ConflictError, {}
    return (ServerError if status in _SERVER_ERRORS else _BY_STATUS.get(status)), {}


def _bad_request(first: ErrorItem, items: tuple[ErrorItem, ...]) -> tuple[type[ApiError], dict[str, Any]]:
    if first.code == "login_error" and first.message != CREDENTIALS_MUST_BE_STORED:
        return LoginError, {"reason": LOGIN_REASONS.get(first.message or "", LoginReason.UNEXPECTED)}
    if first.code is not None and first.code in _BY_CODE:
        return _BY_CODE[first.code], {}
    if any(item.field for item in items) or first.code in _FIELD_CODES:
        return InvalidFieldsError, {}
    return BadRequestError, {}


def _is_fixed(message: str | None) -> bool:
    return message is not None and (
        message in FIXED_MESSAGES or any(pattern.fullmatch(message) for pattern in (_COOLDOWN, _THROTTLED))
    )


def _minutes(message: str | None) -> timedelta:
    """Return the first number in the message as minutes; without one, the whole cooldown."""
    number = _FIRST_NUMBER.search(message or "")
    return min(timedelta(minutes=int(number.group())), MAX_WAIT) if number else COOLDOWN


def retry_after(response: Response) -> timedelta | None:
    """Return ``Retry-After``, in seconds or as a date against the reply's own ``Date``; ``None`` if it says nothing."""
    value = response.headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        if value.isascii() and value.isdigit():
            return min(timedelta(seconds=int(value[:9])), MAX_WAIT)
        until, now = parsedate_to_datetime(value), parsedate_to_datetime(response.headers["date"])
        return min(max(_aware(until) - _aware(now), timedelta()), MAX_WAIT)
    except (ValueError, TypeError, LookupError, OverflowError):
        return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
