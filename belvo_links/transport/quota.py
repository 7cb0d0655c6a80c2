"""Counting a call against what the service limits of its kind."""

from __future__ import annotations

import asyncio
import secrets
from typing import Self, TypeVar

from belvo_links.transport.base import Limiter, QuotaLimiter
from belvo_links.transport.messages import Operation, Quota, Response

T = TypeVar("T")


class Reservation:
    """One attempt of a call, counted against its quota until it is known to have had no effect.

    Args:
        quota: what is counted.
        limiter: who counts.

    Attributes:
        used: whether the service has done what it was asked.
    """

    def __init__(self, quota: Quota, limiter: QuotaLimiter) -> None:
        self.used = False
        self._quota = quota
        self._limiter = limiter
        self._ticket = secrets.token_hex(8)

    @classmethod
    def of(cls, operation: Operation[T], limiter: Limiter | None) -> Self | None:
        """Return one for the operation, or ``None`` where nobody counts."""
        if operation.quota is None or not isinstance(limiter, QuotaLimiter):
            return None
        return cls(operation.quota, limiter)

    async def wait(self) -> None:
        """Return when there is room, and count as of now.

        Raises:
            BelvoLinksError: there is none, and the quota is not one to wait for.
        """
        while (seconds := await self._limiter.reserve(self._quota, self._ticket)) > 0:
            if self._quota.too_early is not None:
                raise self._quota.too_early(seconds)
            await asyncio.sleep(seconds)

    def note(self, response: Response) -> None:
        """Take note of the reply."""
        self.used = 200 <= response.status < 300

    async def give_back(self) -> None:
        """Forget it: the call had no effect."""
        await self._limiter.give_back(self._quota, self._ticket)
