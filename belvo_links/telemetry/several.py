"""Several observers at once."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from belvo_links.transport.observe import (
    Attempted,
    Call,
    Challenged,
    Claimed,
    Event,
    LimitWaited,
    Observer,
    Retrying,
    Settled,
)
from belvo_links.transport.watch import Guard


class Observers(Observer):
    """Tells several observers, in this order; one that fails does not keep the others from hearing.

    Args:
        observers: who is told.

    Raises:
        TypeError: one of them is no observer.
    """

    def __init__(self, *observers: Observer) -> None:
        self._guards = [Guard(observer) for observer in observers]

    @contextmanager
    def call(self, call: Call) -> Generator[None]:
        """Surround a call with all of them, the first outermost."""
        with ExitStack() as stack:
            for guard in self._guards:
                stack.enter_context(guard.around(call))
            yield

    def attempted(self, event: Attempted) -> None:
        self._tell(event)

    def retrying(self, event: Retrying) -> None:
        self._tell(event)

    def limit_waited(self, event: LimitWaited) -> None:
        self._tell(event)

    def challenged(self, event: Challenged) -> None:
        self._tell(event)

    def claimed(self, event: Claimed) -> None:
        self._tell(event)

    def settled(self, event: Settled) -> None:
        self._tell(event)

    def _tell(self, event: Event) -> None:
        for guard in self._guards:
            guard.tell(event)
