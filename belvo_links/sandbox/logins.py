"""Logins that meet a second factor: the 428 and what Complete makes of it (documentation section 10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from attrs import evolve

from . import answers, life
from .answers import Answer, JsonValue, RefusalError
from .options import Switches
from .qr import qr_png
from .state import NOSTORE_LIFE, LoginSession, StoredLink
from .triggers import Challenge, Operation, Trigger
from .world import LoginNews, World


def ask(
    world: World,
    link: StoredLink,
    operation: Operation,
    steps: tuple[Challenge, ...],
    *,
    on_success: Callable[[StoredLink], StoredLink] | None = None,
) -> Answer:
    """Begin a login session and answer 428."""
    now = world.clock()
    expiry = _expiry(world.switches, link.trigger, steps[0])
    session = LoginSession(
        id=world.ids.hex(),
        link_id=link.id,
        account=link.account,
        operation=operation,
        trigger=link.trigger,
        steps=steps,
        expires_at=now + timedelta(seconds=expiry),
        expiry=expiry,
    )
    if on_success is not None:
        session = evolve(session, on_success=on_success)
    world.add_session(session)
    world.on_login(session, "asked")
    return _challenge(world, session, again=False)


def _ask_again(world: World, session: LoginSession, now: datetime, news: LoginNews = "asked again") -> Answer:
    """428 once more: the same link, by default a new session, a fresh expiry (documentation section 20)."""
    del world.sessions[session.id]
    silent = session.trigger is not None and session.trigger.shape == "silent_second"
    keep = silent or not world.switches.session_changes
    session = evolve(
        session,
        id=session.id if keep else world.ids.hex(),
        expires_at=now + timedelta(seconds=session.expiry),
        round=session.round + 1,
    )
    world.sessions[session.id] = session
    world.on_login(session, news)
    return _challenge(world, session, again=True)


def _expiry(switches: Switches, trigger: Trigger | None, challenge: Challenge) -> int:
    own = challenge.expiry
    if own is None and trigger is not None:
        own = trigger.expiry
    return switches.expiry_seconds if own is None else own


def _challenge(world: World, session: LoginSession, *, again: bool) -> Answer:
    """The 428 in the shape that the trigger or the switches want (documentation sections 10.2 and 11.1)."""
    shape = "normal" if session.trigger is None else session.trigger.shape
    as_text = world.switches.expiry_as_text or shape == "text_expiry"
    expiry: JsonValue = str(session.expiry) if as_text else session.expiry
    request_id = world.ids.hex()
    if shape == "detail" or world.switches.error_shape == "detail":
        return Answer(
            428,
            {
                "detail": "Token Required",
                "session": session.id,
                "expiry": expiry,
                "link": session.link_id,
            },
        )
    body: dict[str, JsonValue] = {
        "code": "token_required",
        "message": answers.TOKEN_REQUIRED_TEXT,
        "session": session.id,
        "expiry": expiry,
        "link": session.link_id,
        "token_generation_data": _generation_data(session, guide_spelling=shape == "text_expiry"),
        "request_id": request_id,
    }
    if again and shape == "silent_second":
        del body["session"], body["expiry"]
    bare = shape == "bare" or world.switches.error_shape == "object"
    return Answer(428, body if bare else [body])


def _generation_data(session: LoginSession, *, guide_spelling: bool) -> Mapping[str, JsonValue]:
    step = session.steps[0]
    data: dict[str, JsonValue] = {"instructions": step.instructions, "type": step.kind}
    if (value := value_of(session)) is not None:
        data["value"] = value
    # One guide spells the flag without its s (documentation section 10.2).
    data["expect_user_input" if guide_spelling else "expects_user_input"] = step.expects_user_input
    return data


def value_of(session: LoginSession) -> str | None:
    """What the challenge shows besides its instructions: a number, a picture in base64; ``None``: nothing."""
    step = session.steps[0]
    return qr_png(f"belvo-sandbox {session.id[:16]}") if step.kind == "qr" else step.value


def resume(world: World, session_id: str, link_id: str, account: str, token: str | None) -> Answer | StoredLink:
    """Complete a login: the link, now valid, or the next 428 (documentation section 10.3)."""
    now = world.settle()
    session = world.sessions.get(session_id)
    link = world.find(link_id, account)
    if session is None or link is None or session.link_id != link.id or now >= alive_until(session, link):
        raise RefusalError(answers.SESSION_EXPIRED)
    if session.trigger is not None and session.trigger.complete_error is not None:
        world.on_login(session, "refused")
        if session.trigger.complete_error.code == "login_error":
            del world.sessions[session.id]
        raise RefusalError(session.trigger.complete_error)
    scripted = world.scripts.peek(link.username, link.institution)
    if scripted is not None and scripted.kind == "wrong_token":
        world.scripts.take(link.username, link.institution)
        return _ask_again(world, session, now)
    step = session.steps[0]
    if not _is_answered(world.switches, session, token):
        if not step.expects_user_input and world.switches.early_complete == "login_error":
            del world.sessions[session.id]
            world.on_login(session, "refused")
            raise RefusalError(answers.INVALID_CREDENTIALS)
        return _ask_again(world, evolve(session, early=session.early + 1), now)
    left = session.steps[1:]
    if scripted is not None:
        left = _scripted(world, session, link)
    if left:
        next_session = evolve(session, steps=left, early=0, confirmed=False)
        return _ask_again(world, next_session, now, "asked")
    del world.sessions[session.id]
    world.on_login(session, "completed")
    return _succeed(world, session, link, now)


def _scripted(world: World, session: LoginSession, link: StoredLink) -> tuple[Challenge, ...]:
    """What the script of the user, or the institution, has for an answered challenge."""
    step = world.scripts.take(link.username, link.institution)
    try:
        return () if step is None else step.challenges()
    except RefusalError as refusal:
        if refusal.problems[0].code == "login_error":
            del world.sessions[session.id]
        world.on_login(session, "refused")
        raise


def alive_until(session: LoginSession, link: StoredLink) -> datetime:
    """From when on a login can no longer be completed."""
    if link.credentials_storage != "nostore":
        return session.expires_at
    # Credentials that are not stored are gone 15 minutes after the link's creation, whatever the expiry says.
    return min(session.expires_at, link.created_at + NOSTORE_LIFE)


def _is_answered(switches: Switches, session: LoginSession, token: str | None) -> bool:
    if session.steps[0].expects_user_input:
        return token == session.steps[0].token
    patience = switches.confirm_after
    return session.confirmed or (patience is not None and session.early >= patience)


def _succeed(world: World, session: LoginSession, link: StoredLink, now: datetime) -> StoredLink:
    link = session.on_success(evolve(link, status="valid", last_accessed_at=now))
    if session.operation in ("detail", "delete", "refresh"):
        link = evolve(link, passed=session.operation)
    world.links.put(link)
    return life.after_login(world, link, session.operation)
