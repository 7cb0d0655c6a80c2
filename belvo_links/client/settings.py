"""Where a client connects to and how it waits: checked values."""

from __future__ import annotations

import base64
import ipaddress
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, TypedDict
from urllib.parse import SplitResult, urlsplit

import attrs

from belvo_links.protocol import checks
from belvo_links.redact import Secret
from belvo_links.stores.base import PendingStore
from belvo_links.transport.base import Limiter
from belvo_links.transport.limit import RateLimit
from belvo_links.transport.observe import Observer
from belvo_links.transport.retry import RetryPolicy
from belvo_links.transport.timeouts import Timeouts

if TYPE_CHECKING:
    import aiohttp


class Environment(StrEnum):
    """Belvo's environments (documentation section 1). Keys belong to one of them."""

    SANDBOX = "sandbox"
    PRODUCTION = "production"

    @property
    def url(self) -> str:
        """The base URL."""
        return _URLS[self]


_URLS: Final[Mapping[Environment, str]] = {
    Environment.SANDBOX: "https://sandbox.belvo.com",
    Environment.PRODUCTION: "https://api.belvo.com",
}


class WaitingLike(Protocol):
    """Anything with the attributes of :class:`Waiting`."""

    @property
    def first(self) -> float:
        """Seconds before the first submission."""
        ...

    @property
    def ceiling(self) -> float:
        """Seconds that no wait exceeds."""
        ...

    @property
    def max_rounds(self) -> int:
        """How often a callback is asked."""
        ...


@attrs.frozen
class Waiting:
    """How ``wait()`` polls and how often ``on_challenge`` is asked.

    Attributes:
        first: seconds before the first submission.
        ceiling: seconds that no wait between submissions exceeds.
        max_rounds: how many challenges of one login ``on_challenge`` is asked to answer.
    """

    first: float = attrs.field(default=5.0)
    ceiling: float = attrs.field(default=30.0)
    max_rounds: int = attrs.field(default=3)

    @first.validator
    @ceiling.validator
    def _check_seconds(self, attribute: attrs.Attribute[float], value: float) -> None:
        if not (value > 0 and math.isfinite(value)):
            msg = f"{attribute.name}: give seconds, more than 0"
            raise ValueError(msg)

    @max_rounds.validator
    def _check_rounds(self, _: object, value: int) -> None:
        if value < 1:
            msg = "max_rounds: give 1 or more"
            raise ValueError(msg)

    @classmethod
    def of(cls, settings: WaitingLike) -> Waiting:
        """Return the settings as a checked value."""
        if isinstance(settings, Waiting):
            return settings
        return cls(settings.first, settings.ceiling, max_rounds=settings.max_rounds)


class ClientOptions(TypedDict, total=False):
    """The keyword arguments of :class:`belvo_links.BelvoLinks`, which describes them."""

    environment: Environment | str | None
    base_url: str | None
    http_session: aiohttp.ClientSession | None
    store: PendingStore | None
    retry: RetryPolicy | None
    timeouts: Timeouts
    rate_limit: RateLimit | Limiter | None
    waiting: WaitingLike
    max_connections: int
    clock: Callable[[], datetime] | None
    observer: Observer | None


def service_url(environment: Environment | str | None, base_url: str | None) -> str:
    """Return the address of the service, without a slash at the end.

    Raises:
        ValueError: not exactly one of the two was given, the environment is unknown, or the address is neither https
            nor http to this machine.
    """
    if (environment is None) == (base_url is None):
        msg = "environment, base_url: give exactly one of them"
        raise ValueError(msg)
    if base_url is not None:
        return _checked_url(base_url)
    try:
        return Environment(str(environment)).url
    except ValueError:
        names = " or ".join(f'"{each}"' for each in Environment)
        msg = f"environment: give {names}, or a base_url instead"
        raise ValueError(msg) from None


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        msg = "base_url: not a URL"
        raise ValueError(msg) from None
    if parts.username is not None or parts.password is not None:
        msg = "base_url: it holds credentials; give secret_id and secret_password instead"
        raise ValueError(msg)
    # What urlsplit drops or HTTP cannot carry is refused, since the address is used as it was given.
    odd = not url.isascii() or any(c <= " " or c in "\x7f\\?#" for c in url)
    if not parts.hostname or odd:
        msg = "base_url: give scheme, host, and a port or path if needed, such as https://sandbox.belvo.com"
        raise ValueError(msg)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts)):
        msg = "base_url: give https; http is for this machine alone, since keys and tokens would travel in clear"
        raise ValueError(msg)
    return f"{parts.scheme}://{_authority(parts, port)}{parts.path.rstrip('/')}"


def _authority(parts: SplitResult, port: int | None) -> str:
    """Return host and port in one spelling, since pending sessions belong to an address."""
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if port in {None, _PORTS[parts.scheme]} else f"{host}:{port}"


_PORTS: Final[Mapping[str, int]] = {"https": 443, "http": 80}


def _is_loopback(parts: SplitResult) -> bool:
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def basic_authorization(secret_id: str, secret_password: str) -> Secret[str]:
    """Return the value of the ``Authorization`` header (documentation section 2).

    Raises:
        ValueError: one of them is empty, or the id has a colon, which Basic authentication cannot carry.
        TypeError: one of them is no text.
    """
    for name, value in (("secret_id", secret_id), ("secret_password", secret_password)):
        if not checks.text(name, value):
            msg = f"{name}: is empty"
            raise ValueError(msg)
    if ":" in secret_id:
        msg = "secret_id: has a colon, which Basic authentication cannot carry"
        raise ValueError(msg)
    pair = f"{secret_id}:{secret_password}".encode()
    return Secret(f"Basic {base64.b64encode(pair).decode('ascii')}")


def from_environment(variables: Mapping[str, str], *, placed: bool = False) -> tuple[tuple[str, str], ClientOptions]:
    """Return the keys and the place that ``BELVO_…`` variables hold.

    Args:
        variables: where to look.
        placed: whether the caller says where to connect to; the variables are then not asked.

    Raises:
        ValueError: a variable is missing, or two contradict each other; they are named.
    """
    missing = [name for name in ("BELVO_SECRET_ID", "BELVO_SECRET_PASSWORD") if not variables.get(name)]
    environment, base_url = variables.get("BELVO_ENVIRONMENT"), variables.get("BELVO_BASE_URL")
    if not (placed or environment or base_url):
        missing.append("BELVO_ENVIRONMENT (or BELVO_BASE_URL)")
    if missing:
        msg = f"set {', '.join(missing)}"
        raise ValueError(msg)
    if environment and base_url and not placed:
        msg = "set one of BELVO_ENVIRONMENT and BELVO_BASE_URL, not both"
        raise ValueError(msg)
    keys = variables["BELVO_SECRET_ID"], variables["BELVO_SECRET_PASSWORD"]
    if placed:
        return keys, {}
    return keys, {"environment": environment} if environment else {"base_url": base_url}
