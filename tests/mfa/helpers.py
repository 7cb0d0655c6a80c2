"""What the tests of pending sessions share: stores that misbehave, a limiter that counts, and logins to begin."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar

from belvo_links import BelvoLinks, Credentials, Link, PendingSession
from belvo_links.client.settings import Waiting
from belvo_links.protocol.mfa import PendingRecord, PendingState
from belvo_links.sandbox import Sandbox
from belvo_links.stores import MemoryStore, PendingStore, StoredRecord
from belvo_links.transport.messages import Lane
from belvo_links.transport.retry import RetryPolicy

T = TypeVar("T")
Work: TypeAlias = Callable[[], Awaitable[T]]

LINKS = "/api/links/"
LINK = "/api/links/{id}/"
GOOD = "111111"
WRONG = "999999"
NOWHERE = "heimdall_mx_retail"
SOME_LINK = "e4bb1afb-4a4f-4dd6-8be0-e615d233185b"
NUMERIC = Credentials("mfa_numeric", "numeric_code")
DOWN = OSError("postgres://user:hunter2@host is down")
FAST = Waiting(0.01, 0.03)

Begun = Literal["register", "update", "patch", "get", "delete", "refresh"]


def client(box: Sandbox, **options: Any) -> BelvoLinks:
    """Return a client of the simulator with short waits, one attempt per call and no limiter, unless told otherwise."""
    given = {**box.client_options, "waiting": FAST, "retry": None, "rate_limit": None, **options}
    return BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, **given)


def completes(box: Sandbox) -> int:
    """Return how many Complete requests the simulator has received."""
    return box.count("PATCH", LINKS)


async def arrived(box: Sandbox, number: int = 1) -> None:
    """Wait until so many Complete requests have come."""
    while completes(box) < number:  # noqa: ASYNC110  # a request that comes in is no event of ours
        await asyncio.sleep(0)


def looks(box: Sandbox) -> int:
    """Return how many times a single link was read."""
    return box.count("GET", LINK)


def pending(outcome: Link | PendingSession) -> PendingSession:
    """Return the outcome, which must be a pending session."""
    assert isinstance(outcome, PendingSession)
    return outcome


def link(outcome: Link | PendingSession) -> Link:
    """Return the outcome, which must be a link."""
    assert isinstance(outcome, Link)
    return outcome


async def register(belvo: BelvoLinks, username: str = "mfa_numeric", **options: Any) -> PendingSession:
    """Begin a registration that meets a challenge."""
    passwords = {"mfa_numeric": "numeric_code", "mfa_qr": "qr_code", "mfa_default": "pass_valid"}
    credentials = Credentials(username, passwords.get(username, "any"))
    return pending(await belvo.register(NOWHERE, credentials, **{"access_mode": "single", **options}))


async def plain_link(belvo: BelvoLinks, username: str = "sim_mfa_update", **options: Any) -> Link:
    """Register a link whose later calls meet a challenge."""
    credentials = Credentials(username, "any")
    return link(await belvo.register(NOWHERE, credentials, **{"access_mode": "single", **options}))


async def begin(belvo: BelvoLinks, operation: Begun, **options: Any) -> PendingSession:
    """Begin a login of this operation that meets a challenge for a text."""
    if operation == "register":
        return await register(belvo, "sim_mfa_text", **options)
    made = await plain_link(belvo)
    if operation == "update":
        return pending(await belvo.update(made.id, Credentials(password="new"), **options))
    assert operation == "patch"
    return pending(await belvo.patch(made.id, access_mode="recurrent", **options))


async def stored(store: PendingStore, pending_id: str) -> PendingRecord:
    """Return the record that the store has."""
    found = await store.load(pending_id)
    assert found is not None
    return found.record


class Wrapped:
    """A store around a memory store; what tests derive from."""

    def __init__(self, inner: PendingStore | None = None) -> None:
        self.inner: PendingStore = MemoryStore() if inner is None else inner

    async def around(self, name: str, work: Work[T]) -> T:
        """Do the work; overridden to misbehave."""
        return await work()

    async def insert(self, record: PendingRecord) -> bool:
        return await self.around("insert", lambda: self.inner.insert(record))

    async def load(self, pending_id: str) -> StoredRecord | None:
        return await self.around("load", lambda: self.inner.load(pending_id))

    async def swap(self, old: PendingRecord, new: PendingRecord, *, lease: float | None = None) -> bool:
        name = "settle" if lease is None else "claim"
        return await self.around(name, lambda: self.inner.swap(old, new, lease=lease))

    async def iterate(self, state: PendingState | None = None) -> AsyncIterator[PendingRecord]:
        async for record in self.inner.iterate(state):
            yield record

    async def purge(self, before: datetime) -> int:
        return await self.inner.purge(before)

    async def aclose(self) -> None:
        await self.inner.aclose()


class Recording(Wrapped):
    """Notes what it is asked, into a list that others may write to as well."""

    def __init__(self, notes: list[str], inner: PendingStore | None = None) -> None:
        super().__init__(inner)
        self.notes = notes

    async def around(self, name: str, work: Work[T]) -> T:
        self.notes.append(name)
        return await work()


class Slow(Wrapped):
    """Suspends before and after every piece of work, as a store over a network does."""

    async def around(self, name: str, work: Work[T]) -> T:
        await asyncio.sleep(0)
        result = await work()
        await asyncio.sleep(0)
        return result


class Leased(Wrapped):
    """Its clock can be moved on, and something may happen just before a record is settled."""

    def __init__(self, inner: PendingStore | None = None) -> None:
        super().__init__(inner)
        self.elapsed = 0.0
        self.on_settle: Callable[[], Awaitable[None]] | None = None

    async def around(self, name: str, work: Work[T]) -> T:
        hook = self.on_settle
        if name == "settle" and hook is not None:
            self.on_settle = None
            await hook()
        return await work()

    async def load(self, pending_id: str) -> StoredRecord | None:
        found = await self.inner.load(pending_id)
        if found is None or found.lease_left is None:
            return found
        return StoredRecord(record=found.record, lease_left=found.lease_left - self.elapsed)


class Failing(Wrapped):
    """Fails as it is told to: at some operations, before or after they have taken effect."""

    def __init__(self, inner: PendingStore | None = None) -> None:
        super().__init__(inner)
        self.fails: Callable[[str, int], bool] = lambda name, number: False
        self.after = False
        self.error: Exception | None = DOWN
        self.asked = 0

    def fail(self, fails: Callable[[str, int], bool], *, after: bool = False, error: Exception | None = DOWN) -> None:
        """From now on fail where ``fails(name, number)``; with no error, hang. Numbers begin at 1."""
        self.fails, self.after, self.error, self.asked = fails, after, error, 0

    def recover(self) -> None:
        self.fail(lambda name, number: False)

    async def around(self, name: str, work: Work[T]) -> T:
        self.asked += 1
        failing = self.fails(name, self.asked)
        if failing and not self.after:
            await self._break()
        result = await work()
        if failing:
            await self._break()
        return result

    async def _break(self) -> None:
        if self.error is None:
            await asyncio.Event().wait()
        else:
            raise self.error


class Counting:
    """A limiter that lets everybody in, after a hook, and counts the slots."""

    def __init__(self, notes: list[str] | None = None) -> None:
        self.slots = 0
        self.notes = notes if notes is not None else []
        self.hook: Callable[[], Awaitable[None]] | None = None

    async def acquire(self, lane: Lane) -> None:
        if self.hook is not None:
            await self.hook()
        self.slots += 1
        self.notes.append(f"slot {lane.name}")


async def settle_loop() -> None:
    """Let everything that can run without waiting run."""
    for _ in range(20):
        await asyncio.sleep(0)


EAGER = RetryPolicy(attempts=3, base=0.0)
