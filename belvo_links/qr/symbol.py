"""From the text or the image of a QR code to the modules of its symbol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from belvo_links.errors import UndrawableQrError
from belvo_links.protocol.qr import QrCode
from belvo_links.qr.png import read_png

Modules: TypeAlias = tuple[tuple[bool, ...], ...]
"""The modules of a symbol, row by row, without the quiet zone; ``True`` is dark."""

SIDES: Final = range(21, 178, 4)
"""Modules that a symbol may be wide: 21 in version 1, 177 in version 40 (ISO/IEC 18004)."""

_FINDER: Final = 7
"""Modules that the dark run in a symbol's upper left corner is long."""


def to_modules(code: QrCode) -> tuple[tuple[bool, ...], ...]:
    """Return the modules of a QR code, for a drawing of your own: in a PDF, on a canvas.

    A text is encoded. Of images, PNG is read: straight, at a whole number of pixels per module, at most 1,024 pixels
    wide and high, and 1 MiB when decompressed.

    The time goes with the size: some 6 ms for a text of 150 characters, 100 ms for the longest; up to a second for an
    image made to be slow. In an event loop, call ``await asyncio.to_thread(to_modules, code)``.

    Args:
        code: what ``challenge.qr`` gives.

    Returns:
        The modules row by row, without the quiet zone; ``True`` is dark. Leave four light modules around them.

    Raises:
        UndrawableQrError: the image is another one, or the text too long for a symbol.
        ModuleNotFoundError: a text needs the extra ``[qr]``.
    """
    if code.text:
        return _encoded(code.text)
    if not code.image:
        raise UndrawableQrError("The QR code is empty.")
    return find_symbol(read_png(code.image))


def find_symbol(pixels: Sequence[Sequence[bool]]) -> Modules:
    """Return the symbol that an image shows straight and at a whole number of pixels per module.

    Args:
        pixels: row by row; ``True`` is dark.

    Raises:
        UndrawableQrError: it shows none.
    """
    top_down = [index for index, row in enumerate(pixels) if any(row)]
    if not top_down:
        raise UndrawableQrError("The image is blank.")
    across = [index for index, column in enumerate(zip(*pixels, strict=True)) if any(column)]
    rows = [tuple(row[across[0] : across[-1] + 1]) for row in pixels[top_down[0] : top_down[-1] + 1]]
    side = len(rows)
    run = rows[0].index(False) if False in rows[0] else side
    scale, rest = divmod(run, _FINDER)
    if rest or not scale or side % scale or side // scale not in SIDES or len(rows[0]) != side:
        raise UndrawableQrError("The image shows no symbol on a regular grid.")
    modules = tuple(row[::scale] for row in rows[::scale])
    wide = [tuple(dark for dark in row for _ in range(scale)) for row in modules]
    if any(row != wide[index // scale] for index, row in enumerate(rows)):
        raise UndrawableQrError("The image shows no symbol on a regular grid.")
    return modules


def _encoded(text: str) -> Modules:
    try:
        import segno
    except ModuleNotFoundError as error:
        msg = "drawing the text of a QR code needs the extra [qr]: pip install 'belvo-links[qr]'"
        raise ModuleNotFoundError(msg, name=error.name) from None
    try:
        symbol = segno.make_qr(text)
    except ValueError:  # too long for any symbol, or not to be encoded at all
        raise UndrawableQrError("The text fits into no QR code.") from None
    return tuple(tuple(bool(module) for module in row) for row in symbol.matrix)
