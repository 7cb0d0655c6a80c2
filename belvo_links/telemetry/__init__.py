"""What can be watched of a client: its events, and observers for OpenTelemetry and Prometheus.

Neither events nor what these observers make of them carry a credential, a token, a key, Belvo's session, a body, a
query, or the id of a link.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

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


def __getattr__(name: str) -> object:
    """Resolve a public name on first use, so that one observer does not load the libraries of another."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    home = _HOMES[name]
    try:
        return getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        if home not in _EXTRAS or (error.name or "").startswith("belvo_links"):
            raise
        msg = f"{name} needs the extra [{_EXTRAS[home]}]: pip install 'belvo-links[{_EXTRAS[home]}]'"
        raise ModuleNotFoundError(msg, name=error.name) from None
