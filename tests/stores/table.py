"""What every fault of a store leads to: literal data, which a test holds against real servers and the docs print.

A fault meets a pending session at one of five moments. What then happens does not depend on the store, but on what the
fault leaves of the command that it met: so there is a table of faults and stores, which says what that is, and one of
what it leads to.
"""

import sys
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple


class Kind(StrEnum):
    """Which store."""

    MEMORY = "MemoryStore"
    SQLITE = "SqliteStore"
    REDIS = "RedisStore"
    POSTGRES = "PostgresStore"


class Moment(StrEnum):
    """When the fault begins: just before the store is asked for this."""

    CHALLENGE = "to keep a first challenge"
    LOOK = "to look"
    CLAIM = "to claim"
    LINK = "to record a link"
    NEXT = "to record the next challenge"


class Cell(NamedTuple):
    """What comes of it.

    Attributes:
        outcome: what the caller gets.
        sent: how many Completes the simulator has received.
        states: the record when the fault is over: one of these; "none" for none.
        pending: whether the error has ``.pending``.
    """

    outcome: str
    sent: int
    states: tuple[str, ...]
    pending: bool = False


class Effect(StrEnum):
    """What becomes of the command that a fault meets."""

    UNHARMED = "takes effect"
    REFUSED = "has no effect"
    ONE_REPLY_LOST = "takes effect, unheard"
    REPLIES_LOST = "all take effect, unheard"
    LATE = "takes effect afterwards"
    PERHAPS_LATE = "takes effect afterwards, or never"
    EMPTIED = "finds nothing"


UNSAVED: Final = Cell("StoreError", 0, ("none",), pending=True)
SAVED_UNHEARD: Final = Cell("StoreError", 0, ("awaiting",), pending=True)
UNSENT: Final = Cell("StoreError", 0, ("awaiting",))
UNSENT_AND_CLAIMED: Final = Cell("StoreError", 0, ("submitting",))
FORGOTTEN: Final = Cell("PendingNotFoundError", 0, ("none",))
BEGUN: Final = Cell("PendingSession", 0, ("awaiting",))
LINKED: Final = Cell("Link", 1, ("linked",))
LINKED_UNRECORDED: Final = Cell("Link", 1, ("submitting",))
ASKED_AGAIN: Final = Cell("PendingSession", 1, ("awaiting",))
ASKED_AGAIN_UNRECORDED: Final = Cell("PendingSession", 1, ("submitting",))

OUTCOMES: Final[dict[Effect, tuple[Cell, Cell, Cell, Cell, Cell]]] = {
    Effect.UNHARMED: (BEGUN, LINKED, LINKED, LINKED, ASKED_AGAIN),
    Effect.REFUSED: (UNSAVED, UNSENT, UNSENT, LINKED_UNRECORDED, ASKED_AGAIN_UNRECORDED),
    Effect.ONE_REPLY_LOST: (SAVED_UNHEARD, UNSENT, UNSENT, LINKED, ASKED_AGAIN),
    Effect.REPLIES_LOST: (SAVED_UNHEARD, UNSENT, UNSENT_AND_CLAIMED, LINKED, ASKED_AGAIN),
    Effect.LATE: (SAVED_UNHEARD, UNSENT, UNSENT_AND_CLAIMED, LINKED, ASKED_AGAIN),
    Effect.PERHAPS_LATE: (
        Cell("StoreError", 0, ("none", "awaiting"), pending=True),
        UNSENT,
        Cell("StoreError", 0, ("awaiting", "submitting")),
        Cell("Link", 1, ("submitting", "linked")),
        Cell("PendingSession", 1, ("submitting", "awaiting")),
    ),
    Effect.EMPTIED: (BEGUN, FORGOTTEN, FORGOTTEN, LINKED, ASKED_AGAIN),
}
"""What each effect leads to, at the moments in their order."""


class Fault(NamedTuple):
    """What a fault does to one store, and the ``reason`` of every ``StoreError`` that callers get."""

    effect: Effect
    reason: str | None = None


def everywhere(effect: Effect) -> dict[Kind, Fault]:
    """Return the same fault of all stores."""
    return dict.fromkeys(Kind, Fault(effect))


def refused(*, sqlite: str | None = None, redis: str | None = None, postgres: str | None = None) -> dict[Kind, Fault]:
    """Return a fault that lets nothing happen, by the stores that can have it, with its reasons."""
    reasons = {Kind.SQLITE: sqlite, Kind.REDIS: redis, Kind.POSTGRES: postgres}
    return {kind: Fault(Effect.REFUSED, each) for kind, each in reasons.items() if each is not None}


def on_servers(redis: Fault, postgres: Fault) -> dict[Kind, Fault]:
    """Return a fault of the two stores that have a server."""
    return {Kind.REDIS: redis, Kind.POSTGRES: postgres}


TABLE: Final[dict[str, dict[Kind, Fault]]] = {
    "nothing": everywhere(Effect.UNHARMED),
    "it was emptied": everywhere(Effect.EMPTIED),
    "the server was killed and started again": on_servers(Fault(Effect.UNHARMED), Fault(Effect.UNHARMED)),
    "the server was killed and is down": refused(redis="ConnectionError", postgres="OperationalError"),
    "the server hangs": on_servers(Fault(Effect.LATE, "TimeoutError"), Fault(Effect.PERHAPS_LATE, "TimeoutError")),
    "the connection breaks before the command arrives": refused(redis="ConnectionError", postgres="OperationalError"),
    "the connection breaks before the reply arrives": on_servers(
        Fault(Effect.ONE_REPLY_LOST, "ConnectionError"), Fault(Effect.ONE_REPLY_LOST, "OperationalError")
    ),
    "no reply arrives any more": on_servers(
        Fault(Effect.REPLIES_LOST, "ConnectionError"), Fault(Effect.REPLIES_LOST, "OperationalError")
    ),
    "no connection in the pool is free": refused(redis="PoolTimeout", postgres="PoolTimeout"),
    "the server has too many connections": refused(redis="ConnectionError", postgres="OperationalError"),
    "another process holds the lock": refused(sqlite="OperationalError", postgres="TimeoutError"),
    "the disk is full": refused(sqlite="OperationalError"),
    "the memory is full": refused(redis="OutOfMemoryError"),
    "it became read-only": refused(sqlite="PermissionError", redis="ReadOnlyError", postgres="ReadOnlySqlTransaction"),
    "the right to change it was withdrawn": refused(redis="NoPermissionError", postgres="InsufficientPrivilege"),
    "the table is missing": refused(sqlite="OperationalError", postgres="there is no such table: call create() once"),
}
"""What happens to a store, to which stores it can happen, and what it does to them."""


def faults() -> str:
    """Return the table of faults and stores in Markdown."""
    lines = [(fault, *(_fault(stores.get(kind)) for kind in Kind)) for fault, stores in TABLE.items()]
    return _markdown(("what happens", *(f"`{kind}`" for kind in Kind)), lines)


def outcomes() -> str:
    """Return the table of what that leads to in Markdown."""
    lines = [(effect, *map(_cell, cells)) for effect, cells in OUTCOMES.items()]
    return _markdown(("the command", *(f"asked {moment}" for moment in Moment)), lines)


def _fault(fault: Fault | None) -> str:
    if fault is None:
        return ""
    return fault.effect if fault.reason is None else f"{fault.effect}: `{fault.reason}`"


def _cell(cell: Cell) -> str:
    with_pending = " with `.pending`" if cell.pending else ""
    states = " or ".join(state if state == "none" else f"`{state}`" for state in cell.states)
    return f"`{cell.outcome}`{with_pending}; {cell.sent} sent; {states}"


def _markdown(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ("---",) * len(head), *lines)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(f"{faults()}\n{outcomes()}")  # python -m tests.stores.table
