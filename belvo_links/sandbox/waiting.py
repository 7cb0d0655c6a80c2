"""The logins that wait for a second factor, as tests and people look at them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from attrs import field, frozen

from .logins import alive_until, value_of
from .state import LoginSession, StoredLink
from .triggers import ChallengeKind, Operation
from .world import World


def _masked(value: object) -> str:
    return "None" if value is None else "'***'"


@frozen(kw_only=True)
class WaitingLogin:
    """A login that waits for a second factor: what the user's phone would show, and what would be accepted."""

    link_id: str
    institution: str
    """Its name, as in the API."""
    username: str = field(repr=False)
    operation: Operation
    """The call that has met the challenge."""
    kind: ChallengeKind
    instructions: str
    value: str | None = field(repr=False)
    """A number to show or a PNG picture in base64; ``None`` or empty where the challenge has none."""
    round: int
    """Which challenge of this login it is, from 1; a token that is refused begins another one."""
    expires_at: datetime
    """From then on (simulated time) the login cannot be completed."""
    expects_user_input: bool
    """Whether a token is asked for; otherwise the user confirms elsewhere, see :meth:`Sandbox.confirm`."""
    token: str | None = field(repr=_masked)
    """The token that will be accepted; ``None`` where none is asked for."""
    confirmed: bool
    """Whether the user has confirmed elsewhere."""


def waiting_logins(world: World, *, limit: int | None = None) -> list[WaitingLogin]:
    """The logins that can still be completed, the latest challenge last; of many, the latest ones."""
    now = world.clock()
    alive = (_shown(session, link, now) for session, link in latest_sessions(world))
    return list(islice((login for login in alive if login is not None), limit))[::-1]


def latest_sessions(world: World) -> Iterator[tuple[LoginSession, StoredLink]]:
    """The sessions that are remembered, those that have expired included, the latest challenge first."""
    for session in reversed(world.sessions.values()):
        link = world.links.get(session.link_id)
        if link is not None:
            yield session, link


def _shown(session: LoginSession, link: StoredLink, now: datetime) -> WaitingLogin | None:
    until, step = alive_until(session, link), session.steps[0]
    if now >= until:
        return None
    return WaitingLogin(
        link_id=link.id,
        institution=link.institution,
        username=link.username,
        operation=session.operation,
        kind=step.kind,
        instructions=step.instructions,
        value=value_of(session),
        round=session.round,
        expires_at=until,
        expects_user_input=step.expects_user_input,
        token=step.token if step.expects_user_input else None,
        confirmed=session.confirmed,
    )
