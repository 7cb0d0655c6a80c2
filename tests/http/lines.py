"""What the tests of the transport send, and with which limits."""

from typing import Any

import aiohttp

from belvo_links.redact import Secret
from belvo_links.transport.http import HttpTransport
from belvo_links.transport.messages import Request
from belvo_links.transport.timeouts import AttemptLimits

KEYS = "Basic a2V5czprZXlz"
TOKEN = b'{"token":"918273"}'

METHODS = ("GET", "DELETE", "POST", "PUT", "PATCH")


def a(method: str) -> Request:
    """A request of that method, with a body where one is usual."""
    body = None if method in {"GET", "DELETE"} else Secret(TOKEN)
    return Request(method=method, path="/api/links/", body=body)


def limits(**changed: float | None) -> AttemptLimits:
    """Limits that no healthy test reaches."""
    given: dict[str, Any] = {"pool_wait": 5.0, "connect": 5.0, "reply": 5.0} | changed
    return AttemptLimits(**given)


def transport(url: str, session: aiohttp.ClientSession | None = None, **more: Any) -> HttpTransport:
    return HttpTransport(url, Secret(KEYS), http_session=session, **more)


class Told:
    """An `on_send` that counts."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1
