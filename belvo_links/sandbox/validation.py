"""Request bodies: which fields a call takes, and what is wrong with them (documentation section 9)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import cast
from uuid import UUID

import msgspec
from attrs import frozen

from . import answers
from .answers import JsonValue, Problem, RefusalError

Body = Mapping[str, object]
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


def is_uuid(text: str) -> bool:
    """Whether the text is a UUID with its dashes."""
    return _UUID.fullmatch(text) is not None


def parse_json(content: bytes) -> JsonValue:
    """Whatever JSON the bytes hold; refused where they hold none."""
    try:
        value: JsonValue = msgspec.json.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # the first was no ValueError once
        raise RefusalError(answers.parse_error(type(error).__name__)) from None
    return value


def parse_body(content_type: str, content: bytes) -> Body:
    """The JSON object of a request; no body at all counts as ``{}`` (documentation section 9.8)."""
    if not content:
        return {}
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RefusalError(answers.unsupported_media_type(media_type))
    body = parse_json(content)
    if not isinstance(body, Mapping):
        name = type(body).__name__
        message = f"Invalid data. Expected a dictionary, but got {name}."
        raise RefusalError(Problem(400, "invalid", message, "non_field_errors"))
    return body


@frozen(kw_only=True)
class Field:
    """One field of a body: what it must be; the problem with a value is a code and a message."""

    name: str
    required: bool = False
    null: bool = False
    check: Callable[[object], tuple[str, str] | None]


def check_fields(body: Body, *fields: Field) -> list[Problem]:
    """Everything that is wrong, at most one problem per field, in the order of the fields."""
    problems: list[Problem] = []
    for spec in fields:
        fault: tuple[str, str] | None = None
        if spec.name not in body:
            fault = ("required", "This field is required.") if spec.required else None
        elif body[spec.name] is None:
            fault = None if spec.null else ("null", "This field may not be null.")
        else:
            fault = spec.check(body[spec.name])
        if fault is not None:
            problems.append(Problem(400, *fault, field=spec.name))
    return problems


def refuse(problems: list[Problem]) -> None:
    """Raise if there are any."""
    if problems:
        raise RefusalError(*problems)


def text(
    *,
    shortest: int = 1,
    longest: int | None = None,
    pattern: str | None = None,
    choices: tuple[str, ...] = (),
    message: str = "This value does not match the required pattern.",
) -> Callable[[object], tuple[str, str] | None]:
    """A string within limits; the messages are those of the framework (documentation section 11.2)."""

    def check(value: object) -> tuple[str, str] | None:
        if not isinstance(value, str):
            return "invalid", "Not a valid string."
        if choices:
            return None if value in choices else ("invalid_choice", f'"{value}" is not a valid choice.')
        if "\0" in value:
            return "invalid", "Null characters are not allowed."
        if not value.strip():
            return "blank", "This field may not be blank."
        if len(value) < shortest:
            return "min_length", f"Ensure this field has at least {shortest} characters."
        if longest is not None and len(value) > longest:
            return "max_length", f"Ensure this field has no more than {longest} characters."
        if pattern is not None and re.fullmatch(pattern, value, re.ASCII) is None:
            return "invalid", message
        return None

    return check


def flag(value: object) -> tuple[str, str] | None:
    """A boolean."""
    return None if isinstance(value, bool) else ("invalid", "Must be a valid boolean.")


def uuid(value: object) -> tuple[str, str] | None:
    """A UUID."""
    return None if isinstance(value, str) and is_uuid(value) else ("invalid", "Must be a valid UUID.")


def strings(value: object) -> tuple[str, str] | None:
    """A list of strings."""
    if not isinstance(value, list):
        return "invalid", f'Expected a list of items but got type "{type(value).__name__}".'
    items = cast(list[object], value)
    return None if all(isinstance(item, str) for item in items) else ("invalid", "Not a valid string.")


def encoded(value: object) -> tuple[str, str] | None:
    """Base64, for certificates and private keys."""
    fault = text()(value)
    if fault is None and isinstance(value, str):
        try:
            base64.b64decode(value.encode(), validate=True)
        except binascii.Error:
            return "invalid", "Must be base64."
    return fault


ACCESS_MODE = Field(name="access_mode", check=text(choices=("single", "recurrent")))
EXTERNAL_ID = Field(name="external_id", null=True, check=text(shortest=3, longest=256))
FETCH_RESOURCES = Field(name="fetch_resources", check=strings)
STALE_IN = Field(name="stale_in", null=True, check=text(pattern=r"\d{1,3}d"))
CREDENTIALS_STORAGE = Field(
    name="credentials_storage",
    # 365 days at most: the enumeration of section 18.3, narrower than the pattern of the contract.
    check=text(pattern=r"store|nostore|([1-9]|[1-9][0-9]|[12][0-9]{2}|3[0-5][0-9]|36[0-5])d"),
)
REGISTER_OPTIONS = (
    EXTERNAL_ID,
    ACCESS_MODE,
    FETCH_RESOURCES,
    CREDENTIALS_STORAGE,
    STALE_IN,
    Field(name="username2", check=text()),
    Field(name="username3", check=text()),
    Field(name="username_type", check=text()),
    Field(name="password2", check=text()),
    Field(name="certificate", check=encoded),
    Field(name="private_key", check=encoded),
    Field(name="fetch_historical", check=flag),
)
COMPLETE_FIELDS = (
    Field(name="session", required=True, check=text(pattern=r"[a-f0-9]{32}")),
    Field(name="link", required=True, check=uuid),
    Field(name="token", check=text()),
    Field(name="save_data", check=flag),
)
MODIFY_FIELDS = (ACCESS_MODE, STALE_IN, FETCH_RESOURCES)
UPDATE_FIELDS = (
    Field(name="password", required=True, check=text()),
    Field(name="password2", check=text()),
    Field(name="token", check=text()),
    Field(name="username_type", check=text()),
    Field(name="certificate", check=encoded),
    Field(name="private_key", check=encoded),
)


def check_pair(body: Body) -> list[Problem]:
    """A certificate needs its private key, and the other way round (documentation section 9.2)."""
    for present, missing in (("certificate", "private_key"), ("private_key", "certificate")):
        if present in body and missing not in body:
            return [Problem(400, "required", "This field is required.", missing)]
    return []


def string(body: Body, name: str) -> str | None:
    """A checked string of the body, or ``None`` where it is absent or null."""
    value = body.get(name)
    return value if isinstance(value, str) else None


def string_tuple(body: Body, name: str) -> tuple[str, ...]:
    """A checked list of strings of the body; empty where it is absent."""
    value = body.get(name)
    if not isinstance(value, list):
        return ()
    items = cast(list[object], value)
    return tuple(item for item in items if isinstance(item, str))


def canonical_uuid(value: str) -> str:
    """The spelling in which ids are kept."""
    return str(UUID(value))
