"""Log in with a callback that asks the person for the token: the way of scripts, tools and bots.

Without keys, a simulator of Belvo's API is started for as long as the script runs::

    python examples/callback.py                       # asks; the simulator's token is 111111
    python examples/callback.py --user sim_mfa_chain  # asks twice
    python examples/callback.py --user sim_mfa_inputless  # asks nothing: the person confirms elsewhere
    python examples/callback.py --token 111111        # asks nobody, for a first look and for tests

With keys of Belvo's sandbox, the same against Belvo::

    export BELVO_SECRET_ID=... BELVO_SECRET_PASSWORD=... BELVO_ENVIRONMENT=sandbox
    python examples/callback.py
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from belvo_links import (
    BelvoLinks,
    BelvoLinksError,
    ChallengeAbandonedError,
    ChallengeCallback,
    Credentials,
    PendingSession,
)
from belvo_links.sandbox import Sandbox

PASSWORDS = {"mfa_default": "pass_valid", "mfa_numeric": "numeric_code", "mfa_qr": "qr_code"}
"""Belvo publishes these users of its sandbox. Yours are not written into a script."""

KEYS = ("BELVO_SECRET_ID", "BELVO_SECRET_PASSWORD", "BELVO_ENVIRONMENT", "BELVO_BASE_URL")
HAS_KEYS = any(name in os.environ for name in KEYS)


@asynccontextmanager
async def belvo_or_simulator() -> AsyncIterator[BelvoLinks]:
    """Give a client of Belvo where BELVO_... variables are set, and otherwise one of a simulator."""
    if HAS_KEYS:
        async with BelvoLinks.from_env() as belvo:
            yield belvo
        return
    async with (
        Sandbox() as box,
        BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, **box.client_options) as belvo,
    ):
        yield belvo


def show(pending: PendingSession) -> None:
    """Print what the bank asks for."""
    challenge = pending.challenge
    print(f"The bank asks (round {pending.round}): {challenge.instructions}")
    if challenge.value:
        print(f"It shows: {challenge.value if challenge.qr is None else 'a QR code'}")
    print(f"There are {pending.seconds_left / 60:.0f} minutes to answer.")


async def ask_person(pending: PendingSession) -> str | None:
    """Show the challenge and read the token; `None` means that the person confirms in the bank's app."""
    show(pending)
    if not pending.challenge.expects_user_input:
        print("Confirm it there; this script waits.")
        return None
    # In a thread, so that the event loop goes on and notices what happens to its connections.
    return (await asyncio.to_thread(input, "Token: ")).strip()


def answer_with(token: str) -> ChallengeCallback:
    """Return a callback that asks nobody."""

    async def answer(pending: PendingSession) -> str | None:
        show(pending)
        return token if pending.challenge.expects_user_input else None

    return answer


async def main() -> int:
    parser = argparse.ArgumentParser(description="Log in, and answer what the bank asks.")
    parser.add_argument("--user", default="mfa_numeric", help="a user of the sandbox (default: %(default)s)")
    parser.add_argument("--token", help="do not ask; for the simulator alone, since others can read a command line")
    given = parser.parse_args()
    if given.token is not None and HAS_KEYS:
        parser.error("--token is for the simulator: a real one does not belong in a command line")

    try:
        async with belvo_or_simulator() as belvo:
            link = await belvo.register(
                "heimdall_mx_retail",
                Credentials(given.user, PASSWORDS.get(given.user, "any")),
                access_mode="single",
                on_challenge=ask_person if given.token is None else answer_with(given.token),
            )
    except ChallengeAbandonedError as error:  # the callback failed; the session could still be completed
        print(f"Nobody answered: {error}", file=sys.stderr)
        return 1
    except (BelvoLinksError, ValueError) as error:  # a ValueError says which value, or which variable is missing
        print(error, file=sys.stderr)
        return 1
    print(f"Link {link.id} is {link.status}.")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
