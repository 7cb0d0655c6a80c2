"""A process that reads links in bulk under a limit that it shares, and completes logins meanwhile.

The first line of its input says where the limiter is, the second how long to read; what it has done is one line.
"""

import asyncio
import contextlib
import json
import sys
from collections import Counter
from typing import Any

from belvo_links import BelvoLinks, Credentials, Lane, Observer, PendingSession, RateLimit
from belvo_links.limits import PostgresLimiter, RedisLimiter
from belvo_links.transport.observe import LimitWaited

TOKEN = "111111"
SCANS_AT_ONCE = 3


def limiter(setup: dict[str, Any]) -> RedisLimiter | PostgresLimiter:
    limit = RateLimit(*setup["limit"])
    if setup["kind"] == "redis":
        return RedisLimiter(setup["address"], limit, name=setup["name"])
    return PostgresLimiter(setup["address"], limit, table=setup["name"])


class Turns(Observer):
    """Counts the requests of each lane that were let in."""

    def __init__(self) -> None:
        self.let_in: Counter[Lane] = Counter()

    def limit_waited(self, event: LimitWaited) -> None:
        self.let_in[event.lane] += event.admitted


async def scan(belvo: BelvoLinks) -> None:
    """Read all links, again and again."""
    while True:
        async for _ in belvo.iterate(page_size=10):
            pass


async def log_in(belvo: BelvoLinks, every: float, waits: list[float]) -> None:
    """Complete a login from time to time, and note how long that takes."""
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(every)
        pending = await belvo.register(
            "heimdall_mx_retail", Credentials("mfa_default", "pass_valid"), access_mode="single"
        )
        assert isinstance(pending, PendingSession)
        began = clock()
        await pending.complete(TOKEN)
        waits.append(clock() - began)


async def main() -> None:
    setup = json.loads(sys.stdin.readline())
    waits: list[float] = []
    turns = Turns()
    async with limiter(setup) as shared, BelvoLinks.from_env(rate_limit=shared, observer=turns) as belvo:
        say("ready")
        order = json.loads(await asyncio.to_thread(sys.stdin.readline))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(order["seconds"]), asyncio.TaskGroup() as group:
                for _ in range(SCANS_AT_ONCE):
                    group.create_task(scan(belvo))
                if order["every"] is not None:
                    group.create_task(log_in(belvo, order["every"], waits))
        say({"pages": turns.let_in[Lane.BULK], "waits": waits})


def say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
