"""Begin a login in one process and complete it in another: the way of web backends and workers.

Both processes open the same SQLite file. The first one asks Belvo, keeps what is pending, prints its id and round, and
ends. The second one, a minute later or after a deployment, completes it. The token is read from the terminal or from a
pipe, never from the command line, which every user of the machine can read.

Start a simulator in a terminal of its own, and paste the variables that it prints::

    belvo-links sandbox

Then, in another one (the simulator's token is 111111)::

    python examples/two_processes.py begin pending.db
    python examples/two_processes.py complete pending.db ID ROUND

With BELVO_SECRET_ID, BELVO_SECRET_PASSWORD and BELVO_ENVIRONMENT=sandbox, it talks to Belvo's sandbox instead.
Send the same form twice, or the form of round 1 in round 2: nothing goes out. `--user sim_mfa_chain` has two rounds.
"""

import argparse
import asyncio
import sys

from belvo_links import (
    AlreadyClaimedError,
    AlreadySettledError,
    BelvoLinks,
    BelvoLinksError,
    ConnectError,
    Credentials,
    IndeterminateOutcomeError,
    Link,
    PendingSession,
)
from belvo_links.stores import SqliteStore

PASSWORDS = {"mfa_default": "pass_valid", "mfa_numeric": "numeric_code"}
"""Belvo publishes these users of its sandbox. Yours come from a form."""


def show(outcome: Link | PendingSession) -> None:
    """Print what has been reached: a link, or the form that a page would show."""
    match outcome:
        case Link():
            print(f"Link {outcome.id} is {outcome.status}.")
        case PendingSession():
            challenge = outcome.challenge
            value = "(a QR code)" if challenge.qr else challenge.value or ""
            print(f"The bank asks: {challenge.instructions} {value}".rstrip())
            print(f"Answer until {outcome.expires_at:%H:%M:%S} UTC:")
            print(f"id {outcome.id}\nround {outcome.round}")


async def begin(belvo: BelvoLinks, user: str) -> None:
    """The request that begins: log in, and keep what the bank asks for."""
    password = PASSWORDS.get(user, "any")
    show(await belvo.register("heimdall_mx_retail", Credentials(user, password), access_mode="single"))


async def complete(belvo: BelvoLinks, pending_id: str, number: int) -> None:
    """The request that completes: read the token, and submit it for the round that the person was shown."""
    pending = await belvo.pending(pending_id)  # a page compares `pending.correlation` with who is logged in
    token = None
    if pending.challenge.expects_user_input:
        print("Token: ", end="", flush=True)
        token = (await asyncio.to_thread(sys.stdin.readline)).strip()
    show(await belvo.complete(pending_id, token, round=number))


async def run(given: argparse.Namespace) -> int:
    try:
        async with BelvoLinks.from_env(store=SqliteStore(given.store)) as belvo:
            if given.command == "begin":
                await begin(belvo, given.user)
            else:
                await complete(belvo, given.id, given.round)
    except AlreadyClaimedError as error:
        print("Nothing was sent: this round was answered before, or is being answered now.", file=sys.stderr)
        if error.pending is not None and error.pending.round != given.round:
            show(error.pending)  # it was the form of a round that has passed: what the bank asks now
    except AlreadySettledError as error:
        print(f"Nothing was sent: it is {error.state} already, link {error.link_id}.", file=sys.stderr)
    except ConnectError:
        print("Nothing was sent: there is no connection. Try again; a token may still be used.", file=sys.stderr)
    except IndeterminateOutcomeError:
        print("It was sent, and the answer was lost: reconcile() can look later.", file=sys.stderr)
    except (BelvoLinksError, ValueError) as error:  # a ValueError says which value, or which variable is missing
        print(error, file=sys.stderr)
    else:
        return 0
    return 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Begin a login here, complete it there.")
    commands = parser.add_subparsers(dest="command", required=True)
    beginning = commands.add_parser("begin", help="log in")
    beginning.add_argument("store", help="the SQLite file, made where it is missing")
    beginning.add_argument("--user", default="mfa_numeric", help="a user of the sandbox (default: %(default)s)")
    completing = commands.add_parser("complete", help="submit a token, read from the terminal or a pipe")
    completing.add_argument("store", help="the same file")
    completing.add_argument("id", help="what `begin` printed")
    completing.add_argument("round", type=int, help="likewise")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(run(arguments())))
