"""How many requests may go out: an exact sliding window, without a clock of its own.

Belvo asked for at most 80 requests in 30 seconds and blocks addresses that send more (documentation section 13). Exact
means that no window of that length, wherever it begins, holds more.
"""

from __future__ import annotations

import math
from collections import deque

import attrs

from belvo_links.transport.messages import Lane


@attrs.frozen
class RateLimit:
    """So many requests in so many seconds, counted over every window of that length.

    Attributes:
        requests: how many, at least 1.
        seconds: the length of the window.
    """

    requests: int = attrs.field(default=80)
    seconds: float = attrs.field(default=30.0)

    @requests.validator
    def _check_requests(self, _: object, value: int) -> None:
        if value < 1:
            msg = "requests: give 1 or more"
            raise ValueError(msg)

    @seconds.validator
    def _check_seconds(self, _: object, value: float) -> None:
        if not (value > 0 and math.isfinite(value)):
            msg = "seconds: give more than 0"
            raise ValueError(msg)

    def allowance(self, lane: Lane) -> int:
        """Return how many requests a window may hold when one of this lane is let in; at least 1.

        Bulk work leaves a quarter free, rounded up, for calls that somebody waits for.
        """
        if lane is not Lane.BULK:
            return self.requests
        return max(1, self.requests - math.ceil(self.requests / 4))


class SlidingWindow:
    """The moments of the requests of the last window.

    Args:
        limit: how many are allowed.
    """

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._moments: deque[float] = deque()

    def wait(self, now: float, lane: Lane) -> float:
        """Return the seconds until a request of this lane may go out; 0 means now.

        Args:
            now: a monotonic time in seconds, never less than in earlier calls.
            lane: whose turn it is.
        """
        while self._moments and self._moments[0] + self.limit.seconds <= now:
            self._moments.popleft()
        excess = len(self._moments) - self.limit.allowance(lane)
        return 0.0 if excess < 0 else self._moments[excess] + self.limit.seconds - now

    def take(self, now: float) -> None:
        """Count a request that goes out now."""
        self._moments.append(now)

    def give_back(self, moment: float) -> None:
        """Forget a request that was counted at that moment but never went out."""
        if moment in self._moments:
            self._moments.remove(moment)
