"""Observers for tests: one that writes down, and all of them at once."""

from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from belvo_links.telemetry import (
    Attempted,
    Call,
    Challenged,
    Claimed,
    Event,
    LimitWaited,
    Observer,
    Observers,
    OpenTelemetryObserver,
    PrometheusObserver,
    Retrying,
    Settled,
)
from belvo_links.transport.messages import Lane

CALL = Call(name="get", method="GET", template="/api/links/{id}/", host="sandbox.belvo.com", port=443)
EVENTS: dict[str, Event] = {
    "attempted": Attempted(call="get", number=1, method="GET", template="/api/links/{id}/", status=200, seconds=0.1),
    "retrying": Retrying(call="get", number=1, error="ServerError", delay=0.5),
    "limit_waited": LimitWaited(call="get", lane=Lane.CALL, seconds=0.1),
    "challenged": Challenged(pending_id="p", operation="register", round=1, kind="text", expects_user_input=True),
    "claimed": Claimed(pending_id="p", operation="register", round=1, won=True),
    "settled": Settled(pending_id="p", operation="register", round=1, before="submitting", state="linked"),
}
"""One of each kind, by the method that is told of it."""


class Recorder(Observer):
    """Writes down what it is told, as values and as short lines."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.calls: list[Call] = []
        self.lines: list[str] = []

    def take(self) -> list[str]:
        """The lines so far; a new page is begun."""
        lines, self.lines = self.lines, []
        return lines

    @contextmanager
    def call(self, call: Call) -> Generator[None]:
        self.calls.append(call)
        self.lines.append(f"{call.name} {{")
        end = "}"
        try:
            yield
        except BaseException as error:
            end = f"}} {type(error).__name__}"
            raise
        finally:
            self.lines.append(end)

    def attempted(self, event: Attempted) -> None:
        outcome = " ".join(str(part) for part in (event.status, event.error) if part is not None)
        self._note(event, f"attempt {event.number}: {outcome}")

    def retrying(self, event: Retrying) -> None:
        self._note(event, f"repeat {event.number}: {event.error}")

    def limit_waited(self, event: LimitWaited) -> None:
        self._note(event, f"{'waited' if event.admitted else 'gave up'}: {event.lane.name.lower()}")

    def challenged(self, event: Challenged) -> None:
        self._note(event, f"challenge {event.round}: {event.kind}")

    def claimed(self, event: Claimed) -> None:
        self._note(event, f"claim {event.round}: {'won' if event.won else 'lost'}")

    def settled(self, event: Settled) -> None:
        self._note(event, f"{event.before} > {event.state}{'' if event.recorded else ' (unrecorded)'}")

    def _note(self, event: Event, line: str) -> None:
        self.events.append(event)
        self.lines.append(line)


class Tracing:
    """OpenTelemetry in memory."""

    def __init__(self) -> None:
        self.provider = TracerProvider(shutdown_on_exit=False, resource=Resource.get_empty())
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.observer = OpenTelemetryObserver(self.provider)

    def take(self) -> list[ReadableSpan]:
        """The spans that have ended, in that order; they are forgotten."""
        spans = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return spans


class Everything:
    """All observers that there are, and all that they say as text."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.tracing = Tracing()
        self.registry = CollectorRegistry()
        self.observer = Observers(self.recorder, self.tracing.observer, PrometheusObserver(self.registry))
        self.spans: list[ReadableSpan] = []

    def text(self) -> str:
        """Events, spans and metrics."""
        self.spans += self.tracing.take()
        return "\n".join(
            [
                *map(repr, self.recorder.events),
                *map(repr, self.recorder.calls),
                *self.recorder.lines,
                *(span.to_json() for span in self.spans),
                *(repr(span.status.description) for span in self.spans),
                generate_latest(self.registry).decode(),
            ]
        )
