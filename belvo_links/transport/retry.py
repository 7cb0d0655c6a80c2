"""What is repeated, and when: the only place that decides it.

=================== ========== ========= ===== ===== ===== ==================
after               nothing    reply     408   429   5xx   too_many_sessions
                    was sent   was lost
=================== ========== ========= ===== ===== ===== ==================
reads (GET)         yes        yes       yes   yes   yes   if allowed
DELETE              yes        yes       yes   yes   yes   if allowed
other changes       yes        no        no    yes   no    if allowed
anything with a     no         no        no    no    no    no
token, Complete
=================== ========== ========= ===== ===== ===== ==================

Documentation section 11.3. "If allowed" is :attr:`RetryPolicy.too_many_sessions`. A ``DELETE`` that is repeated and
then finds nothing (404) counts as done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

import attrs

from belvo_links.errors import (
    ApiError,
    BelvoLinksError,
    ConnectError,
    PoolTimeoutError,
    RateLimitedError,
    RequestTimeoutError,
    ResponseLostError,
    ServerError,
    TooManySessionsError,
)
from belvo_links.transport.messages import Repeat

MAX_ATTEMPTS: Final = 3
"""Belvo asks for at most three (documentation section 11.3)."""


class Failure(Enum):
    """The kinds of failure after which a call may be repeated."""

    UNSENT = "nothing was sent"
    LOST = "the reply was lost"
    SLOW = "408"
    THROTTLED = "429"
    BROKEN = "5xx"
    TOO_MANY_SESSIONS = "too_many_sessions"


REPEATED: Final[Mapping[Repeat, frozenset[Failure]]] = {
    Repeat.READ: frozenset(Failure),
    Repeat.DELETE: frozenset(Failure),
    Repeat.CHANGE: frozenset({Failure.UNSENT, Failure.THROTTLED, Failure.TOO_MANY_SESSIONS}),
    Repeat.NEVER: frozenset(),
}

MAYBE_DONE: Final = frozenset({Failure.LOST, Failure.SLOW, Failure.BROKEN})
"""Failures after which the service may all the same have done what it was asked."""


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How failed calls are repeated, where they may be.

    Attributes:
        attempts: in all, 1 to 3.
        base: seconds; the first wait is drawn from 0 to this, each later one from twice the range (full jitter).
        ceiling: seconds; no wait is longer, not even when the service asks for more in ``Retry-After``.
        too_many_sessions: whether the 400 ``too_many_sessions`` is waited out too.
    """

    attempts: int = attrs.field(default=MAX_ATTEMPTS)
    base: float = attrs.field(default=0.5)
    ceiling: float = attrs.field(default=30.0)
    too_many_sessions: bool = False

    @attempts.validator
    def _check_attempts(self, _: object, value: int) -> None:
        if not 1 <= value <= MAX_ATTEMPTS:
            msg = f"attempts: give 1 to {MAX_ATTEMPTS}"
            raise ValueError(msg)

    @base.validator
    @ceiling.validator
    def _check_seconds(self, attribute: attrs.Attribute[float], value: float) -> None:
        if not (value >= 0 and math.isfinite(value)):
            msg = f"{attribute.name}: give seconds, 0 or more"
            raise ValueError(msg)


ONCE: Final = RetryPolicy(attempts=1)
"""One attempt: what ``retry=None`` means."""


def classify(error: BelvoLinksError) -> Failure | None:
    """Return the kind of failure, or ``None`` for one that repeating cannot mend."""
    kinds: tuple[tuple[type[BelvoLinksError], Failure], ...] = (
        (ConnectError, Failure.UNSENT),
        (PoolTimeoutError, Failure.UNSENT),
        (ResponseLostError, Failure.LOST),
        (RequestTimeoutError, Failure.SLOW),
        (RateLimitedError, Failure.THROTTLED),
        (ServerError, Failure.BROKEN),
        (TooManySessionsError, Failure.TOO_MANY_SESSIONS),
    )
    return next((failure for kind, failure in kinds if isinstance(error, kind)), None)


def next_delay(
    policy: RetryPolicy,
    repeat: Repeat,
    *,
    attempt: int,
    error: BelvoLinksError,
    jitter: Callable[[], float],
) -> float | None:
    """Return the seconds to wait before the next attempt, or ``None`` where there is none.

    Args:
        policy: the settings.
        repeat: what the call allows.
        attempt: the number of the attempt that failed, from 1.
        error: what it failed with.
        jitter: draws from 0 to 1.
    """
    failure = classify(error)
    if failure is None or failure not in REPEATED[repeat] or attempt >= policy.attempts:
        return None
    if failure is Failure.TOO_MANY_SESSIONS and not policy.too_many_sessions:
        return None
    if isinstance(error, ApiError) and error.retry_after is not None:
        return min(max(error.retry_after.total_seconds(), 0.0), policy.ceiling)
    return jitter() * min(policy.ceiling, policy.base * 2.0 ** (attempt - 1))
