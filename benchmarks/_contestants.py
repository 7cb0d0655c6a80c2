"""Who takes part in the listings: the SDK, aiohttp by hand, and the vendor's own client where it is installed."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Final, Self

import aiohttp
import msgspec

from belvo_links import BelvoLinks
from benchmarks._page_server import LINK_ID, PAGE_SIZE

KEYS: Final = ("benchmark-id", "benchmark-password")


class BareLink(msgspec.Struct):
    """A link as somebody would type it who wants nothing but speed."""

    id: str
    institution: str
    status: str
    created_at: datetime
    access_mode: str | None = None
    last_accessed_at: datetime | None = None
    external_id: str | None = None
    institution_user_id: str | None = None
    created_by: str | None = None
    refresh_rate: str | None = None
    credentials_storage: str | None = None
    stale_in: str | None = None
    fetch_resources: list[str] = []  # msgspec copies it


class BarePage(msgspec.Struct):
    """A page of such links."""

    count: int
    next: str | None
    results: list[BareLink]


def client(url: str) -> BelvoLinks:
    """Ours, with the limiter off: Belvo's limit would be all that is measured."""
    return BelvoLinks(*KEYS, base_url=url, rate_limit=None)


def by_hand() -> aiohttp.ClientSession:
    """Theirs."""
    keys = base64.b64encode(":".join(KEYS).encode()).decode()
    return aiohttp.ClientSession(headers={"Authorization": f"Basic {keys}"})


async def list_ours(belvo: BelvoLinks, concurrency: int) -> int:
    """List everything through the SDK."""
    number = 0
    async for link in belvo.iterate(page_size=PAGE_SIZE, concurrency=concurrency):
        number += link is not None
    return number


async def list_typed(session: aiohttp.ClientSession, url: str, pages: int) -> int:
    """List everything with aiohttp and msgspec, the ceiling of what typed can be."""
    decoder = msgspec.json.Decoder(BarePage)
    number = 0
    for page in range(1, pages + 1):
        async with session.get(f"{url}/api/links/", params={"page": page, "page_size": PAGE_SIZE}) as reply:
            body = await reply.read()
        for link in decoder.decode(body).results:
            number += link is not None
    return number


async def list_dicts(session: aiohttp.ClientSession, url: str, pages: int) -> int:
    """List everything with aiohttp and the standard library's JSON."""
    number = 0
    for page in range(1, pages + 1):
        async with session.get(f"{url}/api/links/", params={"page": page, "page_size": PAGE_SIZE}) as reply:
            body = await reply.read()
        for link in json.loads(body)["results"]:
            number += link is not None
    return number


async def get_typed(session: aiohttp.ClientSession, url: str, decoder: msgspec.json.Decoder[BareLink]) -> BareLink:
    """Read one link with aiohttp and msgspec."""
    async with session.get(f"{url}/api/links/{LINK_ID}/") as reply:
        return decoder.decode(await reply.read())


class BelvoPython:
    """The vendor's synchronous client, `belvo-python`; it is measured where it is installed."""

    installed: Final = find_spec("belvo") is not None

    def __init__(self, url: str) -> None:
        self._client = import_module("belvo.client").Client(*KEYS, url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._client.session.session.close()

    async def list_dicts(self) -> int:
        """List everything, as dicts; nothing else goes on in this process meanwhile."""
        number = 0
        for link in self._client.Links.list(page_size=PAGE_SIZE):
            number += link is not None
        return number
