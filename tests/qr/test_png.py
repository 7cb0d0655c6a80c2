"""Images of QR codes: what is read is the symbol in them, and anything else is refused."""

import tracemalloc
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from belvo_links import QrCode, UndrawableQrError
from belvo_links.qr import to_modules
from belvo_links.qr.png import MAX_SIDE, read_png
from belvo_links.qr.symbol import find_symbol
from tests.qr.images import MATRIX, chunk, filtered, header, picture, png


@pytest.mark.parametrize(
    "colour, depth", [(0, 1), (0, 2), (0, 4), (0, 8), (3, 1), (3, 2), (3, 4), (3, 8), (2, 8), (4, 8), (6, 8)]
)
def test_every_kind_of_small_image_is_read(colour: int, depth: int) -> None:
    """Grey, palette and RGB, with and without transparency; all filters, image data in several chunks."""
    assert find_symbol(read_png(picture(colour, depth, lambda row: row % 5))) == MATRIX


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_is_undone(kind: int) -> None:
    """Each alone, from the first row on."""
    assert find_symbol(read_png(picture(6, 8, lambda _: kind))) == MATRIX


@given(
    rows=st.integers(1, 9).flatmap(
        lambda width: st.lists(
            st.tuples(st.binary(min_size=width, max_size=width), st.integers(0, 4)), min_size=1, max_size=9
        )
    )
)
@example(rows=[(b"\xff", 0), (b"\x00", 1)])  # a row without differences is no copy of the one above it
@example(rows=[(b"\x7e\x80", 0), (b"\x7d\x80", 4)])  # of two equally good guesses the upper one counts
def test_any_bytes_come_through_any_filters(rows: list[tuple[bytes, int]]) -> None:
    """A mistake in one byte would show in those after it."""
    lines = [line for line, _ in rows]
    content = zlib.compress(filtered(lines, 1, lambda number: rows[number][1]))
    image = png(header(len(lines[0]), len(lines), 8, 0), chunk(b"IDAT", content))
    assert read_png(image) == [[sample < 128 for sample in line] for line in lines]


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
        (GOOD[:29] + bytes(4) + GOOD[33:], "damaged"),
        (GOOD.replace(b"IDAT", b"IDAX", 1), "damaged"),
        (b"\x89PNG\r\n\x1a\n", "no header"),
        (png(header(1, 1, 16, 0), chunk(b"IDAT", ONE)), "a kind that is not read here"),
        (png(header(1, 1, 4, 2), chunk(b"IDAT", ONE)), "a kind that is not read here"),
        (png(header(1, 1, 8, 5), chunk(b"IDAT", ONE)), "a kind that is not read here"),
        (png(header(1, 1, 8, 0, interlace=1), chunk(b"IDAT", ONE)), "a kind that is not read here"),
        (png(header(0, 1, 8, 0), chunk(b"IDAT", ONE)), "empty or too large"),
        (png(header(MAX_SIDE + 1, 1, 8, 0), chunk(b"IDAT", ONE)), "empty or too large"),
        (png(header(1, MAX_SIDE + 1, 8, 0), chunk(b"IDAT", ONE)), "empty or too large"),
        (png(header(MAX_SIDE, 1024, 8, 0), chunk(b"IDAT", ONE)), "empty or too large"),
        (png(header(1, 1, 8, 0), chunk(b"IDAT", b"no zlib")), "damaged"),
        (png(header(1, 1, 8, 0), chunk(b"IDAT", zlib.compress(bytes(10**6)))), "damaged"),
        (png(header(1, 1, 8, 0), chunk(b"IDAT", zlib.compress(b"\0"))), "damaged"),
        (png(header(1, 1, 8, 0), chunk(b"IDAT", zlib.compress(b"\5\0"))), "damaged"),
        (png(header(1, 1, 8, 3), chunk(b"IDAT", ONE)), "damaged"),
    ],
)
def test_anything_else_is_refused(data: bytes, why: str) -> None:
    """Other kinds, damage, and images that claim to be small and are not."""
    with pytest.raises(UndrawableQrError, match=why):
        read_png(data)
    with pytest.raises(UndrawableQrError, match=why):
        to_modules(QrCode(image=data, media_type="image/png"))


def test_an_image_is_decompressed_no_further_than_it_says() -> None:
    """A few kilobytes that would become many megabytes."""
    image = png(header(1, 1, 8, 0), chunk(b"IDAT", zlib.compress(bytes(20_000_000))))
    tracemalloc.start()
    try:
        with pytest.raises(UndrawableQrError, match="damaged"):
            read_png(image)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 500_000


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
    with pytest.raises(UndrawableQrError):
        find_symbol(pixels)


def test_a_symbol_off_the_grid_is_refused() -> None:
    """A photo of a symbol, or a resized one, would be drawn wrongly."""
    large = [[dark for dark in row for _ in range(4)] for row in MATRIX for _ in range(4)]
    large[50][50] = not large[50][50]
    with pytest.raises(UndrawableQrError):
        find_symbol(large)
