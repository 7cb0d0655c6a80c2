"""The calls of the API (documentation section 9): a request's parts in, an answer out, the world changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import evolve, frozen

from . import answers, filters, life, logins, rules
from .answers import Answer, RefusalError
from .catalogue import select_institutions
from .filters import Query
from .institutions import INSTITUTIONS
from .state import Account, Pending, StoredLink
from .triggers import TEXT, Challenge, Trigger
from .validation import (
    COMPLETE_FIELDS,
    FETCH_RESOURCES,
    MODIFY_FIELDS,
    UPDATE_FIELDS,
    Body,
    canonical_uuid,
    check_fields,
    check_pair,
    refuse,
    string,
    string_tuple,
)
from .world import World


@frozen(kw_only=True)
class Call:
    """One authenticated request to a path that exists."""

    world: World
    account: Account
    url: str
    """Absolute, without the query."""
    query: Query
    headers: Mapping[str, str]
    body: Body
    item: str
    """The id in the path; empty where the path has none."""

    def link(self) -> StoredLink:
        """The link that the path names; another account's does not exist (documentation section 9.4)."""
        link = self.world.find(canonical_uuid(self.item), self.account.secret_id)
        if link is None:
            raise RefusalError(answers.NOT_FOUND)
        if link.trigger is not None and link.trigger.denied:
            raise RefusalError(answers.ACCESS_DENIED)
        return link


Handler = Callable[[Call], Answer]


def greet(call: Call) -> Answer:
    """``GET /api/``: tells that the keys are right (documentation section 1)."""
    return Answer(200, {"links": f"{call.url}links/", "institutions": f"{call.url}institutions/"})


def list_links(call: Call) -> Answer:
    """Newest first, by pages (documentation sections 5, 6 and 9.1)."""
    world, now = call.world, call.world.settle()
    page = filters.page_request(call.url, call.query, default_size=world.switches.page_size)
    narrow = filters.projection(call.query)
    found = filters.find_links(call.query, world.links.timeline(call.account.secret_id), now)
    page.check(len(found))
    shown = page.cut(found, backwards=world.switches.list_order == "newest_first")
    if world.switches.largest_page is not None and len(shown) > world.switches.largest_page:
        raise RefusalError(answers.REQUEST_TIMEOUT)
    return Answer(200, page.envelope(len(found), [narrow(link.to_json(now)) for link in shown]))


def register(call: Call) -> Answer:
    """Log in and create a link (documentation section 9.2)."""
    world, now = call.world, call.world.settle()
    registration = rules.read_registration(call.body, string_tuple(call.body, "fetch_resources"))
    rules.check_extra_credentials(registration.institution, call.body)
    trigger = rules.login_trigger(registration)
    steps = _asked_at_register(call, registration, trigger)
    name = registration.institution.name
    link = StoredLink(
        id=world.ids.uuid(),
        account=call.account.secret_id,
        institution=name,
        username=registration.username,
        trigger=trigger,
        access_mode=registration.access_mode,
        status="unconfirmed" if steps else "valid",
        refresh_rate=world.switches.refresh_rate if registration.access_mode == "recurrent" else None,
        created_by=call.account.user,
        last_accessed_at=None if steps else now,
        external_id=registration.external_id,
        created_at=now,
        institution_user_id=rules.institution_user_id(name, registration.username),
        credentials_storage=registration.credentials_storage,
        stale_in=registration.stale_in,
        fetch_resources=registration.fetch_resources,
        number=world.links.next_number(),
    )
    world.links.add(link)
    if steps:
        return logins.ask(world, link, "register", steps)
    return Answer(201, life.after_login(world, link, "register").to_json(now))


def _asked_at_register(call: Call, wanted: rules.Registration, trigger: Trigger | None) -> tuple[Challenge, ...]:
    """The challenges of this login; refused where the script, the institution or the user says so."""
    world, name = call.world, wanted.institution.name
    if name in world.down:
        raise RefusalError(answers.INSTITUTION_DOWN)
    if (step := world.scripts.take(wanted.username, name)) is not None:
        return step.challenges()
    if trigger is not None and trigger.error is not None:
        first = (call.account.secret_id, name, trigger.username)
        if not trigger.error_once or first not in world.met:
            world.met.add(first)
            raise RefusalError(trigger.error)
    return rules.challenges_at("register", trigger, wanted.token)


def complete(call: Call) -> Answer:
    """Resume a login that met a second factor (documentation sections 9.3 and 10)."""
    refuse(check_fields(call.body, *COMPLETE_FIELDS))
    outcome = logins.resume(
        call.world,
        str(call.body["session"]),
        canonical_uuid(str(call.body["link"])),
        call.account.secret_id,
        string(call.body, "token"),
    )
    if isinstance(outcome, Answer):
        return outcome
    saved = call.body.get("save_data", True) is not False
    status = 201 if saved and call.world.switches.complete_status == "by_save_data" else 200
    return Answer(status, outcome.to_json(call.world.clock()))


def detail(call: Call) -> Answer:
    """One link (documentation section 9.4)."""
    now = call.world.settle()
    link = call.link()
    if link.passed != "detail" and (steps := rules.challenges_at("detail", link.trigger, None)):
        return logins.ask(call.world, link, "detail", steps)
    return Answer(200, link.to_json(now))


def modify(call: Call) -> Answer:
    """Change how data is fetched (documentation section 9.5); only a switch to recurrent logs in."""
    world, now = call.world, call.world.settle()
    link = call.link()
    refuse(check_fields(call.body, *MODIFY_FIELDS))
    resources = string_tuple(call.body, "fetch_resources")
    rules.check_resources(INSTITUTIONS[link.institution], resources)
    if link.status_at(now) == "unconfirmed":
        raise RefusalError(answers.UNCONFIRMED_LINK)
    changes = rules.read_changes(call.body, resources, world.switches.refresh_rate)
    if changes.to_recurrent(link):
        if not rules.has_credentials(link, now):
            raise RefusalError(answers.INVALID_ACCESS_MODE_SWITCH)
        rules.check_usable(link, now)
        steps = _scripted(world, link)
        if steps is None:
            steps = rules.challenges_at("patch", link.trigger, None) or _steps_of_status(link)
        if steps:
            return logins.ask(world, link, "patch", steps, on_success=changes.applied_to)
        link = evolve(link, last_accessed_at=now)
        return Answer(200, life.after_login(world, changes.applied_to(link), "patch").to_json(now))
    link = changes.applied_to(link)
    world.links.put(link)
    if link.access_mode == "single":
        world.scheduled.pop(link.id, None)
    return Answer(200, link.to_json(now))


def _scripted(world: World, link: StoredLink) -> tuple[Challenge, ...] | None:
    """What the script of the user, or the institution, asks; ``None`` without one."""
    step = world.scripts.take(link.username, link.institution)
    return None if step is None else step.challenges()


def _steps_of_status(link: StoredLink) -> tuple[Challenge, ...]:
    """A link that requires a token asks for it at every login (documentation section 8)."""
    if link.status != "token_required":
        return ()
    return (link.trigger.steps if link.trigger is not None else ()) or (TEXT,)


def update(call: Call) -> Answer:
    """Log in with new credentials (documentation section 9.6).

    The test banks' form rule is not applied here: the vendor's sample password breaks it.
    """
    world, now = call.world, call.world.settle()
    link = call.link()
    refuse(check_fields(call.body, *UPDATE_FIELDS) + check_pair(call.body))
    if link.status == "unconfirmed":
        raise RefusalError(answers.UNCONFIRMED_LINK)
    if link.stored_until is not None and now >= link.stored_until:
        # "The user must create the link again": storage that has ended cannot be renewed (section 8).
        raise RefusalError(answers.INVALID_LINK)
    password, token = str(call.body["password"]), string(call.body, "token")
    if link.institution in world.down:
        raise RefusalError(answers.INSTITUTION_DOWN)
    if password == "pass_invalid":  # noqa: S105 - the documented wrong password
        raise RefusalError(answers.INVALID_CREDENTIALS)
    steps = _scripted(world, link)
    if steps is None:
        steps = rules.challenges_of_update(link, password, token)
    if steps:
        return logins.ask(world, link, "update", steps)
    link = evolve(link, status="valid", last_accessed_at=now)
    return Answer(200, life.after_login(world, link, "update").to_json(now))


def delete(call: Call) -> Answer:
    """Delete at once, within the limit, or accept it for later (documentation sections 9.7 and 20)."""
    world, now = call.world, call.world.settle()
    later = call.headers.get("x-belvo-request-mode") == "async"
    recent = world.deletions[call.account.secret_id]
    if not later:
        switches = world.switches
        rules.check_delete_limit(recent, now, limit=switches.sync_deletes_per_minute, retry_after=switches.retry_after)
    link = call.link()
    if link.passed != "delete" and (steps := rules.challenges_at("delete", link.trigger, None)):
        return logins.ask(world, link, "delete", steps)
    if later:
        request_id = world.ids.uuid()
        world.later(Pending(world.due(), "delete", link.id, request_id))
        return Answer(202, {"request_id": request_id})
    world.remove(link.id)
    recent.append(now)
    del recent[: -world.switches.sync_deletes_per_minute]  # older ones can no longer matter
    return Answer(204)


def refresh(call: Call) -> Answer:
    """Accept a historical update (documentation section 9.8); the stored ``fetch_resources`` stay."""
    world, now = call.world, call.world.settle()
    link = call.link()
    refuse(check_fields(call.body, FETCH_RESOURCES))
    institution = INSTITUTIONS[link.institution]
    resources = string_tuple(call.body, "fetch_resources")
    rules.check_resources(institution, resources)
    rules.check_usable(link, now)
    if not rules.has_credentials(link, now):
        raise RefusalError(answers.MISSING_CREDENTIALS)
    rules.check_cooldown(link.refreshed_at, now, minutes=world.switches.refresh_cooldown_minutes)
    if steps := _refresh_steps(world, link):
        return logins.ask(world, link, "refresh", steps)
    world.links.put(evolve(link, refreshed_at=now))
    request_id = world.ids.uuid()
    world.later(Pending(world.due(), "refresh", link.id, request_id, resources or institution.resources))
    return Answer(202, {"request_id": request_id})


def _refresh_steps(world: World, link: StoredLink) -> tuple[Challenge, ...]:
    if link.status == "token_required":
        return _steps_of_status(link)
    if link.passed == "refresh" or link.trigger is None:
        return ()
    at_once = world.switches.refresh_mfa == "428" and rules.needs_mfa(link)
    return link.trigger.steps if at_once else rules.challenges_at("refresh", link.trigger, None)


def list_institutions(call: Call) -> Answer:
    """The test institutions, by pages (documentation section 21)."""
    world = call.world
    page = filters.page_request(call.url, call.query, default_size=world.switches.page_size)
    found = select_institutions(call.query, world.down)
    page.check(len(found))
    return Answer(200, page.envelope(len(found), [each.to_json(world.down) for each in page.cut(found)]))


def institution(call: Call) -> Answer:
    """One test institution (documentation section 21)."""
    for candidate in INSTITUTIONS.values():
        if str(candidate.id) == call.item:
            return Answer(200, candidate.to_json(call.world.down))
    raise RefusalError(answers.NOT_FOUND)
