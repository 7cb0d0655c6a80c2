"""A 428 in every shape the documents show, and in many that nobody would."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.errors import MalformedChallengeError
from belvo_links.protocol.challenge import (
    DEFAULT_EXPIRY,
    MAX_EXPIRY,
    Challenge,
    ChallengeAction,
    ChallengeKind,
    TokenRequired,
    read_token_required,
)
from belvo_links.redact import Secret
from belvo_links.transport.messages import Response

SESSION = "9c40ba788d77448a3461172161cf0552"
LINK = "758b0262-4b7d-475a-8e8b-c9d9a143bdc9"
REQUEST_ID = "ed9d3a2f7802bbafc48cb761a125ae2e"
DATA = {"instructions": "Use this code", "type": "numeric", "value": "12345", "expects_user_input": True}
WHOLE: dict[str, Any] = {
    "code": "token_required",
    "message": "A MFA token is required by the institution to login",
    "session": SESSION,
    "expiry": 9600,
    "link": LINK,
    "token_generation_data": DATA,
    "request_id": REQUEST_ID,
}


def read(body: object) -> TokenRequired:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_token_required(Response(status=428, body=raw))


def challenge(**data: object) -> Challenge:
    return read([{**WHOLE, "token_generation_data": data}]).challenge


@pytest.mark.parametrize(
    "body",
    [
        [WHOLE],
        WHOLE,
        [{"code": "token_required", "message": "the first has no session"}, WHOLE],
        [WHOLE, {"code": "other", "session": "0" * 32}],
        [None, "text", 5, WHOLE],
    ],
)
def test_array_and_bare_object_are_the_same_challenge(body: object) -> None:
    """The documents disagree about the shape, so every one is read; the first element with a session counts."""
    assert read(body) == TokenRequired(
        session=Secret(SESSION),
        link_id=LINK,
        expiry=timedelta(seconds=9600),
        challenge=Challenge(kind=ChallengeKind.NUMERIC, instructions="Use this code", value="12345"),
        request_id=REQUEST_ID,
    )


def test_the_old_detail_object_is_a_challenge_that_says_nothing() -> None:
    """Without `token_generation_data` a token is expected and nothing is known about it."""
    asked = read({"detail": "Token Required", "session": SESSION, "expiry": 9600, "link": LINK})
    assert asked.challenge == Challenge()
    assert asked.challenge.action is ChallengeAction.ENTER_TOKEN
    assert asked.request_id is None


@pytest.mark.parametrize("name", ["session", "link", "expiry", "token_generation_data", "request_id"])
@pytest.mark.parametrize("how", ["absent", "null"])
def test_what_is_absent_or_null_is_none(name: str, how: str) -> None:
    """Whether that is enough to go on is decided by the machine, which may know it from before."""
    body = {key: value for key, value in WHOLE.items() if key != name}
    asked = read([body if how == "absent" else {**body, name: None}])
    attribute = {"link": "link_id", "token_generation_data": "challenge"}.get(name, name)
    assert getattr(asked, attribute) == (Challenge() if attribute == "challenge" else None)


@pytest.mark.parametrize(
    "value, expiry",
    [
        (9600, timedelta(seconds=9600)),
        ("720", timedelta(seconds=720)),
        (0, timedelta()),
        ("0", timedelta()),
        (720.5, timedelta(seconds=720.5)),
        (10**18, MAX_EXPIRY),
        ("9" * 5000, MAX_EXPIRY),
        (10**25, MAX_EXPIRY),
        (1e300, MAX_EXPIRY),
        (-1, None),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("７２０", None),  # noqa: RUF001  # digits, but not ASCII's
        (True, None),
        ([720], None),
        ({"seconds": 720}, None),
    ],
)
def test_the_deadline_is_a_number_or_its_text_and_never_beyond_belief(value: object, expiry: timedelta | None) -> None:
    """Numbers and their text are read, the absurd is cut, anything else counts as not said."""
    assert read([{**WHOLE, "expiry": value}]).expiry == expiry
    assert timedelta(minutes=12) == DEFAULT_EXPIRY


@pytest.mark.parametrize(
    "data, expects",
    [
        ({"expects_user_input": False}, False),
        ({"expect_user_input": False}, False),
        ({"expect_user_input": True}, True),
        ({"expects_user_input": True, "expect_user_input": False}, True),
        ({"expects_user_input": None, "expect_user_input": False}, False),
        ({"expects_user_input": "false"}, True),
        ({"expects_user_input": 0}, True),
        ({}, True),
        ({"type": "inputless"}, False),
        ({"type": "inputless", "expects_user_input": True}, True),
        ({"type": "qr", "expects_user_input": False}, False),
    ],
)
def test_whether_a_token_is_expected(data: dict[str, object], expects: bool) -> None:
    """Both spellings are read; without any, a token is expected, except by the kind that has none."""
    assert challenge(**data).expects_user_input is expects


@pytest.mark.parametrize(
    "data, action",
    [
        ({"type": "qr"}, ChallengeAction.SCAN),
        ({"type": "qr", "expects_user_input": False}, ChallengeAction.SCAN),
        ({"type": "inputless"}, ChallengeAction.CONFIRM_ELSEWHERE),
        ({"type": "numeric"}, ChallengeAction.ENTER_TOKEN),
        ({"type": "text"}, ChallengeAction.ENTER_TOKEN),
        ({"type": "voice"}, ChallengeAction.ENTER_TOKEN),
        ({"type": "voice", "expects_user_input": False}, ChallengeAction.CONFIRM_ELSEWHERE),
        ({}, ChallengeAction.ENTER_TOKEN),
    ],
)
def test_what_the_person_does(data: dict[str, object], action: ChallengeAction) -> None:
    """Scan a code, confirm elsewhere, or enter a token: also for kinds this version does not know."""
    assert challenge(**data).action is action


def test_an_unknown_kind_is_kept_as_its_text() -> None:
    """The kind is open."""
    kind = challenge(type="voice").kind
    assert kind == "voice"
    assert isinstance(kind, ChallengeKind)
    assert challenge(type="").kind is None


@pytest.mark.parametrize(
    "value, shown",
    [("12345", "12345"), (12345, "12345"), (0, "0"), ("", None), (None, None), (True, None), ([1], None)],
)
def test_what_is_shown_is_text(value: object, shown: str | None) -> None:
    """A number, though documented as text, is not lost; nothing is None."""
    assert challenge(value=value).value == shown


def test_only_a_qr_challenge_with_data_has_a_qr_code() -> None:
    """The decoded code is at hand for the kind `qr` and for no other."""
    assert challenge(type="numeric", value="iVBORw0KGgo=").qr is None
    assert challenge(type="qr").qr is None
    code = challenge(type="qr", value="00020126PIX").qr
    assert code is not None
    assert (code.text, code.image, code.media_type) == ("00020126PIX", None, None)


@pytest.mark.parametrize(
    "body, problems",
    [
        (b"", ("$: not JSON",)),
        (b"<html>CANARY</html>", ("$: not JSON",)),
        (b'"\\ud800"', ("$: not JSON",)),
        (b"\xff\xfe", ("$: not JSON",)),
        (b"[" * 100_000, ("$: not JSON",)),
        ([], ("$: expected an object or an array of objects",)),
        (["CANARY"], ("$: expected an object or an array of objects",)),
        ("CANARY", ("$: expected an object or an array of objects",)),
        (None, ("$: expected an object or an array of objects",)),
        (True, ("$: expected an object or an array of objects",)),
        ([{**WHOLE, "session": ["CANARY"]}], ("$[0].session: expected text",)),
        ([{**WHOLE, "session": ""}], ("$[0].session: expected text",)),
        ({**WHOLE, "session": 5, "link": "CANARY"}, ("$.session: expected text", "$.link: expected a UUID")),
        ([{}, {**WHOLE, "link": 5}], ("$[1].link: expected a UUID",)),
    ],
)
def test_what_cannot_be_continued_is_named_by_path_and_never_shown(body: object, problems: tuple[str, ...]) -> None:
    """A malformed 428 is one typed error with paths, without a value and without the error beneath it."""
    with pytest.raises(MalformedChallengeError) as caught:
        read(body)
    assert caught.value.problems == problems
    assert "CANARY" not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_malformed_challenge_keeps_the_request_id() -> None:
    """Belvo's support asks for it."""
    with pytest.raises(MalformedChallengeError) as caught:
        read([{**WHOLE, "link": None, "session": 5}])
    assert caught.value.request_id == REQUEST_ID
    assert REQUEST_ID in str(caught.value)


def test_neither_session_nor_value_shows() -> None:
    """repr masks Belvo's session and what the person is to see."""
    shown = repr(read([{**WHOLE, "token_generation_data": {**DATA, "value": "CANARY"}}]))
    assert SESSION not in shown
    assert "CANARY" not in shown


def test_a_megabyte_in_every_text_is_read() -> None:
    """Long texts are slow for nobody and break nothing."""
    huge = "A" * 2**20
    asked = read([{**WHOLE, "session": huge, "expiry": huge, "token_generation_data": dict.fromkeys(DATA, huge)}])
    assert asked.expiry is None
    assert asked.challenge.kind == huge
    assert challenge(type="qr", value=huge).qr is None


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.just(LINK)
    | st.just(SESSION),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*WHOLE, *DATA, "expect_user_input"]), inner, max_size=9)
    ),
    max_leaves=20,
)


@given(body=anything)
def test_any_json_is_a_challenge_or_one_typed_error(body: object) -> None:
    """Wrong types in any place raise nothing else."""
    try:
        asked = read(body)
    except MalformedChallengeError:
        return
    assert asked.expiry is None or timedelta() <= asked.expiry <= MAX_EXPIRY
    assert asked.challenge.action in ChallengeAction


@given(body=st.binary())
def test_any_bytes_are_a_challenge_or_one_typed_error(body: bytes) -> None:
    """What is no JSON raises nothing else either."""
    with pytest.raises(MalformedChallengeError):
        read(body if not body.lstrip().startswith(b"{") else b"")
