"""QR codes in a terminal: from the text or the image of a challenge to modules, and from those to lines.

The image is read by hand. Small and plain PNG files are all that a QR code needs, and whatever is anything else is
refused: what a bank sends is not trusted to be small or well made.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import attrs

from belvo_links.protocol.qr import QrCode

Matrix: TypeAlias = tuple[tuple[bool, ...], ...]
"""The modules of a symbol, row by row, without the quiet zone; ``True`` is dark."""

QUIET_ZONE: Final = 4
"""Light modules around a symbol (ISO/IEC 18004)."""

MAX_SIDE: Final = 1024
"""Pixels; a larger image is refused."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_GREY, _PALETTE = 0, 3
_FINDER: Final = 7
"""Modules that the dark run in a symbol's upper left corner is long."""


class UnreadableImageError(ValueError):
    """The image is none that is read here, or shows no symbol."""


def symbol(code: QrCode) -> Matrix | None:
    """Return the modules of a QR challenge, or ``None`` where it cannot be drawn and should be saved as a file."""
    if code.text is not None:
        return _encoded(code.text)
    if code.image is None or code.media_type != "image/png":
        return None
    try:
        return modules(read_png(code.image))
    except UnreadableImageError:
        return None


def draw(matrix: Matrix, *, ascii_only: bool = False) -> list[str]:
    """Return the lines that show a symbol with its quiet zone on a dark ground: what is painted is light.

    Args:
        matrix: the modules.
        ascii_only: two signs for a module, instead of half a sign.
    """
    side = len(matrix) + 2 * QUIET_ZONE
    margin, blank = (False,) * QUIET_ZONE, (False,) * side
    rows = [blank] * QUIET_ZONE + [(*margin, *row, *margin) for row in matrix] + [blank] * QUIET_ZONE
    if ascii_only:
        return ["".join("  " if dark else "##" for dark in row) for row in rows]
    if len(rows) % 2:
        rows.append(blank)
    halves = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return ["".join(halves[pair] for pair in zip(upper, lower, strict=True)) for upper, lower in pairs]


def _encoded(text: str) -> Matrix | None:
    import segno

    try:
        code = segno.make_qr(text)
    except ValueError:  # too long for any symbol
        return None
    return tuple(tuple(bool(module) for module in row) for row in code.matrix)


def modules(pixels: Sequence[Sequence[bool]]) -> Matrix:
    """Return the symbol that an image shows straight and at a whole number of pixels per module.

    Args:
        pixels: row by row; ``True`` is dark.

    Raises:
        UnreadableImageError: it shows none.
    """
    top_down = [index for index, row in enumerate(pixels) if any(row)]
    if not top_down:
        raise UnreadableImageError("the image is blank")
    across = [index for index in range(len(pixels[0])) if any(row[index] for row in pixels)]
    rows = [row[across[0] : across[-1] + 1] for row in pixels[top_down[0] : top_down[-1] + 1]]
    side = len(rows)
    run = next((index for index, dark in enumerate(rows[0]) if not dark), side)
    scale, rest = divmod(run, _FINDER)
    if rest or not scale or side % scale or len(rows[0]) != side:
        raise UnreadableImageError("no symbol on a regular grid")
    count = side // scale
    matrix = tuple(tuple(bool(dark) for dark in row[::scale]) for row in rows[::scale])
    regular = all(dark == matrix[y // scale][x // scale] for y, row in enumerate(rows) for x, dark in enumerate(row))
    if not (regular and 21 <= count <= 177 and count % 4 == 1):
        raise UnreadableImageError("no symbol on a regular grid")
    return matrix


@attrs.frozen(kw_only=True)
class _Header:
    width: int
    height: int
    depth: int
    colour: int

    @property
    def bits(self) -> int:
        """Per pixel."""
        return _CHANNELS[self.colour] * self.depth

    @property
    def stride(self) -> int:
        """Bytes of a row, without the byte that names its filter."""
        return (self.width * self.bits + 7) // 8


def read_png(data: bytes) -> list[list[bool]]:
    """Return which pixels of a PNG image are dark, row by row; what is transparent counts as light.

    Reads grey, palette and RGB, the latter at 8 bits, with or without transparency, not interlaced.

    Raises:
        UnreadableImageError: it is another kind, too large or damaged.
    """
    chunks: dict[bytes, bytes] = {}
    for name, content in _chunks(data):
        chunks[name] = chunks.get(name, b"") + content
    header = _header(chunks.get(b"IHDR", b""))
    palette = _palette(chunks.get(b"PLTE", b""), chunks.get(b"tRNS", b"")) if header.colour == _PALETTE else []
    return [_dark(line, header, palette) for line in _lines(chunks.get(b"IDAT", b""), header)]


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not data.startswith(_SIGNATURE):
        raise UnreadableImageError("no PNG")
    position = len(_SIGNATURE)
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data) or zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise UnreadableImageError("damaged")
        yield name, data[position + 8 : end]
        position = end + 4


def _header(content: bytes) -> _Header:
    if len(content) != 13:
        raise UnreadableImageError("no header")
    width, height, depth, colour, *methods = struct.unpack(">IIBBBBB", content)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise UnreadableImageError("empty or too large")
    depths = (1, 2, 4, 8) if colour in {_GREY, _PALETTE} else (8,)
    if colour not in _CHANNELS or depth not in depths or any(methods):
        raise UnreadableImageError("a kind that is not read here")
    return _Header(width=width, height=height, depth=depth, colour=colour)


def _palette(colours: bytes, alphas: bytes) -> list[bool]:
    """Return which entries of the palette are dark."""
    entries = len(colours) // 3
    opaque = alphas.ljust(entries, b"\xff")
    return [_is_dark(colours[3 * entry : 3 * entry + 3], opaque[entry]) for entry in range(entries)]


def _is_dark(samples: Sequence[int], alpha: int = 255) -> bool:
    """Return whether a colour is dark on white paper."""
    red, green, blue = samples if len(samples) == 3 else (samples[0],) * 3
    luminance = (299 * red + 587 * green + 114 * blue) // 1000
    return 255 - (255 - luminance) * alpha // 255 < 128


def _lines(compressed: bytes, header: _Header) -> Iterator[bytes]:
    """Decompress, no further than the header says, and undo the filters."""
    size = (header.stride + 1) * header.height
    try:
        content = zlib.decompressobj().decompress(compressed, size + 1)
    except zlib.error:
        raise UnreadableImageError("damaged") from None
    if len(content) != size:
        raise UnreadableImageError("damaged")
    above = bytes(header.stride)
    for start in range(0, size, header.stride + 1):
        line = bytearray(content[start + 1 : start + 1 + header.stride])
        _unfilter(content[start], line, above, max(1, header.bits // 8))
        above = bytes(line)
        yield above


def _unfilter(kind: int, line: bytearray, above: bytes, step: int) -> None:
    """Undo a row's filter in place (PNG specification, section 9)."""
    if kind > 4:
        raise UnreadableImageError("damaged")
    for index in range(len(line) if kind else 0):
        left = line[index - step] if index >= step else 0
        corner = above[index - step] if index >= step else 0
        up = above[index]
        guess = (0, left, up, (left + up) // 2, _paeth(left, up, corner))[kind]
        line[index] = (line[index] + guess) & 0xFF


def _paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    return min((left, up, corner), key=lambda value: abs(estimate - value))


def _dark(line: bytes, header: _Header, palette: list[bool]) -> list[bool]:
    """Return which pixels of a row are dark."""
    if header.colour in {_GREY, _PALETTE}:
        largest = (1 << header.depth) - 1
        shifts = range(8 - header.depth, -1, -header.depth)
        samples = [byte >> shift & largest for byte in line for shift in shifts][: header.width]
        if header.colour == _GREY:
            return [2 * sample < largest + 1 for sample in samples]
        if max(samples) >= len(palette):
            raise UnreadableImageError("damaged")
        return [palette[sample] for sample in samples]
    channels = _CHANNELS[header.colour]
    alpha = channels in {2, 4}
    colours = channels - alpha
    return [
        _is_dark(line[start : start + colours], line[start + colours] if alpha else 255)
        for start in range(0, len(line), channels)
    ]
