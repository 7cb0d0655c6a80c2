"""The data of a QR challenge, decoded: its encoding is not documented, so it is sniffed and not believed.

What is decoded is bounded: a longer value is not looked at, and no value grows when it is decoded.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final
from urllib.parse import unquote_to_bytes

import attrs

MAX_VALUE: Final = 512 * 1024
"""Characters; nothing is decoded from a longer value. So an image has at most 384 KiB, where it came as base64."""

MAX_ESCAPES: Final = 10_000
"""Signs that a data URI may write as ``%41``; a full QR code of digits has 7,089."""

MAX_TEXT: Final = 7_089
"""Characters; no symbol holds more (ISO/IEC 18004: all of them digits, version 40, level L)."""

_MAX_SIXTHS: Final = 6 * 23_630
"""The bits of those digits, in sixths. The same number limits letters to 4,296 and bytes to 2,953."""

_DATA_URI: Final = re.compile(r"\s{0,64}data:(?P<about>[^,]{0,256}),", re.IGNORECASE)
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_DIGITS: Final = frozenset("0123456789")
_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


@attrs.frozen(kw_only=True)
class QrCode:
    """A QR code to show: either an image, or the text to encode as one. ``belvo_links.qr`` draws it.

    Attributes:
        image: the bytes of a raster image, or ``None``.
        media_type: its type, told from its bytes and never from what the value claims; ``None`` without an image.
            One of ``image/png``, ``image/jpeg``, ``image/gif``, ``image/webp``, ``image/bmp``.
        text: the text to encode, or ``None`` where there is an image. It is data and no markup: escape it where you
            show it as it is.
    """

    image: bytes | None = attrs.field(default=None, repr=False)
    media_type: str | None = None
    text: str | None = attrs.field(default=None, repr=False)


def read_qr(value: str) -> QrCode | None:
    """Decode the value of a QR challenge: a data URI, bare base64, or plain text.

    Only raster images are recognised: SVG and HTML can run scripts, so they count as text. A data URI that claims to
    be plain text, or claims nothing, gives the text in it; any other that holds no image is a text as it came.

    Returns:
        The code, or ``None`` where the value can be none: it holds no image, and is empty or longer than what the
        largest symbol holds (7,089 digits, 4,296 capital letters, 2,953 bytes).
    """
    uri = _DATA_URI.match(value)
    data = _decoded(value, uri) if len(value) <= MAX_VALUE else b""
    media_type = raster_type(data)
    if media_type is not None:
        return QrCode(image=data, media_type=media_type)
    text = (uri and _plain_text(uri, data)) or value
    return QrCode(text=text) if _fits(text) else None


def raster_type(image: bytes) -> str | None:
    """Return the media type of a raster image, told from its first bytes, or ``None`` for anything else."""
    if image.startswith(b"RIFF") and image[8:12] == b"WEBP":
        return "image/webp"
    if image.startswith(b"BM") and image[2:6] == len(image).to_bytes(4, "little"):
        return "image/bmp"  # its size as well, since four letters of base64 say "BM" too easily
    return next((media_type for signature, media_type in _SIGNATURES if image.startswith(signature)), None)


def _decoded(value: str, uri: re.Match[str] | None) -> bytes:
    """Return the bytes that a value stands for, or none where it does not decode."""
    data = value[uri.end() if uri else 0 :].encode("utf-8", "surrogatepass")
    if uri is None:
        return _base64(data)
    escapes = data.count(b"%")
    if escapes > MAX_ESCAPES:  # each costs far more time and memory than the signs around it
        return b""
    data = unquote_to_bytes(data) if escapes else data
    return _base64(data) if uri["about"].rpartition(";")[2].strip().lower() == "base64" else data


def _base64(data: bytes) -> bytes:
    compact = data.translate(_URL_SAFE, b" \t\r\n\f\v")
    try:
        return base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except binascii.Error:
        return b""


def _plain_text(uri: re.Match[str], data: bytes) -> str | None:
    """Return the text in a data URI of that type; its charset is not believed either."""
    if uri["about"].partition(";")[0].strip().lower() not in {"", "text/plain"}:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _fits(text: str) -> bool:
    """Return whether some symbol may hold a text: never no where one does, whatever the encoder makes of it."""
    return 0 < len(text) <= MAX_TEXT and sum(map(_sixths, text)) <= _MAX_SIXTHS


def _sixths(sign: str) -> int:
    """Return the least that a sign takes, in sixths of a bit: three digits take ten bits, two letters eleven."""
    if sign in _DIGITS:
        return 20
    if sign in _LETTERS:
        return 33
    return 6 * 8 if sign <= "\xff" else 6 * 13  # a byte; a kanji, and nothing beyond Latin-1 takes less
