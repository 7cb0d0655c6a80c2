"""Receive Belvo's webhooks: answer at once, work later, once for each event, and read the link before acting.

Belvo delivers at least once, in no order, and waits five seconds for an answer. There is no signature, so an event is
only a hint: the Authorization header keeps strangers out, and what counts is what Belvo says when it is asked.

`python -m examples.webhooks.receiver` shows it with a simulator of Belvo's API that turns a link invalid.
"""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from belvo_links import (
    BelvoLinks,
    BelvoLinksError,
    Credentials,
    Link,
    NotFoundError,
    WebhookMalformedError,
    WebhookUnauthorizedError,
)
from belvo_links.sandbox import Sandbox
from belvo_links.webhooks import MAX_BYTES, WebhookEvent, parse_webhook

Act = Callable[[str, Link | None], Awaitable[None]]
"""What is done about a link: its id, and the link as it is now, or `None` where it is gone."""


class Inbox:
    """The events that have come, in a file that outlives the process. An application of yours has a table for that."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("CREATE TABLE IF NOT EXISTS events (key TEXT PRIMARY KEY, link_id TEXT, done INTEGER)")

    def add(self, event: WebhookEvent) -> bool:
        """Keep an event; return whether it is new: what is delivered twice has the same key."""
        added = self._database.execute(
            "INSERT OR IGNORE INTO events VALUES (?, ?, 0)", (event.dedup_key, event.link_id)
        )
        return added.rowcount == 1

    def waiting(self) -> list[str]:
        """Return the links that events told of and nobody has looked at since."""
        return [row[0] for row in self._database.execute("SELECT DISTINCT link_id FROM events WHERE done = 0")]

    def done(self, link_id: str) -> None:
        self._database.execute("UPDATE events SET done = 1 WHERE link_id = ?", (link_id,))

    def close(self) -> None:
        self._database.close()


class Receiver:
    """Takes events, and works on them in a task of its own.

    Args:
        belvo: reads the links.
        inbox: keeps the events.
        authorization: what the webhooks carry in their Authorization header; several while it is being changed.
        act: called once or more for each link that events told of.
    """

    def __init__(self, belvo: BelvoLinks, inbox: Inbox, *, authorization: list[str], act: Act) -> None:
        self._belvo, self._inbox, self._authorization, self._act = belvo, inbox, authorization, act
        self._news = asyncio.Event()
        self._news.set()  # what the process before has left

    async def receive(self, request: web.Request) -> web.Response:
        try:
            event = parse_webhook(await request.read(), request.headers, authorization=self._authorization)
        except WebhookUnauthorizedError:
            return web.Response(status=401)
        except WebhookMalformedError:
            return web.Response(status=400)
        if self._inbox.add(event):
            self._news.set()
        return web.Response(status=204)

    async def work(self) -> None:
        """Read the links that events told of, and act, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            for link_id in self._inbox.waiting():
                try:
                    found = await self._belvo.get(link_id)
                except NotFoundError:
                    found = None
                except BelvoLinksError as error:
                    print(f"A link could not be read; the next event tries again: {error}", file=sys.stderr)
                    continue
                self._inbox.done(link_id)  # before acting: what is then told anew is looked at anew
                await self._act(link_id, found if isinstance(found, Link) else None)


@asynccontextmanager
async def serving(receiver: Receiver, port: int = 0) -> AsyncIterator[str]:
    """Serve the receiver on this machine, and yield its address."""
    app = web.Application(client_max_size=MAX_BYTES)
    app.router.add_post("/webhooks", receiver.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(receiver.work())
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks"
            working.cancel()
    finally:
        await runner.cleanup()


async def main(folder: Path) -> None:
    """Let a link turn invalid, and print what the receiver makes of it."""
    told = asyncio.Event()

    async def act(link_id: str, link: Link | None) -> None:
        print(f"{link_id} is {link.status if link else 'gone'}")
        if link is not None and link.status == "invalid":
            print("Ask this person to log in again at their next visit.")
            told.set()

    inbox = Inbox(folder / "inbox.db")
    async with (
        Sandbox() as box,
        BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, **box.client_options) as belvo,
        serving(Receiver(belvo, inbox, authorization=["Bearer of-my-own"], act=act)) as url,
    ):
        box.deliver_webhooks_to(url, authorization="Bearer of-my-own", duplicates=1, out_of_order=True)
        await belvo.register("erebor_mx_retail", Credentials("sim_lapse_invalid", "full"))
        box.advance(days=8)
        await box.settle()
        await told.wait()
    inbox.close()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(main(Path(temporary)))
