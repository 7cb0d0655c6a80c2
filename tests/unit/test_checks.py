"""What is refused before anything is sent: the field is named, the value never shown."""

import math
from collections.abc import Callable
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.protocol import checks
from belvo_links.wire import ABSENT, JsonValue, decode_json, encode_json

CANARY = "CANARY-4711"
LONE = CANARY + "\ud800"


class Word(StrEnum):
    """A text that is more than a str, as callers have them."""

    HI = "hihi"


@pytest.mark.parametrize(
    "check, value",
    [
        (checks.external_id, "ab"),
        (checks.external_id, ""),
        (checks.external_id, "x" * 257),
        (checks.external_id, CANARY * 30),
        (checks.external_id, LONE),
        (checks.stale_in, CANARY),
        (checks.stale_in, ""),
        (checks.stale_in, "90"),
        (checks.stale_in, "d"),
        (checks.stale_in, "1000d"),
        (checks.stale_in, "-1d"),
        (checks.stale_in, "90d\n"),
        (checks.stale_in, "9\uff10d"),
        (checks.credentials_storage, CANARY),
        (checks.credentials_storage, "0d"),
        (checks.credentials_storage, "366d"),
        (checks.credentials_storage, "01d"),
        (checks.credentials_storage, "Store"),
        (checks.credentials_storage, "store\n"),
        (checks.credentials_storage, "\uff13d"),
        (checks.link_id, CANARY),
        (checks.link_id, ""),
        (checks.link_id, "b37433910bcb45e4b6a875a54a0e6394"),
        (checks.link_id, "b3743391-0bcb-45e4-b6a8-75a54a0e6394\n"),
        (checks.link_id, "../../../etc/passwd"),
    ],
)
def test_a_value_outside_the_documents_is_refused_by_name(check: Callable[[Any], str], value: str) -> None:
    """Lengths and patterns of the documents hold, and the error names the field and not the value."""
    with pytest.raises(ValueError, match=f"^{check.__name__}: ") as caught:
        check(value)
    assert CANARY not in repr(caught.value)
    assert not isinstance(caught.value, UnicodeError)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("check", [checks.external_id, checks.stale_in, checks.credentials_storage, checks.link_id])
@pytest.mark.parametrize("value", [5, True, b"abc", None, ABSENT, uuid4()])
def test_a_value_that_is_no_text_is_a_type_error(check: Callable[[Any], str], value: object) -> None:
    """Numbers are not turned into text."""
    with pytest.raises(TypeError, match=f"^{check.__name__}: "):
        check(value)


@pytest.mark.parametrize("value", ["abc", "x" * 256, "ñ 🦊 ,=&", "a\x00b"])
def test_an_external_id_of_3_to_256_characters_passes(value: str) -> None:
    """Characters are counted, not bytes, and none is forbidden here."""
    assert checks.external_id(value) == value


@pytest.mark.parametrize("value", ["1d", "90d", "999d", "0d", "042d"])
def test_one_to_three_digits_of_days_pass(value: str) -> None:
    """`stale_in` is checked by the pattern of the contract and no stricter."""
    assert checks.stale_in(value) == value


def test_every_documented_storage_passes_and_no_other_number_of_days() -> None:
    """`store`, `nostore` and exactly 1d to 365d."""
    assert checks.credentials_storage("store") == "store"
    assert checks.credentials_storage("nostore") == "nostore"
    passed = []
    for days in range(1200):
        try:
            passed.append(checks.credentials_storage(f"{days}d"))
        except ValueError:
            continue
    assert passed == [f"{days}d" for days in range(1, 366)]


def test_a_text_of_a_richer_type_becomes_a_plain_one() -> None:
    """What goes on is a str that every encoder knows."""
    assert type(checks.text("x", Word.HI)) is str
    assert type(checks.external_id(Word.HI)) is str


@given(value=st.uuids())
def test_every_uuid_is_a_link_id_in_either_case(value: Any) -> None:
    """Upper and lower case both pass, and come back as given."""
    assert checks.link_id(str(value)) == str(value)
    assert checks.link_id(str(value).upper()) == str(value).upper()


@pytest.mark.parametrize("values", ["ACCOUNTS", 5, None, {"a": 1}, [1], [None], [b"a"], b"ab"])
def test_a_list_of_texts_is_a_list_of_texts(values: object) -> None:
    """A single text is not taken for its letters."""
    with pytest.raises(TypeError, match=r"^names: "):
        checks.texts("names", values)


def test_an_empty_text_in_a_list_is_refused() -> None:
    """An empty element would be a stray comma or a nameless resource."""
    with pytest.raises(ValueError, match=r"^names: "):
        checks.texts("names", ["a", ""])
    assert checks.texts("names", []) == ()
    assert checks.texts("names", {"a"}) == ("a",)


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_a_whole_number_is_an_int(value: object) -> None:
    """`True` and `1.0` would be written to the query as they print."""
    with pytest.raises(TypeError, match=r"^page: "):
        checks.whole_number("page", value)
    assert checks.whole_number("page", 3) == 3


@pytest.mark.parametrize("value", ["2024-01-01", datetime(2024, 1, 1), 20240101, None])  # noqa: DTZ001  # refused
def test_a_day_is_a_date_without_a_time(value: object) -> None:
    """Dates are sent, never timestamps or texts."""
    with pytest.raises(TypeError, match=r"^created_at: "):
        checks.day("created_at", value)
    assert checks.day("created_at", date(2024, 1, 31)) == "2024-01-31"


RESOURCES = [ABSENT, None, [], ["ACCOUNTS"]]
MODES = [ABSENT, None, "single", "recurrent", "other"]


@pytest.mark.parametrize("resources", RESOURCES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("storage", [ABSENT, None, "store", "nostore", "30d"])
def test_storage_mode_and_resources_must_fit_together(resources: Any, mode: Any, storage: Any) -> None:
    """Recurrent links store; `nostore` is for single links that say what to fetch; everything else is free."""
    kept = storage in {ABSENT, None, "store"}
    allowed = kept or (storage == "30d" and mode != "recurrent") or (mode == "single" and bool(resources))
    given_values = {"access_mode": mode, "credentials_storage": storage, "fetch_resources": resources}
    if allowed:
        checks.storage_combination(**given_values)
    else:
        with pytest.raises(ValueError, match=r"^(credentials_storage|fetch_resources): "):
            checks.storage_combination(**given_values)


# -------------------------------------------------------------------------------------------------- correlation

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**64, -(10**500)])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(value=json_values)
def test_a_correlation_comes_back_from_json_as_it_went_in(value: JsonValue) -> None:
    """Whatever passes survives a store unchanged, in value and in type; what is too large is refused."""
    if len(encode_json(value)) > checks.CORRELATION_BYTES:
        with pytest.raises(ValueError, match=r"^correlation: "):
            checks.correlation(value)
        return
    kept = checks.correlation(value)
    assert kept == value
    assert repr(decode_json(encode_json(kept))) == repr(kept)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        b"x",
        {1: 2},
        {None: 1},
        {1, 2},
        date(2024, 1, 1),
        uuid4(),
        object(),
        LONE,
        [LONE],
        {LONE: 1},
    ],
)
def test_a_correlation_that_json_would_change_is_refused(value: Any) -> None:
    """NaN would become null, a date a text: such values would not come back equal."""
    with pytest.raises(ValueError, match=r"^correlation: give a JSON value$") as caught:
        checks.correlation(value)
    assert CANARY not in repr(caught.value)


def test_a_correlation_has_at_most_512_bytes() -> None:
    """The limit counts bytes of JSON: quotes too, and two for an ñ."""
    assert checks.correlation("x" * 510) == "x" * 510
    for value in ("x" * 511, "ñ" * 256):
        with pytest.raises(ValueError, match="512 bytes"):
            checks.correlation(value)


def test_a_correlation_nested_without_end_is_refused() -> None:
    """A list that holds itself is a ValueError and no RecursionError."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match=r"^correlation: "):
        checks.correlation(endless)


def test_a_correlation_is_a_copy_in_plain_types() -> None:
    """What the caller changes later does not change the record; tuples and enums become what JSON has."""
    mine: dict[str, Any] = {"user": ["a"], "word": Word.HI, "pair": (1, 2)}
    kept = checks.correlation(mine)
    mine["user"].append("b")
    assert kept == {"user": ["a"], "word": "hihi", "pair": [1, 2]}
    assert isinstance(kept, dict)
    assert type(kept["word"]) is str
