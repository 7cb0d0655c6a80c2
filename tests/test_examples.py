"""The examples do what they say, as somebody would run them: as processes, reading what is typed."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from belvo_links.sandbox import Sandbox

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TOKEN = "111111"
LINKED = re.compile(r"Link [0-9a-f-]{36} is valid\.\n")  # after a prompt that a pipe answers on the same line
PATIENCE = 40


@attrs.frozen
class Done:
    """A run that has ended."""

    code: int
    out: str
    err: str


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox() as box:
        yield box


async def run(*command: str, typed: str = "", box: Sandbox | None = None) -> Done:
    """Run an example; without a simulator, it has no keys."""
    script, *arguments = command
    env = {name: value for name, value in os.environ.items() if not name.startswith("BELVO_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(EXAMPLES / script), *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env if box is None else env | box.env,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate(typed.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


def form(shown: str) -> tuple[str, str]:
    """Return the id and the round that a page would carry in its form."""
    found = re.search(r"^id (\S+)\nround (\d+)$", shown, re.MULTILINE)
    assert found
    return found[1], found[2]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_to_run_it(path: Path) -> None:
    """It is documentation: read in one go, and tried at once."""
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < 120
    assert f"python examples/{path.name}" in text.partition('"""\n\nimport')[0]


@pytest.mark.parametrize(
    "user,rounds",
    [("mfa_numeric", 1), ("mfa_qr", 1), ("sim_mfa_chain", 2)],
)
async def test_the_callback_asks_the_person_once_for_each_round(user: str, rounds: int) -> None:
    """Without keys a simulator is started; what the bank asks for is shown, and what is typed is not."""
    done = await run("callback.py", "--user", user, typed=f"{TOKEN}\n" * rounds)
    assert (done.code, done.err) == (0, "")
    assert LINKED.search(done.out)
    assert done.out.count("Token: ") == done.out.count("The bank asks") == rounds
    assert TOKEN not in done.out


async def test_the_callback_waits_for_a_confirmation_elsewhere() -> None:
    """Where no input is expected, nobody is asked for any."""
    done = await run("callback.py", "--user", "sim_mfa_inputless")
    assert (done.code, done.err) == (0, "")
    assert LINKED.search(done.out)
    assert "Token" not in done.out


async def test_the_callback_can_be_run_without_anybody_there() -> None:
    """With the simulator's published token, for a first look."""
    done = await run("callback.py", "--token", TOKEN)
    assert (done.code, done.err) == (0, "")
    assert LINKED.search(done.out)


async def test_the_callback_uses_the_keys_of_the_environment(box: Sandbox) -> None:
    """And sends the token once."""
    done = await run("callback.py", typed=f"{TOKEN}\n", box=box)
    assert (done.code, done.err) == (0, "")
    assert box.tokens == [TOKEN]
    assert [link["status"] for link in box.links] == ["valid"]


async def test_the_callback_takes_no_real_token_from_the_command_line(box: Sandbox) -> None:
    """Others could read it there; nothing is sent."""
    done = await run("callback.py", "--token", TOKEN, box=box)
    assert done.code == 2
    assert "--token is for the simulator" in done.err
    assert box.requests == []


async def test_a_callback_that_nobody_answers_sends_no_token(box: Sandbox) -> None:
    """The end of the input is no answer, and the script says so without a traceback."""
    done = await run("callback.py", box=box)
    assert done.code == 1
    assert "Nobody answered" in done.err
    assert "Traceback" not in done.err
    assert box.tokens == []


async def test_one_process_begins_and_another_one_completes(box: Sandbox, tmp_path: Path) -> None:
    """The second one has nothing but the file, the id and the round; a form that is sent twice sends nothing."""
    store = str(tmp_path / "pending.db")
    begun = await run("two_processes.py", "begin", store, box=box)
    assert (begun.code, begun.err) == (0, "")
    assert box.tokens == []
    number = form(begun.out)

    completed = await run("two_processes.py", "complete", store, *number, typed=f"{TOKEN}\n", box=box)
    assert (completed.code, completed.err) == (0, "")
    assert LINKED.search(completed.out)

    again = await run("two_processes.py", "complete", store, *number, typed=f"{TOKEN}\n", box=box)
    assert again.code == 1
    assert "Nothing was sent: it is linked already" in again.err
    assert box.tokens == [TOKEN]
    assert TOKEN not in begun.out + completed.out + again.out + again.err


async def test_a_form_of_a_round_that_has_passed_shows_the_present_challenge(box: Sandbox, tmp_path: Path) -> None:
    """The token that was typed into it is not spent on another challenge."""
    store = str(tmp_path / "pending.db")
    first = form((await run("two_processes.py", "begin", store, "--user", "sim_mfa_chain", box=box)).out)
    asked = await run("two_processes.py", "complete", store, *first, typed=f"{TOKEN}\n", box=box)
    second = form(asked.out)
    assert second == (first[0], "2")

    stale = await run("two_processes.py", "complete", store, *first, typed="999999\n", box=box)
    assert stale.code == 1
    assert "Nothing was sent" in stale.err
    assert form(stale.out) == second
    assert box.tokens == [TOKEN]

    completed = await run("two_processes.py", "complete", store, *second, typed=f"{TOKEN}\n", box=box)
    assert LINKED.search(completed.out)


async def test_two_processes_need_a_server_that_outlives_them(tmp_path: Path) -> None:
    """Without keys there is none, and the missing variables are named."""
    done = await run("two_processes.py", "begin", str(tmp_path / "pending.db"))
    assert done.code == 1
    assert "BELVO_SECRET_ID" in done.err
    assert "Traceback" not in done.err
