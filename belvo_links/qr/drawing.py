"""Drawings of QR codes: as SVG for a page, as text for a terminal."""

from __future__ import annotations

import base64
import html
import re
from itertools import groupby
from typing import Final

from belvo_links.errors import UndrawableQrError
from belvo_links.protocol.qr import QrCode, raster_type
from belvo_links.qr.symbol import SIDES, Modules, to_modules

QUIET_ZONE: Final = 4
"""Light modules around a symbol (ISO/IEC 18004)."""

_NOT_IN_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HALVES: Final = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}


def to_svg(code: QrCode, *, size: int = 240, title: str = "QR code") -> str:
    """Return a QR code as an SVG element, to put into a page as it is or to save as a file.

    A text and the image of a plain symbol are drawn module by module, so nothing of what came from outside is in the
    drawing. Any other raster image is embedded as a ``data:`` URI under the type that its bytes have; a page with a
    content security policy must then allow ``img-src data:``. There are no scripts, styles, ids or links, and no text
    but the title. The ground is light and has a quiet zone, so that the code can be scanned on dark pages too.

    How long it takes, and how to keep that from an event loop, is said at ``to_modules``.

    Args:
        code: what ``challenge.qr`` gives.
        size: pixels that it is wide and high, unless the page's CSS says otherwise.
        title: what is read out to people who do not see it, and shown as a tooltip. It is escaped.

    Raises:
        UndrawableQrError: there is no raster image, or the text is too long for a symbol.
        ModuleNotFoundError: a text needs the extra ``[qr]``.
    """
    try:
        modules = to_modules(code)
    except UndrawableQrError:
        media_type = raster_type(code.image or b"")
        if media_type is None:
            raise
        return _framed(_embedded(code.image or b"", media_type), side=SIDES[0], size=size, title=title)
    return _framed(_path(modules), side=len(modules), size=size, title=title)


def to_terminal(code: QrCode, *, ascii_only: bool = False) -> str:
    """Return a QR code as lines of text for a dark terminal, with its quiet zone: what is painted is light.

    A symbol is at least 29 columns wide, and twice that in ASCII. How long drawing takes, and how to keep that from an
    event loop, is said at ``to_modules``.

    Args:
        code: what ``challenge.qr`` gives.
        ascii_only: two signs for each module, instead of half of a block.

    Raises:
        UndrawableQrError: it is an image that cannot be read here, or a text too long for a symbol.
        ModuleNotFoundError: a text needs the extra ``[qr]``.
    """
    modules = to_modules(code)
    margin, blank = (False,) * QUIET_ZONE, (False,) * (len(modules) + 2 * QUIET_ZONE)
    rows = [*[blank] * QUIET_ZONE, *((*margin, *row, *margin) for row in modules), *[blank] * QUIET_ZONE]
    if ascii_only:
        return "\n".join("".join("  " if dark else "##" for dark in row) for row in rows)
    rows.append(blank)  # sides are odd, and a line shows two rows
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return "\n".join("".join(_HALVES[pair] for pair in zip(upper, lower, strict=True)) for upper, lower in pairs)


def _framed(content: str, *, side: int, size: int, title: str) -> str:
    """Return the SVG around the content, which is as many units wide as ``side`` says and stands in a quiet zone."""
    whole = side + 2 * QUIET_ZONE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {whole}" width="{size:d}" height="{size:d}"'
        f' role="img"><title>{html.escape(_NOT_IN_XML.sub("�", title))}</title>'
        f'<rect width="{whole}" height="{whole}" fill="#fff"/>{content}</svg>'
    )


def _path(modules: Modules) -> str:
    """Return the dark modules, each run of a row as one rectangle."""
    runs = []
    for y, row in enumerate(modules, QUIET_ZONE):
        x = QUIET_ZONE
        for dark, run in groupby(row):
            length = len(list(run))
            if dark:
                runs.append(f"M{x} {y}h{length}v1h-{length}z")
            x += length
    return f'<path fill="#000" shape-rendering="crispEdges" d="{"".join(runs)}"/>'


def _embedded(image: bytes, media_type: str) -> str:
    """Return an image of which nothing is known but its type, as large as the smallest symbol."""
    data = base64.b64encode(image).decode()
    place = f'x="{QUIET_ZONE}" y="{QUIET_ZONE}" width="{SIDES[0]}" height="{SIDES[0]}"'
    return f'<image {place} href="data:{media_type};base64,{data}"/>'
