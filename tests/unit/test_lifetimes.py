"""What a driver has opened belongs to one event loop, and nobody waits for it for ever."""

import asyncio
import gc
from collections.abc import AsyncGenerator

import pytest

from belvo_links.drivers import lifetimes as driver
from belvo_links.drivers.lifetimes import Connections, NoConnectionError, PerLoop, bounded


class Pool:
    """Stands for a pool of connections.

    Attributes:
        opened: how many there were, ever.
        open: how many are open.
        fails: whether opening fails.
    """

    def __init__(self) -> None:
        self.opened = 0
        self.open = 0
        self.fails = False

    async def keep(self) -> AsyncGenerator[int]:
        await asyncio.sleep(0)
        if self.fails:
            raise OSError
        self.opened += 1
        self.open += 1
        try:
            yield self.opened
        finally:
            await asyncio.sleep(0)
            self.open -= 1


async def test_it_is_opened_once_by_however_many() -> None:
    pool = Pool()
    kept = PerLoop(pool.keep)
    assert pool.opened == 0
    assert await asyncio.gather(*(kept.get() for _ in range(10))) == [1] * 10
    assert pool.open == 1
    await kept.aclose()
    assert pool.open == 0


async def test_what_was_closed_is_opened_again() -> None:
    """Closing may be done twice, and before anything was opened."""
    pool = Pool()
    kept = PerLoop(pool.keep)
    await kept.aclose()
    assert await kept.get() == 1
    await kept.aclose()
    await kept.aclose()
    assert await kept.get() == 2
    await kept.aclose()
    assert pool.open == 0


async def test_opening_that_failed_is_tried_again() -> None:
    pool = Pool()
    kept = PerLoop(pool.keep)
    pool.fails = True
    with pytest.raises(OSError):
        await kept.get()
    pool.fails = False
    assert await kept.get() == 1
    await kept.aclose()


def test_each_event_loop_has_its_own_and_takes_it_along() -> None:
    """Whether it closed it or not."""
    pool = Pool()
    kept = PerLoop(pool.keep)
    with asyncio.Runner() as first:
        assert first.run(kept.get()) == 1
        with asyncio.Runner() as second:
            assert second.run(kept.get()) == 2
            assert pool.open == 2
        assert pool.open == 1
        assert first.run(kept.get()) == 1
    assert pool.open == 0
    assert asyncio.run(kept.get()) == 3
    assert pool.open == 0
    gc.collect()


def test_what_belonged_to_a_loop_that_was_just_closed_is_forgotten() -> None:
    """Without being shut down; nothing can be closed there any more, but the next loop is served."""
    pool = Pool()
    kept = PerLoop(pool.keep)
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(kept.get()) == 1
    loop.close()
    assert asyncio.run(kept.get()) == 2
    assert len(kept._homes) == 1


class Line:
    """Stands for a connection."""

    def __init__(self) -> None:
        self.closed = False
        self.usable = True

    async def close(self) -> None:
        self.closed = True


class Exchange:
    """Opens lines.

    Attributes:
        made: all of them.
        fails: whether the next one fails.
    """

    def __init__(self) -> None:
        self.made: list[Line] = []
        self.fails = False

    async def connect(self) -> Line:
        await asyncio.sleep(0)
        if self.fails:
            raise OSError
        self.made.append(Line())
        return self.made[-1]


def connections_of(exchange: Exchange, **options: float) -> Connections[Line]:
    return Connections(exchange.connect, is_usable=lambda line: line.usable, size=2, **{"wait": 0.01} | options)


async def test_connections_are_used_again_and_are_no_more_than_allowed() -> None:
    exchange = Exchange()
    connections = connections_of(exchange)
    async with connections.connection() as first:
        pass
    async with connections.connection() as again, connections.connection() as second:
        assert again is first
        assert second is not first
        with pytest.raises(NoConnectionError):
            async with connections.connection():
                pass
    assert len(exchange.made) == 2
    async with connections.connection():
        pass
    await connections.aclose()
    assert [line.closed for line in exchange.made] == [True, True]


async def test_a_connection_that_cannot_be_used_is_closed_and_replaced() -> None:
    """Whether that shows when it comes back, or when it is to be lent again."""
    exchange = Exchange()
    connections = connections_of(exchange)
    async with connections.connection() as first:
        first.usable = False
    assert first.closed
    async with connections.connection() as second:
        pass
    second.usable = False
    async with connections.connection() as third:
        assert second.closed
        assert third not in (first, second)
    await connections.aclose()


async def test_an_error_gives_the_connection_back() -> None:
    exchange = Exchange()
    connections = connections_of(exchange)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await _fail(connections)
    assert len(exchange.made) == 1
    await connections.aclose()


async def _fail(connections: Connections[Line]) -> None:
    async with connections.connection():
        raise ZeroDivisionError


async def test_a_connection_that_was_idle_for_long_is_not_used_again() -> None:
    exchange = Exchange()
    connections = connections_of(exchange, idle=0.0)
    async with connections.connection() as first:
        pass
    async with connections.connection() as second:
        assert first.closed
        assert second is not first
    await connections.aclose()


async def test_connecting_that_fails_takes_nobodys_place() -> None:
    exchange = Exchange()
    connections = connections_of(exchange)
    exchange.fails = True
    for _ in range(3):
        with pytest.raises(OSError):
            async with connections.connection():
                pass
    exchange.fails = False
    async with connections.connection(), connections.connection():
        pass
    await connections.aclose()


async def test_what_is_lent_while_the_pool_is_closed_is_closed_when_it_comes_back() -> None:
    exchange = Exchange()
    connections = connections_of(exchange)
    async with connections.connection() as line:
        await connections.aclose()
        assert not line.closed
    assert line.closed


async def test_work_in_time_gives_its_result_or_its_error() -> None:
    async def work(result: int) -> int:
        await asyncio.sleep(0)
        return 1 // result

    assert await bounded(work(1), 10) == 1
    with pytest.raises(ZeroDivisionError):
        await bounded(work(0), 10)


async def test_work_that_takes_too_long_is_cancelled() -> None:
    """And has ended when the error comes."""
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        await bounded(work(), 0.01)
    assert ended.is_set()


async def test_work_that_is_done_while_it_is_cancelled_has_its_result() -> None:
    """What is known is worth more than the limit."""

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done"
        return ""

    assert await bounded(work(), 0.01) == "done"


async def test_work_that_resists_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a driver that talks to a hanging server upon cancellation."""
    monkeypatch.setattr(driver, "GRACE", 0.01)
    cancelled = 0

    async def work() -> None:
        nonlocal cancelled
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled += 1
                if cancelled == 3:
                    raise

    with pytest.raises(TimeoutError):
        await bounded(work(), 0.01)
    assert cancelled == 3


@pytest.mark.parametrize("fails", [True, False])
async def test_cancellation_passes_when_the_work_has_ended(fails: bool) -> None:
    """Whatever comes of it then, and however often the caller is cancelled."""
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            for _ in range(3):
                await asyncio.sleep(0)
            ended.set()
            if fails:
                raise OSError from None
            raise

    call = asyncio.create_task(bounded(work(), 10))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended.is_set()
