"""Decisions about logins, storage and limits: values in, values out; no IO, no clock, no randomness."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from attrs import evolve, frozen

from . import answers
from .answers import Problem, RefusalError
from .institutions import BANK_FORM, INSTITUTIONS, TOKEN_FORM, Institution, form_message
from .state import AccessMode, StoredLink
from .triggers import (
    DOCUMENTED_USERS,
    OWN_PREFIX,
    OWN_TRIGGERS,
    RIGHT_TOKEN,
    STEPS_BY_PASSWORD,
    Challenge,
    Operation,
    Trigger,
)
from .validation import REGISTER_OPTIONS, Body, Field, check_fields, check_pair, refuse, string, text

DEFAULT_STALE_IN = "365d"
_PERSONAL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|\d{3}\.?\d{3}\.?\d{3}-?\d{2}")


def institution_user_id(institution: str, username: str) -> str:
    """Stable per user and institution: 44 characters (documentation sections 4 and 15)."""
    digest = hashlib.sha256(f"{institution}\0{username}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()


def kept_external_id(external_id: str | None) -> str | None:
    """What is stored: ``None`` for what looks like an e-mail address or a CPF (documentation section 20)."""
    return None if external_id is None or _PERSONAL.fullmatch(external_id) else external_id


def _institution(value: object) -> tuple[str, str] | None:
    fault = text()(value)
    if fault is None and value not in INSTITUTIONS:
        return "does_not_exist", f"Object with name={value} does not exist."
    return fault


_REGISTER_FIELDS = (
    Field(name="institution", required=True, check=_institution),
    Field(name="username", required=True, check=text()),
    *REGISTER_OPTIONS,
)


@frozen(kw_only=True)
class Registration:
    """A body of Register that has passed every check."""

    institution: Institution
    username: str
    password: str | None
    token: str | None
    external_id: str | None
    access_mode: AccessMode
    fetch_resources: tuple[str, ...]
    credentials_storage: str
    stale_in: str | None


def read_registration(body: Body, resources: tuple[str, ...]) -> Registration:
    """Check a body of Register and fill in the defaults (documentation section 9.2)."""
    refuse(check_fields(body, *_REGISTER_FIELDS) + check_pair(body))
    institution = INSTITUTIONS[str(body["institution"])]
    refuse(_check_form(institution, body))
    check_resources(institution, resources)
    recurrent = body.get("access_mode", "recurrent") == "recurrent"
    storage = string(body, "credentials_storage")
    if recurrent and storage not in (None, "store"):
        raise RefusalError(answers.INVALID_CREDENTIALS_STORAGE)
    if storage == "nostore" and not resources:
        raise RefusalError(answers.INVALID_FETCH_RESOURCES)
    return Registration(
        institution=institution,
        username=str(body["username"]),
        password=string(body, "password"),
        token=string(body, "token"),
        external_id=kept_external_id(string(body, "external_id")),
        access_mode="recurrent" if recurrent else "single",
        fetch_resources=resources or (institution.core if recurrent else ()),
        credentials_storage=storage or ("store" if recurrent else DEFAULT_STALE_IN),
        # Examples show null for single links without one, and the year of the documents for recurrent ones.
        stale_in=string(body, "stale_in") or (DEFAULT_STALE_IN if recurrent else None),
    )


def _check_form(institution: Institution, body: Body) -> list[Problem]:
    """The institution's own form comes after the fields that every institution has (section 17.1).

    The simulator's own users are free of it: they work everywhere, with any password.
    """
    own = _is_ours(body)
    ruled = institution.type == "bank" and institution.integration_type == "credentials" and not own

    def form(name: str) -> Field:
        check = text(longest=16, pattern=BANK_FORM, message=form_message(name)) if ruled else text()
        return Field(name=name, required=name == "password", check=check)

    fields = [] if own else [form("username")]
    if institution.needs_password:
        fields.append(form("password"))
    token = text(pattern=TOKEN_FORM, message=form_message("token")) if institution.mfa else text()
    fields.append(Field(name="token", check=token))
    return check_fields(body, *fields)


def check_resources(institution: Institution, resources: Collection[str]) -> None:
    """Refuse what the institution has not; the field is called ``resources`` (documentation section 11.2)."""
    if not set(resources) <= set(institution.resources):
        supported = ", ".join(institution.resources)
        message = f"The institution only supports the following resources: {supported}"
        raise RefusalError(Problem(400, "invalid", message, "resources"))


def login_trigger(registration: Registration) -> Trigger | None:
    """What logging in with these credentials does; ``None``: it works (documentation section 17)."""
    institution, username = registration.institution, registration.username
    if (own := OWN_TRIGGERS.get(username)) is not None:
        return own
    trigger = DOCUMENTED_USERS.get(username)
    if trigger is None:
        return None
    if trigger.steps:
        matches = institution.mfa and registration.password == trigger.password
        return trigger if matches else None
    return trigger if username != "adv_invalid" or _is_iron(institution) else None


def _is_iron(institution: Institution) -> bool:
    return "username_type" in institution.fields


def _is_ours(body: Body) -> bool:
    return str(body["username"]).startswith(OWN_PREFIX)


def check_extra_credentials(institution: Institution, body: Body) -> None:
    """Iron Bank wants more than a name and a password, and refuses ``invalid`` and ``999`` (section 17.2)."""
    if not _is_iron(institution) or _is_ours(body):
        return
    if any(name not in body for name in institution.fields):
        raise RefusalError(answers.MISSING_CREDENTIALS)
    bad = ("username2", "invalid"), ("password2", "invalid"), ("username_type", "999")
    if any(body[name] == value for name, value in bad):
        raise RefusalError(answers.INVALID_CREDENTIALS)


def challenges_at(operation: Operation, trigger: Trigger | None, token: str | None) -> tuple[Challenge, ...]:
    """The challenges of a login; none where the right token came with it (documentation section 9.2)."""
    if trigger is None or operation not in trigger.at or token == RIGHT_TOKEN:
        return ()
    return trigger.steps


def challenges_of_update(link: StoredLink, password: str, token: str | None) -> tuple[Challenge, ...]:
    """The challenges of an update: each documented MFA password asks for its own kind (section 17.3)."""
    user = DOCUMENTED_USERS.get(link.username)
    if user is None or not user.steps:
        return challenges_at("update", link.trigger, token)
    asks = INSTITUTIONS[link.institution].mfa and token != RIGHT_TOKEN
    return STEPS_BY_PASSWORD.get(password, ()) if asks else ()


def needs_mfa(link: StoredLink) -> bool:
    """Whether a login in the background meets a challenge that nobody is there to answer (section 8)."""
    trigger = link.trigger
    return trigger is not None and bool(trigger.steps) and "register" in trigger.at


def has_credentials(link: StoredLink, now: datetime) -> bool:
    """Whether Belvo still holds the credentials (documentation section 14)."""
    return link.credentials_storage != "nostore" and (link.stored_until is None or now < link.stored_until)


@frozen(kw_only=True)
class Changes:
    """What a patch wants to change (documentation section 9.5); only what was given."""

    access_mode: AccessMode | None = None
    stale_in: str | None = None
    sets_stale_in: bool = False
    fetch_resources: tuple[str, ...] | None = None
    rate: str = "7d"
    """The account's refresh rate, which a link that becomes recurrent gets (documentation section 9.5)."""

    def to_recurrent(self, link: StoredLink) -> bool:
        """Whether the link becomes recurrent, which needs a login."""
        return self.access_mode == "recurrent" and link.access_mode != "recurrent"

    def applied_to(self, link: StoredLink) -> StoredLink:
        """The changed link, with the side effects of the switch (documentation section 9.5)."""
        if self.sets_stale_in:
            link = evolve(link, stale_in=self.stale_in)
        if self.fetch_resources is not None:
            link = evolve(link, fetch_resources=self.fetch_resources)
        if self.to_recurrent(link):
            return evolve(
                link,
                access_mode="recurrent",
                refresh_rate=self.rate,
                credentials_storage="store",
                fetch_resources=link.fetch_resources or INSTITUTIONS[link.institution].core,
            )
        if self.access_mode == "single":
            return evolve(link, access_mode="single", refresh_rate=None, lapse=None)
        return link


NO_CHANGES = Changes()


def read_changes(body: Body, resources: tuple[str, ...], rate: str) -> Changes:
    """The checked body of a patch."""
    mode = string(body, "access_mode")
    return Changes(
        access_mode=None if mode is None else ("recurrent" if mode == "recurrent" else "single"),
        stale_in=string(body, "stale_in"),
        sets_stale_in="stale_in" in body,
        fetch_resources=resources if "fetch_resources" in body else None,
        rate=rate,
    )


def check_usable(link: StoredLink, now: datetime) -> None:
    """Refuse work with a link that is invalid or unconfirmed (documentation section 8)."""
    status = link.status_at(now)
    if status == "invalid":
        raise RefusalError(answers.INVALID_LINK)
    if status == "unconfirmed":
        raise RefusalError(answers.UNCONFIRMED_LINK)


def check_cooldown(refreshed_at: datetime | None, now: datetime, *, minutes: int) -> None:
    """Refuse a refresh too soon after the last accepted one; the minutes are rounded up (section 20)."""
    if refreshed_at is None:
        return
    left = refreshed_at + timedelta(minutes=minutes) - now
    if left > timedelta():
        raise RefusalError(answers.link_refreshed(math.ceil(left / timedelta(minutes=1))))


def check_delete_limit(recent: Sequence[datetime], now: datetime, *, limit: int, retry_after: bool) -> None:
    """Refuse a synchronous deletion beyond the limit of the sliding minute (documentation section 20)."""
    window = [moment for moment in recent if now - moment < timedelta(minutes=1)]
    if len(window) >= limit:
        free_at = window[-limit] + timedelta(minutes=1)
        seconds = math.ceil((free_at - now).total_seconds())
        headers = {"Retry-After": str(seconds)} if retry_after else None
        raise RefusalError(answers.throttled(seconds), headers=headers)
