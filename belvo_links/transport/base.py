"""The two seams of a call: what carries a request, and what makes it wait its turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from belvo_links.transport.messages import Lane, Quota, Request, Response
from belvo_links.transport.timeouts import AttemptLimits


class Transport(Protocol):
    """Carries requests to one origin, once each."""

    async def send(
        self, request: Request, *, limits: AttemptLimits, on_send: Callable[[], None] | None = None
    ) -> Response:
        """Send one request and read its reply.

        Args:
            request: what to send.
            limits: how long each part may take.
            on_send: called just before the first byte may leave; until then nothing has happened. Without a body the
                moment cannot be told, so it is called before connecting.

        Raises:
            ConnectError: nothing was sent.
            PoolTimeoutError: no connection became free; nothing was sent.
            ResponseLostError: it was, or may have been, sent, and there is no reply.
            UnexpectedResponseError: the reply is larger than anything documented.
        """
        ...

    async def aclose(self) -> None:
        """Close what was opened."""
        ...


@runtime_checkable
class Limiter(Protocol):
    """Makes calls wait their turn. May be shared between clients."""

    async def acquire(self, lane: Lane) -> None:
        """Return when a request of this lane may go out, and count it.

        Must be cancellable at any time, and must not count a request whose wait was cancelled.
        """
        ...


class Gate(Protocol):
    """Somebody whom every attempt of a call has to pass. What it raises ends the call, before anything is sent."""

    async def before_turn(self) -> None:
        """Return when the attempt may stand in line for the limiter."""
        ...

    async def before_sending(self) -> None:
        """Return when the request may go out; its turn has come."""
        ...


@runtime_checkable
class QuotaLimiter(Limiter, Protocol):
    """A limiter that also counts the service's limits on single kinds of calls."""

    async def reserve(self, quota: Quota, ticket: str) -> float:
        """Count a call of this kind if there is room.

        Args:
            quota: what is counted.
            ticket: names this call, for :meth:`give_back`; asked again with the same, it counts once, as of now.

        Returns:
            0 if it was counted; otherwise the seconds until there may be room.
        """
        ...

    async def give_back(self, quota: Quota, ticket: str) -> None:
        """Forget a call that was counted but had no effect. Raises nothing but a cancellation."""
        ...
