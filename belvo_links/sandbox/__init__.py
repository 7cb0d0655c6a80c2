"""A pretend Belvo Links API: in memory, deterministic, on a real socket.

The names below are loaded on first use, so that importing the package costs nothing and needs no aiohttp.
The simulator shares no code with the client: it writes the service's JSON by itself, so that a mistake in one
of them cannot hide behind the same mistake in the other.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .clock import SandboxClock
    from .faults import Fault
    from .institutions import INSTITUTIONS, Institution
    from .options import ClientOptions, ShortWaits, Switches
    from .record import Received
    from .sandbox import Sandbox
    from .scripts import Step
    from .state import LinkOverrides
    from .threaded import ThreadedSandbox
    from .triggers import DOCUMENTED_USERS, OWN_TRIGGERS, Trigger
    from .waiting import WaitingLogin
    from .webhooks import Attempt, Notification, Webhooks

__all__ = [
    "DOCUMENTED_USERS",
    "INSTITUTIONS",
    "OWN_TRIGGERS",
    "Attempt",
    "ClientOptions",
    "Fault",
    "Institution",
    "LinkOverrides",
    "Notification",
    "Received",
    "Sandbox",
    "SandboxClock",
    "ShortWaits",
    "Step",
    "Switches",
    "ThreadedSandbox",
    "Trigger",
    "WaitingLogin",
    "Webhooks",
]

_HOMES = {
    "DOCUMENTED_USERS": "triggers",
    "INSTITUTIONS": "institutions",
    "OWN_TRIGGERS": "triggers",
    "ClientOptions": "options",
    "Fault": "faults",
    "Institution": "institutions",
    "LinkOverrides": "state",
    "Attempt": "webhooks",
    "Notification": "webhooks",
    "Received": "record",
    "Sandbox": "sandbox",
    "SandboxClock": "clock",
    "ShortWaits": "options",
    "Step": "scripts",
    "Switches": "options",
    "ThreadedSandbox": "threaded",
    "Trigger": "triggers",
    "WaitingLogin": "waiting",
    "Webhooks": "webhooks",
}


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value: object = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
