"""The simulated service's memory, and how it moves on by itself."""

from __future__ import annotations

import gc
import hashlib
import heapq
import random
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from attrs import evolve, field, mutable

from . import life
from .institutions import INSTITUTIONS
from .links import Links
from .options import Switches
from .record import trim
from .rules import DEFAULT_STALE_IN, institution_user_id
from .scripts import Scripts
from .state import Account, Identifiers, LinkOverrides, LoginSession, Pending, StoredLink
from .triggers import OWN_TRIGGERS
from .webhooks import Event, Notification

LoginNews = Literal["asked", "asked again", "refused", "completed"]
_MANY_LINKS = 100_000
_MANY_SESSIONS = 1000
"""From so many on, those that have expired are forgotten now and then."""


@mutable
class World:
    """Everything that one simulator knows."""

    clock: Callable[[], datetime]
    switches: Switches
    ids: Identifiers
    event_ids: Identifiers
    """Of webhooks: a source of their own, so that they do not change what the API's answers are called."""
    accounts: dict[str, Account] = field(factory=dict[str, Account])
    """By secret id."""
    links: Links = field(factory=Links)
    scripts: Scripts = field(factory=Scripts)
    down: set[str] = field(factory=set[str])
    """Names of the institutions that are down at the moment."""
    sessions: dict[str, LoginSession] = field(factory=dict[str, LoginSession])
    deletions: defaultdict[str, list[datetime]] = field(factory=lambda: defaultdict(list))
    """Successful synchronous deletions per secret id, oldest first (documentation section 13)."""
    met: set[tuple[str, str, str]] = field(factory=set[tuple[str, str, str]])
    """Account, institution and user name of errors that happen only once."""
    notifications: list[Notification] = field(factory=list[Notification])
    """Every webhook, in order."""
    on_notification: Callable[[Notification], None] = field(default=lambda notification: None)
    on_work: Callable[[], None] = field(default=lambda: None)
    on_login: Callable[[LoginSession, LoginNews], None] = field(default=lambda session, news: None)
    record_limit: int | None = None
    scheduled: dict[str, datetime] = field(factory=dict[str, datetime])
    """The next refresh by the clock, by link, where webhooks tell of it."""
    _agenda: list[tuple[datetime, int, Pending]] = field(factory=list[tuple[datetime, int, Pending]])
    _appointments: int = 0
    _doing: Pending | None = None

    @classmethod
    def create(
        cls, seed: int, clock: Callable[[], datetime], switches: Switches, record_limit: int | None = None
    ) -> World:
        """An empty world; every identifier in it follows from the seed."""
        skew = timedelta(seconds=switches.clock_skew_seconds)
        return cls(
            clock=(lambda: clock() + skew) if skew else clock,
            switches=switches,
            ids=Identifiers(random.Random(seed)),
            event_ids=Identifiers(random.Random(f"{seed} webhooks")),
            record_limit=record_limit,
        )

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
        self.on_work()

    def settle(self) -> datetime:
        """Do all work that is due, in the order in which it was, and give the time."""
        now = self.clock()
        while self._agenda and self._agenda[0][0] <= now:
            self._doing = heapq.heappop(self._agenda)[2]
            life.do(self, self._doing)
        self._doing = None
        return now

    @property
    def moment(self) -> datetime:
        """When what happens just now happens: work that is made up for happens when it was due."""
        return self.clock() if self._doing is None else self._doing.due

    @property
    def next_work(self) -> datetime | None:
        """When there is work again."""
        return self._agenda[0][0] if self._agenda else None

    def due(self) -> datetime:
        """When asynchronous work that begins now is done (documentation section 12)."""
        return self.clock() + timedelta(seconds=self.switches.work_seconds)

    def schedule(self, link: StoredLink) -> None:
        """Note the next refresh of a link by the clock, if it has one."""
        due = link.next_refresh()
        if due is None:
            self.scheduled.pop(link.id, None)
        elif self.scheduled.get(link.id) != due:
            self.scheduled[link.id] = due
            self.later(Pending(due, "scheduled", link.id))

    def tell(self, at: datetime, link: StoredLink, event: Event, request_id: str) -> None:
        """Send a webhook, or only remember it where there is no receiver."""
        if event.type == "LINK" and not self.switches.link_events:
            return
        notification = Notification(at=at, payload=event.payload(self._webhook_id(), link, request_id))
        self.notifications.append(notification)
        trim(self.notifications, self.record_limit)
        self.on_notification(notification)

    def _webhook_id(self) -> str:
        """The same in every webhook, as in the samples (documentation section 16.1)."""
        return hashlib.sha256(next(iter(self.accounts), "").encode()).hexdigest()[:32]

    def find(self, link_id: str, account: str | None = None) -> StoredLink | None:
        """A link as it is now, with what time alone has changed written down."""
        link = self.links.get(link_id, account)
        if link is None:
            return None
        aged = link.as_of(self.clock())
        if aged is not link:
            self.links.put(aged)
        return aged

    def add_session(self, session: LoginSession) -> None:
        """Remember a login that waits; of many, those that have expired are forgotten."""
        self.sessions[session.id] = session
        if len(self.sessions) > _MANY_SESSIONS and len(self.sessions) % _MANY_SESSIONS == 0:
            now = self.clock()
            self.sessions = {key: each for key, each in self.sessions.items() if now < each.expires_at}

    def remove(self, link_id: str) -> None:
        """Forget a link and the logins that wait for it."""
        self.links.remove(link_id)
        self.scheduled.pop(link_id, None)
        for session in [session for session in self.sessions.values() if session.link_id == link_id]:
            del self.sessions[session.id]

    def confirm(self, link_id: str) -> bool:
        """Let the user confirm the login elsewhere; tells whether one was waiting."""
        waiting = [session for session in self.sessions.values() if session.link_id == link_id]
        for session in waiting:
            self.sessions[session.id] = evolve(session, confirmed=True)
        return bool(waiting)

    def add_links(self, number: int, account: Account, overrides: LinkOverrides, *, announce: bool) -> list[str]:
        """Plain links, created one after the other up to now; the newest one first."""
        now = self.clock()
        # Within 300 days, so that the usual storage of one year is not over for the oldest ones.
        spacing = min(timedelta(minutes=1), timedelta(days=300) / max(number, 1))
        make = _maker(account, overrides, self.switches.refresh_rate)
        collected = gc.isenabled()
        gc.disable()  # nothing of what is made here is garbage, and looking for some takes most of the time
        try:
            ids = [self.ids.uuid() for _ in range(number)]
            links = [
                make(ids[position], now - position * spacing, number - position, self.links.next_number())
                for position in range(number - 1, -1, -1)
            ]
            self.links.add_many(links)
        finally:
            if collected:
                gc.enable()
        if number >= _MANY_LINKS:
            gc.collect()  # now, rather than in the midst of some request
        for link in links if announce else ():
            self.schedule(link.as_of(now))
        return ids


def _maker(
    account: Account, overrides: LinkOverrides, refresh_rate: str
) -> Callable[[str, datetime, int, int], StoredLink]:
    """Makes plain links that differ in their id, their moment and their number."""
    institution = overrides.get("institution", "erebor_mx_retail")
    mode = overrides.get("access_mode", "single")
    recurrent = mode == "recurrent"
    storage = overrides.get("credentials_storage", "store" if recurrent else DEFAULT_STALE_IN)
    status, stale_in = overrides.get("status", "valid"), overrides.get("stale_in", "90d")
    its_rate = overrides.get("refresh_rate", refresh_rate if recurrent else None)
    resources = overrides.get("fetch_resources", INSTITUTIONS[institution].core)

    def make(link_id: str, created_at: datetime, user: int, number: int) -> StoredLink:
        username = overrides.get("username", f"user_{user}")
        link = StoredLink(
            id=link_id,
            account=account.secret_id,
            institution=institution,
            username=username,
            trigger=OWN_TRIGGERS.get(username),
            access_mode=mode,
            status=status,
            refresh_rate=its_rate,
            created_by=account.user,
            last_accessed_at=created_at + timedelta(milliseconds=8),
            external_id=overrides.get("external_id", f"user-{user}"),
            created_at=created_at,
            institution_user_id=institution_user_id(institution, username),
            credentials_storage=storage,
            stale_in=stale_in,
            fetch_resources=resources,
            number=number,
        )
        return link if link.trigger is None else life.with_lapse(link)

    return make


def default_keys(seed: int) -> tuple[str, str]:
    """The keys of the first account, from the seed alone."""
    digest = hashlib.sha256(f"belvo sandbox keys {seed}".encode()).hexdigest()
    secret_id = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
    return secret_id, hashlib.sha256(digest.encode()).hexdigest()
