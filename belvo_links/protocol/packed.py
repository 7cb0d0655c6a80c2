"""A pending record as few bytes, for a place such as a cookie: what :mod:`.stored` writes, without its many words.

Fields lose their names, frequent words become numbers, and hexadecimal digits, UUIDs, timestamps and base64 the bytes
they stand for. The data of a QR code is left out, since it alone would fill a cookie, and so are request ids but for
the latest.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeGuard
from uuid import UUID

import attrs
import msgspec

from belvo_links.errors import StoredFormatError
from belvo_links.protocol import stored
from belvo_links.protocol.challenge import Challenge, ChallengeKind
from belvo_links.protocol.record import Baseline, PendingRecord
from belvo_links.wire import JsonValue, decode_json, encode_json, format_timestamp, parse_timestamp

VERSION: Final = 1
"""Of the fields and their order. It is not in the bytes; whoever keeps them keeps it with them."""

KEPT_REQUEST_IDS: Final = 2
"""How many request ids are kept, the latest ones."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NAMES: Final = tuple(field.name for field in attrs.fields(PendingRecord))
_NESTED: Final[Mapping[str, tuple[str, ...]]] = {
    "challenge": tuple(field.name for field in attrs.fields(Challenge)),
    "baseline": tuple(field.name for field in attrs.fields(Baseline)),
}
_HEAD: Final = 3
"""Bytes that say what the bytes behind them stand for."""

_FREE: Final = frozenset({"correlation", "requested"})
"""Fields that hold any JSON: all but the plainest is kept as its text, since msgpack has integers of 64 bits only."""


def pack(record: PendingRecord) -> bytes:
    """Return the record as bytes that :func:`unpack` reads, without QR data and all but the latest request ids."""
    fields = stored.fields_of(_slim(record))
    return msgspec.msgpack.encode([_shrunk(name, fields[name]) for name in _NAMES])


def unpack(data: bytes) -> PendingRecord:
    """Return the record that :func:`pack` wrote.

    Raises:
        StoredFormatError: the bytes are not such a record.
    """
    try:
        fields = _named(msgspec.msgpack.decode(data))
    # Errors of msgspec and of UTF-8 are ValueErrors; nested too deeply is a RecursionError.
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, struct.error):
        msg = "The packed pending session is damaged: its fields are not what was written."
    else:
        return stored.record_of(fields)
    raise StoredFormatError(msg)


def _named(values: object) -> dict[str, JsonValue]:
    if not isinstance(values, list):
        raise TypeError
    return {name: _grown(name, value) for name, value in zip(_NAMES, values, strict=True)}


def _slim(record: PendingRecord) -> PendingRecord:
    challenge = record.challenge
    if challenge is not None and challenge.kind == ChallengeKind.QR:
        challenge = attrs.evolve(challenge, value=None)
    return attrs.evolve(record, challenge=challenge, request_ids=record.request_ids[-KEPT_REQUEST_IDS:])


def _shrunk(name: str, value: JsonValue) -> object:
    if name in _FREE and value is not None:
        return {key: _shrunk("", each) for key, each in value.items()} if _is_flat(value) else encode_json(value)
    if isinstance(value, Mapping):
        return [_shrunk("", value[each]) for each in _NESTED[name]]
    if isinstance(value, list):
        return [_shrunk("", each) for each in value]
    return _short(value) if isinstance(value, str) else value


def _grown(name: str, value: object) -> JsonValue:
    if name in _FREE and isinstance(value, bytes):
        return decode_json(value)
    if name in _FREE and isinstance(value, dict):
        return {_text(key): _grown("", each) for key, each in value.items()}
    if name in _NESTED and isinstance(value, list):
        return {each: _grown("", inner) for each, inner in zip(_NESTED[name], value, strict=True)}
    if isinstance(value, list):
        return [_grown("", each) for each in value]
    if isinstance(value, msgspec.msgpack.Ext):
        return _CODES[value.code].grow(bytes(value.data))
    if isinstance(value, str | bool | int | None):
        return value
    raise TypeError


def _is_flat(value: JsonValue) -> TypeGuard[Mapping[str, str | Sequence[str] | None]]:
    """Return whether this is an object of texts and lists of texts, as a ``patch`` asks for."""
    return isinstance(value, Mapping) and all(
        each is None or isinstance(each, str) or (isinstance(each, list) and all(isinstance(one, str) for one in each))
        for each in value.values()
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


@attrs.frozen
class _Code:
    """How texts of one form are written as bytes; a text that would not come back the same is not of that form."""

    shrink: Callable[[str], bytes]
    grow: Callable[[bytes], str]


def _moment(data: bytes) -> str:
    return format_timestamp(_EPOCH + struct.unpack(">q", data)[0] * _MICROSECOND)


# Only ever longer: a word's place is what is written.
_WORDS: Final = (
    "https://sandbox.belvo.com",
    "https://api.belvo.com",
    "token_required",
    "unconfirmed",
    "ACCOUNTS",
    "OWNERS",
    "TRANSACTIONS",
    "BILLS",
    "INVESTMENTS",
    "INVESTMENT_TRANSACTIONS",
    "INCOMES",
    "RECURRING_EXPENSES",
    "RISK_INSIGHTS",
    "FINANCIAL_STATEMENTS",
    "INVOICES",
    "TAX_COMPLIANCE_STATUS",
    "TAX_RETENTIONS",
    "TAX_RETURNS",
    "TAX_STATUS",
    "EMPLOYMENT_RECORDS",
    "EMPLOYMENT_METRICS",
    "EMPLOYMENTS",
    "CURRENT_EMPLOYMENTS",
)
_CODES: Final = {
    0: _Code(lambda text: bytes([_WORDS.index(text)]), lambda data: _WORDS[data[0]]),
    1: _Code(bytes.fromhex, bytes.hex),
    2: _Code(lambda text: UUID(text).bytes, lambda data: str(UUID(bytes=data))),
    3: _Code(lambda text: struct.pack(">q", (parse_timestamp(text) - _EPOCH) // _MICROSECOND), _moment),
    4: _Code(base64.urlsafe_b64decode, lambda data: base64.urlsafe_b64encode(data).decode("ascii")),
}
"""By their number in the packed form."""


def _short(text: str) -> str | msgspec.msgpack.Ext:
    for number, code in _CODES.items():
        try:
            data = code.shrink(text)
            if len(data) + _HEAD < len(text) and code.grow(data) == text:
                return msgspec.msgpack.Ext(number, data)
        except (ValueError, OverflowError):
            continue
    return text
