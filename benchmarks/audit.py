"""What an audit takes from the application around it: memory, processor time, and turns of the event loop.

Run it from the top of the project; README.md beside it says how, and what the rows mean.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from benchmarks._sandbox_server import Remote, running

PAGE_SIZE: Final = 1000
CONCURRENCY: Final = 4
TICK: Final = 0.001
MOST_MEMORY: Final = 60
MOST_STALL: Final = 5
FULL: Final = (10_000, 100_000, 1_000_000)
QUICK: Final = (1_000, 3_000)

Job = Callable[[], Awaitable[object]]


# ------------------------------------------------------------------------------------ in a process for each measurement


def _held() -> float:
    """What this process holds now, in MiB; where the system does not say it, what it has held at most."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return _most()
    return int(status.read_text().split()[1]) * resource.getpagesize() / 2**20


def _most() -> float:
    """The most that this process has held, in MiB: the system counts KiB, that of Apple bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10


async def _lateness(job: Job) -> list[float]:
    """How late the event loop was for somebody who wanted a turn every millisecond while a job ran, in milliseconds."""
    late: list[float] = []
    running_job = asyncio.ensure_future(job())
    while not running_job.done():
        began = time.perf_counter()
        await asyncio.sleep(TICK)
        late.append((time.perf_counter() - began - TICK) * 1e3)
    await running_job
    return sorted(late)


def _spread(late: list[float]) -> dict[str, float]:
    return {"p50": late[len(late) // 2], "p99": late[len(late) * 99 // 100], "max": late[-1]}


def _session(keys: tuple[str, str]) -> aiohttp.ClientSession:
    authorization = base64.b64encode(":".join(keys).encode()).decode()
    return aiohttp.ClientSession(headers={"Authorization": f"Basic {authorization}"})


async def _bare(url: str, keys: tuple[str, str]) -> None:
    """List everything with aiohttp and msgspec's dicts, a page at a time."""
    async with _session(keys) as session:
        page, more = 1, True
        while more:
            async with session.get(f"{url}/api/links/", params={"page": page, "page_size": PAGE_SIZE}) as reply:
                found = msgspec.json.decode(await reply.read())
            page, more = page + 1, found["next"] is not None


async def _audit(url: str, keys: tuple[str, str]) -> float:
    """Audit everything with all checks; how many links that were."""
    from belvo_links import BelvoLinks
    from belvo_links.audit import audit

    async with BelvoLinks(*keys, base_url=url, rate_limit=None) as belvo:
        with await audit(belvo, page_size=PAGE_SIZE, concurrency=CONCURRENCY) as report:
            if not report.complete:
                raise ValueError(report.reason)
            return report.links


async def _memory(url: str, keys: tuple[str, str]) -> dict[str, float]:
    """What an audit takes beyond an interpreter that has aiohttp and a session that was used."""
    async with _session(keys) as session, session.get(f"{url}/api/links/", params={"page_size": 10}) as reply:
        await reply.read()
    before, cpu, wall = _held(), time.process_time(), time.perf_counter()
    links = await _audit(url, keys)
    spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return {"links": links, "memory": _most() - before, "before": before} | spent


async def _stall(
    url: str, keys: tuple[str, str], *, what: Callable[..., Awaitable[object]], collect: bool
) -> dict[str, float]:
    import_module("belvo_links.audit.run")  # what loading takes is another question
    gc.collect()
    if not collect:
        gc.disable()
    try:
        return _spread(await _lateness(lambda: what(url, keys)))
    finally:
        gc.enable()


async def _idle(url: str, keys: tuple[str, str]) -> None:
    """Do nothing: what the machine does to a loop by itself."""
    await asyncio.sleep(3)


_MEASURED: Final[dict[str, Callable[..., Awaitable[dict[str, float]]]]] = {
    "memory": _memory,
    "idle": lambda url, keys: _stall(url, keys, what=_idle, collect=True),
    "stall, collector on": lambda url, keys: _stall(url, keys, what=_audit, collect=True),
    "stall, collector off": lambda url, keys: _stall(url, keys, what=_audit, collect=False),
    "bare, collector on": lambda url, keys: _stall(url, keys, what=_bare, collect=True),
    "bare, collector off": lambda url, keys: _stall(url, keys, what=_bare, collect=False),
}


async def _measure(what: str, url: str, keys: tuple[str, str]) -> None:
    print(json.dumps(await _MEASURED[what](url, keys)))


# ------------------------------------------------------------------------------------------------- in the first process


def measured(what: str, remote: Remote) -> dict[str, float]:
    """Measure something in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.audit", "--measure", what, remote.started.url, *remote.started.keys]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(sizes: tuple[int, ...], rounds: int) -> dict[str, object]:
    """Measure everything: memory for each size, stalls for the one in the middle, the contestants in turn."""
    memory = []
    stalls: dict[str, dict[str, float]] = {}
    for links in sizes:
        with running(links) as remote:
            memory.append(measured("memory", remote))
            if links == sizes[len(sizes) // 2]:
                stalls = _stalls(remote, rounds)
    return {"memory": memory, "stalls": stalls, "where": where()}


def _stalls(remote: Remote, rounds: int) -> dict[str, dict[str, float]]:
    names = [name for name in _MEASURED if name != "memory"]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(measured(name, remote))
    return {
        name: {key: statistics.median(each[key] for each in several) for key in several[0]}
        for name, several in found.items()
    }


def where() -> dict[str, str]:
    """What it ran on."""
    return {"python": platform.python_version(), "aiohttp": version("aiohttp"), "msgspec": version("msgspec")}


def show(found: dict[str, object]) -> None:
    """Print tables."""
    memory, stalls = found["memory"], found["stalls"]
    assert isinstance(memory, list)
    assert isinstance(stalls, dict)
    print("| links | memory above aiohttp (<= 60 MiB) | CPU per 1,000 links | links/s |\n|---|---|---|---|")
    for row in memory:
        reached = "" if row["memory"] <= MOST_MEMORY else ", **missed**"
        thousands = row["links"] / 1000
        print(
            f"| {row['links']:,} | {row['memory']:.1f} MiB{reached} | {row['cpu'] / thousands * 1e3:.1f} ms "
            f"| {row['links'] / row['wall']:,.0f} |"
        )
    print("\n| how late a turn of the loop was | p50 | p99 | max |\n|---|---|---|---|")
    for name, row in stalls.items():
        print(f"| {name} | {row['p50']:.2f} ms | {row['p99']:.2f} ms | {row['max']:.1f} ms |")


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few links: shows that it runs")
    parser.add_argument("--json", action="store_true", help="print data instead of tables")
    parser.add_argument("--rounds", type=int, default=3, help="how many times stalls are measured")
    parser.add_argument("--links", type=int, nargs="+", help="other sizes")
    parser.add_argument("--measure", nargs=4, metavar=("WHAT", "URL", "ID", "PASSWORD"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        what, url, secret_id, secret_password = given.measure
        asyncio.run(_measure(what, url, (secret_id, secret_password)))
        return
    sizes = tuple(given.links) if given.links else QUICK if given.quick else FULL
    found = measure(sizes, 1 if given.quick else given.rounds)
    print(json.dumps(found)) if given.json else show(found)


if __name__ == "__main__":
    main()
