"""The banks, and what their login forms ask for (documentation section 21)."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fastapi import HTTPException
from starlette.datastructures import FormData

from belvo_links import BelvoLinks, Credentials, JsonValue

OURS = ("username", "username2", "username3", "username_type", "password", "password2")
"""The fields that these pages can fill in. A token is asked for when the bank wants one."""
KEPT_FOR = 60.0
"""Seconds for which the list of banks is not asked for again: pages must not use up the limit of requests."""
LONGEST_PATTERN = 200


@dataclass(frozen=True)
class Field:
    """A field of a bank's login form."""

    name: str
    kind: str
    label: str
    placeholder: str
    required: bool
    choices: tuple[tuple[str, str], ...]
    pattern: str  # for the browser alone: an expression from elsewhere is no work for a server
    message: str

    @property
    def secret(self) -> bool:
        return self.name.startswith("password")


@dataclass(frozen=True)
class Bank:
    """An institution, as far as its form needs it."""

    name: str
    label: str
    fields: tuple[Field, ...]
    down: bool

    @property
    def renewal(self) -> tuple[Field, ...]:
        """What an update takes: the user name cannot change."""
        return tuple(field for field in self.fields if field.secret or field.name == "username_type")

    def credentials(self, typed: FormData, fields: tuple[Field, ...]) -> Credentials:
        """Take what these fields of the form hold. It is sent, and kept nowhere."""
        texts = {field.name: text for field in fields if isinstance(text := typed.get(field.name), str) and text}
        return Credentials(
            texts.get("username"),
            texts.get("password"),
            username2=texts.get("username2"),
            username3=texts.get("username3"),
            username_type=texts.get("username_type"),
            password2=texts.get("password2"),
        )


class Banks:
    """The banks that Belvo knows, read now and then."""

    def __init__(self, belvo: BelvoLinks) -> None:
        self._belvo = belvo
        self._read_at = float("-inf")
        self._banks: dict[str, Bank] = {}

    async def all(self) -> list[Bank]:
        """Return them by their labels."""
        now = asyncio.get_running_loop().time()
        if now - self._read_at > KEPT_FOR:
            reply = await self._belvo.get_json("/api/institutions/", {"type": "bank", "page_size": 1000})
            found = reply.get("results") if isinstance(reply, Mapping) else None
            banks = [_bank(each) for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
            self._banks, self._read_at = {bank.name: bank for bank in banks}, now
        return sorted(self._banks.values(), key=lambda bank: bank.label)

    async def one(self, name: str) -> Bank:
        """Return a bank; there being none, the page is a 404."""
        found = next((bank for bank in await self.all() if bank.name == name), None)
        if found is None:
            raise HTTPException(404)
        return found


def _bank(data: Mapping[str, JsonValue]) -> Bank:
    name = str(data.get("name"))
    return Bank(
        name=name,
        label=str(data.get("display_name") or name),
        fields=tuple(_fields(data.get("form_fields"))),
        down=data.get("status") == "down",
    )


def _fields(data: JsonValue) -> Iterator[Field]:
    for each in data if isinstance(data, list) else ():
        if not isinstance(each, Mapping) or each.get("name") not in OURS:
            continue
        choices, pattern = each.get("values"), str(each.get("validation") or "")
        yield Field(
            name=str(each["name"]),
            kind=str(each.get("type")),
            label=str(each.get("label") or each["name"]),
            placeholder=str(each.get("placeholder") or ""),
            required=each.get("optional") is not True,
            choices=tuple(
                (str(choice.get("code")), str(choice.get("label")))
                for choice in (choices if isinstance(choices, list) else ())
                if isinstance(choice, Mapping)
            ),
            pattern=pattern if len(pattern) <= LONGEST_PATTERN else "",
            message=str(each.get("validation_message") or ""),
        )
