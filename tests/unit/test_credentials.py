"""Credentials: sent as given, and never seen anywhere else."""

import base64
import copy
import json
import logging
import pickle
from pathlib import Path, PurePosixPath
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.protocol.credentials import Credentials
from belvo_links.redact import Secret

TEXTS = ("username", "password", "username2", "username3", "username_type", "password2", "token")
FILES = ("certificate", "private_key")
CANARIES: dict[str, Any] = {
    **{name: f"CANARY-{name}" for name in TEXTS},
    **{name: f"CANARY-{name}".encode() for name in FILES},
}
FULL = Credentials(**CANARIES)


@given(
    values=st.dictionaries(st.sampled_from(TEXTS), st.none() | st.text(st.characters(exclude_categories=["Cs"]))),
    files=st.none() | st.tuples(st.binary(), st.binary()),
)
def test_the_body_is_exactly_what_was_given(values: dict[str, str | None], files: tuple[bytes, bytes] | None) -> None:
    """Absent and None are left out, an empty text is sent, files go out in base64."""
    pair = dict(zip(FILES, files or (None, None), strict=True))
    body = Credentials(**values, **pair).body()  # type: ignore[arg-type]  # mypy does not know the keys
    expected = {name: value for name, value in values.items() if value is not None}
    expected |= {name: base64.b64encode(value).decode() for name, value in pair.items() if value is not None}
    assert body == expected
    assert json.loads(json.dumps(body)) == body


def test_no_value_shows_however_credentials_are_turned_into_text(caplog: pytest.LogCaptureFixture) -> None:
    """repr, str, format, attrs' dictionaries and logging show a mask, and never part of a value."""
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").debug("%s %r %s", FULL, FULL, attrs.asdict(FULL))
    shown = (repr(FULL), str(FULL), f"{FULL}", f"{FULL!r:>400}", "%s" % (FULL,), repr(attrs.asdict(FULL)), caplog.text)  # noqa: UP031  # the old way must mask too
    for text in shown:
        assert "CANARY" not in text
        assert base64.b64encode(b"CANARY")[:6].decode() not in text
    assert "***" in repr(FULL)


def test_a_path_does_not_show_either() -> None:
    """The name of a file may name a person."""
    paths = Credentials(certificate=Path("/home/CANARY/c.pem"), private_key=Path("/home/CANARY/k.pem"))
    assert "CANARY" not in repr(paths)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused_also_inside_something_else(protocol: int) -> None:
    """A pickle would carry the values in clear, wherever they are."""
    for thing in (FULL, (1, FULL), {"a": [FULL]}, Credentials(), attrs.asdict(FULL)):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(thing, protocol)


def test_copies_are_fine() -> None:
    """Copying, deep copying (alone and inside) and attrs.evolve work."""
    assert copy.copy(FULL) == FULL
    assert copy.deepcopy(FULL) == FULL
    assert copy.deepcopy([FULL]) == [FULL]
    changed = attrs.evolve(FULL, password="new")
    assert changed != FULL
    assert changed.body() == {**FULL.body(), "password": "new"}
    assert hash(copy.copy(FULL)) == hash(FULL)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", [5, True, b"CANARY", ["CANARY"], Secret(b"CANARY"), Secret(5)])  # type: ignore[type-var]  # what a caller without a type checker may pass
def test_a_text_is_a_text(name: str, value: Any) -> None:
    """Another type is a TypeError that names the field and not the value."""
    with pytest.raises(TypeError, match=rf"^{name}: ") as caught:
        Credentials(**{name: value})
    assert "CANARY" not in repr(caught.value)


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_utf8_cannot_say_is_refused_without_showing_it(name: str) -> None:
    """Half a surrogate pair is found early: the codec's own error would carry the whole password."""
    wrong: Any = {name: "CANARY\ud800"}
    with pytest.raises(ValueError, match=rf"^{name}: ") as caught:
        Credentials(**wrong)
    assert not isinstance(caught.value, UnicodeError)
    assert "CANARY" not in repr(vars(caught.value)) + repr(caught.value.args)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("value", ["/etc/passwd", "CANARY", 5, bytearray(b"CANARY"), Secret("CANARY")])
def test_a_file_is_bytes_or_a_path_and_never_a_str(name: str, value: Any) -> None:
    """A form field must not name a file of the server."""
    other = next(each for each in FILES if each != name)
    with pytest.raises(TypeError, match=rf"^{name}: ") as caught:
        Credentials(**{name: value, other: b"x"})
    assert "CANARY" not in repr(caught.value)


@pytest.mark.parametrize("given_name, missing", [FILES, FILES[::-1]])
@pytest.mark.parametrize("value", [b"CANARY", Path("CANARY"), b""])
def test_one_file_without_the_other_is_refused(given_name: str, missing: str, value: Any) -> None:
    """The error names the one that is missing."""
    with pytest.raises(ValueError, match=rf"^{missing}: needed beside {given_name}$"):
        Credentials(**{given_name: value})


def test_a_path_that_nobody_has_read_is_not_sent() -> None:
    """Ring 1 reads no files: whoever does replaces the path by its bytes first."""
    unread = Credentials(certificate=PurePosixPath("CANARY"), private_key=b"k")
    with pytest.raises(ValueError, match=r"^certificate: ") as caught:
        unread.body()
    assert "CANARY" not in str(caught.value)
    read = attrs.evolve(unread, certificate=b"c")
    assert read.body() == {"certificate": "Yw==", "private_key": "aw=="}


def test_secrets_are_taken_as_they_are() -> None:
    """Values that are already hidden need not be uncovered to be given."""
    assert Credentials(Secret("me"), Secret("secret")) == Credentials("me", "secret")
    assert Credentials(certificate=Secret(b"c"), private_key=Secret(b"k")).body()["certificate"] == "Yw=="
