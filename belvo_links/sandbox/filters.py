"""Listing: filters, pages, ``fields`` and ``omit`` (documentation sections 5 and 6)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Protocol
from urllib.parse import parse_qs, urlencode

from attrs import evolve, frozen

from . import answers
from .answers import JsonValue, Problem, RefusalError
from .state import StoredLink
from .validation import is_uuid

LARGEST_PAGE = 1000
Query = Mapping[str, Sequence[str]]
Test = Callable[[StoredLink, datetime], bool]
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


_COMPARISONS: Mapping[str, Callable[[datetime, Moment], bool]] = {
    "created_at": lambda created, moment: moment[0] <= created <= moment[1],
    "created_at__gt": lambda created, moment: created > moment[1],
    "created_at__gte": lambda created, moment: created >= moment[0],
    "created_at__lt": lambda created, moment: created < moment[0],
    "created_at__lte": lambda created, moment: created <= moment[1],
}
_PLAIN: Mapping[str, Callable[[StoredLink], str | None]] = {
    "institution": lambda link: link.institution,
    "external_id": lambda link: link.external_id,
    "institution_user_id": lambda link: link.institution_user_id,
}


def build_filter(query: Query) -> Test | None:
    """One test for all filters of a query, or ``None`` without any; unknown parameters are ignored."""
    tests: list[Test] = []
    for name in query:
        value = given(query, name)
        test = None if value is None else _one_filter(name, value)
        if test is not None:
            tests.append(test)
    if not tests:
        return None
    return lambda link, now: all(test(link, now) for test in tests)


def _one_filter(name: str, value: str) -> Test | None:
    if name in _COMPARISONS:
        compare, moment = _COMPARISONS[name], _moment(name, value)
        return lambda link, _now: compare(link.created_at, moment)
    if name == "created_at__range":
        return _range(name, value)
    base, _, suffix = name.partition("__")
    if base in _PLAIN and suffix in ("", "in"):
        attribute = _PLAIN[base]
        wanted = frozenset(_items(value) if suffix else [value])
        return lambda link, _now: attribute(link) in wanted
    if name in ("status", "status__in"):
        statuses = frozenset(_items(value) if suffix else [value])
        return lambda link, now: link.status_at(now) in statuses
    return _identity_filter(name, value)


def _identity_filter(name: str, value: str) -> Test | None:
    if name in ("id", "id__in"):
        ids = _uuids(name, _items(value) if name == "id__in" else [value])
        return lambda link, _now: link.id in ids
    if name == "created_by__not_in":
        users = _uuids(name, _items(value))
        return lambda link, _now: link.created_by not in users
    if name == "access_mode":
        if value not in ("single", "recurrent"):
            message = f"Select a valid choice. {value} is not one of the available choices."
            raise RefusalError(Problem(400, "invalid_choice", message, name))
        return lambda link, _now: link.access_mode == value
    if name == "refresh_rate":
        # null is the word (documentation section 6)
        return lambda link, _now: (link.refresh_rate or "null") == value
    return None


def _range(name: str, value: str) -> Test:
    ends = _items(value)
    if len(ends) != 2:
        raise RefusalError(Problem(400, "invalid", "Enter two dates.", name))
    first, last = _moment(name, ends[0])[0], _moment(name, ends[1])[1]
    return lambda link, _now: first <= link.created_at <= last


def page_size(query: Query, default: int) -> int:
    """Larger sizes are lowered to 1000; below 1 or not a number is the default (documentation section 5)."""
    size = _number(given(query, "page_size"))
    return default if size is None or size < 1 else min(size, LARGEST_PAGE)


def _number(value: str | None) -> int | None:
    # A dozen digits are enough for any page; longer numbers would only cost time.
    return int(value) if value is not None and re.fullmatch(r"[0-9]{1,12}", value) else None


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
