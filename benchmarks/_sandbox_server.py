"""A simulator in a process of its own, which is told by its standard input what to change and to report.

Run as a process, it prints one line of JSON when it serves and one after each order, until its input ends.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

import attrs

from belvo_links.sandbox import Sandbox

_RECORDED: Final = 100  # requests; a benchmark sends more than anybody looks at


@attrs.frozen(kw_only=True)
class Started:
    """What a simulator says when it serves.

    Attributes:
        url: its address.
        keys: secret id and secret password.
        adding: seconds that its links took.
        sample: a link from the middle, as the API shows it.
    """

    url: str
    keys: tuple[str, str]
    adding: float
    sample: dict[str, str | None]


@attrs.frozen(kw_only=True)
class Usage:
    """What its process has used: seconds of processor time so far, and memory at most, in MiB."""

    cpu: float
    memory: float


class Remote:
    """A simulator in another process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._orders, self._answers = _pipes(process)
        self.started = Started(**json.loads(self._answers.readline()))

    def _order(self, *words: str) -> str:
        self._orders.write(" ".join(words) + "\n")
        self._orders.flush()
        return self._answers.readline()

    def change(self) -> None:
        """Change the status of the sample, so that nothing found before can be used again."""
        self._order("change")

    def advance(self, days: int) -> None:
        """Let time pass."""
        self._order("advance", str(days))

    def usage(self) -> Usage:
        """What its process has used."""
        return Usage(**json.loads(self._order("usage")))


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


@contextmanager
def running(links: int) -> Iterator[Remote]:
    """Serve a simulator with so many links from a process of its own."""
    command = [sys.executable, "-m", "benchmarks._sandbox_server", str(links)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Remote(process)
        _pipes(process)[0].close()


def _memory() -> float:
    """The most that this process has held, in MiB: the system counts KiB, that of Apple bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10


def _carry_out(box: Sandbox, link_id: str, order: list[str]) -> dict[str, float]:
    match order:
        case ["change"]:
            link = box.link(link_id) or {}
            box.set_status(link_id, "token_required" if link["status"] == "valid" else "valid")
        case ["advance", days]:
            box.advance(days=int(days))
        case _:
            return {"cpu": time.process_time(), "memory": _memory()}
    return {}


async def serve(links: int) -> None:
    """Serve until the input ends."""
    async with Sandbox(record_limit=_RECORDED) as box:
        began = time.perf_counter()
        link_id = box.add_links(links)[links // 2]
        adding = time.perf_counter() - began
        sample = box.link(link_id)
        print(json.dumps({"url": box.url, "keys": box.keys[0], "adding": adding, "sample": sample}), flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(_carry_out(box, link_id, line.split())), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
