"""Keys, paths, methods, media types: what every call has in common (documentation sections 1, 2, 11 and 20)."""

import asyncio
import base64
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from belvo_links.sandbox import INSTITUTIONS, Sandbox, Switches

MISSING = "00000000-0000-4000-8000-000000000000"
METHODS = [
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "QUERY",
    "PROPFIND",
    "CONNECT",
]
METHODS += ["FOO", "foo"]  # words that the HTTP parser does not know
ALLOWED = {
    "/api/": "GET",
    "/api/links/": "GET, PATCH, POST",
    f"/api/links/{MISSING}/": "DELETE, GET, PATCH, PUT",
    f"/api/links/{MISSING}/refresh/": "POST",
    "/api/institutions/": "GET",
    "/api/institutions/1004/": "GET",
}


async def test_the_root_tells_that_the_keys_are_right(api: Any) -> None:
    """The old login check."""
    assert (await api("GET", "/api/")).status == 200


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        f"Basic {_encoded('nobody:nothing')}",
        "Basic !!!",
        f"Basic {base64.b64encode(bytes([255])).decode()}",
        "Basic",
        f"Bearer {_encoded('nobody:nothing')}",
    ],
)
async def test_wrong_keys_are_refused(api: Any, header: str) -> None:
    """401 with the documented code, on every path that exists."""
    for path in ALLOWED:
        reply = await api("GET", path, headers={"Authorization": header})
        assert (reply.status, reply.code, reply.body[0]["message"]) == (
            401,
            "authentication_failed",
            "Invalid Secret Keys",
        )


async def test_the_right_id_needs_the_right_password_and_scheme(api: Any, box: Any) -> None:
    """Neither half is enough, and neither is another scheme."""
    right = api.headers["Authorization"]
    for header in (f"Basic {_encoded(box.secret_id + ':no')}", right.replace("Basic", "Bearer")):
        assert (await api("GET", "/api/links/", headers={"Authorization": header})).status == 401
    lower = {"Authorization": right.replace("Basic", "basic")}
    assert (await api("GET", "/api/links/", headers=lower)).status == 200


async def test_missing_keys_have_their_own_code(api: Any) -> None:
    """401 too."""
    reply = await api("POST", "/api/links/", {}, headers={})
    assert (reply.status, reply.code) == (401, "not_authenticated")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/links",
        "/api/accounts/",
        f"/api/links/{MISSING}",
        f"/api/links/{MISSING}/refresh",
        f"/api/links/{MISSING}/other/",
        "/api/links/7/",
        f"/api/links/{MISSING[:-1]}/",
        f"/api/links/{MISSING}0/refresh/",
        "/api/institutions/1004/refresh/",
        "/api/institutions/77/",
        "/api/links//",
    ],
)
async def test_unknown_paths_and_malformed_ids_are_not_found(api: Any, path: str) -> None:
    """Without the last slash too."""
    reply = await api("GET", path)
    assert (reply.status, reply.code, reply.body[0]["message"]) == (404, "not_found", "Not found")


async def test_the_slash_can_be_forgiven(open_api: Callable[[Sandbox], Any]) -> None:
    """By switch."""
    async with Sandbox(switches=Switches(strict_slash=False)) as box:
        api = open_api(box)
        assert (await api("GET", "/api/links")).status == 200
        assert (await api("GET", "/api/link")).status == 404


@pytest.mark.parametrize("path", ALLOWED)
async def test_a_path_names_the_methods_it_has(api: Any, box: Any, raw: Any, path: str) -> None:
    """Every other one is 405 with `Allow`: those of HTTP, newer ones, and words that are none."""
    allowed = ALLOWED[path]
    authorization = api.headers["Authorization"]
    for method in METHODS:
        if method in allowed.split(", "):
            continue
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n"
        head, body = await raw(box, request.encode())
        assert head.startswith((b"HTTP/1.1 405 ", b"HTTP/1.0 405 ")), method
        assert f"\r\nAllow: {allowed}".encode() in head
        received = box.requests[-1]
        # aiohttp 3.13 has heard of QUERY and yet not of its name.
        assert received.method in ({method, "<unknown>"} if method == "QUERY" else {method})
        assert received.status == 405
        if method != "HEAD":
            [error] = json.loads(body)
            assert error["code"] == "method_not_allowed"
            assert error["message"] == f'Method "{received.method}" not allowed.'


async def test_an_unknown_method_on_an_unknown_path_is_not_found(box: Any, raw: Any) -> None:
    """The path decides first; what is no HTTP at all stays the server's affair."""
    head, _ = await raw(box, b"FOO /nowhere/?a=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 404 " in head
    assert (box.requests[-1].path, box.requests[-1].query, box.requests[-1].template) == (
        "/nowhere/",
        "a=1",
        None,
    )
    head, _ = await raw(box, b"FOO /api/links/7/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 404 " in head
    head, _ = await raw(box, b"GET http://x/api/links/?a=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b" 401 " in head
    assert (box.requests[-1].template, box.requests[-1].query) == ("/api/links/", "a=1")
    head, _ = await raw(box, b"\x16\x03\x01 nonsense\r\n\r\n")
    assert b" 400 " in head
    head, _ = await raw(box, b"GET /api/ HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n")
    assert b" 400 " in head


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", "/api/links/"),
        ("PATCH", "/api/links/"),
        ("POST", "/api/links/{id}/refresh/"),
        ("PUT", "/api/links/{id}/"),
    ],
)
async def test_bodies_are_json_objects(api: Any, box: Any, method: str, path: str) -> None:
    """415 for another media type, 400 for what is no JSON or no object."""
    [link_id] = box.add_links(1)
    path = path.replace("{id}", link_id)
    reply = await api(method, path, data=b"username=ana", headers={**api.headers, "Content-Type": "text/plain"})
    assert (reply.status, reply.code) == (415, "unsupported_media_type")
    kind = {**api.headers, "Content-Type": "application/json; charset=utf-8"}
    for data in (b"{", b"NaN", b"\xff", b'{"token": "\\ud800"}', b"[" * 100_000, b'{"a": 1e999}', b" "):
        reply = await api(method, path, data=data, headers=kind)
        assert (reply.status, reply.code) == (400, "parse_error")
        assert reply.body[0]["message"].startswith("JSON parse error - ")
    for data in (b"[]", b'"text"', b"7", b"null"):
        reply = await api(method, path, data=data, headers=kind)
        assert (reply.status, reply.codes) == (400, [("invalid", "non_field_errors")])


async def test_a_reply_to_broken_json_does_not_quote_it(api: Any) -> None:
    """A body may hold a password."""
    kind = {**api.headers, "Content-Type": "application/json"}
    reply = await api("POST", "/api/links/", data=b'{"password": "hush', headers=kind)
    assert "hush" not in json.dumps(reply.body)


async def test_a_body_may_be_too_large(api: Any, box: Any) -> None:
    """More than a megabyte is refused by the server, and is no failure of the simulator."""
    async with api.http.post(f"{box.url}/api/links/", data=io.BytesIO(bytes(2_000_000)), headers=api.headers) as reply:
        assert reply.status == 413


async def test_a_body_may_contradict_its_headers(api: Any, box: Any, raw: Any) -> None:
    """A gzip that is none is a parse error; a client that goes away in the middle is no failure either."""
    head = f"POST /api/links/ HTTP/1.1\r\nHost: x\r\nAuthorization: {api.headers['Authorization']}\r\n"
    request = f"{head}Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde"
    _, body = await raw(box, request.encode())
    assert json.loads(body)[0]["code"] == "parse_error"
    host, port = box.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{head}Content-Length: 99\r\n\r\n{{".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await api("GET", "/api/")).status == 200


async def test_an_old_client_names_no_host(api: Any, box: Any, raw: Any) -> None:
    """HTTP/1.0 may leave it out; addresses then have to do without."""
    head, body = await raw(box, f"GET /api/ HTTP/1.0\r\nAuthorization: {api.headers['Authorization']}\r\n\r\n".encode())
    assert b" 200 " in head
    assert json.loads(body)["links"] == "http://localhost/api/links/"


@pytest.mark.parametrize(
    "shape, body",
    [("object", {"message", "code", "request_id"}), ("detail", {"detail"})],
)
async def test_errors_have_other_shapes_by_switch(
    open_api: Callable[[Sandbox], Any], shape: Any, body: set[str]
) -> None:
    """A bare object, or the old `detail`."""
    async with Sandbox(switches=Switches(error_shape=shape)) as box:
        reply = await open_api(box)("GET", "/api/links/7/", checked=False)
        assert (reply.status, set(reply.body)) == (404, body)


# --- Institutions (documentation section 21)


async def test_institutions_come_in_pages(api: Any) -> None:
    """Every documented one, each with its own number."""
    reply = await api("GET", "/api/institutions/?page_size=1000")
    names = [institution["name"] for institution in reply.body["results"]]
    assert names == list(INSTITUTIONS)
    assert len({institution["id"] for institution in reply.body["results"]}) == len(names)
    reply = await api("GET", "/api/institutions/?page=2&page_size=5")
    assert reply.body["next"].endswith("?page=3&page_size=5")
    assert (await api("GET", "/api/institutions/?page=99")).status == 404


async def test_an_institution_shows_its_form(api: Any) -> None:
    """Field names, rules, and choices where there are any."""
    erebor = (await api("GET", "/api/institutions/1004/")).body
    assert [form["name"] for form in erebor["form_fields"]] == ["username", "password"]
    assert erebor["form_fields"][0]["validation"] == "^[a-zA-Z0-9_]{1,16}$"
    assert "BALANCES" in erebor["resources"]
    iron = (await api("GET", "/api/institutions/9004/")).body
    [choice] = [form for form in iron["form_fields"] if form["name"] == "username_type"]
    assert [value["code"] for value in choice["values"]] == ["003", "999"]
    heimdall = (await api("GET", "/api/institutions/1014/")).body
    assert heimdall["features"][0]["name"] == "token_required"
