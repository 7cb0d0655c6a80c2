"""What the vendor says values must look like, checked before anything is sent.

Every function names the field and never quotes a value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Final, TypeGuard

from belvo_links.protocol.models import AccessMode
from belvo_links.wire import ABSENT, JsonValue, MaybeAbsent, encode_json

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DAYS: Final = re.compile(r"\d{1,3}d", re.ASCII)
_CREDENTIALS_STORAGE: Final = re.compile(r"store|nostore|([1-9]|[1-9]\d|[12]\d{2}|3[0-5]\d|36[0-5])d", re.ASCII)
EXTERNAL_ID_LENGTH: Final = (3, 256)
CORRELATION_BYTES: Final = 512


def is_uuid(value: object) -> TypeGuard[str]:
    """Return whether the value is the text of a UUID, with dashes."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def text(name: str, value: object) -> str:
    """Return the value as a plain ``str`` if it is a text.

    Raises:
        TypeError: it is something else.
        ValueError: it holds half of a surrogate pair, which JSON in UTF-8 cannot say.
    """
    if not isinstance(value, str):
        msg = f"{name}: give a str"
        raise TypeError(msg)
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        # Found here, since the error of the codec would carry the whole text.
        msg = f"{name}: is not valid Unicode"
        raise ValueError(msg)
    return str(value)


def texts(name: str, values: object) -> tuple[str, ...]:
    """Return a sequence of texts as a tuple.

    Raises:
        TypeError: it is one text, or no sequence, or holds something else.
        ValueError: one of the texts is empty.
    """
    if isinstance(values, str) or not isinstance(values, (Sequence, set, frozenset)):
        msg = f"{name}: give a sequence of str, not a single one"
        raise TypeError(msg)
    result = tuple(text(name, value) for value in values)
    if not all(result):
        msg = f"{name}: one of the values is empty"
        raise ValueError(msg)
    return result


def link_id(value: object, name: str = "link_id") -> str:
    """Return a link's id if it is a UUID (documentation section 4)."""
    if not is_uuid(text(name, value)):
        msg = f"{name}: a link's id is a UUID such as e4bb1afb-4a4f-4dd6-8be0-e615d233185b"
        raise ValueError(msg)
    return str(value)


def external_id(value: str, name: str = "external_id") -> str:
    """Return an ``external_id`` of 3 to 256 characters (documentation section 9.2)."""
    shortest, longest = EXTERNAL_ID_LENGTH
    given = text(name, value)
    if not shortest <= len(given) <= longest:
        msg = f"{name}: give {shortest} to {longest} characters"
        raise ValueError(msg)
    return given


def stale_in(value: str) -> str:
    """Return a ``stale_in`` such as ``90d`` (documentation section 9.2)."""
    given = text("stale_in", value)
    if not _DAYS.fullmatch(given):
        msg = "stale_in: give a number of days of one to three digits, such as 90d"
        raise ValueError(msg)
    return given


def credentials_storage(value: str) -> str:
    """Return a ``credentials_storage``: ``store``, ``nostore``, ``1d`` to ``365d`` (documentation section 18.3)."""
    given = text("credentials_storage", value)
    if not _CREDENTIALS_STORAGE.fullmatch(given):
        msg = "credentials_storage: give store, nostore, or a number of days from 1d to 365d"
        raise ValueError(msg)
    return given


def storage_combination(
    *,
    access_mode: MaybeAbsent[str | None],
    credentials_storage: MaybeAbsent[str | None],
    fetch_resources: MaybeAbsent[Sequence[str] | None],
) -> None:
    """Check what belongs together in a registration (documentation sections 9.2 and 14).

    Raises:
        ValueError: a recurrent link that does not store its credentials, or ``nostore`` for a link that is not single
            or fetches nothing, since later it could not.
    """
    if credentials_storage is ABSENT or credentials_storage is None or credentials_storage == "store":
        return
    if access_mode == AccessMode.RECURRENT:
        msg = "credentials_storage: recurrent links must store the credentials; give store or leave it out"
        raise ValueError(msg)
    if credentials_storage != "nostore":
        return
    if access_mode != AccessMode.SINGLE:
        msg = "credentials_storage: nostore is for single links; give access_mode=AccessMode.SINGLE too"
        raise ValueError(msg)
    if not fetch_resources:
        msg = "fetch_resources: with credentials_storage nostore, say what to fetch; it cannot be fetched later"
        raise ValueError(msg)


def day(name: str, value: object) -> str:
    """Return a date as ``YYYY-MM-DD`` (documentation section 6)."""
    if not isinstance(value, date) or isinstance(value, datetime):
        msg = f"{name}: give a datetime.date"
        raise TypeError(msg)
    return value.isoformat()


def whole_number(name: str, value: object) -> int:
    """Return a whole number; ``True`` and ``1.0`` are none.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        msg = f"{name}: give an int"
        raise TypeError(msg)
    return value


def correlation(value: JsonValue) -> JsonValue:
    """Return a copy of the caller's own JSON value, at most 512 bytes of it, that a store gives back equal.

    Raises:
        ValueError: it is larger, or not JSON: what the encoder would only turn into JSON (a date, NaN, a set) comes
            back as something else.
    """
    try:
        plain = _plain_json(value)
        encoded = encode_json(plain)
    except (TypeError, ValueError, RecursionError, OverflowError):
        msg = "correlation: give a JSON value"
        raise ValueError(msg) from None
    if len(encoded) > CORRELATION_BYTES:
        msg = f"correlation: give at most {CORRELATION_BYTES} bytes of JSON; keep the rest on your side"
        raise ValueError(msg)
    return plain


def _plain_json(value: object) -> JsonValue:
    """Return the value in the types that a JSON reader makes."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_plain_json(each) for each in value]
    if isinstance(value, Mapping):
        return {text("correlation", name): _plain_json(each) for name, each in value.items()}
    raise TypeError
