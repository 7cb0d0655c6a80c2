"""QR codes by hand: one small size is enough, and saves the simulator a dependency.

Symbols of version 2 (25 modules), error correction L, mask 0, byte mode; ISO/IEC 18004.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache

SIZE = 25
CAPACITY = 32
_DATA_CODEWORDS = 34
_EC_CODEWORDS = 10
_FORMAT_BITS = 0b111011111000100  # level L, mask 0, with their own error correction
_QUIET_ZONE = 4
_SCALE = 4

Matrix = list[list[bool]]


@lru_cache(maxsize=64)  # whoever looks at a waiting login asks again and again
def qr_png(text: str) -> str:
    """The text as a QR code: a PNG image in base64, the usual ``value`` of a QR challenge (section 10.2)."""
    return base64.b64encode(_png(qr_matrix(text.encode()))).decode()


def qr_matrix(data: bytes) -> Matrix:
    """The modules of the symbol, row by row; ``True`` is dark."""
    if len(data) > CAPACITY:
        raise ValueError(f"at most {CAPACITY} bytes fit into a symbol")
    matrix, reserved = _function_patterns()
    codewords = _data_codewords(data)
    codewords += _error_correction(codewords)
    bits = (codeword >> shift & 1 for codeword in codewords for shift in range(7, -1, -1))
    for row, column in _zigzag():
        if not reserved[row][column]:
            matrix[row][column] = bool(next(bits, 0)) ^ ((row + column) % 2 == 0)
    return matrix


def _function_patterns() -> tuple[Matrix, Matrix]:
    matrix = [[False] * SIZE for _ in range(SIZE)]
    reserved = [[False] * SIZE for _ in range(SIZE)]

    def put(row: int, column: int, dark: bool) -> None:
        if 0 <= row < SIZE and 0 <= column < SIZE:
            matrix[row][column] = dark
            reserved[row][column] = True

    for position in range(SIZE):
        put(6, position, position % 2 == 0)
        put(position, 6, position % 2 == 0)
    for centre_row, centre_column, radius in ((3, 3, 4), (3, SIZE - 4, 4), (SIZE - 4, 3, 4), (18, 18, 2)):
        for row in range(-radius, radius + 1):
            for column in range(-radius, radius + 1):
                ring = max(abs(row), abs(column))
                light = ring in (2, 4) if radius == 4 else ring == 1
                put(centre_row + row, centre_column + column, not light)
    for bit in range(15):
        dark = bool(_FORMAT_BITS >> bit & 1)
        # One copy runs around the upper left corner, past the timing pattern; the other over two corners.
        if bit < 8:
            put(bit + (bit > 5), 8, dark)
            put(8, SIZE - 1 - bit, dark)
        else:
            put(8, 7 if bit == 8 else 14 - bit, dark)
            put(SIZE - 15 + bit, 8, dark)
    put(SIZE - 8, 8, True)
    return matrix, reserved


def _zigzag() -> Iterator[tuple[int, int]]:
    upwards = True
    for right in range(SIZE - 1, 0, -2):
        column = right if right > 6 else right - 1  # the vertical timing pattern is jumped over
        for row in range(SIZE - 1, -1, -1) if upwards else range(SIZE):
            yield row, column
            yield row, column - 1
        upwards = not upwards


def _data_codewords(data: bytes) -> list[int]:
    number = 0b0100 << 8 | len(data)  # byte mode and the length
    for byte in data:
        number = number << 8 | byte
    number <<= 4  # the terminator
    length = len(data) + 2
    codewords = list(number.to_bytes(length, "big"))
    while len(codewords) < _DATA_CODEWORDS:
        codewords.append((0xEC, 0x11)[(len(codewords) - length) % 2])
    return codewords


def _multiply(left: int, right: int) -> int:
    """In the field of 256 elements that QR codes use."""
    product = 0
    while right:
        if right & 1:
            product ^= left
        left = left << 1 ^ (0x11D if left & 0x80 else 0)
        right >>= 1
    return product


def _error_correction(codewords: list[int]) -> list[int]:
    generator = [1]
    root = 1
    for _ in range(_EC_CODEWORDS):
        generator = [
            left ^ _multiply(right, root) for left, right in zip([*generator, 0], [0, *generator], strict=True)
        ]
        root = _multiply(root, 2)
    remainder = [0] * _EC_CODEWORDS
    for codeword in codewords:
        factor = codeword ^ remainder[0]
        remainder = [
            old ^ _multiply(coefficient, factor)
            for old, coefficient in zip([*remainder[1:], 0], generator[1:], strict=True)
        ]
    return remainder


def _png(matrix: Matrix) -> bytes:
    width = (SIZE + 2 * _QUIET_ZONE) * _SCALE
    blank = [False] * SIZE
    rows = [blank] * _QUIET_ZONE + matrix + [blank] * _QUIET_ZONE
    margin = [False] * _QUIET_ZONE
    lines = bytearray()
    for row in rows:
        line = bytes(0 if dark else 255 for dark in [*margin, *row, *margin] for _ in range(_SCALE))
        lines += (b"\0" + line) * _SCALE

    def chunk(name: bytes, content: bytes) -> bytes:
        length, checksum = struct.pack(">I", len(content)), struct.pack(">I", zlib.crc32(name + content))
        return length + name + content + checksum

    header = struct.pack(">IIBBBBB", width, width, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(lines), 9))
        + chunk(b"IEND", b"")
    )
