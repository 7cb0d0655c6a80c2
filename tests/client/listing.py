"""A server that lists links as a test tells it to, and counts how many requests are under way."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from belvo_links import BelvoLinks
from tests.client.making import AT_ONCE
from tests.http.rude import Peer, rude

NEWEST = datetime(2025, 6, 1, tzinfo=UTC)
Answer = Callable[[int, int], Any]
"""The JSON of a page by its number and size; an int for an error of that status."""


def a_link(number: int) -> dict[str, Any]:
    """The nth newest link; below 0, one that is created later."""
    return {
        "id": f"{abs(number):08x}-4a4f-4dd6-8be0-{'e' if number < 0 else 'a'}615d233185b",
        "institution": "erebor_mx_retail",
        "status": "valid",
        "created_at": f"{NEWEST - timedelta(minutes=number):%Y-%m-%dT%H:%M:%SZ}",
    }


def a_page(links: list[dict[str, Any]], page: int, size: int, *, address: str = "/api/links/") -> Any:
    """A page as the service cuts it; 404 past the end."""
    if page > 1 and (page - 1) * size >= len(links):
        return 404
    return {
        "count": len(links),
        "next": f"{address}?page={page + 1}" if page * size < len(links) else None,
        "previous": None,
        "results": links[(page - 1) * size : page * size],
    }


class Lister:
    """What the server is asked for, and how much of it at once.

    Attributes:
        asked: the numbers of the pages, in the order in which they were asked for.
        hold: if set, replies wait for it.
        most: the most requests that were ever under way.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[int] = []
        self.hold: asyncio.Event | None = None
        self.came = asyncio.Event()
        self.now = 0
        self.most = 0
        self.url = ""

    async def behave(self, peer: Peer) -> None:
        """Serve one connection."""
        while True:
            request = await peer.request()
            query = parse_qs(urlsplit(request.path).query)
            page = int(query["page"][0])
            self.asked.append(page)
            self.now += 1
            self.most = max(self.most, self.now)
            self.came.set()
            if self.hold is not None:
                await self.hold.wait()
            answer = self.answer(page, int(query["page_size"][0]))
            self.now -= 1
            await peer.send(_reply(answer))

    async def until(self, number: int) -> None:
        """Wait until so many requests have come in all."""
        while len(self.asked) < number:
            self.came.clear()
            await self.came.wait()


def _reply(answer: Any) -> bytes:
    status, body = (
        (answer, [{"code": "an_error", "message": "An error."}]) if isinstance(answer, int) else (200, answer)
    )
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def our_tasks() -> set[asyncio.Task[Any]]:
    """The tasks that the client has made and that are not done; those of the test and of servers are others'."""
    return {task for task in asyncio.all_tasks() if "belvo_links.client" in _module_of(task)}


def _module_of(task: asyncio.Task[Any]) -> str:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return "" if frame is None else str(frame.f_globals["__name__"])


@asynccontextmanager
async def listing(answer: Answer) -> AsyncIterator[tuple[Lister, BelvoLinks]]:
    """Serve, and give a client."""
    lister = Lister(answer)
    async with rude(lister.behave) as server:
        lister.url = server.url
        async with BelvoLinks("an-id", "a-password", base_url=server.url, retry=AT_ONCE, rate_limit=None) as belvo:
            yield lister, belvo
