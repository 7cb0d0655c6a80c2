"""What the simulator tells about its links: webhooks as values (documentation section 16)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen, mutable, validators

from .address import is_loopback
from .answers import INVALID_CREDENTIALS, TOKEN_REQUIRED_TEXT, JsonValue
from .state import StoredLink

_COUNTS = 400
"""More items than that are never reported; ours."""


@frozen
class Webhooks:
    """Where webhooks are delivered, and how (documentation section 16.3)."""

    url: str = field()
    authorization: str | None = field(default=None, repr=False, kw_only=True)
    """The whole header: ``Basic …`` or ``Bearer …``, as it is set in the dashboard; there is no signature."""
    allow_remote: bool = field(default=False, kw_only=True)
    """Whether the address may be of another machine. Otherwise only loopback is delivered to."""
    repeats: int = field(default=5, validator=validators.ge(0), kw_only=True)
    """How often a failed delivery is repeated."""
    backoff_seconds: float = field(default=60.0, validator=validators.gt(0), kw_only=True)
    """Simulated seconds before the first repeat; twice as long before the second, and so on. Ours."""
    timeout: float = field(default=5.0, validator=validators.gt(0), kw_only=True)
    """Real seconds within which a 2xx counts."""
    duplicates: int = field(default=0, validator=validators.ge(0), kw_only=True)
    """How many more times everything is delivered that has arrived already: at least once means that."""
    out_of_order: bool = field(default=False, kw_only=True)
    """Whether what is due at the same time is delivered in an order of its own (from the seed)."""

    @url.validator
    def _loopback(self, attribute: Attribute[str], value: str) -> None:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("webhooks are delivered to an http or https address")
        if not self.allow_remote and not is_loopback(parts.hostname):
            raise ValueError("webhooks are delivered to this machine only, unless allow_remote=True")


@frozen
class Attempt:
    """One delivery: when it was due, in simulated time, and the status; ``None``: no answer in time."""

    at: datetime
    status: int | None

    @property
    def arrived(self) -> bool:
        """Whether the receiver has said so."""
        return self.status is not None and 200 <= self.status < 300


@mutable(kw_only=True)
class Notification:
    """One webhook: its content, and what has become of it."""

    at: datetime
    """When it came to be, in simulated time."""
    payload: Mapping[str, JsonValue] = field(repr=False)
    """The JSON of documentation section 16.1."""
    attempts: list[Attempt] = field(factory=list[Attempt])
    """The deliveries so far; none where there is no receiver."""

    @property
    def type(self) -> str:
        """The resource, or ``LINK``."""
        return str(self.payload["webhook_type"])

    @property
    def code(self) -> str:
        """The event."""
        return str(self.payload["webhook_code"])

    @property
    def link_id(self) -> str:
        """The link it is about."""
        return str(self.payload["link_id"])

    @property
    def request_id(self) -> str:
        """What the 202 of a refresh or an asynchronous delete was called, too."""
        return str(self.payload["request_id"])

    @property
    def arrived(self) -> bool:
        """Whether it was delivered at least once."""
        return any(attempt.arrived for attempt in self.attempts)


@frozen
class Event:
    """What a webhook says, without the link it is about."""

    type: str
    process: str
    code: str
    data: Mapping[str, JsonValue] = field(factory=dict[str, JsonValue])

    def payload(self, webhook_id: str, link: StoredLink, request_id: str) -> Mapping[str, JsonValue]:
        """The body that is sent (documentation section 16.1)."""
        return {
            "webhook_id": webhook_id,
            "webhook_type": self.type,
            "process_type": self.process,
            "webhook_code": self.code,
            "link_id": link.id,
            "request_id": request_id,
            "external_id": link.external_id,
            "data": self.data,
        }


# Neither its spelling nor its content is documented (documentation sections 16.2 and 20).
LINK_DELETED = Event("LINK", "link_deletion", "link_deleted")
INVALID = Event(
    "LINK",
    "recurrent_update",
    "invalid_credentials",
    {"error_code": "login_error", "error_message": INVALID_CREDENTIALS.message, "status": 400},
)
TOKEN_REQUIRED = Event(
    "LINK",
    "recurrent_update",
    "token_required",
    {"error_code": "token_required", "error_message": TOKEN_REQUIRED_TEXT, "status": 428},
)


def historical(link: StoredLink, resource: str, now: datetime) -> Event:
    """A resource was fetched for the first time or again (documentation section 16.2)."""
    return Event(resource, "historical_update", "historical_update", _counts(link, resource, now))


def available(link: StoredLink, resource: str, now: datetime) -> Event:
    """A scheduled refresh has found something new."""
    code = f"new_{resource.lower()}_available"
    return Event(resource, "recurrent_update", code, _counts(link, resource, now))


def _counts(link: StoredLink, resource: str, now: datetime) -> Mapping[str, JsonValue]:
    """Invented numbers, always the same for a link; users without data have none (section 17.2)."""
    empty = link.username in ("bnk101", "fiscal101")
    number = 0 if empty else 1 + zlib.crc32(f"{link.id} {resource}".encode()) % _COUNTS
    if resource != "TRANSACTIONS":
        return {f"total_{resource.lower()}": min(number, 5) if resource == "ACCOUNTS" else number}
    inflow = number // 3
    return {
        "total_transactions": number,
        "total_inflow_transactions": inflow,
        "total_outflow_transactions": number - inflow,
        "first_transaction_date": None if empty else (now - timedelta(days=number)).date().isoformat(),
        "last_transaction_date": None if empty else now.date().isoformat(),
    }
