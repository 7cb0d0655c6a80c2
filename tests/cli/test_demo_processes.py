"""The scenes with other processes and with a person: nothing stays behind, and what goes wrong is said."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from belvo_links import BelvoLinks, Credentials, PendingSession
from belvo_links.cli import processes, scenes
from belvo_links.cli.exits import Exit
from belvo_links.cli.stage import RIGHT
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.stores import SqliteStore
from tests.cli.playing import played
from tests.cli.running import COMMAND, Ended, environment

HANDED_OVER, KILLED, CONFIRMED = 7, 8, 9
PATIENCE = 30.0


def until(reached: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of this process and of those it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert gettempdir() == str(tmp_path)
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Process, tuple[str, ...]]]:
    """Every process that the test starts, with its arguments."""
    seen: list[tuple[Process, tuple[str, ...]]] = []
    start = asyncio.create_subprocess_exec

    async def starting(*arguments: str, **options: Any) -> Process:
        process = await start(*arguments, **options)
        seen.append((process, arguments))
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", starting)
    return seen


@pytest.mark.parametrize(
    "steps, later, everybody", [(6, 0.0, False), (6, 0.2, True), (7, 1.0, False)], ids=["early", "terminal", "late"]
)
def test_an_interrupt_leaves_no_process_and_no_file(folder: Path, steps: int, later: float, everybody: bool) -> None:
    """Not while the other process starts, nor when a terminal tells both, nor while a claim runs out."""
    process = subprocess.Popen(
        [*COMMAND, "demo"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout
    assert process.stderr
    with process.stdout, process.stderr:
        seen = 0
        while seen < steps:
            line = process.stdout.readline()
            assert line, "the demo has ended"
            seen += b"The server received" in line
        until(lambda: any(folder.glob("*/pending.db")))
        time.sleep(later)
        (os.killpg if everybody else os.kill)(process.pid, signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == Exit.INTERRUPTED
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
        assert process.stderr.read() == b""
    assert list(folder.iterdir()) == []


async def test_no_secret_is_an_argument_and_nothing_of_the_users_own_is_used(
    folder: Path, started: list[tuple[Process, tuple[str, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody can read arguments; the token comes through a pipe, and the simulator's keys in the environment."""
    monkeypatch.setenv("BELVO_ENVIRONMENT", "production")
    monkeypatch.setenv("BELVO_SECRET_ID", "theirs")
    step = await played(HANDED_OVER)
    assert step.problem is None
    box = Sandbox()
    [(_, arguments)] = started
    for secret in (RIGHT, box.secret_id, box.secret_password):
        assert secret not in " ".join(arguments)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "number, prepare, said",
    [
        (
            HANDED_OVER,
            lambda box: box.inject(Fault.status(500), method="PATCH"),
            "the other process has failed: IndeterminateOutcomeError: ",
        ),
        (
            HANDED_OVER,
            lambda box: box.inject(Fault.status(403), method="GET"),
            "PermissionDeniedError: ",
        ),
        (
            KILLED,
            lambda box: box.inject(Fault.status(403), method="PATCH"),
            "the other process ended before it could be killed",
        ),
    ],
    ids=["unknown", "unread", "refused"],
)
async def test_what_goes_wrong_in_the_other_process_breaks_the_promise(
    folder: Path, number: int, prepare: Callable[[Sandbox], None], said: str
) -> None:
    """The step says how; nothing stays behind."""
    step = await played(number, prepare=prepare)
    assert step.problem
    assert said in step.problem
    assert step.outcome == ""
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "number, said",
    [
        (HANDED_OVER, "the other process does not come to an end"),
        (KILLED, "the other process has not come far enough to be killed"),
    ],
)
async def test_another_process_that_hangs_is_not_waited_for(
    folder: Path,
    started: list[tuple[Process, tuple[str, ...]]],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    said: str,
) -> None:
    """It is killed, and its files go."""
    monkeypatch.setattr(processes, "AT_MOST", 0.01)
    step = await played(number)
    assert step.problem
    assert step.problem.endswith(said)
    [(process, _)] = started
    assert process.returncode == -signal.SIGKILL
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [HANDED_OVER, KILLED])
async def test_where_no_process_can_be_started_the_demo_says_so(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Without a traceback."""
    monkeypatch.setattr(sys, "executable", "no such interpreter")
    step = await played(number)
    assert step.problem
    assert "FileNotFoundError" in step.problem


async def test_a_claim_that_never_runs_out_breaks_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo does not wait for ever."""
    monkeypatch.setattr(processes, "state_after_the_lease", _soon)
    step = await played(KILLED)
    assert step.problem
    assert step.problem.endswith("after the lease, the pending session is submitting")


async def _soon(belvo: BelvoLinks, pending_id: str) -> object:
    return (await belvo.pending(pending_id)).state


async def test_a_person_who_does_not_confirm_breaks_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, though the server was asked all the time."""
    monkeypatch.setattr(scenes, "AT_MOST", 0.3)
    monkeypatch.setattr(scenes, "PERSON_TAKES", 60)
    step = await played(CONFIRMED)
    assert step.problem
    assert step.problem.endswith("a link was expected, and the bank asked again")
    assert step.calls["Complete"] > 0


def continuing(*arguments: str, token: str, box: Sandbox) -> subprocess.Popen[bytes]:
    """Start the other process by itself."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "belvo_links.cli.continue_login", *arguments],
        env={**environment(), **box.env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin
    process.stdin.write(token.encode())
    return process


async def ended(process: subprocess.Popen[bytes]) -> Ended:
    out, err = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
    return Ended(process.returncode, out.decode(), err.decode())


async def test_a_wrong_token_takes_the_other_process_to_the_next_round(tmp_path: Path) -> None:
    """It says so, and that is no failure."""
    path = tmp_path / "pending.db"
    async with Sandbox() as box:
        options = box.client_options
        async with BelvoLinks.from_env(box.env, store=SqliteStore(path), **options) as belvo:
            pending = await belvo.register("erebor_mx_retail", Credentials("sim_mfa_text", "any"))
            assert isinstance(pending, PendingSession)
        done = await ended(continuing(str(path), pending.id, "1", token="999999\n", box=box))
    assert (done.code, done.err) == (Exit.DONE, "")
    said = json.loads(done.out)
    assert (said["link"], said["status"]) == (pending.link_id, "round 2")


async def test_the_other_process_says_in_one_line_what_it_cannot_do(tmp_path: Path) -> None:
    """On standard error, with exit code 1."""
    async with Sandbox() as box:
        done = await ended(continuing(str(tmp_path / "pending.db"), "nobody's", "1", token="111111\n", box=box))
    assert (done.code, done.out) == (Exit.FAILED, "")
    assert done.err.startswith("PendingNotFoundError: ")
    assert done.err.count("\n") == 1


async def test_the_other_process_ends_when_nobody_feeds_it(tmp_path: Path) -> None:
    """Whoever has started it is gone."""
    async with Sandbox() as box:
        done = await ended(continuing(str(tmp_path / "pending.db"), "any", "1", token="", box=box))
    assert done == Ended(Exit.FAILED, "", "")
    assert list(tmp_path.iterdir()) == []
