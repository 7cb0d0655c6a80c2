"""Logins that wait for a second factor: begun, submitted once, settled, reconciled.

The order of a submission is what its guarantees stand on: a look at the record, a slot of the limiter, the check of the
deadline, the claim on record, the request. Whatever comes back, or does not, is recorded even if the caller has been
cancelled meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from belvo_links.client.account import Account
from belvo_links.client.ledger import Ledger, until
from belvo_links.client.nameless import warn_if_nameless
from belvo_links.client.pending import PendingSession
from belvo_links.client.refusals import out_of_time, refusal
from belvo_links.client.settings import Waiting
from belvo_links.client.view import UNKNOWN, View
from belvo_links.errors import (
    BelvoLinksError,
    LoopMismatchError,
    MfaError,
    MfaRequiredError,
    NotFoundError,
    StoreError,
    WrongAccountError,
)
from belvo_links.protocol import operations
from belvo_links.protocol.challenge import TokenRequired
from belvo_links.protocol.mfa import (
    Cancelled,
    DeadlinePassed,
    Event,
    NotSent,
    PendingRecord,
    PendingState,
    ProvedLinked,
    Reply,
    ReplyLost,
    SessionOver,
    Submitted,
    advance,
    begin,
    restored,
    with_baseline,
)
from belvo_links.protocol.models import Link
from belvo_links.protocol.operations import Answer
from belvo_links.protocol.verdict import proof, verdict
from belvo_links.redact import Secret
from belvo_links.transport.call import Budget, Caller
from belvo_links.transport.messages import Lane, Operation
from belvo_links.transport.shield import finish
from belvo_links.wire import ABSENT, JsonValue, MaybeAbsent

T = TypeVar("T")

Outcome: TypeAlias = Link | TokenRequired | BelvoLinksError

_NO_TIME: Final = 1e-9  # seconds


class Logins:
    """Runs the machine of :mod:`belvo_links.protocol.mfa` against the service and a store."""

    def __init__(
        self,
        caller: Caller,
        *,
        ledger: Ledger,
        account: Account,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        waiting: Waiting,
        jitter: Callable[[], float],
        check: Callable[[], None],
    ) -> None:
        self._check = check
        self.waiting = waiting
        self.jitter = jitter
        self._caller = caller
        self._ledger = ledger
        self._account = account
        self._new_id = new_id
        self._gates: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.clock = clock

    # ---------------------------------------------------------------------------------------------------- beginning

    async def begin(
        self,
        asked: TokenRequired,
        *,
        operation: str,
        budget: Budget,
        link_id: str | None = None,
        correlation: JsonValue = None,
        requested: Mapping[str, JsonValue] | None = None,
        nostore: bool = False,
        named: bool = False,
        lane: Lane | None = None,
    ) -> PendingSession:
        """Record a login that has met its first challenge, and return the handle to continue it.

        Raises:
            MalformedChallengeError: the 428 lacks what is needed to continue.
            StoreError: it could not be recorded; ``.pending`` has it.
        """
        record = begin(
            asked,
            id=self._new_id(),
            operation=operation,
            origin=self._account.origin,
            account=self._account.digest,
            now=self.clock(),
            link_id=link_id,
            correlation=correlation,
            requested=requested,
            nostore=nostore,
            named=named,
        )
        try:
            await finish(self._ledger.open(record))
        except StoreError as error:
            error.pending = PendingSession(self, record, unsaved=True)
            raise
        if operation != "register":
            record = await self._with_baseline(record, budget, lane)
        return PendingSession(self, record)

    async def _with_baseline(self, record: PendingRecord, budget: Budget, lane: Lane | None) -> PendingRecord:
        """Read the link once, so that a later look at it can prove something. Failing that, there is no proof."""
        try:
            link = await self._caller.run(operations.get(record.link_id), budget=budget, lane=lane)
            if isinstance(link, TokenRequired):
                return record
            compared = with_baseline(record, link)
            return compared if await finish(self._ledger.replace(record, compared)) else record
        except BelvoLinksError:
            return record

    async def without_challenge(self, operation: Operation[T | TokenRequired], link_id: str, budget: Budget) -> T:
        """Run a call that cannot go on after a challenge: its pending session is on the error."""
        with self._caller.watching(operation.name, operation.request):
            result = await self._caller.perform(operation, budget=budget)
            if not isinstance(result, TokenRequired):
                return result
            pending = await self.begin(result, operation=operation.name, budget=budget, link_id=link_id)
            raise MfaRequiredError(pending=pending, request_id=result.request_id)

    # --------------------------------------------------------------------------------------------------- submitting

    async def submit(
        self,
        pending_id: str,
        token: Secret[str] | None,
        *,
        round: int | None = None,  # noqa: A002  # the word of the public surface
        save_data: MaybeAbsent[bool] = ABSENT,
        timeout: float | None = None,
        patience: float | None = None,
        view: View = UNKNOWN,
    ) -> Link | PendingSession:
        """Submit a token, or a confirmation without one, once.

        Args:
            pending_id: which pending session.
            token: the one-time code, if there is one.
            round: the round it answers; ``None`` for whichever is current.
            save_data: as documented in section 9.3.
            timeout: seconds for the whole call; recording what happened is not cut.
            patience: seconds after which it does not begin, for want of a turn; one under way is not cut.
            view: what the caller knows of the record, and how it hears more.
        """
        with self._caller.watching("complete", operations.COMPLETE):
            budget = Budget(timeout)
            entering = budget if patience is None else Budget(max(patience, _NO_TIME))
            if round is None:
                # Now, since a reply may bring the next challenge while this call waits for its turn.
                round = (await self.look(pending_id, view=view)).round  # noqa: A001  # the same word
            operation, claimed = await self._enter(pending_id, token, round, save_data, entering, view)
            outcome, event = await self._send(operation, claimed, budget, view)
            settled, on_record = await finish(self._settle(claimed, event, view=view))
            if isinstance(event, ReplyLost):
                lost = () if on_record else (event,)
                return await self._after_lost_reply(settled if on_record else claimed, outcome, budget, view, lost)
            return await self._result(settled, event, outcome, on_record=on_record, view=view)

    async def _send(
        self, operation: Operation[Answer], claimed: PendingRecord, budget: Budget, view: View
    ) -> tuple[Outcome, Reply]:
        """Make the one attempt; return what came of it, and what that means for the record."""
        claim, sent = claimed.claim or "", False

        def on_send() -> None:
            nonlocal sent
            sent = True

        outcome: Outcome
        opening = until(claimed.expires_at, self.clock())
        try:
            outcome = await self._caller.once(operation, budget=budget, opening=opening, on_send=on_send)
        except LoopMismatchError as error:
            return error, NotSent(claim=claim)
        except BelvoLinksError as error:
            outcome = error
        except (asyncio.CancelledError, Exception):
            await finish(self._settle(claimed, ReplyLost(claim=claim) if sent else NotSent(claim=claim), view=view))
            raise
        return outcome, verdict(outcome, claim=claim)

    async def _enter(
        self,
        pending_id: str,
        token: Secret[str] | None,
        wanted: int,
        save_data: MaybeAbsent[bool],
        entering: Budget,
        view: View,
    ) -> tuple[Operation[Answer], PendingRecord]:
        """Look, wait for a slot, check the deadline and claim; return what to send, and the claimed record.

        One at a time for each pending session of this process: of many tasks only the first takes a limiter's slot.
        """
        gate = self._gates.setdefault(pending_id, asyncio.Lock())
        try:
            async with asyncio.timeout(entering.left()):
                await gate.acquire()
        except TimeoutError:
            raise out_of_time("another submission") from None
        try:
            record = await self.look(pending_id, view=view)
            self._require_awaiting(record, wanted, claiming=True)
            session = record.session or Secret("")  # an awaiting record has one
            operation = operations.complete(session, record.link_id, token=token, save_data=save_data)
            await self._caller.turn(operation, budget=entering)
            if entering.left() == 0:
                raise out_of_time("timeout")
            return operation, await self._claim(record, token, view)
        finally:
            gate.release()

    def _require_awaiting(self, record: PendingRecord, wanted: int | None, *, claiming: bool = False) -> None:
        """Raise unless the record awaits a token for this round: the state decides first, then the round."""
        if record.state is not PendingState.AWAITING or wanted not in (None, record.round):
            if claiming:
                self._ledger.miss(record, wanted or record.round)
            raise self._refusal(record)

    async def _claim(self, record: PendingRecord, token: Secret[str] | None, view: View) -> PendingRecord:
        """Take the round exclusively, after one more look at the clock."""
        lease = self._caller.timeouts.lease()
        current = record
        while True:
            now = self.clock()
            if now >= current.expires_at:
                current = await self._ledger.move(current, DeadlinePassed())
                view.note(current)
                self._ledger.miss(current, record.round)
                raise self._refusal(current)
            event = Submitted(claim=self._new_id(), token_sent=token is not None)
            claimed = advance(current, event, now=now)
            if await self._try_claim(current, claimed, lease):
                view.note(claimed)
                return claimed
            current = await self.look(record.id, view=View(note=view.note))
            self._require_awaiting(current, record.round, claiming=True)

    async def _try_claim(self, old: PendingRecord, claimed: PendingRecord, lease: float) -> bool:
        """Claim; if the store fails or the caller is cancelled in that very moment, give the claim back."""
        try:
            return await finish(self._ledger.claim(old, claimed, lease=lease))
        except (asyncio.CancelledError, StoreError):
            await finish(self._ledger.release(claimed))
            raise

    async def _settle(
        self, record: PendingRecord, *events: Event, view: View, told: bool = False
    ) -> tuple[PendingRecord, bool]:
        settled, on_record = await self._ledger.settle(record, *events, told=told)
        view.note(settled)
        return settled, on_record

    async def _result(
        self, settled: PendingRecord, event: Reply, outcome: Outcome, *, on_record: bool, view: View
    ) -> Link | PendingSession:
        """Return or raise what a definite reply means."""
        if isinstance(outcome, Link):
            warn_if_nameless(outcome, given=settled.named)
            return outcome
        if isinstance(outcome, TokenRequired):
            if settled.state is not PendingState.AWAITING:  # it came late, and the record had been settled otherwise
                raise self._refusal(settled)
            return PendingSession(self, settled, unsaved=not on_record)
        if isinstance(event, NotSent) and self._ledger.is_overdue(settled):
            # Connecting was cut at the deadline.
            settled, _ = await finish(self._settle(settled, DeadlinePassed(), view=view))
            raise self._refusal(settled)
        if isinstance(event, SessionOver):
            raise self._refusal(settled)
        raise outcome

    # -------------------------------------------------------------------------------------------------- reconciling

    async def _after_lost_reply(
        self, record: PendingRecord, outcome: Outcome, budget: Budget, view: View, lost: tuple[Event, ...]
    ) -> Link | PendingSession:
        """Look at the link; where that proves no success, the token is not sent again."""
        result = await self._look_at_link(record, budget, view, lost)
        if isinstance(result, PendingSession) and isinstance(outcome, BelvoLinksError):
            if isinstance(outcome, MfaError):
                outcome.pending = result
            raise outcome  # put back, since no token was sent: the caller may submit again
        return result

    async def reconcile(
        self, pending_id: str, *, timeout: float | None = None, view: View = UNKNOWN
    ) -> Link | PendingSession:
        """Look at the link of an indeterminate session and settle it where that proves something.

        Raises:
            IndeterminateOutcomeError: it proves nothing, or the link could not be read.
        """
        with self._caller.watching("reconcile", operations.LOOK):
            budget = Budget(timeout)
            record = await self.look(pending_id, view=view)
            if record.state is PendingState.AWAITING:
                return PendingSession(self, record)
            if record.state is not PendingState.INDETERMINATE:
                raise self._refusal(record)
            return await self._look_at_link(record, budget, view)

    async def _look_at_link(
        self, record: PendingRecord, budget: Budget, view: View, unrecorded: tuple[Event, ...] = ()
    ) -> Link | PendingSession:
        """Read the link and settle what that proves, after events that the store has failed to record before."""
        link, event = None, None
        try:
            found = await self._caller.run(operations.get(record.link_id), budget=budget)
            if isinstance(found, Link):  # a 428 is no evidence
                link, event = found, proof(record, found, now=self.clock())
        except NotFoundError:
            event = proof(record, None, now=self.clock())
        except BelvoLinksError:
            pass
        if events := (*unrecorded, *(() if event is None else (event,))):
            record, _ = await finish(self._settle(record, *events, view=view, told=event is None))
        if link is not None and (record.state is PendingState.LINKED or isinstance(event, ProvedLinked)):
            warn_if_nameless(link, given=record.named)
            return link
        if record.state is PendingState.AWAITING:
            return PendingSession(self, record)
        raise self._refusal(record)

    # ------------------------------------------------------------------------------------------------------- others

    async def look(self, pending_id: str, *, view: View = UNKNOWN) -> PendingRecord:
        """Return the record as it is now, or raise what keeps this client from it: see ``BelvoLinks.pending``."""
        self._check()
        if view.brought is not None and not self._account.owns(view.brought):
            raise WrongAccountError(pending=PendingSession(self, view.brought))
        record = await self._ledger.current(pending_id, brought=view.brought)
        if not self._account.owns(record):
            raise WrongAccountError(pending=PendingSession(self, record))
        view.note(record)
        return record

    async def pending(self, pending_id: str, *, view: View = UNKNOWN) -> PendingSession:
        """Return the present handle."""
        return PendingSession(self, await self.look(pending_id, view=view))

    async def require_awaiting(self, pending_id: str, *, view: View) -> None:
        """Raise what the present state means, unless it awaits an answer."""
        self._require_awaiting(await self.look(pending_id, view=view), None)

    async def cancel(self, pending_id: str, *, view: View = UNKNOWN) -> None:
        """Give a pending session up, without calling the service."""
        record = await self.look(pending_id, view=view)
        self._require_awaiting(record, None)
        cancelled = await finish(self._ledger.move(record, Cancelled()))
        view.note(cancelled)
        if cancelled.state is not PendingState.CANCELLED:
            raise self._refusal(cancelled)

    def _refusal(self, record: PendingRecord) -> MfaError:
        return refusal(record, PendingSession(self, record))

    def handle(self, record: PendingRecord) -> PendingSession:
        """Return the handle of a record that comes back from text; its first use lets the store learn of it."""
        return PendingSession(self, restored(record), unsaved=True)

    def owns(self, record: PendingRecord) -> bool:
        """Return whether the record belongs to this client's account."""
        return self._account.owns(record)
