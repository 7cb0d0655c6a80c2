"""Logging in again for an account whose link ran out: with the password, or with what Belvo has stored."""

from fastapi import APIRouter, HTTPException, Request, Response

from belvo_links import BelvoLinksError, MfaRequiredError

from .accounts import BankAccount
from .connect import UNSURE, first_click, noted, place_of
from .security import FormId, FormOf, Person
from .services import Given, Services, go, page

router = APIRouter(prefix="/accounts/{link_id}")


async def _mine(given: Services, person: str, link_id: str) -> BankAccount:
    account = await given.accounts.one(person, link_id)
    if account is None:
        raise HTTPException(404)
    return account


@router.get("")
async def account(request: Request, link_id: str, person: Person, given: Given) -> Response:
    account = await _mine(given, person, link_id)
    bank = await given.banks.one(account.institution)
    return page(request, "account", account=account, fields=bank.renewal)


@router.post("/update")
async def update(request: Request, link_id: str, person: FormOf, form: FormId, given: Given) -> Response:
    """Log in with the password that was typed. It is sent, and kept nowhere."""
    account = await _mine(given, person, link_id)
    bank = await given.banks.one(account.institution)
    if not await first_click(given, person, form, otherwise=f"/accounts/{link_id}?note=unsure"):
        return go(f"/started/{form}")
    try:
        credentials = bank.credentials(await request.form(), bank.renewal)
        outcome = await given.belvo.update(link_id, credentials, correlation=person)
        place = await place_of(given, person, outcome)
    except UNSURE:
        place = f"/accounts/{link_id}?note=unsure"
    except (BelvoLinksError, ValueError) as error:
        place = f"/accounts/{link_id}?note={noted(error)}"
    await given.accounts.led_to(person, form, place)
    return go(place)


@router.post("/refresh")
async def refresh(link_id: str, person: FormOf, form: FormId, given: Given) -> Response:
    """Let Belvo log in with the credentials that it has stored; a webhook tells how that went."""
    await _mine(given, person, link_id)
    if not await first_click(given, person, form, otherwise=f"/accounts/{link_id}?note=unsure"):
        return go(f"/started/{form}")
    try:
        await given.belvo.refresh(link_id)
        place = "/?note=asked"
    except MfaRequiredError as error:
        place = f"/logins/{error.pending.id}" if error.pending else f"/accounts/{link_id}?note=ours"
    except UNSURE:
        place = f"/accounts/{link_id}?note=unsure"
    except BelvoLinksError as error:
        place = f"/accounts/{link_id}?note={noted(error)}"
    await given.accounts.led_to(person, form, place)
    return go(place)
