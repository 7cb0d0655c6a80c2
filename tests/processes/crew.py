"""Worker processes that share one store, and what the simulator has seen of them."""

import asyncio
import contextlib
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from belvo_links import BelvoLinks, Credentials, Link, PendingSession, Timeouts
from belvo_links.sandbox import Sandbox
from tests.processes.place import Place

PROVING = os.environ.get("BELVO_LINKS_PROVE") == "1"
"""Whether to run in full size."""

PATIENCE = 600.0 if PROVING else 45.0
"""Seconds after which something that should have happened is given up."""

LIMIT = 1800 if PROVING else 60
"""Seconds for a whole test."""

TOKEN = "111111"
INSTITUTION = "heimdall_mx_retail"
AT_ONCE = 20
LINKS = "/api/links/"

TIMEOUTS = Timeouts(read=10, login=1.5, connect=0.4, pool_wait=0.4, lease_slack=0.2)
"""Short ones, since the claim of a process that died lasts as long as all of them together."""


def size(*, usual: int, full: int) -> int:
    """Return how many of something: the usual number, or the full one where it was asked for."""
    return full if PROVING else usual


async def until(reached: Callable[[], bool], patience: float = PATIENCE) -> bool:
    """Wait for something that this process sees, for a bounded time, and return whether it has happened."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + patience
    while not reached():
        if loop.time() >= ends:
            return False
        await asyncio.sleep(0.002)
    return True


class Worker:
    """One process of `worker`. It does what it is told, one order after the other.

    Attributes:
        process: the process.
        said: what it had said, when it ended, that nobody had read.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[list[Any]] = []

    def kill(self) -> None:
        """SIGKILL, at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def tell(self, **order: object) -> None:
        """Give an order. The line fits into the pipe or waits in our own memory."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")

    async def says(self) -> Any:
        """Return what it reports; `None` if it is dead."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await self.process.stdout.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    async def end(self) -> int:
        """Let it end, whether it has died or waits for orders, and return its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(PATIENCE):
            output, _ = await self.process.communicate()
        self.said += [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]
        return await self.process.wait()


class Crew:
    """Processes on one store, and the client of this process on the same store."""

    def __init__(self, box: Sandbox, place: Place) -> None:
        self.box = box
        self.place = place
        self.belvo = BelvoLinks.from_env(
            box.env, store=place.open(), rate_limit=None, timeouts=TIMEOUTS, clock=box.clock
        )
        self._workers: list[Worker] = []

    async def hire(self, number: int = 1) -> list[Worker]:
        """Start processes and wait until they have loaded everything."""
        workers = [await self._start() for _ in range(number)]
        for worker in workers:
            assert await worker.says() == "ready"
        return workers

    async def _start(self) -> Worker:
        # The keys go through the environment and everything else through the pipe: others can read an argv.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "tests.processes.worker"),
            cwd=Path(__file__).parents[2],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | self.box.env,
        )
        worker = Worker(process)
        self._workers.append(worker)
        worker.tell(place=attrs.asdict(self.place), timeouts=attrs.asdict(TIMEOUTS))
        return worker

    async def dismiss(self) -> None:
        """Kill whoever is left, and close this process's client."""
        for worker in self._workers:
            if worker.process.returncode is None:
                worker.kill()
        for worker in self._workers:
            await worker.end()
        await self.belvo.aclose()

    async def register(self, number: int, username: str = "mfa_default") -> list[PendingSession]:
        """Begin registrations that meet a challenge."""
        credentials = Credentials(username, "pass_valid")
        slots = asyncio.Semaphore(AT_ONCE)

        async def one() -> PendingSession:
            async with slots:
                return pending(await self.belvo.register(INSTITUTION, credentials, access_mode="single"))

        return await asyncio.gather(*(one() for _ in range(number)))

    async def update(self, number: int) -> list[PendingSession]:
        """Begin updates that meet a challenge, of single links that are valid before."""
        begun = []
        for _ in range(number):
            credentials = Credentials("sim_mfa_update", "first")
            link = await self.belvo.register(INSTITUTION, credentials, access_mode="single")
            assert isinstance(link, Link)
            begun.append(pending(await self.belvo.update(link.id, Credentials(password="second"))))
        return begun

    def completes(self) -> list[dict[str, Any]]:
        """Return the bodies of all Completes that the simulator has received."""
        return [
            received.body
            for received in self.box.requests
            if (received.method, received.template) == ("PATCH", LINKS) and isinstance(received.body, dict)
        ]

    def submissions(self) -> Counter[tuple[str, str]]:
        """Return how often each round was submitted: the simulator gives every round a session of its own."""
        return Counter((body["link"], body["session"]) for body in self.completes())

    def status(self, link_id: str) -> object:
        """Return the status of a link at the simulator."""
        link = self.box.link(link_id)
        return None if link is None else link["status"]


def pending(outcome: Link | PendingSession) -> PendingSession:
    """Return the pending session that a call has led to."""
    assert isinstance(outcome, PendingSession)
    return outcome


def seeded(*parts: object) -> random.Random:
    """Return a generator for one purpose, the same in every run."""
    return random.Random("-".join(map(str, parts)))
