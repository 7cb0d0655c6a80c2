"""QR codes of challenges, drawn: for a page, for a terminal, or as modules for a drawing of your own.

Images are drawn without any extra; a text is encoded by segno, which ``pip install 'belvo-links[qr]'`` brings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from belvo_links.lazy import resolver

if TYPE_CHECKING:
    from belvo_links.qr.drawing import to_svg, to_terminal
    from belvo_links.qr.symbol import to_modules

__all__ = ["to_modules", "to_svg", "to_terminal"]

_HOMES = {
    "to_modules": "belvo_links.qr.symbol",
    "to_svg": "belvo_links.qr.drawing",
    "to_terminal": "belvo_links.qr.drawing",
}

__getattr__ = resolver(__name__, _HOMES)
