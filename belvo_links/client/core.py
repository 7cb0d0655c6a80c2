"""How a client is made, opened and closed."""

from __future__ import annotations

import hashlib
import os
import random
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, Unpack

from belvo_links.client.account import Account
from belvo_links.client.ledger import Ledger
from belvo_links.client.logins import Logins
from belvo_links.client.settings import (
    ClientOptions,
    Environment,
    Waiting,
    WaitingLike,
    basic_authorization,
    from_environment,
    service_url,
)
from belvo_links.protocol import checks
from belvo_links.stores.base import PendingStore
from belvo_links.stores.memory import MemoryStore
from belvo_links.transport.base import Limiter
from belvo_links.transport.call import Budget, Caller
from belvo_links.transport.http import HttpTransport
from belvo_links.transport.limit import RateLimit
from belvo_links.transport.limiter import LocalLimiter
from belvo_links.transport.observe import Observer
from belvo_links.transport.retry import ONCE, RetryPolicy
from belvo_links.transport.timeouts import Timeouts
from belvo_links.transport.watch import Watch
from belvo_links.version import __version__

if TYPE_CHECKING:
    import aiohttp

DEFAULT_RATE_LIMIT: Final = RateLimit(80, 30)
"""What Belvo asked for (documentation section 13); more risks a block of the address."""

DEFAULT_RETRY: Final = RetryPolicy()
DEFAULT_TIMEOUTS: Final = Timeouts()
DEFAULT_WAITING: Final = Waiting()

_ID_BYTES: Final = 24
_USER_AGENT: Final = f"belvo_links/{__version__}"
_jitter: Final = random.random


class Core:
    """What every call of a client stands on; see :class:`belvo_links.BelvoLinks` for the arguments."""

    def __init__(
        self,
        secret_id: str,
        secret_password: str,
        *,
        environment: Environment | str | None = None,
        base_url: str | None = None,
        http_session: aiohttp.ClientSession | None = None,
        store: PendingStore | None = None,
        retry: RetryPolicy | None = DEFAULT_RETRY,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        rate_limit: RateLimit | Limiter | None = DEFAULT_RATE_LIMIT,
        waiting: WaitingLike = DEFAULT_WAITING,
        max_connections: int = 100,
        clock: Callable[[], datetime] | None = None,
        observer: Observer | None = None,
    ) -> None:
        if checks.whole_number("max_connections", max_connections) < 1:
            msg = "max_connections: give 1 or more"
            raise ValueError(msg)
        origin = service_url(environment, base_url)
        self._origin = origin
        watch = None if observer is None else Watch(observer, origin=origin)
        self._transport = HttpTransport(
            origin,
            basic_authorization(secret_id, secret_password),
            http_session=http_session,
            max_connections=max_connections,
            user_agent=_USER_AGENT,
        )
        self._caller = Caller(
            self._transport,
            limiter=_limiter(rate_limit),
            retry=ONCE if retry is None else retry,
            timeouts=timeouts,
            jitter=_jitter,
            watch=watch,
        )
        checked_clock = _checked(clock or _now)
        self._account = Account(origin=origin, digest=hashlib.sha256(secret_id.encode()).hexdigest()[:32])
        self._ledger = Ledger(MemoryStore() if store is None else store, checked_clock, watch=watch)
        self._logins = Logins(
            self._caller,
            ledger=self._ledger,
            account=self._account,
            clock=checked_clock,
            new_id=_new_id,
            waiting=Waiting.of(waiting),
            jitter=_jitter,
            check=self._transport.check,
        )

    @classmethod
    def from_env(cls, variables: Mapping[str, str] | None = None, **options: Unpack[ClientOptions]) -> Self:
        """Make a client from environment variables.

        ``BELVO_SECRET_ID``, ``BELVO_SECRET_PASSWORD``, and one of ``BELVO_ENVIRONMENT`` and ``BELVO_BASE_URL``.

        Args:
            variables: where to look; the process's environment by default.
            options: every other argument of the class; an ``environment`` or ``base_url`` goes before the variables.

        Raises:
            ValueError: a variable is missing, or both of the last two are set; they are named.
        """
        placed = options.get("environment") is not None or options.get("base_url") is not None
        keys, place = from_environment(os.environ if variables is None else variables, placed=placed)
        given: ClientOptions = {**options, **place}
        return cls(*keys, **given)

    def _begin(self, timeout: float | None) -> Budget:
        """Begin a call: raise unless it can be made here and now, and return its budget."""
        self._transport.check()
        return Budget(timeout)

    async def aclose(self) -> None:
        """Close what the client opened: connections and its own store's. May be called twice, from any event loop."""
        try:
            await self._transport.aclose()
        finally:
            await self._ledger.aclose()

    async def __aenter__(self) -> Self:
        self._transport.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._origin}>"


def clock_of(belvo: Core) -> Callable[[], datetime]:
    """Return the clock that a client goes by; it gives aware UTC."""
    return belvo._logins.clock  # noqa: SLF001  # a client shows it to this package alone


def _limiter(rate_limit: object) -> Limiter | None:
    if rate_limit is None or isinstance(rate_limit, Limiter):
        return rate_limit
    if isinstance(rate_limit, RateLimit):
        return LocalLimiter(rate_limit)
    msg = "rate_limit: give a RateLimit, a Limiter or None"
    raise TypeError(msg)


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return secrets.token_urlsafe(_ID_BYTES)


def _checked(clock: Callable[[], datetime]) -> Callable[[], datetime]:
    """Return the clock, refusing what is not aware: a naive time would be compared an hour or more off.

    It is asked once here, so that such a clock is found before a challenge has to be given its deadline.
    """

    def checked() -> datetime:
        now: object = clock()
        if not isinstance(now, datetime) or now.utcoffset() is None:
            msg = "clock: give a callable that returns an aware datetime"
            raise ValueError(msg)
        return now.astimezone(UTC)

    checked()
    return checked
