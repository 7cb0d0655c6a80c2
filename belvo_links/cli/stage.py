"""What the scenes of the demo are made of, and what they play on.

Every scene proves what it says. Where something else happens, it raises :class:`PromiseBrokenError`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import attrs

from belvo_links.client.links import BelvoLinks
from belvo_links.client.pending import PendingSession
from belvo_links.protocol.credentials import Credentials
from belvo_links.protocol.models import Link
from belvo_links.protocol.qr import QrCode
from belvo_links.sandbox.options import Switches
from belvo_links.sandbox.sandbox import Sandbox
from belvo_links.wire import JsonValue

RIGHT: Final = "111111"
"""The token that the simulator accepts, as Belvo's sandbox does."""


class PromiseBrokenError(Exception):
    """A scene did not come out as promised."""


@attrs.define
class Stage:
    """What the scenes play on: the simulator, a client of it, and the links so far, oldest first."""

    box: Sandbox
    belvo: BelvoLinks
    links: list[Link] = attrs.Factory(list)


@attrs.frozen
class Outcome:
    """How a scene came out.

    Attributes:
        said: one sentence for people.
        data: the same for programs.
        events: what happened on the way, one short line each.
        qr: a QR code to show.
        calls: how many requests of each call the SDK says it has made, where the scene cannot know that before.
    """

    said: str
    data: Mapping[str, JsonValue]
    events: tuple[str, ...] = ()
    qr: QrCode | None = None
    calls: Mapping[str, int] | None = None


@attrs.frozen(kw_only=True)
class Scene:
    """One step of the demo.

    Attributes:
        name: its title.
        said: what it is about, in one or two sentences.
        code: what a user would write.
        play: does it.
        calls: how many requests of each call the server must receive; for some, the outcome says it.
        tokens: how often it must receive each token.
        meanwhile: what people see from its beginning to its end, where it always takes long.
    """

    name: str
    said: str
    code: str
    play: Callable[[Stage], Awaitable[Outcome]]
    calls: Mapping[str, int] = attrs.field(factory=dict[str, int])
    tokens: Mapping[str, int] = attrs.field(factory=dict[str, int])
    meanwhile: str | None = None


def simulator() -> Sandbox:
    """Return the simulator of the demo: in it, nobody but the story confirms a login elsewhere."""
    return Sandbox(switches=Switches(confirm_after=None))


def shown(link: Link) -> dict[str, JsonValue]:
    """Return what the demo shows of a link."""
    return {
        "id": link.id,
        "institution": link.institution,
        "status": str(link.status),
        "access_mode": None if link.access_mode is None else str(link.access_mode),
        "external_id": link.external_id,
        "created_at": link.created_at.isoformat(timespec="seconds"),
    }


def short(link: Link) -> str:
    """Return how a sentence calls a link."""
    return f"Link {link.id[:8]} at {link.institution}"


def promise(kept: bool, text: str) -> None:
    """Break the scene off with this text unless something is as it was said."""
    if not kept:
        raise PromiseBrokenError(text)


async def ask(belvo: BelvoLinks, institution: str, credentials: Credentials, person: str) -> Link | PendingSession:
    """Register a link with single access."""
    return await belvo.register(institution, credentials, external_id=person, access_mode="single")


def challenged(result: Link | PendingSession, kind: str, round_: int = 1) -> PendingSession:
    """Return the pending session that a call must have led to."""
    if isinstance(result, Link):
        raise PromiseBrokenError("a challenge was expected, and a link came")
    promise(result.challenge.kind == kind, f"the challenge is {result.challenge.kind}, not {kind}")
    promise(result.round == round_, f"the challenge is of round {result.round}, not {round_}")
    return result


def linked(stage: Stage, result: Link | PendingSession) -> Link:
    """Return the valid link that a call must have led to, and count it."""
    if not isinstance(result, Link):
        raise PromiseBrokenError("a link was expected, and the bank asked again")
    promise(result.status == "valid", f"the link is {result.status}, not valid")
    stage.links.append(result)
    return result
