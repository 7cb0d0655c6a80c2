"""A server that costs next to nothing: it writes bytes that were rendered before the first request.

It answers three things: one link, a page of links by its number, and nothing else. Run as a process of its own, it
prints its port and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

PAGE_SIZE: Final = 1000
LINK_ID: Final = "e4bb1afb-4a4f-4dd6-8be0-e615d233185b"

_PAGE: Final = re.compile(rb"[?&]page=(\d+)")
_NEWEST: Final = datetime(2025, 6, 1, tzinfo=UTC)
_RESOURCES: Final = ("ACCOUNTS", "OWNERS", "TRANSACTIONS")


def link(number: int) -> dict[str, object]:
    """One link as the service writes it, the newest first."""
    created = _NEWEST - timedelta(seconds=7 * number)
    return {
        "id": f"{number:08x}-4a4f-4dd6-8be0-e615d233185b",
        "institution": ("erebor_mx_retail", "heimdall_mx_retail", "gringotts_co_retail")[number % 3],
        "access_mode": "recurrent" if number % 2 else "single",
        "last_accessed_at": f"{created + timedelta(hours=5):%Y-%m-%dT%H:%M:%S.%f}Z",
        "created_at": f"{created:%Y-%m-%dT%H:%M:%S.%f}Z",
        "external_id": f"user-{number}",
        "institution_user_id": f"sooE7XJWEKypZJR603ecaWYk{number:08d}ibLBYZ-V8Yk=",
        "status": "valid",
        "created_by": "bcef7f35-67f2-4b19-b009-cb38795faf09",
        "refresh_rate": "7d" if number % 2 else None,
        "credentials_storage": "store",
        "stale_in": "365d",
        "fetch_resources": list(_RESOURCES),
    }


def render(links: int, url: str) -> list[bytes]:
    """Every page as the bytes of a whole reply."""
    pages = max(1, -(-links // PAGE_SIZE))
    replies: list[bytes] = []
    for page in range(1, pages + 1):
        first = (page - 1) * PAGE_SIZE
        address = f"{url}/api/links/?page={{}}&page_size={PAGE_SIZE}"
        body = {
            "count": links,
            "next": address.format(page + 1) if page < pages else None,
            "previous": address.format(page - 1) if page > 1 else None,
            "results": [link(number) for number in range(first, min(first + PAGE_SIZE, links))],
        }
        replies.append(reply(body))
    return replies


def reply(body: object, status: str = "200 OK") -> bytes:
    """One reply, ready to be written."""
    content = json.dumps(body, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Pages(asyncio.Protocol):
    """One connection: a request line in, prepared bytes out, after a pause where one is asked for."""

    def __init__(self, pages: list[bytes], single: bytes, pause: float) -> None:
        self._pages = pages
        self._single = single
        self._missing = reply([{"code": "not_found", "message": "Invalid page."}], "404 Not Found")
        self._pause = pause
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            if self._pause:
                asyncio.get_running_loop().call_later(self._pause, self._write, self._answer(head))
            else:
                self._write(self._answer(head))

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)

    def _answer(self, head: bytes) -> bytes:
        target = head.split(b" ", 2)[1]
        if b"?" not in target:
            return self._single
        found = _PAGE.search(target)
        number = int(found[1]) if found else 1
        return self._pages[number - 1] if number <= len(self._pages) else self._missing


async def serve(links: int, pause: float) -> None:
    """Serve until the input ends."""
    loop = asyncio.get_running_loop()
    pages: list[bytes] = []
    single = reply(link(1))
    server = await loop.create_server(lambda: Pages(pages, single, pause), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pages += render(links, f"http://127.0.0.1:{port}")
    print(port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


@contextmanager
def running(links: int, pause: float = 0.0) -> Iterator[str]:
    """Serve so many links from a process of its own, and give its address.

    Args:
        links: how many there are.
        pause: seconds before each reply.
    """
    command = [sys.executable, "-m", "benchmarks._page_server", str(links), str(pause)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
