"""Where a store is that several processes open."""

from __future__ import annotations

import attrs

from belvo_links.stores import PendingStore, PostgresStore, RedisStore, SqliteStore


@attrs.frozen
class Place:
    """A store that can be opened in any process.

    Attributes:
        kind: ``sqlite``, ``redis`` or ``postgres``.
        address: its file, URL or DSN.
        name: its namespace or table; nothing for a file.
    """

    kind: str
    address: str
    name: str = ""

    def open(self) -> PendingStore:
        """Return a store object; it connects on first use."""
        match self.kind:
            case "sqlite":
                return SqliteStore(self.address)
            case "redis":
                return RedisStore(self.address, namespace=self.name)
            case _:
                return PostgresStore(self.address, table=self.name)
