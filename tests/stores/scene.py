"""One pending session whose store fails at one moment, and how it goes on when the fault is over."""

import asyncio
from typing import Any, Final

from belvo_links import (
    AlreadyClaimedError,
    AlreadySettledError,
    BelvoLinks,
    BelvoLinksError,
    IndeterminateOutcomeError,
    PendingNotFoundError,
    PendingSession,
    StoreError,
)
from belvo_links.protocol import stored
from belvo_links.sandbox import Sandbox
from belvo_links.stores import PendingStore, StoredRecord
from belvo_links.stores.contract import fresh_record
from tests.mfa.helpers import GOOD, WRONG, Leased, T, Work, completes, link, register
from tests.stores.table import Cell, Moment

ASKED_FOR: Final = {
    Moment.CHALLENGE: "insert",
    Moment.LOOK: "load",
    Moment.CLAIM: "claim",
    Moment.LINK: "settle",
    Moment.NEXT: "settle",
}
"""What the store is asked for at each moment."""


class Staged(Leased):
    """Stops, once it is told to, before the first command of one name, until it may go on; with a lease to run out."""

    def __init__(self, inner: PendingStore) -> None:
        super().__init__(inner)
        self.before: str | None = None
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def around(self, name: str, work: Work[T]) -> T:
        if name == self.before:
            self.before = None
            self.reached.set()
            await self.go.wait()
        return await work()

    async def load(self, pending_id: str) -> StoredRecord | None:
        return await self.around("load", lambda: super(Staged, self).load(pending_id))


async def warm(store: PendingStore) -> None:
    """Use all that a session uses, so that a connection is open and a server of scripts knows them all."""
    kept, unknown = fresh_record(), fresh_record()
    await store.insert(kept)
    assert await store.load(kept.id) is not None
    assert not await store.swap(unknown, unknown, lease=1.0)


class Scene:
    """A pending session that gets to its moment, goes on into the fault, and is looked at.

    Args:
        moment: when the fault begins.
        box: the service, for this session alone.
        belvo: a client of it, over the store.
        store: what the fault happens to.
    """

    def __init__(self, moment: Moment, box: Sandbox, belvo: BelvoLinks, store: Staged) -> None:
        self._moment = moment
        self._box = box
        self._belvo = belvo
        self.store = store
        self._asked: PendingSession | None = None
        self._text = ""
        self.outcome: Any = None

    async def prepare(self) -> None:
        """Come to where the session's next call gets to its moment."""
        await warm(self.store.inner)
        if self._moment is not Moment.CHALLENGE:
            self._asked = await register(self._belvo)
            self._text = self._asked.to_json()
        self.store.before = ASKED_FOR[self._moment]

    async def play(self) -> None:
        """Make that call, and keep what comes of it."""
        try:
            if self._asked is None:
                self.outcome = await register(self._belvo)
            else:
                self.outcome = await self._asked.complete(WRONG if self._moment is Moment.NEXT else GOOD)
        except BelvoLinksError as error:
            self.outcome = error
        self._text = self._text or self.handle.to_json()

    @property
    def handle(self) -> PendingSession:
        """The session, as the caller has it by now."""
        if isinstance(self.outcome, PendingSession):
            return self.outcome
        found = getattr(self.outcome, "pending", None) or self._asked
        assert isinstance(found, PendingSession)
        return found

    @property
    def secret(self) -> str:
        """Belvo's session, as the session began."""
        session = stored.load(self._text).session
        assert session is not None
        return session.reveal()

    @property
    def error(self) -> StoreError | None:
        """The store's error, if that is what came of it."""
        return self.outcome if isinstance(self.outcome, StoreError) else None

    def is_unrecorded(self, cell: Cell) -> bool:
        """Return whether the caller has got a reply that the store could not be told of."""
        return cell.sent > 0 and cell.states == ("submitting",)

    async def seen(self, whole: PendingStore) -> Cell:
        """Return what came of it; the record is read from the store when it is whole again."""
        found = await whole.load(self.handle.id)
        state = "none" if found is None else str(found.record.state)
        has_pending = self.error is not None and self.error.pending is not None
        return Cell(type(self.outcome).__name__, completes(self._box), (state,), has_pending)

    async def go_on(self, cell: Cell) -> None:
        """Go on by what is promised: no token is sent twice, and what was not sent can be sent."""
        [state] = cell.states
        match state:
            case "none" if isinstance(self.outcome, PendingNotFoundError):
                assert link(await self._belvo.restore(self._text).complete(GOOD)).status == "valid"
            case "none" | "awaiting":
                assert link(await self.handle.complete(GOOD)).status == "valid"
            case "submitting" if self._moment is Moment.NEXT:
                assert self._asked is not None
                await _refused(self._asked, AlreadyClaimedError)
                assert link(await self.handle.complete(GOOD)).status == "valid"
            case "submitting":
                await self._outlive_the_lease()
            case _:
                await _refused(self.handle, AlreadySettledError)
        unsent = state == "submitting" and not cell.sent
        assert self._box.tokens == [*([WRONG] if self._moment is Moment.NEXT else []), *([] if unsent else [GOOD])]

    async def _outlive_the_lease(self) -> None:
        """Nobody else has the round until the lease is over, and then only a look at the link decides."""
        await _refused(self.handle, AlreadyClaimedError)
        self.store.elapsed = 1_000.0
        await _refused(self.handle, IndeterminateOutcomeError)
        if self._box.tokens:
            assert link(await self.handle.reconcile()).status == "valid"
            await _refused(self.handle, AlreadySettledError)
        else:
            try:
                await self.handle.reconcile()
            except IndeterminateOutcomeError:
                return
            raise AssertionError("nothing was sent, and yet there is proof")


async def _refused(handle: PendingSession, kind: type[BelvoLinksError]) -> None:
    try:
        await handle.complete(GOOD)
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")
