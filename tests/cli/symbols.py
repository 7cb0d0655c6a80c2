"""The way back: from lines in a terminal to the modules they show, and to the text in those."""

from collections.abc import Sequence

from belvo_links.cli.qr import QUIET_ZONE, Matrix
from belvo_links.sandbox.qr import _function_patterns, _zigzag

HALVES = {"█": (False, False), "▀": (False, True), "▄": (True, False), " ": (True, True)}


def seen(lines: Sequence[str]) -> Matrix:
    """The modules that somebody sees on a dark ground, without the quiet zone."""
    rows: list[list[bool]] = []
    for line in lines:
        if set(line) <= {"#", " "}:
            assert line[::2] == line[1::2]
            rows.append([sign == " " for sign in line[::2]])
        else:
            rows += [[HALVES[sign][half] for sign in line] for half in (0, 1)]
    side = len(rows[0])
    return tuple(tuple(row[QUIET_ZONE : side - QUIET_ZONE]) for row in rows[QUIET_ZONE : side - QUIET_ZONE])


def text_of(matrix: Matrix) -> str:
    """The text in a symbol of the kind that the simulator makes: version 2, mask 0, byte mode."""
    _, reserved = _function_patterns()
    places = [(row, column) for row, column in _zigzag() if not reserved[row][column]]
    bits = "".join(str(int(matrix[row][column] ^ ((row + column) % 2 == 0))) for row, column in places)
    assert bits[:4] == "0100"
    length = int(bits[4:12], 2)
    return bytes(int(bits[12 + 8 * index : 20 + 8 * index], 2) for index in range(length)).decode()
