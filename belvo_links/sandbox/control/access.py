"""Who may look and steer: decisions about keys, hosts and origins; no IO."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from attrs import field, frozen

from belvo_links.sandbox.address import is_loopback

SHORTEST_KEY = 16
_KEY = re.compile(rf"[!-~]{{{SHORTEST_KEY},}}")
Refusal = Literal["host", "origin", "no key", "wrong key", "form"]
"""Another host was named; another site asks; there is no key; it is a wrong one; the form's own token is missing."""


def checked_key(key: str) -> str:
    """The key, if it can be one: it travels in headers and addresses, and is not to be guessed.

    Raises:
        ValueError: It is too short, or has characters other than ASCII letters, digits and signs.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"a control key has at least {SHORTEST_KEY} ASCII letters, digits or signs, and no spaces")
    return key


@frozen(kw_only=True)
class Gate:
    """Lets in who has the key: in a header, or in the cookie that a visit with the key in the address sets."""

    key: str = field(repr=False)
    host: str
    """Where the simulator listens."""

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach it."""
        return not is_loopback(self.host)

    @property
    def cookie(self) -> str:
        """The value of the cookie. Browsers show cookies to every port of a host, so it is not the key."""
        return self._derived("cookie")

    @property
    def form_token(self) -> str:
        """What every form carries: only a page that was let in can know it."""
        return self._derived("form")

    def is_key(self, given: str) -> bool:
        """Whether this is the key; the comparison takes the same time whatever is given."""
        return _same(given, self.key)

    def is_form_token(self, given: str) -> bool:
        """Whether a form that carries this comes from the page."""
        return _same(given, self.form_token)

    def check_sender(self, method: str, headers: Mapping[str, str]) -> Refusal | None:
        """Whether a request comes from where it may: names this machine, and writes from our own page only.

        Args:
            method: as received.
            headers: with lower-case names.
        """
        host = headers.get("host", "")
        # A foreign name that leads to this machine (DNS rebinding) would make its site the same as ours.
        if not self.exposed and not is_loopback(_hostname(host)):
            return "host"
        origin = headers.get("origin")
        if method in ("GET", "HEAD") or origin is None:
            return None
        if origin == "null":
            # What browsers send with a form of a page that says `no-referrer`; then they also say whose it was.
            return None if headers.get("sec-fetch-site") == "same-origin" else "origin"
        return None if origin.partition("://")[2].lower() == host.lower() else "origin"

    def check_key(self, headers: Mapping[str, str], cookie: str | None) -> Refusal | None:
        """Whether a request brings the key or the cookie; a key that is wrong is not made up for by a cookie."""
        given = bearer(headers)
        if given is not None:
            return None if self.is_key(given) else "wrong key"
        if cookie is None:
            return "no key"
        return None if _same(cookie, self.cookie) else "wrong key"

    def _derived(self, purpose: str) -> str:
        return hmac.new(self.key.encode(), f"belvo sandbox {purpose}".encode(), hashlib.sha256).hexdigest()


def bearer(headers: Mapping[str, str]) -> str | None:
    """What an ``Authorization`` header brings; ``None`` without one, empty where it is of another kind."""
    header = headers.get("authorization")
    if header is None:
        return None
    scheme, _, given = header.partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(*(hashlib.sha256(each.encode()).digest() for each in (given, expected)))
