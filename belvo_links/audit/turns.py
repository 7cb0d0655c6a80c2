"""Long work in a thread beside an event loop: it lets the loop have the interpreter often, and can be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

BUSY: Final = 0.002
"""Seconds of work after which others get the interpreter; by itself it would change hands every 5 ms."""
REST: Final = 0.0002
"""Seconds for which they do."""


class StoppedError(Exception):
    """Nobody waits for the work any more."""


class Turns:
    """The turns of one piece of work."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._since = time.perf_counter()

    def stop(self) -> None:
        """End the work at its next turn. May be called from any thread."""
        self._stop.set()

    def take(self) -> None:
        """Rest if it is time; call this often.

        Raises:
            StoppedError: the work is to end.
        """
        if self._stop.is_set():
            raise StoppedError
        if time.perf_counter() - self._since > BUSY:
            time.sleep(REST)  # of the thread that works here, never of the event loop
            self._since = time.perf_counter()

    def over(self, rows: Iterable[T]) -> Iterator[T]:
        """Yield the rows, and take a turn for each."""
        for row in rows:
            self.take()
            yield row
