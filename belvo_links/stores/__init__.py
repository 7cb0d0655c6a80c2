"""Where pending sessions live between a challenge and its token."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from belvo_links.stores.base import PendingStore, StoredRecord
    from belvo_links.stores.memory import MemoryStore
    from belvo_links.stores.sqlite import SqliteStore

__all__ = ["MemoryStore", "PendingStore", "SqliteStore", "StoredRecord"]

_HOMES = {
    "MemoryStore": "belvo_links.stores.memory",
    "PendingStore": "belvo_links.stores.base",
    "SqliteStore": "belvo_links.stores.sqlite",
    "StoredRecord": "belvo_links.stores.base",
}
_EXTRAS = {"belvo_links.stores.sqlite": "sqlite"}


def __getattr__(name: str) -> object:
    """Resolve a public name on first use, so that one store does not load the libraries of another."""
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
