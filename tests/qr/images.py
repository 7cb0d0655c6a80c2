"""PNG images, written as the specification says and not as the reader reads them."""

import struct
import zlib
from collections.abc import Callable, Sequence

from belvo_links.sandbox.qr import qr_matrix
from tests.qr.symbols import Modules

TEXT = "belvo-sandbox 0123456789abcdef"
MATRIX: Modules = tuple(map(tuple, qr_matrix(TEXT.encode())))
SCALE = 3
LIGHT, DARK = (255, 255, 255, 255), (0, 20, 40, 255)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(header: bytes, *chunks: bytes) -> bytes:
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *chunks, chunk(b"IEND", b"")])


def header(width: int, height: int, depth: int, colour: int, interlace: int = 0) -> bytes:
    return struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)


def paeth(left: int, up: int, corner: int) -> int:
    """As the specification writes it, not as the reader does."""
    distances = [(abs(left + up - corner - value), order) for order, value in enumerate((left, up, corner))]
    return (left, up, corner)[min(distances)[1]]


def filtered(lines: Sequence[bytes], step: int, kinds: Callable[[int], int]) -> bytes:
    content = bytearray()
    above = bytes(len(lines[0]))
    for number, line in enumerate(lines):
        kind = kinds(number)
        content.append(kind)
        for index, byte in enumerate(line):
            left = line[index - step] if index >= step else 0
            corner = above[index - step] if index >= step else 0
            up = above[index]
            content.append((byte - [0, left, up, (left + up) // 2, paeth(left, up, corner)][kind]) % 256)
        above = line
    return bytes(content)


def picture(colour: int, depth: int, kinds: Callable[[int], int] = lambda _: 0) -> bytes:
    """The symbol with a quiet zone of two modules, in this kind of PNG."""
    blank = [False] * (len(MATRIX) + 4)
    rows = [blank, blank, *([False, False, *row, False, False] for row in MATRIX), blank, blank]
    large = [[dark for dark in row for _ in range(SCALE)] for row in rows for _ in range(SCALE)]
    extra = []
    if colour == 3:
        extra = [chunk(b"PLTE", bytes([*DARK[:3], *LIGHT[:3]]))]

    def pixel(dark: bool) -> int:  # palette entries: 0 dark, 1 light
        return int(not dark) if colour == 3 else (0 if dark else (1 << depth) - 1)

    def line(row: list[bool]) -> bytes:
        if depth < 8:
            bits = "".join(f"{pixel(dark):0{depth}b}" for dark in row)
            return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
        if colour == 3:
            return bytes(pixel(dark) for dark in row)
        channels = {0: [0], 2: [0, 1, 2], 4: [0, 3], 6: [0, 1, 2, 3]}[colour]
        return bytes((DARK if dark else LIGHT)[channel] for dark in row for channel in channels)

    lines = [line(row) for row in large]
    step = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] if depth == 8 else 1
    content = zlib.compress(filtered(lines, step, kinds))
    half = len(content) // 2
    idat = [chunk(b"IDAT", content[:half]), chunk(b"IDAT", content[half:])]
    return png(header(len(large[0]), len(large), depth, colour), *extra, *idat)
