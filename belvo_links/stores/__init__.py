"""Where pending sessions live between a challenge and its token."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from belvo_links.stores.base import PendingStore, StoredRecord
    from belvo_links.stores.memory import MemoryStore

__all__ = ["MemoryStore", "PendingStore", "StoredRecord"]

_HOMES = {
    "MemoryStore": "belvo_links.stores.memory",
    "PendingStore": "belvo_links.stores.base",
    "StoredRecord": "belvo_links.stores.base",
}


def __getattr__(name: str) -> object:
    """Resolve a public name on first use, so that one store does not load the libraries of another."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)
