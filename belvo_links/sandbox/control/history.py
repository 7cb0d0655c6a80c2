"""What has happened to each link: kept only where somebody can look at it, and never much of it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import datetime

from attrs import frozen

from belvo_links.sandbox.links import Links
from belvo_links.sandbox.state import LoginSession, StoredLink
from belvo_links.sandbox.world import LoginNews

LINKS = 1000
"""Of so many links, those something happened to last, the history is kept."""
EVENTS = 30
"""So many events of each, the latest ones."""
GONE = 20
"""So many links that were deleted are still shown."""


@frozen
class Happening:
    """Something that happened to a link. What is said is made of the API's words, never of a user's."""

    at: datetime
    what: str


class History:
    """The latest events of the links something happened to last, in memory that does not grow with their number."""

    def __init__(self, moment: Callable[[], datetime]) -> None:
        self._moment = moment
        self._events: OrderedDict[str, deque[Happening]] = OrderedDict()
        self.gone: deque[StoredLink] = deque(maxlen=GONE)
        """The links that were deleted, the latest one last."""

    def of(self, link_id: str) -> tuple[Happening, ...]:
        """What is known of a link, in the order in which it was noticed."""
        return tuple(self._events.get(link_id, ()))

    def note(self, link_id: str, what: str, at: datetime | None = None) -> None:
        """Remember an event, of now unless another time is given."""
        events = self._events.setdefault(link_id, deque(maxlen=EVENTS))
        self._events.move_to_end(link_id)
        events.append(Happening(at or self._moment(), what))
        if len(self._events) > LINKS:
            self._events.popitem(last=False)

    def note_login(self, session: LoginSession, news: LoginNews) -> None:
        """Remember what has happened to a login."""
        what = f"{session.operation}: {news}"
        if news in ("asked", "asked again"):
            step = session.steps[0]
            wanted = f"a {step.kind} token" if step.expects_user_input else "a confirmation elsewhere"
            what = f"{what} for {wanted} (round {session.round})"
        self.note(session.link_id, what)

    def note_change(self, old: StoredLink, new: StoredLink) -> None:
        """Remember what tells two states of a link apart, the most telling difference of them."""
        now = self._moment()
        if new.status != old.status:
            by_time = old.changes_at <= now and new.status == old.status_at(now)
            self.note(new.id, f"status: {old.status} → {new.status}", old.changes_at if by_time else now)
        elif new.access_mode != old.access_mode:
            self.note(new.id, f"access_mode: {old.access_mode} → {new.access_mode}", now)
        elif new.refreshed_at != old.refreshed_at:
            self.note(new.id, "refresh accepted", now)
        elif new.last_accessed_at != old.last_accessed_at:
            self.note(new.id, "accessed", new.last_accessed_at)

    def note_end(self, link: StoredLink) -> None:
        """Remember that a link was deleted, and what it was."""
        self.gone.append(link)
        self.note(link.id, "deleted")


class WatchedLinks(Links):
    """Links whose changes are remembered."""

    __slots__ = ("_history",)

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def put(self, link: StoredLink) -> None:
        """Replace a link by its changed self."""
        old = self.get(link.id)
        super().put(link)
        if old is not None:
            self._history.note_change(old, link)

    def remove(self, link_id: str) -> None:
        """Forget a link, but not that it was there."""
        link = self.get(link_id)
        super().remove(link_id)
        if link is not None:
            self._history.note_end(link)
