"""The other process of the demo: completes one login that waits in an SQLite file, and prints what it got.

    python -m belvo_links.cli.continue_login FILE ID ROUND

Address and keys are in its environment, and the token comes through its standard input: everybody on a machine can
read the arguments of a process. It prints one line of JSON. It needs somebody who feeds it and a server that answers,
so it ends by itself soon after the process that has started it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from typing import Final

from belvo_links.cli.exits import Exit
from belvo_links.client.links import BelvoLinks
from belvo_links.errors import BelvoLinksError
from belvo_links.protocol.models import Link
from belvo_links.stores.sqlite import SqliteStore
from belvo_links.transport.timeouts import Timeouts

TIMEOUTS: Final = Timeouts(read=5, pool_wait=0.4, connect=0.4, login=1.0, lease_slack=0.2)
"""Far too short for banks: a claim lasts as long as these together, and the demo waits for one to run out."""


async def complete(path: str, pending_id: str, round_: int, token: str) -> int:
    """Submit the token, print what came of it, and return the exit code.

    Args:
        path: the SQLite file.
        pending_id: the ``id`` of the pending session in it.
        round_: the round that the token is for.
        token: what the person has typed.
    """
    try:
        async with BelvoLinks.from_env(store=SqliteStore(path), timeouts=TIMEOUTS) as belvo:
            result = await belvo.complete(pending_id, token, round=round_)
    except (BelvoLinksError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return Exit.FAILED
    link_id, status = (
        (result.id, str(result.status)) if isinstance(result, Link) else (result.link_id, f"round {result.round}")
    )
    print(json.dumps({"process": os.getpid(), "link": link_id, "status": status}))
    return Exit.DONE


def main(arguments: Sequence[str]) -> int:
    """Read the token and go on; where none comes, whoever was to give it has gone."""
    token = sys.stdin.readline().strip()
    if not token:
        return Exit.FAILED
    path, pending_id, round_ = arguments
    return asyncio.run(complete(path, pending_id, int(round_), token))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
