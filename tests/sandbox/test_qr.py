"""The QR codes of challenges are real ones."""

import base64
import struct
import zlib
from typing import Any

import pytest
import segno

from belvo_links.sandbox.qr import CAPACITY, SIZE, qr_matrix, qr_png


@pytest.mark.parametrize("text", ["x" * CAPACITY, "belvo-sandbox 0123456789abcdef!!"])
def test_a_full_symbol_is_the_one_that_another_encoder_draws(text: str) -> None:
    """Module by module. (A shorter text is padded otherwise there: a null byte more than the standard has.)"""
    theirs = segno.make_qr(text, version=2, error="L", mask=0, mode="byte", boost_error=False)
    assert qr_matrix(text.encode()) == [[bool(module) for module in row] for row in theirs.matrix]


def test_a_shorter_text_is_padded_as_the_standard_says() -> None:
    """Mode, length, text and terminator, then EC and 11 in turn."""
    matrix = qr_matrix(b"a")
    # The first codewords run up the two columns on the right: eight modules are four rows.
    bits = [matrix[row][column] ^ ((row + column) % 2 == 0) for row in range(24, 8, -1) for column in (24, 23)]
    assert int("".join("01"[bit] for bit in bits), 2).to_bytes(4, "big") == b"\x40\x16\x10\xec"


def test_only_so_much_fits() -> None:
    """A longer text is a mistake of ours."""
    with pytest.raises(ValueError, match="32 bytes"):
        qr_matrix(bytes(33))


def test_the_image_shows_the_symbol() -> None:
    """A PNG in base64: signature, sizes, checksums, and the modules with a quiet zone around."""
    image = base64.b64decode(qr_png("a"))
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, position = {}, 8
    while position < len(image):
        (length,) = struct.unpack(">I", image[position : position + 4])
        name = image[position + 4 : position + 8]
        chunks[name] = image[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack(">I", image[position + 8 + length : position + 12 + length])
        assert checksum == zlib.crc32(name + chunks[name])
        position += 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    assert width == height == (SIZE + 8) * 4
    lines = zlib.decompress(chunks[b"IDAT"])
    row = lines[(width + 1) * 4 * 4 :][: width + 1]  # the first line below the quiet zone
    modules = [row[1 + 16 + module * 4] == 0 for module in range(SIZE)]
    assert modules == qr_matrix(b"a")[0]


async def test_every_session_has_its_own_code(api: Any) -> None:
    """So that a page which shows an old one can be noticed."""
    values = set()
    for _ in range(2):
        challenge = await api.challenge("sim_mfa_qr_scan")
        values.add(challenge["token_generation_data"]["value"])
    assert len(values) == 2
