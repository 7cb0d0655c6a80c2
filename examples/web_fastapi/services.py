"""What the pages work with, opened and closed with the application."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self

from fastapi import Depends, Request, Response
from fastapi.templating import Jinja2Templates
from starlette.responses import RedirectResponse

from belvo_links import BelvoLinks, PendingNotFoundError, PendingSession

from .accounts import Accounts
from .banks import Banks
from .ending import told_of_the_end
from .security import new_form
from .settings import Settings
from .words import NOTES, PROBLEMS, STATUSES

TEMPLATES = Jinja2Templates(Path(__file__).parent / "templates")
TEMPLATES.env.globals.update(statuses=STATUSES, new_form=new_form)


@dataclass(frozen=True)
class Services:
    """The session layer and the application's own database."""

    settings: Settings
    belvo: BelvoLinks
    accounts: Accounts
    banks: Banks
    ending: asyncio.Event  # the server is about to stop
    watching: Counter[str] = field(default_factory=Counter)  # how many pages of whom show the live status

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Self]:
        async with AsyncExitStack() as stack:
            client = BelvoLinks.from_env(
                store=await settings.store(),
                rate_limit=await settings.rate_limit(),
                timeouts=settings.timeouts,
            )
            belvo = await stack.enter_async_context(client)
            accounts = await stack.enter_async_context(Accounts.open(settings.database))
            ending = stack.enter_context(told_of_the_end())
            yield cls(settings, belvo, accounts, Banks(belvo), ending)

    async def pending_of(self, person: str, pending_id: str) -> PendingSession | None:
        """Return a pending session if it is this person's: its id alone authorises nobody."""
        try:
            pending = await self.belvo.pending(pending_id)
        except PendingNotFoundError:
            return None
        if pending.correlation is None:  # `refresh` takes none: there, the link says whose it is
            return pending if await self.accounts.one(person, pending.link_id) else None
        return pending if pending.correlation == person else None


def services(request: Request) -> Services:
    found: Services = request.state.services
    return found


Given = Annotated[Services, Depends(services)]


def page(request: Request, name: str, *, status: int = 200, **values: object) -> Response:
    """Render a page; everything in it is escaped."""
    code = request.query_params.get("note", "")
    browser = request.scope.get("session", {})
    about = {
        "person": browser.get("person"),
        "csrf": browser.get("csrf"),
        "note": NOTES.get(code),
        "problem": PROBLEMS.get(code),
        **values,
    }
    return TEMPLATES.TemplateResponse(request, f"{name}.html", about, status_code=status)


def go(place: str, note: str = "") -> Response:
    """Send the browser to another page, with a GET."""
    return RedirectResponse(f"{place}?note={note}" if note else place, 303)
