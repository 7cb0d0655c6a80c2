"""From the service's JSON to values: a tolerant reader for everything, and a fast lane for long listings.

The tolerant reader (cattrs) keeps unknown fields and words, takes absent and null alike, and says where a body is wrong
as a path, never with a value. The fast lane (msgspec) decodes a page of links straight into the same classes; when it
refuses a page, the tolerant reader has the last word.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar, get_origin

import attrs
import msgspec
from cattrs import BaseConverter, Converter, transform_error
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_structure_fn, override

from belvo_links.errors import UnexpectedResponseError
from belvo_links.protocol.checks import is_uuid
from belvo_links.protocol.models import (
    NO_EXTRA,
    Accepted,
    Extra,
    Link,
    LinkPage,
    PartialPage,
    RecordPage,
    UnreadableLink,
)
from belvo_links.transport.messages import Response
from belvo_links.wire import JsonValue, NotJsonError, OpenStrEnum, decode_json, parse_timestamp

T = TypeVar("T")

MAX_PROBLEMS: Final = 20


class _WireError(ValueError):
    """A value is not what it should be. Its text is ours and quotes nothing."""


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        msg = "expected an object"
        raise _WireError(msg)
    return value


def _scalar(kind: type[T], name: str) -> Callable[[object, object], T]:
    """Return a reader that takes this type and no other; cattrs by itself turns numbers into text."""

    def read(value: object, _: object) -> T:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            msg = f"expected {name}"
            raise _WireError(msg)
        return value

    return read


def _read_word(value: object, kind: type[OpenStrEnum]) -> OpenStrEnum:
    if not isinstance(value, str):
        msg = "expected text"
        raise _WireError(msg)
    return kind(value)


def _read_timestamp(value: object, _: object) -> datetime:
    try:
        return parse_timestamp(value if isinstance(value, str) else "")
    except ValueError:
        msg = "expected an ISO-8601 timestamp"
        raise _WireError(msg) from None


def _is(origin: object) -> Callable[[Any], bool]:
    """Return a predicate for a generic type, whatever it is one of."""
    return lambda kind: get_origin(kind) is origin


def _array_reader(kind: Any, converter: BaseConverter) -> Callable[[Any, Any], Any]:
    """Return a reader that takes an array and nothing else; cattrs by itself reads a text letter by letter."""
    elements = list[kind.__args__[0]]
    read_list = converter.get_structure_hook(elements)

    def read(value: object, _: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            msg = "expected an array"
            raise _WireError(msg)
        return tuple(read_list(value, elements))

    return read


def _make_converter() -> Converter:
    converter = Converter(detailed_validation=True)
    converter.register_structure_hook(str, _scalar(str, "text"))
    converter.register_structure_hook(int, _scalar(int, "a whole number"))
    converter.register_structure_hook(datetime, _read_timestamp)
    # By class, for all enums: a predicate would come too late, since they are texts and the reader of str takes them.
    converter.register_structure_hook(OpenStrEnum, _read_word)
    converter.register_structure_hook_func(_is(Mapping), lambda value, _: _object(value))
    converter.register_structure_hook_factory(_is(tuple), _array_reader)

    read_link = make_dict_structure_fn(Link, converter, extra=override(omit=True))
    known = frozenset(field.name for field in attrs.fields(Link)) - {"extra"}

    def read_with_extra(value: object, kind: type[Link]) -> Link:
        fields = _object(value)
        given = dict(fields)
        if given.get("fetch_resources", ()) is None:
            del given["fetch_resources"]  # our OpenAPI document allows null
        link = read_link(given, kind)
        unknown = {name: fields[name] for name in fields if name not in known}
        return attrs.evolve(link, extra=Extra(unknown)) if unknown else link

    converter.register_structure_hook(Link, read_with_extra)
    return converter


_converter: Final = _make_converter()


def _problems(error: BaseException) -> list[str]:
    """Return where a body is wrong: paths and reasons of our own, never a value."""

    def reason(cause: BaseException, _: object) -> str:
        if isinstance(cause, _WireError):
            return str(cause)
        return "missing" if isinstance(cause, KeyError) else "not what it should be"

    lines = transform_error(error, path="$", format_exception=reason)
    return [": ".join(reversed(line.split(" @ ", 1))) for line in lines[:MAX_PROBLEMS]]


def _structure(response: Response, kind: type[T]) -> T:
    try:
        body = decode_json(response.body)
    except NotJsonError:
        raise UnexpectedResponseError(status=response.status, problems=["$: not JSON"]) from None
    try:
        return _converter.structure(_object(body), kind)
    except _WireError as error:
        problems = [f"$: {error}"]
    except (BaseValidationError, ValueError, TypeError, KeyError) as error:
        problems = _problems(error)
    raise UnexpectedResponseError(status=response.status, problems=problems)


_fields_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_fast_link: Final = msgspec.json.Decoder(Link)
_LINK_FIELDS: Final = frozenset(field.name for field in attrs.fields(Link)) - {"extra"}


def read_link(response: Response) -> Link:
    """Read one link, with the fields this version does not know; by the fast lane where there are none."""
    try:
        if _LINK_FIELDS.issuperset(_fields_of.decode(response.body)):
            return _fast_link.decode(response.body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass  # the error of the tolerant reader must not carry this one, which may quote the body
    return _structure(response, Link)


@attrs.frozen
class _FieldsOfPage:
    results: list[dict[str, msgspec.Raw]]


_fields_of_page: Final = msgspec.json.Decoder(_FieldsOfPage)
_fast_page: Final = msgspec.json.Decoder(LinkPage, dec_hook=lambda kind, value: NO_EXTRA)
"""``extra`` is a type of our own, so that a field named "extra" on the wire reaches this hook and not the attribute."""


def read_page(response: Response) -> LinkPage:
    """Read one page of links, with the fields this version does not know; by the fast lane where there are none."""
    try:
        if all(map(_LINK_FIELDS.issuperset, _fields_of_page.decode(response.body).results)):
            return _fast_page.decode(response.body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass  # the error of the tolerant reader must not carry this one, which may quote the body
    return _structure(response, LinkPage)


def read_partial_page(response: Response) -> PartialPage:
    """Read one page of parts of links."""
    return _structure(response, PartialPage)


def read_page_fast(response: Response) -> LinkPage:
    """Read one page of links for a long listing: without unknown fields, in a fraction of the time."""
    try:
        return _fast_page.decode(response.body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass  # the error of the tolerant reader must not carry this one, which may quote the body
    return _structure(response, LinkPage)


def read_records(response: Response, *, in_full: bool) -> RecordPage:
    """Read one page of links in which a record that is no link costs that record alone.

    Args:
        response: the reply.
        in_full: whether to read the fields that this version does not know.

    Raises:
        UnexpectedResponseError: the page itself cannot be read.
    """
    try:
        page = read_page(response) if in_full else read_page_fast(response)
    except UnexpectedResponseError:
        return _read_one_by_one(response)
    moments = tuple(link.created_at for link in page.results)
    return RecordPage(
        count=page.count, records=page.results, moments=moments, ids=tuple(link.id for link in page.results)
    )


@attrs.frozen
class _RawPage:
    count: int
    results: tuple[Any, ...]


def _read_one_by_one(response: Response) -> RecordPage:
    raw = _structure(response, _RawPage)
    records = tuple(map(_read_record, raw.results))
    known = [_created_at(each, value) for each, value in zip(records, raw.results, strict=True)]
    first = next((moment for moment in known if moment is not None), None)
    if first is None and records:
        raise UnexpectedResponseError(status=response.status, problems=["$.results: none has a moment of creation"])
    moments: list[datetime] = []
    for moment in known:
        neighbour = moments[-1] if moments else first
        if (chosen := moment or neighbour) is not None:
            moments.append(chosen)
    return RecordPage(count=raw.count, records=records, moments=tuple(moments), ids=_names(records, raw.results))


def _read_record(value: object) -> Link | UnreadableLink:
    try:
        return _converter.structure(value, Link)
    except _WireError as error:
        problems = [f"$: {error}"]
    except (BaseValidationError, ValueError, TypeError, KeyError) as error:
        problems = _problems(error)
    link_id = value.get("id") if isinstance(value, Mapping) else None
    return UnreadableLink(
        id=link_id if isinstance(link_id, str) and is_uuid(link_id) else None, problems=tuple(problems)
    )


def _created_at(record: Link | UnreadableLink, value: object) -> datetime | None:
    if isinstance(record, Link):
        return record.created_at
    text = value.get("created_at") if isinstance(value, Mapping) else None
    try:
        return parse_timestamp(text if isinstance(text, str) else "")
    except ValueError:
        return None


def _names(records: Sequence[Link | UnreadableLink], values: Sequence[object]) -> tuple[str, ...]:
    """Return the ids of records, and for one without an id a digest of what it holds: the same wherever it is met."""
    met: Counter[str] = Counter()
    names: list[str] = []
    for record, value in zip(records, values, strict=True):
        name = record.id
        if name is None:
            digest = hashlib.sha256(repr(value).encode("utf-8", "replace")).hexdigest()
            met[digest] += 1
            name = f"{digest} {met[digest]}"
        names.append(name)
    return tuple(names)


@attrs.frozen
class _Counted:
    count: int


def read_count(response: Response) -> int:
    """Read the number of links that match, and nothing else of the page."""
    return _structure(response, _Counted).count


@attrs.frozen
class _RequestId:
    request_id: str


def read_accepted(response: Response, *, link_id: str) -> Accepted:
    """Read an acknowledgement; the form of its id is not documented, so it is not checked (section 4)."""
    return Accepted(link_id=link_id, request_id=_structure(response, _RequestId).request_id)


def read_json(response: Response) -> JsonValue:
    """Read any JSON body."""
    try:
        return decode_json(response.body)
    except NotJsonError:
        raise UnexpectedResponseError(status=response.status, problems=["$: not JSON"]) from None
