"""All 76 example files: our requests are theirs, and their replies are read into the right value or error."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import pytest

from belvo_links import errors
from belvo_links.protocol import operations
from belvo_links.protocol.challenge import TokenRequired
from belvo_links.protocol.credentials import Credentials
from belvo_links.protocol.filters import LinkFilter
from belvo_links.protocol.models import Accepted, Link, LinkPage, PartialPage
from belvo_links.redact import Secret
from belvo_links.transport.messages import Operation, Response
from belvo_links.webhooks import WebhookEvent, parse_webhook
from belvo_links.wire import format_timestamp, parse_timestamp

EXAMPLES = Path(__file__).resolve().parent.parent / "payloads" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.json"))
CALLS = [name for name in NAMES if not name.startswith(("index", "webhook-", "moneykit-"))]
WEBHOOKS = [name for name in NAMES if name.startswith("webhook-")]
MONEYKIT = [name for name in NAMES if name.startswith("moneykit-")]

CREDENTIALS = {field.name for field in attrs.fields(Credentials)}


def example(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))


def response_of(case: Mapping[str, Any]) -> Response:
    reply = case["response"]
    body = reply.get("body")
    text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
    headers = {name.lower(): value for name, value in reply["headers"].items()}
    return Response(status=reply["status"], headers=headers, body=text.encode())


# --------------------------------------------------------------------------------- a case's request, by our builders


def link_of(case: Mapping[str, Any]) -> str:
    return str(urlsplit(case["request"]["url"]).path.split("/")[3])


def register(case: Mapping[str, Any]) -> Operation[Any]:
    body = dict(case["request"]["body"])
    institution = body.pop("institution")
    credentials = Credentials(**{name: body.pop(name) for name in CREDENTIALS & body.keys()})
    return operations.register(institution, credentials, **body)


def complete(case: Mapping[str, Any]) -> Operation[Any]:
    body = dict(case["request"]["body"])
    token = Secret(body.pop("token")) if "token" in body else None
    return operations.complete(Secret(body.pop("session")), body.pop("link"), token=token, **body)


def listing(case: Mapping[str, Any]) -> Operation[Any]:
    query: dict[str, Any] = dict(parse_qsl(urlsplit(case["request"]["url"]).query))
    paging: dict[str, Any] = {name: int(query.pop(name)) for name in ("page", "page_size") if name in query}
    names = {name: query.pop(name).split(",") for name in ("fields", "omit") if name in query}
    filters = LinkFilter(**{k: v.split(",") if k.endswith("__in") else v for k, v in query.items()})
    return operations.partial_page(filters, **paging, **names) if names else operations.page(filters, **paging)


def delete(case: Mapping[str, Any]) -> Operation[Any]:
    mode = case["request"]["headers"].get("X-Belvo-Request-Mode", "sync")
    return operations.delete(link_of(case), mode=mode)


BUILDERS: Mapping[str, Callable[[Mapping[str, Any]], Operation[Any]]] = {
    "listLinks": listing,
    "registerLink": register,
    "patchLinks": complete,
    "detailLink": lambda case: operations.get(link_of(case)),
    "modifyLinkDataRetrieval": lambda case: operations.patch(link_of(case), **case["request"]["body"]),
    "updateLink": lambda case: operations.update(link_of(case), Credentials(**case["request"]["body"])),
    "destroyLink": delete,
    "refreshHistoricalDataForLink": lambda case: operations.refresh(link_of(case), **case["request"]["body"]),
}

REFUSED_BY_US = {
    "register-400-invalid-credentials-storage": "credentials_storage",
    "register-400-invalid-fetch-resources": "fetch_resources",
    "register-400-validation": "external_id",
}
"""Requests that our checks refuse, with the field they name."""

UNBUILDABLE = {"complete-400-required"}
"""Requests that the signatures of our calls do not allow: a Complete without session and link."""


def built(name: str, case: Mapping[str, Any]) -> Operation[Any]:
    """The operation of a case; where it cannot be built, one of the same kind, to read the reply with."""
    if name in UNBUILDABLE or name in REFUSED_BY_US:
        return BUILDERS[case["operation"]](
            example({"registerLink": "register-201-single"}.get(case["operation"], "complete-200"))
        )
    return BUILDERS[case["operation"]](case)


def test_there_are_76_files_and_every_one_is_read_below() -> None:
    """No example is forgotten, and the index beside them lists exactly these."""
    assert len(NAMES) == 76 + 1
    assert sorted(case["file"].removesuffix(".json") for case in example("index")["cases"]) == [
        name for name in NAMES if name != "index"
    ]
    assert len(CALLS) + len(WEBHOOKS) + len(MONEYKIT) == 76
    for case in example("index")["cases"]:
        told = example(case["file"].removesuffix(".json"))
        assert (told["operation"], told["response"]["status"]) == (case["operation"], case["status"])


@pytest.mark.parametrize("name", [name for name in CALLS if name not in REFUSED_BY_US.keys() | UNBUILDABLE])
def test_the_request_is_the_examples(name: str) -> None:
    """Method, path, query, headers and body are the example's; a listing also says its page and page size always."""
    case = example(name)
    theirs = case["request"]
    request = built(name, case).request
    url = urlsplit(theirs["url"])
    assert (request.method, request.path) == (theirs["method"], url.path)
    assert dict(request.headers) == {
        key: value for key, value in theirs["headers"].items() if key not in {"Authorization", "Content-Type"}
    }
    query = dict(request.query)
    if case["operation"] == "listLinks":
        query = {key: query[key] for key in query if key not in {"page", "page_size"} or f"{key}=" in url.query}
    assert query == dict(parse_qsl(url.query))
    body = None if request.body is None else json.loads(request.body.reveal())
    assert body == theirs.get("body")


@pytest.mark.parametrize("name, field", REFUSED_BY_US.items())
def test_a_request_that_belvo_refuses_is_refused_before_it_is_built(name: str, field: str) -> None:
    """What the documents forbid is a ValueError that names the field."""
    with pytest.raises(ValueError, match=f"^{field}: "):
        register(example(name))


# ---------------------------------------------------------------------------------------------------- the replies

ERRORS: Mapping[str, type[errors.BelvoLinksError]] = {
    "any-500": errors.ServerError,
    "any-502-html": errors.ServerError,
    "complete-400-required": errors.InvalidFieldsError,
    "complete-400-session-expired": errors.BadRequestError,
    "delete-403": errors.PermissionDeniedError,
    "delete-404": errors.NotFoundError,
    "delete-429": errors.RateLimitedError,
    "detail-401-invalid-keys": errors.AuthenticationError,
    "detail-401-missing-header": errors.AuthenticationError,
    "detail-403": errors.PermissionDeniedError,
    "detail-404": errors.NotFoundError,
    "detail-404-bare-object": errors.NotFoundError,
    "detail-404-legacy-detail": errors.NotFoundError,
    "list-404-page-out-of-range": errors.NotFoundError,
    "list-408-request-timeout": errors.RequestTimeoutError,
    "modify-400-invalid-access-mode-switch": errors.BadRequestError,
    "refresh-400-invalid-link": errors.InvalidLinkError,
    "refresh-400-unsupported-resources": errors.InvalidFieldsError,
    "refresh-409-cooldown": errors.RefreshCooldownError,
    "register-400-account-locked": errors.LoginError,
    "register-400-institution-down": errors.InstitutionError,
    "register-400-invalid-credentials-storage": errors.BadRequestError,
    "register-400-invalid-fetch-resources": errors.BadRequestError,
    "register-400-login-error": errors.LoginError,
    "register-400-required": errors.InvalidFieldsError,
    "register-400-too-many-sessions": errors.TooManySessionsError,
    "register-400-unsupported-resources": errors.InvalidFieldsError,
    "register-400-validation": errors.InvalidFieldsError,
    "update-400-login-error": errors.LoginError,
}


def plain(link: Link) -> dict[str, Any]:
    """A link as its JSON would be, for a comparison with the example's."""
    values = {field.name: getattr(link, field.name) for field in attrs.fields(Link) if field.name != "extra"}
    for name in ("created_at", "last_accessed_at"):
        values[name] = values[name] and format_timestamp(values[name])
    return {**values, "fetch_resources": list(link.fetch_resources)}


def expected(body: Mapping[str, Any]) -> dict[str, Any]:
    absent: dict[str, Any] = {field.name: None for field in attrs.fields(Link) if field.name != "extra"}
    values = {**absent, "fetch_resources": [], **body}
    for name in ("created_at", "last_accessed_at"):
        values[name] = values[name] and format_timestamp(parse_timestamp(values[name]))
    return values


def check_value(value: object, case: Mapping[str, Any]) -> None:
    body = case["response"].get("body")
    match value:
        case Link():
            assert plain(value) == expected(body)
            assert not value.extra
        case LinkPage(count=count, next=following, previous=previous, results=results):
            assert (count, following, previous) == (body["count"], body["next"], body["previous"])
            assert [plain(link) for link in results] == [expected(each) for each in body["results"]]
        case PartialPage(count=count, next=following, previous=previous, results=partial):
            assert {"count": count, "next": following, "previous": previous, "results": list(partial)} == body
        case Accepted(link_id=link_id, request_id=request_id):
            assert (link_id, request_id) == (link_of(case), body["request_id"])
        case _:
            assert (value, body) == (None, None)


@pytest.mark.parametrize("name", [name for name in CALLS if example(name)["response"]["status"] < 300])
def test_a_success_is_read_whole(name: str) -> None:
    """Every field of the body stands in the value, and the value invents none."""
    case = example(name)
    check_value(built(name, case).interpret(response_of(case)), case)


@pytest.mark.parametrize("name", [name for name in CALLS if example(name)["response"]["status"] == 428])
def test_a_challenge_is_read_whole(name: str) -> None:
    """Session, link, deadline, challenge and request id of a 428 are those of the example, whatever its shape."""
    case = example(name)
    asked = built(name, case).interpret(response_of(case))
    assert isinstance(asked, TokenRequired)
    body = case["response"]["body"]
    told = body[0] if isinstance(body, list) else body
    data = told.get("token_generation_data", {})
    assert asked.session == Secret(told["session"])
    assert asked.link_id == told["link"]
    assert asked.expiry == timedelta(seconds=int(told["expiry"]))
    assert asked.request_id == told.get("request_id")
    assert asked.challenge.kind == data.get("type")
    assert asked.challenge.instructions == data.get("instructions")
    assert asked.challenge.value == (data.get("value") or None)
    flag = data.get("expects_user_input", data.get("expect_user_input", True))
    assert asked.challenge.expects_user_input is flag
    assert (asked.challenge.qr is not None) == (name == "register-428-qr")
    if asked.challenge.qr is not None:
        assert asked.challenge.qr.media_type == "image/png"


def test_every_refusal_has_its_class_below() -> None:
    """The table of errors names every example that is neither a success nor a challenge."""
    refused = {name for name in CALLS if (status := example(name)["response"]["status"]) >= 400 and status != 428}
    assert refused == ERRORS.keys()


@pytest.mark.parametrize("name, kind", ERRORS.items())
def test_a_refusal_is_the_right_error_with_its_facts(name: str, kind: type[errors.BelvoLinksError]) -> None:
    """The class is exactly the one of the table, and code, field, message and request id are those of the body."""
    case = example(name)
    with pytest.raises(errors.ApiError) as caught:
        built(name, case).interpret(response_of(case))
    error = caught.value
    assert type(error) is kind
    assert error.status == case["response"]["status"]
    body = case["response"]["body"]
    items = body if isinstance(body, list) else [body] if isinstance(body, dict) else []
    first = items[0] if items else {}
    assert (error.code, error.field) == (first.get("code"), first.get("field"))
    assert error.message == first.get("message", first.get("detail"))
    assert error.request_id == first.get("request_id")
    assert len(error.errors) == len(items)
    assert error.request_id is None or error.request_id in str(error)


@pytest.mark.parametrize(
    "name, facts",
    [
        ("register-400-login-error", {"reason": "invalid_credentials"}),
        ("register-400-account-locked", {"reason": "account_locked"}),
        ("refresh-409-cooldown", {"retry_after": timedelta(minutes=7)}),
        ("delete-429", {"retry_after": timedelta(seconds=42)}),
        ("register-400-institution-down", {"retryable": True}),
    ],
)
def test_an_error_carries_what_its_class_adds(name: str, facts: Mapping[str, object]) -> None:
    """Reason, waiting time and the rest are read from the example too."""
    case = example(name)
    with pytest.raises(errors.ApiError) as caught:
        built(name, case).interpret(response_of(case))
    assert {fact: getattr(caught.value, fact) for fact in facts} == facts


# -------------------------------------------------------------------------------------------------------- webhooks

WEBHOOK_KEYS = {"webhook_id", "webhook_type", "process_type", "webhook_code", "link_id", "request_id", "data"}
"""What section 16.1 of the documentation requires."""


@pytest.mark.parametrize("name", WEBHOOKS)
def test_a_webhook_is_read_whole(name: str) -> None:
    """Every key of the example stands in the event, and the event invents none; its words are known ones."""
    request = example(name)["request"]
    body = request["body"]
    assert WEBHOOK_KEYS <= body.keys() <= WEBHOOK_KEYS | {"external_id"}
    event = parse_webhook(
        json.dumps(body).encode(), request["headers"], authorization=request["headers"]["Authorization"]
    )
    told = {field.name: getattr(event, field.name) for field in attrs.fields(WebhookEvent) if field.name != "extra"}
    assert told == {"external_id": None, **body}
    assert not event.extra
    assert event.webhook_type.is_known
    assert event.webhook_code.is_known


@pytest.mark.parametrize("name", WEBHOOKS)
def test_a_webhook_without_its_link_is_told_by_paths(name: str) -> None:
    """What is missing or wrong is in `problems`, and no value is."""
    request = example(name)["request"]
    body = {**request["body"], "link_id": "a-guess", "data": "canary"}
    del body["webhook_code"]
    with pytest.raises(errors.WebhookMalformedError) as caught:
        parse_webhook(json.dumps(body).encode(), request["headers"], authorization=request["headers"]["Authorization"])
    assert sorted(caught.value.problems) == [
        "$.data: expected an object",
        "$.link_id: expected a UUID",
        "$.webhook_code: missing",
    ]
    assert "canary" not in str(caught.value)


# ------------------------------------------------------------------------------- what ring 1 has no reader for yet


@pytest.mark.parametrize("name", MONEYKIT)
def test_a_moneykit_example_has_the_documented_keys(name: str) -> None:
    """Ring 1 has no reader of MoneyKit yet: only that the file is what MoneyKit's documentation says."""
    reply = example(name)["response"]
    body = reply["body"]
    if name == "moneykit-auth-token-201":
        assert body.keys() == {"access_token", "token_type", "expires_in"}
    elif reply["status"] == 200:
        required = {"link_id", "institution_id", "institution_name", "institution_avatar", "state", "products"}
        more = {"available_products", "error_code", "last_synced_at", "provider", "link_tags", "tags", "webhook"}
        assert required <= body.keys() <= required | more
    else:
        more = {"documentation_url", "link_error_code", "validation_errors"}
        assert {"error_code", "error_message"} <= body.keys() <= {"error_code", "error_message"} | more
