"""A login that waits: its question, the person's answer, and how it ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response
from starlette.responses import StreamingResponse

from belvo_links import (
    AlreadyClaimedError,
    ApiError,
    BelvoLinksError,
    InvalidFieldsError,
    LinkStatus,
    MfaError,
    PendingSession,
    PendingState,
    UndrawableQrError,
)
from belvo_links.qr import to_svg

from .connect import place_of
from .security import FormOf, Person
from .services import Given, Services, go, page

router = APIRouter(prefix="/logins/{pending_id}")

PAGES = {
    PendingState.AWAITING: "challenge",
    PendingState.SUBMITTING: "checking",
    PendingState.INDETERMINATE: "unknown",
    PendingState.LINKED: "done",
    PendingState.EXPIRED: "expired",
    PendingState.FAILED: "failed",
    PendingState.CANCELLED: "failed",
}
GOES_ON = (PendingState.AWAITING, PendingState.SUBMITTING, PendingState.INDETERMINATE)
LOOK_EVERY = 1.0
"""Seconds between looks into the store, for the live status."""
LIVE_FOR = 300.0
"""Seconds after which a browser asks for the live status anew."""
MOST_WATCHING = 6
"""How many pages of one person may show the live status, in each process."""


async def _mine(given: Services, person: str, pending_id: str) -> PendingSession:
    pending = await given.pending_of(person, pending_id)
    if pending is None:  # somebody else's looks like one that never was
        raise HTTPException(404)
    return pending


@router.get("")
async def login(request: Request, pending_id: str, person: Person, given: Given) -> Response:
    pending = await _mine(given, person, pending_id)
    if pending.state is PendingState.LINKED:
        await _keep(given, person, pending)
    return page(request, PAGES[pending.state], pending=pending, challenge=pending.challenge)


@router.get("/qr")
async def qr(pending_id: str, person: Person, given: Given) -> Response:
    """The QR code as a picture of ours, drawn anew: nothing of the bank's is passed through."""
    code = (await _mine(given, person, pending_id)).challenge.qr
    if code is None:
        raise HTTPException(404)
    try:
        drawn = await asyncio.to_thread(to_svg, code)
    except UndrawableQrError:
        raise HTTPException(404) from None
    return Response(drawn, media_type="image/svg+xml")


@router.post("")
async def answer(
    pending_id: str,
    person: FormOf,
    given: Given,
    round: Annotated[int, Form()],  # noqa: A002  # the word of the library
    token: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Submit an answer to the question that the person was shown, once; without a token: "I have confirmed"."""
    pending = await _mine(given, person, pending_id)
    here = f"/logins/{pending_id}"
    if pending.challenge.expects_user_input and not token.strip():
        return go(here, "empty")
    try:
        outcome = await given.belvo.complete(pending_id, token.strip() or None, round=round)
    except AlreadyClaimedError as error:
        passed = error.pending is not None and error.pending.state is PendingState.AWAITING
        return go(here, "stale" if passed else "")  # otherwise the answer is on its way already
    except MfaError:
        return go(here)  # the page shows how it stands: too late, settled, not known
    except InvalidFieldsError:
        return go(here, "refused")
    except ApiError:
        still = (await _mine(given, person, pending_id)).state is PendingState.AWAITING
        return go(here, "busy" if still else "")
    except BelvoLinksError:  # nothing was sent
        return go(here, "busy")
    if isinstance(outcome, PendingSession):
        return go(here, "again" if pending.challenge.expects_user_input else "not-yet")
    await place_of(given, person, outcome)
    return go(here)


@router.post("/look")
async def look(pending_id: str, person: FormOf, given: Given) -> Response:
    """Ask Belvo what has become of a login whose reply was lost. No token is sent again."""
    pending = await _mine(given, person, pending_id)
    here = f"/logins/{pending_id}"
    try:
        outcome = await pending.reconcile()
    except BelvoLinksError:
        still = (await _mine(given, person, pending_id)).state is PendingState.INDETERMINATE
        return go(here, "still-unknown" if still else "")
    await place_of(given, person, outcome)
    return go(here)


@router.post("/cancel")
async def cancel(pending_id: str, person: FormOf, given: Given) -> Response:
    pending = await _mine(given, person, pending_id)
    try:
        await pending.cancel(delete_link=pending.operation == "register")
    except BelvoLinksError:  # it has ended otherwise, or what it has left behind could not be deleted
        return go(f"/logins/{pending_id}")
    return go("/", "cancelled")


@router.get("/events")
async def events(pending_id: str, person: Person, given: Given) -> Response:
    """The live status: a line for every change that any process has written into the store."""
    await _mine(given, person, pending_id)
    if given.watching[person] >= MOST_WATCHING:
        raise HTTPException(429, "Too many of your pages are open.")
    headers = {"X-Accel-Buffering": "no"}  # a proxy in front must not wait for the end
    return StreamingResponse(_changes(given, person, pending_id), media_type="text/event-stream", headers=headers)


async def _changes(given: Services, person: str, pending_id: str) -> AsyncIterator[str]:
    shown = ""
    given.watching[person] += 1
    try:
        yield "retry: 1000\n"  # milliseconds until the browser comes back, to another process perhaps
        for _ in range(int(LIVE_FOR / LOOK_EVERY)):
            pending = await given.belvo.pending(pending_id)
            status = f"{pending.state} {pending.round}"
            yield f"data: {status}\n\n" if status != shown else ": still here\n\n"
            shown = status
            if given.ending.is_set() or pending.state not in GOES_ON:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(given.ending.wait(), LOOK_EVERY)
    except BelvoLinksError:
        return  # the browser comes back
    finally:
        given.watching[person] -= 1


async def _keep(given: Services, person: str, pending: PendingSession) -> None:
    """Remember the link also where the process that completed the login has died before it could."""
    account = await given.accounts.one(person, pending.link_id)
    if account is None or account.status != LinkStatus.VALID:
        await given.accounts.keep(person, await given.belvo.get(pending.link_id))
