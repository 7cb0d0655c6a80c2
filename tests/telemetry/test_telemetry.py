"""The package itself: its names, its extras, and several observers at once."""

import logging
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

import belvo_links
from belvo_links import telemetry
from belvo_links.sandbox import Sandbox
from belvo_links.telemetry import Attempted, Call, Observer, Observers
from tests.mfa.helpers import SOME_LINK, client
from tests.observing import CALL, EVENTS, Recorder


@pytest.mark.parametrize("name", telemetry.__all__)
def test_every_name_resolves(name: str) -> None:
    """On first use."""
    assert getattr(telemetry, name) is getattr(sys.modules[telemetry._HOMES[name]], name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As for any module."""
    assert not hasattr(telemetry, "Spans")


def test_the_root_has_the_same_observer() -> None:
    """It is part of the client's signature."""
    assert belvo_links.Observer is telemetry.Observer


@pytest.mark.parametrize(
    "name, blocked, extra",
    [("OpenTelemetryObserver", "opentelemetry", "otel"), ("PrometheusObserver", "prometheus_client", "prometheus")],
)
def test_a_missing_extra_is_named(name: str, blocked: str, extra: str) -> None:
    """And everything else is there without it."""
    program = f"""
import sys
sys.modules[{blocked!r}] = None
from belvo_links import telemetry
for name in telemetry.__all__:
    if name != {name!r}:
        getattr(telemetry, name)
try:
    telemetry.{name}
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{name} needs the extra [{extra}]: pip install 'belvo-links[{extra}]'\n"


def test_a_module_of_ours_that_is_missing_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a fault of the package, and says so."""
    monkeypatch.setitem(telemetry._HOMES, "Gone", "belvo_links.telemetry.gone")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'belvo_links\.telemetry\.gone'"):
        telemetry.Gone  # noqa: B018  # type: ignore[attr-defined]  # the use is what is tested


def test_importing_it_loads_neither_library() -> None:
    """Nor does the client."""
    program = """
import sys
import belvo_links.telemetry
from belvo_links import BelvoLinks
belvo_links.telemetry.Observers, belvo_links.telemetry.Settled
print(sys.modules.keys() & {"opentelemetry", "prometheus_client"})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# ------------------------------------------------------------------------------------------------------------- several


class Failing(Observer):
    """Raises at everything."""

    def call(self, call: Call) -> Any:
        raise RuntimeError

    def attempted(self, event: Attempted) -> None:
        raise RuntimeError


async def test_several_observers_are_told_in_order(box: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """All of everything, although one of them fails, which is logged once for each failure."""
    first, last = Recorder(), Recorder()
    first.lines = last.lines
    async with client(box, observer=Observers(first, Failing(), last)) as belvo:
        with pytest.raises(belvo_links.NotFoundError):
            await belvo.get(SOME_LINK)
    lines = ["get {", "attempt 1: 404 NotFoundError", "} NotFoundError"]
    assert last.lines == [line for line in lines for _ in range(2)]
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert logged == ["the observer failed: RuntimeError"] * 2


def test_the_first_of_several_is_the_outermost() -> None:
    """It begins first and ends last."""
    notes: list[str] = []

    class Noting(Observer):
        def __init__(self, name: str) -> None:
            self.name = name

        @contextmanager
        def call(self, call: Call) -> Generator[None]:
            notes.append(f"{self.name} {{")
            yield
            notes.append(f"}} {self.name}")

        def attempted(self, event: Attempted) -> None:
            notes.append(self.name)

    together = Observers(Noting("first"), Noting("second"))
    with together.call(CALL):
        together.attempted(EVENTS["attempted"])  # type: ignore[arg-type]  # it is that one
    assert notes == ["first {", "second {", "first", "second", "} second", "} first"]


def test_several_observers_are_told_of_every_event() -> None:
    """Each method hands on."""
    recorders = [Recorder(), Recorder()]
    together = Observers(*recorders)
    for name, event in EVENTS.items():
        getattr(together, name)(event)
    assert [recorder.events for recorder in recorders] == [list(EVENTS.values())] * 2
    assert [len(recorder.lines) for recorder in recorders] == [len(EVENTS)] * 2


def test_one_that_is_no_observer_is_refused() -> None:
    """At once, not at the first event."""
    with pytest.raises(TypeError, match="observer"):
        Observers(Recorder(), print)  # type: ignore[arg-type]  # on purpose
