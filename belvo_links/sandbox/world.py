"""The simulated service's memory, and how it moves on by itself."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

from attrs import evolve, field, mutable

from .institutions import INSTITUTIONS
from .options import Switches
from .rules import ACCOUNT_RATE, DEFAULT_STALE_IN, institution_user_id, needs_mfa, stored_until
from .state import Account, Identifiers, LinkOverrides, Links, LoginSession, Pending, StoredLink
from .triggers import OWN_TRIGGERS


@mutable
class World:
    """Everything that one simulator knows."""

    clock: Callable[[], datetime]
    switches: Switches
    ids: Identifiers
    accounts: dict[str, Account] = field(factory=dict[str, Account])
    """By secret id."""
    links: Links = field(factory=Links)
    sessions: dict[str, LoginSession] = field(factory=dict[str, LoginSession])
    deletions: defaultdict[str, list[datetime]] = field(factory=lambda: defaultdict(list))
    """Successful synchronous deletions per secret id, oldest first (documentation section 13)."""
    met: set[tuple[str, str, str]] = field(factory=set[tuple[str, str, str]])
    """Account, institution and user name of errors that happen only once."""
    _agenda: list[tuple[datetime, int, Pending]] = field(factory=list[tuple[datetime, int, Pending]])
    _appointments: int = 0

    @classmethod
    def create(cls, seed: int, clock: Callable[[], datetime], switches: Switches) -> World:
        """An empty world; every identifier in it follows from the seed."""
        return cls(clock, switches, Identifiers(random.Random(seed)))

    def add_account(self, secret_id: str | None = None, secret_password: str | None = None) -> Account:
        """A further pair of keys; those that are not given are made up."""
        made_id, made_password, user = self.ids.uuid(), self.ids.hex(64), self.ids.uuid()
        account = Account(secret_id or made_id, secret_password or made_password, user)
        if account.secret_id in self.accounts:
            raise ValueError("there is an account with this secret id already")
        self.accounts[account.secret_id] = account
        return account

    def later(self, work: Pending) -> None:
        """Note work that is done when its time has come."""
        self._appointments += 1
        heapq.heappush(self._agenda, (work.due, self._appointments, work))

    def settle(self) -> datetime:
        """Do all work that is due, and give the time."""
        now = self.clock()
        while self._agenda and self._agenda[0][0] <= now:
            work = heapq.heappop(self._agenda)[2]
            link = self.links.get(work.link_id)
            if link is None:
                continue
            if work.kind == "delete":
                self.remove(link.id)
            elif needs_mfa(link) and link.passed != "refresh":
                self.links.put(evolve(link, status="token_required"))
            else:
                self.links.put(evolve(link, last_accessed_at=work.due))
        return now

    def remove(self, link_id: str) -> None:
        """Forget a link and the logins that wait for it."""
        self.links.remove(link_id)
        for session in [session for session in self.sessions.values() if session.link_id == link_id]:
            del self.sessions[session.id]

    def confirm(self, link_id: str) -> bool:
        """Let the user confirm the login elsewhere; tells whether one was waiting."""
        waiting = [session for session in self.sessions.values() if session.link_id == link_id]
        for session in waiting:
            self.sessions[session.id] = evolve(session, confirmed=True)
        return bool(waiting)

    def add_links(self, number: int, account: Account, overrides: LinkOverrides) -> list[str]:
        """Plain links, created one after the other up to now; the newest one first."""
        now = self.clock()
        # Within 300 days, so that the usual storage of one year is not over for the oldest ones.
        spacing = min(timedelta(minutes=1), timedelta(days=300) / max(number, 1))
        links = [
            _plain_link(self.ids.uuid(), account, now - position * spacing, overrides, number - position)
            for position in range(number)
        ]
        self.links.add(*links)
        return [link.id for link in links]


def _plain_link(
    link_id: str, account: Account, created_at: datetime, overrides: LinkOverrides, number: int
) -> StoredLink:
    institution = overrides.get("institution", "erebor_mx_retail")
    username = overrides.get("username", f"user_{number}")
    mode = overrides.get("access_mode", "single")
    recurrent = mode == "recurrent"
    storage = overrides.get("credentials_storage", "store" if recurrent else DEFAULT_STALE_IN)
    return StoredLink(
        id=link_id,
        account=account.secret_id,
        institution=institution,
        username=username,
        trigger=OWN_TRIGGERS.get(username),
        access_mode=mode,
        status=overrides.get("status", "valid"),
        refresh_rate=overrides.get("refresh_rate", ACCOUNT_RATE if recurrent else None),
        created_by=account.user,
        last_accessed_at=created_at + timedelta(milliseconds=8),
        external_id=overrides.get("external_id", f"user-{number}"),
        created_at=created_at,
        institution_user_id=institution_user_id(institution, username),
        credentials_storage=storage,
        stored_until=stored_until(storage, created_at),
        stale_in=overrides.get("stale_in", "90d"),
        fetch_resources=overrides.get("fetch_resources", INSTITUTIONS[institution].core),
    )


def default_keys(seed: int) -> tuple[str, str]:
    """The keys of the first account, from the seed alone."""
    digest = hashlib.sha256(f"belvo sandbox keys {seed}".encode()).hexdigest()
    secret_id = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
    return secret_id, hashlib.sha256(digest.encode()).hexdigest()
