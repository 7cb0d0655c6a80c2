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
    PoolTimeoutError,
    RateLimitedError,
    ResponseLostError,
    ServerError,
    TooManyRoundsError,
    TooManySessionsError,
)
from belvo_links.protocol.models import Link

if TYPE_CHECKING:
    from belvo_links.client.logins import Logins
    from belvo_links.client.pending import PendingSession
    from belvo_links.protocol.mfa import PendingRecord

TOLERATED: Final = 3
"""Transient failures in a row that waiting bears."""

GROWTH: Final = 1.5
"""How much longer each wait is than the one before, until ``waiting.ceiling``."""

_TRANSIENT: Final = (
    ConnectError,
    PoolTimeoutError,
    ResponseLostError,
    RateLimitedError,
    ServerError,
    TooManySessionsError,
    IndeterminateOutcomeError,
)


async def wait(logins: Logins, record: PendingRecord, *, timeout: float | None, view: View) -> Link | PendingSession:
    """Complete without a token until the person has confirmed elsewhere; see :meth:`PendingSession.wait`."""
    loop = asyncio.get_running_loop()
    ends = None if timeout is None else loop.time() + timeout
    interval, failures, unsure = logins.waiting.first, 0, False
    shown = record
    while True:
        pause = min(interval * (0.75 + 0.5 * logins.jitter()), until(shown.expires_at, logins.clock()))
        if ends is not None and loop.time() + pause >= ends:
            await asyncio.sleep(max(0.0, ends - loop.time()))
            return await logins.pending(record.id, view=view)
        await asyncio.sleep(pause)
        interval = min(interval * GROWTH, logins.waiting.ceiling)
        try:
            # Nobody else completes meanwhile, so the current round is meant: rounds that say "not yet" go on.
            result = await _step(logins, record.id, unsure=unsure, round=shown.round, view=view)
        except _TRANSIENT as error:
            failures += 1
            unsure = isinstance(error, IndeterminateOutcomeError)
            if failures > TOLERATED:
                raise
            interval = max(interval, _asked_to_wait(error))
            continue
        failures, unsure = 0, False
        if isinstance(result, Link):
            return result
        if result.challenge.expects_user_input:
            return result
        shown = result.record
        view = View(brought=shown if result.unsaved else None, note=view.note)


async def _step(
    logins: Logins,
    pending_id: str,
    *,
    unsure: bool,
    round: int,  # noqa: A002  # the word of the public surface
    view: View,
) -> Link | PendingSession:
    """Submit once, or, after a lost reply that is still unexplained, look at the link first."""
    if unsure:
        return await logins.reconcile(pending_id, view=view)
    return await logins.submit(pending_id, None, round=round, view=view)


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
        ChallengeAbandonedError: the callback raised, or gave no token where one is expected.
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
    limit = asyncio.timeout(pending.seconds_left)
    try:
        async with limit:
            return await on_challenge(pending)
    except Exception as error:
        if not limit.expired():
            raise ChallengeAbandonedError(pending=pending) from error
    await logins.require_awaiting(pending.id)  # says that it is too late
    raise ChallengeAbandonedError(pending=pending)
