"""What the simulator holds: accounts, links, login sessions."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal, NamedTuple, TypedDict
from uuid import UUID

from attrs import evolve, field, frozen

from .answers import JsonValue
from .triggers import Challenge, LaterStatus, Operation, Trigger

Status = Literal["valid", "invalid", "unconfirmed", "token_required"]
AccessMode = Literal["single", "recurrent"]


Order = tuple[datetime, int]
DAY = timedelta(days=1)
NEVER = datetime.max.replace(tzinfo=UTC)
NOSTORE_LIFE = timedelta(minutes=15)
"""How long credentials that are not stored live, from the link's creation (documentation section 10.3)."""


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


@frozen
class Lapse:
    """What a scheduled refresh will find from a moment on, for the users that ask for it."""

    at: datetime
    to: LaterStatus


class Course(NamedTuple):
    """What becomes of a link's status while nobody does anything; ages are counted from its creation.

    A tuple, because millions of them are compared.
    """

    status: Status
    stored: timedelta | None = None
    """The age at which the stored credentials go (documentation section 14); ``None``: never."""
    lapse: timedelta | None = None
    """The age at which a scheduled refresh finds ``lapse_to`` (documentation section 8); ``None``: never."""
    lapse_to: Status = "invalid"

    def status_at(self, age: timedelta) -> Status:
        """The status at this age."""
        if self.stored is not None and age >= self.stored:
            return "invalid"
        if self.lapse is not None and age >= self.lapse:
            return self.lapse_to
        return self.status


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
    stale_in: str | None
    fetch_resources: tuple[str, ...]
    refreshed_at: datetime | None = None
    """The last accepted refresh, which starts the cooldown (documentation section 9.8)."""
    passed: Operation | None = None
    """The call, other than a login, whose second factor was given: its repetition goes through."""
    number: int = 0
    """Tells links of the same moment apart: the later one has the higher number."""
    lapse: Lapse | None = None

    @property
    def order(self) -> Order:
        """What links are sorted by: the moment of their creation, then their number."""
        return self.created_at, self.number

    @property
    def stored_until(self) -> datetime | None:
        """When the stored credentials go (documentation section 14); ``None``: with the link."""
        life = storage_life(self.credentials_storage)
        return None if life is None else self.created_at + life

    @property
    def course(self) -> Course:
        """What time alone does to the status: the end of the credentials' storage, what refreshes meet (section 8)."""
        if self.status != "valid":
            return Course(self.status)
        life, lapse = storage_life(self.credentials_storage), self.lapse
        if lapse is None:
            return Course("valid", life)
        return Course("valid", life, lapse.at - self.created_at, lapse.to)

    @property
    def changes_at(self) -> datetime:
        """Before this moment the status stays as it is, unless somebody does something."""
        ages = [age for age in (self.course.stored, self.course.lapse) if age is not None]
        return self.created_at + min(ages) if ages else NEVER

    def status_at(self, now: datetime) -> Status:
        """The status as time has left it."""
        return self.course.status_at(now - self.created_at)

    @property
    def is_refreshed(self) -> bool:
        """Whether the service refreshes this link by itself (documentation section 7)."""
        return self.status == "valid" and self.access_mode == "recurrent" and rate(self.refresh_rate) is not None

    def next_refresh(self) -> datetime | None:
        """When the service will refresh it, counted from the last access; ``None``: never."""
        every = rate(self.refresh_rate)
        if every is None or self.last_accessed_at is None or not self.is_refreshed:
            return None
        return self.last_accessed_at + every

    def accessed_at(self, now: datetime) -> datetime | None:
        """The last successful access, which every scheduled refresh moves (documentation section 7)."""
        every, last = rate(self.refresh_rate), self.last_accessed_at
        if every is None or last is None or not self.is_refreshed:
            return last
        if self.lapse is not None and now >= self.lapse.at:
            now = self.lapse.at - timedelta(microseconds=1)
        return last + (now - last) // every * every if now >= last + every else last

    def as_of(self, now: datetime) -> StoredLink:
        """The link with everything that time alone has changed written down."""
        status, accessed = self.status_at(now), self.accessed_at(now)
        if status == self.status and accessed == self.last_accessed_at:
            return self
        return evolve(self, status=status, last_accessed_at=accessed)

    def to_json(self, now: datetime) -> dict[str, JsonValue]:
        """The link as the API shows it, in the order of real payloads (documentation section 7)."""
        accessed = self.last_accessed_at if self.refresh_rate is None else self.accessed_at(now)
        return {
            "id": self.id,
            "institution": self.institution,
            "access_mode": self.access_mode,
            "status": self.status_at(now),
            "refresh_rate": self.refresh_rate,
            "created_by": self.created_by,
            "last_accessed_at": None if accessed is None else timestamp(accessed),
            "external_id": self.external_id,
            "created_at": timestamp(self.created_at),
            "institution_user_id": self.institution_user_id,
            "credentials_storage": self.credentials_storage,
            "stale_in": self.stale_in,
            "fetch_resources": self.fetch_resources,
        }


@cache
def rate(text: str | None) -> timedelta | None:
    """The time between two scheduled refreshes; ``None`` where there are none (documentation section 4)."""
    found = re.fullmatch(r"([0-9]{1,3})([hmd])", text or "")
    if found is None or found[1].strip("0") == "":
        return None
    unit = {"h": timedelta(hours=1), "m": timedelta(minutes=1), "d": DAY}[found[2]]
    return int(found[1]) * unit


@cache
def storage_life(storage: str) -> timedelta | None:
    """How long credentials are kept from the link's creation (documentation section 14); ``None``: with the link."""
    if storage == "store":
        return None
    return NOSTORE_LIFE if storage == "nostore" else int(storage[:-1]) * DAY


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
    steps: tuple[Challenge, ...]
    """The challenges that are left; the first one is being asked."""
    expires_at: datetime
    expiry: int
    round: int = 1
    """Which 428 of this login it is that waits."""
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


@frozen
class Pending:
    """Work that is done later."""

    due: datetime
    kind: Literal["delete", "refresh", "history", "scheduled"]
    """An asynchronous deletion; an update that was asked for; one that follows a login; one by the clock."""
    link_id: str
    request_id: str = ""
    """What the answer called it, and its webhooks will (documentation section 16.1)."""
    resources: tuple[str, ...] = ()
