"""What can be watched: events of calls and of pending sessions, and the observer that is told of them.

Events carry names, numbers, our ids of pending sessions and Belvo's request ids; never a credential, a token, a body, a
query or the id of a link. Where a URL path would name one, its template stands instead.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol, TypeAlias

import attrs

from belvo_links.redact import mask_path
from belvo_links.transport.messages import Lane, Request

OTHER: Final = "other"
"""Stands for a word that is neither ours nor documented: it came from outside."""

OPERATIONS: Final = frozenset({"register", "update", "patch", "get", "delete", "refresh"})
"""The calls that may meet a challenge."""

CALLS: Final = OPERATIONS | {"complete", "reconcile", "page", "count", "iterate", "get_json"}
"""The names of all calls."""


@attrs.frozen(kw_only=True)
class Call:
    """One call of a client, from its beginning to its end, with all its attempts.

    Attributes:
        name: the call, as the caller spells it, such as ``register``.
        method: the HTTP method.
        template: the URL path with ``{id}`` in the place of what names a link.
        host: the host of the service.
        port: its port.
    """

    name: str
    method: str
    template: str
    host: str
    port: int


@attrs.frozen(kw_only=True)
class Attempted:
    """An attempt has ended: one request and its reply, or what became of it.

    Attributes:
        call: the name of the call.
        number: which attempt of the call, from 1.
        method: the HTTP method.
        template: the URL path with ``{id}`` in the place of what names a link.
        status: the HTTP status, or ``None`` where there was no reply.
        error: the class name of the error, or ``None``; a 428 that asks for a second factor is none.
        request_id: Belvo's id of the request, where the reply has one.
        seconds: how long it took, without waiting for a limit.
    """

    call: str
    number: int
    method: str
    template: str
    status: int | None = None
    error: str | None = None
    request_id: str | None = None
    seconds: float


@attrs.frozen(kw_only=True)
class Retrying:
    """An attempt failed and the call is about to be repeated.

    Attributes:
        call: the name of the call.
        number: the attempt that failed, from 1.
        error: the class name of what it failed with.
        delay: seconds until the next attempt.
    """

    call: str
    number: int
    error: str
    delay: float


@attrs.frozen(kw_only=True)
class LimitWaited:
    """A call has waited its turn, or has given up waiting.

    Attributes:
        call: the name of the call.
        lane: its place in the queue.
        seconds: how long it waited; next to nothing where there was room.
        admitted: whether its turn came.
    """

    call: str
    lane: Lane
    seconds: float
    admitted: bool = True


@attrs.frozen(kw_only=True)
class Challenged:
    """An institution asks for a second factor: once for each round, where it is first met.

    Attributes:
        pending_id: our id of the pending session.
        operation: the call that met the first challenge, such as ``register``.
        round: which challenge of this login, from 1.
        kind: how the second factor works; ``other`` for a word that is not documented, ``None`` where there is none.
        expects_user_input: whether a token is to be collected.
        request_id: Belvo's id of the request.
    """

    pending_id: str
    operation: str
    round: int
    kind: str | None
    expects_user_input: bool
    request_id: str | None = None


@attrs.frozen(kw_only=True)
class Claimed:
    """A submission has taken its round of a pending session exclusively, or has found that it is not to be had.

    Attributes:
        pending_id: our id of the pending session.
        operation: the call that met the first challenge.
        round: which challenge of this login was to be answered.
        won: whether it was to be had: nothing is sent for one that is taken, answered, over or too late.
    """

    pending_id: str
    operation: str
    round: int
    won: bool


@attrs.frozen(kw_only=True)
class Settled:
    """A pending session has been given back changed, or has ended.

    Told by whoever brings it about or finds that time has; not for a session that is restored.

    Attributes:
        pending_id: our id of the pending session.
        operation: the call that met the first challenge.
        round: which challenge of this login it is now.
        before: the state it came from.
        state: the state it is in now.
        recorded: whether the store knew at once; if not, the lease of the claim makes it indeterminate for others.
    """

    pending_id: str
    operation: str
    round: int
    before: str
    state: str
    recorded: bool = True


Event: TypeAlias = Attempted | Retrying | LimitWaited | Challenged | Claimed | Settled


class Observer(Protocol):
    """Is told what happens, at once. Subclass it and override what you need.

    The methods are plain functions, called in the event loop: they must be quick and must not block. What they raise is
    logged by its class name and goes no further, save what ends the program, such as ``KeyboardInterrupt``. Context
    variables that :meth:`call` sets are seen by whatever is told during the call.
    """

    # Each body returns: to a type checker an empty one would be abstract, and all would have to be overridden.

    def call(self, call: Call) -> AbstractContextManager[object]:
        """Return a context manager that is entered before a call and left after it, with its error if it has one.

        Calls nest: a login that waits for a token reads its link inside of ``update`` and ``patch``, and a reply that
        was lost makes ``complete`` and ``reconcile`` read it. What the context manager returns is not heeded: it cannot
        suppress an error.

        Args:
            call: the call.
        """
        return nullcontext()

    def attempted(self, event: Attempted) -> None:
        """An attempt has ended."""
        return

    def retrying(self, event: Retrying) -> None:
        """A call is about to be repeated."""
        return

    def limit_waited(self, event: LimitWaited) -> None:
        """A call has waited for the limiter."""
        return

    def challenged(self, event: Challenged) -> None:
        """An institution asks for a second factor."""
        return

    def claimed(self, event: Claimed) -> None:
        """A round was claimed, or was not to be had."""
        return

    def settled(self, event: Settled) -> None:
        """A pending session has changed its state."""
        return


def template(request: Request) -> str:
    """Return the path of a request with ``{id}`` in the place of what names a link."""
    return mask_path(request.path).replace("{…}", "{id}")
