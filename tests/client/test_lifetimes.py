"""Opening, closing, forgetting: sessions, stores and event loops."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from datetime import datetime

import aiohttp
import pytest

from belvo_links import (
    BelvoLinks,
    ClientClosedError,
    Link,
    LoopMismatchError,
    MemoryStore,
    PendingRecord,
    PendingState,
    StoreError,
)
from belvo_links.sandbox import Sandbox
from belvo_links.stores import StoredRecord
from tests.client.making import BANK, EVERY_COROUTINE, GOOD, Call, client, pending


class WatchedStore:
    """A store that counts how often it is opened and closed."""

    def __init__(self) -> None:
        self.inner = MemoryStore()
        self.is_open = False
        self.opened = 0
        self.closed = 0

    def open(self) -> None:
        if not self.is_open:
            self.is_open = True
            self.opened += 1

    async def insert(self, record: PendingRecord) -> bool:
        self.open()
        return await self.inner.insert(record)

    async def load(self, pending_id: str) -> StoredRecord | None:
        self.open()
        return await self.inner.load(pending_id)

    async def swap(self, old: PendingRecord, new: PendingRecord, *, lease: float | None = None) -> bool:
        self.open()
        return await self.inner.swap(old, new, lease=lease)

    async def iterate(self, state: PendingState | None = None) -> AsyncIterator[PendingRecord]:
        self.open()
        async for record in self.inner.iterate(state):
            yield record

    async def purge(self, before: datetime) -> int:
        self.open()
        return await self.inner.purge(before)

    async def aclose(self) -> None:
        self.is_open = False
        self.closed += 1


async def test_closing_twice_is_closing_once(box: Sandbox) -> None:
    """Also by hand after `async with`."""
    async with client(box) as belvo:
        await belvo.count()
        await belvo.aclose()
    await belvo.aclose()


@pytest.mark.parametrize("call", EVERY_COROUTINE.values(), ids=EVERY_COROUTINE)
async def test_a_closed_client_says_so(box: Sandbox, call: Call) -> None:
    """Every coroutine, before anything is sent or stored; also where the client was never used."""
    belvo = client(box)
    await belvo.aclose()
    with pytest.raises(ClientClosedError):
        await call(belvo)
    assert box.requests == []


async def test_a_closed_client_cannot_be_entered(box: Sandbox) -> None:
    """It would look usable."""
    belvo = client(box)
    await belvo.aclose()
    with pytest.raises(ClientClosedError):
        async with belvo:
            pass


async def test_handles_of_a_closed_client_say_so(box: Sandbox) -> None:
    """They are its handles; another client of the same store has its own."""
    store = WatchedStore()
    async with client(box, store=store) as belvo:
        waiting = await pending(belvo)
        confirming = await pending(belvo, "sim_mfa_inputless")
    box.requests.clear()
    for call in (
        waiting.complete("111111"),
        confirming.wait(),
        waiting.reconcile(),
        waiting.cancel(),
        waiting.cancel(delete_link=True),
    ):
        with pytest.raises(ClientClosedError):
            await call
    assert box.requests == []
    assert not store.is_open


async def test_closing_during_a_call_ends_it(box: Sandbox) -> None:
    """An iteration that goes on, for one."""
    box.add_links(30)
    async with client(box) as belvo:
        links = belvo.iterate(page_size=10, concurrency=1)
        await anext(links)
        await belvo.aclose()
        with pytest.raises(ClientClosedError):
            async for _ in links:
                pass


async def test_every_coroutine_refuses_a_second_event_loop(box: Sandbox) -> None:
    """At once, instead of hanging in a connection that belongs to the first; and nothing is sent."""
    async with client(box) as belvo:
        await belvo.count()
        box.requests.clear()

        async def elsewhere() -> list[object]:
            return [await asyncio.gather(call(belvo), return_exceptions=True) for call in EVERY_COROUTINE.values()]

        results = await asyncio.to_thread(asyncio.run, elsewhere())
    for name, result in zip(EVERY_COROUTINE, results, strict=True):
        assert isinstance(result, list)
        assert isinstance(result[0], LoopMismatchError), name
    assert box.requests == []


async def test_a_handle_refuses_a_second_event_loop(box: Sandbox) -> None:
    """Before it claims anything; and what it is about can still be completed in the first one."""
    async with client(box) as belvo:
        waiting = await pending(belvo)
        confirming = await pending(belvo, "sim_mfa_inputless")

        async def elsewhere() -> None:
            for call in (waiting.complete("111111"), waiting.reconcile(), waiting.cancel(), confirming.wait()):
                with pytest.raises(LoopMismatchError):
                    await call

        await asyncio.to_thread(asyncio.run, elsewhere())
        assert box.tokens == []
        assert (await belvo.pending(waiting.id)).record.revision == 0
        assert isinstance(await waiting.complete("111111"), Link)


async def test_a_client_is_closed_from_any_event_loop(box: Sandbox) -> None:
    """From another one while its own runs, and after its own is gone."""
    belvo = client(box)
    await belvo.count()
    await asyncio.to_thread(asyncio.run, belvo.aclose())
    with pytest.raises(ClientClosedError):
        await belvo.count()

    async def used() -> BelvoLinks:
        other = client(box)
        await other.count()
        return other

    left = await asyncio.to_thread(asyncio.run, used())
    await left.aclose()
    await left.aclose()


async def test_a_client_that_is_forgotten_open_warns(box: Sandbox) -> None:
    """A `ResourceWarning`, and its connections are closed all the same."""
    belvo = client(box)
    await belvo.count()
    with pytest.warns(ResourceWarning, match="BelvoLinks client was not closed"):
        del belvo
    for _ in range(5):
        await asyncio.sleep(0)  # the loop closes the session


async def test_a_client_that_was_closed_or_never_used_does_not_warn(box: Sandbox) -> None:
    """There is nothing to close."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client(box)
        async with client(box) as belvo:
            await belvo.count()
        del belvo
        gc.collect()


async def test_a_borrowed_session_is_used_and_left_open(box: Sandbox) -> None:
    """Its tracing sees our requests; and the client of a closed one says so."""
    seen: list[str] = []

    async def started(session: object, context: object, parameters: aiohttp.TraceRequestStartParams) -> None:
        seen.append(parameters.url.path)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(started)
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:
        async with client(box, http_session=session) as belvo:
            await belvo.count()
        assert not session.closed
        again = client(box, http_session=session)
        await again.count()
    assert seen == ["/api/links/"] * 2
    with pytest.raises(ClientClosedError):
        await again.count()
    await again.aclose()


async def test_a_store_is_closed_with_the_last_client_that_shares_it(box: Sandbox) -> None:
    """Not with the first, which would cut the others off; and a client that never used it leaves it alone."""
    store = WatchedStore()
    first, second, idle = (client(box, store=store) for _ in range(3))
    waiting = await pending(first)
    assert (await second.pending(waiting.id)).id == waiting.id
    await idle.aclose()
    await first.aclose()
    assert (store.is_open, store.closed) == (True, 0)
    await second.aclose()
    await second.aclose()
    assert (store.is_open, store.closed) == (False, 1)


async def test_a_store_reopens_when_it_is_used_again(box: Sandbox) -> None:
    """With a later client, which closes it again."""
    store = WatchedStore()
    async with client(box, store=store) as first:
        waiting = await pending(first)
    async with client(box, store=store) as second:
        assert isinstance(await second.complete(waiting.id, "111111"), Link)
    assert (store.opened, store.closed, store.is_open) == (2, 2, False)


async def test_a_memory_store_keeps_its_records(box: Sandbox) -> None:
    """Over the lives of its clients."""
    store = MemoryStore()
    async with client(box, store=store) as first:
        waiting = await pending(first)
    async with client(box, store=store) as second:
        assert [one.id async for one in second.iterate_pending("awaiting")] == [waiting.id]
        assert isinstance(await second.complete(waiting.id, "111111"), Link)
        assert [one.id async for one in second.iterate_pending("awaiting")] == []


async def test_the_session_is_closed_even_if_the_store_fails_to_close(box: Sandbox) -> None:
    """And what the store raised does not leave as it came."""

    class StuckStore(WatchedStore):
        async def aclose(self) -> None:
            raise OSError

    belvo = client(box, store=StuckStore())
    await pending(belvo)
    with pytest.raises(StoreError):
        await belvo.aclose()
    with pytest.raises(ClientClosedError):
        await belvo.register(BANK, GOOD)
