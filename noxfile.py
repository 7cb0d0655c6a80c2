"""`nox` runs the usual sessions, `nox -s NAME` one of them, `nox -l` lists them."""

import re
from pathlib import Path

import nox

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)  # from the classifiers, the one list of supported Pythons

nox.needs_version = ">=2025.11.12"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False  # an interpreter that is not installed is skipped, and said so
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint", "types", "imports", "docs"]


def lowest(requirements: list[str]) -> list[str]:
    """The lower bound of each requirement, pinned."""
    return [re.sub(r">=([^,]+).*", r"==\1", requirement) for requirement in requirements]


def run_tests(session: nox.Session) -> None:
    """The test command, with coverage of this session alone."""
    session.env["COVERAGE_FILE"] = str(Path(session.create_tmp()).resolve() / ".coverage")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", "-q")
    if not session.posargs:  # a part of the tests covers a part of the code
        session.run("coverage", "report")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests on every supported Python."""
    session.install("-e", ".[test]")
    run_tests(session)


@nox.session(python=PYTHONS[0], name="lowest")
def oldest(session: nox.Session) -> None:
    """The tests with the oldest core dependencies that pyproject.toml admits."""
    session.install("-e", ".[test]", *lowest(PROJECT["project"]["dependencies"]))
    run_tests(session)


@nox.session
def browser(session: nox.Session) -> None:
    """The simulator's page in the system's Chromium."""
    session.install("-e", ".[test,browser]")
    session.run("pytest", *(session.posargs or ["tests/browser"]), env={"BELVO_LINKS_REQUIRE_BROWSER": "1"})


@nox.session
def lint(session: nox.Session) -> None:
    """Style; `nox -s lint -- --fix` repairs what can be repaired."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check", *session.posargs, ".")
    session.run("ruff", "format", *([] if session.posargs else ["--check"]), ".")


@nox.session
def types(session: nox.Session) -> None:
    """Strict mypy on everything, pyright on the file that states the public types."""
    session.install("-e", ".[all,test,browser,lint]")
    session.run("mypy", *session.posargs)
    if Path("tests/typing").is_dir():
        session.run("pyright")


@nox.session
def imports(session: nox.Session) -> None:
    """Who may import whom."""
    session.install("-e", ".[lint]")
    session.run("lint-imports", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, into site/."""
    session.install("-e", ".[docs]")
    session.run("zensical", "build", "--clean", "--strict")


@nox.session
def prove(session: nox.Session) -> None:
    """What is promised, at length: thousands of examples, thousands of races, hundreds of killed processes."""
    session.install("-e", ".[test]")
    session.run(
        "pytest",
        "--timeout=1800",
        *("-m", "hypothesis or prove"),
        *session.posargs,
        env={"HYPOTHESIS_PROFILE": "prove", "BELVO_LINKS_PROVE": "1"},
    )
    session.run("python", "-m", "tests.sandbox.planted")


@nox.session
def bench(session: nox.Session) -> None:
    """Every script of benchmarks/, one after the other."""
    session.install("-e", ".[cli,test]")
    scripts = session.posargs or sorted(str(path) for path in Path("benchmarks").glob("[a-z]*.py"))
    if not scripts:
        session.skip("benchmarks/ holds no script")
    for script in scripts:
        session.run("python", script, env={"PYTHONASYNCIODEBUG": ""})
