"""Secrets stay secret in every way in which text is made of them."""

import copy
import json
import logging
import pickle

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.redact import Secret, mask_path

VALUE = "hunter2-canary"


@attrs.frozen
class Holder:
    secret: Secret[str]


@pytest.mark.parametrize(
    "text",
    [
        str(Secret(VALUE)),
        repr(Secret(VALUE)),
        f"{Secret(VALUE)}",
        f"{Secret(VALUE):>30}",
        f"{Secret(VALUE)!r}",
        "%s %r" % (Secret(VALUE), Secret(VALUE)),  # noqa: UP031  # logging formats so
        repr(Holder(Secret(VALUE))),
        str(attrs.asdict(Holder(Secret(VALUE)))),
        str([Secret(VALUE)]),
        str(Secret(VALUE.encode())),
    ],
)
def test_no_text_shows_the_value(text: str) -> None:
    """Neither do logging, attrs and containers, which make their text in these ways."""
    assert VALUE not in text
    assert "***" in text


def test_logging_shows_a_mask(caplog: pytest.LogCaptureFixture) -> None:
    """Also as an argument."""
    logging.getLogger("any").warning("key %s", Secret(VALUE))
    assert caplog.messages == ["key ***"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused(protocol: int) -> None:
    """A pickle would carry the value in clear."""
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(Holder(Secret(VALUE)), protocol)


def test_json_is_refused() -> None:
    """The standard library knows no such type, and its error names the type alone."""
    with pytest.raises(TypeError) as caught:
        json.dumps({"a": Secret(VALUE)})
    assert VALUE not in str(caught.value)


def test_revealing_is_the_only_way() -> None:
    """And gives back what was hidden."""
    assert Secret(VALUE).reveal() == VALUE
    assert Secret(b"bytes").reveal() == b"bytes"


def test_copies_are_the_secret_itself() -> None:
    """There is nothing in it that could change."""
    secret = Secret(VALUE)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


@given(st.text(), st.text())
def test_secrets_are_equal_as_their_values_are(one: str, other: str) -> None:
    """With the same hash; never equal to the plain value."""
    assert (Secret(one) == Secret(other)) == (one == other)
    assert hash(Secret(one)) == hash(Secret(str(one)))
    assert Secret(one) != one


def test_text_and_bytes_are_different_secrets() -> None:
    """As "a" and b"a" are."""
    assert Secret("a") != Secret(b"a")
    assert bool(Secret("")) is False
    assert bool(Secret(b"a")) is True


@pytest.mark.parametrize(
    "path, masked",
    [
        ("/api/links/", "/api/links/"),
        ("/api/links/e4bb1afb-4a4f-4dd6-8be0-e615d233185b/refresh/", "/api/links/{…}/refresh/"),
        ("/api/links/?external_id=maria", "/api/links/"),
        ("/api/users/maria@example.com/", "/api/users/{…}/"),
        ("/api/users/4829173/", "/api/users/{…}/"),
        ("/api/Maria/", "/api/{…}/"),
        ("/" + "a" * 33, "/{…}"),
        ("", ""),
        ("/", "/"),
    ],
)
def test_paths_lose_what_may_name_a_person_or_a_link(path: str, masked: str) -> None:
    """Words of the API stay, ids and queries go."""
    assert mask_path(path) == masked
