"""What programs are told about the simulator: the same as on the page, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from belvo_links.sandbox.answers import JsonObject
from belvo_links.sandbox.faults import WaitingFault
from belvo_links.sandbox.state import timestamp
from belvo_links.sandbox.waiting import waiting_logins
from belvo_links.sandbox.world import World

from .views import LinksView, RequestsView


def logins(world: World) -> JsonObject:
    """The logins that wait, the latest last, each with the token that is accepted."""
    now = world.clock()
    waiting = [
        {
            "link": login.link_id,
            "institution": login.institution,
            "username": login.username,
            "operation": login.operation,
            "kind": login.kind,
            "instructions": login.instructions,
            "value": login.value,
            "round": login.round,
            "expires_at": timestamp(login.expires_at),
            "seconds_left": (login.expires_at - now).total_seconds(),
            "expects_user_input": login.expects_user_input,
            "token": login.token,
            "confirmed": login.confirmed,
        }
        for login in waiting_logins(world)
    ]
    return {"now": timestamp(now), "logins": waiting}


def links(view: LinksView, now: datetime) -> JsonObject:
    """The newest links and the ones that are gone, with their history."""
    shown = [
        {
            "id": card.id,
            "institution": card.institution,
            "username": card.username,
            "external_id": card.external_id or None,
            "access_mode": card.access_mode,
            "status": card.status,
            "history": [{"at": timestamp(line.at), "what": line.what} for line in card.history],
        }
        for card in view.cards
    ]
    return {"now": timestamp(now), "total": view.total, "links": shown}


def requests(view: RequestsView, now: datetime) -> JsonObject:
    """The requests that are remembered, the last one first, without their secrets."""
    shown = [
        {
            "number": line.number,
            "at": timestamp(line.at),
            "method": line.method,
            "path": line.path,
            "query": line.query,
            "status": line.status,
            "headers": dict(line.headers),
            "body": line.body or None,
        }
        for line in view.lines
    ]
    return {"now": timestamp(now), "served": view.served, "requests": shown}


def faults(waiting: Sequence[WaitingFault]) -> JsonObject:
    """The faults that wait, the next one first."""
    shown = [
        {"kind": each.fault.kind, "method": each.method, "template": each.template, "times": each.times}
        for each in waiting
    ]
    return {"faults": shown}
