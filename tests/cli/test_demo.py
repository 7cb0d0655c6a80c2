"""The demo keeps what it promises, says so in every kind of terminal, and notices when it does not."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import attrs
import pytest
from rich.console import Console

from belvo_links.cli import demo, scenes
from belvo_links.cli.entry import main
from belvo_links.cli.exits import Exit
from belvo_links.cli.show import Data, Screen
from belvo_links.client.links import BelvoLinks
from belvo_links.sandbox import Fault, Sandbox
from tests.cli.playing import played
from tests.cli.running import SHORT, Ended, in_a_terminal, in_pipes
from tests.qr.symbols import seen, text_of

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
NAMES = [scene.name for scene in scenes.SCENES]


@attrs.frozen
class Runs:
    """The whole demo, once for everybody whom it is told: most of its time it waits, so they run together."""

    data: Ended
    plain: Ended
    terminal: Ended


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files, where each of these leaves its report."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def runs(temporary: Path) -> Runs:
    with ThreadPoolExecutor() as threads:
        data = threads.submit(in_pipes, "demo", "--json", TMPDIR=str(temporary))
        plain = threads.submit(in_pipes, "demo", FORCE_COLOR="1", TTY_COMPATIBLE="1", TMPDIR=str(temporary))
        terminal = threads.submit(in_a_terminal, "demo", TMPDIR=str(temporary))
        return Runs(data.result(), plain.result(), terminal.result())


@pytest.fixture(scope="module")
def told(runs: Runs) -> dict[str, Any]:
    assert (runs.data.code, runs.data.err) == (0, "")
    document = json.loads(runs.data.out)
    assert isinstance(document, dict)
    return document


@pytest.fixture(scope="module")
def plain(runs: Runs) -> Ended:
    return runs.plain


def step(told: dict[str, Any], number: int) -> dict[str, Any]:
    found = told["steps"][number - 1]
    assert isinstance(found, dict)
    return found


def test_the_data_is_whole(told: dict[str, Any]) -> None:
    """Every step with its name, what it says, its result, the server's count and its time."""
    assert (told["ok"], told["problem"]) == (True, None)
    assert [each["name"] for each in told["steps"]] == NAMES
    for each in told["steps"]:
        assert each["said"]
        assert each["outcome"]
        assert each["result"]
        assert each["ok"] is True
        assert each["seconds"] < 15
    assert sum(sum(each["server"]["calls"].values()) for each in told["steps"]) == told["requests"] < 60
    assert told["seconds"] < 15


def test_a_plain_registration_is_one_request(told: dict[str, Any]) -> None:
    """And a valid link."""
    assert step(told, 1)["server"] == {"calls": {"Register": 1}, "tokens": {}}
    assert step(told, 1)["result"]["link"]["status"] == "valid"


def test_a_numeric_challenge_takes_one_token(told: dict[str, Any]) -> None:
    """The number that is shown is in the data."""
    assert step(told, 2)["server"] == {"calls": {"Register": 1, "Complete": 1}, "tokens": {"111111": 1}}
    assert step(told, 2)["result"]["value"] == "12345"
    assert step(told, 2)["result"]["link"]["status"] == "valid"


def test_a_qr_challenge_takes_one_token(told: dict[str, Any]) -> None:
    """It was read from its image."""
    assert step(told, 3)["server"] == {"calls": {"Register": 1, "Complete": 1}, "tokens": {"111111": 1}}
    assert step(told, 3)["result"]["media_type"] == "image/png"
    assert step(told, 3)["result"]["modules"] == 25


def test_a_wrong_token_leads_to_a_second_round(told: dict[str, Any]) -> None:
    """Each token reaches the server once."""
    assert step(told, 4)["server"]["calls"] == {"Register": 1, "Complete": 2}
    assert step(told, 4)["server"]["tokens"] == {"999999": 1, "111111": 1}
    assert step(told, 4)["result"]["rounds"] == 2
    assert step(told, 4)["result"]["same_id"] is True


def test_a_callback_goes_through_a_chain(told: dict[str, Any]) -> None:
    """It is asked for each challenge once."""
    assert step(told, 5)["server"] == {"calls": {"Register": 1, "Complete": 2}, "tokens": {"111111": 2}}
    assert step(told, 5)["result"]["asked"] == ["numeric", "text"]


def test_of_a_hundred_completions_one_goes_out(told: dict[str, Any]) -> None:
    """One call gets the link, the others are refused without a request."""
    assert step(told, 6)["server"] == {"calls": {"Register": 1, "Complete": 1}, "tokens": {"111111": 1}}
    result = step(told, 6)["result"]
    assert (result["calls"], result["links"], result["refused"]) == (100, 1, 99)


def test_another_process_completes(told: dict[str, Any]) -> None:
    """It is one of its own, and the token goes out once."""
    assert step(told, 7)["server"] == {
        "calls": {"Register": 1, "Complete": 1, "Get": 1},
        "tokens": {"111111": 1},
    }
    result = step(told, 7)["result"]
    assert len(set(result["processes"])) == 2
    assert result["refused_with"] == "AlreadySettledError"
    assert result["link"]["status"] == "valid"


def test_a_killed_process_loses_no_link_and_repeats_no_token(told: dict[str, Any]) -> None:
    """Claimed, then indeterminate, then linked by a look at the link."""
    assert step(told, 8)["server"] == {
        "calls": {"Register": 1, "Complete": 1, "Get": 1},
        "tokens": {"111111": 1},
    }
    result = step(told, 8)["result"]
    assert result["refused_with"] == ["AlreadyClaimedError", "IndeterminateOutcomeError"]
    assert result["state_after_the_lease"] == "indeterminate"
    assert result["link"]["status"] == "valid"


def test_a_confirmation_needs_no_token(told: dict[str, Any]) -> None:
    """The rounds that the SDK counts are the Completes that the server does."""
    server, result = step(told, 9)["server"], step(told, 9)["result"]
    assert server == {"calls": {"Register": 1, "Complete": result["rounds"]}, "tokens": {}}
    assert result["action"] == "confirm_elsewhere"
    assert result["link"]["status"] == "valid"


def test_a_refresh_has_its_cooldown(told: dict[str, Any]) -> None:
    """Three requests, two of them accepted."""
    assert step(told, 10)["server"] == {"calls": {"Refresh": 3}, "tokens": {}}
    assert len(set(step(told, 10)["result"]["accepted"])) == 2
    assert 0 < step(told, 10)["result"]["retry_after_seconds"] <= 600


def test_the_links_are_counted_by_status(told: dict[str, Any]) -> None:
    """The list and the count are of the same links."""
    assert step(told, 11)["server"] == {"calls": {"Register": 1, "List": 1}, "tokens": {}}
    statuses = [link["status"] for link in told["links"]]
    assert step(told, 11)["result"]["by_status"] == {status: statuses.count(status) for status in set(statuses)}
    assert len({link["id"] for link in told["links"]}) == step(told, 11)["result"]["total"] == 10
    assert set(statuses) == {"valid", "invalid", "unconfirmed"}


def test_the_demo_ends_with_an_audit_and_leaves_its_report(told: dict[str, Any], temporary: Path) -> None:
    """Of the links that the list has shown; the page is its owner's alone, and names every finding."""
    assert step(told, 12)["name"] == NAMES[-1] == "An audit"
    assert set(step(told, 12)["server"]["calls"]) == {"List"}
    result = step(told, 12)["result"]
    assert (result["complete"], result["links"], result["worst"]) == (True, 10, "high")
    assert result["totals"]["status"] == step(told, 11)["result"]["by_status"]
    assert result["totals"]["check"] == {"invalid": 1, "unconfirmed": 1}
    page = Path(result["report"])
    assert page.parent == temporary
    assert page.stat().st_mode & 0o777 == 0o600
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert all(link["id"] in text for link in told["links"] if link["status"] != "valid")
    assert len(list(temporary.iterdir())) == 3, "one report of each, and nothing else"


def test_people_are_told_the_same(told: dict[str, Any], plain: Ended) -> None:
    """Every title, outcome and link of the data is in the text."""
    assert (plain.code, plain.err) == (0, "")
    text = " ".join(plain.out.split())
    for each in told["steps"]:
        assert each["name"] in text
        assert " ".join(each["outcome"].split()) in text
        assert " ".join(each["said"].split()) in text
    assert "The server received 1 Register and 1 Complete (token 111111 once)." in text
    assert "The server received 1 Register, 1 Complete and 1 Get (token 111111 once)." in text
    assert re.search(r"The server received 1 Register and \d+ Completes? \(no token\)\.", text)
    for link in told["links"]:
        # The id of the last one follows from the seed and from how often the SDK has asked the bank's app before.
        name = "[0-9a-f]{8}" if link["external_id"] == "user-10" else link["id"][:8]
        assert re.search(rf"{name} +{link['institution']} +.* {link['status']}", plain.out)
    assert f"All {len(NAMES)} steps came out as promised" in text


def test_the_text_fits_a_terminal_and_says_little_of_machines(plain: Ended, temporary: Path) -> None:
    """80 columns, no colours in a pipe, no spaces at the ends of paragraphs, no temporary file but the report."""
    assert max(len(line) for line in plain.out.splitlines() if str(temporary) not in line) <= 80
    assert "\x1b" not in plain.out
    assert not re.search(r"\w $|^ +$", plain.out, re.MULTILINE)
    assert "".join(plain.out.split()).count(str(temporary)) == 1


def drawn_block(out: str) -> list[str]:
    """The lines of the drawing: those between two that are all quiet zone."""
    lines = [line[4:] for line in out.splitlines()]
    quiet = [number for number, line in enumerate(lines) if re.fullmatch(r"█{33}|#{66}", line)]
    return lines[quiet[0] : quiet[-1] + 1]


def test_the_qr_code_is_the_simulators(plain: Ended) -> None:
    """The symbol in the text holds what the simulator put into it."""
    assert re.fullmatch(r"belvo-sandbox [0-9a-f]{16}", text_of(seen(drawn_block(plain.out))))


def test_a_terminal_gets_colours(runs: Runs) -> None:
    """And a spinner while somebody is waited for; in the end it has gone."""
    done = runs.terminal
    assert done.code == 0
    assert "waiting for the person to confirm in the bank's app ..." in done.out
    assert "\x1b[?25l" in done.out, "the spinner hides the cursor"
    assert done.out.count("\x1b[?25h") == done.out.count("\x1b[?25l")
    assert COLOURS.search(done.out)
    assert done.out.rstrip().endswith("belvo-links sandbox\x1b[0m")
    text = CONTROLS.sub("", done.out)
    assert max(map(len, text[text.index("belvo_links demo") :].splitlines())) <= 80
    assert text_of(seen(drawn_block(text))).startswith("belvo-sandbox ")
    assert re.search(r"38;5;\d+;48;5;\d+m|\x1b\[(97|37);40m", done.out), "the code brings both its colours"


@pytest.mark.parametrize("name, value", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colours_gets_none(name: str, value: str) -> None:
    """No control sequence of any kind, in a terminal too."""
    done = in_a_terminal("demo", columns=80, command=SHORT, **{name: value})
    assert done.code == 0
    assert "\x1b" not in done.out
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
    ],
)
def test_ascii_will_do(variables: dict[str, str], told: dict[str, Any]) -> None:
    """The QR code too, though larger; and what is said in the other scenes."""
    assert json.dumps(told, ensure_ascii=False).isascii()
    done = in_pipes("demo", command=SHORT, **variables)
    assert (done.code, done.err) == (0, "")
    assert done.out.isascii()
    assert "\x1b" not in done.out
    assert "?" not in done.out
    assert "\\u" not in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert text_of(seen(drawn_block(done.out))).startswith("belvo-sandbox ")


def test_a_narrow_terminal_gets_no_broken_code() -> None:
    """It is told what it lacks, and the rest is wrapped."""
    done = in_a_terminal("demo", columns=36, command=SHORT, NO_COLOR="1")
    assert done.code == 0
    assert "█" not in done.out
    assert "needs a terminal of 37" in " ".join(done.out.split())


def test_no_secret_is_printed(told: dict[str, Any], plain: Ended) -> None:
    """Neither the simulator's keys nor the passwords of the people in the story."""
    box = Sandbox()
    for secret in (box.secret_id, box.secret_password, "numeric_code", "qr_code"):
        assert secret not in plain.out
        assert secret not in json.dumps(told)


def start_with(prepare: Callable[[Sandbox], None], monkeypatch: pytest.MonkeyPatch) -> None:
    started = Sandbox.start

    async def start(self: Sandbox) -> Sandbox:
        await started(self)
        prepare(self)
        return self

    monkeypatch.setattr(Sandbox, "start", start)


def test_a_refused_call_fails_the_demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It says where, stops there, and ends with 1."""
    start_with(lambda box: box.inject(Fault.status(500), method="PATCH", template="/api/links/"), monkeypatch)
    assert main(["demo"]) == Exit.FAILED
    shown = capsys.readouterr()
    assert shown.err.startswith('belvo-links demo: "A numeric challenge" did not come out as promised: ')
    assert shown.err.count("\n") == 1
    assert "did not come out as promised" in shown.out
    assert "A QR challenge" not in shown.out
    assert "All" not in shown.out.splitlines()[-1]


def test_the_data_says_that_it_failed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is whole JSON all the same."""
    start_with(lambda box: box.inject(Fault.status(403), method="POST"), monkeypatch)
    assert main(["demo", "--json"]) == Exit.FAILED
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert told["ok"] is told["steps"][0]["ok"] is False
    assert len(told["steps"]) == 1
    assert "PermissionDeniedError" in told["problem"]
    assert told["problem"] in shown.err


class Curious(BelvoLinks):
    """A client that looks at every link it refreshes, which the demo does not expect."""

    async def refresh(self, link_id: str, *args: Any, **options: Any) -> Any:
        await self.get(link_id)
        return await super().refresh(link_id, *args, **options)


async def test_a_request_too_many_breaks_the_promise() -> None:
    """The server's count decides, not the client's word."""
    step = await played(10, Curious)
    assert step.problem
    assert step.problem.endswith("received 3 Refreshes, not 3 Gets and 3 Refreshes")
    assert step.outcome == ""


class Helpless(BelvoLinks):
    """A client that cannot complete anything."""

    async def complete(self, *args: Any, **options: Any) -> Any:
        raise ValueError("no claim")


async def test_a_crowd_of_which_none_wins_breaks_the_promise() -> None:
    """The step says how the calls ended."""
    step = await played(6, Helpless)
    assert step.problem
    assert "ValueError" in step.problem


@pytest.mark.parametrize(
    "scene, body, said",
    [
        (1, {"status": "unconfirmed"}, "the link is unconfirmed, not valid"),
        (2, {}, "a challenge was expected, and a link came"),
        (3, {}, "a challenge was expected, and a link came"),
    ],
)
async def test_another_answer_breaks_the_promise(scene: int, body: dict[str, Any], said: str) -> None:
    """Whatever the server says instead."""
    link = {
        "id": "c81a1dea-6dd6-4999-8b9f-541ee8197058",
        "institution": "erebor_mx_retail",
        "status": "valid",
        "created_at": "2026-03-01T09:00:00.100000Z",
        "external_id": "user-1",
        **body,
    }
    step = await played(scene, prepare=lambda box: box.inject(Fault.status(201, link)))
    assert step.problem
    assert said in step.problem


async def test_a_long_scene_is_shown_to_be_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment, with its name."""
    shown: list[str] = []

    class Audience(Data):
        def busy(self, text: str) -> AbstractContextManager[object]:
            shown.append(text)
            return super().busy(text)

    monkeypatch.setattr(demo, "PATIENCE", 0.05)
    monkeypatch.setattr(demo, "SCENES", (scenes.SCENES[5], scenes.SCENES[8]))
    assert (await demo.run(Audience())).ok
    assert shown == [NAMES[5], scenes.SCENES[8].meanwhile]


@pytest.mark.parametrize(
    "calls, tokens, words",
    [
        ({}, {}, "nothing"),
        ({"Register": 1}, {}, "1 Register"),
        ({"Register": 1, "Complete": 2}, {"1": 1, "2": 2}, "1 Register and 2 Completes (token 1 once, token 2 twice)"),
        ({"Register": 1, "Complete": 3}, {}, "1 Register and 3 Completes (no token)"),
        ({"Register": 1, "Complete": 1, "Get": 1}, {"1": 1}, "1 Register, 1 Complete and 1 Get (token 1 once)"),
        ({"Refresh": 2}, {"1": 3}, "2 Refreshes (token 1 3 times)"),
        ({"PUT /api/links/{id}/": 2}, {}, "2 PUT /api/links/{id}/ requests"),
    ],
)
def test_counts_are_said_in_words(calls: dict[str, int], tokens: dict[str, int], words: str) -> None:
    """Numbers agree with their nouns."""
    assert demo.received(calls, tokens) == words


def test_quotes_of_errors_are_plain_where_letters_are() -> None:
    """So that ASCII shows no escapes."""
    screen = Screen(Console(file=TextIOWrapper(BytesIO(), encoding="ascii"), width=80))
    screen._text("Belvo says: “Please wait.”", sign="failed")
    shown = screen._console.file
    shown.flush()
    assert isinstance(shown, TextIOWrapper)
    shown.seek(0)
    assert shown.read().strip() == '! Belvo says: "Please wait."'
