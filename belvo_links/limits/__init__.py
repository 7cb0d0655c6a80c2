"""Limiters that machines share."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from belvo_links.limits.postgres import PostgresLimiter
    from belvo_links.limits.redis import RedisLimiter

__all__ = ["PostgresLimiter", "RedisLimiter"]

_HOMES = {"PostgresLimiter": "belvo_links.limits.postgres", "RedisLimiter": "belvo_links.limits.redis"}
_EXTRAS = {"belvo_links.limits.postgres": "postgres", "belvo_links.limits.redis": "redis"}


def __getattr__(name: str) -> object:
    """Resolve a public name on first use, so that one limiter does not load the libraries of another."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    home = _HOMES[name]
    try:
        return getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("belvo_links"):
            raise
        msg = f"{name} needs the extra [{_EXTRAS[home]}]: pip install 'belvo-links[{_EXTRAS[home]}]'"
        raise ModuleNotFoundError(msg, name=error.name) from None
