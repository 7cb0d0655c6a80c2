"""One builder per call: exactly what the caller gave goes out, and what the documents forbid does not."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links import errors
from belvo_links.protocol import operations
from belvo_links.protocol.challenge import TokenRequired
from belvo_links.protocol.credentials import Credentials
from belvo_links.protocol.filters import LinkFilter
from belvo_links.protocol.models import NO_EXTRA, Accepted, AccessMode, Link, LinkPage, PartialPage, Resource
from belvo_links.redact import Secret
from belvo_links.transport.messages import Lane, Operation, Repeat, Response
from belvo_links.wire import ABSENT

LINK_ID = "b3743391-0bcb-45e4-b6a8-75a54a0e6394"
SESSION = Secret("9c40ba788d77448a3461172161cf0552")
ME = Credentials("me", "secret")
CANARY = "CANARY, 4711"
LONG = [f"{number:0250}" for number in range(40)]
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LINK_BODY = {"id": LINK_ID, "institution": "a", "status": "valid", "created_at": "2024-02-02T13:11:42Z", "new": 1}
PAGE_BODY = {"count": 1, "next": None, "previous": None, "results": [LINK_BODY]}
CHALLENGE_BODY = [{"code": "token_required", "session": "a" * 32, "expiry": 720, "link": LINK_ID}]


def body_of(operation: Operation[Any]) -> Any:
    assert operation.request.body is not None
    return json.loads(operation.request.body.reveal())


def reply(status: int, body: object = None) -> Response:
    return Response(status=status, body=b"" if body is None else json.dumps(body).encode())


def maybe(*values: object) -> st.SearchStrategy[Any]:
    """An argument that is absent, null, or one of these."""
    return st.sampled_from([ABSENT, None, *values])


# ------------------------------------------------------------------------------------------- bodies, to the letter


@given(
    credentials=st.dictionaries(st.sampled_from(["username", "password", "username2", "token"]), st.none() | TEXT),
    external_id=maybe("abc", "x" * 256),
    access_mode=maybe("single", AccessMode.SINGLE, "new_mode", ""),
    fetch_resources=maybe([], ["ACCOUNTS"], (Resource.OWNERS, "NEW")),
    credentials_storage=maybe("store", "30d"),
    stale_in=maybe("90d"),
)
def test_a_registration_holds_exactly_what_was_given(credentials: dict[str, Any], **fields: Any) -> None:
    """Absent is left out, None is null, an empty text or list is itself; None in credentials is absent."""
    sent = body_of(operations.register("erebor_mx_retail", Credentials(**credentials), **fields))
    wanted = {name: value for name, value in fields.items() if value is not ABSENT}
    if wanted.get("fetch_resources") is not None:
        wanted["fetch_resources"] = [str(resource) for resource in wanted["fetch_resources"]]
    given_credentials = {name: value for name, value in credentials.items() if value is not None}
    assert sent == {"institution": "erebor_mx_retail", **given_credentials, **wanted}


@given(token=st.none() | TEXT, save_data=maybe(True, False))
def test_a_completion_holds_exactly_what_was_given(token: str | None, save_data: Any) -> None:
    """A token of None is absent, `save_data=False` is sent."""
    secret = None if token is None else Secret(token)
    sent = body_of(operations.complete(SESSION, LINK_ID, token=secret, save_data=save_data))
    wanted: dict[str, Any] = {"session": SESSION.reveal(), "link": LINK_ID}
    wanted |= {} if token is None else {"token": token}
    wanted |= {} if save_data is ABSENT else {"save_data": save_data}
    assert sent == wanted


@given(
    access_mode=maybe("recurrent", ""),
    stale_in=maybe("90d"),
    fetch_resources=maybe([], ["ACCOUNTS"]),
)
def test_a_patch_holds_exactly_what_was_given(**fields: Any) -> None:
    """Never a default; with nothing to change there is no call."""
    wanted = {name: value for name, value in fields.items() if value is not ABSENT}
    if wanted:
        assert body_of(operations.patch(LINK_ID, **fields)) == wanted
    else:
        with pytest.raises(ValueError, match=r"^patch: nothing to change"):
            operations.patch(LINK_ID, **fields)


@given(
    values=st.dictionaries(st.sampled_from(["password2", "username_type", "token"]), st.none() | TEXT), password=TEXT
)
def test_an_update_holds_exactly_what_was_given(values: dict[str, Any], password: str) -> None:
    """A password, also an empty one, and whatever stands beside it."""
    sent = body_of(operations.update(LINK_ID, Credentials(password=password, **values)))
    assert sent == {"password": password, **{name: value for name, value in values.items() if value is not None}}


def test_certificates_go_out_in_base64() -> None:
    """In a registration and in an update."""
    files = Credentials(password="p", certificate=b"c", private_key=b"k")
    expected = {"password": "p", "certificate": "Yw==", "private_key": "aw=="}
    assert body_of(operations.update(LINK_ID, files)) == expected
    assert body_of(operations.register("a", files)) == {"institution": "a", **expected}


@pytest.mark.parametrize(
    "resources, sent", [(None, {}), ([], {"fetch_resources": []}), (["A"], {"fetch_resources": ["A"]})]
)
def test_a_refresh_sends_an_object_always(resources: Any, sent: object) -> None:
    """None is absent and gives an empty object; an empty list is an empty list."""
    assert body_of(operations.refresh(LINK_ID, resources)) == sent


def test_bodies_do_not_show() -> None:
    """Credentials, tokens and sessions are in no repr of an operation."""
    secret = Credentials(username="CANARY", password="CANARY", token="CANARY")
    for operation in (
        operations.register("a", secret),
        operations.update(LINK_ID, attrs.evolve(secret, username=None)),
        operations.complete(Secret("CANARY"), LINK_ID, token=Secret("CANARY")),
        operations.page(LinkFilter(external_id="CANARY")),
    ):
        assert "CANARY" not in repr(operation)


# -------------------------------------------------------------------------- method, path, and what may be repeated

CALLS: Mapping[str, tuple[Operation[Any], str, str, Repeat, Lane, bool]] = {
    "register": (operations.register("a", ME), "POST", "/api/links/", Repeat.CHANGE, Lane.PERSON, True),
    "complete": (operations.complete(SESSION, LINK_ID), "PATCH", "/api/links/", Repeat.NEVER, Lane.PERSON, True),
    "get": (operations.get(LINK_ID), "GET", f"/api/links/{LINK_ID}/", Repeat.READ, Lane.CALL, False),
    "page": (operations.page(), "GET", "/api/links/", Repeat.READ, Lane.CALL, False),
    "partial": (operations.partial_page(fields=["id"]), "GET", "/api/links/", Repeat.READ, Lane.CALL, False),
    "iterate": (
        operations.iteration_page(None, page=2, page_size=1000), "GET", "/api/links/", Repeat.READ, Lane.BULK, False
    ),
    "count": (operations.count(), "GET", "/api/links/", Repeat.READ, Lane.CALL, False),
    "patch": (
        operations.patch(LINK_ID, stale_in="90d"), "PATCH", f"/api/links/{LINK_ID}/", Repeat.CHANGE, Lane.CALL, True
    ),
    "update": (
        operations.update(LINK_ID, Credentials(password="p")),
        "PUT", f"/api/links/{LINK_ID}/", Repeat.CHANGE, Lane.PERSON, True,
    ),
    "delete": (
        operations.delete(LINK_ID, mode="async"), "DELETE", f"/api/links/{LINK_ID}/", Repeat.DELETE, Lane.CALL, False
    ),
    "refresh": (
        operations.refresh(LINK_ID), "POST", f"/api/links/{LINK_ID}/refresh/", Repeat.CHANGE, Lane.CALL, False
    ),
    "get_json": (
        operations.get_json("/api/institutions/"), "GET", "/api/institutions/", Repeat.READ, Lane.CALL, False
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call_says_what_it_is(name: str) -> None:
    """Method, path, what may be repeated, its place in the queue and whether it logs in, per call."""
    operation, *expected = CALLS[name]
    request = operation.request
    assert [request.method, request.path, operation.repeat, operation.lane, operation.logs_in] == expected
    assert operation.name == {"partial": "page"}.get(name, name)
    assert (request.body is None) == (request.method in {"GET", "DELETE"})
    assert (operation.gone is not None) == (name == "delete")


@given(token=TEXT)
def test_whatever_carries_a_token_is_never_repeated(token: str) -> None:
    """Also an empty token, also in a registration or an update; and a Complete always."""
    assert operations.register("a", Credentials("me", token=token)).repeat is Repeat.NEVER
    assert operations.update(LINK_ID, Credentials(password="p", token=token)).repeat is Repeat.NEVER
    assert operations.complete(SESSION, LINK_ID, token=Secret(token)).repeat is Repeat.NEVER


def test_a_lost_registration_says_how_to_look_for_the_link() -> None:
    """By the external id where there is one."""
    assert "LinkFilter(external_id=…)" in operations.register("a", ME, external_id="abc").lost_hint
    assert "give an `external_id`" in operations.register("a", ME).lost_hint
    assert "409" in operations.refresh(LINK_ID).lost_hint


# ----------------------------------------------------------------------------------------------------- constraints

REFUSED: list[tuple[str, type[Exception], Callable[[], object]]] = [
    ("institution", ValueError, lambda: operations.register("", ME)),
    ("institution", ValueError, lambda: operations.register(CANARY + "\udfff", ME)),
    ("institution", TypeError, lambda: operations.register(5, ME)),  # type: ignore[arg-type]  # refused
    ("credentials", TypeError, lambda: operations.register("a", {"username": CANARY})),  # type: ignore[arg-type]  # refused
    ("credentials", TypeError, lambda: operations.register("a", None)),  # type: ignore[arg-type]  # refused
    ("external_id", ValueError, lambda: operations.register("a", ME, external_id="ab")),
    ("external_id", ValueError, lambda: operations.register("a", ME, external_id=CANARY * 99)),
    ("external_id", ValueError, lambda: operations.register("a", ME, external_id="")),
    ("external_id", TypeError, lambda: operations.register("a", ME, external_id=False)),  # type: ignore[arg-type]  # refused
    ("access_mode", TypeError, lambda: operations.register("a", ME, access_mode=5)),  # type: ignore[arg-type]  # refused
    ("fetch_resources", TypeError, lambda: operations.register("a", ME, fetch_resources=CANARY)),
    ("fetch_resources", ValueError, lambda: operations.register("a", ME, fetch_resources=[""])),
    ("stale_in", ValueError, lambda: operations.register("a", ME, stale_in=CANARY)),
    ("credentials_storage", ValueError, lambda: operations.register("a", ME, credentials_storage=CANARY)),
    ("credentials_storage", ValueError, lambda: operations.register("a", ME, credentials_storage="366d")),
    (
        "credentials_storage", ValueError,
        lambda: operations.register("a", ME, access_mode="recurrent", credentials_storage="30d"),
    ),
    (
        "credentials_storage", ValueError,
        lambda: operations.register("a", ME, credentials_storage="nostore", fetch_resources=["ACCOUNTS"]),
    ),
    (
        "fetch_resources", ValueError,
        lambda: operations.register("a", ME, access_mode="single", credentials_storage="nostore"),
    ),
    ("link_id", ValueError, lambda: operations.complete(SESSION, CANARY)),
    ("token", ValueError, lambda: operations.complete(SESSION, LINK_ID, token=Secret(CANARY + "\ud800"))),
    ("token", TypeError, lambda: operations.complete(SESSION, LINK_ID, token=Secret(5))),  # type: ignore[arg-type]  # refused
    ("save_data", TypeError, lambda: operations.complete(SESSION, LINK_ID, save_data="false")),  # type: ignore[arg-type]  # refused
    ("save_data", TypeError, lambda: operations.complete(SESSION, LINK_ID, save_data=0)),  # type: ignore[arg-type]  # refused
    ("link_id", ValueError, lambda: operations.get(CANARY)),
    ("link_id", ValueError, lambda: operations.get(f"{LINK_ID}/refresh")),
    ("link_id", TypeError, lambda: operations.get(None)),  # type: ignore[arg-type]  # refused
    ("link_id", ValueError, lambda: operations.patch(CANARY, stale_in="9d")),
    ("link_id", ValueError, lambda: operations.update(CANARY, Credentials(password="p"))),
    ("link_id", ValueError, lambda: operations.delete(CANARY, mode="sync")),
    ("link_id", ValueError, lambda: operations.refresh(CANARY)),
    ("stale_in", ValueError, lambda: operations.patch(LINK_ID, stale_in="9999d")),
    ("fetch_resources", TypeError, lambda: operations.patch(LINK_ID, fetch_resources=CANARY)),
    ("fetch_resources", TypeError, lambda: operations.refresh(LINK_ID, CANARY)),
    ("fetch_resources", TypeError, lambda: operations.refresh(LINK_ID, [5])),  # type: ignore[list-item]  # refused
    ("username", ValueError, lambda: operations.update(LINK_ID, Credentials(CANARY, "p"))),
    ("password", ValueError, lambda: operations.update(LINK_ID, Credentials(token=CANARY))),
    ("credentials", TypeError, lambda: operations.update(LINK_ID, CANARY)),  # type: ignore[arg-type]  # refused
    ("mode", ValueError, lambda: operations.delete(LINK_ID, mode=CANARY)),  # type: ignore[arg-type]  # refused
    ("page", ValueError, lambda: operations.page(page=0)),
    ("page", TypeError, lambda: operations.page(page=True)),
    ("page", TypeError, lambda: operations.page(page="1")),  # type: ignore[arg-type]  # refused
    ("page_size", ValueError, lambda: operations.page(page_size=0)),
    ("page_size", ValueError, lambda: operations.page(page_size=1001)),
    ("page_size", TypeError, lambda: operations.page(page_size=2.0)),  # type: ignore[arg-type]  # refused
    ("filters", ValueError, lambda: operations.page(LinkFilter(external_id__in=LONG))),
    ("fields", ValueError, lambda: operations.partial_page(fields=[])),
    ("fields", ValueError, lambda: operations.partial_page(fields=["id,status"])),
    ("omit", TypeError, lambda: operations.partial_page(omit="id")),
]  # fmt: skip


@pytest.mark.parametrize("field, kind, build", REFUSED)
def test_what_the_documents_forbid_is_refused_by_name(
    field: str, kind: type[Exception], build: Callable[[], object]
) -> None:
    """Before anything is built; the value is neither in the error nor hangs on it."""
    with pytest.raises(kind, match=rf"^{field}: ") as caught:
        build()
    assert type(caught.value) is kind
    assert "CANARY" not in repr(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


# ------------------------------------------------------------------------------------------------------- listings


def test_listings_say_their_page_and_size_always() -> None:
    """The defaults differ between environments, so none is relied on."""
    filters = LinkFilter(status__in=["valid", "invalid"])
    listed = ("status__in", "valid,invalid")
    assert operations.page(filters).request.query == (listed, ("page", "1"), ("page_size", "100"))
    assert operations.page(page=3, page_size=1000).request.query == (("page", "3"), ("page_size", "1000"))
    assert operations.count(filters).request.query == (listed, ("page_size", "1"))
    assert operations.partial_page(filters, fields=["id", "status"], omit=("status",)).request.query == (
        listed, ("fields", "id,status"), ("omit", "status"), ("page", "1"), ("page_size", "100"),
    )  # fmt: skip
    assert operations.iteration_page(filters, page=2, page_size=5).request.query == (
        listed, ("page", "2"), ("page_size", "5"),
    )  # fmt: skip


def test_each_listing_reads_its_own_result() -> None:
    """A page of links, a page of parts, a number, and a page without unknown fields."""
    answer = reply(200, PAGE_BODY)
    page = operations.page().interpret(answer)
    assert isinstance(page, LinkPage)
    assert dict(page.results[0].extra) == {"new": 1}
    assert isinstance(operations.partial_page().interpret(answer), PartialPage)
    assert operations.count().interpret(answer) == 1
    assert operations.iteration_page(None, page=1, page_size=9).interpret(answer).results[0].extra is NO_EXTRA


# --------------------------------------------------------------------------------------------------------- replies


@pytest.mark.parametrize("name", ["register", "complete", "get", "patch", "update"])
@pytest.mark.parametrize("status", [200, 201])
def test_a_link_is_read_from_200_and_from_201(name: str, status: int) -> None:
    """The documents disagree about the status, so both count, and unknown fields are kept."""
    link = CALLS[name][0].interpret(reply(status, LINK_BODY))
    assert isinstance(link, Link)
    assert dict(link.extra) == {"new": 1}


@pytest.mark.parametrize("name", ["register", "complete", "get", "patch", "update", "delete", "refresh"])
def test_every_call_on_a_link_may_be_asked_for_a_second_factor(name: str) -> None:
    """A 428 is an answer and never looks like a link; one that cannot be read is a typed error."""
    operation = CALLS[name][0]
    assert isinstance(operation.interpret(reply(428, CHALLENGE_BODY)), TokenRequired)
    with pytest.raises(errors.MalformedChallengeError):
        operation.interpret(reply(428, [{"session": 5}]))


@pytest.mark.parametrize("name", ["page", "partial", "count", "iterate", "get_json"])
def test_a_listing_is_never_asked_for_a_second_factor(name: str) -> None:
    """A 428 is an error there."""
    with pytest.raises(errors.ApiError) as caught:
        CALLS[name][0].interpret(reply(428, CHALLENGE_BODY))
    assert caught.value.status == 428


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("status", [204, 206, 299, 302])
def test_a_success_that_is_not_the_calls_own_is_unexpected(name: str, status: int) -> None:
    """Another 2xx or a redirect is no success."""
    if (name, status) == ("delete", 204):
        return
    with pytest.raises(errors.UnexpectedResponseError):
        CALLS[name][0].interpret(reply(status, LINK_BODY))


@pytest.mark.parametrize("name", CALLS)
def test_a_refusal_is_raised_by_every_call(name: str) -> None:
    """The status decides first."""
    with pytest.raises(errors.PermissionDeniedError):
        CALLS[name][0].interpret(reply(403, [{"code": "access_to_resource_denied"}]))


def test_deleting_at_once_and_later() -> None:
    """204 is None or, asked for asynchronously, an acknowledgement without an id; 202 carries the id."""
    later, at_once = operations.delete(LINK_ID, mode="async"), operations.delete(LINK_ID, mode="sync")
    assert later.request.headers == {"X-Belvo-Request-Mode": "async"}
    assert at_once.request.headers == {}
    done = Accepted(link_id=LINK_ID, request_id=None)
    assert later.interpret(reply(202, {"request_id": "a-b"})) == Accepted(link_id=LINK_ID, request_id="a-b")
    assert later.interpret(reply(204)) == done
    assert at_once.interpret(reply(204)) is None
    assert later.gone is not None
    assert at_once.gone is not None
    assert (later.gone(), at_once.gone()) == (done, None)
    with pytest.raises(errors.UnexpectedResponseError):
        at_once.interpret(reply(202, {"request_id": "a-b"}))


def test_a_refresh_is_acknowledged() -> None:
    """With the id that the webhooks repeat."""
    answer = operations.refresh(LINK_ID).interpret(reply(202, {"request_id": "a-b"}))
    assert answer == Accepted(link_id=LINK_ID, request_id="a-b")
    with pytest.raises(errors.UnexpectedResponseError):
        operations.refresh(LINK_ID).interpret(reply(202, {}))


# -------------------------------------------------------------------------------------------------- any other read


@pytest.mark.parametrize(
    "path, sent",
    [
        ("/api/", "/api/"),
        ("/api/institutions/", "/api/institutions/"),
        ("/api/institutions", "/api/institutions/"),
        ("/api/institutions/42", "/api/institutions/42/"),
        ("/api/v1.2/some_thing-~/", "/api/v1.2/some_thing-~/"),
    ],
)
def test_a_path_of_the_service_gets_its_slash(path: str, sent: str) -> None:
    """Every path of Belvo ends with one."""
    assert operations.get_json(path).request.path == sent


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/api",
        "api/institutions/",
        "/apis/",
        "/admin/",
        "//evil.example/api/",
        "/api//institutions/",
        "/api/institutions//",
        "https://evil.example/api/institutions/",
        "/api/institutions/?page=2",
        "/api/institutions#x",
        "/api/../admin/",
        "/api/./",
        "/api/..",
        "/api/a..b/",
        "/api/.hidden/",
        "/api/%2e%2e/admin/",
        "/api/a b/",
        "/api/a\\b/",
        "/api/a@evil.example/",
        "/api/a:80/",
        "/api/institutions/\n",
        "/api/ñ/",
        "/api/CANARY?/",
    ],
)
def test_a_path_elsewhere_is_refused(path: str) -> None:
    """No query, no other origin, nothing that a server could resolve to another place."""
    with pytest.raises(ValueError, match=r"^path: ") as caught:
        operations.get_json(path)
    assert "CANARY" not in str(caught.value)


def test_a_query_is_written_as_belvo_reads_it() -> None:
    """Booleans, numbers, days, moments and lists."""
    query: Any = {
        "name": "a=b&c, d",
        "page": 2,
        "active": True,
        "hidden": False,
        "on": date(2024, 1, 31),
        "at": datetime(2024, 1, 31, tzinfo=UTC),
        "type__in": ["bank", Resource.OWNERS],
    }
    assert operations.get_json("/api/institutions/", query).request.query == (
        ("name", "a=b&c, d"),
        ("page", "2"),
        ("active", "true"),
        ("hidden", "false"),
        ("on", "2024-01-31"),
        ("at", "2024-01-31T00:00:00+00:00"),
        ("type__in", "bank,OWNERS"),
    )


@pytest.mark.parametrize(
    "value, kind",
    [
        (None, TypeError),
        (1.5, TypeError),
        ({"a": CANARY}, TypeError),
        ([5], TypeError),
        ([CANARY], ValueError),
        ([""], ValueError),
        (CANARY + "\ud800", ValueError),
    ],
)
def test_a_query_that_cannot_be_written_is_refused_by_name(value: Any, kind: type[Exception]) -> None:
    """Another type, a comma inside a list, half a surrogate pair."""
    with pytest.raises(kind, match=r"^name: ") as caught:
        operations.get_json("/api/institutions/", {"name": value})
    assert "CANARY" not in repr(caught.value)


def test_any_json_is_the_answer_of_any_other_read() -> None:
    """Parsed, and not looked at."""
    assert operations.get_json("/api/").interpret(reply(200, [1, {"a": None}])) == [1, {"a": None}]
    with pytest.raises(errors.NotFoundError):
        operations.get_json("/api/").interpret(reply(404, {"detail": "Not found."}))
