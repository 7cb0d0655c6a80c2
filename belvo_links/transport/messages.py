"""What goes over the line, without a line: requests, replies, and operations that know how to read theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, IntEnum
from typing import Generic, TypeVar

import attrs

from belvo_links.redact import Secret

T = TypeVar("T")


class Lane(IntEnum):
    """Who goes first when calls wait for the limiter: lower goes before higher."""

    PERSON = 0
    """Calls that carry credentials or a token: somebody is waiting."""
    CALL = 1
    """Every other single call."""
    BULK = 2
    """Iterations, audits and bulk actions, which leave a quarter of the allowance free for the others."""


class Repeat(Enum):
    """What may be repeated without asking the caller; the table is in :mod:`belvo_links.transport.retry`."""

    READ = "read"
    """Reads: repeating has no effect."""
    DELETE = "delete"
    """Deletions: repeating has the same effect, and finding nothing left means it is done."""
    CHANGE = "change"
    """Changes that log in or start work: only where certainly nothing was done."""
    NEVER = "never"
    """Anything that carries a token: one attempt."""


@attrs.frozen(kw_only=True)
class Quota:
    """A limit of the service's on one kind of call, beside the one on all requests (documentation section 13).

    Attributes:
        name: what is counted: the kind of call, and the link where each has its own.
        requests: how many.
        seconds: the length of the window.
        too_early: the error with which a call is refused that has no room, from the seconds until there may be;
            ``None`` where a call waits instead.
    """

    name: str
    requests: int
    seconds: float
    too_early: Callable[[float], Exception] | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen(kw_only=True)
class Request:
    """One HTTP request to the service's own origin.

    Attributes:
        method: the HTTP method.
        path: begins and ends with a slash (documentation section 1); holds no query.
        query: names and values, not yet encoded.
        headers: beside those that the transport sets (authorization, content type, user agent).
        body: the JSON body; a secret, since most bodies carry one.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: Secret[bytes] | None = None


@attrs.frozen(kw_only=True)
class Response:
    """One HTTP reply, read to its end.

    Attributes:
        status: the HTTP status.
        headers: with lower-case names.
        body: the bytes, decompressed.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen(kw_only=True)
class Operation(Generic[T]):
    """A call: what to send, how to read the reply, what may be repeated.

    Attributes:
        name: the call's name, as the caller spells it.
        request: what to send.
        interpret: turns the reply into a result, or raises from :mod:`belvo_links.errors`.
        repeat: what may be repeated.
        lane: its place in the limiter's queue.
        logs_in: whether the service logs in at the institution meanwhile, which takes long.
        gone: for deletions, the result when a repeated attempt finds nothing left.
        lost_hint: a sentence for the error when the reply is lost: how to find out what happened.
        quota: what the service counts of this kind of call, beside all requests.
    """

    name: str
    request: Request
    interpret: Callable[[Response], T] = attrs.field(repr=False)
    repeat: Repeat
    lane: Lane = Lane.CALL
    logs_in: bool = False
    gone: Callable[[], T] | None = attrs.field(default=None, repr=False)
    lost_hint: str = ""
    quota: Quota | None = None
