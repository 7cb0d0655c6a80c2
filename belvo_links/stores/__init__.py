"""Where pending sessions live between a challenge and its token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from belvo_links.lazy import resolver

if TYPE_CHECKING:
    from belvo_links.stores.base import PendingStore, StoredRecord
    from belvo_links.stores.memory import MemoryStore
    from belvo_links.stores.postgres import PostgresStore
    from belvo_links.stores.redis import RedisStore
    from belvo_links.stores.seal import Seal, new_key
    from belvo_links.stores.sqlite import SqliteStore

__all__ = [
    "MemoryStore",
    "PendingStore",
    "PostgresStore",
    "RedisStore",
    "Seal",
    "SqliteStore",
    "StoredRecord",
    "new_key",
]

_HOMES = {
    "MemoryStore": "belvo_links.stores.memory",
    "PendingStore": "belvo_links.stores.base",
    "PostgresStore": "belvo_links.stores.postgres",
    "RedisStore": "belvo_links.stores.redis",
    "Seal": "belvo_links.stores.seal",
    "SqliteStore": "belvo_links.stores.sqlite",
    "StoredRecord": "belvo_links.stores.base",
    "new_key": "belvo_links.stores.seal",
}
_EXTRAS = {
    "belvo_links.stores.postgres": "postgres",
    "belvo_links.stores.redis": "redis",
    "belvo_links.stores.seal": "seal",
    "belvo_links.stores.sqlite": "sqlite",
}

__getattr__ = resolver(__name__, _HOMES, extras=_EXTRAS)
