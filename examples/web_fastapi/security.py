"""Who is asking, whether the form is ours, and what a browser may do with a page."""

import hmac
import re
import secrets
from typing import Annotated

from fastapi import Depends, Form, HTTPException, Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
NAME = re.compile(r"[a-z0-9_-]{3,40}")
LARGEST_BODY = 64 * 1024
"""Bytes. So no form and no webhook is large enough to be put into a temporary file, with the password in it."""


class Guard:
    """Adds the headers to every reply, and refuses bodies that no page of ours sends."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = 0

        async def take() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > LARGEST_BODY:
                raise HTTPException(413, "That is too much.")
            return message

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, take, send_with_headers)


class SignInNeededError(Exception):
    """Nobody is signed in."""


def sign_in(request: Request, person: str) -> None:
    """Begin a session of the browser. An application of yours checks a password here."""
    request.session.clear()
    request.session.update(person=person, csrf=secrets.token_urlsafe(16))


def signed_in(request: Request) -> str:
    """Return who is asking."""
    person = request.session.get("person")
    if not isinstance(person, str) or not NAME.fullmatch(person):
        raise SignInNeededError
    return person


def our_form(request: Request, csrf: Annotated[str, Form(max_length=64)] = "") -> None:
    """Refuse a form that this application has not given to this browser: another site cannot know the token."""
    expected = request.session.get("csrf")
    if not expected or not hmac.compare_digest(csrf.encode(), str(expected).encode()):
        raise HTTPException(403, "This form is too old, or from elsewhere. Go back, reload the page and try again.")


def form_of(person: Annotated[str, Depends(signed_in)], _: Annotated[None, Depends(our_form)]) -> str:
    """Return who has sent a form of ours."""
    return person


def new_form() -> str:
    """Return an id for a form that counts once."""
    return secrets.token_urlsafe(16)


Person = Annotated[str, Depends(signed_in)]
OurForm = Annotated[None, Depends(our_form)]
FormOf = Annotated[str, Depends(form_of)]
FormId = Annotated[str, Form(pattern=r"^[A-Za-z0-9_-]{22}$")]
