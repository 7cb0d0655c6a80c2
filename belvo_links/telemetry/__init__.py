"""What can be watched of a client: its events, and observers for OpenTelemetry and Prometheus.

Neither events nor what these observers make of them carry a credential, a token, a key, Belvo's session, a body, a
query, or the id of a link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from belvo_links.lazy import resolver

if TYPE_CHECKING:
    from belvo_links.telemetry.opentelemetry import OpenTelemetryObserver
    from belvo_links.telemetry.prometheus import PrometheusObserver
    from belvo_links.telemetry.several import Observers
    from belvo_links.transport.observe import (
        Attempted,
        Call,
        Challenged,
        Claimed,
        Event,
        LimitWaited,
        Observer,
        Retrying,
        Settled,
    )

__all__ = [
    "Attempted",
    "Call",
    "Challenged",
    "Claimed",
    "Event",
    "LimitWaited",
    "Observer",
    "Observers",
    "OpenTelemetryObserver",
    "PrometheusObserver",
    "Retrying",
    "Settled",
]

_EVENTS = "belvo_links.transport.observe"
_HOMES = {
    **dict.fromkeys(__all__, _EVENTS),
    "Observers": "belvo_links.telemetry.several",
    "OpenTelemetryObserver": "belvo_links.telemetry.opentelemetry",
    "PrometheusObserver": "belvo_links.telemetry.prometheus",
}
_EXTRAS = {"belvo_links.telemetry.opentelemetry": "otel", "belvo_links.telemetry.prometheus": "prometheus"}

__getattr__ = resolver(__name__, _HOMES, extras=_EXTRAS)
