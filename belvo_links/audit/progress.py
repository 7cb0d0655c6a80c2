"""How far an audit is."""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.frozen(kw_only=True)
class Tally:
    """How many links, records that cannot be read, and findings there are."""

    links: int = 0
    unreadable: int = 0
    findings: int = 0


@attrs.frozen(kw_only=True)
class Progress:
    """How far an audit is.

    Attributes:
        links: how many links were read, those before an interruption included.
        total: how many there were when it began this time.
        findings: how many findings there are so far; ``duplicates`` come at the end.
        unreadable: how many records could not be read.
        seconds: how long it has been at it this time.
        rate: links per second this time.
        remaining: seconds that are left at this rate; ``None`` where that cannot be told.
        waiting_for: ``"rate limit"`` while requests wait their turn, ``"service"`` while it waits for replies,
            ``"file"`` while it looks for duplicates and closes the file, ``None`` while it checks links.
    """

    links: int
    total: int
    findings: int
    unreadable: int
    seconds: float
    rate: float
    remaining: float | None
    waiting_for: str | None = None


class Pace:
    """Measures how fast an audit is, and tells.

    Args:
        tell: is told; ``None`` for nobody.
        clock: gives seconds.
        total: how many links there are.
        tally: what was there when it began.
    """

    def __init__(
        self, tell: Callable[[Progress], None] | None, *, clock: Callable[[], float], total: int, tally: Tally
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._began = clock()
        self._total = total
        self._before = tally.links
        self._tally = tally
        self._waiting_for: str | None = None

    def has_read(self, tally: Tally) -> None:
        """Say what is there now."""
        self._tally = tally
        self._waiting_for = None
        self._say()

    def waits_for(self, what: str) -> None:
        """Say what it waits for from now on."""
        if what != self._waiting_for:
            self._waiting_for = what
            self._say()

    def _say(self) -> None:
        if self._tell is not None:
            self._tell(self._progress())

    def _progress(self) -> Progress:
        seconds = self._clock() - self._began
        rate = (self._tally.links - self._before) / seconds if seconds > 0 else 0.0
        # Links may have been added since they were counted.
        left = max(0, self._total - self._tally.links - self._tally.unreadable)
        return Progress(
            links=self._tally.links,
            total=self._total,
            findings=self._tally.findings,
            unreadable=self._tally.unreadable,
            seconds=seconds,
            rate=rate,
            remaining=left / rate if rate > 0 else None,
            waiting_for=self._waiting_for,
        )


class Line:
    """The gate that every request of an audit passes: it tells when they wait their turn.

    Args:
        pace: is told.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._standing = 0

    async def before_turn(self) -> None:
        """Count one in."""
        self._standing += 1
        self._pace.waits_for("rate limit")

    async def before_sending(self) -> None:
        """Count one out."""
        self._standing -= 1
        if not self._standing:
            self._pace.waits_for("service")
