"""A task may be cancelled wherever it waits: the record afterwards says what has happened, and the token goes once."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Literal

import pytest

from belvo_links import (
    AlreadySettledError,
    BelvoLinks,
    BelvoLinksError,
    IndeterminateOutcomeError,
    Link,
    PendingSession,
)
from belvo_links.errors import NotFoundError
from belvo_links.protocol.mfa import PendingState
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.stores import MemoryStore, PendingStore
from belvo_links.transport.shield import finish
from tests.mfa import helpers
from tests.mfa.helpers import GOOD, LINK, LINKS, Slow, arrived, begin, client, completes, register

Moment = Literal["waiting", "woken"]
MOMENTS = ("waiting", "woken")
STORES = {"memory": MemoryStore, "slow": Slow}
MOST = 200

both = pytest.mark.parametrize("moment", MOMENTS)
stores = pytest.mark.parametrize("make", STORES.values(), ids=STORES)


class _CancelledAt:
    """Awaits something and cancels the task at its n-th suspension.

    Either while it waits, or after what it waits for is there and before it runs again: the two moments differ in
    what asyncio does.
    """

    def __init__(self, work: Coroutine[Any, Any, Any], number: int, moment: Moment) -> None:
        self.struck = False
        self._work = work
        self._number = number
        self._moment = moment

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._work.__await__()
        task = asyncio.current_task()
        assert task is not None
        error: BaseException | None = None
        for number in itertools.count(1):
            try:
                waited_for = inner.send(None) if error is None else inner.throw(error)
            except StopIteration as stop:
                return stop.value
            if number == self._number:
                self.struck = True
                if self._moment == "waiting" or waited_for is None:
                    task.cancel()
                else:
                    waited_for.add_done_callback(lambda _: task.cancel())
            try:
                yield waited_for
                error = None
            except BaseException as caught:  # noqa: BLE001  # handed on to whom it is meant for
                error = caught
        return None


async def cancelled_at(work: Coroutine[Any, Any, Any], number: int, moment: Moment) -> tuple[bool, Any]:
    """Run work in a task that is cancelled at its n-th suspension; return whether it was, and the outcome."""
    cancelled = _CancelledAt(work, number, moment)

    async def run() -> Any:
        return await cancelled

    task = asyncio.create_task(run())
    try:
        outcome: Any = await task
    except asyncio.CancelledError as error:
        outcome = error
    except BelvoLinksError as error:
        outcome = error
    return cancelled.struck, outcome


async def at_every_suspension(
    moment: Moment,
    work: Callable[[], Coroutine[Any, Any, Any]],
    check: Callable[[bool], Awaitable[None]],
    prepare: Callable[[], Awaitable[None]],
) -> int:
    """Cancel work at its first suspension, then anew at its second, and so on until it is through; return how often."""
    for number in range(1, MOST):
        await prepare()
        struck, outcome = await cancelled_at(work(), number, moment)
        if struck:
            assert isinstance(outcome, asyncio.CancelledError), outcome
        await check(struck)
        if not struck:
            assert not isinstance(outcome, asyncio.CancelledError)
            return number - 1
    raise AssertionError


class Scene:
    """One pending session after the other, and what must hold of each."""

    def __init__(self, box: Sandbox, belvo: BelvoLinks, store: PendingStore) -> None:
        self.box, self.belvo, self.store = box, belvo, store
        self.states: set[PendingState] = set()
        self.asked: PendingSession

    async def fresh(self, operation: helpers.Begun = "register") -> None:
        """Begin another session; what came before is forgotten."""
        self.box.clear_faults()
        self.asked = await begin(self.belvo, operation)
        self.box.tokens.clear()
        self.box.requests.clear()

    async def check(self, struck: bool) -> None:
        """Nothing is left half done, and going on never sends a second token for a first that may have arrived."""
        assert len(self.box.tokens) <= 1
        self.box.clear_faults()
        record = await helpers.stored(self.store, self.asked.id)
        self.states.add(record.state)
        assert record.state is not PendingState.SUBMITTING
        if record.state is PendingState.AWAITING:
            assert isinstance(await self.belvo.complete(self.asked.id, GOOD, round=1), Link)
        elif record.state is PendingState.INDETERMINATE:
            with pytest.raises(IndeterminateOutcomeError):
                await self.asked.complete(GOOD)
            await self._reconcile()
        else:
            with pytest.raises(AlreadySettledError):
                await self.asked.complete(GOOD)
        assert len(self.box.tokens) <= 1
        assert (record.state is not PendingState.AWAITING) or self.box.tokens == [GOOD]

    async def _reconcile(self) -> None:
        try:
            assert isinstance(await self.asked.reconcile(), Link)
        except IndeterminateOutcomeError:
            assert self.box.link(self.asked.link_id) is not None


@both
@stores
@pytest.mark.parametrize("operation", ["register", "update"])
async def test_complete_cancelled_anywhere(
    box: Sandbox, make: type[PendingStore], moment: Moment, operation: helpers.Begun
) -> None:
    """Before the request: awaiting, and the token may be used. After it: indeterminate or settled, never both."""
    store = make()
    async with client(box, store=store) as belvo:
        scene = Scene(box, belvo, store)
        times = await at_every_suspension(
            moment, lambda: scene.asked.complete(GOOD), scene.check, lambda: scene.fresh(operation)
        )
    assert times >= 3
    assert scene.states == {"awaiting", "indeterminate", "linked"}


@both
@stores
async def test_complete_by_id_cancelled_anywhere(box: Sandbox, make: type[PendingStore], moment: Moment) -> None:
    """The same without a handle, over a connection that has to be opened."""
    store = make()
    async with client(box, store=store) as other:
        scene = Scene(box, other, store)

        async def complete() -> object:
            async with client(box, store=store) as belvo:
                return await belvo.complete(scene.asked.id, GOOD)

        await at_every_suspension(moment, complete, scene.check, scene.fresh)
    assert scene.states == {"awaiting", "indeterminate", "linked"}


@both
@stores
async def test_complete_cancelled_anywhere_when_the_reply_is_lost(
    box: Sandbox, make: type[PendingStore], moment: Moment
) -> None:
    """Also while it looks at the link."""
    store = make()
    async with client(box, store=store) as belvo:
        scene = Scene(box, belvo, store)

        async def fresh() -> None:
            await scene.fresh()
            box.inject(Fault.drop_after(), method="PATCH", template=LINKS)

        await at_every_suspension(moment, lambda: scene.asked.complete(GOOD), scene.check, fresh)
    assert scene.states == {"awaiting", "indeterminate", "linked"}


@both
@stores
async def test_complete_cancelled_anywhere_when_connecting_fails(
    box: Sandbox, make: type[PendingStore], moment: Moment
) -> None:
    """While connecting nothing was sent: the claim is released however it ends."""
    store = make()
    async with client(box, store=store) as belvo:
        scene = Scene(box, belvo, store)
        await scene.fresh()
        url = box.url

        async def complete() -> object:
            async with client(box, store=store) as unlucky:
                return await unlucky.complete(scene.asked.id, GOOD)

        async def check(struck: bool) -> None:
            assert (await helpers.stored(store, scene.asked.id)).state is PendingState.AWAITING

        async def nothing() -> None:
            pass

        await box.stop()
        await at_every_suspension(moment, complete, check, nothing)
        assert (box.tokens, box.url) == ([], url)


@both
@stores
@pytest.mark.parametrize("operation", ["register", "update", "patch"])
async def test_beginning_cancelled_anywhere(
    box: Sandbox, make: type[PendingStore], moment: Moment, operation: helpers.Begun
) -> None:
    """A 428 that was understood is on record, awaiting; one that was not is gone. Whatever is on record works."""
    store, counts = make(), set[int]()
    async with client(box, store=store) as belvo:

        async def check(struck: bool) -> None:
            found = [each async for each in belvo.iterate_pending()]
            counts.add(len(found))
            for each in found:
                assert each.state == "awaiting"
                assert isinstance(await each.complete(GOOD), Link)
            await store.purge(box.clock().replace(year=9999))

        async def nothing() -> None:
            pass

        await at_every_suspension(moment, lambda: begin(belvo, operation), check, nothing)
    assert counts == {0, 1}


@both
@stores
async def test_waiting_cancelled_anywhere(box: Sandbox, make: type[PendingStore], moment: Moment) -> None:
    """A confirmation carries no token; whatever is left can be reconciled or completed to the link."""
    store, states = make(), set[str]()
    asked: PendingSession
    async with client(box, store=store) as belvo:

        async def fresh() -> None:
            nonlocal asked
            asked = await register(belvo, "sim_mfa_inputless")

        async def check(struck: bool) -> None:
            record = await helpers.stored(store, asked.id)
            states.add(record.state)
            assert record.state in {PendingState.AWAITING, PendingState.INDETERMINATE, PendingState.LINKED}
            if record.state is PendingState.INDETERMINATE:
                current = await (await belvo.pending(asked.id)).reconcile()
            else:
                current = await belvo.pending(asked.id)
            if isinstance(current, PendingSession) and current.state == "awaiting":
                # The simulator may have put another session in the place of the one that was lost.
                try:
                    await current.wait(timeout=0.1)
                except BelvoLinksError:
                    assert record.state is PendingState.INDETERMINATE

        times = await at_every_suspension(moment, lambda: asked.wait(timeout=None), check, fresh)
    assert times >= 5
    assert states >= {"awaiting", "indeterminate"}


@both
@stores
async def test_cancelling_a_session_cancelled_anywhere(box: Sandbox, make: type[PendingStore], moment: Moment) -> None:
    """Either still awaiting or cancelled, with or without its link; never anything sent to the institution."""
    store, states = make(), set[str]()
    asked: PendingSession
    async with client(box, store=store) as belvo:

        async def fresh() -> None:
            nonlocal asked
            asked = await register(belvo)
            box.requests.clear()

        async def check(struck: bool) -> None:
            record = await helpers.stored(store, asked.id)
            states.add(record.state)
            assert record.state in {PendingState.AWAITING, PendingState.CANCELLED}
            assert record.state is PendingState.CANCELLED or box.count("DELETE", LINK) == 0

        await at_every_suspension(moment, lambda: asked.cancel(delete_link=True), check, fresh)
    assert completes(box) == 0
    assert "cancelled" in states


@both
@stores
@pytest.mark.parametrize("gone", [True, False])
async def test_reconciling_cancelled_anywhere(
    box: Sandbox, make: type[PendingStore], moment: Moment, gone: bool
) -> None:
    """Indeterminate or settled by what was found; never submittable again."""
    store, states = make(), set[str]()
    asked: PendingSession
    async with client(box, store=store) as belvo:

        async def fresh() -> None:
            nonlocal asked
            asked = await register(belvo)
            box.inject(Fault.drop_after(), method="PATCH", template=LINKS)
            box.inject(Fault.status(503), method="GET", template=LINK)
            with pytest.raises(IndeterminateOutcomeError):
                await asked.complete(GOOD)
            if gone:
                box.remove_link(asked.link_id)

        async def check(struck: bool) -> None:
            record = await helpers.stored(store, asked.id)
            states.add(record.state)
            before = completes(box)
            with pytest.raises((IndeterminateOutcomeError, AlreadySettledError, NotFoundError)):
                await asked.complete(GOOD)
            assert completes(box) == before

        await at_every_suspension(moment, lambda: asked.reconcile(timeout=None), check, fresh)
    assert states == {"indeterminate", "failed" if gone else "linked"}


async def test_a_cancelled_submission_is_recorded_by_a_store_that_takes_its_time(box: Sandbox) -> None:
    """The cancellation, even a second one, waits for the record and then passes."""
    holding = asyncio.Event()

    class Holding(helpers.Wrapped):
        async def around(self, name: str, work: helpers.Work[helpers.T]) -> helpers.T:
            if name == "settle":
                await holding.wait()
            return await work()

    store = Holding()
    async with client(box, store=store) as belvo:
        asked = await register(belvo)
        box.inject(Fault.delay(5), method="PATCH", template=LINKS)
        task = asyncio.create_task(asked.complete(GOOD))
        await arrived(box)
        for _ in range(3):
            task.cancel()
            await helpers.settle_loop()
            assert not task.done()
        holding.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await helpers.stored(store, asked.id)).state is PendingState.INDETERMINATE
        assert asked.state == "indeterminate"


async def test_what_is_to_be_finished_may_itself_be_cancelled() -> None:
    """When the event loop ends, say: no error but the cancellation comes out."""
    started: list[asyncio.Task[Any]] = []

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        started.append(task)
        await asyncio.Event().wait()

    for twice in (False, True):
        outer = asyncio.create_task(finish(work()))
        await helpers.settle_loop()
        if twice:
            outer.cancel()
        started.pop().cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer


async def test_what_fails_after_the_cancellation_is_taken_note_of() -> None:
    """The cancellation passes; nobody is told of the failure, which would be a complaint of the event loop."""
    going = asyncio.Event()

    async def work() -> None:
        await going.wait()
        raise OSError

    outer = asyncio.create_task(finish(work()))
    await helpers.settle_loop()
    outer.cancel()
    going.set()
    with pytest.raises(asyncio.CancelledError):
        await outer
