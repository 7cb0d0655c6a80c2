"""A simulator per test, its time held still, and a client that checks every reply.

It does so twice: against the structure of the vendor's contract, and against the OpenAPI document of the digest.
"""

import asyncio
import base64
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import frozen
from jsonschema import Draft7Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

from belvo_links.sandbox import Received, Sandbox
from tests.sandbox.openapi import FORMATS, Checker, read_document

START = datetime(2026, 3, 1, 9, 0, 0, 100000, UTC)
STRUCTURE = Path(__file__).parent.parent / "payloads" / "structure.json"


def _json_schema(node: Any) -> Any:
    """OpenAPI 3.0 writes ``nullable: true`` where JSON Schema lists null among the types."""
    if isinstance(node, list):
        return [_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    converted = {key: _json_schema(value) for key, value in node.items()}
    if converted.pop("nullable", False):
        converted["type"] = [converted["type"], "null"]
    return converted


class Contract:
    """The vendor's structure file, made strict: what the documents always show must be there."""

    def __init__(self) -> None:
        contract = _json_schema(json.loads(STRUCTURE.read_text()))
        schemas = contract["components"]["schemas"]
        link = schemas["Link"]
        # Null occurs in these although the contract does not say so (documentation section 7). They are inlined,
        # since the same components also describe requests, where null is another matter.
        for name in ("external_id", "institution_user_id", "credentials_storage", "stale_in"):
            field = link["properties"][name]
            field = dict(schemas[name]) if "$ref" in field else field
            link["properties"][name] = {**field, "type": ["string", "null"]}
        schemas["PartialLink"] = copy.deepcopy(link)
        link["required"] = list(link["properties"])
        schemas["TokenRequiredResponse"]["required"] = list(schemas["TokenRequiredResponse"]["properties"])
        schemas["PlainError"] = {
            "type": "array",
            "minItems": 1,
            "items": {"$ref": "#/components/schemas/ValidationError"},
        }
        schemas["ValidationError"]["required"] = ["code", "message", "request_id"]
        self.paths = contract["paths"]
        self.validators: dict[str, Draft7Validator] = {}
        registry: Registry[Any] = Registry()
        self.registry = registry.with_resource("urn:contract", DRAFT7.create_resource(contract))

    def check(self, method: str, template: str, query: str, status: int, body: object) -> None:
        """Fail unless the reply is one that the contract, or else the dossier, has for this call."""
        schema = self._schema(method, template, status)
        if "fields=" in query or "omit=" in query:
            schema = {"properties": {"results": {"items": {"$ref": "urn:contract#/components/schemas/PartialLink"}}}}
        key = json.dumps(schema)
        if key not in self.validators:
            self.validators[key] = Draft7Validator(schema, registry=self.registry, format_checker=FORMATS)
        self.validators[key].validate(body)

    def _schema(self, method: str, template: str, status: int) -> Mapping[str, Any]:
        operation = self.paths.get(template, {}).get(method.lower(), {})
        plain = {"$ref": "urn:contract#/components/schemas/PlainError"}
        if status >= 400 and status != 428:
            # Errors that the contract does not list for a call (405, 415, 429, a 400 of Complete, …) have the shape
            # of all others; of those that it lists the shapes are alike, so the strict one does for both.
            return plain
        assert str(status) in operation.get("responses", {}), f"{method} {template} has no {status}"
        pointer = f"paths/{template.replace('/', '~1')}/{method.lower()}/responses/{status}"
        response = operation["responses"][str(status)]
        if "$ref" in response:
            return {"$ref": f"urn:contract{response['$ref']}/content/application~1json/schema"}
        if "content" not in response:
            return {"const": None}
        pointer = pointer.replace("{", "%7B").replace("}", "%7D")
        return {"$ref": f"urn:contract#/{pointer}/content/application~1json/schema"}


CONTRACT = Contract()
CHECKER = Checker(read_document())
UNLISTED = {("PATCH", "/api/links/", 201)}
"""Successes that the contract lacks and the guides have: Complete's 201 (documentation section 9.3)."""


@frozen
class Reply:
    status: int
    body: Any
    headers: Mapping[str, str]
    content: bytes = b""

    @property
    def codes(self) -> list[tuple[str, str | None]]:
        return [(error["code"], error.get("field")) for error in self.body]

    @property
    def code(self) -> str:
        assert len(self.body) == 1
        code: str = self.body[0]["code"]
        return code


def basic(secret_id: str, secret_password: str) -> str:
    return "Basic " + base64.b64encode(f"{secret_id}:{secret_password}".encode()).decode()


class Api:
    """Sends requests to a simulator; every reply is checked unless a test asks for a shape outside the contract.

    ``listed=False`` is for a status that a test has made, which no document lists for that call.
    """

    def __init__(self, box: Sandbox, http: aiohttp.ClientSession, keys: tuple[str, str] | None = None) -> None:
        self.box = box
        self.http = http
        self.headers = {"Authorization": basic(*(keys or (box.secret_id, box.secret_password)))}

    def other_account(self) -> "Api":
        """The same with the keys of a new account."""
        return Api(self.box, self.http, self.box.add_account())

    async def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        checked: bool = True,
        listed: bool = True,
    ) -> Reply:
        url = self.box.url + path
        more: dict[str, Any] = {} if body is None else {"json": body}
        if data is not None:
            more["data"] = data
        sent = self.headers if headers is None else headers
        async with self.http.request(method, url, headers=sent, **more) as response:
            content = await response.read()
            parsed = json.loads(content) if content else None
            reply = Reply(response.status, parsed, response.headers, content)
        received = self.box.requests[-1]
        assert received.status == reply.status
        if checked:
            self._check(received, reply, listed=listed)
        return reply

    def _check(self, received: Received, reply: Reply, *, listed: bool) -> None:
        method, template, query = received.method, received.template, received.query
        assert (reply.body is None) == ("Content-Type" not in reply.headers or method == "HEAD")
        status = 200 if (method, template, reply.status) in UNLISTED else reply.status
        if method != "HEAD":
            if template != "/api/":  # which the contract does not have
                CONTRACT.check(method, template or "", query, status, reply.body)
            CHECKER.check(method, template, reply.status, reply.headers, reply.body, query=query, listed=listed)
        if reply.status >= 400 and reply.body is not None:
            assert len({error["request_id"] for error in reply.body}) == 1

    async def register(self, username: str = "bnk100", password: str = "full", **more: object) -> Reply:
        body = {"institution": "erebor_mx_retail", "username": username, "password": password, **more}
        return await self("POST", "/api/links/", body)

    async def challenge(self, username: str, password: str = "any", **more: Any) -> dict[str, Any]:
        reply = await self.register(username, password, **more)
        assert reply.status == 428
        challenge: dict[str, Any] = reply.body[0]
        return challenge

    async def link_id(self, username: str = "bnk100", **more: Any) -> str:
        reply = await self.register(username, **more)
        assert reply.status == 201
        link_id: str = reply.body["id"]
        return link_id

    async def complete(self, challenge: Mapping[str, Any], token: str | None = "111111", **more: object) -> Reply:
        body = {"session": challenge["session"], "link": challenge["link"], **more}
        if token is not None:
            body["token"] = token
        return await self("PATCH", "/api/links/", body)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def until_received(box: Sandbox) -> None:
    """Let the loop run until a request has come in; there is no event to wait for, and no time to lose."""
    while not box.requests:  # noqa: ASYNC110 - the record is a plain list
        await asyncio.sleep(0)


@pytest.fixture
def received() -> Callable[[Sandbox], Awaitable[None]]:
    """Waits until the simulator has received something."""
    return until_received


async def send_raw(box: Sandbox, request: bytes) -> tuple[bytes, bytes]:
    """Send bytes, read to the end; for what an HTTP client would not send, or would repeat by itself."""
    host, port = box.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    reply = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = reply.partition(b"\r\n\r\n")
    return head, body


@pytest.fixture
def raw() -> Callable[[Sandbox, bytes], Awaitable[tuple[bytes, bytes]]]:
    """Speaks to a simulator without an HTTP client: the head and the body of what came back."""
    return send_raw


@pytest.fixture
def open_api(http: aiohttp.ClientSession) -> Callable[[Sandbox], Api]:
    """A client for a simulator that the test has made itself."""
    return lambda box: Api(box, http)


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(clock=lambda: START) as sandbox:
        yield sandbox


@pytest.fixture
def api(box: Sandbox, open_api: Callable[[Sandbox], Api]) -> Api:
    return open_api(box)
