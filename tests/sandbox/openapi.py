"""The OpenAPI document as a check: what a reply must be so that the document has it for this call.

The document itself stays tolerant, as a client must be. A simulator has no excuse, so its replies are held against a
strict copy: what the documents always show must be there, and nothing else.
"""

import copy
import functools
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

DOCUMENT = Path(__file__).parent.parent / "payloads" / "belvo-links.openapi.yaml"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
ANY_PATH = frozenset({400, 401, 404, 405, 413})
"""What may be answered to a method that a path has not, or on a path that does not exist."""

FORMATS = FormatChecker(formats=("regex",))


@FORMATS.checks("uuid", raises=ValueError)
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or str(UUID(value)) == value


@FORMATS.checks("date-time", raises=ValueError)
def _is_timestamp(value: object) -> bool:
    return not isinstance(value, str) or (value.endswith("Z") and bool(datetime.fromisoformat(value)))


@FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or (len(value) == 10 and bool(datetime.fromisoformat(value)))


@FORMATS.checks("uri")
def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or urlsplit(value).scheme in {"http", "https"}


class _Loader(yaml.SafeLoader):
    """YAML without the silence about a key that stands twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    names = [key.value for key, _ in node.value]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} more than once{node.start_mark}")
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_document(text: str | None = None) -> dict[str, Any]:
    """Read an OpenAPI document, ours by default; refused where a key stands twice."""
    given = DOCUMENT.read_text(encoding="utf-8") if text is None else text
    document: dict[str, Any] = yaml.load(given, _Loader)  # a SafeLoader
    return document


def strict(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that has no patience: nothing absent, nothing unknown, errors as the array that they normally are."""
    changed = copy.deepcopy(dict(document))
    schemas = changed["components"]["schemas"]
    for name in ("ErrorBody", "TokenRequiredBody"):
        [array] = [each for each in schemas[name]["anyOf"] if each.get("type") == "array"]
        schemas[name] = array
    schemas["TokenRequiredBody"]["maxItems"] = 1
    schemas["TokenRequired"]["required"] = list(schemas["TokenRequired"]["properties"])
    schemas["TokenRequired"]["properties"]["expiry"] = {"type": "integer", "minimum": 1}
    data = schemas["TokenGenerationData"]
    del data["properties"]["expect_user_input"]
    data["required"] = ["instructions", "type", "expects_user_input"]
    schemas["ErrorItem"]["required"] = ["code", "message", "request_id"]
    schemas["Link"]["properties"] |= {name: {"type": "string"} for name in ("credentials_storage", "institution")}
    schemas["Link"]["properties"]["institution_user_id"]["type"] = "string"
    for name in ("Link", "Institution"):
        schemas[f"Partial{name}"] = {**schemas[name], "additionalProperties": False}
        schemas[name]["required"] = list(schemas[name]["properties"])
    answers = ("LinkPage", "InstitutionPage", "AsyncAccepted", "WebhookEvent")
    for name in (*answers, "Link", "Institution", "FormField", "ErrorItem", "TokenRequired", "TokenGenerationData"):
        schemas[name]["additionalProperties"] = False
    schemas["WebhookEvent"]["required"] = list(schemas["WebhookEvent"]["properties"])
    schemas["WebhookEvent"]["properties"] |= {name: {"type": "string"} for name in ("process_type", "request_id")}
    return changed


class Checker:
    """Holds replies against the strict document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = strict(document)
        registry: Registry[Any] = Registry()
        self._registry = registry.with_resource("urn:openapi", DRAFT202012.create_resource(self.document))

    @functools.cache  # noqa: B019  # one checker lives as long as the tests
    def _validator(self, pointer: str, partial: str = "") -> Draft202012Validator:
        schema: dict[str, Any] = {"$ref": f"urn:openapi#{pointer}"}
        if partial:
            item = {"$ref": f"urn:openapi#/components/schemas/Partial{partial}"}
            schema = {"required": ["results"], "properties": {"results": {"items": item}}}
        return Draft202012Validator(schema, registry=self._registry, format_checker=FORMATS)

    def operation(self, method: str, template: str | None) -> Mapping[str, Any] | None:
        """What the document has for this method and path, if anything."""
        found: Mapping[str, Any] | None = self.document["paths"].get(template, {}).get(method.lower())
        return found

    def allowed(self, template: str) -> str:
        """The methods of a path, as its ``Allow`` header says them."""
        return ", ".join(sorted(method.upper() for method in self.document["paths"][template] if method in METHODS))

    def check_schema(self, name: str, value: object) -> None:
        """Fail unless a value is what one of the document's schemas says."""
        self._validator(f"/components/schemas/{name}").validate(value)

    def check(
        self,
        method: str,
        template: str | None,
        status: int,
        headers: Mapping[str, str],
        body: object,
        *,
        query: str = "",
        listed: bool = True,
    ) -> None:
        """Fail unless the document has this reply for this call.

        Args:
            method: of the request.
            template: of the request's path; ``None`` where there is no such path.
            status: of the reply.
            headers: of the reply, in any case.
            body: the reply's JSON; ``None`` where it had no body.
            query: of the request; with ``fields`` or ``omit`` in it, parts of links do.
            listed: whether the document must list this status for this operation; otherwise an error will do.
        """
        told = {name.lower(): value for name, value in headers.items()}
        operation = self.operation(method, template)
        if operation is None:
            assert status in ANY_PATH, f"{method} {template} is not in the document, and was answered {status}"
        if status == 405:
            assert operation is None, f"{method} {template} is in the document"
            assert template is not None
            assert told["allow"] == self.allowed(template)
        pointer = "/components/responses/BadRequest"  # the shape of all errors
        if operation is not None and (listed or status < 400):
            assert str(status) in operation["responses"], f"{method} {template} has no {status}"
            pointer = self._pointer(operation, method, template or "", str(status))
        self._check_body(pointer, told, body, query)

    def _pointer(self, operation: Mapping[str, Any], method: str, template: str, status: str) -> str:
        response = operation["responses"][status]
        if "$ref" in response:
            return str(response["$ref"]).removeprefix("#")
        return f"/paths/{template.replace('/', '~1')}/{method.lower()}/responses/{status}"

    def _check_body(self, pointer: str, headers: Mapping[str, str], body: object, query: str) -> None:
        response: Any = self.document
        for part in pointer.split("/")[1:]:
            response = response[part.replace("~1", "/")]
        for name, header in response.get("headers", {}).items():
            value = headers.get(name.lower())
            if value is not None:
                pointed = str(header["$ref"]).removeprefix("#")
                self._validator(f"{pointed}/schema").validate(int(value))
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if "content" not in response:
            assert (media, body) == ("", None), f"{pointer} has no body"
            return
        assert media in response["content"], f"{pointer} is not {media or 'empty'}"
        escaped = pointer.replace("{", "%7B").replace("}", "%7D")
        schema = response["content"][media]["schema"]
        if partial := _partial(schema, query):
            self._validator("", partial).validate(body)
        else:
            self._validator(f"{escaped}/content/{media.replace('/', '~1')}/schema").validate(body)


def _partial(schema: Mapping[str, Any], query: str) -> str:
    """The name of what a listing shows in parts, where ``fields`` or ``omit`` asks for that."""
    names = {part.partition("=")[0] for part in query.split("&")}
    page = str(schema.get("$ref", "")).rpartition("/")[2]
    return page.removesuffix("Page") if page.endswith("Page") and names & {"fields", "omit"} else ""


def examples(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], object]]:
    """Every example of a body or a parameter, with its place and its schema."""
    named = document["components"]
    for path, operations in document["paths"].items():
        for method in METHODS:
            operation = operations.get(method)
            if operation is None:
                continue
            places = [("request", operation.get("requestBody", {}))]
            for status, response in operation["responses"].items():
                found = named["responses"][response["$ref"].rpartition("/")[2]] if "$ref" in response else response
                places.append((status, found))
            for place, holder in places:
                for content in holder.get("content", {}).values():
                    given = [each["value"] for each in content.get("examples", {}).values()]
                    for value in [*given, *([content["example"]] if "example" in content else [])]:
                        yield f"{method} {path} {place}", content["schema"], value
            for parameter in operation.get("parameters", []):
                if "example" in parameter:
                    yield f"{method} {path} {parameter['name']}", parameter["schema"], parameter["example"]
    for name, schema in named["schemas"].items():
        if "example" in schema:
            yield name, {"$ref": f"#/components/schemas/{name}"}, schema["example"]
