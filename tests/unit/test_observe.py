"""Events, templates, and the guard between a client and an observer."""

import asyncio
import logging
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, get_args

import pytest

from belvo_links.protocol import operations
from belvo_links.telemetry import Call, Event, Observer
from belvo_links.transport.messages import Request
from belvo_links.transport.observe import CALLS, OPERATIONS, template
from belvo_links.transport.watch import METHODS, Guard, Watch
from tests.observing import CALL, EVENTS, Recorder

LINK_ID = "e4bb1afb-4a4f-4dd6-8be0-e615d233185b"


class Broken(Observer):
    """Raises wherever it is told to."""

    def __init__(self, error: BaseException, *where: str) -> None:
        self.where = where
        for name in EVENTS:
            if name in where:
                setattr(self, name, self._raise)
        self.error = error
        self.ended: list[BaseException | None] = []

    def _raise(self, event: object) -> None:
        raise self.error

    def call(self, call: Call) -> AbstractContextManager[object]:
        if "call" in self.where:
            raise self.error
        return self._around()

    @contextmanager
    def _around(self) -> Generator[None]:
        if "enter" in self.where:
            raise self.error
        ended: BaseException | None = None
        try:
            yield
        except BaseException as error:  # noqa: BLE001  # to see whether it is passed on all the same
            ended = error
        self.ended.append(ended)
        if "exit" in self.where:
            raise self.error


class Canary(Exception):  # noqa: N818  # its name is what is looked for
    """What an observer of somebody else's raises."""


# ----------------------------------------------------------------------------------------------------------- templates


@pytest.mark.parametrize(
    "path, shown",
    [
        ("/api/links/", "/api/links/"),
        (f"/api/links/{LINK_ID}/", "/api/links/{id}/"),
        (f"/api/links/{LINK_ID}/refresh/", "/api/links/{id}/refresh/"),
        (operations.LOOK.path, "/api/links/{id}/"),
        ("/api/owners/Maria/42/", "/api/owners/{id}/{id}/"),
    ],
)
def test_a_template_names_nobody(path: str, shown: str) -> None:
    """Whatever may name a link or a person is an id."""
    assert template(Request(method="GET", path=path, query=(("external_id", "canary"),))) == shown


def test_the_names_of_calls_are_those_of_the_operations() -> None:
    """And what is made of several of them."""
    known = {
        operations.get(LINK_ID).name,
        operations.page().name,
        operations.partial_page(fields=["id"]).name,
        operations.iteration_page(None, page=1, page_size=1).name,
        operations.count().name,
        operations.patch(LINK_ID, stale_in="90d").name,
        operations.delete(LINK_ID, mode="async").name,
        operations.refresh(LINK_ID).name,
        operations.get_json("/api/institutions/").name,
    }
    assert known | {"register", "update", "complete", "reconcile"} == CALLS
    assert OPERATIONS < CALLS


# --------------------------------------------------------------------------------------------------------------- guard


def test_every_event_has_its_method() -> None:
    """The union, the table and the protocol say the same."""
    assert set(METHODS) == set(get_args(Event)) == set(map(type, EVENTS.values()))
    assert {"call", *METHODS.values()} == {name for name in vars(Observer) if not name.startswith("_")}


def test_an_observer_need_not_override_anything() -> None:
    """The methods of the protocol do nothing."""
    quiet = Guard(type("Quiet", (Observer,), {})())
    with quiet.around(CALL):
        for event in EVENTS.values():
            quiet.tell(event)


@pytest.mark.parametrize("name, event", EVENTS.items(), ids=EVENTS)
def test_each_event_goes_to_its_own_method(name: str, event: Event) -> None:
    """And to no other."""
    told: list[tuple[str, object]] = []
    methods: Any = {each: (lambda self, event, each=each: told.append((each, event))) for each in EVENTS}
    Guard(type("Noting", (Observer,), methods)()).tell(event)
    assert told == [(name, event)]


@pytest.mark.parametrize("observer", [None, object(), Observer, Broken, lambda event: None])
def test_what_is_no_observer_is_refused_at_once(observer: Any) -> None:
    """Also a class instead of an instance."""
    with pytest.raises(TypeError, match="observer: give an instance"):
        Guard(observer)


@pytest.mark.parametrize("error", [Canary("canary text"), asyncio.CancelledError("canary text")], ids=type)
@pytest.mark.parametrize("where", [*EVENTS, "call", "enter", "exit"])
@pytest.mark.parametrize("fails", [False, True])
def test_an_observer_that_raises_harms_nothing(
    where: str, error: BaseException, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, by its class; the call's own error passes as it is, and stands alone."""
    observer = Broken(error, where)
    guard = Guard(observer)
    own = ValueError("the call's own")

    def call() -> str:
        with guard.around(CALL):
            for event in EVENTS.values():
                guard.tell(event)
            if fails:
                raise own
            return "done"

    if fails:
        with pytest.raises(ValueError, match="own") as caught:
            call()
        assert caught.value is own
    else:
        assert call() == "done"
    assert own.__context__ is None
    assert own.__cause__ is None
    assert observer.ended == ([] if where in {"call", "enter"} else [own if fails else None])
    failures = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert failures == [f"the observer failed: {type(error).__name__}"]
    assert "canary" not in caplog.text.replace("Canary", "")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)], ids=type)
@pytest.mark.parametrize("where", ["attempted", "call", "enter", "exit"])
def test_what_ends_the_program_is_not_held_up(where: str, error: BaseException) -> None:
    """Control-C may come at any moment, also here."""
    guard = Guard(Broken(error, where))
    with pytest.raises(type(error)), guard.around(CALL):
        guard.tell(EVENTS["attempted"])


def test_an_observer_cannot_suppress_an_error() -> None:
    """What its context manager returns is not heeded."""
    with pytest.raises(ValueError, match="stays"), Guard(Broken(Canary())).around(CALL):
        raise ValueError("stays")


@pytest.mark.parametrize(
    "origin, host, port",
    [
        ("https://sandbox.belvo.com", "sandbox.belvo.com", 443),
        ("http://127.0.0.1:8080", "127.0.0.1", 8080),
        ("http://[::1]", "::1", 80),
        ("https://proxy.example:8443/below/a/canary", "proxy.example", 8443),
    ],
)
def test_a_call_says_where_it_goes(origin: str, host: str, port: int) -> None:
    """Host and port, and no more of the address."""
    observer = Recorder()
    with Watch(observer, origin=origin).call("get", Request(method="GET", path=f"/api/links/{LINK_ID}/")):
        pass
    assert observer.calls == [Call(name="get", method="GET", template="/api/links/{id}/", host=host, port=port)]
