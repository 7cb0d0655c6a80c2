"""QR codes of challenges, drawn: for a page, for a terminal, or as modules for a drawing of your own.

Images are drawn without any extra; a text is encoded by segno, which ``pip install 'belvo-links[qr]'`` brings.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from belvo_links.qr.drawing import to_svg, to_terminal
    from belvo_links.qr.symbol import to_modules

__all__ = ["to_modules", "to_svg", "to_terminal"]

_HOMES = {
    "to_modules": "belvo_links.qr.symbol",
    "to_svg": "belvo_links.qr.drawing",
    "to_terminal": "belvo_links.qr.drawing",
}


def __getattr__(name: str) -> object:
    """Resolve a public name on first use, so that importing this package loads nothing."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)
