"""Small PNG images, read by hand: which of their pixels are dark.

Small and plain files are all that a QR code needs, and whatever is anything else is refused: what a bank sends is not
trusted to be small or well made.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from belvo_links.errors import UndrawableQrError

MAX_SIDE: Final = 1024
"""Pixels; a larger image is refused."""

MAX_CONTENT: Final = 1024 * 1024
"""Bytes of the decompressed pixels; the filters are undone byte by byte, so more would take too long."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_GREY, _PALETTE = 0, 3
_UP, _PAETH = 2, 4
_DAMAGED: Final = "The image is damaged."


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

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return (self.stride + 1) * self.height


def read_png(data: bytes) -> list[list[bool]]:
    """Return which pixels of a PNG image are dark, row by row; what is transparent counts as light.

    Reads grey, palette and RGB, the latter at 8 bits, with or without transparency, not interlaced.

    Raises:
        UndrawableQrError: it is another kind, too large or damaged.
    """
    chunks: dict[bytes, bytearray] = {}
    for name, content in _chunks(data):
        chunks.setdefault(name, bytearray()).extend(content)
    header = _header(chunks.get(b"IHDR", b""))
    palette = _palette(chunks.get(b"PLTE", b""), chunks.get(b"tRNS", b"")) if header.colour == _PALETTE else []
    rows: list[list[bool]] = []
    above = None
    for line in _lines(chunks.get(b"IDAT", b""), header):
        rows.append(rows[-1] if line == above else _dark(line, header, palette))  # the rows of a module are alike
        above = line
    return rows


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    if not data.startswith(_SIGNATURE):
        raise UndrawableQrError("The image is no PNG.")
    view = memoryview(data)
    position = len(_SIGNATURE)
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data) or zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise UndrawableQrError(_DAMAGED)
        yield name, view[position + 8 : end]
        position = end + 4


def _header(content: bytes | bytearray) -> _Header:
    if len(content) != 13:
        raise UndrawableQrError("The image has no header.")
    width, height, depth, colour, *methods = struct.unpack(">IIBBBBB", content)
    depths = (1, 2, 4, 8) if colour in {_GREY, _PALETTE} else (8,)
    if colour not in _CHANNELS or depth not in depths or any(methods):
        raise UndrawableQrError("The image is of a kind that is not read here.")
    header = _Header(width=width, height=height, depth=depth, colour=colour)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and header.size <= MAX_CONTENT):
        raise UndrawableQrError("The image is empty or too large.")
    return header


def _palette(colours: bytes | bytearray, alphas: bytes | bytearray) -> list[bool]:
    """Return which entries of the palette are dark."""
    entries = min(len(colours) // 3, 256)
    opaque = alphas.ljust(entries, b"\xff")
    return [_is_dark(colours[3 * entry : 3 * entry + 3], opaque[entry]) for entry in range(entries)]


def _is_dark(samples: Sequence[int], alpha: int = 255) -> bool:
    """Return whether a colour is dark on white paper."""
    red, green, blue = samples if len(samples) == 3 else (samples[0],) * 3
    luminance = (299 * red + 587 * green + 114 * blue) // 1000
    return 255 - (255 - luminance) * alpha // 255 < 128


def _lines(compressed: bytes | bytearray, header: _Header) -> Iterator[bytes]:
    """Decompress, no further than the header says, and undo the filters."""
    try:
        content = zlib.decompressobj().decompress(compressed, header.size + 1)
    except zlib.error:
        raise UndrawableQrError(_DAMAGED) from None
    if len(content) != header.size:
        raise UndrawableQrError(_DAMAGED)
    above = bytes(header.stride)
    for start in range(0, header.size, header.stride + 1):
        line = bytearray(content[start + 1 : start + 1 + header.stride])
        _unfilter(content[start], line, above, max(1, header.bits // 8))
        above = bytes(line)
        yield above


def _unfilter(kind: int, line: bytearray, above: bytes, step: int) -> None:
    """Undo a row's filter in place (PNG specification, section 9)."""
    if kind > _PAETH:
        raise UndrawableQrError(_DAMAGED)
    if kind in {_UP, _PAETH} and not any(line):  # usual in a symbol, whose rows repeat, and far quicker than the loop
        line[:] = above
        return
    for index in range(len(line) if kind else 0):
        left = line[index - step] if index >= step else 0
        corner = above[index - step] if index >= step else 0
        up = above[index]
        guess = _paeth(left, up, corner) if kind == _PAETH else (0, left, up, (left + up) // 2)[kind]
        line[index] = (line[index] + guess) & 0xFF


def _paeth(left: int, up: int, corner: int) -> int:
    to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if to_left <= to_up and to_left <= to_corner:
        return left
    return up if to_up <= to_corner else corner


def _dark(line: bytes, header: _Header, palette: list[bool]) -> list[bool]:
    """Return which pixels of a row are dark."""
    if header.colour in {_GREY, _PALETTE}:
        largest = (1 << header.depth) - 1
        shifts = range(8 - header.depth, -1, -header.depth)
        samples = [byte >> shift & largest for byte in line for shift in shifts][: header.width]
        if header.colour == _GREY:
            return [2 * sample < largest + 1 for sample in samples]
        if max(samples) >= len(palette):
            raise UndrawableQrError(_DAMAGED)
        return [palette[sample] for sample in samples]
    channels = _CHANNELS[header.colour]
    alpha = channels in {2, 4}
    colours = channels - alpha
    return [
        _is_dark(line[start : start + colours], line[start + colours] if alpha else 255)
        for start in range(0, len(line), channels)
    ]
