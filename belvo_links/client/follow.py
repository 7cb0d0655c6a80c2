"""Following a login to its end without a page: waiting for confirmations, and asking a callback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from belvo_links.client.ledger import until
from belvo_links.client.view import View
from belvo_links.errors import (
    ApiError,
    BelvoLinksError,
    ChallengeAbandonedError,
    ConnectError,
    IndeterminateOutcomeError,
    MalformedChallengeError,
    PoolTimeoutError,
    RateLimitedError,
    RequestTimeoutError,
    ResponseLostError,
    ServerError,
    TooManyRoundsError,
    TooManySessionsError,
    UnexpectedResponseError,
)
from belvo_links.protocol.checks import text
from belvo_links.protocol.mfa import PendingRecord, PendingState
from belvo_links.protocol.models import Link

if TYPE_CHECKING:
    from belvo_links.client.logins import Logins
    from belvo_links.client.pending import PendingSession

TOLERATED: Final = 3
"""Transient failures in a row that waiting bears."""

GROWTH: Final = 1.5
"""How much longer each wait is than the one before, until ``waiting.ceiling``."""

SPREAD: Final = 0.4
"""How far the jitter of a wait reaches, as a part of it: little enough that waits never shrink."""

_TRANSIENT: Final = (
    ConnectError,
    PoolTimeoutError,
    ResponseLostError,
    UnexpectedResponseError,
    MalformedChallengeError,
    RequestTimeoutError,
    RateLimitedError,
    ServerError,
    TooManySessionsError,
    IndeterminateOutcomeError,
)
_GOES_ON: Final = (PendingState.AWAITING, PendingState.INDETERMINATE)


class _Wait:
    """One call of ``wait()``.

    Args:
        logins: runs the submissions.
        record: what the caller was shown.
        timeout: seconds after which no submission begins.
        view: what the caller knows of the record, and how it hears more.
    """

    def __init__(self, logins: Logins, record: PendingRecord, *, timeout: float | None, view: View) -> None:
        self._logins = logins
        self._shown = self._known = record
        self._told = view.note
        self._view = View(brought=view.brought, note=self._note)
        self._time = asyncio.get_running_loop().time
        self._ends = None if timeout is None else self._time() + timeout
        self._interval = min(logins.waiting.first, logins.waiting.ceiling)
        self._failures = 0
        self._unsure = False

    def _note(self, record: PendingRecord) -> None:
        self._known = record
        self._told(record)

    async def run(self) -> Link | PendingSession:
        """Wait and submit, again and again; see :meth:`PendingSession.wait`."""
        pause = self._interval
        while await self._sleep(pause):
            self._interval = min(self._interval * GROWTH, self._logins.waiting.ceiling)
            pause = self._interval * (1 - SPREAD / 2 + SPREAD * self._logins.jitter())
            pause = min(pause, self._logins.waiting.ceiling)
            try:
                result = await self._step()
            except BelvoLinksError as error:
                self._bear(error)
                pause = max(pause, _asked_to_wait(error))
                continue
            if isinstance(result, Link) or result.challenge.expects_user_input:
                return result
            self._shown = result.record
            self._view = View(brought=result.record if result.unsaved else None, note=self._note)
        return await self._logins.pending(self._shown.id, view=self._view)

    def _left(self) -> float | None:
        return None if self._ends is None else max(0.0, self._ends - self._time())

    async def _sleep(self, pause: float) -> bool:
        """Wait, at most until the deadline, which the next step then finds; return whether there is time for one."""
        pause = min(pause, until(self._shown.expires_at, self._logins.clock()))
        left = self._left()
        await asyncio.sleep(pause if left is None else min(pause, left))
        return self._left() != 0.0

    async def _step(self) -> Link | PendingSession:
        """Submit once, or, after a lost reply that is still unexplained, look at the link first."""
        if self._unsure:
            result = await self._logins.reconcile(self._shown.id, view=self._view)
            self._unsure = False
            return result
        # Nobody else completes meanwhile, so the current round is meant: rounds that say "not yet" go on.
        result = await self._logins.submit(
            self._shown.id, None, round=self._shown.round, patience=self._left(), view=self._view
        )
        self._failures = 0
        return result

    def _bear(self, error: BelvoLinksError) -> None:
        """Raise what waiting does not bear: a definite answer, or too many failures in a row."""
        self._failures += 1
        self._unsure = isinstance(error, IndeterminateOutcomeError)
        passing = isinstance(error, _TRANSIENT) and self._known.state in _GOES_ON
        if not passing or (self._failures > TOLERATED and self._left() != 0.0):
            raise error


async def wait(logins: Logins, record: PendingRecord, *, timeout: float | None, view: View) -> Link | PendingSession:
    """Complete without a token until the person has confirmed elsewhere; see :meth:`PendingSession.wait`."""
    return await _Wait(logins, record, timeout=timeout, view=view).run()


def _asked_to_wait(error: BelvoLinksError) -> float:
    """Return how long the service asks to wait, in seconds."""
    if isinstance(error, ApiError) and error.retry_after is not None:
        return error.retry_after.total_seconds()
    return 0.0


async def answer(
    logins: Logins,
    pending: PendingSession,
    on_challenge: Callable[[PendingSession], Awaitable[str | None]],
    *,
    timeout: float | None,
) -> Link:
    """Ask the callback until the login is through.

    Args:
        logins: runs the submissions.
        pending: the first challenge.
        on_challenge: gives the token, or ``None`` once the person has confirmed elsewhere.
        timeout: seconds for each submission.

    Raises:
        ChallengeAbandonedError: the callback raised, or gave no token where one is expected, or something else.
        TooManyRoundsError: the institution asked more often than ``waiting.max_rounds``.
        SessionExpiredError: the callback did not answer in time.
    """
    current = pending
    for _ in range(logins.waiting.max_rounds):
        token = await _ask(logins, current, on_challenge)
        result: Link | PendingSession
        if token is not None:
            result = await current.complete(token, timeout=timeout)
        elif current.challenge.expects_user_input:
            raise ChallengeAbandonedError(pending=current)
        else:
            result = await current.wait()
        if isinstance(result, Link):
            return result
        current = result
    raise TooManyRoundsError(pending=current)


async def _ask(
    logins: Logins,
    pending: PendingSession,
    on_challenge: Callable[[PendingSession], Awaitable[str | None]],
) -> str | None:
    """Ask the callback, no longer than the challenge can be answered."""
    view = View(brought=pending.record if pending.unsaved else None)
    limit = asyncio.timeout(pending.seconds_left)
    try:
        async with limit:
            token = await on_challenge(pending)
        return None if token is None else text("token", token)
    except Exception as error:
        if not limit.expired():
            raise ChallengeAbandonedError(pending=pending) from error
    await asyncio.sleep(pending.seconds_left)  # the two clocks may differ a little
    await logins.require_awaiting(pending.id, view=view)  # says that it is too late
    raise ChallengeAbandonedError(pending=pending)
