"""Servers that tests use: those that run on this machine, private ones that a test may pause and kill, and a relay.

A server that is not there skips its tests; with ``BELVO_LINKS_REQUIRE_SERVICES=1`` it fails them. Where the shared ones
are is said by ``BELVO_LINKS_TEST_REDIS`` and ``BELVO_LINKS_TEST_POSTGRES``.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn

import psycopg
import pytest
import redis
from psycopg import sql

REQUIRED: Final = os.environ.get("BELVO_LINKS_REQUIRE_SERVICES") == "1"
REDIS: Final = os.environ.get("BELVO_LINKS_TEST_REDIS", "redis://127.0.0.1:6379/0")
POSTGRES: Final = os.environ.get("BELVO_LINKS_TEST_POSTGRES", "postgresql://127.0.0.1:5432/test")

START_LIMIT: Final = 30.0
"""Seconds after which a private server that does not answer is given up."""


def missing(what: str) -> NoReturn:
    """Skip the test for want of a server, or fail it where servers are required."""
    if REQUIRED:
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


# ------------------------------------------------------------------------------------------------- the shared servers


@functools.cache
def redis_is_there() -> bool:
    """Return whether the Redis that tests share answers."""
    with contextlib.closing(redis.Redis.from_url(REDIS, socket_connect_timeout=2, socket_timeout=2)) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


@functools.cache
def postgres_is_there() -> bool:
    """Return whether the PostgreSQL that tests share answers."""
    try:
        psycopg.connect(POSTGRES, connect_timeout=2).close()
    except psycopg.Error:
        return False
    return True


@pytest.fixture(scope="session")
def redis_url() -> str:
    """Give the URL of the Redis that tests share."""
    if not redis_is_there():
        missing("no Redis answers: start one on port 6379, or set BELVO_LINKS_TEST_REDIS")
    return REDIS


@pytest.fixture
def redis_namespace(redis_url: str) -> Iterator[str]:
    """Give a namespace of this test's own; every key that contains it is removed afterwards."""
    namespace = f"test_{secrets.token_hex(6)}"
    yield namespace
    with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
        for key in client.scan_iter(match=f"*{namespace}*", count=1000):
            client.delete(key)


@pytest.fixture(scope="session")
def postgres_dsn() -> str:
    """Give the DSN of the PostgreSQL that tests share."""
    if not postgres_is_there():
        missing("no PostgreSQL answers: start one with a database `test`, or set BELVO_LINKS_TEST_POSTGRES")
    return POSTGRES


@pytest.fixture
def postgres_table(postgres_dsn: str) -> Iterator[str]:
    """Give the name of a table of this test's own; all tables that begin with it are dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    yield name
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        found = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE starts_with(tablename, %s)", [name]
        )
        for schema, table in found.fetchall():
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(schema, table)))


# ----------------------------------------------------------------------------------------------------------- the relay


class Relay:
    """Stands between a client and a server, and loses replies on demand.

    Attributes:
        port: where clients connect.
        lose: how many of the next replies are lost, and the connection with each.
        lost: how many were.
    """

    def __init__(self) -> None:
        self.port = 0
        self.lose = 0
        self.lost = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Relay]:
        """Relay to a port of this machine."""
        relay = cls()
        pairs: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            pairs.add(task)
            with contextlib.suppress(asyncio.CancelledError, OSError), contextlib.closing(writer):
                await relay._pair(port, reader, writer)
            pairs.discard(task)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        relay.port = server.sockets[0].getsockname()[1]
        try:
            yield relay
        finally:
            server.close()
            for task in pairs:
                task.cancel()
            await asyncio.gather(*pairs)
            await server.wait_closed()

    async def _pair(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(far_writer):
            there = asyncio.create_task(self._carry(reader, far_writer, replies=False))
            back = asyncio.create_task(self._carry(far_reader, writer, replies=True))
            try:
                await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (there, back):
                    task.cancel()
                await asyncio.gather(there, back, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool) -> None:
        while data := await reader.read(65536):
            if replies and self.lose:
                self.lose -= 1
                self.lost += 1
                return
            writer.write(data)
            await writer.drain()


# ------------------------------------------------------------------------------------------------ the private servers


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PrivateServer:
    """A server process of a test's own. All methods block: call them with ``asyncio.to_thread`` where that matters.

    Args:
        command: what to run.
        is_up: returns whether the server answers; may raise what drivers raise.
        folder: where it keeps its data.
        user: whom it runs as; ``None`` for whoever runs the tests.
        stop_with: the signal that makes it end in good order.
    """

    def __init__(
        self,
        command: list[str],
        is_up: Callable[[], object],
        *,
        folder: Path,
        user: str | None = None,
        stop_with: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._command = command
        self._is_up = is_up
        self._folder = folder
        self._user = user
        self._stop_with = stop_with
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, user=self._user, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        ends = time.monotonic() + START_LIMIT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                pytest.fail(f"{self._command[0]} does not start:\n{(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            self._is_up()
        except (psycopg.Error, redis.RedisError):
            return False
        return True

    def pause(self) -> None:
        """Stop all of its processes where they are: connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let all of its processes go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL all of its processes and wait until they are gone."""
        family = self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None
        ends = time.monotonic() + START_LIMIT
        while any(map(_is_alive, family)) and time.monotonic() < ends:
            time.sleep(0.005)

    def stop(self) -> None:
        """End it in good order; one that is paused goes on to do so, and one that cannot is killed."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(self._stop_with)
        try:
            self._process.wait(timeout=START_LIMIT)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def restart(self) -> None:
        """Start it again on the same address and data, after killing it where it still runs."""
        self.kill()
        self.start()

    def _signal(self, number: signal.Signals) -> list[int]:
        if self._process is None:
            return []
        family = [self._process.pid, *_children(self._process.pid)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return family


def _children(parent: int) -> list[int]:
    # PostgreSQL's processes are no process group: each leads one of its own.
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _stat(entry)[1] == parent]


def _is_alive(pid: int) -> bool:
    return _stat(Path("/proc") / str(pid))[0] not in "ZX"


def _stat(entry: Path) -> tuple[str, int]:
    """Return the state and the parent of a process; that of one that is gone is X."""
    try:
        state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "X", 0
    return state, int(parent)


class PrivateRedis(PrivateServer):
    """A redis-server of a test's own.

    Attributes:
        url: where it is.
        port: the same.
    """

    def __init__(self, program: str, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        where = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder), "--save", "")
        super().__init__([program, *where, *options], self._ping, folder=folder)

    def _ping(self) -> None:
        with contextlib.closing(redis.Redis.from_url(self.url, socket_timeout=1)) as client:
            client.ping()


class PrivatePostgres(PrivateServer):
    """A PostgreSQL of a test's own, with a database ``test`` and a superuser ``test`` without a password.

    Attributes:
        dsn: where it is.
        port: the same.
    """

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self.port = free_port()
        self.dsn = f"postgresql://test@127.0.0.1:{self.port}/test"
        settings = (f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=40")
        command = [str(binaries / "postgres"), "-D", str(folder), *(part for one in settings for part in ("-c", one))]
        super().__init__(command, self._connect, folder=folder, user=user, stop_with=signal.SIGQUIT)

    def _connect(self) -> None:
        psycopg.connect(self.dsn, connect_timeout=2).close()


def _temporary_folder(user: str | None) -> Path:
    """Make a folder that another user can reach, which pytest's own are not, and give it to them."""
    reachable = [Path(base) for base in (tempfile.gettempdir(), "/tmp", "/var/tmp") if _is_reachable(Path(base))]
    folder = Path(tempfile.mkdtemp(prefix="belvo-links-test-", dir=reachable[0] if reachable and user else None))
    if user is not None:
        shutil.chown(folder, user)
    return folder


def _is_reachable(folder: Path) -> bool:
    return all(one.stat().st_mode & 0o001 for one in (folder, *folder.parents))


@contextlib.contextmanager
def redis_servers() -> Iterator[Callable[..., PrivateRedis]]:
    """Give a function that starts a private Redis with options, such as ``"--save", ""``; at the end all are killed."""
    program = shutil.which("redis-server")
    if program is None or sys.platform != "linux":
        missing("no redis-server to start a private one with")
    with contextlib.ExitStack() as stack:

        def make(*options: str) -> PrivateRedis:
            folder = _temporary_folder(None)
            stack.callback(shutil.rmtree, folder)
            server = PrivateRedis(program, folder, *options)
            stack.callback(server.kill)
            server.start()
            return server

        yield make


@pytest.fixture
def make_private_redis() -> Iterator[Callable[..., PrivateRedis]]:
    """Give the function of :func:`redis_servers`."""
    with redis_servers() as make:
        yield make


@pytest.fixture
def private_redis(make_private_redis: Callable[..., PrivateRedis]) -> PrivateRedis:
    """Give a private Redis that loses no acknowledged write, not even when it is killed."""
    return make_private_redis("--appendonly", "yes", "--appendfsync", "always")


def _postgres_binaries() -> Path:
    """Return the folder of PostgreSQL's programs, the newest where there are several."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = [Path(found).resolve().parent] if (found := shutil.which("postgres")) else []
    for folder in (*reversed(versions), *on_path):
        if (folder / "initdb").exists() and sys.platform == "linux":
            return folder
    missing("no PostgreSQL programs to start a private server with")


def _postgres_user() -> str | None:
    """Return whom to run PostgreSQL as: it refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[tuple[Path, Path]]:
    """Give the programs and a fresh data folder to copy, which is much faster than making each anew."""
    binaries, user = _postgres_binaries(), _postgres_user()
    folder = _temporary_folder(user)
    initdb = ("initdb", "-D", ".", "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    single = ("postgres", "--single", "-D", ".", "postgres")
    try:
        for (program, *options), entered in ((initdb, None), (single, b"CREATE DATABASE test;\n")):
            command = [str(binaries / program), *options]
            done = subprocess.run(command, cwd=folder, user=user, input=entered, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr.decode()
        yield binaries, folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def postgres_server(template: tuple[Path, Path]) -> Iterator[PrivatePostgres]:
    """Give a private PostgreSQL with its usual, durable settings; at the end it is killed."""
    binaries, data = template
    user = _postgres_user()
    folder = _temporary_folder(user)
    server = PrivatePostgres(binaries, folder, user)
    try:
        subprocess.run(["cp", "-a", f"{data}/.", str(folder)], check=True)
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


@pytest.fixture
def private_postgres(postgres_template: tuple[Path, Path]) -> Iterator[PrivatePostgres]:
    """Give what :func:`postgres_server` gives, for one test."""
    with postgres_server(postgres_template) as server:
        yield server
