"""The data of a QR challenge, decoded: its encoding is not documented, so it is sniffed and not believed."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

import attrs

MAX_VALUE: Final = 2 * 1024 * 1024
"""Characters; a longer value is taken as no image."""

_DATA_URI: Final = re.compile(r"data:[^,;]{0,64}(?:;[a-z0-9=\-]{1,32})*;base64,", re.IGNORECASE)
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


@attrs.frozen(kw_only=True)
class QrCode:
    """A QR code to show: either an image, or the text to encode as one.

    Attributes:
        image: the bytes of a raster image, or ``None``.
        media_type: its type, told from its bytes and never from what the value claims; ``None`` without an image.
        text: the text to encode, or ``None`` where there is an image.
    """

    image: bytes | None = attrs.field(default=None, repr=False)
    media_type: str | None = None
    text: str | None = attrs.field(default=None, repr=False)


def read_qr(value: str) -> QrCode:
    """Decode the value of a QR challenge: a data URI, bare base64, or plain text.

    Only raster images are recognised: SVG and HTML can run scripts, so they count as text.
    """
    prefix = _DATA_URI.match(value)
    encoded = value[prefix.end() :] if prefix else value
    image = _base64(encoded) if len(encoded) <= MAX_VALUE else None
    media_type = _sniff(image) if image is not None else None
    return QrCode(text=value) if media_type is None else QrCode(image=image, media_type=media_type)


def _base64(text: str) -> bytes | None:
    compact = "".join(text.split()).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _sniff(image: bytes) -> str | None:
    if image.startswith(b"RIFF") and image[8:12] == b"WEBP":
        return "image/webp"
    if image.startswith(b"BM") and image[2:6] == len(image).to_bytes(4, "little"):
        return "image/bmp"  # its size as well, since four letters of base64 say "BM" too easily
    return next((media_type for signature, media_type in _SIGNATURES if image.startswith(signature)), None)
