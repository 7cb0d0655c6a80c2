"""A pending record as text: exact, versioned, for stores and for callers who keep it themselves.

Unlike the reader of the service's replies, this one takes exactly what it wrote: a field that is missing, unknown or of
another type, or a version it does not know, is a :class:`~belvo_links.errors.StoredFormatError`.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

import attrs
from cattrs import Converter
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from belvo_links.errors import StoredFormatError
from belvo_links.protocol import checks
from belvo_links.protocol.challenge import Challenge, ChallengeKind
from belvo_links.protocol.mfa import SETTLED, Baseline, PendingRecord, PendingState
from belvo_links.redact import Secret
from belvo_links.wire import JsonValue, NotJsonError, decode_json, encode_json, format_timestamp, parse_timestamp

VERSION: Final = 1
_VERSION_KEY: Final = "belvo_links_pending"
_MOST: Final = 2**31 - 1
"""What a store can count to."""


def _exactly(kind: type) -> Any:
    def read(value: object, _: object) -> object:
        if type(value) is not kind:
            raise TypeError
        return value

    return read


def _texts(value: object, _: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(checks.text("texts", each) for each in value)


_FIELDS: Final[Mapping[str, Any]] = {
    "session": override(
        struct_hook=lambda value, _: _session(value), unstruct_hook=lambda s: None if s is None else s.reveal()
    ),
    "correlation": override(struct_hook=lambda value, _: value, unstruct_hook=lambda value: value),
    "requested": override(struct_hook=lambda value, _: _object(value), unstruct_hook=lambda value: value),
}
"""Fields of a record that need a reader and a writer of their own."""


def _session(value: object) -> Secret[str] | None:
    return None if value is None else Secret(checks.text("session", value))


def _object(value: object) -> Mapping[str, JsonValue] | None:
    if not isinstance(value, dict | None):
        raise TypeError
    return value


def _make_converter() -> Converter:
    converter = Converter(detailed_validation=False, forbid_extra_keys=True)
    for plain in (str, int, bool):
        converter.register_structure_hook(plain, _exactly(plain))
    converter.register_structure_hook(datetime, lambda value, _: parse_timestamp(value))
    converter.register_unstructure_hook(datetime, format_timestamp)
    converter.register_structure_hook(ChallengeKind, lambda value, _: ChallengeKind(value))
    converter.register_structure_hook(PendingState, lambda value, _: PendingState(value))
    converter.register_structure_hook_func(partial(operator.eq, tuple[str, ...]), _texts)
    converter.register_unstructure_hook(PendingRecord, make_dict_unstructure_fn(PendingRecord, converter, **_FIELDS))
    for whole in (Challenge, Baseline, PendingRecord):
        converter.register_structure_hook(whole, _whole(whole, converter))
    return converter


def _whole(kind: type[Any], converter: Converter) -> Any:
    """Return a reader that wants every field, also those that have a default."""
    names = {field.name for field in attrs.fields(kind)}
    overrides = _FIELDS if kind is PendingRecord else {}
    structure = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True, **overrides)

    def read(value: object, _: object) -> object:
        if not isinstance(value, dict) or value.keys() != names:
            raise TypeError
        return structure(value, kind)

    return read


_converter: Final = _make_converter()


def fields_of(record: PendingRecord) -> dict[str, JsonValue]:
    """Return the record's fields as plain JSON, in their order."""
    fields: dict[str, JsonValue] = _converter.unstructure(record)
    return fields


def record_of(fields: Mapping[str, JsonValue]) -> PendingRecord:
    """Return the record that :func:`fields_of` took apart.

    Raises:
        StoredFormatError: they are not what was written.
    """
    record = _read(fields)
    if record is None or not _consistent(record):
        msg = "The stored pending session is damaged or was changed: its fields are not what was written."
        raise StoredFormatError(msg)
    return record


def dump(record: PendingRecord) -> str:
    """Return the record as JSON text. It holds Belvo's session, never a credential, never a token."""
    return encode_json({_VERSION_KEY: VERSION, **fields_of(record)}).decode("utf-8")


def load(text: str) -> PendingRecord:
    """Return the record that :func:`dump` wrote.

    Raises:
        StoredFormatError: the text is not such a record, was cut or changed, or is of an unknown version.
    """
    given: object = text  # a missing cookie, the bytes of a store: whoever calls has not always been type-checked
    try:
        fields = decode_json(given.encode("utf-8", "surrogatepass")) if isinstance(given, str) else None
    except NotJsonError:
        msg = "The text is not a stored pending session: it is not JSON; it may have been cut."
        raise StoredFormatError(msg) from None
    if not isinstance(fields, dict) or _VERSION_KEY not in fields:
        msg = "The text is not a stored pending session."
        raise StoredFormatError(msg)
    version = fields.pop(_VERSION_KEY)
    if type(version) is not int or version != VERSION:
        msg = f"The stored pending session is of a version that this package does not read (it reads {VERSION})."
        raise StoredFormatError(msg)
    return record_of(fields)


def _read(fields: Mapping[str, JsonValue]) -> PendingRecord | None:
    """Return the record, or ``None``: also where it would not be written again as it was read, to the last digit."""
    try:
        record: PendingRecord = _converter.structure(fields, PendingRecord)
    except (BaseValidationError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return record if _converter.unstructure(record) == fields else None


def _consistent(record: PendingRecord) -> bool:
    """Return whether the fields fit together as the machine leaves them."""
    settled = record.state in SETTLED
    return (
        bool(record.id)
        and 1 <= record.round <= _MOST
        and 0 <= record.revision <= _MOST
        and checks.is_uuid(record.link_id)
        and (record.session is None) == settled
        and record.session != Secret("")
        and (record.challenge is None) == settled
        and (record.claim is not None or record.state is not PendingState.SUBMITTING)
    )
