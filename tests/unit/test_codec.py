"""From the service's JSON to values: strict about types, tolerant about what is new, silent about values."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.errors import UnexpectedResponseError
from belvo_links.protocol import codec
from belvo_links.protocol.models import NO_EXTRA, Accepted, AccessMode, Link, LinkPage, LinkStatus, Resource
from belvo_links.transport.messages import Response

LINK: dict[str, Any] = {
    "id": "b3743391-0bcb-45e4-b6a8-75a54a0e6394",
    "institution": "erebor_mx_retail",
    "access_mode": "single",
    "status": "valid",
    "refresh_rate": None,
    "created_by": "6f839389-2dc1-4fa9-a5c0-f7d32f9ea0ab",
    "last_accessed_at": "2024-02-02T13:11:42.593032Z",
    "external_id": "acct-1001",
    "created_at": "2024-02-02T13:11:42.586099Z",
    "institution_user_id": "A4AYaKo-wKqykrjjRVGLendj6SngRsMlPgajbq6ROus=",
    "credentials_storage": "5d",
    "stale_in": "30d",
    "fetch_resources": ["ACCOUNTS", "OWNERS"],
}
REQUIRED = ("id", "institution", "status", "created_at")
TEXTS = ("id", "institution", "created_by", "external_id", "institution_user_id", "credentials_storage", "stale_in")
WORDS = ("status", "access_mode", "refresh_rate")
MOMENTS = ("created_at", "last_accessed_at")
CANARY = "CANARY-4711"

READERS: list[Callable[[Response], object]] = [
    codec.read_link,
    codec.read_page,
    codec.read_page_fast,
    codec.read_partial_page,
    codec.read_count,
    codec.read_json,
    lambda response: codec.read_accepted(response, link_id=LINK["id"]),
]


def response(body: object, status: int = 200) -> Response:
    return Response(status=status, body=body if isinstance(body, bytes) else json.dumps(body).encode())


def page(*links: object, **more: object) -> dict[str, object]:
    return {"count": 9, "next": None, "previous": None, "results": list(links), **more}


def problems(read: Callable[[Response], object], body: object) -> tuple[str, ...]:
    """The problems of a body that cannot be read; its error shows no canary and carries no other error."""
    with pytest.raises(UnexpectedResponseError) as caught:
        read(response(body))
    error = caught.value
    assert error.status == 200
    assert CANARY not in str(error) + repr(error) + repr(error.problems)
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    return error.problems


# -------------------------------------------------------------------------------------------------------- one link


@pytest.mark.parametrize("status", [200, 201])
def test_a_link_is_read_field_by_field(status: int) -> None:
    """Texts, words, moments and resources arrive as what they are."""
    link = codec.read_link(response(LINK, status))
    assert {name: getattr(link, name) for name in TEXTS + WORDS} == {name: LINK[name] for name in TEXTS + WORDS}
    assert link.created_at == datetime(2024, 2, 2, 13, 11, 42, 586099, tzinfo=UTC)
    assert link.fetch_resources == ("ACCOUNTS", "OWNERS")
    assert link.extra is NO_EXTRA
    kinds = [type(link.status), type(link.access_mode), *map(type, link.fetch_resources)]
    assert kinds == [LinkStatus, AccessMode, Resource, Resource]


@pytest.mark.parametrize("name", sorted(LINK.keys() - set(REQUIRED)))
def test_absent_and_null_are_read_alike(name: str) -> None:
    """Every field but four may be left out or null."""
    absent = codec.read_link(response({key: value for key, value in LINK.items() if key != name}))
    null = codec.read_link(response({**LINK, name: None}))
    assert absent == null
    assert getattr(null, name) == (() if name == "fetch_resources" else None)


@pytest.mark.parametrize("name", REQUIRED)
def test_four_fields_are_never_missing(name: str) -> None:
    """Absent and null are named by path."""
    assert problems(codec.read_link, {key: value for key, value in LINK.items() if key != name}) == (
        f"$.{name}: missing",
    )
    (null,) = problems(codec.read_link, {**LINK, name: None})
    assert null.startswith(f"$.{name}: expected ")


@pytest.mark.parametrize("name", LINK)
@pytest.mark.parametrize("value", [5, 5.5, True, False, [CANARY], {"a": CANARY}, [[CANARY]], "", CANARY])
def test_no_value_is_turned_into_another_type(name: str, value: object) -> None:
    """Numbers are not read as text, texts not as lists of letters, and the field is named by path."""
    fits = {str} if name in TEXTS + WORDS else {list} if name == "fetch_resources" else set()
    nested = isinstance(value, list) and isinstance(value[0], list)
    if type(value) in fits and not nested:
        assert getattr(codec.read_link(response({**LINK, name: value})), name) in (value, (CANARY,))
        return
    (problem,) = problems(codec.read_link, {**LINK, name: value})
    path = f"$.{name}[0]" if name == "fetch_resources" and nested else f"$.{name}"
    assert problem.startswith(f"{path}: expected ")


@pytest.mark.parametrize("name", [*WORDS, "fetch_resources"])
def test_unknown_words_are_kept(name: str) -> None:
    """A word that Belvo adds is read as itself."""
    link = codec.read_link(response({**LINK, name: ["NEW"] if name == "fetch_resources" else "new"}))
    assert getattr(link, name) == (("NEW",) if name == "fetch_resources" else "new")


@given(
    moment=st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001  # hypothesis wants them naive
    digits=st.integers(0, 6),
    zone=st.sampled_from(["Z", "+00:00", "", "-03:00"]),
)
def test_timestamps_have_no_to_six_fractional_digits(moment: datetime, digits: int, zone: str) -> None:
    """With any number of digits, with and without a zone, a moment is aware UTC."""
    fraction = f"{moment.microsecond:06}"[:digits]
    text = moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if digits else "") + zone
    expected = moment.replace(microsecond=int(fraction.ljust(6, "0")) if digits else 0, tzinfo=UTC)
    expected += timedelta(hours=3) if zone == "-03:00" else timedelta()
    for read in (codec.read_page, codec.read_page_fast):
        read_moment = read(response(page({**LINK, "created_at": text}))).results[0].created_at
        assert read_moment == expected
        assert read_moment.tzinfo is not None


@pytest.mark.parametrize("text", ["yesterday", "", "2024-02-02", "2024-13-01T00:00:00Z", "1706879502", "T" * 10_000])
def test_what_is_no_timestamp_is_named_by_path(text: str) -> None:
    """A date without a time, a number, a word."""
    assert problems(codec.read_link, {**LINK, "last_accessed_at": text}) == (
        "$.last_accessed_at: expected an ISO-8601 timestamp",
    )


def test_unknown_fields_are_kept_by_a_link_and_by_a_page() -> None:
    """Whatever they are called: also `extra` and `_extra`."""
    new = {"extra": {"a": 1}, "_extra": [CANARY], "new": None, "Status": "x"}
    link = codec.read_link(response({**LINK, **new}))
    assert dict(link.extra) == new
    assert codec.read_page(response(page({**LINK, **new}))).results[0].extra == new
    assert codec.read_page_fast(response(page({**LINK, **new}))).results[0].extra is NO_EXTRA
    assert link == codec.read_link(response(LINK))
    assert CANARY not in repr(link)


# --------------------------------------------------------------------------------------------------------- a page


@pytest.mark.parametrize("read", [codec.read_page, codec.read_page_fast, codec.read_partial_page])
@pytest.mark.parametrize(
    "body, expected",
    [
        (page(count=True), ("$.count: expected a whole number",)),
        (page(count="9"), ("$.count: expected a whole number",)),
        (page(count=9.0), ("$.count: expected a whole number",)),
        (page(next=5), ("$.next: expected text",)),
        (page(previous=[CANARY]), ("$.previous: expected text",)),
        (page(results=None), ("$.results: expected an array",)),
        (page(results=CANARY), ("$.results: expected an array",)),
        (page(results={"a": LINK}), ("$.results: expected an array",)),
        (page(LINK, CANARY), ("$.results[1]: expected an object",)),
        (page(LINK, [LINK]), ("$.results[1]: expected an object",)),
        ({"results": []}, ("$.count: missing",)),
        ({"count": 5}, ("$.results: missing",)),
        ([page()], ("$: expected an object",)),
        (None, ("$: expected an object",)),
        (CANARY, ("$: expected an object",)),
        (b"", ("$: not JSON",)),
        (b'{"count": 1, "results": [', ("$: not JSON",)),
        (CANARY.encode(), ("$: not JSON",)),
        (b'{"count": 1, "results": [], "x": ' + b"[" * 100_000, ("$: not JSON",)),
    ],
)
def test_a_page_that_is_none_is_named_by_path(
    read: Callable[[Response], object], body: object, expected: tuple[str, ...]
) -> None:
    """Both lanes and the partial page say the same; a page without results is no empty page."""
    assert problems(read, body) == expected


@pytest.mark.parametrize("read", [codec.read_page, codec.read_page_fast])
def test_problems_name_the_element(read: Callable[[Response], object]) -> None:
    """Index and field of each bad value stand in the path, and the value nowhere."""
    bad = {key: value for key, value in LINK.items() if key != "created_at"}
    assert problems(read, page(LINK, LINK, LINK, bad)) == ("$.results[3].created_at: missing",)
    assert set(problems(read, page(LINK, {**LINK, "id": 5, "fetch_resources": ["A", 7]}))) == {
        "$.results[1].id: expected text",
        "$.results[1].fetch_resources[1]: expected text",
    }


def test_the_number_of_problems_is_bounded() -> None:
    """A page of a thousand bad links does not make an error of a thousand lines."""
    assert len(problems(codec.read_page, page(*[{} for _ in range(1000)]))) == codec.MAX_PROBLEMS


@given(path=st.sampled_from([*LINK, "count", "next", "results"]), wrong=st.sampled_from([1, True, {}, [CANARY], None]))
def test_no_problem_shows_a_value(path: str, wrong: Any) -> None:
    """With a canary in every other place, whatever is wrong is told without one."""
    body: dict[str, Any] = page({**dict.fromkeys(LINK, CANARY), "new": CANARY}, next=CANARY, previous=CANARY)
    (body["results"][0] if path in LINK else body)[path] = wrong
    for read in (codec.read_page, codec.read_page_fast):
        assert problems(read, body)


@pytest.mark.parametrize("address", ["https://elsewhere.example/?page=2", "", "not an address", "?page=2"])
def test_next_is_kept_as_belvo_wrote_it(address: str) -> None:
    """What may be followed is decided elsewhere."""
    for read in (codec.read_page, codec.read_page_fast):
        assert read(response(page(next=address))).next == address


def test_a_partial_page_holds_plain_mappings() -> None:
    """Parts of links are no links, and keep whatever they hold."""
    partial = codec.read_partial_page(response(page({"id": "a", "x": [1]}, {})))
    assert partial.results == ({"id": "a", "x": [1]}, {})


def test_a_count_reads_nothing_else() -> None:
    """A link that cannot be read does not keep anyone from counting."""
    assert codec.read_count(response(page({"id": 5}))) == 9
    assert problems(codec.read_count, {"results": []}) == ("$.count: missing",)


# -------------------------------------------------------------------------------------------------------- two lanes

words = st.sampled_from(["valid", "single", "7d", "new_word", "", "ñ"])
moments = st.sampled_from(
    [
        "2024-02-02T13:11:42Z",
        "2024-02-02T13:11:42.5Z",
        "2024-02-02T13:11:42.586099Z",
        "2024-02-02T13:11:42.586099",
        "2024-02-02T13:11:42+05:30",
        "2024-02-02 13:11:42Z",
        "20240202T131142Z",
        "2024-02-02T13:11Z",
        "0001-01-01T00:00:00+10:00",
        "2024-02-30T00:00:00Z",
        "later",
    ]
)
texts = st.text(max_size=8)
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts, st.just([]), st.just({})
)
good = st.fixed_dictionaries(
    {"id": texts, "institution": texts, "status": words, "created_at": moments},
    optional={
        "access_mode": st.none() | words,
        "refresh_rate": st.none() | words,
        "created_by": st.none() | texts,
        "last_accessed_at": st.none() | moments,
        "external_id": st.none() | texts,
        "fetch_resources": st.none() | st.lists(words, max_size=3),
        "extra": anything,
        "_extra": anything,
        "__class__": anything,
    },
)
mixed = st.builds(
    lambda link, more: {**link, **more}, good, st.dictionaries(st.sampled_from([*LINK, "new"]), anything, max_size=1)
)


@given(
    links=st.lists(good | mixed, max_size=4), count=st.integers(0, 9) | anything, following=st.none() | texts | anything
)
def test_the_fast_lane_reads_what_the_tolerant_lane_reads(links: list[Any], count: Any, following: Any) -> None:
    """Whatever the tolerant lane reads, the fast lane reads equal, without unknown fields unless asked for them."""
    answer = response(page(*links, count=count, next=following))
    try:
        slow = codec._structure(answer, LinkPage)
    except UnexpectedResponseError:
        with pytest.raises(UnexpectedResponseError):
            codec.read_page(answer)
        return
    full = codec.read_page(answer)
    assert full == slow
    assert [each.extra for each in full.results] == [each.extra for each in slow.results]
    fast = codec.read_page_fast(answer)
    assert fast == slow
    assert repr(attrs.evolve(fast, results=())) == repr(attrs.evolve(slow, results=()))
    for one, other in zip(fast.results, slow.results, strict=True):
        assert one.created_at.tzinfo is not None
        assert [type(getattr(one, name)) for name in LINK] == [type(getattr(other, name)) for name in LINK]


def test_the_fast_lane_leaves_unknown_fields_out() -> None:
    """It is the hot path: nothing of them is kept, whatever their names."""
    body = page({**LINK, "extra": {"a": 1}, "_extra": 2}, LINK)
    assert [link.extra for link in codec.read_page_fast(response(body)).results] == [NO_EXTRA, NO_EXTRA]


def test_what_the_fast_lane_refuses_the_tolerant_lane_reads() -> None:
    """A moment without a zone, or null resources, cost time and not the page."""
    naive = {**LINK, "created_at": "2024-02-02T13:11:42", "fetch_resources": None, "new": 1}
    read = codec.read_page_fast(response(page(naive)))
    assert read.results[0].created_at == datetime(2024, 2, 2, 13, 11, 42, tzinfo=UTC)
    assert read.results[0].fetch_resources == ()


# ---------------------------------------------------------------------------------------------------------- others


def test_an_acknowledgement_is_read_whatever_its_id_looks_like() -> None:
    """Dashed or not, the request id is a text that is not checked further."""
    assert codec.read_accepted(response({"request_id": "x y"}), link_id="a") == Accepted(link_id="a", request_id="x y")
    for body in ({}, {"request_id": 5}, {"request_id": None}):
        assert problems(READERS[-1], body)[0].startswith("$.request_id: ")


def test_any_json_is_read_as_json() -> None:
    """The reader of other resources takes what is JSON and nothing else."""
    assert codec.read_json(response({"a": [1, None]})) == {"a": [1, None]}
    assert problems(codec.read_json, b"<html>") == ("$: not JSON",)


WHOLE_PAGE = json.dumps(page(LINK, {**LINK, "new": {"a": [1, 2.5, None, True, "\u00f1"]}})).encode()
mutations = st.builds(
    lambda body, at, cut, new: body[:at] + new + body[at + cut :],
    st.sampled_from([WHOLE_PAGE, json.dumps(LINK).encode(), b'{"request_id": "a"}']),
    st.integers(0, len(WHOLE_PAGE)),
    st.integers(0, 30),
    st.binary(max_size=4) | st.sampled_from([b"null", b"1e999", b"-", b'"', b"{", b"9" * 400, b"\\ud800", b"[]"]),
)


@given(body=st.binary() | mutations)
def test_nothing_but_our_error_comes_out_of_any_bytes(body: bytes) -> None:
    """Random and mutated bodies are read or refused, by every reader."""
    for read in READERS:
        with suppress(UnexpectedResponseError):
            value = read(response(body))
            assert not isinstance(value, Link | LinkPage) or repr(value)
