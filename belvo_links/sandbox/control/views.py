"""What the page shows, as values: made from the simulated world, rendered elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from heapq import nlargest
from itertools import islice

from attrs import field, frozen

from belvo_links.sandbox.faults import WaitingFault
from belvo_links.sandbox.institutions import INSTITUTIONS
from belvo_links.sandbox.logins import alive_until
from belvo_links.sandbox.record import Received
from belvo_links.sandbox.state import StoredLink
from belvo_links.sandbox.waiting import WaitingLogin, latest_sessions, waiting_logins
from belvo_links.sandbox.world import World

from .history import History
from .masking import cut, shown_body, shown_headers, shown_query

MOST_LOGINS = 20
MOST_LINKS = 25
MOST_REQUESTS = 40
_SESSIONS = 500
"""So many of the latest sessions are looked at for the ends of logins."""


@frozen(kw_only=True)
class LoginCard:
    """A waiting login."""

    link_id: str
    institution: str
    username: str
    operation: str
    kind: str
    instructions: str
    number: str
    """What the challenge shows, where that is text."""
    picture: str
    """The same where it is a picture: PNG in base64."""
    round: int
    expires_at: datetime
    seconds_left: int = field(eq=False)
    """Changes all the time, and is no reason to send the card again."""
    token: str | None
    confirmed: bool

    @property
    def time_left(self) -> str:
        """Hours, minutes and seconds."""
        return clock_face(self.seconds_left)


@frozen
class LoginsView:
    """The waiting logins, the latest first."""

    cards: tuple[LoginCard, ...]


@frozen
class Line:
    """One line of a link's history."""

    at: datetime
    what: str

    @property
    def moment(self) -> str:
        """The time as people read it."""
        return moment(self.at)


@frozen(kw_only=True)
class LinkCard:
    """A link and its history."""

    id: str
    institution: str
    institution_name: str
    username: str
    external_id: str
    access_mode: str
    status: str
    accessed: str
    history: tuple[Line, ...]


@frozen
class LinksView:
    """The newest links, then the ones that are gone."""

    cards: tuple[LinkCard, ...]
    shown: int
    """How many of the cards are of links that exist."""
    total: int


@frozen(kw_only=True)
class RequestLine:
    """A request, without its secrets."""

    number: int
    at: datetime
    method: str
    path: str
    query: str
    status: int | None
    headers: tuple[tuple[str, str], ...]
    body: str

    @property
    def moment(self) -> str:
        """The time as people read it."""
        return moment(self.at)

    @property
    def outcome(self) -> str:
        """How it went, in a word for the eye."""
        if self.status is None:
            return "none"
        return "good" if self.status < 400 else "asked" if self.status == 428 else "bad"


@frozen
class RequestsView:
    """The latest requests, the last one first."""

    lines: tuple[RequestLine, ...]
    served: int


@frozen
class FaultLine:
    """A fault that waits."""

    what: str
    whom: str
    times: str


@frozen
class FaultsView:
    """The faults that wait, the next one first."""

    lines: tuple[FaultLine, ...]


def logins_view(world: World) -> LoginsView:
    """The logins that wait at the moment."""
    now = world.clock()
    return LoginsView(tuple(_login_card(login, now) for login in reversed(waiting_logins(world, limit=MOST_LOGINS))))


def _login_card(login: WaitingLogin, now: datetime) -> LoginCard:
    picture = login.kind == "qr"
    return LoginCard(
        link_id=login.link_id,
        institution=INSTITUTIONS[login.institution].display_name,
        username=cut(login.username),
        operation=login.operation,
        kind=login.kind,
        instructions=cut(login.instructions),
        number="" if picture else cut(login.value or ""),
        picture=(login.value or "") if picture else "",
        round=login.round,
        expires_at=login.expires_at,
        seconds_left=int((login.expires_at - now).total_seconds()),
        token=login.token,
        confirmed=login.confirmed,
    )


def links_view(world: World, history: History) -> LinksView:
    """The newest links of all accounts, and those that were deleted last."""
    now = world.settle()
    newest = nlargest(
        MOST_LINKS,
        (link for account in world.accounts for link in world.links.oldest_first(account)[-MOST_LINKS:]),
        key=lambda link: link.order,
    )
    ended = _ended_logins(world, now)
    aged = [world.find(link.id) or link for link in newest]
    cards = [_link_card(link, history, ended, now) for link in aged]
    gone = [_link_card(link, history, {}, None) for link in reversed(history.gone)]
    return LinksView((*cards, *gone), len(cards), len(world.links))


def _link_card(link: StoredLink, history: History, ended: dict[str, list[datetime]], now: datetime | None) -> LinkCard:
    """The card of a link; without a time, of one that is gone."""
    events = [(event.at, event.what) for event in history.of(link.id)]
    events += [(at, "login expired") for at in ended.get(link.id, ())]
    events.sort(key=lambda event: event[0])
    lines = [Line(at, what) for at, what in ((link.created_at, "created"), *events)]
    accessed = link.last_accessed_at if now is None else link.accessed_at(now)
    return LinkCard(
        id=link.id,
        institution=link.institution,
        institution_name=INSTITUTIONS[link.institution].display_name,
        username=cut(link.username),
        external_id=cut(link.external_id or ""),
        access_mode=link.access_mode,
        status="deleted" if now is None else link.status_at(now),
        accessed="" if accessed is None else moment(accessed),
        history=tuple(lines),
    )


def _ended_logins(world: World, now: datetime) -> dict[str, list[datetime]]:
    """When logins have run out that nobody has asked for since."""
    ended: dict[str, list[datetime]] = {}
    for session, link in islice(latest_sessions(world), _SESSIONS):
        until = alive_until(session, link)
        if until <= now:
            ended.setdefault(link.id, []).append(until)
    return ended


def requests_view(requests: Sequence[Received], served: int, most: int = MOST_REQUESTS) -> RequestsView:
    """The latest requests, numbered by how many there were in all."""
    latest = reversed(requests[-most:])
    return RequestsView(tuple(_request_line(each, served - back) for back, each in enumerate(latest)), served)


def _request_line(received: Received, number: int) -> RequestLine:
    return RequestLine(
        number=number,
        at=received.at,
        method=cut(received.method, 20),
        path=cut(received.path),
        query=shown_query(received),
        status=received.status,
        headers=shown_headers(received),
        body=shown_body(received.body),
    )


def faults_view(waiting: Sequence[WaitingFault]) -> FaultsView:
    """The faults that have not been met yet."""
    return FaultsView(tuple(_fault_line(each) for each in waiting))


def _fault_line(waiting: WaitingFault) -> FaultLine:
    fault = waiting.fault
    detail = f" {fault.code}" if fault.kind in ("status", "status_after") else ""
    if fault.kind in ("delay", "delay_after", "slow_body"):
        detail = f" {fault.seconds:g} s"
    whom = " ".join(part for part in (waiting.method, waiting.template) if part)
    times = "until cleared" if waiting.times is None else "once" if waiting.times == 1 else f"{waiting.times} times"
    return FaultLine(f"{fault.kind}{detail}", cut(whom) or "any call", times)


def moment(at: datetime) -> str:
    """A simulated time as people read it; UTC, like everything of the API."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def clock_face(seconds: int) -> str:
    """So many seconds as ``1:02:03`` or ``2:03``."""
    minutes, seconds = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
