"""What the application is told from outside."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from belvo_links import Limiter, PendingStore, RateLimit, Timeouts
from belvo_links.stores import SqliteStore


@dataclass(frozen=True)
class Settings:
    """Where things are kept, and the secrets.

    Args:
        secret: signs the cookies; the same in every process.
        pending: the store of pending sessions: a file, or the address of a Redis or PostgreSQL server.
        database: the application's own file.
        webhook_authorization: what Belvo's webhooks carry in their Authorization header; several while you rotate it.
        keys: encrypt what the store keeps, if there are any; the first writes, all read.
        secure_cookies: only off where a browser refuses them on plain http to this machine.
        processes: how many of this machine share Belvo's allowance of requests, unless a server counts for them.
        timeouts: how long a bank may take, and with it how long a login counts as under way.
    """

    secret: str = field(repr=False)
    pending: str = field(default="pending.db", repr=False)  # an address may hold a password
    database: Path = Path("accounts.db")
    webhook_authorization: tuple[str, ...] = field(default=(), repr=False)
    keys: tuple[str, ...] | None = field(default=None, repr=False)
    secure_cookies: bool = True
    processes: int = 1
    timeouts: Timeouts = field(default_factory=Timeouts)

    @classmethod
    def from_env(cls, variables: Mapping[str, str] = os.environ) -> "Settings":
        """Read `APP_...` variables, and uvicorn's own `WEB_CONCURRENCY`."""
        return cls(
            secret=variables["APP_SECRET"],
            pending=variables.get("APP_PENDING", "pending.db"),
            database=Path(variables.get("APP_DATABASE", "accounts.db")),
            webhook_authorization=tuple(filter(None, variables.get("APP_WEBHOOK_AUTHORIZATION", "").split("\n"))),
            keys=tuple(variables.get("APP_KEYS", "").split()) or None,
            secure_cookies=variables.get("APP_SECURE_COOKIES", "1") != "0",
            processes=int(variables.get("WEB_CONCURRENCY", "1")),
        )

    async def store(self) -> PendingStore:
        """Make the store of pending sessions that all processes share."""
        if self.pending.startswith(("redis://", "rediss://")):
            from belvo_links.stores import RedisStore

            return RedisStore(self.pending, keys=self.keys)
        if self.pending.startswith(("postgresql://", "postgres://")):
            from belvo_links.stores import PostgresStore

            store = PostgresStore(self.pending, keys=self.keys)
            await store.create()
            return store
        return SqliteStore(self.pending, keys=self.keys)

    async def rate_limit(self) -> RateLimit | Limiter:
        """Make the limit of requests: Belvo blocks addresses that send more than 80 in 30 seconds."""
        if self.pending.startswith(("redis://", "rediss://")):
            from belvo_links.limits import RedisLimiter

            return RedisLimiter(self.pending)
        if self.pending.startswith(("postgresql://", "postgres://")):
            from belvo_links.limits import PostgresLimiter

            limiter = PostgresLimiter(self.pending)
            await limiter.create()
            return limiter
        return RateLimit(80 // self.processes, 30)
