"""The scenes of the demo that need a second process: one completes a login, one is killed while it does."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import attrs

from belvo_links.cli.continue_login import TIMEOUTS
from belvo_links.cli.stage import (
    RIGHT,
    Outcome,
    PromiseBrokenError,
    Stage,
    ask,
    challenged,
    linked,
    promise,
    short,
    shown,
)
from belvo_links.client.links import BelvoLinks
from belvo_links.client.pending import PendingSession
from belvo_links.errors import AlreadyClaimedError, AlreadySettledError, IndeterminateOutcomeError, MfaError
from belvo_links.protocol.credentials import Credentials
from belvo_links.protocol.mfa import PendingState
from belvo_links.sandbox.faults import Fault
from belvo_links.stores.sqlite import SqliteStore
from belvo_links.wire import JsonValue

AT_MOST: Final = 30.0
"""Seconds that the other process may take for anything; far more than a slow machine needs."""
NEVER: Final = 3600.0
"""Seconds that the bank takes for its answer to the process that is killed."""
LOOKS: Final = 0.02
"""Seconds between two looks at something that is about to happen."""


@attrs.frozen
class Kept:
    """What two processes share: a client of this one, and the file in which it keeps pending sessions."""

    belvo: BelvoLinks
    path: Path


@asynccontextmanager
async def on_disk(stage: Stage) -> AsyncIterator[Kept]:
    """Give a client that keeps pending sessions in a file of a temporary folder, which does not stay."""
    box = stage.box
    with TemporaryDirectory(prefix="belvo-links-demo-") as folder:
        path = Path(folder, "pending.db")
        store = SqliteStore(path)
        client = BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, store=store, **box.client_options)
        async with client as belvo:
            yield Kept(belvo, path)


@asynccontextmanager
async def another_process(stage: Stage, kept: Kept, pending: PendingSession) -> AsyncIterator[Process]:
    """Start a process that will complete a pending session, and see to it that it does not stay."""
    # A user's own keys and environment must not get in between.
    mine = {name: value for name, value in os.environ.items() if not name.startswith("BELVO_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "belvo_links.cli.continue_login", str(kept.path), pending.id, str(pending.round)),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={**mine, **stage.box.env},
    )
    try:
        yield process
    finally:
        await kill(process)


async def kill(process: Process) -> None:
    """End a process at once, if it has not ended, and wait for its end."""
    if process.stdin is not None:
        process.stdin.close()
    with suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


def type_into(process: Process, token: str) -> None:
    """Give a process the token, through its standard input."""
    if process.stdin is not None:  # it is a pipe
        process.stdin.write(f"{token}\n".encode())
        process.stdin.close()


async def said_by(process: Process) -> dict[str, JsonValue]:
    """Return what a process has printed, once it has ended well."""
    try:
        async with asyncio.timeout(AT_MOST):
            out, err = await process.communicate()
    except TimeoutError:
        raise PromiseBrokenError("the other process does not come to an end") from None
    promise(process.returncode == 0, f"the other process has failed: {_last_line(err)}")
    said: dict[str, JsonValue] = json.loads(out)
    return said


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").splitlines()
    return lines[-1].strip() if lines else "it does not say why"


async def until(reached: Callable[[], bool], process: Process) -> None:
    """Wait for something that a process brings about."""
    with suppress(TimeoutError):
        async with asyncio.timeout(AT_MOST):
            while process.returncode is None and not reached():  # noqa: ASYNC110 - the simulator tells nobody
                await asyncio.sleep(LOOKS)
    promise(process.returncode is None, "the other process ended before it could be killed")
    promise(reached(), "the other process has not come far enough to be killed")


async def handed_over(stage: Stage) -> Outcome:
    """A login begins in this process, and another one completes it."""
    async with on_disk(stage) as kept:
        credentials = Credentials("mfa_default", "pass_valid")
        pending = challenged(await ask(kept.belvo, "gotham_br_business", credentials, "user-7"), "text")
        async with another_process(stage, kept, pending) as other:
            type_into(other, RIGHT)
            said = await said_by(other)
        promise(said["process"] != os.getpid(), "the other process is this one")
        promise(said["link"] == pending.link_id, "the other process got another link")
        promise(said["status"] == "valid", f"the other process got {said['status']}")
        refused = await refusal(kept.belvo, pending.id)
        promise(isinstance(refused, AlreadySettledError), f"a second completion raised {type(refused).__name__}")
    link = linked(stage, await stage.belvo.get(pending.link_id))
    return Outcome(
        f"{short(link)} is {link.status}: begun here, completed there.",
        {"processes": [os.getpid(), said["process"]], "refused_with": "AlreadySettledError", "link": shown(link)},
        events=(
            f"Process {os.getpid()}, this one, registers and keeps the pending session in a file.",
            f"Process {said['process']} opens the file, submits {RIGHT} and gets the link.",
            "Here, the same completion raises AlreadySettledError and sends nothing; get() has the link.",
        ),
    )


async def killed(stage: Stage) -> Outcome:
    """A process dies after the bank's yes and before it could note that; this one finds out."""
    async with on_disk(stage) as kept:
        credentials = Credentials("mfa_default", "pass_valid")
        pending = challenged(await ask(kept.belvo, "heimdall_co_retail", credentials, "user-8"), "text")
        stage.box.inject(Fault.delay_after(NEVER), method="PATCH", template="/api/links/")
        async with another_process(stage, kept, pending) as other:
            type_into(other, RIGHT)
            await until(lambda: _is_valid(stage, pending.link_id), other)
            await kill(other)
        claimed = await refusal(kept.belvo, pending.id)
        promise(isinstance(claimed, AlreadyClaimedError), f"at once, completing raised {type(claimed).__name__}")
        state = await state_after_the_lease(kept.belvo, pending.id)
        promise(state is PendingState.INDETERMINATE, f"after the lease, the pending session is {state}")
        unknown = await refusal(kept.belvo, pending.id)
        promise(isinstance(unknown, IndeterminateOutcomeError), f"then, completing raised {type(unknown).__name__}")
        link = linked(stage, await pending.reconcile())
    return Outcome(
        f"{short(link)} is {link.status}: nothing is lost, and the token went out once.",
        {
            "refused_with": ["AlreadyClaimedError", "IndeterminateOutcomeError"],
            "lease_seconds": TIMEOUTS.lease(),
            "state_after_the_lease": str(state),
            "link": shown(link),
        },
        events=(
            f"Process {other.pid} sends {RIGHT}, the bank accepts it, and the process is killed.",
            "At once: it is claimed. complete() raises AlreadyClaimedError.",
            f"After the claim's {TIMEOUTS.lease():g} s: {state}. complete() raises IndeterminateOutcomeError.",
            "reconcile() asks for the link, and finds it valid.",
        ),
    )


async def refusal(belvo: BelvoLinks, pending_id: str) -> MfaError | None:
    """Return how the SDK refuses to submit the token."""
    try:
        await belvo.complete(pending_id, RIGHT)
    except MfaError as error:
        return error
    return None


async def state_after_the_lease(belvo: BelvoLinks, pending_id: str) -> PendingState:
    """Wait while somebody has claimed a pending session, and return its state then."""
    state = PendingState.SUBMITTING
    with suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUTS.lease() + AT_MOST):
            while (state := (await belvo.pending(pending_id)).state) is PendingState.SUBMITTING:  # noqa: ASYNC110 - time
                await asyncio.sleep(LOOKS)
    return state


def _is_valid(stage: Stage, link_id: str) -> bool:
    link = stage.box.link(link_id)
    return link is not None and link["status"] == "valid"
