"""Connecting a bank account in a web page, with every second factor that a bank may ask for.

`create_app` is what a server runs: `uvicorn --factory examples.web_fastapi.app:create_app --workers 2`. All that the
processes share is the store of pending sessions and the application's own database, so any of them can go on with a
login that another has begun.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Form, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.sessions import SessionMiddleware

from belvo_links import BelvoLinksError, StoreError

from . import connect, logins, renew, webhook
from .security import HEADERS, NAME, FormOf, Guard, OurForm, Person, SignInNeededError, new_form, sign_in
from .services import Given, Services, go, page
from .settings import Settings

PROBLEMS = {404: "There is no such page.", 405: "This page cannot be used like that."}


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application."""
    chosen = settings or Settings.from_env()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
        async with Services.open(chosen) as opened, asyncio.TaskGroup() as tasks:
            working = tasks.create_task(webhook.work(opened))
            yield {"services": opened}
            working.cancel()

    app = FastAPI(title="Connect a bank account", lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    app.add_middleware(
        SessionMiddleware,
        secret_key=chosen.secret,
        session_cookie="__Host-session" if chosen.secure_cookies else "session",
        https_only=chosen.secure_cookies,
        same_site="lax",
        max_age=3600,
    )
    app.add_middleware(Guard)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    for part in (connect, logins, renew, webhook):
        app.include_router(part.router)
    app.add_api_route("/", home, methods=["GET"])
    app.add_api_route("/sign-in", ask_who, methods=["GET"])
    app.add_api_route("/sign-in", enter, methods=["POST"])
    app.add_api_route("/sign-out", leave, methods=["POST"])
    app.add_exception_handler(SignInNeededError, lambda *_: go("/sign-in"))
    app.add_exception_handler(StarletteHTTPException, _problem)
    app.add_exception_handler(RequestValidationError, _bad_form)
    app.add_exception_handler(BelvoLinksError, _not_now)
    app.add_exception_handler(Exception, _mistake)
    return app


async def home(request: Request, person: Person, given: Given) -> Response:
    return page(request, "home", accounts=await given.accounts.of(person))


async def ask_who(request: Request) -> Response:
    request.session.setdefault("csrf", new_form())  # nobody shall sign others in under a name of their own
    return page(request, "sign_in")


async def enter(request: Request, name: Annotated[str, Form(max_length=40)], _: OurForm) -> Response:
    if not NAME.fullmatch(name):
        return page(request, "sign_in", status=422, problem="A name has 3 to 40 small letters, digits, - or _.")
    sign_in(request, name)
    return go("/")


async def leave(request: Request, person: FormOf) -> Response:
    request.session.clear()
    return go("/sign-in")


async def _problem(request: Request, error: Exception) -> Response:
    status, detail = (error.status_code, error.detail) if isinstance(error, StarletteHTTPException) else (500, "")
    ours = isinstance(error, HTTPException)  # FastAPI's class is ours to raise, Starlette's is its own
    text = detail if ours and status not in PROBLEMS else PROBLEMS.get(status, "That did not work.")
    return page(request, "problem", status=status, text=text)


async def _bad_form(request: Request, error: Exception) -> Response:
    return page(request, "problem", status=422, text="This form is not complete.")  # what was typed is not quoted


async def _not_now(request: Request, error: Exception) -> Response:
    text = "We cannot go on at the moment. Please try again in a minute."
    if isinstance(error, StoreError):
        text = f"{text} Nothing was sent to the bank without being written down first."
    return page(request, "problem", status=503, text=text)


async def _mistake(request: Request, error: Exception) -> Response:
    """Made outside of everything else, so that the headers are added here."""
    reply = page(request, "problem", status=500, text="Something went wrong on our side. Please try again later.")
    reply.headers.update(HEADERS)
    return reply
