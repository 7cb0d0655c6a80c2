"""What happens to a store, at any moment of a login: what the caller gets, what is sent, and how it goes on."""

import asyncio
import logging
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from belvo_links.client import ledger
from belvo_links.sandbox import Sandbox
from tests.mfa.helpers import client
from tests.processes.crew import PROVING
from tests.stores.outages import OUTAGES, Making, full_disk
from tests.stores.places import PASSWORD, Place, SqlitePlace
from tests.stores.scene import Scene, Staged
from tests.stores.table import OUTCOMES, TABLE, Cell, Fault, Kind, Moment

CASES = [(fault, kind) for fault, stores in TABLE.items() for kind in stores]

PATIENCE = 300.0 if PROVING else 45.0
"""Seconds for one fault, at all moments."""


@asynccontextmanager
async def played(place: Place, making: Making, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[Moment, Scene]]:
    """Play a session for each moment, all into one and the same fault, until that is over."""
    async with making(place, monkeypatch) as outage, AsyncExitStack() as stack:
        scenes: dict[Moment, Scene] = {}
        for moment in Moment:
            box = await stack.enter_async_context(Sandbox(seed=1))
            store = Staged(await stack.enter_async_context(outage.store()))
            belvo = await stack.enter_async_context(client(box, store=store))
            scenes[moment] = Scene(moment, box, belvo, store)
            await scenes[moment].prepare()
        async with asyncio.TaskGroup() as group:
            plays = [group.create_task(scene.play()) for scene in scenes.values()]
            for scene in scenes.values():
                await scene.store.reached.wait()
            try:
                await outage.begin()
                for scene in scenes.values():
                    scene.store.go.set()
                await asyncio.wait(plays)
            finally:
                await outage.end()  # the servers are for the next test as well
        yield scenes


def among(seen: Cell, expected: Cell) -> Cell:
    """Return what was seen; where the record may be in one of several states and is, in all of them."""
    return seen._replace(states=expected.states) if set(seen.states) <= set(expected.states) else seen


async def check(
    place: Place, making: Making, fault: Fault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Hold what happens against the table, go on with every session, and look for secrets."""
    monkeypatch.setattr(ledger, "STORE_LIMIT", PATIENCE)  # on the stage, sessions also wait for the fault to begin
    expected = dict(zip(Moment, OUTCOMES[fault.effect], strict=True))
    with caplog.at_level(logging.DEBUG):
        async with asyncio.timeout(PATIENCE), played(place, making, monkeypatch) as scenes:
            async with place.whole() as whole:
                seen = {moment: await scene.seen(whole) for moment, scene in scenes.items()}
            assert {moment: among(cell, expected[moment]) for moment, cell in seen.items()} == expected
            errors = [scene.error for scene in scenes.values() if scene.error is not None]
            assert {error.reason for error in errors} == ({fault.reason} if fault.reason else set())
            assert {(error.__cause__, error.__context__) for error in errors} <= {(None, None)}
            unrecorded = [scene for moment, scene in scenes.items() if scene.is_unrecorded(seen[moment])]
            assert all(f"pending {scene.handle.id}: could not be recorded" in caplog.text for scene in unrecorded)
            for moment, scene in scenes.items():
                await scene.go_on(seen[moment])
    shown = [caplog.text, *map(str, errors), *map(repr, errors)]
    secrets = [PASSWORD, *(scene.secret for scene in scenes.values())]
    assert [secret for secret in secrets if any(secret in text for text in shown)] == []


@pytest.mark.prove
@pytest.mark.parametrize("fault, kind", CASES, ids=[f"{fault} - {kind}" for fault, kind in CASES])
async def test_what_a_fault_leads_to(
    place: Place, fault: str, kind: Kind, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As the table says: nothing is sent without a recorded claim, no token twice, and what was not sent can be."""
    await check(place, OUTAGES[fault][kind], TABLE[fault][kind], monkeypatch, caplog)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system that is soon full, where one may be mounted."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system may be mounted here")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


async def test_a_disk_without_a_block_left(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It leads to what a file leads to that cannot grow."""
    place = SqlitePlace(small_disk / "pending.db")
    await check(place, full_disk, TABLE["the disk is full"][Kind.SQLITE], monkeypatch, caplog)


def test_every_fault_is_made() -> None:
    """Nothing stands in the table that is not tried, and nothing is tried that does not stand there."""
    assert {fault: set(stores) for fault, stores in OUTAGES.items()} == {
        fault: set(stores) for fault, stores in TABLE.items()
    }
