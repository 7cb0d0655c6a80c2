"""What is drawn is the symbol that was sent."""

import base64
import struct
import zlib
from collections.abc import Callable, Sequence

import pytest
import segno

from belvo_links.cli.qr import MAX_SIDE, QUIET_ZONE, Matrix, UnreadableImageError, draw, modules, read_png, symbol
from belvo_links.protocol.qr import QrCode, read_qr
from belvo_links.sandbox.qr import qr_matrix, qr_png
from tests.cli.symbols import seen, text_of

TEXT = "belvo-sandbox 0123456789abcdef"
MATRIX: Matrix = tuple(map(tuple, qr_matrix(TEXT.encode())))
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


@pytest.mark.parametrize(
    "colour, depth", [(0, 1), (0, 2), (0, 4), (0, 8), (3, 1), (3, 2), (3, 4), (3, 8), (2, 8), (4, 8), (6, 8)]
)
def test_every_kind_of_small_image_is_read(colour: int, depth: int) -> None:
    """Grey, palette and RGB, with and without transparency; all filters, image data in several chunks."""
    assert modules(read_png(picture(colour, depth, lambda row: row % 5))) == MATRIX


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_is_undone(kind: int) -> None:
    """Each alone, from the first row on."""
    assert modules(read_png(picture(6, 8, lambda _: kind))) == MATRIX


def test_what_is_transparent_is_paper() -> None:
    """A palette with a transparent black, and RGBA alike."""
    lines = zlib.compress(b"\0\x00\0\x80")
    palette = [chunk(b"PLTE", bytes(6)), chunk(b"tRNS", b"\xff\x00")]
    image = png(header(1, 2, 1, 3), *palette, chunk(b"IDAT", lines))
    assert read_png(image) == [[True], [False]]
    clear = zlib.compress(b"\0" + bytes([0, 0, 0, 0]) + bytes([0, 0, 0, 255]))
    assert read_png(png(header(2, 1, 8, 6), chunk(b"IDAT", clear))) == [[False, True]]


GOOD = picture(0, 8)
ONE = zlib.compress(b"\0\0")


@pytest.mark.parametrize(
    "data, why",
    [
        (b"GIF89a", "no PNG"),
        (GOOD[:60], "damaged"),
        (GOOD.replace(b"IDAT", b"IDAX", 1), "damaged"),
        (b"\x89PNG\r\n\x1a\n", "no header"),
        (png(header(1, 1, 16, 0), chunk(b"IDAT", ONE)), "a kind that is not read here"),
        (png(header(1, 1, 4, 2), chunk(b"IDAT", ONE)), "a kind that is not read here"),
        (png(header(1, 1, 8, 5), chunk(b"IDAT", ONE)), "a kind that is not read here"),
        (png(header(1, 1, 8, 0, interlace=1), chunk(b"IDAT", ONE)), "a kind that is not read here"),
        (png(header(0, 1, 8, 0), chunk(b"IDAT", ONE)), "empty or too large"),
        (png(header(MAX_SIDE + 1, 1, 8, 0), chunk(b"IDAT", ONE)), "empty or too large"),
        (png(header(1, 1, 8, 0), chunk(b"IDAT", b"no zlib")), "damaged"),
        (png(header(1, 1, 8, 0), chunk(b"IDAT", zlib.compress(bytes(10**6)))), "damaged"),
        (png(header(1, 1, 8, 0), chunk(b"IDAT", zlib.compress(b"\0"))), "damaged"),
        (png(header(1, 1, 8, 0), chunk(b"IDAT", zlib.compress(b"\5\0"))), "damaged"),
        (png(header(1, 1, 8, 3), chunk(b"IDAT", ONE)), "damaged"),
    ],
)
def test_anything_else_is_refused(data: bytes, why: str) -> None:
    """Other kinds, damage, and images that claim to be small and are not."""
    with pytest.raises(UnreadableImageError, match=why):
        read_png(data)
    assert symbol(QrCode(image=data, media_type="image/png")) is None


@pytest.mark.parametrize(
    "pixels",
    [
        [[False] * 30] * 30,
        [[True] * 30] * 30,
        [[True] * 7 + [False] * 13] * 20,
        [[*row, False] for row in MATRIX[:-1]],
        [[*(dark != (x == y == 12) for x, dark in enumerate(row))] * 1 for y, row in enumerate(MATRIX[:24])],
        [[dark for dark in row for _ in range(2)] for row in MATRIX],
    ],
    ids=["blank", "black", "stripe", "cut", "cut differently", "stretched"],
)
def test_an_image_that_shows_no_symbol_is_refused(pixels: list[list[bool]]) -> None:
    """It is to be saved as a file then."""
    with pytest.raises(UnreadableImageError):
        modules(pixels)


def test_a_symbol_off_the_grid_is_refused() -> None:
    """A photo of a symbol, or a resized one, would be drawn wrongly."""
    large = [[dark for dark in row for _ in range(4)] for row in MATRIX for _ in range(4)]
    large[50][50] = not large[50][50]
    with pytest.raises(UnreadableImageError):
        modules(large)


@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_simulators_image_is_drawn_as_its_symbol(ascii_only: bool) -> None:
    """From the value in the 428 to the lines in the terminal, module by module."""
    code = read_qr(qr_png(TEXT))
    assert code.media_type == "image/png"
    matrix = symbol(code)
    assert matrix == MATRIX
    lines = draw(matrix, ascii_only=ascii_only)
    assert seen(lines) == MATRIX
    assert text_of(seen(lines)) == TEXT
    assert not ascii_only or "".join(lines).isascii()


@pytest.mark.parametrize("text", ["a", "https://bank.example/confirm?id=0123456789", "ñandú " * 40])
def test_a_text_is_drawn_as_the_symbol_that_segno_makes(text: str) -> None:
    """The same modules, whatever the size."""
    matrix = symbol(QrCode(text=text))
    assert matrix is not None
    expected = tuple(tuple(bool(module) for module in row) for row in segno.make_qr(text).matrix)
    assert matrix == expected == seen(draw(matrix)) == seen(draw(matrix, ascii_only=True))


def test_the_quiet_zone_is_light_all_around() -> None:
    """Scanners need it; on a dark ground light is what is painted."""
    for lines in (draw(MATRIX), draw(MATRIX, ascii_only=True)):
        painted = {"█", "#"}
        assert set(lines[0]) <= painted
        assert set(lines[-1]) <= painted
        width = QUIET_ZONE * (2 if lines[0][0] == "#" else 1)
        assert all(set(line[:width] + line[-width:]) <= painted for line in lines)


def test_what_cannot_be_drawn_is_none() -> None:
    """A text too long for any symbol, an image of another type, nothing at all."""
    assert symbol(QrCode(text="x" * 3000)) is None
    assert symbol(QrCode(image=b"GIF89a", media_type="image/gif")) is None
    assert symbol(QrCode()) is None
    blank = png(header(1, 1, 8, 0), chunk(b"IDAT", zlib.compress(b"\0\xff")))
    assert symbol(read_qr(base64.b64encode(blank).decode())) is None
