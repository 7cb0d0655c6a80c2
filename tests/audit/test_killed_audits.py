"""Audits are killed at random moments: who goes on comes to the same result as if nothing had happened."""

import asyncio
import contextlib
import json
import os
import random
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from belvo_links import BelvoLinks
from belvo_links.audit import CheckContext, audit
from belvo_links.audit.runfile import RunFile
from belvo_links.sandbox import Sandbox
from tests.audit.found import NOW, fill
from tests.audit.process import waiting
from tests.audit.test_audit import held

PROVING = os.environ.get("BELVO_LINKS_PROVE") == "1"
KILLS = 200 if PROVING else 3
LINKS = 1200
PAGE_SIZE = 10
KEY = "k" * 32

pytestmark = [pytest.mark.prove, pytest.mark.timeout(3600 if PROVING else 60)]


async def kill(box: Sandbox, checkpoint: Path, *, requests: int, later: float) -> None:
    """Let a process audit, and kill it so many requests and seconds later."""
    order = {
        "ahead": (box.clock() - datetime.now(UTC)).total_seconds(),
        "checkpoint": str(checkpoint),
        "now": NOW.isoformat(),
        "page_size": PAGE_SIZE,
        "key": KEY,
    }
    async with waiting(box, "tests.audit.auditing") as process:
        assert process.stdin is not None
        begun = box.served
        process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(45):
            while box.served - begun < requests and process.returncode is None:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0.001)
        await asyncio.sleep(later)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def test_after_sigkill_the_result_is_that_of_an_uninterrupted_run(
    box: Sandbox, belvo: BelvoLinks, tmp_path: Path
) -> None:
    rng = random.Random(None if PROVING else 7)
    fill(box, LINKS // 2, status="invalid")
    fill(box, LINKS // 2, username="another", external_id=None)
    settings: dict[str, Any] = {"context": CheckContext(now=NOW), "page_size": PAGE_SIZE, "pseudonymise": KEY}
    await audit(belvo, checkpoint=tmp_path / "whole.sqlite", **settings)
    needed, whole = box.served, held(tmp_path / "whole.sqlite")
    went_on = 0
    for number in range(KILLS):
        path = tmp_path / f"{number}.sqlite"
        for _ in range(rng.randint(1, 2)):
            await kill(box, path, requests=rng.randrange(needed), later=rng.random() * 0.05)
        before = box.served
        await audit(belvo, checkpoint=path, **settings)
        went_on += box.served - before < needed
        assert RunFile(path).facts.interruptions in (0, 1, 2)
        assert held(path) == whole
        path.unlink()
    assert went_on  # at least one has left something to go on from
