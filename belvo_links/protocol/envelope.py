"""Sealed text as it is written: what it begins with, the key it names, and the ciphertext. It is opened elsewhere.

``bls1.``, then as url-safe base64 without padding: the key's id, the nonce, and the ciphertext with its tag.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

import attrs

from belvo_links.errors import SealError, SealReason

VERSION: Final = 1
KEY_ID_BYTES: Final = 4
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16

_MARK: Final = f"bls{VERSION}."
_BEGINNING: Final = re.compile(r"bls[0-9]{1,4}\.")


@attrs.frozen(kw_only=True)
class Envelope:
    """What sealed text consists of.

    Attributes:
        key_id: which key has sealed it.
        nonce: the one of this text.
        ciphertext: the content, encrypted, with its tag.
    """

    key_id: bytes
    nonce: bytes
    ciphertext: bytes = attrs.field(default=b"", repr=False)

    @property
    def head(self) -> bytes:
        """What is not encrypted, to be authenticated along with the content: version, key and nonce."""
        return _MARK.encode("ascii") + self.key_id + self.nonce


def is_sealed(text: object) -> bool:
    """Return whether this begins as sealed text of some version does."""
    return isinstance(text, str) and _BEGINNING.match(text) is not None


def write(envelope: Envelope) -> str:
    """Return the envelope as text."""
    return _MARK + to_base64(envelope.key_id + envelope.nonce + envelope.ciphertext)


def read(text: object) -> Envelope:
    """Return the envelope that was written.

    Args:
        text: what may be sealed text, and comes from anywhere.

    Raises:
        SealError: it is no sealed text, of an unknown version, or cut or changed.
    """
    if not isinstance(text, str) or not is_sealed(text):
        raise SealError(SealReason.NOT_SEALED)
    if not text.startswith(_MARK):
        raise SealError(SealReason.UNKNOWN_VERSION)
    data = from_base64(text.removeprefix(_MARK))
    if data is None or len(data) < KEY_ID_BYTES + NONCE_BYTES + TAG_BYTES:
        raise SealError(SealReason.CHANGED)
    begins = KEY_ID_BYTES + NONCE_BYTES
    return Envelope(key_id=data[:KEY_ID_BYTES], nonce=data[KEY_ID_BYTES:begins], ciphertext=data[begins:])


def to_base64(data: bytes) -> str:
    """Return bytes as url-safe base64 without padding."""
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def from_base64(text: str) -> bytes | None:
    """Return the bytes of url-safe base64, padded or not; ``None`` for anything else."""
    bare = text.rstrip("=") if text.isascii() else "="
    try:
        data = base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # Bytes have one spelling only: a text that was changed where decoding does not look was changed.
    return data if to_base64(data) == bare else None
