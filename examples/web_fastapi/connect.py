"""Connecting an account: the list of banks, the bank's own form, and the first login."""

import logging

from fastapi import APIRouter, HTTPException, Request, Response

from belvo_links import (
    BelvoLinksError,
    Link,
    LinkFilter,
    LinkStatus,
    PendingSession,
    PendingState,
    RequestTimeoutError,
    ResponseLostError,
    ServerError,
    UnexpectedResponseError,
)

from .security import FormId, FormOf, Person
from .services import Given, Services, go, page
from .words import what_went_wrong

router = APIRouter()
log = logging.getLogger("web_fastapi")

UNSURE = (ResponseLostError, ServerError, RequestTimeoutError, UnexpectedResponseError)
"""After these, the bank may have been logged in to: look before anybody logs in again."""
MOST_LOGINS = 10
"""How often a person may log in at banks within ten minutes."""


@router.get("/connect")
async def banks(request: Request, person: Person, given: Given) -> Response:
    return page(request, "banks", banks=await given.banks.all())


@router.get("/connect/{name}")
async def bank_form(request: Request, name: str, person: Person, given: Given) -> Response:
    if waiting := await given.accounts.unfinished(person):
        return go(f"/started/{waiting}")  # one thing after the other: nobody shall log in twice without knowing
    return page(request, "bank", bank=await given.banks.one(name))


@router.post("/connect/{name}")
async def connect(request: Request, name: str, person: FormOf, form: FormId, given: Given) -> Response:
    """Log in at the bank with what was typed, once however often the form is sent."""
    bank = await given.banks.one(name)
    if not await first_click(given, person, form, otherwise="/unsure"):
        return go(f"/started/{form}")
    try:
        outcome = await given.belvo.register(
            bank.name,
            bank.credentials(await request.form(), bank.fields),
            access_mode="recurrent",  # kept up to date, until the bank wants to see the person again
            external_id=person,
            correlation=person,  # who may go on with this login
        )
        place = await place_of(given, person, outcome)
    except UNSURE:
        place = "/unsure"
    except (BelvoLinksError, ValueError) as error:
        place = f"/connect/{name}?note={noted(error)}"
    await given.accounts.led_to(person, form, place)
    return go(place)


@router.get("/started/{form}")
async def started(request: Request, form: str, person: Person, given: Given) -> Response:
    """Wait for the first of two clicks. Whoever worked on it may have died, so not for ever."""
    found, place = await given.accounts.find_form(person, form, given.settings.timeouts.lease())
    if not found:
        raise HTTPException(404)
    return go(place) if place else page(request, "started")


@router.get("/unsure")
async def unsure(request: Request, person: Person) -> Response:
    return page(request, "unsure")


@router.post("/unsure")
async def look(person: FormOf, given: Given) -> Response:
    """Look for what a registration has come to whose reply nobody has seen, before anybody registers again."""
    known = {account.link_id for account in await given.accounts.of(person)}
    adopted = False
    async for link in given.belvo.iterate(LinkFilter(external_id=person)):
        # A service that did not know the filter would list the links of everybody.
        if link.external_id == person and link.status == LinkStatus.VALID and link.id not in known:
            adopted |= await given.accounts.keep(person, link)
    if adopted:
        return go("/", "adopted")
    async for pending in given.belvo.iterate_pending(PendingState.AWAITING):
        if pending.correlation == person and pending.operation == "register":
            return go(f"/logins/{pending.id}")
    return go("/unsure", "not-found")


async def first_click(given: Services, person: str, form: str, *, otherwise: str) -> bool:
    """Return whether this form is sent for the first time, unless this person logs in too often."""
    if not await given.accounts.first_click(person, form, otherwise):
        return False
    if await given.accounts.logins_of_late(person) > MOST_LOGINS:
        await given.accounts.led_to(person, form, "/")
        raise HTTPException(
            429, "You have logged in very often. Please wait ten minutes, or your bank may lock you out."
        )
    return True


def noted(error: BelvoLinksError | ValueError) -> str:
    """Log what has failed, and return what the person is told."""
    log.warning("a login failed: %s, request id %s", type(error).__name__, getattr(error, "request_id", None))
    return what_went_wrong(error)


async def place_of(given: Services, person: str, outcome: Link | PendingSession) -> str:
    """Remember what a call has come to, and return the page that shows it."""
    if isinstance(outcome, PendingSession):
        return f"/logins/{outcome.id}"
    await given.accounts.keep(person, outcome)
    return "/"
