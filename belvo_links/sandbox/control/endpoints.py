"""The page at ``/`` and the control endpoints below ``/_sandbox/``, beside the API itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from aiohttp import web

from belvo_links.sandbox.answers import JsonValue
from belvo_links.sandbox.routes import ROUTES
from belvo_links.sandbox.server import Service
from belvo_links.sandbox.state import timestamp
from belvo_links.sandbox.world import World

from . import reports, views
from .access import Gate, Refusal, bearer
from .actions import ACTIONS, ActionError, Done, perform
from .history import History
from .rendering import ASSETS, Part, Renderer

if TYPE_CHECKING:
    from belvo_links.sandbox.sandbox import Sandbox

_FOLDER = "/_sandbox/"
_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_STATUS: Mapping[Refusal, int] = {"no key": 401, "wrong key": 403, "host": 403, "origin": 403, "form": 403}
_WORDS: Mapping[Refusal, str] = {
    "no key": "This needs the control key.",
    "wrong key": "This is not the control key.",
    "host": "The simulator listens on this machine only, and the address names another one.",
    "origin": "Another site has sent this.",
    "form": "This form is not of this page, or of an earlier start of the simulator.",
}
CALLS = [f"{method} {template}" for template, methods in ROUTES.items() for method in methods if template != "/api/"]
"""What a fault can be meant for."""


class Control:
    """Serves the page and the control endpoints, and leaves every other path to the API."""

    def __init__(self, gate: Gate, box: Sandbox, world: World, service: Service, history: History) -> None:
        self.gate = gate
        self._box, self._world, self._service, self._history = box, world, service, history
        self._renderer = Renderer()
        self._looks: Mapping[str, Callable[[], JsonValue]] = {
            f"{_FOLDER}logins": lambda: reports.logins(world),
            f"{_FOLDER}links": lambda: reports.links(views.links_view(world, history), world.clock()),
            f"{_FOLDER}requests": lambda: reports.requests(
                views.requests_view(service.requests, service.served, len(service.requests)), world.clock()
            ),
            f"{_FOLDER}faults": lambda: reports.faults(service.faults.waiting),
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.path != "/" and not request.path.startswith(_FOLDER):
            return await self._service.handle(request)
        try:
            response = await self._answer(request)
        except (web.HTTPException, ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, `Sandbox.stop` raises it
            self._service.failures.append(error)
            response = web.Response(status=500, text="the simulator itself has failed")
        response.headers.update(_HEADERS)
        return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        refusal = self.gate.check_sender(request.method, headers)
        if refusal is not None:
            return self._refuse(request, refusal)
        if request.path in ASSETS and request.method in ("GET", "HEAD"):
            kind, content = ASSETS[request.path]
            return web.Response(body=content, content_type=kind, charset="utf-8")
        if request.path == "/" and "key" in request.query and request.method in ("GET", "HEAD"):
            return self._enter(request)
        refusal = self.gate.check_key(headers, request.cookies.get(self._cookie_name))
        if refusal is not None:
            return self._refuse(request, refusal)
        if request.method in ("GET", "HEAD"):
            return self._look(request)
        if request.method == "POST" and request.path in ACTIONS:
            return await self._act(request, by_key=bearer(headers) is not None)
        known = request.path == "/" or request.path in ACTIONS or request.path in self._looks
        return self._explain(request, 405 if known else 404, "There is nothing here for this method.")

    @property
    def _cookie_name(self) -> str:
        """With the port, since browsers send a cookie to every port of a host."""
        return f"belvo_sandbox_{self._box.url.rpartition(':')[2]}"

    def _enter(self, request: web.BaseRequest) -> web.Response:
        """Take the key out of the address and put what stands for it into a cookie."""
        if not self.gate.is_key(request.query["key"]):
            return self._refuse(request, "wrong key")
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(self._cookie_name, self.gate.cookie, httponly=True, samesite="Strict", path="/")
        return response

    def _look(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/":
            parts = {part.name: self._shown(part) for part in self._parts()}
            return _html(200, self._renderer.page("page", parts=parts, calls=CALLS, **self._frame()))
        if request.path == f"{_FOLDER}live":
            return _json(200, self._live(request.query))
        if request.path in self._looks:
            return _json(200, self._looks[request.path]())
        return self._explain(request, 405 if request.path in ACTIONS else 404, "There is nothing here to look at.")

    def _parts(self) -> list[Part]:
        return [
            Part("logins", views.logins_view(self._world)),
            Part("links", views.links_view(self._world, self._history)),
            Part("faults", views.faults_view(self._service.faults.waiting)),
            Part("requests", views.requests_view(self._service.requests, self._service.served)),
        ]

    def _shown(self, part: Part) -> Mapping[str, str]:
        html = self._renderer.part(part, form_token=self.gate.form_token)
        return {"version": part.version, "html": html}

    def _live(self, query: Mapping[str, str]) -> JsonValue:
        """What has changed since the versions of the parts that the page has."""
        changed = {part.name: self._shown(part) for part in self._parts() if query.get(part.name) != part.version}
        now = self._world.clock()
        return {"now": timestamp(now), "clock": views.moment(now), "parts": changed}

    def _frame(self) -> Mapping[str, object]:
        now = self._world.clock()
        return {
            "now": timestamp(now),
            "clock": views.moment(now),
            "url": self._box.url,
            "exposed": self.gate.host if self.gate.exposed else "",
            "form_token": self.gate.form_token,
        }

    async def _act(self, request: web.BaseRequest, *, by_key: bool) -> web.Response:
        action, anchor = ACTIONS[request.path]
        try:
            content = await request.read()
        except web.RequestPayloadError:  # it contradicts its own headers: a gzip that is none, say
            return self._explain(request, 400, "The body could not be read.")
        try:
            fields = _read_json(content) if by_key else dict(parse_qsl(content.decode(errors="replace")))
            if not by_key and not self.gate.is_form_token(str(fields.pop("form_token", ""))):
                return self._refuse(request, "form")
            done: Done = perform(action, self._box, fields)
        except ActionError as error:
            return self._explain(request, error.status, f"{str(error)[:1].upper()}{str(error)[1:]}.")
        if by_key:
            return _json(200, done.result)
        if _wants_json(request):
            return _json(200, {"said": done.said})
        return web.Response(status=303, headers={"Location": f"/#{anchor}"})

    def _refuse(self, request: web.BaseRequest, refusal: Refusal) -> web.Response:
        response = self._explain(request, _STATUS[refusal], _WORDS[refusal])
        if refusal == "no key":
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    def _explain(self, request: web.BaseRequest, status: int, text: str) -> web.Response:
        if "Authorization" in request.headers or _wants_json(request):
            return _json(status, {"error": text})
        return _html(status, self._renderer.page("refused", status=status, text=text))


def _read_json(content: bytes) -> dict[str, object]:
    try:
        fields = json.loads(content) if content else {}
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ActionError("the body is a JSON object")
    return fields


def _wants_json(request: web.BaseRequest) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def _html(status: int, text: str) -> web.Response:
    return web.Response(status=status, body=text.encode(errors="replace"), content_type="text/html", charset="utf-8")


def _json(status: int, value: JsonValue) -> web.Response:
    return web.Response(status=status, text=json.dumps(value), content_type="application/json")
