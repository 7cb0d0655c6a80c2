"""What a process counts by itself while the server that counts for all cannot be reached."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from belvo_links.transport.limit import RateLimit
from belvo_links.transport.limiter import LocalLimiter
from belvo_links.transport.messages import Lane, Quota


class LocalShare(LocalLimiter):
    """This process's share of the limit, which begins with what the process has let in before.

    Args:
        limit: the share.
        moments: when requests were let in, by the loop's clock, oldest first.
    """

    def __init__(self, limit: RateLimit, moments: Iterable[float]) -> None:
        super().__init__(limit)
        for moment in moments:
            self._window.take(moment)

    async def admits(self, lane: Lane, patience: float) -> bool:
        """Wait at most so many seconds for a turn, and return whether there was one."""
        try:
            async with asyncio.timeout(patience):
                await self.acquire(lane)
        except TimeoutError:
            return False
        return True


class LocalQuotas:
    """The quotas as far as this process knows of them; what is over is forgotten with the next call."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, float]] = {}

    def reserve(self, quota: Quota, ticket: str, now: float) -> float:
        """Count a call if there is room.

        Args:
            quota: what is counted.
            ticket: names the call; asked again with the same, it counts as of now.
            now: a monotonic time in seconds.

        Returns:
            0 if it was counted; otherwise the seconds until there may be room.
        """
        self._forget_ended(now)
        held = self._held.get(quota.name, {})
        excess = len(held) - quota.requests
        if excess >= 0 and ticket not in held:
            return sorted(held.values())[excess] - now
        self.count(quota, ticket, now)
        return 0.0

    def count(self, quota: Quota, ticket: str, now: float) -> None:
        """Count a call that was let in elsewhere."""
        self._forget_ended(now)
        self._held.setdefault(quota.name, {})[ticket] = now + quota.seconds

    def give_back(self, quota: Quota, ticket: str) -> None:
        """Forget a call."""
        self._held.get(quota.name, {}).pop(ticket, None)

    def _forget_ended(self, now: float) -> None:
        left = {name: {one: ends for one, ends in held.items() if ends > now} for name, held in self._held.items()}
        self._held = {name: held for name, held in left.items() if held}
