"""Secrets that cannot be printed.

Credentials, tokens, API keys and Belvo's session ids travel through this package inside :class:`Secret`. It shows
``***`` wherever text is made of it (``repr``, ``str``, ``format``, logging, ``attrs.asdict`` followed by printing),
cannot be pickled, and gives its value away only through :meth:`Secret.reveal`, which is easy to search for.
"""

from __future__ import annotations

import hmac
import re
from typing import Final, Generic, Never, Self, TypeVar

MASK: Final = "***"

S = TypeVar("S", str, bytes)

_PLAIN_SEGMENT: Final = re.compile(r"[a-z][a-z_-]{0,31}")


class Secret(Generic[S]):
    """A string or bytes that never shows itself.

    Args:
        value: what to hide.
    """

    __slots__ = ("_value",)

    def __init__(self, value: S) -> None:
        self._value: S = value

    def reveal(self) -> S:
        """Return the hidden value; call it only where the value goes onto the wire or into a store."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, format_spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = _as_bytes(self._value), _as_bytes(other._value)
        return type(self._value) is type(other._value) and hmac.compare_digest(mine, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> Never:
        """Refuse: a pickle would carry the value in clear."""
        msg = "a secret cannot be pickled"
        raise TypeError(msg)


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value


def mask_path(path: str) -> str:
    """Return a URL path with everything that may name a person or a link replaced by ``{…}``.

    ``/api/links/e4bb1afb-…/refresh/`` becomes ``/api/links/{…}/refresh/``. A query is dropped.
    """
    segments = path.partition("?")[0].split("/")
    return "/".join(s if not s or _PLAIN_SEGMENT.fullmatch(s) else "{…}" for s in segments)
