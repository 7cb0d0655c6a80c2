"""Authenticated encryption of what leaves this process's memory: text that only holders of a key can read or change.

AES-256-GCM with a random nonce. From each of the caller's keys a key of its own is derived for every purpose, so that
what was sealed for one cannot be opened as another.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from typing import Final

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from belvo_links.errors import SealError, SealReason
from belvo_links.protocol import envelope
from belvo_links.protocol.envelope import Envelope

KEY_BYTES: Final = 32


def new_key() -> str:
    """Return a fresh key for ``keys=`` and ``seal``: 32 random bytes as url-safe base64. Keep it like a password."""
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode("ascii")


class Seal:
    """Seals and opens bytes for one purpose.

    Args:
        keys: 32 bytes each, as url-safe base64; the first seals, all open.
        purpose: what the text is for, such as ``"store"``.

    Raises:
        ValueError: there is no key, or one is not what it should be. It is not quoted.
        TypeError: the keys are one text, or not texts.
    """

    def __init__(self, keys: Sequence[str], *, purpose: str) -> None:
        derived = [_derive(key, purpose) for key in _key_bytes(keys)]
        self._sealing = derived[0]
        self._opening = {key.id: key for key in derived}

    def close(self, content: bytes) -> str:
        """Return the content sealed, as text that is safe in a URL and a cookie."""
        head = Envelope(key_id=self._sealing.id, nonce=os.urandom(envelope.NONCE_BYTES))
        ciphertext = self._sealing.cipher.encrypt(head.nonce, content, head.head)
        return envelope.write(attrs.evolve(head, ciphertext=ciphertext))

    def open(self, text: str) -> bytes:
        """Return what was sealed.

        Args:
            text: the sealed text; what is no text at all is not sealed.

        Raises:
            SealError: the text is not ours, was changed, or was sealed with another key; ``.reason`` says which.
        """
        sealed = envelope.read(text)
        key = self._opening.get(sealed.key_id)
        if key is None:
            raise SealError(SealReason.UNKNOWN_KEY)
        try:
            return key.cipher.decrypt(sealed.nonce, sealed.ciphertext, sealed.head)
        except InvalidTag:
            pass
        raise SealError(SealReason.CHANGED)

    def __repr__(self) -> str:
        return f"<Seal with {len(self._opening)} keys>"


@attrs.frozen
class _Key:
    id: bytes
    cipher: AESGCM = attrs.field(repr=False)


def _derive(key: bytes, purpose: str) -> _Key:
    info = f"belvo_links {purpose} {envelope.VERSION}".encode()
    derived = HKDF(SHA256(), envelope.KEY_ID_BYTES + KEY_BYTES, salt=None, info=info).derive(key)
    return _Key(derived[: envelope.KEY_ID_BYTES], AESGCM(derived[envelope.KEY_ID_BYTES :]))


def _key_bytes(keys: Sequence[str]) -> list[bytes]:
    """Return the keys as bytes; what is none is not quoted."""
    given: object = keys
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
        msg = "keys: give a list of keys, of which the first encrypts"
        raise TypeError(msg)
    if not given:
        msg = "keys: give at least one"
        raise ValueError(msg)
    return [_key(number, key) for number, key in enumerate(given)]


def _key(number: int, key: object) -> bytes:
    if not isinstance(key, str):
        msg = f"keys[{number}]: give a str"
        raise TypeError(msg)
    data = envelope.from_base64(key)
    if data is None or len(data) != KEY_BYTES:
        msg = f"keys[{number}]: give {KEY_BYTES} bytes as url-safe base64; `new_key()` of belvo_links.stores makes one"
        raise ValueError(msg)
    return data
