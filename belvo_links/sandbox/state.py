"""What the simulator holds: accounts, links, login sessions."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Literal, TypedDict
from uuid import UUID

from attrs import field, frozen

from .answers import JsonValue
from .triggers import Operation, Step, Trigger

Status = Literal["valid", "invalid", "unconfirmed", "token_required"]
AccessMode = Literal["single", "recurrent"]


class LinkOverrides(TypedDict, total=False):
    """What bulk-created links may have otherwise than the plain ones."""

    institution: str
    username: str
    access_mode: AccessMode
    status: Status
    refresh_rate: str | None
    external_id: str | None
    credentials_storage: str
    stale_in: str | None
    fetch_resources: tuple[str, ...]


@frozen(kw_only=True)
class StoredLink:
    """A link as the simulator holds it; credentials are not kept, except for the user name that triggers."""

    id: str
    account: str
    institution: str
    username: str = field(repr=False)
    trigger: Trigger | None = None
    access_mode: AccessMode
    status: Status
    refresh_rate: str | None
    created_by: str
    last_accessed_at: datetime | None
    external_id: str | None = field(repr=False)
    created_at: datetime
    institution_user_id: str
    credentials_storage: str
    stored_until: datetime | None
    """When the stored credentials go (documentation section 14); ``None``: with the link."""
    stale_in: str | None
    fetch_resources: tuple[str, ...]
    refreshed_at: datetime | None = None
    """The last accepted refresh, which starts the cooldown (documentation section 9.8)."""
    passed: Operation | None = None
    """The call, other than a login, whose second factor was given: its repetition goes through."""

    def status_at(self, now: datetime) -> Status:
        """The status, with the end of the credentials' storage (documentation section 8)."""
        if self.status == "valid" and self.stored_until is not None and now >= self.stored_until:
            return "invalid"
        return self.status

    def to_json(self, now: datetime) -> dict[str, JsonValue]:
        """The link as the API shows it, in the order of real payloads (documentation section 7)."""
        return {
            "id": self.id,
            "institution": self.institution,
            "access_mode": self.access_mode,
            "status": self.status_at(now),
            "refresh_rate": self.refresh_rate,
            "created_by": self.created_by,
            "last_accessed_at": None if self.last_accessed_at is None else timestamp(self.last_accessed_at),
            "external_id": self.external_id,
            "created_at": timestamp(self.created_at),
            "institution_user_id": self.institution_user_id,
            "credentials_storage": self.credentials_storage,
            "stale_in": self.stale_in,
            "fetch_resources": self.fetch_resources,
        }


def timestamp(moment: datetime) -> str:
    """ISO-8601 in UTC with six digits and ``Z``, as in real payloads (documentation section 4)."""
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@frozen(kw_only=True)
class LoginSession:
    """A login that waits for a second factor (documentation section 10)."""

    id: str = field(repr=False)
    link_id: str
    account: str
    operation: Operation
    trigger: Trigger | None
    steps: tuple[Step, ...]
    """The challenges that are left; the first one is being asked."""
    expires_at: datetime
    expiry: int
    early: int = 0
    """Completes that came before the user had confirmed."""
    confirmed: bool = False
    on_success: Callable[[StoredLink], StoredLink] = field(default=lambda link: link, repr=False)
    """What else the login changes once it has succeeded: what a patch wanted."""


@frozen
class Account:
    """A pair of API keys and the API user they stand for."""

    secret_id: str
    secret_password: str = field(repr=False)
    user: str
    """The UUID that is ``created_by`` on all its links."""


class Identifiers:
    """Every identifier of the simulator, from one seeded source (documentation section 4)."""

    __slots__ = ("_random",)

    def __init__(self, source: random.Random) -> None:
        self._random = source

    def uuid(self) -> str:
        """A random UUID, version 4."""
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def hex(self, digits: int = 32) -> str:
        """Lower-case hexadecimal digits: request ids and sessions."""
        return f"{self._random.getrandbits(digits * 4):0{digits}x}"


class Links:
    """All links, by id and, per account, in the order of their creation."""

    __slots__ = ("_by_id", "_number", "_timelines")

    def __init__(self) -> None:
        self._by_id: dict[str, StoredLink] = {}
        self._timelines: dict[str, list[tuple[datetime, int, str]]] = {}
        self._number: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, link_id: str, account: str | None = None) -> StoredLink | None:
        """The link with this id, if it exists and, where one is named, belongs to the account."""
        link = self._by_id.get(link_id)
        return link if link is not None and account in (None, link.account) else None

    def add(self, *links: StoredLink) -> None:
        """Add new links; many at once cost one sort."""
        for link in links:
            self._number[link.id] = len(self._number)
            self._by_id[link.id] = link
        if len(links) == 1:
            insort(self._timelines.setdefault(links[0].account, []), self._key(links[0]))
            return
        for account in {link.account for link in links}:
            timeline = self._timelines.setdefault(account, [])
            timeline.extend(self._key(link) for link in links if link.account == account)
            timeline.sort()

    def put(self, link: StoredLink) -> None:
        """Replace a link by its changed self."""
        self._by_id[link.id] = link

    def remove(self, link_id: str) -> None:
        """Forget a link."""
        link = self._by_id.pop(link_id)
        timeline = self._timelines[link.account]
        del timeline[bisect_left(timeline, self._key(link))]

    def count(self, account: str) -> int:
        """How many links the account has."""
        return len(self._timelines.get(account, ()))

    def newest(self, account: str, start: int = 0, stop: int | None = None) -> Iterator[StoredLink]:
        """The account's links, newest first, from one position to another."""
        timeline = self._timelines.get(account, [])
        last = len(timeline) if stop is None else min(stop, len(timeline))
        for position in range(start, last):
            yield self._by_id[timeline[-1 - position][2]]

    def _key(self, link: StoredLink) -> tuple[datetime, int, str]:
        return link.created_at, self._number[link.id], link.id


@frozen
class Pending:
    """Work that is done later: an asynchronous deletion, or the historical update after a refresh."""

    due: datetime
    kind: Literal["delete", "refresh"]
    link_id: str


DAY = timedelta(days=1)
