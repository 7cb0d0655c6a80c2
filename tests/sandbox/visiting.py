"""Somebody who looks at a simulator's page, without a browser."""

import json
import re
from collections.abc import Mapping
from html import unescape
from typing import Any
from urllib.parse import urlencode

import aiohttp
from attrs import frozen

from belvo_links.sandbox import Sandbox

KEY = "a-control-key-of-tests"


@frozen
class Seen:
    """A reply as it came, redirects not followed."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def words(self) -> str:
        """What a page says, without its tags."""
        return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", self.text)))

    @property
    def form_token(self) -> str:
        found = re.search(r'name="form_token" value="([0-9a-f]+)"', self.text)
        assert found
        return found[1]


class Visitor:
    """Knocks with or without a key; remembers the cookie that it was given."""

    def __init__(self, box: Sandbox, http: aiohttp.ClientSession) -> None:
        self.box = box
        self.http = http
        self.cookie = ""

    async def __call__(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Seen:
        sent = {"Cookie": self.cookie} if self.cookie else {}
        sent.update(headers or {})
        url = self.box.url + path
        async with self.http.request(method, url, data=body, headers=sent, allow_redirects=False) as reply:
            return Seen(reply.status, reply.headers, await reply.text())

    async def enter(self) -> Seen:
        """Open the printed address."""
        reply = await self("GET", self.box.page_url.removeprefix(self.box.url))
        self.cookie = reply.headers["Set-Cookie"].partition(";")[0]
        return reply

    async def page(self) -> Seen:
        """The page, for who has entered."""
        reply = await self("GET", "/")
        assert reply.status == 200, reply.text
        return reply

    async def send(
        self, path: str, headers: Mapping[str, str] | None = None, token: str | None = None, **fields: str
    ) -> Seen:
        """Send a form, with the page's own token unless another one is given."""
        fields["form_token"] = (await self.page()).form_token if token is None else token
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self("POST", path, urlencode(fields).encode(), {**kind, **(headers or {})})

    async def tell(self, path: str, fields: object = None, key: str = KEY) -> Seen:
        """Steer as a program: JSON and the key in a header."""
        body = None if fields is None else json.dumps(fields).encode()
        return await self("POST", path, body, {"Authorization": f"Bearer {key}"})

    async def read(self, path: str, key: str = KEY) -> Any:
        """Look as a program."""
        reply = await self("GET", path, headers={"Authorization": f"Bearer {key}"})
        assert reply.status == 200, reply.text
        return reply.json
