"""Which links to list: every documented filter, as it stands in the query."""

from collections import Counter
from datetime import date, datetime
from itertools import product
from typing import Any
from urllib.parse import quote, urlencode

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.protocol.filters import MAX_QUERY, LinkFilter
from belvo_links.protocol.models import AccessMode, LinkStatus, RefreshRate

A = "e4bb1afb-4a4f-4dd6-8be0-e615d233185b"
B = "b3743391-0bcb-45e4-b6a8-75a54a0e6394"
USER = "Nv6HY3eQ7EPlGdorKP11gtOG31Ma-6CCLX958Cv5Rp4="
DAY = date(2024, 1, 31)
CANARY = "canary,4711"

DOCUMENTED: list[tuple[str, Any, str]] = [
    ("id", A, A),
    ("id__in", [A, B], f"{A},{B}"),
    ("institution", "erebor_mx_retail", "erebor_mx_retail"),
    ("institution__in", ("erebor_mx_retail", "a_br_b"), "erebor_mx_retail,a_br_b"),
    ("access_mode", AccessMode.SINGLE, "single"),
    ("created_at", DAY, "2024-01-31"),
    ("created_at__gt", DAY, "2024-01-31"),
    ("created_at__gte", DAY, "2024-01-31"),
    ("created_at__lt", DAY, "2024-01-31"),
    ("created_at__lte", DAY, "2024-01-31"),
    ("created_at__range", [date(2022, 3, 3), date(2022, 5, 4)], "2022-03-03,2022-05-04"),
    ("created_by__not_in", [A, B], f"{A},{B}"),
    ("external_id", "user, 42 & more", "user, 42 & more"),
    ("external_id__in", ["user-42", "user-43"], "user-42,user-43"),
    ("institution_user_id", USER, USER),
    ("institution_user_id__in", [USER, USER[::-1]], f"{USER},{USER[::-1]}"),
    ("refresh_rate", RefreshRate.WEEKLY, "7d"),
    ("status", LinkStatus.TOKEN_REQUIRED, "token_required"),
    ("status__in", [LinkStatus.INVALID, "token_required", "new_word"], "invalid,token_required,new_word"),
]


def test_the_filter_has_exactly_the_documented_attributes() -> None:
    """One attribute per filter of section 6, and the paging and field names are no filters."""
    assert [field.name for field in attrs.fields(LinkFilter)] == [name for name, _, _ in DOCUMENTED]


@pytest.mark.parametrize("name, value, expected", DOCUMENTED)
def test_each_filter_stands_in_the_query_as_belvo_spells_it(name: str, value: Any, expected: str) -> None:
    """Several values are one comma-separated value; nothing is percent-encoded here."""
    assert LinkFilter(**{name: value}).query() == ((name, expected),)


def test_filters_are_joined_and_none_is_absent() -> None:
    """All filters together stand in the query once each, and None adds nothing."""
    everything = LinkFilter(**{name: value for name, value, _ in DOCUMENTED})
    assert everything.query() == tuple((name, expected) for name, _, expected in DOCUMENTED)
    assert LinkFilter(**{name: None for name, _, _ in DOCUMENTED}).query() == ()
    assert list(LinkFilter().split()) == [LinkFilter()]


def test_links_without_a_refresh_rate_are_found_by_the_word_null() -> None:
    """The contract takes null as a word, and combined periods."""
    assert LinkFilter(refresh_rate="null").query() == (("refresh_rate", "null"),)
    assert LinkFilter(refresh_rate="6h30m1d").query() == (("refresh_rate", "6h30m1d"),)


REFUSED: list[tuple[str, Any]] = [
    ("id", CANARY),
    ("id__in", [A, CANARY]),
    ("id__in", []),
    ("institution", CANARY.upper()),
    ("institution", "a" * 41),
    ("institution", ""),
    ("institution__in", ["erebor_mx_retail", "CANARY"]),
    ("access_mode", ""),
    ("created_at__range", []),
    ("created_at__range", [DAY]),
    ("created_at__range", [DAY, DAY, DAY]),
    ("created_at__range", [date(2024, 2, 1), DAY]),
    ("created_by__not_in", [CANARY]),
    ("created_by__not_in", ()),
    ("external_id", "ab"),
    ("external_id", "x" * 257),
    ("external_id", CANARY + "\ud800"),
    ("external_id__in", ["abc", "ab"]),
    ("external_id__in", ["abc", CANARY]),
    ("external_id__in", ["abc", ""]),
    ("institution_user_id", ""),
    ("institution_user_id__in", [CANARY]),
    ("refresh_rate", ""),
    ("refresh_rate", "weekly"),
    ("refresh_rate", "7d7d"),
    ("status", ""),
    ("status__in", ["valid", ""]),
    ("status__in", [CANARY]),
]


@pytest.mark.parametrize("name, value", REFUSED)
def test_a_filter_outside_the_documents_is_refused_by_name(name: str, value: Any) -> None:
    """Also an empty one, which would match everything; the value is not shown."""
    with pytest.raises(ValueError, match=rf"^{name}: ") as caught:
        LinkFilter(**{name: value})
    assert "canary" not in repr(caught.value).lower()


@pytest.mark.parametrize("name", [name for name, _, _ in DOCUMENTED])
@pytest.mark.parametrize("value", [5, True, b"abc", object(), [5], [None]])
def test_a_filter_of_another_type_is_a_type_error_by_name(name: str, value: object) -> None:
    """Numbers are not turned into text, bytes are no sequence of texts, a list is not one value."""
    kind = (TypeError, ValueError) if name == "created_at__range" and isinstance(value, list) else TypeError
    wrong: Any = {name: value}
    with pytest.raises(kind, match=rf"^{name}: "):
        LinkFilter(**wrong)


@pytest.mark.parametrize("name", [name for name, _, _ in DOCUMENTED if name.endswith(("__in", "__range", "__not_in"))])
def test_a_single_text_is_no_sequence(name: str) -> None:
    """A text is not taken for its letters."""
    wrong: Any = {name: "abcdef"}
    with pytest.raises(TypeError, match=rf"^{name}: "):
        LinkFilter(**wrong)


@pytest.mark.parametrize("value", ["2024-01-31", datetime(2024, 1, 31)])  # noqa: DTZ001  # refused either way
def test_dates_are_dates(value: Any) -> None:
    """A text or a moment is refused: the documents promise days."""
    with pytest.raises(TypeError, match=r"^created_at__gt: "):
        LinkFilter(created_at__gt=value)
    with pytest.raises(TypeError, match=r"^created_at__range: "):
        LinkFilter(created_at__range=[value, value])


def test_a_filter_stays_what_was_checked() -> None:
    """It keeps a copy of lists, is frozen, hashes and compares."""
    names = ["abc"]
    chosen = LinkFilter(external_id__in=names)
    names.append("ab")
    assert chosen.query() == (("external_id__in", "abc"),)
    assert chosen == LinkFilter(external_id__in=("abc",))
    assert len({chosen, LinkFilter(external_id__in=["abc"])}) == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        chosen.status = "valid"  # type: ignore[misc]  # what the test is about


def test_repeated_values_are_sent_once() -> None:
    """A value that is given twice stands once in the query."""
    assert LinkFilter(status__in=["valid", "invalid", "valid"]).query() == (("status__in", "valid,invalid"),)


# ------------------------------------------------------------------------------------------------------- splitting


def links_of(filters: LinkFilter) -> Counter[tuple[str, ...]]:
    """What a filter matches: each combination of its lists' values."""
    lists = [value.split(",") for name, value in filters.query() if name.endswith("__in")]
    return Counter(product(*lists))


external_ids = st.text(st.characters(exclude_characters=",", exclude_categories=["Cs"]), min_size=3, max_size=256)


@given(
    ids=st.lists(st.uuids().map(str), max_size=400),
    names=st.lists(external_ids, max_size=30),
    statuses=st.lists(st.sampled_from(["valid", "invalid", "unconfirmed"]), max_size=3),
)
def test_parts_fit_and_cover_the_same_values_once_each(ids: list[str], names: list[str], statuses: list[str]) -> None:
    """Together the parts match what the whole matches, no link twice, and each fits into a URL."""
    whole = LinkFilter(
        id__in=ids or None, external_id__in=names or None, status__in=statuses or None, access_mode="single"
    )
    parts = list(whole.split())
    assert all(part.fits() and part.access_mode == "single" for part in parts)
    assert sum((links_of(part) for part in parts), Counter()) == links_of(whole)
    assert (len(parts) == 1) == whole.fits()


def test_a_query_that_fits_is_measured_as_it_goes_over_the_wire() -> None:
    """The limit counts percent-encoded characters: a fox takes twelve."""
    for filters in (
        LinkFilter(external_id__in=["🦊" * 200, "x" * 200]),
        LinkFilter(institution_user_id__in=[USER[:-3] + f"{number:03}" for number in range(125)]),
    ):
        encoded = urlencode(filters.query(), safe=",", quote_via=quote)
        assert abs(filters._length() - len(encoded)) <= 2
        assert filters.fits() == (filters._length() <= MAX_QUERY)


def test_one_uuid_in_two_spellings_is_matched_by_one_part() -> None:
    """Upper and lower case are the same link, which must not be counted twice."""
    ids = [f"e4bb1afb-4a4f-4dd6-8be0-{number:012x}" for number in range(0xA00000, 0xA00000 + 300)]
    parts = list(LinkFilter(id__in=[*ids, *(each.upper() for each in ids)]).split())
    values = [value for part in parts for value in part.query()[0][1].split(",")]
    assert sorted(value.lower() for value in values) == sorted(ids)


def test_what_cannot_be_split_says_so_by_name() -> None:
    """Parts of a negation would match more and not less, so a long one is refused, alone or beside others."""
    many = [f"e4bb1afb-4a4f-4dd6-8be0-{number:012x}" for number in range(400)]
    for filters in (LinkFilter(created_by__not_in=many), LinkFilter(created_by__not_in=many, id__in=many)):
        assert not filters.fits()
        with pytest.raises(ValueError, match=r"^created_by__not_in: too long for a URL, and cannot be split$"):
            list(filters.split())


def test_single_values_that_are_too_long_together_are_refused() -> None:
    """Where no list makes it long, no split helps."""
    long = "🦊" * 256
    with pytest.raises(ValueError, match=r"^filters: too long for a URL"):
        list(LinkFilter(external_id=long, external_id__in=[long]).split())
