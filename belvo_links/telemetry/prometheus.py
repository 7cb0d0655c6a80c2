"""Counters and histograms of Prometheus.

A label holds one of a fixed set of words, whatever an event says, so that no word from outside makes a series of its
own.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Generator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from belvo_links import errors
from belvo_links.protocol.challenge import ChallengeKind
from belvo_links.protocol.record import PendingState
from belvo_links.transport.observe import (
    CALLS,
    OPERATIONS,
    OTHER,
    Attempted,
    Call,
    Challenged,
    Claimed,
    LimitWaited,
    Observer,
    Retrying,
    Settled,
)

NONE: Final = "none"
"""The label where there is no error, no reply or no kind."""

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_STATUSES: Final = frozenset(map(int, HTTPStatus))
_ERRORS: Final = frozenset(name for name in errors.__all__ if name.endswith("Error")) | {"CancelledError"}
_KINDS: Final = frozenset(map(str, ChallengeKind))
_STATES: Final = frozenset(map(str, PendingState))

_REQUEST_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 90, 120, 180)
"""Reads take tenths of a second; a login at an institution takes up to minutes."""

_WAIT_SECONDS: Final = (0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60)


class _Metrics:
    """What one registry has."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter("belvo_links_calls", "Calls that have ended.", ("call", "error"), registry=registry)
        self.requests = Counter(
            "belvo_links_requests",
            "Attempts of calls, by the status of the reply.",
            ("call", "method", "status", "error"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "belvo_links_request_seconds",
            "How long an attempt took, without waiting for a limit.",
            ("call", "method"),
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self.retries = Counter(
            "belvo_links_retries", "Attempts that were repeated.", ("call", "error"), registry=registry
        )
        self.limit_wait_seconds = Histogram(
            "belvo_links_limit_wait_seconds",
            "How long calls waited for the limiter.",
            ("lane", "admitted"),
            buckets=_WAIT_SECONDS,
            registry=registry,
        )
        self.challenges = Counter(
            "belvo_links_challenges", "Challenges of institutions.", ("operation", "kind"), registry=registry
        )
        self.claims = Counter(
            "belvo_links_claims",
            "Submissions that took their round of a pending session, or found it not to be had.",
            ("operation", "won"),
            registry=registry,
        )
        self.settled = Counter(
            "belvo_links_settled",
            "Pending sessions that were given back changed or have ended.",
            ("operation", "state", "recorded"),
            registry=registry,
        )


_made: Final[WeakKeyDictionary[CollectorRegistry, _Metrics]] = WeakKeyDictionary()
_making: Final = threading.Lock()


class PrometheusObserver(Observer):
    """Counts calls, attempts, repetitions, waits, challenges, claims and what becomes of pending sessions.

    Observers of one registry, such as those of two clients, share its metrics.

    Args:
        registry: where the metrics are; the global one by default.

    Raises:
        ValueError: the registry has other metrics of these names.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        chosen = REGISTRY if registry is None else registry
        with _making:
            if chosen not in _made:
                _made[chosen] = _Metrics(chosen)
            self._metrics = _made[chosen]

    @contextmanager
    def call(self, call: Call) -> Generator[None]:
        """Count a call when it ends."""
        failed: str | None = None
        try:
            yield
        except BaseException as error:
            failed = type(error).__name__
            raise
        finally:
            self._metrics.calls.labels(call=_one_of(CALLS, call.name), error=_error(failed)).inc()

    def attempted(self, event: Attempted) -> None:
        call, method = _one_of(CALLS, event.call), _one_of(_METHODS, event.method)
        self._metrics.requests.labels(
            call=call, method=method, status=_one_of(_STATUSES, event.status), error=_error(event.error)
        ).inc()
        self._metrics.request_seconds.labels(call=call, method=method).observe(event.seconds)

    def retrying(self, event: Retrying) -> None:
        self._metrics.retries.labels(call=_one_of(CALLS, event.call), error=_error(event.error)).inc()

    def limit_waited(self, event: LimitWaited) -> None:
        lane = event.lane.name.lower()
        self._metrics.limit_wait_seconds.labels(lane=lane, admitted=_flag(event.admitted)).observe(event.seconds)

    def challenged(self, event: Challenged) -> None:
        operation, kind = _one_of(OPERATIONS, event.operation), _one_of(_KINDS, event.kind)
        self._metrics.challenges.labels(operation=operation, kind=kind).inc()

    def claimed(self, event: Claimed) -> None:
        self._metrics.claims.labels(operation=_one_of(OPERATIONS, event.operation), won=_flag(event.won)).inc()

    def settled(self, event: Settled) -> None:
        self._metrics.settled.labels(
            operation=_one_of(OPERATIONS, event.operation),
            state=_one_of(_STATES, event.state),
            recorded=_flag(event.recorded),
        ).inc()


def _one_of(words: Collection[str | int], word: str | int | None) -> str:
    """Return a word as a label if it is one of these."""
    if word is None:
        return NONE
    return str(word) if word in words else OTHER


def _error(name: str | None) -> str:
    return _one_of(_ERRORS, name)


def _flag(value: object) -> str:
    return "true" if value else "false"
