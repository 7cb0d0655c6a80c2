"""A process that audits: it says that it is ready, and reads its order as one line of JSON."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from belvo_links import BelvoLinks
from belvo_links.audit import CheckContext, audit


async def run(order: dict[str, Any]) -> None:
    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=order["ahead"])

    async with BelvoLinks.from_env(rate_limit=None, clock=clock) as belvo:
        await audit(
            belvo,
            checkpoint=order["checkpoint"],
            context=CheckContext(now=datetime.fromisoformat(order["now"])),
            page_size=order["page_size"],
            pseudonymise=order["key"],
        )


if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    asyncio.run(run(json.loads(sys.stdin.readline())))
