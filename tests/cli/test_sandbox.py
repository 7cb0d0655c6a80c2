"""`belvo-links sandbox` serves until somebody ends it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
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
from belvo_links.sandbox.address import is_loopback
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
    assert is_loopback(host) is loopback


# --- The page


def opened(url: str) -> tuple[int, str]:
    """What a browser gets: it follows the redirect with the cookie."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with opener.open(url, timeout=10) as reply:
        return reply.status, reply.read().decode()


def steered(url: str, key: str, path: str) -> Any:
    request = urllib.request.Request(f"{url}{path}", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def test_the_printed_address_opens_the_page() -> None:
    """The key is another one in every run, whatever the seed."""
    keys = []
    for _ in range(2):
        with serving("--json", "--seed", "7") as process:
            told = first_line(process)
            assert told["page_url"] == f"{told['url']}/?key={told['control_key']}"
            status, page = opened(told["page_url"])
            assert (status, "<h1>Belvo simulator</h1>" in page) == (200, True)
            assert steered(told["url"], told["control_key"], "/_sandbox/logins")["logins"] == []
            keys.append(told["control_key"])
    assert len(set(keys)) == 2
    assert all(len(key) >= 32 for key in keys)


def test_people_get_the_address_of_the_page() -> None:
    """On a line of its own, so that a terminal makes it a link."""
    with serving() as process:
        assert process.stdout
        while not (line := process.stdout.readline()).strip().startswith("page "):
            assert line
        assert opened(line.split()[1])[0] == 200


def test_the_environment_may_give_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never an argument: other users of the machine can read those."""
    monkeypatch.setenv("BELVO_SANDBOX_CONTROL_KEY", "a-key/of my+own?".replace(" ", "%"))
    with serving("--json") as process:
        told = first_line(process)
        assert told["control_key"] == "a-key/of%my+own?"
        assert opened(told["page_url"])[0] == 200


def test_a_key_that_is_too_short_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named, and not repeated."""
    monkeypatch.setenv("BELVO_SANDBOX_CONTROL_KEY", "tooshort")
    assert main(["sandbox"]) == Exit.USAGE
    said = capsys.readouterr()
    assert said.err.startswith("belvo-links sandbox: BELVO_SANDBOX_CONTROL_KEY: a control key has at least 16")
    assert "tooshort" not in said.out + said.err


def test_requests_are_remembered_and_counted() -> None:
    """For the page, and for the last line; looking at the page is no request."""
    with serving("--seed", "7") as process:
        assert process.stdout
        while not (line := process.stdout.readline()).strip().startswith("page "):
            assert line
        url, _, key = line.split()[1].partition("/?key=")
        for _ in range(3):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(f"{url}/api/links/", timeout=10)
        told = steered(url, key, "/_sandbox/requests")
        assert (told["served"], [each["status"] for each in told["requests"]]) == (3, [401, 401, 401])
        process.terminate()
        assert "Stopped after 3 requests." in process.communicate(timeout=10)[0]


async def test_memory_is_kept_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Since it may run for weeks."""
    made: list[dict[str, Any]] = []

    class Watched(Sandbox):
        def __init__(self, **given: Any) -> None:
            made.append(given)
            super().__init__(**given)

    async def at_once(self: asyncio.Event) -> bool:
        return True

    monkeypatch.setattr(sandbox, "Sandbox", Watched)
    monkeypatch.setattr(asyncio.Event, "wait", at_once)
    assert await sandbox.serve(host="127.0.0.1", port=0, seed=0, json=True) == Exit.DONE
    assert made[0]["record_limit"] == sandbox.RECORD_LIMIT == 1000


def test_a_failure_of_the_simulator_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with 1 and says what failed."""

    async def at_once(*_: object) -> bool:
        return True

    async def stop(_: Sandbox) -> None:
        raise ExceptionGroup("the simulator itself has failed", [RuntimeError("a bug")])

    stopped = Sandbox.stop

    async def stop_and_fail(self: Sandbox) -> None:
        await stopped(self)
        await stop(self)

    monkeypatch.setattr(asyncio.Event, "wait", at_once)
    monkeypatch.setattr(Sandbox, "stop", stop_and_fail)
    assert main(["sandbox", "--json"]) == Exit.FAILED
    assert "RuntimeError('a bug')" in capsys.readouterr().err


def test_ctrl_c_ends_it_where_the_loop_takes_no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: the same exit code."""

    async def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio.Event, "wait", interrupted)
    assert main(["sandbox", "--json"]) == Exit.DONE


def test_it_runs_as_the_installed_command() -> None:
    """The console script is the same entry."""
    script = Path(sys.executable).with_name("belvo-links")
    if not script.exists():
        pytest.skip("the project is not installed beside this Python")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.startswith("belvo-links ")
