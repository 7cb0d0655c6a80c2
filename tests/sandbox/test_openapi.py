"""The OpenAPI document, and that the check of every reply against it can fail."""

import copy
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from belvo_links.sandbox import DOCUMENTED_USERS, INSTITUTIONS, OWN_TRIGGERS
from belvo_links.sandbox.routes import ROUTES
from tests.sandbox.openapi import DOCUMENT, FORMATS, METHODS, Checker, examples, read_document

TOLERANT = read_document()
CHECKER = Checker(TOLERANT)
JSON = {"Content-Type": "application/json"}
ERROR = {"code": "not_found", "message": "Not found", "request_id": "0" * 32}


def test_it_has_the_calls_of_the_simulator_and_no_other() -> None:
    """By path and method."""
    told = {
        path: {method.upper() for method in operations if method in METHODS}
        for path, operations in TOLERANT["paths"].items()
    }
    assert told == {template: set(methods) for template, methods in ROUTES.items()}


def test_a_key_that_stands_twice_is_noticed() -> None:
    """As it did in the document that ours was made from."""
    text = DOCUMENT.read_text(encoding="utf-8")
    line = "        '428': {$ref: '#/components/responses/TokenRequired'}\n"
    with pytest.raises(ValueError, match=r"^428 more than once"):
        read_document(text.replace(line, line * 2))


def test_every_example_is_what_its_schema_says() -> None:
    """In the tolerant document, that of everybody."""
    registry: Registry[Any] = Registry()
    registry = registry.with_resource("urn:tolerant", DRAFT202012.create_resource(TOLERANT))
    seen = 0
    for place, schema, example in examples(TOLERANT):
        absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:tolerant#/'))
        errors = list(Draft202012Validator(absolute, registry=registry, format_checker=FORMATS).iter_errors(example))
        assert not errors, (place, errors)
        seen += 1
    assert seen > 30


def test_the_test_institutions_and_users_are_those_of_the_simulator() -> None:
    """All of the former; of the latter such as there are."""
    schemas = TOLERANT["components"]["schemas"]
    assert schemas["TestInstitution"]["enum"] == list(INSTITUTIONS)
    known = {"user_valid", "bnk100", *DOCUMENTED_USERS, *OWN_TRIGGERS}
    assert set(schemas["TestUser"]["enum"]) <= known


def test_whoever_asks_for_a_second_factor_says_how_to_go_on() -> None:
    """Each 428 is followed by Complete, with the session and the link of that very reply."""
    [follows] = TOLERANT["components"]["responses"]["TokenRequired"]["links"].values()
    assert follows["operationId"] == "patchLinks"
    assert follows["requestBody"] == {
        "session": "$response.body#/0/session",
        "link": "$response.body#/0/link",
        "token": "111111",
    }
    asking = [
        operation["operationId"]
        for path, operations in TOLERANT["paths"].items()
        for method, operation in operations.items()
        if method in METHODS and "428" in operation["responses"]
    ]
    assert len(asking) == 7  # all calls about links but the list (section 10.1)


async def _link(api: Any) -> dict[str, Any]:
    link: dict[str, Any] = (await api.register(external_id="acct-1")).body
    return link


@pytest.mark.parametrize(
    "field, value",
    [
        ("id", "7"),
        ("id", None),
        ("status", "fine"),
        ("created_at", "yesterday"),
        ("created_at", "2026-03-01T09:00:00+01:00"),
        ("institution", None),
        ("institution_user_id", "short"),
        ("institution_user_id", None),
        ("credentials_storage", None),
        ("fetch_resources", None),
        ("fetch_resources", [7]),
        ("refresh_rate", "8h"),
        ("access_mode", "daily"),
        ("last_accessed_at", ""),
        ("external_id", 7),
    ],
)
async def test_a_wrong_link_is_noticed(api: Any, field: str, value: object) -> None:
    """Alone and in a page; so is one without that field, unless parts were asked for, and one with a field too many."""
    link = await _link(api)
    page = {"count": 1, "next": None, "previous": None, "results": [link]}
    CHECKER.check("POST", "/api/links/", 201, JSON, link)
    CHECKER.check("GET", "/api/links/", 200, JSON, page)
    without = {name: kept for name, kept in link.items() if name != field}
    for bad in ({**link, field: value}, without, {**link, "colour": "red"}):
        with pytest.raises(ValidationError):
            CHECKER.check("POST", "/api/links/", 201, JSON, bad)
        with pytest.raises(ValidationError):
            CHECKER.check("GET", "/api/links/", 200, JSON, {**page, "results": [bad]})
    CHECKER.check("GET", "/api/links/", 200, JSON, {**page, "results": [without]}, query="page=2&omit=x")
    for bad in ({**link, field: value}, {"colour": "red"}):
        with pytest.raises(ValidationError):
            CHECKER.check("GET", "/api/links/", 200, JSON, {**page, "results": [bad]}, query="fields=x")


@pytest.mark.parametrize(
    "name", ["code", "message", "request_id", "session", "expiry", "link", "token_generation_data"]
)
async def test_a_wrong_challenge_is_noticed(api: Any, name: str) -> None:
    """All its parts must be there, in an array of one."""
    challenge = await api.challenge("sim_mfa_text")
    call = ("POST", "/api/links/", 428, JSON)
    CHECKER.check(*call, [challenge])
    bad = copy.deepcopy(challenge)
    del bad[name]
    wrong: list[Any] = [[bad], [{**challenge, name: []}], [{**challenge, "colour": 1}], challenge, [challenge] * 2, []]
    for body in [*wrong, [{**challenge, "expiry": "720"}], None]:
        with pytest.raises(ValidationError):
            CHECKER.check(*call, body)


@pytest.mark.parametrize("name", ["instructions", "type", "expects_user_input"])
async def test_a_challenge_says_what_to_do(api: Any, name: str) -> None:
    """In the spelling of the reference."""
    challenge = await api.challenge("sim_mfa_text")
    data = challenge["token_generation_data"]
    CHECKER.check("POST", "/api/links/", 428, JSON, [challenge])
    for bad in ({**data, name: 7}, {**data, "expect_user_input": True}, {n: v for n, v in data.items() if n != name}):
        with pytest.raises(ValidationError):
            CHECKER.check("POST", "/api/links/", 428, JSON, [{**challenge, "token_generation_data": bad}])


@pytest.mark.parametrize(
    "body",
    [
        ERROR,
        [],
        [{**ERROR, "code": None}],
        [{**ERROR, "request_id": "x"}],
        [{**ERROR, "colour": "red"}],
        [{"code": "not_found", "request_id": "0" * 32}],
        [{"code": "not_found", "message": "Not found"}],
        {"detail": "Not found"},
    ],
)
def test_a_wrong_error_is_noticed(body: object) -> None:
    """The simulator's are arrays with all that the documents show, unless a switch wants otherwise."""
    CHECKER.check("GET", "/api/links/{id}/", 404, JSON, [ERROR])
    with pytest.raises(ValidationError):
        CHECKER.check("GET", "/api/links/{id}/", 404, JSON, body)


def test_a_status_must_be_one_of_that_call() -> None:
    """Unless it was made by a test; a success must be listed even then."""
    for method, template, status in (
        ("GET", "/api/links/", 428),
        ("GET", "/api/links/", 206),
        ("POST", "/api/links/", 409),
        ("DELETE", "/api/links/{id}/", 400),
        ("GET", "/api/links/", 405),
    ):
        with pytest.raises(AssertionError):
            CHECKER.check(method, template, status, {**JSON, "Allow": "GET, PATCH, POST"}, [ERROR])
    CHECKER.check("GET", "/api/links/", 503, JSON, [ERROR], listed=False)
    with pytest.raises(AssertionError):
        CHECKER.check("GET", "/api/links/", 206, JSON, [ERROR], listed=False)
    with pytest.raises(ValidationError):
        CHECKER.check("GET", "/api/links/", 503, JSON, {}, listed=False)


def test_what_the_document_has_not_is_refused() -> None:
    """Another path or method, which names those that there are."""
    CHECKER.check("GET", None, 404, JSON, [ERROR])
    CHECKER.check("PUT", "/api/links/", 405, {**JSON, "allow": "GET, PATCH, POST"}, [ERROR])
    for template, status, allow in ((None, 200, ""), ("/api/links/", 200, ""), ("/api/links/", 405, "GET")):
        with pytest.raises(AssertionError):
            CHECKER.check("PUT", template, status, {**JSON, "Allow": allow}, [ERROR])


def test_the_media_type_and_the_headers_count() -> None:
    """JSON where there is a body, none where there is none, and seconds in `Retry-After`."""
    with pytest.raises(AssertionError):
        CHECKER.check("GET", "/api/links/{id}/", 404, {"Content-Type": "text/html"}, [ERROR])
    with pytest.raises(AssertionError):
        CHECKER.check("GET", "/api/links/{id}/", 404, {}, [ERROR])
    CHECKER.check("DELETE", "/api/links/{id}/", 204, {}, None)
    for headers, body in ((JSON, None), ({}, {})):
        with pytest.raises(AssertionError):
            CHECKER.check("DELETE", "/api/links/{id}/", 204, headers, body)
    CHECKER.check("DELETE", "/api/links/{id}/", 429, {**JSON, "Retry-After": "7"}, [ERROR])
    for seconds in ("soon", "-1"):
        with pytest.raises((ValueError, ValidationError)):
            CHECKER.check("DELETE", "/api/links/{id}/", 429, {**JSON, "Retry-After": seconds}, [ERROR])


@pytest.mark.parametrize("field", ["id", "type", "form_fields", "resources", "status", "openbanking_information"])
async def test_a_wrong_institution_is_noticed(api: Any, field: str) -> None:
    """Alone and in a page."""
    institution = (await api("GET", "/api/institutions/1004/")).body
    call = ("GET", "/api/institutions/{id}/", 200, JSON)
    form = {**institution["form_fields"][0], "validation": "("}
    for bad in ({**institution, field: "x"}, {**institution, "form_fields": [form]}, {}):
        with pytest.raises(ValidationError):
            CHECKER.check(*call, bad)
        page = {"count": 1, "next": None, "previous": None, "results": [bad]}
        with pytest.raises(ValidationError):
            CHECKER.check("GET", "/api/institutions/", 200, JSON, page)


async def test_webhooks_are_what_the_document_says(api: Any, box: Any) -> None:
    """Of every code that the simulator sends; a wrong one is noticed."""
    lapsing = await api.link_id("sim_lapse_invalid")
    asked = (await api.complete(await api.challenge("sim_mfa_text"))).body["id"]
    await api("DELETE", f"/api/links/{asked}/", headers={**api.headers, "X-Belvo-Request-Mode": "async"})
    await api.link_id("sim_lapse_token")
    await api.link_id()
    box.advance(days=8)
    assert box.link(lapsing)["status"] == "invalid"
    codes = {event.code for event in box.webhooks}
    assert {"historical_update", "link_deleted", "invalid_credentials", "token_required"} <= codes
    assert len(codes) == 4 + 3  # one for each core resource
    for event in box.webhooks:
        CHECKER.check_schema("WebhookEvent", event.payload)
    for name in (*event.payload, "colour"):
        bad = {**event.payload, name: [7]} if name == "colour" else {**event.payload, name: 7}
        with pytest.raises(ValidationError):
            CHECKER.check_schema("WebhookEvent", bad)
