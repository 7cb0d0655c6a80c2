"""Connect a bank account on aiohttp.web: the bank's form, its second factor in every kind, and how it ended.

`python -m examples.web_aiohttp.app` runs it with a simulator of Belvo's API; with `BELVO_...` variables, against Belvo.
`examples/web_fastapi` has it in full: sign-in, one login for two clicks on the form, processes, renewal, webhooks.
"""

import hmac
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from html import escape

from aiohttp import web

from belvo_links import BelvoLinks, BelvoLinksError, Credentials, Link, LoginError, MfaError, PendingSession
from belvo_links.qr import to_svg
from belvo_links.sandbox import Sandbox

BANK = os.environ.get("APP_BANK", "heimdall_mx_retail")
BELVO = web.AppKey("BELVO", BelvoLinks)
SECRET = web.AppKey("SECRET", bytes)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
ENDS = {
    "linked": "Your account is connected.",
    "submitting": "Your bank is checking. Please look again in a moment.",
    "expired": "The time is over. Nothing was sent after it.",
    "failed": "Your bank refused the login.",
    "cancelled": "You have cancelled.",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
routes = web.RouteTableDef()


def person_of(request: web.Request) -> str:
    """Return who asks: a number of ours that their browser keeps. An application of yours has people who sign in."""
    return request.cookies.get("person", "")


def csrf_of(request: web.Request) -> str:
    """Return what only forms that we gave to this person carry."""
    return hmac.digest(request.app[SECRET], person_of(request).encode(), "sha256").hex()


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Know who asks, take forms of ours alone, and add the headers to every reply."""
    try:
        if not re.fullmatch("[0-9a-f]{32}", person_of(request)):
            reply: web.StreamResponse = web.HTTPSeeOther("/")
            reply.set_cookie("person", secrets.token_hex(16), httponly=True, samesite="Lax", secure=request.secure)
        else:
            if request.method == "POST":
                given = str((await request.post()).get("csrf", ""))
                if not hmac.compare_digest(given.encode(), csrf_of(request).encode()):
                    raise web.HTTPForbidden(text="This form is too old, or from elsewhere. Reload the page.")
            reply = await handler(request)
    except web.HTTPException as error:
        reply = error
    reply.headers.update(HEADERS)
    if isinstance(reply, web.HTTPException):
        raise reply
    return reply


@routes.get("/")
async def bank_form(request: web.Request) -> web.Response:
    reply = await request.app[BELVO].get_json("/api/institutions/", {"name": BANK})
    results = reply.get("results") if isinstance(reply, Mapping) else None
    bank = results[0] if isinstance(results, list) and results else None
    fields = bank.get("form_fields") if isinstance(bank, Mapping) else None
    inputs = "".join(
        f"<p><label>{escape(str(field.get('label')))} {_input(str(field['name']))}</label></p>"
        for field in (fields if isinstance(fields, list) else ())
        if isinstance(field, Mapping) and field.get("name") in ("username", "password")
    )
    return page(request, "Log in at your bank", form(request, "/", f"{inputs}<button>Log in</button>"))


@routes.post("/")
async def connect(request: web.Request) -> web.Response:
    typed, person = await request.post(), person_of(request)
    try:
        outcome = await request.app[BELVO].register(
            BANK,
            Credentials(str(typed.get("username", "")), str(typed.get("password", ""))),
            external_id=person,
            correlation=person,
            access_mode="single",
        )
    except LoginError as error:
        return page(request, f"Your bank refused the login: {error.reason}", '<a href="/">Try again</a>', 422)
    except (BelvoLinksError, ValueError):
        return page(request, "That did not work", '<a href="/">Try again</a>', 422)
    if isinstance(outcome, Link):
        return page(request, ENDS["linked"])
    raise web.HTTPSeeOther(f"/logins/{outcome.id}")


@routes.get("/logins/{id}")
async def login(request: web.Request) -> web.Response:
    pending = await mine(request)
    if pending.state in ENDS:
        return page(request, ENDS[pending.state])
    here = f"/logins/{pending.id}"
    if pending.state == "indeterminate":
        text = "<p>Your answer was sent, but no reply came. It is not sent again.</p>"
        look = form(request, f"{here}/look", "<button>Look again</button>")
        return page(request, "We could not tell", text + look)
    asked = pending.challenge
    shown = to_svg(asked.qr) if asked.qr else f"<p>{escape(asked.value or '')}</p>"
    answer = f"<label>Your answer {_input('token')}</label><button>Send</button>"
    answer = answer if asked.expects_user_input else "<button>I have confirmed</button>"
    sent = form(request, here, f'<input type="hidden" name="round" value="{pending.round}">{answer}')
    shown += f"<p>Question {pending.round}, {pending.seconds_left:.0f} seconds left.</p>"
    return page(request, escape(asked.instructions or "Your bank asks"), shown + sent)


@routes.post("/logins/{id}")
async def answer(request: web.Request) -> web.Response:
    """Submit the answer for the round that the person was shown: a second click spends nothing."""
    pending, typed = await mine(request), await request.post()
    number, token = str(typed.get("round", "")), str(typed.get("token", "")).strip()
    if not number.isdecimal() or (pending.challenge.expects_user_input and not token):
        raise web.HTTPUnprocessableEntity(text="This form is not complete.")
    try:
        with suppress(MfaError):  # an old form, too late, not known: the page shows how it stands
            await request.app[BELVO].complete(pending.id, token or None, round=int(number))
    except BelvoLinksError:
        return page(request, "The bank did not take that", f'<a href="/logins/{pending.id}">Look again</a>', 422)
    raise web.HTTPSeeOther(f"/logins/{pending.id}")


@routes.post("/logins/{id}/look")
async def look(request: web.Request) -> web.Response:
    pending = await mine(request)
    with suppress(MfaError):  # the page shows what is known
        await pending.reconcile()
    raise web.HTTPSeeOther(f"/logins/{pending.id}")


async def mine(request: web.Request) -> PendingSession:
    """Return the pending session if it is this person's; somebody else's looks like one that never was."""
    try:
        pending = await request.app[BELVO].pending(request.match_info["id"])
    except MfaError:
        raise web.HTTPNotFound from None
    if pending.correlation != person_of(request):
        raise web.HTTPNotFound
    return pending


def form(request: web.Request, action: str, content: str) -> str:
    hidden = f'<input type="hidden" name="csrf" value="{csrf_of(request)}">'
    return f'<form method="post" action="{action}" autocomplete="off">{hidden}{content}</form>'


def _input(name: str) -> str:
    kind = "password" if name == "password" else "text"
    return f'<input name="{name}" type="{kind}" required maxlength="200" autocomplete="off">'


def page(request: web.Request, title: str, content: str = "", status: int = 200) -> web.Response:
    """Return a page. The title and the content are HTML: whatever comes from outside has been escaped."""
    head = f'<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    return web.Response(text=f"{head}<h1>{title}</h1>{content}", content_type="text/html", status=status)


async def session_layer(app: web.Application) -> AsyncIterator[None]:
    """Open the session layer with the application, and close it with it."""
    async with AsyncExitStack() as stack:
        if BELVO not in app:
            if "BELVO_SECRET_ID" in os.environ:
                belvo = BelvoLinks.from_env()
            else:
                box = await stack.enter_async_context(Sandbox())
                belvo = BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, **box.client_options)
            app[BELVO] = await stack.enter_async_context(belvo)
        yield


def create_app(belvo: BelvoLinks | None = None) -> web.Application:
    app = web.Application(middlewares=[guarded])
    app[SECRET] = secrets.token_bytes(32)
    if belvo:
        app[BELVO] = belvo
    app.cleanup_ctx.append(session_layer)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    web.run_app(create_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8000")), access_log=None)
