"""One builder per call: what to send, and how to read the reply (documentation section 9)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, Final, Literal, TypeAlias, TypeVar

import attrs

from belvo_links.protocol import checks, codec
from belvo_links.protocol.challenge import TokenRequired, read_token_required
from belvo_links.protocol.credentials import Credentials
from belvo_links.protocol.filters import LinkFilter
from belvo_links.protocol.models import Accepted, AccessMode, Link, LinkPage, PartialPage, RecordPage, Resource
from belvo_links.protocol.quotas import SYNC_DELETIONS, refresh_cooldown
from belvo_links.protocol.replies import error_for
from belvo_links.redact import Secret
from belvo_links.transport.messages import Lane, Operation, Repeat, Request, Response
from belvo_links.wire import ABSENT, JsonValue, MaybeAbsent, encode_json

T = TypeVar("T")

Resources: TypeAlias = Sequence[Resource | str]
Answer: TypeAlias = Link | TokenRequired
"""What a call that logs in comes back with."""

LINKS: Final = "/api/links/"
PAGE_SIZES: Final = range(1, 1001)

_OK: Final = 200
_CREATED: Final = 201
_ACCEPTED: Final = 202
_NO_CONTENT: Final = 204
_TOKEN_REQUIRED: Final = 428

_API_PATH: Final = re.compile(r"/api/(?:[A-Za-z0-9_~\-]+(?:\.[A-Za-z0-9_~\-]+)*/)*[A-Za-z0-9_~\-]*")


def _link_path(link_id: str) -> str:
    return f"{LINKS}{checks.link_id(link_id)}/"


def _json(fields: Mapping[str, JsonValue]) -> Secret[bytes]:
    return Secret(encode_json(fields))


def _reads(*statuses: int, read: Callable[[Response], T]) -> Callable[[Response], T]:
    """Return a reader that takes these statuses as success and raises for every other."""

    def interpret(response: Response) -> T:
        if response.status in statuses:
            return read(response)
        raise error_for(response)

    return interpret


def _or_challenge(interpret: Callable[[Response], T]) -> Callable[[Response], T | TokenRequired]:
    """Return a reader that takes a 428 as an answer too (documentation section 10.1)."""

    def interpret_challenge(response: Response) -> T | TokenRequired:
        if response.status == _TOKEN_REQUIRED:
            return read_token_required(response)
        return interpret(response)

    return interpret_challenge


# 200 and 201 are both seen for every call that returns a link (documentation section 9.3).
_link_or_challenge: Final = _or_challenge(_reads(_OK, _CREATED, read=codec.read_link))


def _resources(value: MaybeAbsent[Resources | None]) -> MaybeAbsent[Sequence[str] | None]:
    return value if value is ABSENT or value is None else checks.texts("fetch_resources", value)


def _given(fields: Mapping[str, MaybeAbsent[JsonValue]]) -> dict[str, JsonValue]:
    return {name: value for name, value in fields.items() if value is not ABSENT}


def register(
    institution: str,
    credentials: Credentials,
    *,
    external_id: MaybeAbsent[str | None] = ABSENT,
    access_mode: MaybeAbsent[AccessMode | str | None] = ABSENT,
    fetch_resources: MaybeAbsent[Resources | None] = ABSENT,
    credentials_storage: MaybeAbsent[str | None] = ABSENT,
    stale_in: MaybeAbsent[str | None] = ABSENT,
) -> Operation[Answer]:
    """Register a link: ``POST /api/links/`` (documentation section 9.2)."""
    name = checks.text("institution", institution)
    if not name:
        msg = "institution: is empty"
        raise ValueError(msg)
    checked = {
        "external_id": _checked(external_id, checks.external_id),
        "access_mode": _checked(access_mode, _access_mode),
        "fetch_resources": _resources(fetch_resources),
        "credentials_storage": _checked(credentials_storage, checks.credentials_storage),
        "stale_in": _checked(stale_in, checks.stale_in),
    }
    checks.storage_combination(
        access_mode=access_mode, credentials_storage=credentials_storage, fetch_resources=fetch_resources
    )
    fields = _given(checked)
    hint = "Look for the link before you register again"
    hint += ": `count(LinkFilter(external_id=…))`." if external_id else "; give an `external_id` to find it by."
    return Operation(
        name="register",
        request=Request(method="POST", path=LINKS, body=_json({"institution": name, **_body(credentials), **fields})),
        interpret=_link_or_challenge,
        repeat=_with_token(credentials),
        lane=Lane.PERSON,
        logs_in=True,
        lost_hint=hint,
    )


def _checked(value: MaybeAbsent[str | None], check: Callable[[str], str]) -> MaybeAbsent[str | None]:
    return value if value is ABSENT or value is None else check(value)


def _access_mode(value: str) -> str:
    return checks.text("access_mode", value)


def _body(credentials: object) -> dict[str, JsonValue]:
    if not isinstance(credentials, Credentials):
        msg = "credentials: give a Credentials"
        raise TypeError(msg)
    return credentials.body()


def _with_token(credentials: Credentials) -> Repeat:
    return Repeat.CHANGE if credentials.token is None else Repeat.NEVER


COMPLETE: Final = Request(method="PATCH", path=LINKS)
"""Where the answer to a challenge goes."""


def complete(
    session: Secret[str],
    link_id: str,
    *,
    token: Secret[str] | None = None,
    save_data: MaybeAbsent[bool | None] = ABSENT,
) -> Operation[Answer]:
    """Complete a login that waits for a token: ``PATCH /api/links/`` (documentation section 9.3). One attempt."""
    fields: dict[str, JsonValue] = {"session": session.reveal(), "link": checks.link_id(link_id)}
    if token is not None:
        fields["token"] = checks.text("token", token.reveal())
    if save_data is not ABSENT:
        fields["save_data"] = _flag("save_data", save_data)
    return Operation(
        name="complete",
        request=attrs.evolve(COMPLETE, body=_json(fields)),
        interpret=_link_or_challenge,
        repeat=Repeat.NEVER,
        lane=Lane.PERSON,
        logs_in=True,
    )


LOOK: Final = Request(method="GET", path=f"{LINKS}{{id}}/")
"""Where a look at a link goes, whichever it is."""


def _flag(name: str, value: object) -> bool | None:
    if value is not None and not isinstance(value, bool):
        msg = f"{name}: give a bool"
        raise TypeError(msg)
    return value


def get(link_id: str) -> Operation[Answer]:
    """Read one link: ``GET /api/links/{id}/`` (documentation section 9.4)."""
    return Operation(
        name="get",
        request=Request(method="GET", path=_link_path(link_id)),
        interpret=_link_or_challenge,
        repeat=Repeat.READ,
    )


def _listing(
    name: str,
    filters: LinkFilter | None,
    paging: Mapping[str, int],
    read: Callable[[Response], T],
    *,
    lane: Lane = Lane.CALL,
    names: tuple[tuple[str, str], ...] = (),
) -> Operation[T]:
    chosen = filters or LinkFilter()
    if not chosen.fits():
        msg = "filters: too long for a URL; use iterate or count, which split them"
        raise ValueError(msg)
    query = (*chosen.query(), *names, *((name, str(number)) for name, number in paging.items()))
    return Operation(
        name=name,
        request=Request(method="GET", path=LINKS, query=query),
        interpret=_reads(_OK, read=read),
        repeat=Repeat.READ,
        lane=lane,
    )


def _paging(page: int, page_size: int) -> Mapping[str, int]:
    if checks.whole_number("page", page) < 1:
        msg = "page: pages are counted from 1"
        raise ValueError(msg)
    if checks.whole_number("page_size", page_size) not in PAGE_SIZES:
        msg = f"page_size: give {PAGE_SIZES[0]} to {PAGE_SIZES[-1]}"
        raise ValueError(msg)
    return {"page": page, "page_size": page_size}


def page(filters: LinkFilter | None = None, *, page: int = 1, page_size: int = 100) -> Operation[LinkPage]:
    """Read one page of links: ``GET /api/links/`` (documentation sections 5, 6 and 9.1)."""
    return _listing("page", filters, _paging(page, page_size), codec.read_page)


def partial_page(
    filters: LinkFilter | None = None,
    *,
    page: int = 1,
    page_size: int = 100,
    fields: Sequence[str] | None = None,
    omit: Sequence[str] | None = None,
) -> Operation[PartialPage]:
    """Read one page of parts of links (documentation section 6, ``fields`` and ``omit``)."""
    names = tuple(
        (name, _names(name, value)) for name, value in (("fields", fields), ("omit", omit)) if value is not None
    )
    return _listing("page", filters, _paging(page, page_size), codec.read_partial_page, names=names)


def _names(name: str, values: Sequence[str]) -> str:
    chosen = checks.texts(name, values)
    if not chosen or any("," in each for each in chosen):
        msg = f"{name}: give first-level names of a link's fields"
        raise ValueError(msg)
    return ",".join(chosen)


def iteration_page(filters: LinkFilter | None, *, page: int, page_size: int) -> Operation[LinkPage]:
    """Read one page of a long listing: in the bulk lane, by the fast lane of the codec."""
    return _listing("iterate", filters, _paging(page, page_size), codec.read_page_fast, lane=Lane.BULK)


def scan_page(filters: LinkFilter, *, page: int, page_size: int, in_full: bool) -> Operation[RecordPage]:
    """Read one page of a scan: like a page of a long listing, but a record that is no link costs that record alone."""
    read = partial(codec.read_records, in_full=in_full)
    return _listing("iterate", filters, _paging(page, page_size), read, lane=Lane.BULK)


def count(filters: LinkFilter | None = None) -> Operation[int]:
    """Count links: ``GET /api/links/`` with one link a page (documentation section 5)."""
    return _listing("count", filters, {"page_size": 1}, codec.read_count)


def patch(
    link_id: str,
    *,
    access_mode: MaybeAbsent[AccessMode | str | None] = ABSENT,
    stale_in: MaybeAbsent[str | None] = ABSENT,
    fetch_resources: MaybeAbsent[Resources | None] = ABSENT,
) -> Operation[Answer]:
    """Change how a link fetches data: ``PATCH /api/links/{id}/`` (documentation section 9.5)."""
    fields = _given(
        {
            "access_mode": _checked(access_mode, _access_mode),
            "stale_in": _checked(stale_in, checks.stale_in),
            "fetch_resources": _resources(fetch_resources),
        }
    )
    if not fields:
        msg = "patch: nothing to change; give access_mode, stale_in or fetch_resources"
        raise ValueError(msg)
    return Operation(
        name="patch",
        request=Request(method="PATCH", path=_link_path(link_id), body=_json(fields)),
        interpret=_link_or_challenge,
        repeat=Repeat.CHANGE,
        logs_in=True,
    )


def update(link_id: str, credentials: Credentials) -> Operation[Answer]:
    """Log in with new credentials: ``PUT /api/links/{id}/`` (documentation section 9.6)."""
    body = _body(credentials)
    if credentials.username is not None:
        msg = "username: it cannot be changed; leave it out"
        raise ValueError(msg)
    if credentials.password is None:
        msg = "password: needed to update a link"
        raise ValueError(msg)
    return Operation(
        name="update",
        request=Request(method="PUT", path=_link_path(link_id), body=_json(body)),
        interpret=_link_or_challenge,
        repeat=_with_token(credentials),
        lane=Lane.PERSON,
        logs_in=True,
    )


def delete(link_id: str, *, mode: Literal["async", "sync"]) -> Operation[Accepted | TokenRequired | None]:
    """Delete a link: ``DELETE /api/links/{id}/`` (documentation section 9.7)."""
    path = _link_path(link_id)
    if mode not in ("async", "sync"):
        msg = 'mode: give "async" or "sync"'
        raise ValueError(msg)
    done = Accepted(link_id=link_id, request_id=None) if mode == "async" else None

    def read(response: Response) -> Accepted | None:
        return done if response.status == _NO_CONTENT else codec.read_accepted(response, link_id=link_id)

    # A service that answers 204 to an asynchronous deletion has already done it; 202 to a synchronous one has not.
    statuses = (_ACCEPTED, _NO_CONTENT) if mode == "async" else (_NO_CONTENT,)
    return Operation(
        name="delete",
        request=Request(
            method="DELETE", path=path, headers={"X-Belvo-Request-Mode": "async"} if mode == "async" else {}
        ),
        interpret=_or_challenge(_reads(*statuses, read=read)),
        repeat=Repeat.DELETE,
        gone=lambda: done,
        quota=SYNC_DELETIONS if mode == "sync" else None,
    )


def refresh(link_id: str, fetch_resources: Resources | None = None) -> Operation[Accepted | TokenRequired]:
    """Fetch a link's data anew: ``POST /api/links/{id}/refresh/`` (documentation section 9.8)."""
    path = f"{_link_path(link_id)}refresh/"
    fields: dict[str, JsonValue] = {}
    if fetch_resources is not None:
        fields["fetch_resources"] = checks.texts("fetch_resources", fetch_resources)

    def read(response: Response) -> Accepted:
        return codec.read_accepted(response, link_id=link_id)

    return Operation(
        name="refresh",
        request=Request(method="POST", path=path, body=_json(fields)),
        interpret=_or_challenge(_reads(_ACCEPTED, read=read)),
        repeat=Repeat.CHANGE,
        lost_hint="It may have been accepted: a 409 within ten minutes would say so.",
        quota=refresh_cooldown(link_id),
    )


QueryValue: TypeAlias = str | int | bool | date | Sequence[str]


def get_json(path: str, query: Mapping[str, QueryValue] | None = None) -> Operation[JsonValue]:
    """Read anything else: ``GET /api/…`` of the same service, such as the institutions (documentation section 21)."""
    if not _API_PATH.fullmatch(checks.text("path", path)):
        msg = "path: give one of this service such as /api/institutions/, without a query"
        raise ValueError(msg)
    return Operation(
        name="get_json",
        request=Request(
            method="GET",
            path=path if path.endswith("/") else f"{path}/",
            query=tuple((name, _query_text(name, value)) for name, value in (query or {}).items()),
        ),
        interpret=_reads(_OK, read=codec.read_json),
        repeat=Repeat.READ,
    )


def _query_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return checks.text(name, str(value))
    if isinstance(value, date):
        return value.isoformat()
    values = checks.texts(name, value)
    if any("," in each for each in values):
        msg = f"{name}: a value with a comma cannot be used in a list"
        raise ValueError(msg)
    return ",".join(values)
