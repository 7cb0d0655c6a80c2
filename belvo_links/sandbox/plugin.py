"""The pytest plugin: `belvo_sandbox`, a simulator for each test that asks for one.

Every test run of an environment with belvo_links loads this file, so it imports nothing else until it is used.
"""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .options import Switches
    from .threaded import ThreadedSandbox

_MARKERS = (
    "belvo_sandbox(seed, switches): what the simulator of this test is like; see belvo_links.sandbox.Switches",
    "belvo_allow_leaks: secrets of this test may stand in its log",
)
_OURS = "this is about the simulator (belvo_links.sandbox), not about the client or the code under test"
_ADVICE = (
    f"mask them where they are logged; if they are no secrets, use values that are not found by chance, "
    f"or mark the test with {_MARKERS[1].partition(':')[0]}"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two settings for the whole run, which a marker overrides."""
    parser.addini("belvo_sandbox_seed", "seed of the simulators of belvo_sandbox", default="0")
    parser.addini("belvo_sandbox_switches", "their switches, one a line: name = value", type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.fixture
def belvo_sandbox(request: pytest.FixtureRequest) -> Iterator[ThreadedSandbox]:
    """A clean simulator of Belvo's Links API, in a thread of its own: for sync and async tests alike.

    Give its url, secret_id, secret_password and **client_options to a client, or its env to a process. The test fails
    if the simulator itself does, or if secrets that it received were logged.
    """
    from .leaks import LogWatch, secrets_in
    from .threaded import SimulatorThread

    seed, switches = _wanted(request)
    watch = None if request.node.get_closest_marker("belvo_allow_leaks") else LogWatch()
    failure: ExceptionGroup[Exception] | None = None
    # A thread for each test, although one could serve them all: tests that fork want none beside them.
    with SimulatorThread() as thread:
        box = thread.open(seed=seed, switches=switches)
        try:
            with watch or nullcontext():
                yield box
        finally:
            try:
                box.close()
            except ExceptionGroup as group:
                failure = group
        received = box.ever_received()
    leaks = [] if watch is None else watch.leaks(secrets_in(received))
    report = "\n  ".join(("secrets were logged that the simulator received:", *leaks))
    if failure is not None:
        failure.add_note(f"{_OURS}\n{report}" if leaks else _OURS)
        raise failure
    if leaks:
        pytest.fail(f"{report}\n{_ADVICE}", pytrace=False)


def _wanted(request: pytest.FixtureRequest) -> tuple[int, Switches]:
    """What the settings say, then the markers, the closest one last."""
    from .options import Switches

    try:
        seed = int(request.config.getini("belvo_sandbox_seed"))
        switches: Switches | dict[str, Any] = dict(map(_setting, request.config.getini("belvo_sandbox_switches")))
        for marker in reversed(list(request.node.iter_markers("belvo_sandbox"))):
            given = dict(marker.kwargs)
            seed, chosen = given.pop("seed", seed), given.pop("switches", {})
            if given or marker.args:
                raise ValueError("the marker takes seed= and switches=")  # noqa: TRY301 - one place words it
            if isinstance(switches, dict) and isinstance(chosen, dict):
                switches = {**switches, **chosen}
            else:
                switches = chosen or switches
        return seed, switches if isinstance(switches, Switches) else Switches(**switches)
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(f"belvo_sandbox: {error}") from None


def _setting(line: str) -> tuple[str, Any]:
    name, _, value = (part.strip() for part in line.partition("="))
    try:
        return name, literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value
