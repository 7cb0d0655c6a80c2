"""How the benchmarks measure: in turn, with a clean heap, and imports in fresh interpreters."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import attrs

Job = Callable[[], Awaitable[object]]


@attrs.frozen
class Spent:
    """What one run of a job took, in seconds."""

    wall: float
    cpu: float


async def spend(job: Job) -> Spent:
    """Run a job once, with a clean heap before."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    await job()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


async def interleaved(jobs: dict[str, Job], rounds: int) -> dict[str, list[Spent]]:
    """Run all jobs in turn, so that a noisy neighbour disturbs them alike; the first round warms up."""
    spent: dict[str, list[Spent]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            took = await spend(job)
            if number:
                spent[name].append(took)
    return spent


async def repeat(call: Job, times: int) -> None:
    """Call one after the other."""
    for _ in range(times):
        await call()


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios within each round."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def import_time(statement: str, cache: str) -> float:
    """How long an import takes in a fresh interpreter, in milliseconds.

    With a cache of compiled modules for all alike, since an installed package has one and a checkout may have none.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    program = f"import time; t = time.perf_counter(); {statement}; print((time.perf_counter() - t) * 1e3)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)
