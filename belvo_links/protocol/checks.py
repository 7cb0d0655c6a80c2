"""What the vendor says values must look like, checked before anything is sent.

Every function names the field and never quotes a value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

from belvo_links.protocol.models import AccessMode
from belvo_links.wire import ABSENT, JsonValue, MaybeAbsent, encode_json

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DAYS: Final = re.compile(r"[1-9]\d{0,2}d", re.ASCII)
_CREDENTIALS_STORAGE: Final = re.compile(r"store|nostore|([1-9]|[1-9]\d|[12]\d{2}|3[0-5]\d|36[0-5])d", re.ASCII)
EXTERNAL_ID_LENGTH: Final = (3, 256)
CORRELATION_BYTES: Final = 512


def is_uuid(value: object) -> bool:
    """Return whether the value is the text of a UUID, with dashes."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def text(name: str, value: object) -> str:
    """Return the value if it is a text.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, str):
        msg = f"{name}: give a str"
        raise TypeError(msg)
    return value


def texts(name: str, values: object) -> tuple[str, ...]:
    """Return a sequence of texts as a tuple.

    Raises:
        TypeError: it is one text, or no sequence, or holds something else.
        ValueError: one of the texts is empty.
    """
    if isinstance(values, str) or not isinstance(values, (Sequence, set, frozenset)):
        msg = f"{name}: give a sequence of str, not a single one"
        raise TypeError(msg)
    result = tuple(str(text(name, value)) for value in values)
    if not all(result):
        msg = f"{name}: one of the values is empty"
        raise ValueError(msg)
    return result


def link_id(value: object, name: str = "link_id") -> str:
    """Return a link's id if it is a UUID (documentation section 4)."""
    if not is_uuid(value):
        msg = f"{name}: a link's id is a UUID such as e4bb1afb-4a4f-4dd6-8be0-e615d233185b"
        raise ValueError(msg)
    return str(value)


def external_id(value: str, name: str = "external_id") -> str:
    """Return an ``external_id`` of 3 to 256 characters (documentation section 9.2)."""
    shortest, longest = EXTERNAL_ID_LENGTH
    if not shortest <= len(text(name, value)) <= longest:
        msg = f"{name}: give {shortest} to {longest} characters"
        raise ValueError(msg)
    return value


def stale_in(value: str) -> str:
    """Return a ``stale_in`` such as ``90d`` (documentation section 9.2)."""
    if not _DAYS.fullmatch(text("stale_in", value)):
        msg = "stale_in: give a number of days from 1d to 999d"
        raise ValueError(msg)
    return value


def credentials_storage(value: str) -> str:
    """Return a ``credentials_storage``: ``store``, ``nostore``, ``1d`` to ``365d`` (documentation section 18.3)."""
    if not _CREDENTIALS_STORAGE.fullmatch(text("credentials_storage", value)):
        msg = "credentials_storage: give store, nostore, or a number of days from 1d to 365d"
        raise ValueError(msg)
    return value


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


def correlation(value: JsonValue) -> JsonValue:
    """Return the caller's own JSON value, at most 512 bytes of it.

    Raises:
        ValueError: it is larger, or not JSON.
    """
    try:
        size = len(encode_json(value))
    except (TypeError, ValueError, RecursionError, OverflowError):
        msg = "correlation: give a JSON value"
        raise ValueError(msg) from None
    if size > CORRELATION_BYTES:
        msg = f"correlation: give at most {CORRELATION_BYTES} bytes of JSON; keep the rest on your side"
        raise ValueError(msg)
    return value
