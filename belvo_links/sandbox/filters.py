"""Listing: filters, pages, ``fields`` and ``omit`` (documentation sections 5 and 6)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol, TypeVar
from urllib.parse import parse_qs, urlencode

from attrs import evolve, frozen

from . import answers
from .answers import JsonValue, Problem, RefusalError
from .columns import Mask, all_of, opposite
from .links import Filtered, Matches, Timeline
from .state import StoredLink
from .validation import is_uuid

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
LARGEST_PAGE = 1000
Query = Mapping[str, Sequence[str]]
Test = Callable[[Timeline, range, datetime], Mask]
"""Says which links of a stretch of a timeline pass a filter at a moment."""
Moment = tuple[datetime, datetime]
"""The first moment of what was named, and the last one."""


def parse_query(raw: str) -> Query:
    """The parameters of a query; the last value of a repeated one counts."""
    return parse_qs(raw, keep_blank_values=True, errors="replace")


def given(query: Query, name: str) -> str | None:
    """The value of a parameter; an empty one counts as absent."""
    values = query.get(name)
    return (values[-1] or None) if values else None


def _items(value: str) -> list[str]:
    return [item for item in value.split(",") if item]


def _moment(name: str, value: str) -> Moment:
    """A date stands for its whole day, a timestamp (documentation section 6, notes) for itself."""
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
            day = date.fromisoformat(value)
            return datetime.combine(day, time.min, UTC), datetime.combine(day, time.max, UTC)
        moment = datetime.fromisoformat(value.replace(" ", "+"))
    except ValueError:
        raise RefusalError(Problem(400, "invalid", "Enter a valid date.", name)) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment, moment


def _uuids(name: str, values: list[str]) -> frozenset[str]:
    if not all(map(is_uuid, values)):
        raise RefusalError(Problem(400, "invalid", "Must be a valid UUID.", name))
    return frozenset(value.lower() for value in values)


_SMALLEST = timedelta(microseconds=1)
_FOREVER = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
_FIELDS: Mapping[str, Filtered] = {
    "institution": "institution",
    "external_id": "external_id",
    "institution_user_id": "institution_user_id",
    "access_mode": "access_mode",
    "refresh_rate": "refresh_rate",
}
_LISTED = ("id", "institution", "external_id", "institution_user_id", "status")
"""What can also be asked for as one of several values, with ``__in``."""


@frozen
class Selection:
    """What a query asks for: when the links were created, and what each of them must be."""

    first: datetime
    last: datetime
    tests: tuple[Test, ...]

    def of(self, timeline: Timeline, now: datetime) -> Matches:
        """The links that it selects, oldest first."""
        span = timeline.created(self.first, self.last)
        masks = [test(timeline, span, now) for test in self.tests]
        return Matches(timeline.links, span.start, all_of(masks, len(span)))


def build_selection(query: Query) -> Selection | None:
    """All filters of a query, which a link must pass, or ``None`` without any; unknown parameters are ignored."""
    (first, last), tests, dated = _FOREVER, list[Test](), False
    for name in sorted(query):
        value = given(query, name)
        if value is None:
            continue
        span = _span(name, value)
        if span is not None:
            first, last, dated = max(first, span[0]), min(last, span[1]), True
        elif (test := _test(name, value)) is not None:
            tests.append(test)
    return Selection(first, last, tuple(tests)) if tests or dated else None


def _span(name: str, value: str) -> Moment | None:
    """The first and the last moment of creation that a date filter lets through."""
    if name == "created_at__range":
        ends = _items(value)
        if len(ends) != 2:
            raise RefusalError(Problem(400, "invalid", "Enter two dates.", name))
        return _moment(name, ends[0])[0], _moment(name, ends[1])[1]
    base, _, suffix = name.partition("__")
    if base != "created_at" or suffix not in ("", "gt", "gte", "lt", "lte"):
        return None
    begin, end = _moment(name, value)
    match suffix:
        case "gt":
            return _moved(end, _SMALLEST), _FOREVER[1]
        case "gte":
            return begin, _FOREVER[1]
        case "lt":
            return _FOREVER[0], _moved(begin, -_SMALLEST)
        case "lte":
            return _FOREVER[0], end
    return begin, end


def _moved(moment: datetime, step: timedelta) -> datetime:
    try:
        return moment + step
    except OverflowError:  # the first or the last moment that there is
        return moment


def _test(name: str, value: str) -> Test | None:
    """What a filter demands of each link; ``None``: there is no such filter."""
    if name == "created_by__not_in":
        users = _uuids(name, _items(value))
        return lambda timeline, span, now: opposite(timeline.having(span, "created_by", users))
    base, _, suffix = name.partition("__")
    if suffix not in ("", "in") or (suffix and base not in _LISTED):
        return None
    wanted: frozenset[str | None] = frozenset(_items(value) if suffix else [value])
    if base == "id":
        ids = _uuids(name, _items(value) if suffix else [value])
        return lambda timeline, span, now: timeline.identified(span, ids)
    if base == "status":
        return lambda timeline, span, now: timeline.with_status(span, wanted, now)
    if base not in _FIELDS:
        return None
    if base == "access_mode" and value not in ("single", "recurrent"):
        message = f"Select a valid choice. {value} is not one of the available choices."
        raise RefusalError(Problem(400, "invalid_choice", message, name))
    if (base, value) == ("refresh_rate", "null"):  # the word (documentation section 6)
        wanted = frozenset((None,))
    field = _FIELDS[base]
    return lambda timeline, span, now: timeline.having(span, field, wanted)


def find_links(query: Query, timeline: Timeline, now: datetime) -> Items[StoredLink]:
    """The links of an account that a query asks for, oldest first; not to be changed."""
    selection = build_selection(query)
    return timeline.links if selection is None else selection.of(timeline, now)


def page_size(query: Query, default: int) -> int:
    """Larger sizes are lowered to 1000; below 1 or not a number is the default (documentation section 5)."""
    size = _number(given(query, "page_size"))
    return default if size is None or size < 1 else min(size, LARGEST_PAGE)


def _number(value: str | None) -> int | None:
    # A dozen digits are enough for any page; longer numbers would only cost time.
    return int(value) if value is not None and re.fullmatch(r"[0-9]{1,12}", value) else None


class Items(Protocol[T_co]):
    """A list, or what gives parts of one."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> Sequence[T_co]: ...


@frozen
class PageRequest:
    """Which page is asked for, and of which list."""

    url: str
    """Absolute, without the query."""
    query: Query
    number: int
    size: int

    @property
    def start(self) -> int:
        """Position of the first item."""
        return (self.number - 1) * self.size

    def cut(self, items: Items[T], *, backwards: bool = False) -> list[T]:
        """The items of this page, of which ``backwards`` takes the last one first."""
        if not backwards:
            return list(items[self.start : self.start + self.size])
        end = len(items) - self.start
        return list(items[max(end - self.size, 0) : max(end, 0)][::-1])

    def address(self, number: int) -> str:
        """The address of another page: the caller's query again; page 1 goes without ``page`` (section 5)."""
        query = {name: values for name, values in self.query.items() if name != "page"}
        if number > 1:
            query["page"] = [str(number)]
        return f"{self.url}?{urlencode(sorted(query.items()), doseq=True)}" if query else self.url

    def envelope(self, count: int, results: Sequence[JsonValue]) -> Mapping[str, JsonValue]:
        """The page as the API shows it (documentation section 5)."""
        pages = max(1, math.ceil(count / self.size))
        return {
            "count": count,
            "next": self.address(self.number + 1) if self.number < pages else None,
            "previous": self.address(self.number - 1) if self.number > 1 else None,
            "results": results,
        }

    def check(self, count: int) -> None:
        """Refuse a page past the end; the first one always exists."""
        if self.number < 1 or (self.number > 1 and self.start >= count):
            raise RefusalError(answers.INVALID_PAGE)


def page_request(url: str, query: Query, *, default_size: int) -> PageRequest:
    """Read ``page`` and ``page_size``."""
    request = PageRequest(url, query, 1, page_size(query, default_size))
    if (page := given(query, "page")) is not None:
        number = _number(page)
        if number is None:
            raise RefusalError(answers.INVALID_PAGE)
        request = evolve(request, number=number)
    return request


class Projection(Protocol):
    """Narrows one result."""

    def __call__(self, item: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]: ...


def projection(query: Query) -> Projection:
    """``fields`` first, then ``omit``; unknown names are ignored (documentation section 6)."""
    fields, omit = given(query, "fields"), given(query, "omit")
    kept = None if fields is None else frozenset(_items(fields))
    dropped = frozenset[str]() if omit is None else frozenset(_items(omit))
    if kept is None and not dropped:
        return lambda item: item
    return lambda item: {
        name: value for name, value in item.items() if (kept is None or name in kept) and name not in dropped
    }
