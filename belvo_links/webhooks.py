"""Belvo's webhooks, received: authenticate, parse, dispatch (documentation section 16).

There is no signature. Whoever knows the ``Authorization`` value can send anything, so an event is a hint: read the link
before acting on it. :func:`parse_webhook` authenticates before it looks into the body, in one call that cannot be half
used. :class:`WebhookDispatcher` hands an event to the handler of its code; it awaits the functions it was given and has
no effects of its own, so it needs no event loop and stays with the decisions (ring 1).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeAlias, TypeVar

import attrs

from belvo_links.errors import WebhookMalformedError, WebhookUnauthorizedError
from belvo_links.protocol import checks
from belvo_links.protocol.models import NO_EXTRA, Extra
from belvo_links.wire import JsonValue, NotJsonError, OpenStrEnum, decode_json

__all__ = [
    "MAX_BYTES",
    "Dispatched",
    "ProcessType",
    "WebhookCode",
    "WebhookDispatcher",
    "WebhookEvent",
    "WebhookHandler",
    "WebhookType",
    "basic",
    "bearer",
    "parse_webhook",
]

MAX_BYTES: Final = 1024 * 1024
"""The largest body that is read, unless told otherwise; the documented events have less than a thousand bytes."""

_VISIBLE: Final = re.compile(r"[!-~]+")
_PRINTABLE: Final = re.compile(r"[ -~]+")


# ------------------------------------------------------------------------------------------------------- the event


class WebhookType(OpenStrEnum):
    """What an event is about: the link itself, or one of its resources (documentation sections 16.1 and 18.1)."""

    LINK = "LINK"
    ACCOUNTS = "ACCOUNTS"
    OWNERS = "OWNERS"
    TRANSACTIONS = "TRANSACTIONS"
    BILLS = "BILLS"
    INVESTMENTS = "INVESTMENTS"
    INVESTMENT_TRANSACTIONS = "INVESTMENT_TRANSACTIONS"
    INCOMES = "INCOMES"
    RECURRING_EXPENSES = "RECURRING_EXPENSES"
    RISK_INSIGHTS = "RISK_INSIGHTS"
    FINANCIAL_STATEMENTS = "FINANCIAL_STATEMENTS"
    INVOICES = "INVOICES"
    TAX_COMPLIANCE_STATUS = "TAX_COMPLIANCE_STATUS"
    TAX_RETENTIONS = "TAX_RETENTIONS"
    TAX_RETURNS = "TAX_RETURNS"
    TAX_STATUS = "TAX_STATUS"
    EMPLOYMENT_RECORDS = "EMPLOYMENT_RECORDS"
    EMPLOYMENT_METRICS = "EMPLOYMENT_METRICS"
    EMPLOYMENTS = "EMPLOYMENTS"
    CURRENT_EMPLOYMENTS = "CURRENT_EMPLOYMENTS"


class ProcessType(OpenStrEnum):
    """Why an event was sent (documentation section 16.1)."""

    HISTORICAL_UPDATE = "historical_update"
    RECURRENT_UPDATE = "recurrent_update"


class WebhookCode(OpenStrEnum):
    """What has happened (documentation section 16.2); every resource may have a ``new_<resource>_available``."""

    HISTORICAL_UPDATE = "historical_update"
    NEW_ACCOUNTS_AVAILABLE = "new_accounts_available"
    NEW_TRANSACTIONS_AVAILABLE = "new_transactions_available"
    NEW_BILLS_AVAILABLE = "new_bills_available"
    NEW_TAX_RETURNS_AVAILABLE = "new_tax_returns_available"
    TRANSACTIONS_UPDATED = "transactions_updated"
    TRANSACTIONS_DELETED = "transactions_deleted"
    INITIAL_INFLOW_UPDATE = "initial_inflow_update"
    INITIAL_OUTFLOW_UPDATE = "initial_outflow_update"
    INVALID_CREDENTIALS = "invalid_credentials"
    TOKEN_REQUIRED = "token_required"  # noqa: S105  # an event, not a token
    LINK_DELETED = "link_deleted"


@attrs.frozen(kw_only=True)
class WebhookEvent:
    """One notification about a link (documentation section 16.1). A hint: read the link before acting on it.

    Attributes:
        webhook_id: Belvo's id of the webhook; many events carry the same, so it tells nothing apart.
        webhook_type: open enum; ``LINK``, or the resource that the event is about.
        process_type: open enum; why it was sent, ``None`` where it does not say.
        webhook_code: open enum; what has happened.
        link_id: the link, a UUID.
        request_id: the one of the ``Accepted`` that it answers; ``None`` where it does not say.
        external_id: the caller's own id of the link.
        data: what the event says besides, a read-only mapping; empty where it says nothing.
        extra: fields that this version does not know; no part of equality.
    """

    webhook_id: str
    webhook_type: WebhookType
    process_type: ProcessType | None = None
    webhook_code: WebhookCode
    link_id: str
    request_id: str | None = None
    external_id: str | None = None
    data: Extra = attrs.field(default=NO_EXTRA, hash=False)
    extra: Extra = attrs.field(default=NO_EXTRA, eq=False)

    @property
    def dedup_key(self) -> str:
        """The same for every delivery of this event: 64 hexadecimal digits, of link, request, type and code.

        Without a request id it is the same for every later event of this type and code, too, and so no proof that the
        event was seen before.
        """
        digest = hashlib.sha256()
        for part in (self.link_id, self.request_id, self.webhook_type, self.webhook_code):
            raw = b"" if part is None else part.encode("utf-8", "surrogatepass")
            # Each with its length, so that no two events are told by the same bytes. Stored: never change this.
            digest.update((b"-" if part is None else b"%d:" % len(raw)) + raw)
        return digest.hexdigest()


_KNOWN: Final = frozenset(field.name for field in attrs.fields(WebhookEvent)) - {"extra"}


# --------------------------------------------------------------------------------------------------- who may send it


def basic(user: str, password: str) -> str:
    """Return the ``Authorization`` value for a webhook with user and password.

    Raises:
        ValueError: one of them is empty, or the user has a colon, where the password would begin.
    """
    if not checks.text("user", user) or ":" in user:
        raise ValueError("user: give a text without a colon")
    if not checks.text("password", password):
        raise ValueError("password: is empty, so anybody would be let in")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def bearer(token: str) -> str:
    """Return the ``Authorization`` value for a webhook with a bearer token: the token alone goes in.

    Raises:
        ValueError: it is empty, or holds what such a header cannot say.
    """
    if not _VISIBLE.fullmatch(checks.text("token", token)):
        raise ValueError("token: give visible ASCII characters without a space or a line break")
    return f"Bearer {token}"


def _canonical(value: str) -> bytes:
    """Return a header value with its scheme in lower case; what has no scheme stays as it is."""
    scheme, _, credentials = value.strip(" \t").partition(" ")
    same = f"{scheme.lower()} {credentials.strip(' ')}" if credentials else scheme
    return same.encode("utf-8", "surrogatepass")


def _accepted(authorization: str | Sequence[str]) -> list[bytes]:
    """Return every value that opens the door.

    Raises:
        ValueError: there is none, or one that would never match, or match too much.
    """
    single = isinstance(authorization, str) or authorization is None  # None: a variable that is not set
    values = checks.texts("authorization", [authorization] if single else authorization)
    if not values:
        raise ValueError("authorization: give at least one value; an open door is not offered")
    for value in values:
        if not _PRINTABLE.fullmatch(value):
            raise ValueError("authorization: give printable ASCII characters without a line break")
        if value.strip().lower() in {"", "basic", "bearer"}:
            raise ValueError("authorization: one of the values holds no credentials")
    return [_canonical(value) for value in values]


def _authenticate(headers: Mapping[str, str], accepted: Sequence[bytes]) -> None:
    # Frameworks' mappings yield a header as often as it was sent. Sent twice, somebody else may have read the other.
    given = [str(value) for name, value in headers.items() if str(name).lower() == "authorization"]
    value = _canonical(given[0]) if len(given) == 1 else b""
    # A sum: if the first match were the end, the time would tell which of the values it was.
    if not sum(hmac.compare_digest(value, each) for each in accepted):
        raise WebhookUnauthorizedError


# ------------------------------------------------------------------------------------------------------ reading it


def parse_webhook(
    body: bytes, headers: Mapping[str, str], *, authorization: str | Sequence[str], max_bytes: int = MAX_BYTES
) -> WebhookEvent:
    """Authenticate a webhook, then read it.

    Args:
        body: the request's body, as it came.
        headers: the request's headers, in any case: a dict or any framework's mapping.
        authorization: the whole ``Authorization`` value as set in Belvo's dashboard, best made by :func:`basic` or
            :func:`bearer`; several while they are being changed.
        max_bytes: a larger body is refused unread.

    Raises:
        WebhookUnauthorizedError: the header is missing, there twice or none of the accepted ones. Answer 401.
        WebhookMalformedError: the body is too large or no event; its ``problems`` say where, never with a value.
            Answer 400.
        ValueError: ``authorization`` is empty, or a value of it cannot be right.
    """
    accepted = _accepted(authorization)
    if not isinstance(body, bytes):
        raise TypeError("body: give the bytes of the request, not what was made of them")
    if len(body) > max_bytes:
        raise WebhookMalformedError(f"The webhook's body is larger than {max_bytes} bytes.")
    _authenticate(headers, accepted)
    try:
        fields = decode_json(body)
    except NotJsonError:
        raise _malformed("$: not JSON") from None
    if not isinstance(fields, Mapping):
        raise _malformed("$: expected an object")
    return _event(fields)


def _event(fields: Mapping[str, JsonValue]) -> WebhookEvent:
    problems: list[str] = []

    def optional(name: str) -> str | None:
        value = fields.get(name)
        if value is None or isinstance(value, str):
            return value
        problems.append(f"$.{name}: expected text")
        return None

    def required(name: str) -> str:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
        problems.append(f"$.{name}: {'missing' if value in (None, '') else 'expected text'}")
        return ""

    data = fields.get("data")
    if not isinstance(data, Mapping):
        if data is not None:
            problems.append("$.data: expected an object")
        data = None
    link_id, process_type = required("link_id"), optional("process_type")
    if link_id and not checks.is_uuid(link_id):
        problems.append("$.link_id: expected a UUID")
    unknown = {name: fields[name] for name in fields if name not in _KNOWN}
    event = WebhookEvent(
        webhook_id=required("webhook_id"),
        webhook_type=WebhookType(required("webhook_type")),
        process_type=ProcessType(process_type) if process_type else None,
        webhook_code=WebhookCode(required("webhook_code")),
        link_id=link_id,
        request_id=optional("request_id"),
        external_id=optional("external_id"),
        data=Extra(data) if data else NO_EXTRA,
        extra=Extra(unknown) if unknown else NO_EXTRA,
    )
    if problems:
        raise _malformed(*problems)
    return event


def _malformed(*problems: str) -> WebhookMalformedError:
    return WebhookMalformedError(problems=problems)


# ---------------------------------------------------------------------------------------------------- acting on it

WebhookHandler: TypeAlias = Callable[[WebhookEvent], Awaitable[object]]
"""What acts on an event: an async function that takes it."""

H = TypeVar("H", bound=WebhookHandler)


class Dispatched(StrEnum):
    """What became of an event. Answer 2xx to all three: Belvo repeats what gets anything else."""

    HANDLED = "handled"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"


class WebhookDispatcher:
    """Hands an event to the handler of its code.

    ::

        dispatcher = WebhookDispatcher()

        @dispatcher.on("token_required", "invalid_credentials")
        async def ask_to_log_in_again(event: WebhookEvent) -> None: ...

        await dispatcher.dispatch(event)

    What a handler raises comes out of :meth:`dispatch`, so that the receiver answers an error and Belvo repeats.

    Args:
        seen: tells whether an event with this ``dedup_key`` has been handled. It only looks; if it took note itself, an
            event whose handler then fails would be taken for a duplicate when it is repeated, and be lost.
        remember: takes note that it has been; called when the handler is through.
    """

    def __init__(
        self,
        *,
        seen: Callable[[str], Awaitable[bool]] | None = None,
        remember: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        self._seen = seen
        self._remember = remember
        self._handlers: dict[str, WebhookHandler] = {}
        self._fallback: WebhookHandler | None = None

    def on(self, code: str, *more: str) -> Callable[[H], H]:
        """Return a decorator: the function handles events with this code, or one of these.

        Raises:
            ValueError: one of the codes has a handler already.
        """
        codes = [str(each) for each in (code, *more)]

        def register(handler: H) -> H:
            if taken := sorted(self._handlers.keys() & codes):
                raise ValueError(f"there is a handler already for {', '.join(taken)}")
            self._handlers |= dict.fromkeys(codes, handler)
            return handler

        return register

    def fallback(self, handler: H) -> H:
        """Decorate the function that handles events whose code has no handler; without one they are ignored.

        Raises:
            ValueError: there is one already.
        """
        if self._fallback is not None:
            raise ValueError("there is a fallback already")
        self._fallback = handler
        return handler

    async def dispatch(self, event: WebhookEvent) -> Dispatched:
        """Run the handler of the event's code, unless the event has been handled before.

        An event without a request id is never taken for a duplicate, because nothing tells it from the next of its
        kind: handling twice does no harm where handlers read the link first, and a lost event does.
        """
        handler = self._handlers.get(str(event.webhook_code), self._fallback)
        if handler is None:
            return Dispatched.IGNORED
        key = event.dedup_key if event.request_id else None
        if key and self._seen and await self._seen(key):
            return Dispatched.DUPLICATE
        await handler(event)
        if key and self._remember:
            await self._remember(key)
        return Dispatched.HANDLED
