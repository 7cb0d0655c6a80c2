"""Faults that a test scripts: answers and breakdowns that the API itself never chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from .answers import JsonValue
from .options import Switches

Kind = Literal[
    "status",
    "status_after",
    "drop_before",
    "drop_during",
    "drop_after",
    "truncate",
    "delay",
    "switched",
    "delay_after",
    "slow_body",
    "replace_body",
    "foreign_next",
]
AFTER: frozenset[Kind] = frozenset(
    {"status_after", "drop_after", "truncate", "delay_after", "slow_body", "replace_body", "foreign_next"}
)
"""The faults of requests that have taken their effect."""
LATER: frozenset[Kind] = frozenset({"drop_during", "delay", "switched"})
"""The faults that begin before a request takes its effect, which it does all the same."""

_NO_HEADERS: Mapping[str, str] = {}
_HTML: Mapping[str, str] = {"Content-Type": "text/html"}


def _gateway_page(code: int) -> bytes:
    return f"<html><body><h1>{code} Bad Gateway</h1></body></html>".encode()


class EarlyFaultError(Exception):
    """The step of a script has a fault that begins before the request takes its effect."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.kind)
        self.fault = fault


@frozen
class Fault:
    """One scripted fault, made by the class methods below.

    "Process" means that the request takes its effect.
    """

    kind: Kind
    code: int = 0
    body: JsonValue | bytes = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default=_NO_HEADERS, repr=False)
    seconds: float = 0.0
    switches: Switches | None = None

    @classmethod
    def status(cls, code: int, body: JsonValue | bytes = None, *, headers: Mapping[str, str] | None = None) -> Fault:
        """Answer without processing. Without a body, the documented error of that status is sent."""
        return cls("status", code=code, body=body, headers=headers or _NO_HEADERS)

    @classmethod
    def status_after(
        cls, code: int, body: JsonValue | bytes = None, *, headers: Mapping[str, str] | None = None
    ) -> Fault:
        """Process, then answer with this instead."""
        return cls("status_after", code=code, body=body, headers=headers or _NO_HEADERS)

    @classmethod
    def html(cls, code: int = 502) -> Fault:
        """Answer like a gateway, with HTML, without processing (documentation section 11.1, shape 4)."""
        return cls("status", code=code, body=_gateway_page(code), headers=_HTML)

    @classmethod
    def html_after(cls, code: int = 502) -> Fault:
        """Process, then answer like a gateway, with HTML (documentation section 11.1, shape 4)."""
        return cls("status_after", code=code, body=_gateway_page(code), headers=_HTML)

    @classmethod
    def drop_before(cls) -> Fault:
        """Break the connection without processing."""
        return cls("drop_before")

    @classmethod
    def drop_during(cls, seconds: float = 0.0) -> Fault:
        """Break the connection, and process so much later (real seconds): the client is told before it is so."""
        return cls("drop_during", seconds=seconds)

    @classmethod
    def drop_after(cls) -> Fault:
        """Process, then break the connection without a reply."""
        return cls("drop_after")

    @classmethod
    def truncate(cls) -> Fault:
        """Process, announce the whole body, send half of it and close."""
        return cls("truncate")

    @classmethod
    def delay(cls, seconds: float) -> Fault:
        """Wait (real seconds), then process and answer."""
        return cls("delay", seconds=seconds)

    @classmethod
    def delay_after(cls, seconds: float) -> Fault:
        """Process, wait (real seconds), then answer."""
        return cls("delay_after", seconds=seconds)

    @classmethod
    def slow_body(cls, seconds: float, *, pieces: int = 4) -> Fault:
        """Process, then send the body in pieces with a pause (real seconds) before each."""
        if pieces < 1:
            raise ValueError("a body has at least one piece")
        return cls("slow_body", code=pieces, seconds=seconds)

    @classmethod
    def foreign_next(cls, origin: str = "https://elsewhere.example") -> Fault:
        """Process; in a listing, let ``next`` and ``previous`` name another host (documentation section 5)."""
        return cls("foreign_next", body=origin)

    @classmethod
    def switched(cls, switches: Switches) -> Fault:
        """Process as a simulator with these switches would: another shape, order, session, time of day…

        Of ``clock_skew_seconds`` only what is said is affected: the timestamps of the body, and ``Date``.
        """
        return cls("switched", switches=switches)

    @classmethod
    def replace_body(cls, body: bytes) -> Fault:
        """Process and keep the status, but send these bytes as the JSON body."""
        return cls("replace_body", body=body)


@frozen
class WaitingFault:
    """A fault that waits, and which requests will meet it; ``None`` is any of them, or any number."""

    fault: Fault
    method: str | None
    template: str | None
    times: int | None


class FaultScript:
    """The faults that wait for their requests, in the order in which they were given."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def add(self, fault: Fault, *, method: str | None, template: str | None, times: int | None) -> None:
        """Let the next ``times`` matching requests meet the fault; ``None``: every one from now on."""
        if times is not None and times < 1:
            raise ValueError("a fault happens at least once")
        self._entries.append(_Entry(fault, method, template, times))

    @property
    def waiting(self) -> list[WaitingFault]:
        """What has not been met yet, in the order in which it will be."""
        return [WaitingFault(entry.fault, entry.method, entry.template, entry.left) for entry in self._entries]

    def take(self, method: str, template: str | None) -> Fault | None:
        """The fault that this request meets, if any; the oldest that matches."""
        for position, entry in enumerate(self._entries):
            if entry.method not in (None, method) or entry.template not in (None, template):
                continue
            if entry.left is not None:
                entry.left -= 1
                if not entry.left:
                    del self._entries[position]
            return entry.fault
        return None

    def clear(self) -> None:
        """Forget every fault."""
        self._entries.clear()


class _Entry:
    __slots__ = ("fault", "left", "method", "template")

    def __init__(self, fault: Fault, method: str | None, template: str | None, left: int | None) -> None:
        self.fault = fault
        self.method = method
        self.template = template
        self.left = left
