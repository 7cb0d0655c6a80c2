"""`belvo-links audit` as a process against a simulator behind a socket, and what its parts say."""

import asyncio
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
from jsonschema import validate
from rich.console import Console

from belvo_links.audit.progress import Progress
from belvo_links.cli.audit import Order, run_audit
from belvo_links.cli.entry import main
from belvo_links.cli.exits import Exit
from belvo_links.cli.progress import following, lasting, said
from belvo_links.cli.show_audit import printable, show
from belvo_links.protocol.models import LinkStatus
from belvo_links.sandbox import Fault, Sandbox, Switches
from tests.audit.reporting import link, make_run, portfolio, report
from tests.audit.test_writers import DOCUMENT
from tests.cli.running import COMMAND, Ended, environment, in_a_terminal, in_pipes

DOCS = Path(__file__).parents[2] / "docs" / "audits.md"
BUSY = Progress(
    links=1200, total=5000, findings=1, unreadable=2, seconds=3, rate=400, remaining=3700, waiting_for="rate limit"
)


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=3) as sandbox:
        sandbox.add_links(40, institution="gringotts_mx_retail", external_id="user-1")
        sandbox.add_links(2, status="invalid", external_id="user-2")
        yield sandbox


async def called(box: Sandbox, *arguments: object, **variables: str) -> Ended:
    """The command with the simulator's keys in its environment."""
    return await asyncio.to_thread(in_pipes, "audit", *map(str, arguments), **{**box.env, **variables})


# ------------------------------------------------------------------------------------------------- against a simulator


async def test_it_sums_up_and_writes_the_page(box: Sandbox, tmp_path: Path) -> None:
    page = tmp_path / "audit.html"
    done = await called(box, "--html", page)
    assert (done.code, done.err) == (Exit.DONE, "")
    assert "42 links, complete" in done.out
    assert re.search(r"invalid +2\b", done.out)
    assert re.search(r"high +2\b", done.out)
    assert f"HTML report: {page}" in done.out
    assert "\x1b" not in done.out
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert all(str(each["id"]) in page.read_text() for each in box.links if each["status"] == "invalid")
    assert list(tmp_path.iterdir()) == [page]


async def test_json_is_the_whole_report_and_nothing_else(box: Sandbox) -> None:
    done = await called(box, "--json", FORCE_COLOR="1")
    assert (done.code, done.err) == (Exit.DONE, "")
    document = json.loads(done.out)
    validate(document, DOCUMENT)
    assert document["links"] == 42
    assert {each["link_id"] for each in document["findings"] if each["check"] == "invalid"} == {
        each["id"] for each in box.links if each["status"] == "invalid"
    }
    assert "user-" not in done.out


async def test_findings_are_an_exit_code_where_that_is_asked_for(box: Sandbox, tmp_path: Path) -> None:
    codes = [(await called(box, "--fail-on", severity)).code for severity in ("high", "info")]
    assert codes == [Exit.FINDINGS, Exit.FINDINGS]
    calm = await called(box, "--fail-on", "high", "--institution", "gringotts_mx_retail", "--csv", tmp_path / "out.csv")
    assert calm.code == Exit.DONE
    assert "40 links" in calm.out
    assert (tmp_path / "out.csv").read_text().startswith("check,severity,link_id")


async def test_filters_choose_the_links(box: Sandbox) -> None:
    assert "2 links" in (await called(box, "--status", "invalid", "--status", "token_required")).out
    assert "0 links" in (await called(box, "--created-before", "2020-01-01")).out
    assert "42 links" in (await called(box, "--created-from", "2020-01-01", "--access-mode", "single")).out


async def test_a_run_is_kept_and_compared(box: Sandbox, tmp_path: Path) -> None:
    before, after, part = (tmp_path / name for name in ("before", "after", "part"))
    assert (await called(box, "--save", before, "--checkpoint", part)).code == Exit.DONE
    assert not part.exists(), "a checkpoint goes when its report is there"
    valid = next(str(each["id"]) for each in box.links if each["status"] == "valid")
    box.add_links(1, status="token_required")
    box.set_status(valid, "invalid")
    assert (await called(box, "--save", after)).code == Exit.DONE
    assert stat.S_IMODE(after.stat().st_mode) == 0o600
    done = await called(box, "diff", before, after, "--json", "--fail-on", "high")
    assert (done.code, done.err) == (Exit.FINDINGS, "")
    told = json.loads(done.out)
    assert sorted((each["change"], each["after"]) for each in told["links"]) == [
        ("changed", "invalid"),
        ("new", "token_required"),
    ]
    assert told["notes"] == []


async def test_pseudonyms_need_a_key_and_are_the_same_each_time(box: Sandbox, tmp_path: Path) -> None:
    refused = await called(box, "--pseudonymise", "--json", BELVO_PSEUDONYM_KEY="short")
    assert (refused.code, refused.out) == (Exit.USAGE, "")
    assert "set BELVO_PSEUDONYM_KEY to a key of 16 characters or more" in refused.err
    key = {"BELVO_PSEUDONYM_KEY": "a key of 32 characters, or so, ok"}
    first, second = [json.loads((await called(box, "--pseudonymise", "--json", **key)).out) for _ in range(2)]
    ids = {each["external_id"] for each in first["findings"]}
    assert ids == {each["external_id"] for each in second["findings"]}
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in ids)


async def test_a_service_that_breaks_its_word_makes_an_incomplete_report(tmp_path: Path) -> None:
    page = tmp_path / "audit.html"
    async with Sandbox(switches=Switches(list_order="oldest_first")) as box:
        box.add_links(40)
        done = await called(box, "--html", page, "--checkpoint", tmp_path / "part", "--fail-on", "info")
    assert done.code == Exit.INCOMPLETE
    assert done.err.startswith("belvo-links audit: not complete, links may be missing: ")
    assert "not complete" in done.out
    assert "Links may be missing." in page.read_text()
    assert list(tmp_path.iterdir()) == [page], "nothing is left to go on with"


async def test_an_unreachable_service_is_one_line(box: Sandbox, tmp_path: Path) -> None:
    done = await called(box, "--html", tmp_path / "out.html", BELVO_BASE_URL="http://127.0.0.1:9")
    assert (done.code, done.out) == (Exit.FAILED, "")
    assert done.err.startswith("belvo-links audit: ")
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_audit_says_how_to_go_on(box: Sandbox, tmp_path: Path, way: signal.Signals) -> None:
    box.inject(Fault.delay(20), method="GET", times=100)
    part = tmp_path / "part"
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "audit", "--checkpoint", str(part), env=environment(**box.env),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(30):
        while not box.requests:  # noqa: ASYNC110  # another process is waited for
            await asyncio.sleep(0.05)
        process.send_signal(way)
        out, err = await process.communicate()
    assert process.returncode == Exit.INTERRUPTED
    assert out == b""
    assert err.decode() == f"What was finished is in {part}: the same command goes on from there.\n"


async def test_a_terminal_sees_how_far_it_is_and_a_table_at_the_end(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in box.env.items():
        monkeypatch.setenv(name, value)
    done = await asyncio.to_thread(in_a_terminal, "audit")
    assert done.code == Exit.DONE
    assert "\x1b[" in done.out
    assert re.search("(42|0) of 42 links", done.out)
    assert "42 links, " in done.out
    plain = await asyncio.to_thread(lambda: in_a_terminal("audit", NO_COLOR="1"))
    assert "\x1b" not in plain.out


async def test_a_reader_who_leaves_early_gets_no_traceback(box: Sandbox) -> None:
    def left() -> tuple[int, bytes]:
        process = subprocess.Popen(
            [*COMMAND, "audit", "--json"],
            env=environment(**box.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        with process.stderr:
            told = process.stderr.read()
        return process.wait(timeout=20), told

    assert await asyncio.to_thread(left) == (Exit.FAILED, b"")


async def test_a_full_disk_is_one_line(box: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in box.env.items():
        monkeypatch.setenv(name, value)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("belvo_links.audit.writers.write_csv", fail)
    told: list[tuple[str, str]] = []
    monkeypatch.setattr("belvo_links.cli.audit.complain", lambda *said: told.append(said))
    assert await run_audit(Order(csv=tmp_path / "out.csv")) == Exit.FAILED
    assert told == [("audit", "a file cannot be written: No space left on device")]
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------ called wrongly


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--fail-on", "severe"], "Invalid value"),
        (["--created-from", "yesterday"], "Invalid value"),
        (["--status", ""], "status__in"),
        (["--institution", "No Bank"], "institution__in"),
        (["--html", "/no/such/folder/page.html"], "cannot write /no/such/folder/page.html."),
        (["diff", "one"], "requires an argument"),
    ],
)
def test_a_wrong_call_is_one_line_and_sends_nothing(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("SECRET_ID", "id"), ("SECRET_PASSWORD", "x" * 20), ("BASE_URL", "http://127.0.0.1:9")):
        monkeypatch.setenv(f"BELVO_{name}", value)
    monkeypatch.delenv("BELVO_ENVIRONMENT", raising=False)
    assert main(["audit", *arguments]) == Exit.USAGE
    shown = capsys.readouterr()
    assert told in shown.err
    assert shown.out == ""
    assert shown.err.count("\n") == 1


def test_missing_keys_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("BELVO_")]:
        monkeypatch.delenv(name)
    assert main(["audit"]) == Exit.USAGE
    assert "BELVO_SECRET_ID" in capsys.readouterr().err


def test_a_missing_pyarrow_is_said_before_the_audit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["audit", "--parquet", str(tmp_path / "out")]) == Exit.USAGE
    assert "pip install 'belvo-links[parquet]'" in capsys.readouterr().err


def test_what_is_no_run_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "run", [])
    assert main(["audit", "diff", str(tmp_path / "run"), str(tmp_path / "missing")]) == Exit.FAILED
    assert capsys.readouterr().err.startswith("belvo-links audit diff: ")


def test_help_loads_no_http_library() -> None:
    code = """
import sys
from belvo_links.cli import main
assert main(["audit", "--help"]) == main(["audit", "diff", "--help"]) == 0
print(sorted({"aiohttp", "cattrs", "msgspec", "segno", "jinja2"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == "[]\n"
    options = set(re.findall(r"--[a-z][a-z-]+", DOCS.read_text(encoding="utf-8").partition("## The command")[2]))
    assert options <= set(re.findall(r"--[a-z-]+", done.stdout))


# ---------------------------------------------------------------------------------------------------- what people see


def test_progress_is_said_in_words() -> None:
    day = attrs.evolve(BUSY, total=0, rate=0, remaining=None, unreadable=0, findings=3, waiting_for=None)
    assert said(day) == "1,200 links, 3 findings"
    assert [lasting(seconds) for seconds in (0, 59, 60, 7300)] == ["1 s", "59 s", "1 min 0 s", "2 h 1 min"]
    assert said(BUSY) == (
        "1,200 of 5,000 links, 400/s, 1 h 1 min left, 1 finding, 2 unreadable, waits for the rate limit"
    )


def test_without_a_terminal_a_line_comes_every_few_seconds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    moments = iter([0.0, 1.0, 5.0, 5.0, 6.0, 10.0, 10.0])
    part = tmp_path / "part"
    part.touch()

    def interrupted() -> None:
        with following(part, clock=lambda: next(moments)) as tell:
            for _ in range(4):
                tell(BUSY)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [said(BUSY)] * 2
    assert lines[2:] == [f"What was finished is in {part}: the same command goes on from there."]


def shown(tmp_path: Path, **given: object) -> str:
    console = Console(record=True, width=80, force_terminal=False, color_system=None, file=(tmp_path / "out").open("w"))
    with console.file:
        show(report(tmp_path / "run", **{"links": portfolio(200), **given}), {"CSV": Path("a.csv")}, console)  # type: ignore[arg-type]  # whatever a test gives
    return console.export_text()


def test_the_summary_fits_a_terminal(tmp_path: Path) -> None:
    text = shown(tmp_path)
    assert "200 links, complete" in text
    assert "CSV: a.csv" in text
    assert max(map(len, text.splitlines())) <= 80
    assert text.index("high") < text.index("medium") < text.index("low")


def test_the_summary_says_what_is_not_there(tmp_path: Path) -> None:
    text = shown(
        tmp_path, links=[], complete=False, reason="The list was not newest first.", unreadable=[(None, ["$"])]
    )
    assert "0 links, 1 unreadable, not complete" in text
    assert "Nothing was found." in text
    assert "The list was not newest first." in " ".join(text.split())


def test_words_from_outside_steer_no_terminal(tmp_path: Path) -> None:
    text = shown(tmp_path, links=[link(number, status=LinkStatus(f"\x1b[31m{number}")) for number in range(20)])
    assert "\x1b" not in text
    assert "others" in text
    assert printable("a\x1b\u202eb") == "a��b"


def test_differences_are_listed_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "old", [link(number) for number in range(20)])
    make_run(tmp_path / "new", [link(number, status=LinkStatus.INVALID) for number in range(1, 21)], complete=False)
    assert main(["audit", "diff", str(tmp_path / "old"), str(tmp_path / "new")]) == Exit.DONE
    told = capsys.readouterr().out
    assert "Links: 19 changed, 1 gone, 1 new" in told
    assert "valid > invalid" in told
    assert "new: high" in told
    assert "and 9 more; --json prints all" in told
    assert "links may only seem to be gone" in told
    assert main(["audit", "diff", str(tmp_path / "new"), str(tmp_path / "new"), "--fail-on", "info"]) == Exit.DONE
    assert "Findings: no change" in capsys.readouterr().out
