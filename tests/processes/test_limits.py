"""Several processes under one limit: the service never counts more, and who completes a login does not wait."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from belvo_links import Lane, RateLimit
from belvo_links.limits import PostgresLimiter
from belvo_links.sandbox import Sandbox
from tests.processes.crew import LIMIT, PROVING

pytestmark = [pytest.mark.prove, pytest.mark.timeout(LIMIT)]

PROCESSES = 8
RATE = RateLimit(80, 30) if PROVING else RateLimit(40, 2)
SECONDS = 100 if PROVING else 6
EVERY = 4 if PROVING else 0.7
"""Seconds between two logins: each takes two requests of the quarter that bulk work leaves free."""


class Scanner:
    """One process of `scanning.py`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def tell(self, order: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")

    async def says(self) -> Any:
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS + 60):
            return json.loads(await self.process.stdout.readline())

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


@pytest.fixture(params=["redis", "postgres"])
async def setup(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Where the limiter is."""
    where: dict[str, Any] = {"kind": request.param, "limit": [RATE.requests, RATE.seconds]}
    if request.param == "redis":
        address, name = request.getfixturevalue("redis_url"), request.getfixturevalue("redis_namespace")
    else:
        address, name = request.getfixturevalue("private_postgres").dsn, "shared_limits"
        async with PostgresLimiter(address, table=name) as limiter:
            await limiter.create()
    return {**where, "address": address, "name": name}


@pytest.fixture
async def scanners(box: Sandbox, setup: dict[str, Any]) -> AsyncIterator[list[Scanner]]:
    """Processes that have loaded everything; none outlives the test."""
    started: list[Scanner] = []
    try:
        for _ in range(PROCESSES):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "error", str(Path(__file__).with_name("scanning.py"))),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=os.environ | box.env,
            )
            started.append(Scanner(process))
            started[-1].tell(setup)
        for scanner in started:
            assert await scanner.says() == "ready"
        yield started
    finally:
        for scanner in started:
            await scanner.end()


async def test_eight_processes_stay_within_one_limit_and_nobody_waits_to_complete_a_login(
    box: Sandbox, scanners: list[Scanner], setup: dict[str, Any], tell: Callable[[str], None]
) -> None:
    """While all of them read as fast as they may, each gets its part, and what they leave free is free."""
    box.add_links(400)
    for number, scanner in enumerate(scanners):
        scanner.tell({"seconds": SECONDS, "every": EVERY if number == 0 else None})
    done = [await scanner.says() for scanner in scanners]
    peak, waits, pages = box.peak_requests(RATE.seconds), done[0]["waits"], [one["pages"] for one in done]
    tell(
        f"{setup['kind']}: {PROCESSES} processes, {RATE.requests} in {RATE.seconds:g} s for {SECONDS} s:"
        f" {box.count()} requests, at most {peak} in any window; pages by process {sorted(pages)};"
        f" {len(waits)} logins completed, each in at most {max(waits):.3f} s"
    )
    assert peak <= RATE.requests
    assert max(waits) < 1
    assert len(waits) >= SECONDS / EVERY / 2
    windows = SECONDS / (RATE.seconds + 0.5)
    assert box.count("GET") > 0.6 * windows * RATE.allowance(Lane.BULK)
    assert min(pages) > 0.5 * max(pages)
