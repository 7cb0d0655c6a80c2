"""Belvo's webhooks: noted at once, worked on later, and made up for where they do not come."""

import asyncio
import logging
import sqlite3

from fastapi import APIRouter, Request, Response

from belvo_links import (
    BelvoLinksError,
    LinkFilter,
    LinkStatus,
    MfaRequiredError,
    NotFoundError,
    WebhookMalformedError,
    WebhookUnauthorizedError,
)
from belvo_links.webhooks import parse_webhook

from .services import Given, Services

router = APIRouter()
log = logging.getLogger("web_fastapi")

WORK_EVERY = 1.0
"""Seconds between looks for webhooks that nobody has worked on."""
AUDIT_EVERY = 3600.0
"""Seconds between looks for links that need their person: a webhook may get lost, or never be sent."""


@router.post("/webhooks")
async def receive(request: Request, given: Given) -> Response:
    """Note what it is about. Belvo waits for five seconds, then sends it again."""
    body = await request.body()
    try:
        event = parse_webhook(body, request.headers, authorization=given.settings.webhook_authorization)
    except (WebhookUnauthorizedError, ValueError):  # ValueError: no value has been configured
        return Response(status_code=401)
    except WebhookMalformedError:
        return Response(status_code=400)
    if event.link_id is not None:
        await given.accounts.note_webhook(event.dedup_key, event.link_id)
    return Response(status_code=204)


async def work(given: Services) -> None:
    """Look after the accounts, until cancelled. Every process does, and none does what another has taken."""
    loop, audit_at = asyncio.get_running_loop(), 0.0
    while True:
        try:
            if loop.time() >= audit_at:
                audit_at = loop.time() + AUDIT_EVERY
                await audit(given)
            while taken := await given.accounts.take_webhooks():
                await _read_link(given, *taken)
        except (BelvoLinksError, sqlite3.Error) as error:  # what was taken is taken again later
            log.warning("looking after accounts failed: %s", type(error).__name__)
        await asyncio.sleep(WORK_EVERY)


async def _read_link(given: Services, link_id: str, keys: list[str]) -> None:
    """Read the link that webhooks told of: they are a hint, and may come late, twice and in any order."""
    try:
        status = str((await given.belvo.get(link_id)).status)
    except NotFoundError:
        status = "deleted"
    except MfaRequiredError:
        status = str(LinkStatus.TOKEN_REQUIRED)
    await given.accounts.mark(link_id, status)
    await given.accounts.done_with(keys)


async def audit(given: Services) -> None:
    """Mark every link that needs its person."""
    lapsed = LinkFilter(status__in=(LinkStatus.INVALID, LinkStatus.TOKEN_REQUIRED))
    async for link in given.belvo.iterate(lapsed):
        await given.accounts.mark(link.id, str(link.status))
