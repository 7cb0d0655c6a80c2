"""What the simulator remembers about a request, for tests to look at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

from attrs import field, frozen

from .answers import JsonValue

T = TypeVar("T")


@frozen(kw_only=True)
class Received:
    """One request as it came; headers, query and body are not in the ``repr``, since they hold secrets."""

    method: str
    path: str
    template: str | None
    """The path with ``{id}`` in the place of an id; ``None`` where the API has no such path."""
    query: str = field(repr=False)
    """The raw query, without the question mark."""
    headers: Mapping[str, str] = field(repr=False)
    """Lower-case names; ``authorization`` included as it came."""
    body: JsonValue = field(repr=False)
    """The parsed JSON; ``None`` where there was none or it could not be read."""
    status: int | None = None
    """What was answered; ``None`` while it is processed, and where the connection was broken instead."""
    at: datetime
    """When it came, in simulated time."""


def trim(record: list[T], limit: int | None) -> None:
    """Forget the oldest entries beyond a limit."""
    if limit is not None and len(record) > limit:
        del record[:-limit]
