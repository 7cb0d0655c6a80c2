"""The service refused: one class per status, and per code where a caller would act differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs

from belvo_links.errors.root import BelvoLinksError, request_id_fact, shown_name
from belvo_links.wire import OpenStrEnum

if TYPE_CHECKING:
    from datetime import timedelta


@attrs.frozen(kw_only=True)
class ErrorItem:
    """One element of an error reply, in Belvo's words (documentation section 11.1)."""

    code: str | None = None
    message: str | None = attrs.field(default=None, repr=False)
    field: str | None = None
    request_id: str | None = None


class ApiError(BelvoLinksError):
    """The service refused the call.

    Attributes:
        status: the HTTP status.
        code: Belvo's code, stable, to program against; ``None`` where the reply names none.
        message: Belvo's message as it came. It may quote what was sent, so it is not part of ``str()``.
        field: the field at fault, if one is named.
        request_id: what Belvo's support asks for.
        errors: every element of the reply, as :class:`ErrorItem`.
        documented: the message, if it is one of the documented fixed texts; this is part of ``str()``.
        retry_after: how long the service asks to wait, where it says so.
        retryable: whether the same call may succeed later although nothing is changed. It does not say that an
            earlier attempt had no effect.
    """

    retryable: bool = False
    unpickled: ClassVar[Mapping[str, object]] = {"message": None}

    def __init__(
        self,
        *,
        status: int,
        code: str | None = None,
        message: str | None = None,
        field: str | None = None,
        request_id: str | None = None,
        errors: Sequence[ErrorItem] = (),
        documented: str | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__()
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.request_id = request_id
        self.errors = tuple(errors)
        self.documented = documented
        self.retry_after = retry_after

    def travelling(self) -> dict[str, object]:
        """Return what a pickled error carries: of every element the names, and no message."""
        names = [ErrorItem(code=shown_name(item.code), field=shown_name(item.field)) for item in self.errors]
        return {**super().travelling(), "errors": tuple(names)}

    def describe(self) -> str:
        """Say what was refused, with Belvo's message where it is a documented text."""
        first = super().describe()
        if not self.documented:
            return first
        end = "" if self.documented.endswith(".") else "."
        return f'{first} Belvo says: "{self.documented}"{end}'

    def details(self) -> Sequence[str]:
        """Return status, code, field, the time to wait and the request id."""
        facts = [f"HTTP {self.status}"]
        facts += [f"code {shown}"] if (shown := shown_name(self.code)) else []
        facts += [f"field {shown}"] if (shown := shown_name(self.field)) else []
        facts += [f"retry after {self.retry_after.total_seconds():.0f} s"] if self.retry_after is not None else []
        return [*facts, *request_id_fact(self.request_id)]


class BadRequestError(ApiError):
    """The request is wrong or cannot be carried out now."""


class InvalidFieldsError(BadRequestError):
    """One or more fields were refused.

    Attributes:
        fields: the messages per field, in Belvo's words; a field the reply does not name is ``""``.
    """

    advice = "Correct the fields; `.fields` has the messages."

    @property
    def fields(self) -> Mapping[str, Sequence[str]]:
        """The messages per field, as they came."""
        fields: dict[str, list[str]] = {}
        for item in self.errors:
            fields.setdefault(item.field or "", []).append(item.message or "")
        return fields

    def details(self) -> Sequence[str]:
        """Return status, codes with their fields, and the request id."""
        named = [f"{shown_name(e.field) or '?'}: {shown_name(e.code) or '?'}" for e in self.errors]
        return [f"HTTP {self.status}", *(named or super().details()[1:2]), *request_id_fact(self.request_id)]


class LoginReason(OpenStrEnum):
    """Why the institution refused a login; told by the message alone (documentation section 11.2)."""

    INVALID_CREDENTIALS = "invalid_credentials"
    MISSING_CREDENTIALS = "missing_credentials"
    ACCOUNT_LOCKED = "account_locked"
    ACCESS_FORBIDDEN = "access_forbidden"
    NOT_ATTEMPTED = "not_attempted"
    MFA_UNSUPPORTED = "mfa_unsupported"
    UNEXPECTED = "unexpected"


class LoginError(BadRequestError):
    """The institution refused the login.

    Attributes:
        reason: a :class:`LoginReason`, an open enum; ``unexpected`` also stands for a message that is not documented.
    """

    advice = "What helps depends on `.reason`: new credentials, the institution's help, or time."

    def __init__(self, *, reason: LoginReason = LoginReason.UNEXPECTED, **facts: object) -> None:
        super().__init__(**facts)  # type: ignore[arg-type]  # the keywords of ApiError, passed through unchanged
        self.reason = reason

    def details(self) -> Sequence[str]:
        """Return the reason before everything else."""
        return [f"reason {shown_name(str(self.reason))}", *super().details()]


class TooManySessionsError(BadRequestError):
    """A session with the institution is already open for these credentials."""

    retryable = True
    advice = "Wait until the person has logged out at the institution, then try again."


class InvalidLinkError(BadRequestError):
    """The link is no longer valid."""

    advice = "Update it with fresh credentials."


class UnconfirmedLinkError(BadRequestError):
    """The link was never completed."""

    advice = "Complete its pending session, or register again and delete it."


class UnsupportedOperationError(BadRequestError):
    """The institution does not support this."""

    advice = "See the institution's `resources`."


class InstitutionError(BadRequestError):
    """The institution is down, unavailable or switched off."""

    advice = "Try again later; watch the institution's status."

    @property
    def retryable(self) -> bool:  # type: ignore[override]  # read-only here: it follows from the code
        """Whether waiting may help: not for an institution that Belvo has switched off."""
        return self.code != "institution_inactive"


class AuthenticationError(ApiError):
    """The API keys were refused."""

    advice = "Check the secret id and password, and that they belong to this environment."


class PermissionDeniedError(ApiError):
    """These API keys may not do this."""

    advice = "Ask Belvo for access."


class NotFoundError(ApiError):
    """There is no such thing in this account."""

    advice = "Check the id, and that it belongs to this account and environment."


class RequestTimeoutError(ApiError):
    """Belvo took too long to answer."""

    retryable = True
    advice = "Ask for less (a smaller page, more filters); after a write, look before you repeat it."


class ConflictError(ApiError):
    """The call conflicts with the link's present state."""


class RefreshCooldownError(ConflictError):
    """The link was refreshed less than ten minutes ago."""

    retryable = True
    advice = "Wait for `.retry_after`."


class RateLimitedError(ApiError):
    """Too many requests."""

    retryable = True
    advice = "Wait for `.retry_after`, or a minute where it is None."


class ServerError(ApiError):
    """Belvo or a gateway before it failed."""

    retryable = True
    advice = "It may have been carried out: look before you repeat a write. If it persists, report the request id."
