"""Links, pages and open words: values that compare, copy and keep what they do not know."""

import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.protocol.models import (
    NO_EXTRA,
    Accepted,
    AccessMode,
    Extra,
    Link,
    LinkPage,
    LinkStatus,
    PartialPage,
    RefreshRate,
    Resource,
)
from belvo_links.wire import OpenStrEnum

ENUMS = (AccessMode, LinkStatus, RefreshRate, Resource)
NOON = datetime(2024, 2, 2, 12, tzinfo=UTC)
LINK = Link(
    id="b3743391-0bcb-45e4-b6a8-75a54a0e6394",
    institution="erebor_mx_retail",
    status=LinkStatus("on_holiday"),
    created_at=NOON,
    access_mode=AccessMode.SINGLE,
    fetch_resources=(Resource.OWNERS, Resource("DREAMS")),
    extra=Extra({"mood": {"today": ["CANARY"]}}),
)


@pytest.mark.parametrize("kind", ENUMS)
@given(word=st.text())
def test_a_word_is_equal_to_its_text_whether_known_or_not(kind: type[OpenStrEnum], word: str) -> None:
    """Unknown words are kept, compare, hash, copy and pickle as the text they are."""
    member = kind(word)
    assert isinstance(member, kind)
    assert member == word
    assert hash(member) == hash(word)
    assert str(member) == member.value == word
    assert pickle.loads(pickle.dumps(member)) == member
    assert copy.deepcopy(member) == member
    assert member.is_known == (word in {str(known) for known in kind})


@pytest.mark.parametrize("kind", ENUMS)
def test_unknown_words_leave_nothing_behind(kind: type[OpenStrEnum]) -> None:
    """A flood of invented words does not grow the class."""
    before = (len(kind.__members__), len(kind._value2member_map_))
    for number in range(1000):
        kind(f"invented {number}")
    assert (len(kind.__members__), len(kind._value2member_map_)) == before


@pytest.mark.parametrize("value", [None, 5, True, b"valid", ["valid"]])
def test_a_word_is_a_text(value: Any) -> None:
    """Only texts are words."""
    with pytest.raises(ValueError):
        LinkStatus(value)


def test_a_link_pickles_and_copies_whole() -> None:
    """Unknown words and unknown fields survive pickling and copying."""
    for twin in (pickle.loads(pickle.dumps(LINK)), copy.copy(LINK), copy.deepcopy(LINK)):
        assert twin == LINK
        assert twin.extra == LINK.extra
        assert isinstance(twin.status, LinkStatus)
        assert hash(twin) == hash(LINK)


def test_other_results_pickle_and_compare() -> None:
    """Pages, partial pages and acknowledgements are plain values too."""
    values = (
        LinkPage(count=1, results=(LINK,)),
        PartialPage(count=1, next="https://x/", results=({"id": "a"},)),
        Accepted(link_id=LINK.id, request_id=None),
    )
    for value in values:
        assert pickle.loads(pickle.dumps(value)) == value
        assert copy.deepcopy(value) == value


def test_unknown_fields_are_outside_equality_and_hash() -> None:
    """Two reads of one link are equal although one call keeps unknown fields and the other does not."""
    bare = attrs.evolve(LINK, extra=NO_EXTRA)
    assert bare == LINK
    assert hash(bare) == hash(LINK)
    assert attrs.evolve(LINK, status=LinkStatus.VALID) != LINK


def test_values_are_frozen_and_slotted() -> None:
    """Nobody changes a link, nor hangs an attribute on it."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        LINK.id = "other"  # type: ignore[misc]  # what the test is about
    for kind in (Link, LinkPage, PartialPage, Accepted):
        assert "__dict__" not in dir(kind)


def test_unknown_fields_are_a_mapping_that_shows_names_only() -> None:
    """The extra fields read as a mapping, cannot be written, and their repr hides what nobody knows."""
    extra = LINK.extra
    assert dict(extra) == {"mood": {"today": ["CANARY"]}}
    assert (len(extra), list(extra), extra["mood"]) == (1, ["mood"], {"today": ["CANARY"]})
    assert not hasattr(extra, "__setitem__")
    assert repr(extra) == "<Extra mood>"
    assert "CANARY" not in repr(LINK)
    assert repr(NO_EXTRA) == "<Extra empty>"
    assert not NO_EXTRA


def test_unknown_fields_do_not_follow_the_mapping_they_came_from() -> None:
    """Extra copies what it is given."""
    given_fields = {"a": 1}
    extra = Extra(given_fields)
    given_fields["b"] = 2
    assert dict(extra) == {"a": 1}
