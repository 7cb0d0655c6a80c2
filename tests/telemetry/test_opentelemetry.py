"""Spans: one for each call, with what happens in it as events, over a real socket."""

import asyncio
from typing import Any

import aiohttp
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from belvo_links import (
    BelvoLinks,
    BelvoLinksError,
    Credentials,
    IndeterminateOutcomeError,
    Lane,
    MfaRequiredError,
    PoolTimeoutError,
    ServerError,
    Timeouts,
)
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.telemetry import LimitWaited, Observers, OpenTelemetryObserver
from belvo_links.version import __version__
from tests.mfa.helpers import (
    EAGER,
    GOOD,
    LINK,
    LINKS,
    SOME_LINK,
    WRONG,
    Counting,
    arrived,
    client,
    link,
    pending,
    plain_link,
    register,
)
from tests.observing import CALL, EVENTS, Recorder, Tracing

LOOK: dict[str, Any] = {"method": "GET", "template": LINK}


@pytest.fixture
def tracing() -> Tracing:
    return Tracing()


@pytest.fixture
async def belvo(box: Sandbox, tracing: Tracing) -> Any:
    async with client(box, observer=tracing.observer) as opened:
        yield opened


def facts(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span but for those of every span."""
    shared = ("http.request.method", "url.template", "server.address", "server.port")
    return {name: value for name, value in (span.attributes or {}).items() if name not in shared}


def happened(span: ReadableSpan) -> list[tuple[str, dict[str, Any]]]:
    """The events of a span, without how long anything took."""
    return [
        (
            event.name.removeprefix("belvo_links."),
            {name: value for name, value in (event.attributes or {}).items() if name != "belvo.seconds"},
        )
        for event in span.events
    ]


def names(span: ReadableSpan) -> list[str]:
    return [name for name, _ in happened(span)]


def own_id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


async def test_a_call_is_one_client_span(box: Sandbox, belvo: BelvoLinks, tracing: Tracing) -> None:
    """With the attributes of the semantic conventions, and a template in the place of the address."""
    made = await plain_link(belvo)
    tracing.take()
    await belvo.get(made.id)
    (span,) = tracing.take()
    assert (span.name, span.kind, span.status.status_code) == ("belvo_links.get", SpanKind.CLIENT, StatusCode.UNSET)
    assert span.attributes == {
        "http.request.method": "GET",
        "url.template": "/api/links/{id}/",
        "server.address": "127.0.0.1",
        "server.port": int(box.url.rpartition(":")[2]),
        "http.response.status_code": 200,
    }
    assert span.instrumentation_scope is not None
    assert (span.instrumentation_scope.name, span.instrumentation_scope.version) == ("belvo_links", __version__)
    about = {"http.request.method": "GET", "url.template": LINK, "http.response.status_code": 200, "belvo.attempt": 1}
    assert happened(span) == [("attempt", about)]
    assert span.events[0].attributes is not None
    seconds = span.events[0].attributes["belvo.seconds"]
    assert isinstance(seconds, float)
    assert 0 < seconds < 60


async def test_attempts_and_repetitions_are_events_of_the_one_span(box: Sandbox, tracing: Tracing) -> None:
    """The span itself says how the last one went and how often it was repeated."""
    async with client(box, retry=EAGER, observer=tracing.observer) as belvo:
        made = await plain_link(belvo)
        tracing.take()
        box.inject(Fault.status(503, [{"request_id": "a" * 32}]), times=2, **LOOK)
        await belvo.get(made.id)
        (span,) = tracing.take()
        assert names(span) == ["attempt", "retry", "attempt", "retry", "attempt"]
        about = {"error.type": "ServerError", "belvo.attempt": 2}
        assert happened(span)[3] == ("retry", about)
        assert happened(span)[2][1].items() > {**about, "belvo.request_id": "a" * 32}.items()
        assert facts(span) == {"http.response.status_code": 200, "http.request.resend_count": 2}
        assert span.status.status_code is StatusCode.UNSET
        box.inject(Fault.status(503, [{"request_id": "b" * 32}]), times=3, **LOOK)
        with pytest.raises(ServerError):
            await belvo.get(made.id)
    (span,) = tracing.take()
    assert facts(span) == {
        "http.response.status_code": 503,
        "http.request.resend_count": 2,
        "belvo.request_id": "b" * 32,
        "error.type": "ServerError",
    }
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)


async def test_a_reply_that_never_came_leaves_no_status(box: Sandbox, tracing: Tracing) -> None:
    """What an earlier attempt got is in its event alone."""
    async with client(box, retry=EAGER, observer=tracing.observer) as belvo:
        box.inject(Fault.status(503), **LOOK)
        box.inject(Fault.drop_before(), times=2, **LOOK)
        with pytest.raises(BelvoLinksError):
            await belvo.get(SOME_LINK)
    (span,) = tracing.take()
    assert facts(span) == {"http.request.resend_count": 2, "error.type": "ResponseLostError"}


async def test_a_challenge_is_no_error(box: Sandbox, belvo: BelvoLinks, tracing: Tracing) -> None:
    """The span of the login has the pending session, and the span of each answer what became of it."""
    asked = await register(belvo)
    (span,) = tracing.take()
    assert (span.name, span.status.status_code) == ("belvo_links.register", StatusCode.UNSET)
    about = {"belvo.pending_id": asked.id, "belvo.operation": "register", "belvo.round": 1}
    request_id = asked.request_ids[0]
    assert facts(span) == {**about, "http.response.status_code": 428, "belvo.request_id": request_id}
    challenge = {"belvo.kind": "numeric", "belvo.expects_user_input": True, "belvo.request_id": request_id}
    assert happened(span)[1] == ("challenge", {**about, **challenge})

    second = pending(await asked.complete(WRONG))
    (span,) = tracing.take()
    assert names(span) == ["claim", "attempt", "settle", "challenge"]
    assert facts(span).items() > {"belvo.round": 2, "belvo.state": "awaiting"}.items()
    link(await second.complete(GOOD))
    (span,) = tracing.take()
    about["belvo.round"] = 2
    assert facts(span) == {**about, "belvo.state": "linked", "http.response.status_code": 201}
    assert happened(span)[0] == ("claim", {**about, "belvo.won": True})
    moved = {"belvo.state.before": "submitting", "belvo.state": "linked", "belvo.recorded": True}
    assert happened(span)[2] == ("settle", {**about, **moved})
    assert span.attributes is not None
    assert (span.attributes["http.request.method"], span.attributes["url.template"]) == ("PATCH", LINKS)


async def test_a_call_that_needs_a_token_first_is_no_error(box: Sandbox, belvo: BelvoLinks, tracing: Tracing) -> None:
    """It raises, and the pending session on that error is what comes of it."""
    made = await plain_link(belvo)
    tracing.take()
    box.inject(Fault.status(428, [{"code": "token_required", "session": "c" * 32, "link": made.id}]), **LOOK)
    with pytest.raises(MfaRequiredError):
        await belvo.get(made.id)
    look, span = tracing.take()
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in facts(span)
    assert names(span) == ["attempt", "challenge"]
    assert look.parent is not None
    assert look.parent.span_id == own_id(span)


async def test_what_a_call_needs_inside_is_its_child(box: Sandbox, belvo: BelvoLinks, tracing: Tracing) -> None:
    """The look after a lost reply; what it proves is an event of the call itself."""
    asked = await register(belvo)
    tracing.take()
    box.inject(Fault.drop_after(), method="PATCH", template=LINKS)
    box.inject(Fault.status(503), **LOOK)
    with pytest.raises(IndeterminateOutcomeError):
        await asked.complete(GOOD)
    look, span = tracing.take()
    assert (look.name, span.name) == ("belvo_links.get", "belvo_links.complete")
    assert look.parent is not None
    assert look.parent.span_id == own_id(span)
    assert (names(look), names(span)) == (["attempt"], ["claim", "attempt", "settle"])
    assert (facts(span)["belvo.state"], facts(span)["error.type"]) == ("indeterminate", "IndeterminateOutcomeError")
    link(await asked.reconcile())
    look, span = tracing.take()
    assert (look.name, span.name, names(span)) == ("belvo_links.get", "belvo_links.reconcile", ["settle"])
    assert facts(span)["belvo.state"] == "linked"
    assert span.attributes is not None
    assert span.attributes["url.template"] == LINK


async def test_a_cancellation_is_no_error(box: Sandbox, belvo: BelvoLinks, tracing: Tracing) -> None:
    """It was wanted; the span says so, and its events what became of the session."""
    asked = await register(belvo)
    tracing.take()
    box.inject(Fault.delay(5), method="PATCH", template=LINKS)
    task = asyncio.create_task(asked.complete(GOOD))
    await arrived(box)
    task.cancel()
    await asyncio.wait([task])
    (span,) = tracing.take()
    assert span.status.status_code is StatusCode.UNSET
    assert facts(span).items() > {"belvo.cancelled": True, "belvo.state": "indeterminate"}.items()
    assert "error.type" not in facts(span)
    assert names(span) == ["claim", "attempt", "settle"]


async def test_no_error_is_recorded_with_its_text(belvo: BelvoLinks, tracing: Tracing) -> None:
    """No `exception` event, no description: its class is all."""
    with pytest.raises(BelvoLinksError):
        await belvo.get(SOME_LINK)
    (span,) = tracing.take()
    assert names(span) == ["attempt"]
    assert (facts(span)["error.type"], span.status.description) == ("NotFoundError", None)


def test_only_a_wait_that_is_noticed_is_told(tracing: Tracing) -> None:
    """Or one that was given up; it would be an event of every span otherwise."""
    with tracing.observer.call(CALL):
        for seconds, admitted in ((0.009, True), (0.01, True), (0.0, False)):
            tracing.observer.limit_waited(LimitWaited(call="get", lane=Lane.BULK, seconds=seconds, admitted=admitted))
    (span,) = tracing.take()
    assert [dict(event.attributes or {}) for event in span.events] == [
        {"belvo.lane": "bulk", "belvo.seconds": 0.01, "belvo.admitted": True},
        {"belvo.lane": "bulk", "belvo.seconds": 0.0, "belvo.admitted": False},
    ]
    assert {event.name for event in span.events} == {"belvo_links.limit_wait"}


async def test_a_call_that_sends_nothing_has_no_attempt(box: Sandbox, tracing: Tracing) -> None:
    """Its turn did not come: the span has the wait and the error."""
    limiter = Counting()

    async def never() -> None:
        await asyncio.Event().wait()

    limiter.hook = never
    short = Timeouts(pool_wait=0.001)
    async with client(box, rate_limit=limiter, timeouts=short, observer=tracing.observer) as belvo:
        with pytest.raises(PoolTimeoutError):
            await belvo.count()
    (span,) = tracing.take()
    assert happened(span) == [("limit_wait", {"belvo.lane": "call", "belvo.admitted": False})]
    assert facts(span) == {"error.type": "PoolTimeoutError"}


async def test_the_span_is_current_while_the_request_is_sent(box: Sandbox, tracing: Tracing) -> None:
    """What traces the borrowed HTTP session makes children of it; afterwards all is as before."""
    seen: list[trace.Span] = []

    async def on_start(*_: Any) -> None:
        seen.append(trace.get_current_span())

    config = aiohttp.TraceConfig()
    config.on_request_start.append(on_start)
    tracer = tracing.provider.get_tracer("application")
    async with (
        aiohttp.ClientSession(trace_configs=[config]) as session,
        client(box, http_session=session, observer=tracing.observer) as belvo,
    ):
        with tracer.start_as_current_span("request") as outer:
            await plain_link(belvo)
            assert [each async for each in belvo.iterate(page_size=1, concurrency=2)]
            assert trace.get_current_span() is outer
    *calls, request = tracing.take()
    assert [span.get_span_context().span_id for span in seen] == [own_id(call) for call in calls]
    assert {call.parent.span_id for call in calls if call.parent} == {own_id(request)}
    assert [call.name for call in calls] == ["belvo_links.register", "belvo_links.iterate"]
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_calls_at_the_same_time_keep_their_events(box: Sandbox, belvo: BelvoLinks, tracing: Tracing) -> None:
    """Each event belongs to the call of its own task."""
    made = [await plain_link(belvo) for _ in range(5)]
    tracing.take()
    await asyncio.gather(*(belvo.get(each.id) for each in made))
    assert [names(span) for span in tracing.take()] == [["attempt"]] * 5


async def test_outside_of_a_call_the_applications_span_is_told(
    box: Sandbox, belvo: BelvoLinks, tracing: Tracing
) -> None:
    """Giving up asks nobody but the store; without any span nothing is kept."""
    asked, other = await register(belvo), await register(belvo)
    tracing.take()
    await other.cancel()
    with tracing.provider.get_tracer("application").start_as_current_span("request"):
        await asked.cancel()
    (span,) = tracing.take()
    assert (span.name, names(span), facts(span)) == ("request", ["settle"], {})


def test_an_attempt_that_belongs_to_no_call_of_ours_is_told_there_too(tracing: Tracing) -> None:
    """As it may where another observer hands on what it was told."""
    with tracing.provider.get_tracer("application").start_as_current_span("request"):
        tracing.observer.attempted(EVENTS["attempted"])  # type: ignore[arg-type]  # it is that one
    (span,) = tracing.take()
    assert (names(span), facts(span)) == (["attempt"], {})


async def test_two_observers_keep_their_spans_apart(box: Sandbox) -> None:
    """Each tells its own; the second is the child of the first where both have one provider."""
    one, other = Tracing(), Tracing()
    async with client(box, observer=Observers(one.observer, other.observer)) as belvo:
        await belvo.count()
    for tracing in (one, other):
        (span,) = tracing.take()
        assert names(span) == ["attempt"]
        assert facts(span) == {"http.response.status_code": 200}


async def test_without_a_provider_the_global_one_makes_the_spans(box: Sandbox) -> None:
    """None is set here: nothing is kept, and nothing is in the way."""
    recorder = Recorder()
    async with client(box, observer=Observers(OpenTelemetryObserver(), recorder)) as belvo:
        assert await belvo.count() == 0
    assert recorder.lines == ["count {", "attempt 1: 200", "}"]


async def test_a_login_that_fails_keeps_its_class_alone(box: Sandbox, belvo: BelvoLinks, tracing: Tracing) -> None:
    """Belvo's message, which may quote what was sent, is nowhere."""
    echo = [{"code": "invalid", "message": "canary", "field": "canary", "request_id": "canary with blanks"}]
    box.inject(Fault.status(400, echo), method="POST")
    with pytest.raises(BelvoLinksError):
        await belvo.register("a_bank", Credentials("canary", "canary"))
    (span,) = tracing.take()
    assert "canary" not in span.to_json()
    assert facts(span) == {"http.response.status_code": 400, "error.type": "InvalidFieldsError"}
