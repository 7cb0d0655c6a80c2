"""The way back: from a drawing to the modules that one sees, and from those to the text, by no code under test."""

import re
from collections.abc import Callable, Sequence
from xml.etree import ElementTree as ET

from belvo_links.sandbox.qr import _function_patterns, _zigzag

Modules = tuple[tuple[bool, ...], ...]
QUIET_ZONE = 4
SVG = "{http://www.w3.org/2000/svg}"
RECTANGLE = re.compile(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z")
HALVES = {"█": (False, False), "▀": (False, True), "▄": (True, False), " ": (True, True)}
MASKS: Sequence[Callable[[int, int], bool]] = (
    lambda row, column: (row + column) % 2 == 0,
    lambda row, column: row % 2 == 0,
    lambda row, column: column % 3 == 0,
    lambda row, column: (row + column) % 3 == 0,
    lambda row, column: (row // 2 + column // 3) % 2 == 0,
    lambda row, column: row * column % 2 + row * column % 3 == 0,
    lambda row, column: (row * column % 2 + row * column % 3) % 2 == 0,
    lambda row, column: ((row + column) % 2 + row * column % 3) % 2 == 0,
)


def seen(lines: Sequence[str]) -> Modules:
    """The modules that somebody sees on a dark ground, without the quiet zone."""
    rows: list[list[bool]] = []
    for line in lines:
        if set(line) <= {"#", " "}:
            assert line[::2] == line[1::2]
            rows.append([sign == " " for sign in line[::2]])
        else:
            rows += [[HALVES[sign][half] for sign in line] for half in (0, 1)]
    return within(rows)


def painted(svg: str) -> Modules:
    """The modules that somebody sees in an SVG: a light ground, then one dark path of rectangles a module high."""
    root = ET.fromstring(svg)
    _, _, width, height = map(int, root.attrib["viewBox"].split())
    title, ground, path = root
    assert (title.tag, ground.tag, path.tag) == (f"{SVG}title", f"{SVG}rect", f"{SVG}path")
    assert ground.attrib == {"width": str(width), "height": str(height), "fill": "#fff"}
    assert path.attrib.keys() == {"fill", "shape-rendering", "d"}
    assert path.attrib["fill"] == "#000"
    rows = [[False] * width for _ in range(height)]
    drawn = path.attrib["d"]
    assert RECTANGLE.sub("", drawn) == ""
    for x, y, there, back in (map(int, match.groups()) for match in RECTANGLE.finditer(drawn)):
        assert there == back
        for column in range(x, x + there):
            assert not rows[y][column]
            rows[y][column] = True
    return within(rows)


def within(rows: Sequence[Sequence[bool]]) -> Modules:
    """What is inside the quiet zone, which is light."""
    side = len(rows[0])
    assert len(rows) - side in {0, 1}, "half blocks come in pairs of rows"
    inner = range(QUIET_ZONE, side - QUIET_ZONE)
    assert not any(dark for y, row in enumerate(rows) for x, dark in enumerate(row) if not (x in inner and y in inner))
    return tuple(tuple(rows[y][x] for x in inner) for y in inner)


def text_of(modules: Modules) -> str:
    """The text in a symbol of version 2 in byte mode, whatever its mask and level: it has one block of codewords."""
    _, reserved = _function_patterns()
    mask = MASKS[int("".join("01"[modules[8][column]] for column in (2, 3, 4)), 2) ^ 0b101]
    places = [(row, column) for row, column in _zigzag() if not reserved[row][column]]
    bits = "".join("01"[modules[row][column] ^ mask(row, column)] for row, column in places)
    assert bits[:4] == "0100"
    length = int(bits[4:12], 2)
    return bytes(int(bits[12 + 8 * index : 20 + 8 * index], 2) for index in range(length)).decode()
