"""What happens to links by itself, as the simulated time passes (documentation sections 8, 14 and 16.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attrs import evolve

from . import webhooks
from .institutions import INSTITUTIONS
from .rules import needs_mfa
from .state import DAY, Lapse, Pending, StoredLink, rate
from .triggers import Operation
from .webhooks import Event

if TYPE_CHECKING:
    from .world import World

LATER: Mapping[str, Event] = {"invalid": webhooks.INVALID, "token_required": webhooks.TOKEN_REQUIRED}


def with_lapse(link: StoredLink) -> StoredLink:
    """The link with the end of its good time, where its user asks for one and it has begun to be refreshed."""
    every, trigger = rate(link.refresh_rate), link.trigger
    if every is None or trigger is None or link.last_accessed_at is None or not link.is_refreshed:
        return evolve(link, lapse=None)
    if trigger.lapse_after:
        return evolve(link, lapse=Lapse(link.last_accessed_at + trigger.lapse_after * every, trigger.lapse_to))
    # Nobody is there to answer a challenge that a scheduled refresh meets (documentation section 8).
    asked = needs_mfa(link) and link.passed != "refresh"
    return evolve(link, lapse=Lapse(link.last_accessed_at + every, "token_required") if asked else None)


def after_login(world: World, link: StoredLink, operation: Operation) -> StoredLink:
    """What follows a login that has worked: a historical update, and the first scheduled refresh."""
    now = world.clock()
    recurrent = link.access_mode == "recurrent"
    if operation == "register":
        link = with_lapse(link)
        always = recurrent or world.switches.historical_always
        resources = link.fetch_resources or (INSTITUTIONS[link.institution].core if always else ())
        _later(world, link, resources, world.due())
    elif operation == "update":
        link = evolve(link, lapse=None)
        _later(world, link, link.fetch_resources if recurrent else (), world.due())
    elif operation == "patch":
        link = with_lapse(link)
        # "The next day", of the core resources (documentation section 9.5).
        _later(world, link, INSTITUTIONS[link.institution].core, now + DAY)
    elif link.lapse is None or now < link.lapse.at:
        return link
    else:  # what the scheduled refresh had waited for has been answered
        link = evolve(link, lapse=None)
    world.links.put(link)
    world.schedule(link)
    return link


def _later(world: World, link: StoredLink, resources: tuple[str, ...], due: datetime) -> None:
    if resources:
        world.later(Pending(due, "history", link.id, world.event_ids.uuid(), resources))


def _delete(world: World, link: StoredLink, work: Pending) -> None:
    world.remove(link.id)
    world.tell(work.due, link, webhooks.LINK_DELETED, work.request_id)


def _refresh(world: World, link: StoredLink, work: Pending) -> None:
    if link.status != "valid":
        return  # since it was accepted
    if needs_mfa(link) and link.passed != "refresh":
        world.links.put(evolve(link, status="token_required", lapse=None))
        world.tell(work.due, link, webhooks.TOKEN_REQUIRED, work.request_id)
        return
    link = evolve(link, last_accessed_at=work.due)
    world.links.put(link)
    world.schedule(link)
    _history(world, link, work)


def _history(world: World, link: StoredLink, work: Pending) -> None:
    for resource in work.resources:
        world.tell(work.due, link, webhooks.historical(link, resource, work.due), work.request_id)


def _scheduled(world: World, link: StoredLink, work: Pending) -> None:
    request_id = world.event_ids.uuid()
    status = link.status
    if status not in LATER:
        for resource in link.fetch_resources:
            world.tell(work.due, link, webhooks.available(link, resource, work.due), request_id)
        world.schedule(link)
    else:
        world.tell(work.due, link, LATER[status], request_id)


_WORK: Mapping[str, Callable[[World, StoredLink, Pending], None]] = {
    "delete": _delete,
    "refresh": _refresh,
    "history": _history,
    "scheduled": _scheduled,
}


def do(world: World, work: Pending) -> None:
    """Do what is due, at the moment when it was due; nothing where the link is gone by then."""
    link = world.links.get(work.link_id)
    if link is None:
        return
    if work.kind == "scheduled":
        if world.scheduled.get(link.id) != work.due:
            return  # another login has moved the schedule since
        del world.scheduled[link.id]
        if not link.is_refreshed:
            return
    aged = link.as_of(work.due)
    if aged is not link:
        world.links.put(aged)
    _WORK[work.kind](world, aged, work)


def data_until(link: StoredLink, now: datetime) -> datetime | None:
    """When the user's data go: so long after the last update (documentation section 14); ``None``: never had any."""
    accessed = link.accessed_at(now)
    if accessed is None:
        return None
    return accessed + (rate(link.stale_in) or timedelta(days=365))
