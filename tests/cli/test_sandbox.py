"""`belvo-links sandbox` serves until somebody ends it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from belvo_links.cli import sandbox
from belvo_links.cli.entry import main
from belvo_links.cli.exits import Exit
from belvo_links.client.links import BelvoLinks
from belvo_links.protocol.credentials import Credentials
from belvo_links.protocol.models import Link
from belvo_links.sandbox import Sandbox
from tests.cli.running import COMMAND, environment

ENDINGS = [signal.SIGINT, signal.SIGTERM]


@contextmanager
def serving(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "sandbox", *arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    keys = json.loads(process.stdout.readline())
    assert isinstance(keys, dict)
    return keys


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_client_from_its_environment_works(ending: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of JSON at once; a signal ends it with 0 and no word."""
    with serving("--json", "--seed", "7") as process:
        keys = first_line(process)
        assert keys["env"] == {
            "BELVO_SECRET_ID": keys["secret_id"],
            "BELVO_SECRET_PASSWORD": keys["secret_password"],
            "BELVO_BASE_URL": keys["url"],
        }
        monkeypatch.delenv("BELVO_ENVIRONMENT", raising=False)
        for name, value in keys["env"].items():
            monkeypatch.setenv(name, value)
        async with BelvoLinks.from_env() as belvo:
            link = await belvo.register("erebor_mx_retail", Credentials("bnk100", "full"))
            assert isinstance(link, Link)
            process.send_signal(ending)
            assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == Exit.DONE


@pytest.mark.parametrize("ending", ENDINGS)
def test_people_get_lines_to_paste(ending: signal.Signals, tmp_path: Path) -> None:
    """A shell that takes them has the three variables."""
    with serving() as process:
        assert process.stdout
        lines = []
        while "111111" not in (line := process.stdout.readline()):
            assert line
            lines.append(line)
        process.send_signal(ending)
        rest, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (Exit.DONE, "")
    assert "Stopped after 0 requests." in rest
    exports = "".join(line for line in lines if line.strip().startswith("export"))
    script = f'{exports}\necho "$BELVO_BASE_URL" "$BELVO_SECRET_ID" "$BELVO_SECRET_PASSWORD"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    box = Sandbox()
    assert said[1:] == [box.secret_id, box.secret_password]
    text = "".join(lines)
    assert f"base URL         {said[0]}" in text
    assert all(key in text for key in said[1:])


def test_the_seed_decides_about_the_keys() -> None:
    """The same in every run."""
    with serving("--json", "--seed", "7") as process:
        keys = first_line(process)
    box = Sandbox(seed=7)
    assert (keys["secret_id"], keys["secret_password"]) == (box.secret_id, box.secret_password)


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """One line and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["sandbox", "--port", str(port)]) == Exit.FAILED
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"belvo-links sandbox: cannot listen on 127.0.0.1, port {port}: Address already in use\n"


def test_an_unknown_host_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """One line and exit code 1."""
    assert main(["sandbox", "--host", "256.0.0.1"]) == Exit.FAILED
    shown = capsys.readouterr()
    assert shown.err.startswith("belvo-links sandbox: cannot listen on 256.0.0.1, port 0: ")
    assert shown.err.count("\n") == 1


def test_a_chosen_port_is_taken() -> None:
    """And an address of this machine draws no warning."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    with serving("--json", "--host", "localhost", "--port", str(port)) as process:
        assert first_line(process)["url"] == f"http://localhost:{port}"
        process.terminate()
        assert process.communicate(timeout=10)[1] == ""


def test_letting_others_in_is_said_loudly() -> None:
    """On standard error; the address to paste is one that works on this machine."""
    with serving("--json", "--host", "0.0.0.0") as process:
        assert first_line(process)["url"].startswith("http://127.0.0.1:")
        process.terminate()
        warning = process.communicate(timeout=10)[1]
    assert warning.startswith("belvo-links sandbox: WARNING: listening on 0.0.0.0")
    assert process.returncode == Exit.DONE


@pytest.mark.parametrize(
    "host, url",
    [
        ("::", "http://[::1]:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("10.0.0.1", "http://10.0.0.1:80"),
        ("box.example", "http://box.example:80"),
    ],
)
def test_a_wildcard_is_no_address_for_a_client(host: str, url: str) -> None:
    """Any other is left as it is."""
    listening = f"http://[{host}]:80" if ":" in host else f"http://{host}:80"
    assert sandbox._reachable(listening, host) == url


@pytest.mark.parametrize("host, loopback", [("localhost", True), ("::1", True), ("10.0.0.1", False), ("a.b", False)])
def test_this_machine_is_known(host: str, loopback: bool) -> None:
    """A name that is not `localhost` might be anything."""
    assert sandbox._is_loopback(host) is loopback


async def test_memory_is_kept_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are counted and forgotten, since it may run for weeks."""
    monkeypatch.setattr(sandbox, "TIDY_AFTER", 0.01)
    interrupted = asyncio.Event()
    async with Sandbox() as box:
        serving = asyncio.create_task(sandbox._serve(box, interrupted))
        async with BelvoLinks(box.secret_id, box.secret_password, base_url=box.url) as belvo:
            for _ in range(2):
                await belvo.count()
                await asyncio.sleep(0.1)
                assert box.requests == []
        interrupted.set()
        assert await serving == 2


def test_a_failure_of_the_simulator_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with 1 and says what failed."""

    async def served(*_: object) -> int:
        return 0

    async def stop(_: Sandbox) -> None:
        raise ExceptionGroup("the simulator itself has failed", [RuntimeError("a bug")])

    stopped = Sandbox.stop

    async def stop_and_fail(self: Sandbox) -> None:
        await stopped(self)
        await stop(self)

    monkeypatch.setattr(sandbox, "_serve", served)
    monkeypatch.setattr(Sandbox, "stop", stop_and_fail)
    assert main(["sandbox", "--json"]) == Exit.FAILED
    assert "RuntimeError('a bug')" in capsys.readouterr().err


def test_ctrl_c_ends_it_where_the_loop_takes_no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: the same exit code."""

    async def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(sandbox, "_serve", interrupted)
    assert main(["sandbox", "--json"]) == Exit.DONE


def test_it_runs_as_the_installed_command() -> None:
    """The console script is the same entry."""
    script = Path(sys.executable).with_name("belvo-links")
    if not script.exists():
        pytest.skip("the project is not installed beside this Python")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.startswith("belvo-links ")
