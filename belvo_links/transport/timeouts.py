"""How long each part of a call may take."""

from __future__ import annotations

import math

import attrs


def _seconds(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        msg = f"{attribute.name}: give seconds, more than 0"
        raise ValueError(msg)


@attrs.frozen(kw_only=True)
class Timeouts:
    """Limits in seconds for the parts of one attempt.

    Attributes:
        read: from the request to the end of its reply, for calls that do not log in.
        login: the same for register, update, patch and complete, which log in at the institution while the caller
            waits (documentation section 4 suggests at least 120).
        connect: to open a connection, TLS included.
        pool_wait: to wait for a free connection, and, but for iterations and bulk work, for a slot of the limiter.
        lease_slack: how much longer than one attempt a claim lasts: for recording it and what came of it. A claim that
            runs out while its process lives lets others take the session for indeterminate; it sends nothing twice.
    """

    read: float = attrs.field(default=30.0, validator=_seconds)
    login: float = attrs.field(default=150.0, validator=_seconds)
    connect: float = attrs.field(default=10.0, validator=_seconds)
    pool_wait: float = attrs.field(default=60.0, validator=_seconds)
    lease_slack: float = attrs.field(default=30.0, validator=_seconds)

    def lease(self) -> float:
        """Return how long, in seconds, a claim must last: longer than one attempt can take."""
        return self.pool_wait + self.connect + self.login + self.lease_slack


@attrs.frozen(kw_only=True)
class AttemptLimits:
    """What one attempt may take, in seconds.

    Attributes:
        pool_wait: to wait for a free connection.
        connect: to open one.
        reply: from then to the end of the reply.
        opening: for waiting and connecting together; ``None`` is no further limit.
        total: for everything; ``None`` is no further limit.
    """

    pool_wait: float
    connect: float
    reply: float
    opening: float | None = None
    total: float | None = None


def attempt_limits(
    timeouts: Timeouts, *, logs_in: bool, opening: float | None = None, total: float | None = None
) -> AttemptLimits:
    """Return the limits of one attempt.

    Args:
        timeouts: the settings.
        logs_in: whether the call logs in at the institution.
        opening: seconds until it is too late to begin sending (the deadline of a challenge).
        total: what is left of the caller's own ``timeout=``, in seconds.
    """
    return AttemptLimits(
        pool_wait=timeouts.pool_wait,
        connect=timeouts.connect,
        reply=timeouts.login if logs_in else timeouts.read,
        opening=opening,
        total=total,
    )


def least(*limits: float | None) -> float:
    """Return the least of the limits that are given; one must be."""
    return min(limit for limit in limits if limit is not None)
