"""Limiters that machines share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from belvo_links.lazy import resolver

if TYPE_CHECKING:
    from belvo_links.limits.postgres import PostgresLimiter
    from belvo_links.limits.redis import RedisLimiter

__all__ = ["PostgresLimiter", "RedisLimiter"]

_HOMES = {"PostgresLimiter": "belvo_links.limits.postgres", "RedisLimiter": "belvo_links.limits.redis"}
_EXTRAS = {"belvo_links.limits.postgres": "postgres", "belvo_links.limits.redis": "redis"}

__getattr__ = resolver(__name__, _HOMES, extras=_EXTRAS)
