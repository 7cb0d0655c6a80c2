"""Webhooks: who may send one, what is read from it, and who gets it."""

import copy
import json
import pickle
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import example as also
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, MultiDict

from belvo_links import webhooks
from belvo_links.errors import WebhookError, WebhookMalformedError, WebhookUnauthorizedError
from belvo_links.protocol.models import NO_EXTRA, Resource
from belvo_links.webhooks import (
    MAX_BYTES,
    Dispatched,
    ProcessType,
    WebhookCode,
    WebhookDispatcher,
    WebhookEvent,
    WebhookType,
    basic,
    bearer,
    parse_webhook,
)

EXAMPLES = Path(__file__).resolve().parent.parent / "payloads" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("webhook-*.json"))

CANARY = "canary-7f3a"
VALUE = bearer("my-webhook-token")
HEADERS = {"Authorization": VALUE}
LINK = "745e9cdc-76ff-4f9a-8c1a-e15e3f2e8cf9"
REQUEST = "03b62516-184f-46ef-991f-45bd4974b753"
WHOLE: dict[str, Any] = {
    "webhook_id": "2ff80e9159b517704ce43f0f74e6e247",
    "webhook_type": "ACCOUNTS",
    "process_type": "historical_update",
    "webhook_code": "historical_update",
    "link_id": LINK,
    "request_id": REQUEST,
    "external_id": "acct-1002",
    "data": {"total_accounts": 5},
}
EVENT = WebhookEvent(
    webhook_id="2ff80e9159b517704ce43f0f74e6e247",
    webhook_type=WebhookType.ACCOUNTS,
    webhook_code=WebhookCode.HISTORICAL_UPDATE,
    link_id=LINK,
    request_id=REQUEST,
)


def read(body: object, headers: Mapping[str, str] | None = None, **more: Any) -> WebhookEvent:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_webhook(raw, HEADERS if headers is None else headers, **{"authorization": VALUE, **more})


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in WHOLE.items() if name not in names}


def refused(body: object) -> str:
    with pytest.raises(WebhookMalformedError) as caught:
        read(body)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------ reading an event


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_read_with_its_own_headers(name: str) -> None:
    """Each field of the vendor's samples is there under its own name, and each of their words is known."""
    request = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))["request"]
    accepted = [bearer("my-webhook-token"), basic("user", "pass")]
    event = read(request["body"], request["headers"], authorization=accepted)
    assert {field: getattr(event, field) for field in request["body"]} == request["body"]
    assert event.webhook_type.is_known
    assert event.webhook_code.is_known
    assert event.extra == {}


def test_there_are_six_examples() -> None:
    """None is forgotten above."""
    assert len(NAMES) == 6


def test_a_whole_event_is_a_value() -> None:
    """It can be compared, hashed, copied and handed to a queue, and cannot be changed."""
    event = read(WHOLE)
    assert event == attrs.evolve(event) == copy.deepcopy(event) == pickle.loads(pickle.dumps(event))
    assert len({event, read(WHOLE)}) == 1
    assert event != read({**WHOLE, "data": {"total_accounts": 6}})
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.link_id = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        event.data["total_accounts"] = 0  # type: ignore[index]


def test_its_text_shows_ids_and_no_data() -> None:
    """As a link's does: the caller's own id and the names of fields, not what the institution said."""
    shown = repr(read({**WHOLE, "data": {"error_message": CANARY}, "new": CANARY}))
    assert "external_id='acct-1002'" in shown
    assert "data=<Extra error_message>, extra=<Extra new>" in shown
    assert CANARY not in shown


@pytest.mark.parametrize("name", ["process_type", "request_id", "external_id", "data"])
@pytest.mark.parametrize("how", ["absent", "null"])
def test_what_may_be_absent_may_be_null_too(name: str, how: str) -> None:
    """Absent and null read the same: nothing, or for the data an empty mapping."""
    event = read(without(name) if how == "absent" else {**WHOLE, name: None})
    assert getattr(event, name) == ({} if name == "data" else None)
    assert attrs.evolve(event, **{name: getattr(read(WHOLE), name)}) == read(WHOLE)


@pytest.mark.parametrize("name", ["webhook_id", "webhook_type", "webhook_code", "link_id"])
@pytest.mark.parametrize(
    "value, reason", [(None, "missing"), ("", "missing"), (5, "expected text"), ([], "expected text")]
)
def test_what_must_be_there_is_missed_by_its_path(name: str, value: object, reason: str) -> None:
    """Without them nobody knows what happened to which link."""
    message = f"The webhook's body is not an event. [$.{name}: {reason}]"
    assert refused({**WHOLE, name: value}) == message
    if value is None:
        assert refused(without(name)) == message


@pytest.mark.parametrize("name", ["process_type", "request_id", "external_id"])
def test_a_text_is_a_text(name: str) -> None:
    """A number or an object in its place is no event."""
    wrong: list[Any] = [5, True, {}, ["a"]]
    for value in wrong:
        assert refused({**WHOLE, name: value}) == f"The webhook's body is not an event. [$.{name}: expected text]"


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """As data too, for whoever answers with more than a sentence; nothing where the body was not read."""
    with pytest.raises(WebhookMalformedError) as caught:
        read({**WHOLE, "link_id": CANARY, "request_id": 7, "webhook_id": ""})
    problems = {"$.link_id: expected a UUID", "$.request_id: expected text", "$.webhook_id: missing"}
    assert set(caught.value.problems) == problems
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems
    with pytest.raises(WebhookMalformedError) as caught:
        read(b"{")
    assert caught.value.problems == ("$: not JSON",)
    with pytest.raises(WebhookMalformedError) as caught:
        read(WHOLE, max_bytes=9)
    assert caught.value.problems == ()


def test_data_is_an_object() -> None:
    """Handlers look fields up in it."""
    wrong: list[Any] = [[], "text", 0, False]
    for value in wrong:
        assert refused({**WHOLE, "data": value}).endswith("[$.data: expected an object]")


@pytest.mark.parametrize("link_id", ["me", f"{LINK}/../x", LINK.replace("-", ""), f"{LINK}\n"])
def test_a_link_id_is_a_uuid(link_id: str) -> None:
    """It becomes part of an address when the link is read."""
    assert refused({**WHOLE, "link_id": link_id}).endswith("[$.link_id: expected a UUID]")


def test_everything_wrong_is_said_at_once() -> None:
    """Paths, in one error."""
    assert refused({"data": [], "link_id": CANARY, "request_id": 5}) == (
        "The webhook's body is not an event. [$.data: expected an object, $.link_id: expected a UUID, "
        "$.webhook_id: missing, $.webhook_type: missing, $.webhook_code: missing, $.request_id: expected text]"
    )


@pytest.mark.parametrize(
    "body, problem",
    [
        (b"", "$: not JSON"),
        (b"\xff", "$: not JSON"),
        (b"{", "$: not JSON"),
        (b"[" * 100_000, "$: not JSON"),
        (b'{"link_id": "\\ud800"}', "$: not JSON"),
        ([WHOLE], "$: expected an object"),
        (None, "$: expected an object"),
        ("text", "$: expected an object"),
    ],
)
def test_what_is_no_object_is_no_event(body: object, problem: str) -> None:
    """And nothing of the JSON library comes out."""
    assert refused(body) == f"The webhook's body is not an event. [{problem}]"


def test_a_request_id_is_any_text() -> None:
    """The samples show a dashed UUID, other calls 32 digits; nothing is promised."""
    assert read({**WHOLE, "request_id": "not hex \x00"}).request_id == "not hex \x00"


def test_unknown_words_are_kept() -> None:
    """No event fails because Belvo added a word."""
    event = read({**WHOLE, "webhook_type": "PETS", "webhook_code": "new_pets_available", "process_type": "whim"})
    assert (event.webhook_type, event.webhook_code, event.process_type) == ("PETS", "new_pets_available", "whim")
    assert not event.webhook_type.is_known
    assert isinstance(event.webhook_code, WebhookCode)
    assert isinstance(event.process_type, ProcessType)


def test_unknown_fields_are_kept_outside_equality() -> None:
    """Also those that are named like attributes of ours."""
    event = read({**WHOLE, "extra": 1, "dedup_key": CANARY, "new": [2]})
    assert event.extra == {"extra": 1, "dedup_key": CANARY, "new": [2]}
    assert event == read(WHOLE)
    assert event.dedup_key == read(WHOLE).dedup_key
    assert read(WHOLE).extra is NO_EXTRA


def test_every_resource_is_a_type() -> None:
    """An event is about the link or about one of the resources that can be fetched."""
    assert set(WebhookType) == {"LINK", *Resource}


# --------------------------------------------------------------------------------------------------- telling it apart


def test_the_key_never_changes() -> None:
    """It is kept in databases: 64 hexadecimal digits, the same in every version."""
    assert EVENT.dedup_key == "f847207a6ad989e458b9f042434481fe6b65518d0e75bb3b2b3d083b888c9445"
    assert (
        attrs.evolve(EVENT, request_id=None).dedup_key
        == "be5e76ab596f76ce0086411e18ca6c535f0e9594928a4662a2b4563dcc2db4a7"
    )


def test_a_repeated_event_has_the_same_key() -> None:
    """Whatever else differs: only link, request, type and code count."""
    again = {**WHOLE, "webhook_id": "other", "process_type": None, "external_id": None, "data": None}
    assert read(again).dedup_key == read(WHOLE).dedup_key


keys = st.tuples(st.text(), st.none() | st.text(), st.text(min_size=1), st.text(min_size=1))


@given(one=keys, other=keys)
@also(one=("a", "b", "c", "d"), other=("a", "bc", "d", "d"))
@also(one=("a", None, "c", "d"), other=("a", "", "c", "d"))
@also(one=("a", "-", "c", "d"), other=("a", None, "c", "d"))
@also(one=("a", "\ud800\x00", "c", "d"), other=("a", "\ud801", "c", "d"))
def test_different_events_have_different_keys(
    one: tuple[str, str | None, str, str], other: tuple[str, str | None, str, str]
) -> None:
    """No text runs into the next, and every key is fit for any column."""
    first, second = (
        attrs.evolve(
            EVENT, link_id=link, request_id=request, webhook_type=WebhookType(kind), webhook_code=WebhookCode(code)
        ).dedup_key
        for link, request, kind, code in (one, other)
    )
    assert (first == second) == (one == other)
    assert len(first) == 64
    assert set(first) <= set("0123456789abcdef")


# ------------------------------------------------------------------------------------------------- who may send one


def test_basic_and_bearer_are_built_as_http_wants_them() -> None:
    """The whole header value; a password may hold a colon and other letters than ASCII's."""
    assert basic("user", "pass") == "Basic dXNlcjpwYXNz"
    assert basic("user", "p:ß") == "Basic dXNlcjpwOsOf"
    assert bearer("my-webhook-token") == "Bearer my-webhook-token"


@pytest.mark.parametrize("user, password", [("", "b"), ("a", ""), ("a:b", "c"), ("\ud800", "b"), ("a", "\ud800")])
def test_a_user_and_password_that_cannot_be_are_refused(user: str, password: str) -> None:
    """Neither may be empty, and the user ends at its colon."""
    with pytest.raises(ValueError, match=r"^(user|password): "):
        basic(user, password)


@pytest.mark.parametrize("token", ["", " ", "Bearer a", "a\n", "ß", "a\x00"])
def test_a_token_that_cannot_be_is_refused(token: str) -> None:
    """Among them one that was given with its scheme, or read from a file with its line break."""
    with pytest.raises(ValueError, match=r"^token: "):
        bearer(token)


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
@pytest.mark.parametrize("kind", [dict, MappingProxyType, MultiDict, CIMultiDict])
def test_the_headers_name_is_found_in_any_case(name: str, kind: Any) -> None:
    """In any mapping that web frameworks have."""
    assert read(WHOLE, kind({"Host": "here", name: VALUE})).link_id == LINK


@pytest.mark.parametrize("value", ["bearer my-webhook-token", "BEARER my-webhook-token", " Bearer   my-webhook-token "])
def test_the_schemes_case_and_spaces_do_not_matter(value: str) -> None:
    """On either side."""
    assert read(WHOLE, {"Authorization": value}).link_id == LINK
    assert read(WHOLE, authorization=value).link_id == LINK


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer My-webhook-token",
        "Bearer my-webhook-tokeN",
        "Bearer my-webhook-token2",
        "Bearer my-webhook-toke",
        "Basic my-webhook-token",
        "my-webhook-token",
        "Bearermy-webhook-token",
        "Bearer my-webhook-token, Bearer my-webhook-token",
        "Bearer\x00my-webhook-token",
        "Bearer ｍy-webhook-token",  # noqa: RUF001  # not ASCII's m
        "Bearer \ud800",
        "\udcff",
    ],
)
def test_any_other_value_is_refused(value: str) -> None:
    """Before the body is looked at."""
    for body in (WHOLE, b"not JSON"):
        with pytest.raises(WebhookUnauthorizedError):
            read(body, {"Authorization": value})


def test_a_missing_header_is_refused() -> None:
    """So are others that look like it, and values that are no text."""
    not_text: Any = {"Authorization": VALUE.encode()}
    not_names: Any = {b"Authorization": VALUE}
    for headers in ({}, {"X-Authorization": VALUE}, {"Authorization ": VALUE}, not_text, not_names):
        with pytest.raises(WebhookUnauthorizedError):
            read(WHOLE, headers)


@pytest.mark.parametrize("other", [VALUE, "Bearer other"])
def test_a_header_that_is_there_twice_is_refused(other: str) -> None:
    """Whoever stands between Belvo and us may have looked at the other one."""
    for headers in (
        MultiDict([("Authorization", VALUE), ("authorization", other)]),
        {**HEADERS, "authorization": other},
    ):
        with pytest.raises(WebhookUnauthorizedError):
            read(WHOLE, headers)


@pytest.mark.parametrize("kind", [list, tuple])
def test_several_values_are_accepted_while_they_are_being_changed(kind: Any) -> None:
    """Each of them, and no other."""
    accepted = kind([bearer("new"), VALUE, basic("user", "pass")])
    for value in accepted:
        assert read(WHOLE, {"Authorization": value}, authorization=accepted).link_id == LINK
    with pytest.raises(WebhookUnauthorizedError):
        read(WHOLE, {"Authorization": "Bearer other"}, authorization=accepted)


def test_a_value_is_compared_with_every_accepted_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a match, and by the comparison that takes its time; the clock tells nothing about which it was."""
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr("hmac.compare_digest", compare)
    for value in ("Bearer a", "Bearer c", "Bearer none"):
        compared.clear()
        try:
            read(WHOLE, {"Authorization": value}, authorization=["Bearer a", "Bearer b", "Bearer c"])
        except WebhookUnauthorizedError:
            assert value == "Bearer none"
        assert compared == [b"bearer a", b"bearer b", b"bearer c"]


def test_a_value_without_a_scheme_is_compared_as_it_is() -> None:
    """A secret's case counts, even if somebody else's gateway sends it bare."""
    assert read(WHOLE, {"Authorization": "S3cret"}, authorization="S3cret").link_id == LINK
    with pytest.raises(WebhookUnauthorizedError):
        read(WHOLE, {"Authorization": "s3cret"}, authorization="S3cret")


@pytest.mark.parametrize(
    "authorization",
    ["", " ", [], (), [""], [VALUE, ""], "Bearer", "Bearer ", " basic ", "Bearer a\n", "Bearer ß", "\ud800"],
)
def test_accepted_values_that_would_match_nothing_or_anybody_are_refused(authorization: Any) -> None:
    """A mistake of ours, said as such and at once, whoever sent the request."""
    for headers in (HEADERS, {}, {"Authorization": "Bearer"}):
        with pytest.raises(ValueError, match=r"^authorization: "):
            read(WHOLE, headers, authorization=authorization)


@pytest.mark.parametrize("authorization", [None, 5, b"Bearer a", [None], {"Authorization": VALUE}])
def test_accepted_values_are_texts(authorization: Any) -> None:
    """`None` is what a variable that is not set gives."""
    with pytest.raises(TypeError, match=r"^authorization: give a "):
        read(WHOLE, authorization=authorization)


# ----------------------------------------------------------------------------------------------------------- its size


def test_a_body_that_is_too_large_is_refused_unread() -> None:
    """Whoever sent it."""
    body = json.dumps(WHOLE).encode()
    assert parse_webhook(body, HEADERS, authorization=VALUE, max_bytes=len(body)) == read(WHOLE)
    for headers in (HEADERS, {}):
        with pytest.raises(WebhookMalformedError, match=rf"^The webhook's body is larger than {len(body) - 1} bytes.$"):
            parse_webhook(body, headers, authorization=VALUE, max_bytes=len(body) - 1)


def test_a_mebibyte_is_read() -> None:
    """And not one byte more."""
    body = json.dumps(WHOLE).encode().ljust(MAX_BYTES)
    assert read(body) == read(WHOLE)
    with pytest.raises(WebhookMalformedError, match="larger"):
        read(body + b" ")


def test_a_body_is_bytes() -> None:
    """What a framework has made of it is not what was sent."""
    for body in (json.dumps(WHOLE), WHOLE, bytearray()):
        with pytest.raises(TypeError, match=r"^body: give the bytes"):
            parse_webhook(body, HEADERS, authorization=VALUE)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------- nothing else comes out

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(LINK),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
bodies = (
    st.binary()
    | values.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries({}, optional=dict.fromkeys((*WHOLE, "extra"), values)).map(
        lambda value: json.dumps({**WHOLE, **value}).encode()
    )
)


@given(body=bodies)
def test_any_body_is_an_event_or_malformed(body: bytes) -> None:
    """No exception of a library, no half an event."""
    try:
        event = read(body)
    except WebhookMalformedError as error:
        assert error.__cause__ is None  # noqa: PT017
        assert error.__context__ is None or error.__suppress_context__  # noqa: PT017
    else:
        assert event.link_id == LINK
        assert event.webhook_id
        assert event.webhook_code
        assert isinstance(event.data, Mapping)
        assert len(event.dedup_key) == 64


@given(headers=st.dictionaries(st.text() | st.just("authorization"), st.text(st.characters()) | st.just(VALUE)))
@also(headers={"authorization": "\ud800"})
def test_any_headers_let_in_or_keep_out(headers: dict[str, str]) -> None:
    """In is who has the value, and nobody else."""
    sent = [value for name, value in headers.items() if name.lower() == "authorization"]
    if [value.strip(" \t") for value in sent] == [VALUE]:
        assert read(WHOLE, headers) == read(WHOLE)
    else:
        with pytest.raises(WebhookUnauthorizedError):
            read(WHOLE, headers)


@pytest.mark.parametrize(
    "body, value",
    [
        (WHOLE, f"Bearer {CANARY}"),
        (CANARY.encode(), VALUE),
        (f'{{"link_id": "{CANARY}'.encode(), VALUE),
        (f'["{CANARY}"]'.encode(), VALUE),
        ({**WHOLE, "link_id": CANARY}, VALUE),
        ({**WHOLE, "data": CANARY, "external_id": {CANARY: CANARY}, CANARY: CANARY}, VALUE),
        ({**WHOLE, "data": {CANARY: CANARY}, "external_id": CANARY, "link_id": 5}, VALUE),
    ],
)
def test_no_error_quotes_what_was_sent_or_what_is_accepted(body: object, value: str) -> None:
    """Neither as text, nor pickled, nor with all that stands behind it."""
    with pytest.raises(WebhookError) as caught:
        read(body, {"Authorization": value}, authorization=[VALUE, bearer(f"{CANARY}-2")])
    error = caught.value
    told = f"{error} {error!r} {error.args} {vars(error)} {pickle.dumps(error)!r}"
    assert CANARY not in told
    assert "my-webhook-token" not in told
    assert CANARY not in "".join(traceback.format_exception(error))


def test_a_mistake_in_the_accepted_values_is_not_quoted_either() -> None:
    """They are secrets."""
    for authorization in ([f"{CANARY}\n"], f"{CANARY}ß"):
        with pytest.raises(ValueError) as caught:
            read(WHOLE, authorization=authorization)
        assert CANARY not in f"{caught.value!r}"


# -------------------------------------------------------------------------------------------------------- dispatching


class Memory:
    """What an application remembers of events."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.asked: list[str] = []

    async def seen(self, key: str) -> bool:
        self.asked.append(key)
        return key in self.keys

    async def remember(self, key: str) -> None:
        self.keys.add(key)


class Broken(Exception):  # noqa: N818  # a handler's own
    """What a handler raises."""


async def test_an_event_goes_to_the_handler_of_its_code() -> None:
    """One handler may have several codes; a code is a text or a member of the enum."""
    got = []
    dispatcher = WebhookDispatcher()

    @dispatcher.on(WebhookCode.HISTORICAL_UPDATE)
    async def fetch(event: WebhookEvent) -> None:
        got.append(("fetch", event.webhook_code))

    @dispatcher.on("token_required", "invalid_credentials")
    async def ask_again(event: WebhookEvent) -> None:
        got.append(("ask", event.webhook_code))

    for code in ("token_required", "historical_update", "invalid_credentials"):
        event = read({**WHOLE, "webhook_code": code})
        assert await dispatcher.dispatch(event) is Dispatched.HANDLED
    assert got == [("ask", "token_required"), ("fetch", "historical_update"), ("ask", "invalid_credentials")]


async def test_a_code_without_a_handler_is_acknowledged() -> None:
    """Belvo adds codes; nothing is asked or remembered about what nobody handles."""
    memory = Memory()
    dispatcher = WebhookDispatcher(seen=memory.seen, remember=memory.remember)
    event = read({**WHOLE, "webhook_code": "new_pets_available"})
    assert await dispatcher.dispatch(event) is Dispatched.IGNORED
    assert (memory.asked, memory.keys) == ([], set())


async def test_a_fallback_gets_what_has_no_handler() -> None:
    """And only that."""
    got = []
    dispatcher = WebhookDispatcher()

    @dispatcher.fallback
    async def note(event: WebhookEvent) -> None:
        got.append(event.webhook_code)

    @dispatcher.on("historical_update")
    async def fetch(event: WebhookEvent) -> None:
        pass

    assert await dispatcher.dispatch(EVENT) is Dispatched.HANDLED
    unknown = attrs.evolve(EVENT, webhook_code=WebhookCode("new_pets_available"))
    assert await dispatcher.dispatch(unknown) is Dispatched.HANDLED
    assert got == ["new_pets_available"]


async def test_decorated_functions_stay_what_they_are() -> None:
    """They can be called by tests, and decorated again."""
    dispatcher = WebhookDispatcher()

    async def handle(event: WebhookEvent) -> None: ...

    assert dispatcher.on("one")(handle) is handle
    assert dispatcher.fallback(handle) is handle


def test_a_code_has_one_handler() -> None:
    """Of two, the second could fail after the first is through, and the repetition would run the first again."""
    dispatcher = WebhookDispatcher()

    async def handle(event: WebhookEvent) -> None: ...

    dispatcher.on("a", "b")(handle)
    dispatcher.fallback(handle)
    with pytest.raises(ValueError, match=r"^there is a handler already for a, b$"):
        dispatcher.on("b", "c", "a")(handle)
    with pytest.raises(ValueError, match=r"^there is a fallback already$"):
        dispatcher.fallback(handle)
    dispatcher.on("c")(handle)


async def test_a_repeated_event_is_handled_once() -> None:
    """What has been handled is a duplicate from then on."""
    memory, got = Memory(), []
    dispatcher = WebhookDispatcher(seen=memory.seen, remember=memory.remember)

    @dispatcher.on("historical_update")
    async def fetch(event: WebhookEvent) -> None:
        got.append(event.dedup_key)

    became = [await dispatcher.dispatch(read(WHOLE)) for _ in range(3)]
    assert became == [Dispatched.HANDLED, Dispatched.DUPLICATE, Dispatched.DUPLICATE]
    assert got == [EVENT.dedup_key]
    assert memory.keys == {EVENT.dedup_key}


async def test_what_a_handler_raises_comes_out_and_the_repetition_is_handled() -> None:
    """The receiver answers an error, Belvo repeats, and the event is no duplicate of the one that failed."""
    memory, failures = Memory(), [Broken()]
    dispatcher = WebhookDispatcher(seen=memory.seen, remember=memory.remember)

    @dispatcher.on("historical_update")
    async def fetch(event: WebhookEvent) -> None:
        if failures:
            raise failures.pop()

    with pytest.raises(Broken):
        await dispatcher.dispatch(EVENT)
    assert memory.keys == set()
    assert await dispatcher.dispatch(EVENT) is Dispatched.HANDLED


async def test_what_the_memory_raises_comes_out() -> None:
    """Rather twice than never: an event that may not have been handled is repeated."""
    got = []

    async def broken(key: str) -> bool:
        raise Broken

    async def handle(event: WebhookEvent) -> None:
        got.append(event)

    for dispatcher, handled in ((WebhookDispatcher(seen=broken), []), (WebhookDispatcher(remember=broken), [EVENT])):
        dispatcher.on("historical_update")(handle)
        with pytest.raises(Broken):
            await dispatcher.dispatch(EVENT)
        assert got == handled


@pytest.mark.parametrize("request_id", [None, ""])
async def test_without_a_request_id_nothing_is_a_duplicate(request_id: str | None) -> None:
    """A link that needs a token in January and in March would give the same key, and March would be lost."""
    memory, got = Memory(), []
    dispatcher = WebhookDispatcher(seen=memory.seen, remember=memory.remember)

    @dispatcher.on("historical_update")
    async def fetch(event: WebhookEvent) -> None:
        got.append(event)

    for _ in range(2):
        assert await dispatcher.dispatch(attrs.evolve(EVENT, request_id=request_id)) is Dispatched.HANDLED
    assert len(got) == 2
    assert (memory.asked, memory.keys) == ([], set())


async def test_looking_without_remembering_is_enough() -> None:
    """A handler may take note itself, in the transaction of its work."""
    memory = Memory()
    dispatcher = WebhookDispatcher(seen=memory.seen)

    @dispatcher.on("historical_update")
    async def fetch(event: WebhookEvent) -> None:
        memory.keys.add(event.dedup_key)

    assert await dispatcher.dispatch(EVENT) is Dispatched.HANDLED
    assert await dispatcher.dispatch(EVENT) is Dispatched.DUPLICATE


def test_the_module_says_what_is_public() -> None:
    """Every name of its own without an underscore, and only those."""
    own = {
        name
        for name, value in vars(webhooks).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == webhooks.__name__
    }
    assert own | {"MAX_BYTES", "WebhookHandler"} == set(webhooks.__all__) | {"H"}
