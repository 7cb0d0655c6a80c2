"""Which links to list: one attribute per documented filter, spelled as Belvo spells it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import quote

import attrs

from belvo_links.protocol import checks
from belvo_links.protocol.models import AccessMode, LinkStatus, RefreshRate

MAX_QUERY: Final = 6000
"""Characters of a query that every server and proxy on the way takes; a longer one is split, or refused."""

_INSTITUTION: Final = re.compile(r"[a-z_]{1,40}")
_REFRESH_RATE: Final = re.compile(r"(\d{1,3}h)?(\d{1,3}m)?(\d{1,3}d)?|null", re.ASCII)
_RANGE_ENDS: Final = 2
_DAY: Final = timedelta(days=1)
_NEVER_CHANGE: Final = frozenset({"id", "institution", "created_at", "created_by"})


def _institution(name: str, value: str) -> str:
    if not _INSTITUTION.fullmatch(checks.text(name, value)):
        msg = f"{name}: an institution's name has 1 to 40 letters a to z and underscores"
        raise ValueError(msg)
    return value


def _refresh_rate(name: str, value: str) -> str:
    if not value or not _REFRESH_RATE.fullmatch(checks.text(name, value)):
        msg = f"{name}: give one such as 6h or 7d, or the word null for links without one"
        raise ValueError(msg)
    return value


def _filled(name: str, value: str) -> str:
    if not checks.text(name, value):
        msg = f"{name}: is empty; an empty filter would match everything"
        raise ValueError(msg)
    return value


def _uuid(name: str, value: str) -> str:
    if not checks.is_uuid(value):
        msg = f"{name}: give UUIDs"
        raise ValueError(msg)
    return value


_VALUES: Final = {
    "id": _uuid,
    "institution": _institution,
    "access_mode": _filled,
    "created_by": _uuid,
    "external_id": lambda name, value: checks.external_id(value, name),
    "institution_user_id": _filled,
    "refresh_rate": _refresh_rate,
    "status": _filled,
}
"""How one value of a filter is checked, by the field that it filters."""


def _field_of(name: str) -> str:
    return name.partition("__")[0]


def _takes_several(name: str) -> bool:
    return name.endswith(("__in", "__not_in"))


def _tuple(value: Any) -> Any:
    """Return a sequence as a tuple, so that a filter stays what was checked; anything else is left to the checks."""
    return tuple(value) if isinstance(value, (list, set, frozenset)) else value


def _texts(value: Sequence[str] | None) -> Sequence[str] | None:
    frozen: Sequence[str] | None = _tuple(value)
    return frozen


def _dates(value: Sequence[date] | None) -> Sequence[date] | None:
    frozen: Sequence[date] | None = _tuple(value)
    return frozen


def _query_value(name: str, value: object) -> str:
    """Return a filter's value as it stands in the query; several are one comma-separated value."""
    if _field_of(name) == "created_at":
        return ",".join(_days(name, value)) if name.endswith("__range") else checks.day(name, value)
    check = _VALUES[_field_of(name)]
    if not _takes_several(name):
        return check(name, checks.text(name, value))
    values = dict.fromkeys(check(name, one) for one in checks.texts(name, value))
    if not values:
        msg = f"{name}: is empty; an empty filter would match everything"
        raise ValueError(msg)
    if any("," in one for one in values):
        msg = f"{name}: a value with a comma cannot be used in a list; filter by it alone"
        raise ValueError(msg)
    return ",".join(values)


def _days(name: str, value: object) -> tuple[str, str]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        msg = f"{name}: give a sequence of two datetime.date"
        raise TypeError(msg)
    ends = tuple(value)
    if len(ends) != _RANGE_ENDS:
        msg = f"{name}: give the first and the last day"
        raise ValueError(msg)
    first, last = (checks.day(name, end) for end in ends)
    if first > last:
        msg = f"{name}: the first day comes after the last"
        raise ValueError(msg)
    return first, last


@attrs.frozen(kw_only=True)
class LinkFilter:
    """Which links to list (documentation section 6). ``None`` means absent; different filters are joined by "and".

    Attributes are spelled as Belvo spells them. Dates are :class:`datetime.date`; ``__in``, ``__not_in`` and
    ``__range`` take sequences. ``refresh_rate="null"``, the word, finds the links without one.

    Raises:
        ValueError: a value that the documentation does not allow. The field is named, the value is not shown.
        TypeError: a value of another type.
    """

    id: str | None = None
    id__in: Sequence[str] | None = attrs.field(default=None, converter=_texts)
    institution: str | None = None
    institution__in: Sequence[str] | None = attrs.field(default=None, converter=_texts)
    access_mode: AccessMode | str | None = None
    created_at: date | None = None
    created_at__gt: date | None = None
    created_at__gte: date | None = None
    created_at__lt: date | None = None
    created_at__lte: date | None = None
    created_at__range: Sequence[date] | None = attrs.field(default=None, converter=_dates)
    created_by__not_in: Sequence[str] | None = attrs.field(default=None, converter=_texts)
    external_id: str | None = None
    external_id__in: Sequence[str] | None = attrs.field(default=None, converter=_texts)
    institution_user_id: str | None = None
    institution_user_id__in: Sequence[str] | None = attrs.field(default=None, converter=_texts)
    refresh_rate: RefreshRate | str | None = None
    status: LinkStatus | str | None = None
    status__in: Sequence[str] | None = attrs.field(default=None, converter=_texts)

    def __attrs_post_init__(self) -> None:
        self.query()  # checks every value

    def query(self) -> tuple[tuple[str, str], ...]:
        """Return names and values as they stand in the query, not yet percent-encoded."""
        given = ((field.name, getattr(self, field.name)) for field in attrs.fields(LinkFilter))
        return tuple((name, _query_value(name, value)) for name, value in given if value is not None)

    def fits(self, *, room: int = 0) -> bool:
        """Return whether the query is short enough for a URL, with room for so many characters more."""
        return self._length() <= MAX_QUERY - room

    @property
    def is_of_what_never_changes(self) -> bool:
        """Whether a link that matches always did, and always will."""
        return all(_field_of(name) in _NEVER_CHANGE for name, _ in self.query())

    def first_day(self) -> date | None:
        """Return the first day of creation that matches, ``None`` where there is none."""
        ends = [self.created_at, self.created_at__gte, self.created_at__gt]
        if self.created_at__range is not None:
            ends.append(self.created_at__range[0])
        return max((end for end in ends if end is not None), default=None)

    def end_day(self) -> date | None:
        """Return the first day of creation after the last one that matches, ``None`` where there is none."""
        lasts = [self.created_at, self.created_at__lte]
        if self.created_at__range is not None:
            lasts.append(self.created_at__range[1])
        ends = [last + _DAY for last in lasts if last is not None and last < date.max]
        if self.created_at__lt is not None:
            ends.append(self.created_at__lt)
        return min(ends, default=None)

    def between(self, since: date | None, until: date | None) -> LinkFilter:
        """Return the filter for the links among these that were created from a day on, and before another one."""
        sinces = [day for day in (since, self.created_at__gte) if day is not None]
        untils = [day for day in (until, self.created_at__lt) if day is not None]
        return attrs.evolve(self, created_at__gte=max(sinces, default=None), created_at__lt=min(untils, default=None))

    def _length(self) -> int:
        return sum(len(name) + len(quote(value, safe=",")) + 2 for name, value in self.query())

    def split(self, *, room: int = 0) -> Iterator[LinkFilter]:
        """Yield filters that each fit into a URL and together match the same links, each link once.

        Args:
            room: so many characters are left free in each.

        Raises:
            ValueError: it cannot be split, since it is not a long ``__in`` that makes it long.
        """
        if self.fits(room=room):
            yield self
            return
        name = max(_SPLITTABLE, key=lambda each: len(getattr(self, each) or ()))
        # One UUID in two spellings is one link: it must not end up in two parts.
        spell = str.lower if name == "id__in" else str
        values = tuple(dict.fromkeys(map(spell, getattr(self, name) or ())))
        if len(values) <= 1:
            culprit = "filters" if self.created_by__not_in is None else "created_by__not_in"
            msg = f"{culprit}: too long for a URL, and cannot be split"
            raise ValueError(msg)
        middle = len(values) // 2
        for half in (values[:middle], values[middle:]):
            part: Mapping[str, Any] = {name: half}
            yield from attrs.evolve(self, **part).split(room=room)


_SPLITTABLE: Final = ("id__in", "institution__in", "external_id__in", "institution_user_id__in", "status__in")
"""Fields of which a link has one value each, so that parts of the list never match the same link twice."""
