"""What a person types to log in at an institution."""

from __future__ import annotations

import base64
from pathlib import PurePath
from typing import Final, Never, Self

import attrs

from belvo_links.protocol import checks
from belvo_links.redact import Secret
from belvo_links.wire import JsonValue


def _secret(value: str | Secret[str] | None) -> Secret[str] | None:
    return value if value is None or isinstance(value, Secret) else Secret(value)


def _file(value: bytes | PurePath | Secret[bytes] | None) -> Secret[bytes] | PurePath | None:
    return value if value is None or isinstance(value, PurePath | Secret) else Secret(value)


@attrs.frozen
class Credentials:
    """What a person types to log in at an institution (documentation section 9.2).

    Only what is given is sent; ``None`` is not given. Values never show in ``repr``, logs or exceptions, and
    credentials cannot be pickled.

    Attributes:
        username: the user's name at the institution (a CPF, CURP or RFC for some).
        password: absent for some employment institutions.
        username2: a second user name, such as an e-mail address.
        username3: a third one.
        username_type: the document type code (documentation section 18.2).
        password2: a second password.
        token: a one-time code sent at once; Belvo advises to wait for the challenge instead.
        certificate: the bytes of a certificate, or a :class:`pathlib.Path`; needs ``private_key``.
        private_key: the bytes of its private key, or a :class:`pathlib.Path`; needs ``certificate``.

    Raises:
        ValueError: a certificate without a private key, or the other way round; a text that is not valid Unicode.
        TypeError: a value of another type.
    """

    username: Secret[str] | None = attrs.field(default=None, converter=_secret)
    password: Secret[str] | None = attrs.field(default=None, converter=_secret)
    username2: Secret[str] | None = attrs.field(default=None, converter=_secret, kw_only=True)
    username3: Secret[str] | None = attrs.field(default=None, converter=_secret, kw_only=True)
    username_type: Secret[str] | None = attrs.field(default=None, converter=_secret, kw_only=True)
    password2: Secret[str] | None = attrs.field(default=None, converter=_secret, kw_only=True)
    token: Secret[str] | None = attrs.field(default=None, converter=_secret, kw_only=True)
    certificate: Secret[bytes] | PurePath | None = attrs.field(default=None, converter=_file, kw_only=True, repr=False)
    private_key: Secret[bytes] | PurePath | None = attrs.field(default=None, converter=_file, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        self._check_types()
        if (self.certificate is None) != (self.private_key is None):
            given, missing = ("certificate", "private_key")[:: 1 if self.private_key is None else -1]
            msg = f"{missing}: needed beside {given}"
            raise ValueError(msg)

    def _check_types(self) -> None:
        for name in _TEXTS:
            secret: Secret[str] | None = getattr(self, name)
            if secret is not None:
                checks.text(name, secret.reveal())
        for name in _FILES:
            content: Secret[bytes] | PurePath | None = getattr(self, name)
            if isinstance(content, Secret) and type(content.reveal()) is not bytes:
                # A str is refused: a form field must not name a file of the server.
                msg = f"{name}: give bytes or a pathlib.Path"
                raise TypeError(msg)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> Never:
        """Refuse: a pickle would carry the values in clear."""
        msg = "credentials cannot be pickled"
        raise TypeError(msg)

    def body(self) -> dict[str, JsonValue]:
        """Return what goes onto the wire: the given values in clear, files in base64.

        Raises:
            ValueError: a file was given as a path and has not been read.
        """
        body: dict[str, JsonValue] = {}
        for name in _TEXTS:
            secret: Secret[str] | None = getattr(self, name)
            if secret is not None:
                body[name] = str(secret.reveal())
        for name in _FILES:
            content: Secret[bytes] | PurePath | None = getattr(self, name)
            if isinstance(content, Secret):
                body[name] = base64.b64encode(content.reveal()).decode("ascii")
            elif content is not None:
                msg = f"{name}: the file has not been read"
                raise ValueError(msg)
        return body


_TEXTS: Final = ("username", "password", "username2", "username3", "username_type", "password2", "token")
_FILES: Final = ("certificate", "private_key")
