"""Open enums, the sentinel, JSON, timestamps, unpacking."""

import copy
import gzip
import pickle
import zlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.wire import (
    ABSENT,
    NotJsonError,
    OpenStrEnum,
    Unpacker,
    decode_json,
    encode_json,
    format_timestamp,
    parse_timestamp,
)


class Colour(OpenStrEnum):
    RED = "red"
    DARK_BLUE = "dark_blue"


# --- open enums ------------------------------------------------------------------------------------------------


def test_a_known_word_is_its_member() -> None:
    """As with any enum."""
    assert Colour("red") is Colour.RED
    assert Colour.RED.is_known
    assert {Colour.DARK_BLUE: 1}["dark_blue"] == 1  # type: ignore[index]  # a text enum is found by its text


@given(st.text().filter(lambda text: text not in {"red", "dark_blue"}))
def test_an_unknown_word_is_kept_and_equals_its_text(word: str) -> None:
    """Through copies, pickles and dictionaries too."""
    member = Colour(word)
    assert isinstance(member, Colour)
    assert (member, member.value, member.name, str(member), f"{member}") == (word, word, word, word, word)
    assert not member.is_known
    assert {member: 1}[Colour(word)] == 1
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(member, protocol)) == word
    assert copy.deepcopy(member) == copy.copy(member) == word


def test_a_word_that_is_spelled_like_a_members_name_is_not_that_member() -> None:
    """Only values count on the wire."""
    assert Colour("RED") != Colour.RED
    assert not Colour("RED").is_known


def test_unknown_words_do_not_make_the_class_grow() -> None:
    """A cache would let hostile input fill the memory."""
    before = len(Colour._value2member_map_)
    for number in range(100):
        Colour(f"word-{number}")
    assert len(Colour._value2member_map_) == before
    assert list(Colour) == [Colour.RED, Colour.DARK_BLUE]


@pytest.mark.parametrize("value", [None, 1, b"red", ["red"]])
def test_what_is_no_text_is_no_word(value: Any) -> None:
    """Open does not mean anything goes."""
    with pytest.raises(ValueError, match="Colour"):
        Colour(value)


# --- the sentinel ----------------------------------------------------------------------------------------------


def test_absent_is_one_of_its_kind_and_false() -> None:
    """So that `if value` reads well, and no copy is another."""
    assert not ABSENT
    assert repr(ABSENT) == "ABSENT"
    assert copy.deepcopy(ABSENT) is ABSENT
    assert pickle.loads(pickle.dumps(ABSENT)) is ABSENT
    assert ABSENT not in (None, "", False)


# --- JSON ------------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_json_comes_back_as_it_went(value: object) -> None:
    """For everything that JSON can say."""
    assert decode_json(encode_json(value)) == value  # type: ignore[arg-type]  # hypothesis does not know the alias


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"<html>secret</html>", b'{"a":}', b"\xff\xfe", b'"\xff"', b"[" * 100_000, b"NaN", b"1 2", b"1e999"],
)
def test_what_is_not_json_says_so_and_quotes_nothing(body: bytes) -> None:
    """Bodies hold personal data."""
    with pytest.raises(NotJsonError) as caught:
        decode_json(body)
    assert caught.value.args == ()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_half_a_surrogate_pair_is_refused_without_being_quoted() -> None:
    """UnicodeEncodeError shows the whole text in its repr; it may be a password."""
    with pytest.raises(ValueError, match="Unicode") as caught:
        encode_json({"password": "hunter2\ud800"})
    assert not isinstance(caught.value, UnicodeError)
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__suppress_context__


# --- timestamps ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", range(7))
def test_a_timestamp_has_0_to_6_fractional_digits(digits: int) -> None:
    """Belvo sends several widths."""
    fraction = "." + "123456"[:digits] if digits else ""
    moment = parse_timestamp(f"2022-02-09T08:45:50{fraction}Z")
    assert moment == datetime(2022, 2, 9, 8, 45, 50, int("123456"[:digits].ljust(6, "0")), tzinfo=UTC)
    assert moment.tzinfo is UTC


def test_zones_are_converted_and_none_means_utc() -> None:
    """What comes out is always aware UTC."""
    assert parse_timestamp("2022-02-09T08:45:50+02:00") == datetime(2022, 2, 9, 6, 45, 50, tzinfo=UTC)
    assert parse_timestamp("2022-02-09T08:45:50") == datetime(2022, 2, 9, 8, 45, 50, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "2022-02-09", "yesterday, at about noon", "2022-13-09T08:45:50Z", "0001-01-01T00:00:00+23:59"]
)
def test_what_is_no_timestamp_is_refused_without_being_quoted(text: str) -> None:
    """A bank's text may stand there."""
    with pytest.raises(ValueError) as caught:
        parse_timestamp(text)
    assert str(caught.value) == "not a timestamp"
    assert caught.value.__cause__ is None


@given(
    st.datetimes(
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=-6))]),
        min_value=datetime(1, 1, 2),  # noqa: DTZ001  # hypothesis wants the bounds without a zone
        max_value=datetime(9999, 12, 30),  # noqa: DTZ001  # the same
    )
)
def test_a_written_timestamp_reads_back(moment: datetime) -> None:
    """With six digits and Z, for every year."""
    text = format_timestamp(moment)
    assert parse_timestamp(text) == moment
    assert len(text) == len("2022-02-09T08:45:50.123456Z")
    assert text.endswith("Z")


# --- unpacking -------------------------------------------------------------------------------------------------


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(st.binary(max_size=5_000), st.integers(1, 500), st.sampled_from(["gzip", " GZIP ", "x-gzip", "deflate"]))
def test_packed_bytes_come_back_however_they_are_cut(plain: bytes, size: int, encoding: str) -> None:
    """The network cuts where it likes."""
    packed = zlib.compress(plain) if encoding == "deflate" else gzip.compress(plain)
    unpacker = Unpacker(encoding)
    assert b"".join(part for data in pieces(packed, size) for part in unpacker.feed(data)) == plain
    unpacker.finish()


@pytest.mark.parametrize("encoding", ["", "identity", "br"])
def test_other_encodings_are_handed_on(encoding: str) -> None:
    """What we did not ask for is for somebody else to judge."""
    unpacker = Unpacker(encoding)
    assert list(unpacker.feed(b"abc")) == [b"abc"]
    unpacker.finish()


def test_every_piece_is_bounded() -> None:
    """Ten megabytes of zeros come in pieces, and completely."""
    unpacker = Unpacker("gzip")
    sizes = [len(piece) for piece in unpacker.feed(gzip.compress(bytes(10_000_000)))]
    unpacker.finish()
    assert sum(sizes) == 10_000_000
    assert max(sizes) <= Unpacker.PIECE


def test_several_members_are_one_text() -> None:
    """As gzip allows."""
    unpacker = Unpacker("gzip")
    assert b"".join(unpacker.feed(gzip.compress(b"a") + gzip.compress(b"b"))) == b"ab"
    unpacker.finish()


def test_what_is_not_packed_or_cut_off_is_refused() -> None:
    """Nothing at all is fine: a reply without a body may carry the header."""
    with pytest.raises(ValueError, match="not packed"):
        list(Unpacker("gzip").feed(b"{}"))
    cut = Unpacker("gzip")
    list(cut.feed(gzip.compress(b"{}")[:-1]))
    with pytest.raises(ValueError, match="missing"):
        cut.finish()
    Unpacker("gzip").finish()
