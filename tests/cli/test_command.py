"""The command as such: help, versions, wrong calls, missing libraries, interrupts."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from time import perf_counter

import pytest

import belvo_links.cli
from belvo_links.cli.entry import main
from belvo_links.cli.exits import Exit
from tests.cli.running import SHORT, environment, in_a_terminal, in_pipes

HELPS = [("--help",), ("-h",), ("demo", "--help"), ("sandbox", "--help")]


@pytest.mark.parametrize("arguments", HELPS)
def test_help_is_there_for_every_command(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """It is printed to standard output, and that is success."""
    assert main(arguments) == Exit.DONE
    shown = capsys.readouterr()
    assert shown.out.startswith("Usage: belvo-links")
    assert shown.err == ""


def test_help_names_the_options() -> None:
    """Every option with what it is for, within 80 columns."""
    done = in_pipes("sandbox", "--help")
    assert all(option in done.out for option in ("--port", "--host", "--seed", "--json"))
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize("arguments", [("--version",), ("demo", "--version"), ("sandbox", "--version")])
def test_the_version_is_there_for_every_command(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """It is that of the installed distribution."""
    assert main(arguments) == Exit.DONE
    assert capsys.readouterr().out == f"belvo-links {version('belvo-links')}\n"


def test_help_loads_no_http_library() -> None:
    """So that it is there at once."""
    code = """
import sys
from belvo_links.cli import main
assert main(["--help"]) == main(["demo", "--help"]) == main(["sandbox", "--help"]) == main(["--version"]) == 0
print(sorted({"aiohttp", "cattrs", "msgspec", "segno"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == "[]\n"


def test_help_is_quick() -> None:
    """Far below what loading the client takes, with room for a slow machine."""
    began = perf_counter()
    in_pipes("--help")
    assert perf_counter() - began < 2


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["nothing"], 'belvo-links: Unknown command "nothing".'),
        (["demo", "more"], "belvo-links demo: Unexpected argument: more. Try: belvo-links demo --help"),
        (["demo", "--jsn"], "belvo-links demo: Unknown option: --jsn. Did you mean --json?"),
        (["sandbox", "--port", "99999"], 'belvo-links sandbox: Invalid value "99999" for --port.'),
        (["sandbox", "--port", "-1"], 'belvo-links sandbox: Invalid value "-1" for --port.'),
        (["sandbox", "--port", "high"], "belvo-links sandbox: Invalid value for --port:"),
        (["sandbox", "--seed"], 'belvo-links sandbox: Command "sandbox" parameter --seed requires an argument.'),
    ],
)
def test_a_wrong_call_gets_one_clear_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, with exit code 2."""
    assert main(arguments) == Exit.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(said)
    assert shown.err.count("\n") == 1


def test_no_command_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, since nothing was done."""
    assert main([]) == Exit.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "sandbox" in shown.err


@pytest.mark.parametrize(
    "library, argument",
    [
        ("cyclopts", "--help"),
        ("cyclopts", "demo"),
        ("rich", "--help"),
        ("rich", "demo"),
        ("aiosqlite", "demo"),
        ("jinja2", "sandbox"),
    ],
)
def test_missing_libraries_are_named_with_the_extra_that_brings_them(library: str, argument: str) -> None:
    """One line and exit code 2, no traceback."""
    code = (
        f"import sys; sys.modules[{library!r}] = None; from belvo_links.cli import main; sys.exit(main([{argument!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == Exit.USAGE
    assert done.stderr == f"belvo-links: {library} is not installed; run: pip install 'belvo-links[cli]'\n"
    assert done.stdout == ""


def test_a_library_that_no_extra_brings_is_a_bug_and_looks_like_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """To install the extra would not help."""
    monkeypatch.setattr("belvo_links.cli.app.run", _raising(ModuleNotFoundError("gone", name="json")))
    with pytest.raises(ModuleNotFoundError):
        main(["demo"])


def test_an_interrupt_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the exit code of shells."""
    monkeypatch.setattr("belvo_links.cli.app.run", _raising(KeyboardInterrupt()))
    assert main(["demo"]) == Exit.INTERRUPTED
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("arguments", [["demo"], ["demo", "--json"]])
def test_a_reader_who_leaves_early_gets_no_traceback(arguments: list[str]) -> None:
    """`belvo-links demo | head -1`."""
    process = subprocess.Popen([*SHORT, *arguments], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(timeout=20) == Exit.FAILED


def test_help_keeps_its_colours_from_pipes_and_from_those_who_want_none() -> None:
    """Coloured in a terminal only; plain ASCII where nothing else can be shown."""
    assert "\x1b[" in in_a_terminal("--help").out
    assert "\x1b" not in in_a_terminal("--help", NO_COLOR="1").out
    assert "\x1b" not in in_a_terminal("--help", TERM="dumb").out
    assert "\x1b" not in in_pipes("--help", FORCE_COLOR="1").out
    assert in_pipes("--help", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii").out.isascii()


def test_the_package_names_its_entry_only() -> None:
    """Everything else is found where it is."""
    assert belvo_links.cli.main is main
    with pytest.raises(AttributeError, match="nothing"):
        _ = belvo_links.cli.nothing


def _raising(error: BaseException) -> Callable[[object], int]:
    def run(_: object) -> int:
        raise error

    return run
