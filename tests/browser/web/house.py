"""The example in two processes behind one port, with a simulator, and everything that passes through."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from attrs import define, field

from belvo_links.sandbox import Sandbox, Switches

ROOT: Final = Path(__file__).parents[3]
AUTHORIZATION: Final = "Bearer canary-of-webhooks"
PATIENCE: Final = 20.0
"""Seconds after which something that should have happened has not."""


@define(eq=False)
class Process:
    """One of the processes that serve the application."""

    port: int
    log: Path
    running: asyncio.subprocess.Process

    @classmethod
    async def start(cls, log: Path, variables: dict[str, str]) -> Process:
        """Start one on a free port, and wait until it listens."""
        with log.open("ab") as file:
            running = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "uvicorn", "--factory", "tests.browser.web.factory:create_app"),
                *("--port", "0", "--log-level", "debug", "--timeout-graceful-shutdown", "5"),
                cwd=ROOT,
                env=os.environ | variables,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        try:
            async with asyncio.timeout(PATIENCE):
                while not (found := re.search(r"Uvicorn running on http://127\.0\.0\.1:(\d+)", log.read_text("utf-8"))):
                    assert running.returncode is None, log.read_text("utf-8")
                    await asyncio.sleep(0.05)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                running.kill()
            await running.wait()
            raise
        return cls(port=int(found[1]), log=log, running=running)

    async def kill(self) -> None:
        """End it as a crash would."""
        if self.running.returncode is None:
            self.running.kill()
        await self.running.wait()

    async def stop(self) -> None:
        """End it as a deployment would."""
        if self.running.returncode is None:
            self.running.terminate()
            async with asyncio.timeout(PATIENCE):
                await self.running.wait()


@define(eq=False)
class Front:
    """The one port: it hands each request to the process that a test has chosen, and remembers what passes."""

    to: Process
    port: int = 0
    asked: list[str] = field(factory=list[str])
    """The heads of all requests: addresses and headers, cookies among them."""
    answered: bytearray = field(factory=bytearray)
    """All that the processes have answered."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Front]:
        connections: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task
            connections.add(task)
            try:
                await self._hand_on(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass  # somebody has gone: the other one notices
            finally:
                connections.discard(task)
                writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in connections:
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Choose only when there is a request: browsers open connections in advance. One request each."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.asked.append(head)
        behind, ahead = await asyncio.open_connection("127.0.0.1", self.to.port)
        ahead.write(re.sub(r"(?i)\r\nconnection: [^\r]*", "\r\nConnection: close", head).encode("latin-1"))

        async def up() -> None:
            while data := await reader.read(65536):
                ahead.write(data)

        uploading = asyncio.create_task(up())
        try:
            while data := await behind.read(65536):
                self.answered += data
                writer.write(data)
        finally:
            uploading.cancel()
            ahead.close()
            await asyncio.gather(uploading, return_exceptions=True)

    def count(self, request: str) -> int:
        """How many requests came, such as ``POST /connect``."""
        return sum(head.startswith(request) for head in self.asked)


@define(eq=False)
class House:
    """The simulator, the processes, and the port in front of them."""

    box: Sandbox
    front: Front
    processes: list[Process]
    folder: Path
    variables: dict[str, str]
    _last: int = 9

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[House]:
        """Start all of it."""
        async with Sandbox(seed=7, switches=Switches(confirm_after=None, work_seconds=0.2)) as box:
            variables = {
                **box.env,
                "APP_SECRET": "canary-of-cookies",
                "APP_PENDING": str(folder / "pending.db"),
                "APP_DATABASE": str(folder / "accounts.db"),
                "APP_WEBHOOK_AUTHORIZATION": AUTHORIZATION,
            }
            async with AsyncExitStack() as stack:
                processes = []
                for number in (1, 2):
                    process = await Process.start(folder / f"process-{number}.log", variables)
                    stack.push_async_callback(process.stop)
                    processes.append(process)
                front = await stack.enter_async_context(Front(to=processes[0]).open())
                house = cls(box=box, front=front, processes=processes, folder=folder, variables=variables)
                box.deliver_webhooks_to(f"{house.url}/webhooks", authorization=AUTHORIZATION)
                try:
                    yield house
                finally:  # those of the beginning may have been replaced
                    for process in house.processes:
                        await process.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.front.port}"

    def serve_from(self, number: int) -> None:
        """Let the first or the second process answer from now on."""
        self.front.to = self.processes[number - 1]

    def number(self) -> int:
        """A number that nothing else has."""
        self._last += 1
        return self._last

    async def mend(self) -> None:
        """Start what has been killed anew, and serve from the first one."""
        for place, process in enumerate(self.processes):
            if process.running.returncode is not None:
                log = self.folder / f"process-{self.number()}.log"
                self.processes[place] = await Process.start(log, self.variables)
        self.serve_from(1)

    async def until(self, what: str, times: int = 1) -> None:
        """Wait until the simulator has got so many requests of a method, such as ``PATCH``."""
        async with asyncio.timeout(PATIENCE):
            while self.box.count(what) < times:  # noqa: ASYNC110  # the simulator has no event for it
                await asyncio.sleep(0.01)

    async def until_webhooks_are_done(self, link_id: str) -> None:
        """Wait until all that Belvo has told about a link has been worked on."""
        query = "SELECT count(*), count(due) FROM webhooks WHERE link_id = ?"
        async with asyncio.timeout(PATIENCE):
            with contextlib.closing(sqlite3.connect(self.folder / "accounts.db", timeout=PATIENCE)) as database:
                while True:
                    await self.box.settle()
                    told, left = database.execute(query, (link_id,)).fetchone()
                    if told and not left:
                        return
                    await asyncio.sleep(0.05)

    def check(self) -> None:
        """Nothing was sent twice, and no secret stands where it must not."""
        assert self.box.duplicate_submissions == []
        if self.box.tokens:
            self.box.assert_token_sent_once()
        kept: dict[str, bytes] = {}
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # a journal of a transaction that has just ended
                kept[path.name] = path.read_bytes()
        assert {"accounts.db", "process-1.log"} <= set(kept)
        everything = {**kept, "the replies": bytes(self.front.answered), "the addresses": self._addresses()}
        assert [name for name, content in everything.items() if b"canary" in content] == []
        assert b"Traceback" not in b"".join(content for name, content in kept.items() if name.endswith(".log"))

    def _addresses(self) -> bytes:
        """The heads of requests but for those of the webhooks, which bring their authorization."""
        return "".join(head for head in self.front.asked if not head.startswith("POST /webhooks ")).encode()

    def tidy(self) -> None:
        """Forget the world of the last test."""
        self.box.clear_faults()
        for link in self.box.links:
            self.box.remove_link(str(link["id"]))
        self.box.requests.clear()
        self.box.tokens.clear()
        self.box.webhooks.clear()
        self.front.asked.clear()
        self.front.answered.clear()


def children(pid: int) -> list[int]:
    """The processes that a process has started, and those have."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split():
            found += [int(child), *children(int(child))]
    return found
