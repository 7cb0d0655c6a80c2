"""A process that carries a plan out, until it is done or killed.

One line of its input is the order, its keys are in the environment; it says "ready" before it begins.
"""

import asyncio
import json
import sys
from collections.abc import Callable

from belvo_links import BelvoLinks
from belvo_links.audit import Plan, plan_delete, plan_refresh

PLANS: dict[str, Callable[[list[str]], Plan]] = {"delete": plan_delete, "refresh": plan_refresh}


async def main() -> None:
    async with BelvoLinks.from_env(rate_limit=None) as belvo:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        order = json.loads(await asyncio.to_thread(sys.stdin.readline))
        plan = PLANS[order["kind"]](order["ids"])
        await plan.run(belvo, journal=order["journal"], dry_run=False, concurrency=order["concurrency"])


if __name__ == "__main__":
    asyncio.run(main())
