"""What the servers decide, once more and in plain Python, without a clock: what the scripts are compared with."""

from __future__ import annotations

import attrs


@attrs.define
class Model:
    """A window and a line, in microseconds.

    Attributes:
        window: until when each ticket counts.
        line: who waits: lane, arrival, ticket, and until when the place is kept.
    """

    window: dict[str, int] = attrs.field(factory=dict)
    line: list[tuple[int, int, str, int]] = attrs.field(factory=list)
    _arrivals: int = 0

    def ask(self, now: int, ticket: str, lane: int, *, allowance: int, length: int, patience: int) -> int:
        """Count it or keep its place; return the wait."""
        self._refresh(now, length)
        self.line = [one for one in self.line if now < one[3] <= now + patience]
        if ticket in self.window:
            self.window[ticket] = now + length
            return 0
        mine = next((one for one in self.line if one[2] == ticket), None)
        if mine is None:
            self._arrivals += 1
            mine = (lane, self._arrivals, ticket, 0)
        others = [one for one in self.line if one[2] != ticket]
        excess = len(self.window) + sum(one < mine for one in others) - allowance
        if excess < 0:
            self.line = others
            self.window[ticket] = now + length
            return 0
        self.line = [*others, (*mine[:3], now + patience)]
        return self._until_room(now, length, excess)

    def withdraw(self, ticket: str) -> None:
        """Forget it."""
        self.window.pop(ticket, None)
        self.line = [one for one in self.line if one[2] != ticket]

    def report(self, now: int, ticket: str, age: int, *, length: int) -> None:
        """Count what was let in elsewhere."""
        self._refresh(now, length)
        self.line = [one for one in self.line if one[2] != ticket]
        if age < length:
            self.window.setdefault(ticket, now + length - age)

    def reserve(self, now: int, ticket: str, *, requests: int, length: int) -> int:
        """Count it if there is room; return the wait."""
        self._refresh(now, length)
        excess = len(self.window) - requests
        if excess >= 0 and ticket not in self.window:
            return self._until_room(now, length, excess)
        self.window[ticket] = now + length
        return 0

    def _refresh(self, now: int, length: int) -> None:
        self.window = {one: min(ends, now + length) for one, ends in self.window.items() if ends > now}

    def _until_room(self, now: int, length: int, excess: int) -> int:
        ends = sorted(self.window.values())
        return ends[excess] - now if excess < len(ends) else length
