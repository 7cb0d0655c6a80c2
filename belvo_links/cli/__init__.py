"""The command ``belvo-links``: ``demo`` and ``sandbox``. Its libraries come with ``pip install 'belvo-links[cli]'``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from belvo_links.cli.entry import main

__all__ = ["main"]


def __getattr__(name: str) -> object:
    """Resolve ``main`` on first use."""
    if name != "main":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from belvo_links.cli.entry import main

    return main
