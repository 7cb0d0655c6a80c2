"""Webhooks on their way: sent, repeated, doubled, shuffled (documentation section 16.3)."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import aiohttp
from attrs import evolve, frozen

from .answers import encode
from .webhooks import Attempt, Notification, Webhooks

_SHORTEST_WAIT = 0.01


@frozen(order=False)
class Parcel:
    """One delivery that is to be made."""

    due: datetime
    notification: Notification
    tries: int = 1
    copies: int = 0
    """How often it has arrived already."""


class Courier:
    """Delivers notifications at the simulated time at which they are due, one after the other."""

    def __init__(self, seed: int, webhooks: Webhooks | None) -> None:
        self.webhooks = webhooks
        self._shuffle = random.Random(f"{seed} courier").shuffle
        self._queue: list[tuple[datetime, int, Parcel]] = []
        self._parcels = 0
        self._lock = asyncio.Lock()
        self._woken = asyncio.Event()
        self._client: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Belong to the loop that runs now; a sandbox may be started again in another one."""
        self._lock, self._woken = asyncio.Lock(), asyncio.Event()

    def take(self, notification: Notification) -> None:
        """Accept a notification for delivery; without a receiver it stays where it is."""
        if self.webhooks is not None:
            self._add(Parcel(notification.at, notification))

    def _add(self, parcel: Parcel) -> None:
        self._parcels += 1
        heapq.heappush(self._queue, (parcel.due, self._parcels, parcel))

    async def deliver(self, now: datetime) -> int:
        """Make all deliveries that are due, also repeats that come due by failing now; tells how many it were."""
        made = 0
        async with self._lock:
            while (config := self.webhooks) is not None and (batch := self._due(now, mixed=config.out_of_order)):
                for parcel in batch:
                    await self._deliver(parcel, config)
                made += len(batch)
        return made

    def _due(self, now: datetime, *, mixed: bool) -> list[Parcel]:
        batch: list[Parcel] = []
        while self._queue and self._queue[0][0] <= now and (mixed or not batch):
            batch.append(heapq.heappop(self._queue)[2])
        if mixed:
            self._shuffle(batch)
        return batch

    async def _deliver(self, parcel: Parcel, config: Webhooks) -> None:
        status = await self._send(config, encode(parcel.notification.payload))
        attempt = Attempt(parcel.due, status)
        parcel.notification.attempts.append(attempt)
        if attempt.arrived:
            if parcel.copies < config.duplicates:
                self._add(evolve(parcel, copies=parcel.copies + 1))
        elif parcel.tries <= config.repeats:
            pause = timedelta(seconds=parcel.tries * config.backoff_seconds)
            self._add(evolve(parcel, due=parcel.due + pause, tries=parcel.tries + 1))

    async def _send(self, config: Webhooks, body: bytes) -> int | None:
        headers = {"Content-Type": "application/json"}
        if config.authorization is not None:
            headers["Authorization"] = config.authorization
        if self._client is None:
            self._client = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        timeout = aiohttp.ClientTimeout(total=config.timeout)
        try:
            # A redirect is no 2xx, and might lead away from this machine.
            async with self._client.post(
                config.url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None

    def wake(self) -> None:
        """Look again: there is work, or it has become later."""
        self._woken.set()

    async def run(self, settle: Callable[[], datetime], next_work: Callable[[], datetime | None]) -> None:
        """Deliver what is due whenever something is, until cancelled."""
        while True:
            self._woken.clear()
            now = settle()
            await self.deliver(now)
            moments = [moment for moment in (next_work(), self._queue[0][0] if self._queue else None) if moment]
            wait = max((min(moments) - now).total_seconds(), _SHORTEST_WAIT) if moments else None
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()

    async def close(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
