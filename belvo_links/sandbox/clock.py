"""The simulated time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def _system_time() -> datetime:
    return datetime.now(UTC)


class SandboxClock:
    """Gives the simulated time: what a source says, plus what :meth:`advance` added.

    Without a source it ticks with the system's time. With one (a callable that gives an aware ``datetime``)
    it follows that, so that a test can hold the time still.
    """

    __slots__ = ("_offset", "_source")

    def __init__(self, source: Callable[[], datetime] | None = None) -> None:
        self._source = source if source is not None else _system_time
        self._offset = timedelta()

    def __call__(self) -> datetime:
        """The simulated time, aware and in UTC."""
        now = self._source()
        if now.tzinfo is None:
            raise ValueError("the clock's source must give aware datetimes")
        return now.astimezone(UTC) + self._offset

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
        """Move the time forward and give the new one; it never goes back."""
        step = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if step < timedelta():
            raise ValueError("the simulated time does not go back")
        self._offset += step
        return self()

    def __repr__(self) -> str:
        return f"<SandboxClock at {self().isoformat()}>"
