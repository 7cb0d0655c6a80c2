"""Calls as spans of OpenTelemetry.

A span has the attributes that the semantic conventions name, and our own under ``belvo.``. Exceptions are told by their
class alone: ``record_exception`` would keep texts and tracebacks that may quote anything.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final, TypeAlias

import attrs
from opentelemetry import context, trace

from belvo_links.errors import MfaRequiredError
from belvo_links.transport.observe import Attempted, Call, Challenged, Claimed, LimitWaited, Observer, Retrying, Settled
from belvo_links.version import __version__

NOTICEABLE: Final = 0.01
"""Seconds from which on a wait for the limiter is told."""

_Facts: TypeAlias = Mapping[str, str | int | float | bool | None]

_LASTING: Final = ("belvo.pending_id", "belvo.operation", "belvo.round", "belvo.state")
"""What an event of a pending session also leaves on the span."""


@attrs.define(eq=False)
class _Running:
    """A call under way."""

    span: trace.Span
    last: Attempted | None = None


class OpenTelemetryObserver(Observer):
    """Makes one client span of every call, such as ``belvo_links.register``, with what happens in it as events.

    The span is current while the call runs, so that spans of an instrumented HTTP session become its children. Of a
    pending session, what is told outside of any call becomes an event of the span that is current there.

    The status is an error where the call raises, except for a challenge and for a cancellation, which has the attribute
    ``belvo.cancelled``.

    Args:
        tracer_provider: makes the spans; the global one by default.
    """

    def __init__(self, tracer_provider: trace.TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("belvo_links", __version__, tracer_provider)
        self._key = context.create_key("belvo_links.call")

    @contextmanager
    def call(self, call: Call) -> Generator[None]:
        """Surround a call with its span."""
        about: _Facts = {
            "http.request.method": call.method,
            "url.template": call.template,
            "server.address": call.host,
            "server.port": call.port,
        }
        span = self._tracer.start_span(f"belvo_links.{call.name}", kind=trace.SpanKind.CLIENT, attributes=_given(about))
        running = _Running(span)
        token = context.attach(context.set_value(self._key, running, trace.set_span_in_context(span)))
        try:
            yield
        except BaseException as error:
            _fail(span, error)
            raise
        finally:
            context.detach(token)
            if running.last is not None:
                span.set_attributes(_given(_reply(running.last)))
            span.end()

    def attempted(self, event: Attempted) -> None:
        running = self._running()
        if running is not None:
            running.last = event
        self._tell(
            "attempt",
            {
                "belvo.attempt": event.number,
                "http.request.method": event.method,
                "url.template": event.template,
                "http.response.status_code": event.status,
                "error.type": event.error,
                "belvo.request_id": event.request_id,
                "belvo.seconds": event.seconds,
            },
        )

    def retrying(self, event: Retrying) -> None:
        self._tell("retry", {"belvo.attempt": event.number, "error.type": event.error, "belvo.seconds": event.delay})

    def limit_waited(self, event: LimitWaited) -> None:
        if event.seconds < NOTICEABLE and event.admitted:
            return
        lane = event.lane.name.lower()
        self._tell("limit_wait", {"belvo.lane": lane, "belvo.seconds": event.seconds, "belvo.admitted": event.admitted})

    def challenged(self, event: Challenged) -> None:
        self._tell(
            "challenge",
            {
                "belvo.pending_id": event.pending_id,
                "belvo.operation": event.operation,
                "belvo.round": event.round,
                "belvo.kind": event.kind,
                "belvo.expects_user_input": event.expects_user_input,
                "belvo.request_id": event.request_id,
            },
        )

    def claimed(self, event: Claimed) -> None:
        self._tell(
            "claim",
            {
                "belvo.pending_id": event.pending_id,
                "belvo.operation": event.operation,
                "belvo.round": event.round,
                "belvo.won": event.won,
            },
        )

    def settled(self, event: Settled) -> None:
        self._tell(
            "settle",
            {
                "belvo.pending_id": event.pending_id,
                "belvo.operation": event.operation,
                "belvo.round": event.round,
                "belvo.state.before": event.before,
                "belvo.state": event.state,
                "belvo.recorded": event.recorded,
            },
        )

    def _running(self) -> _Running | None:
        # A key of this observer's own: with two of them, each finds its own span.
        found = context.get_value(self._key)
        return found if isinstance(found, _Running) else None

    def _tell(self, name: str, facts: _Facts) -> None:
        running = self._running()
        span = trace.get_current_span() if running is None else running.span
        if running is not None:
            span.set_attributes(_given({name: facts.get(name) for name in _LASTING}))
        span.add_event(f"belvo_links.{name}", _given(facts))


def _reply(last: Attempted) -> _Facts:
    """Return what the last attempt of a call says of the whole call."""
    return {
        "http.response.status_code": last.status,
        "http.request.resend_count": last.number - 1 or None,
        "belvo.request_id": last.request_id,
    }


def _fail(span: trace.Span, error: BaseException) -> None:
    if isinstance(error, MfaRequiredError):
        return
    if not isinstance(error, Exception):
        span.set_attribute("belvo.cancelled", value=True)
        return
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(trace.StatusCode.ERROR)


def _given(facts: _Facts) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in facts.items() if value is not None}
