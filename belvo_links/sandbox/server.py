"""The simulator on a socket: reads requests, lets the calls decide, writes replies, plays scripted faults."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import math
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import cast
from urllib.parse import unquote, urlsplit

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod
from attrs import evolve

from . import answers
from .answers import Answer, JsonValue, Problem, RefusalError, encode, error_answer, shifted
from .calls import Call
from .faults import EarlyFaultError, Fault, FaultScript
from .filters import parse_query
from .record import Received, trim
from .routes import LINKS, ROUTES, find_place
from .state import Account
from .validation import Body, parse_body, parse_json
from .world import World

RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
WINDOW = timedelta(seconds=30)
"""In which the requests are counted (documentation section 13)."""
_BODIES = frozenset({"POST", "PUT", "PATCH"})
_REQUEST_LINE = re.compile(r"b'(?P<method>[^\s']+) (?P<target>[^\s']+) HTTP/")

# Outside the hierarchy of loggers: what aiohttp's server would say quotes requests, which hold secrets, and
# breakdowns that a test asked for are no news. A bug of the simulator is raised by `Sandbox.stop` instead.
_SILENT = logging.Logger("belvo_links.sandbox", logging.CRITICAL + 1)  # noqa: LOG001 - see above


class Service:
    """Serves one world. Every request is recorded, and so is every failure of the simulator itself."""

    def __init__(self, world: World, clock: Callable[[], datetime]) -> None:
        self.world = world
        self._clock = clock
        self.faults = FaultScript()
        self.requests: list[Received] = []
        self.served = 0
        """How many requests have come, those that are forgotten included."""
        self.tokens: list[str] = []
        self.failures: list[Exception] = []
        self._window: deque[datetime] = deque()
        self._running: set[asyncio.Task[object]] = set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; a bug of the simulator is kept for the test to fail with."""
        task = cast(asyncio.Task[object], asyncio.current_task())  # aiohttp runs every handler in one
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            content = await request.read()
            received = self._receive(request, content)
            return await self._answer(request, received, content)
        except (web.HTTPException, ConnectionError, asyncio.CancelledError):
            raise
        except web.RequestPayloadError:
            # The body contradicts its own headers (a gzip that is none, say): nothing was received to record.
            return _response(self._refuse(RefusalError(answers.parse_error("unreadable body"))))
        except Exception as error:  # noqa: BLE001 - whatever it is, `Sandbox.stop` raises it
            self.failures.append(error)
            return web.Response(status=500, text="the simulator itself has failed")

    async def close(self) -> None:
        """End the requests that still wait, also those whose connection is gone already."""
        waiting = list(self._running)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def _receive(self, request: web.BaseRequest, content: bytes) -> Received:
        try:
            parsed = parse_json(content) if content else None
        except RefusalError:
            parsed = None
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = self._record(request.method, request.raw_path, headers, parsed)
        if (received.method, received.template) == ("PATCH", LINKS) and isinstance(parsed, Mapping):
            token = parsed.get("token")
            if isinstance(token, str):
                self.tokens.append(token)
                trim(self.tokens, self.world.record_limit)
        return received

    def _record(self, method: str, target: str, headers: Mapping[str, str], body: JsonValue) -> Received:
        path, query = _split_target(target)
        place = find_place(path, strict_slash=self.world.switches.strict_slash)
        received = Received(
            method=method,
            path=path,
            template=None if place is None else place.template,
            query=query,
            headers=headers,
            body=body,
            at=self._clock(),
        )
        self.served += 1
        self.requests.append(received)
        trim(self.requests, self.world.record_limit)
        return received

    async def _answer(self, request: web.BaseRequest, received: Received, content: bytes) -> web.StreamResponse:
        fault = self.faults.take(received.method, received.template)
        if fault is not None:
            return await self._with_fault(request, received, content, fault)
        scripts = self.world.scripts
        scripts.spoils = True
        try:
            answer = self._process(received, content)
        except EarlyFaultError as early:
            fault = early.fault
        else:
            fault, scripts.fault = scripts.fault, None
            return (
                self._reply(received, answer) if fault is None else await self._spoil(request, received, answer, fault)
            )
        return await self._with_fault(request, received, content, fault, counted=True)

    async def _with_fault(
        self, request: web.BaseRequest, received: Received, content: bytes, fault: Fault, *, counted: bool = False
    ) -> web.StreamResponse:
        """Answer a request whose fault is known before it takes its effect."""
        switches = self.world.switches
        match fault.kind:
            case "drop_before":
                return _broken(request)
            case "status":
                return self._scripted(received, fault)
            case "drop_during":
                _broken(request)
                await asyncio.sleep(fault.seconds)
            case "delay":
                await asyncio.sleep(fault.seconds)
            case "switched" if fault.switches is not None:
                switches = fault.switches
            case _:
                pass
        own, self.world.switches = self.world.switches, switches
        self.world.scripts.spoils = False  # one fault at a time
        try:
            answer = self._process(received, content, counted=counted)
        finally:
            self.world.switches = own
        if fault.kind == "switched":
            skew = timedelta(seconds=switches.clock_skew_seconds - own.clock_skew_seconds)
            return self._reply(received, shifted(answer, skew), skew=skew)
        return await self._spoil(request, received, answer, fault)

    async def _spoil(
        self, request: web.BaseRequest, received: Received, answer: Answer, fault: Fault
    ) -> web.StreamResponse:
        """Reply to a request that has taken its effect, as the fault says."""
        match fault.kind:
            case "drop_after" | "drop_during":
                return _broken(request)
            case "status_after":
                return self._scripted(received, fault)
            case "delay_after":
                await asyncio.sleep(fault.seconds)
            case "replace_body" if isinstance(fault.body, bytes):
                return self._reply(received, answer, content=fault.body)
            case "foreign_next":
                return self._reply(received, _elsewhere(answer, str(fault.body)))
            case "truncate":
                self._finish(received, answer.status)
                return _truncated(request, answer)
            case "slow_body":
                return await _slowly(request, self._reply(received, answer), pieces=fault.code, pause=fault.seconds)
            case _:
                pass
        return self._reply(received, answer)

    def _process(self, received: Received, content: bytes, *, counted: bool = False) -> Answer:
        try:
            if not counted:
                self._throttle()
            return self._call(received, content)
        except RefusalError as refusal:
            return self._refuse(refusal)

    def _throttle(self) -> None:
        """Refuse a request beyond the limit of the whole API (documentation section 13), where one is set."""
        limit, now, window = self.world.switches.request_limit, self.world.clock(), self._window
        if limit is None:
            return
        while window and now - window[0] >= WINDOW:
            window.popleft()
        if len(window) >= limit:
            seconds = math.ceil((window[0] + WINDOW - now).total_seconds())
            headers = {"Retry-After": str(seconds)} if self.world.switches.retry_after else None
            raise RefusalError(answers.throttled(seconds), headers=headers)
        window.append(now)

    def _refuse(self, refusal: RefusalError) -> Answer:
        shape = self.world.switches.error_shape
        return error_answer(refusal, request_id=self.world.ids.hex(), shape=shape)

    def _call(self, received: Received, content: bytes) -> Answer:
        place = find_place(received.path, strict_slash=self.world.switches.strict_slash)
        if place is None or not place.well_formed:
            raise RefusalError(answers.NOT_FOUND)
        account = self._authenticate(received.headers.get("authorization"))
        methods = ROUTES[place.template]
        if received.method not in methods:
            raise _not_allowed(received.method, methods)
        body: Body = {}
        if received.method in _BODIES:
            body = parse_body(received.headers.get("content-type", ""), content)
        call = Call(
            world=self.world,
            account=account,
            # Absolute addresses on the host that the client named, like the service itself.
            url=f"http://{received.headers.get('host', 'localhost')}{received.path}",
            query=parse_query(received.query),
            headers=received.headers,
            body=body,
            item=place.item,
        )
        return methods[received.method](call)

    def _authenticate(self, header: str | None) -> Account:
        """HTTP Basic (documentation section 2)."""
        if not header:
            raise RefusalError(answers.NOT_AUTHENTICATED)
        scheme, _, encoded = header.partition(" ")
        try:
            secret_id, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            secret_id, secret = "", ""
        account = self.world.accounts.get(secret_id) if scheme.lower() == "basic" else None
        if account is None or not hmac.compare_digest(account.secret_password.encode(), secret.encode()):
            raise RefusalError(answers.AUTHENTICATION_FAILED)
        return account

    def _scripted(self, received: Received, fault: Fault) -> web.StreamResponse:
        if isinstance(fault.body, bytes):
            headers = {"Content-Type": "application/json", **fault.headers}
            self._finish(received, fault.code)
            return web.Response(status=fault.code, body=fault.body, headers=headers)
        if fault.body is None and fault.code >= 400:
            documented = answers.BY_STATUS.get(fault.code)
            problem = documented or Problem(fault.code, "unexpected_error", answers.UNEXPECTED_ERROR.message)
            answer = self._refuse(RefusalError(problem))
            return self._reply(received, evolve(answer, headers=fault.headers))
        return self._reply(received, Answer(fault.code, fault.body, fault.headers))

    def _reply(
        self, received: Received, answer: Answer, *, content: bytes | None = None, skew: timedelta = timedelta()
    ) -> web.Response:
        self._finish(received, answer.status)
        response = _response(answer, content)
        # The service's time, as in everything that it says.
        response.headers["Date"] = format_datetime(self.world.clock() + skew, usegmt=True)
        return response

    def _finish(self, received: Received, status: int) -> None:
        # From the end, and by identity: a test may have emptied the list meanwhile.
        for position in range(len(self.requests) - 1, -1, -1):
            if self.requests[position] is received:
                self.requests[position] = evolve(received, status=status)
                return

    def unknown_method(self, method: str, target: str) -> web.StreamResponse:
        """Answer a method that the HTTP parser does not know; nothing but its request line could be read."""
        received = self._record(method, target, {}, None)
        place = find_place(received.path, strict_slash=self.world.switches.strict_slash)
        refusal = RefusalError(answers.NOT_FOUND)
        if place is not None and place.well_formed:
            refusal = _not_allowed(method, ROUTES[place.template])
        response = self._reply(received, self._refuse(refusal))
        response.force_close()
        return response


def _elsewhere(answer: Answer, origin: str) -> Answer:
    """A page whose addresses name another host."""
    if not isinstance(answer.body, Mapping):
        return answer
    moved = {
        name: origin + address[address.index("/api/") :]
        for name in ("next", "previous")
        if isinstance(address := answer.body.get(name), str)
    }
    return evolve(answer, body={**answer.body, **moved})


async def _slowly(request: web.BaseRequest, whole: web.Response, *, pieces: int, pause: float) -> web.StreamResponse:
    """Announce the whole body and send it piece by piece."""
    content = whole.body if isinstance(whole.body, bytes) else b""
    response = web.StreamResponse(status=whole.status, headers=whole.headers)
    response.content_length = len(content)
    await response.prepare(request)
    size = max(1, math.ceil(len(content) / pieces))
    for start in range(0, len(content), size):
        await asyncio.sleep(pause)
        await response.write(content[start : start + size])
    await response.write_eof()
    return response


def _split_target(target: str) -> tuple[str, str]:
    """Path and raw query of what stands in the request line, which may be a whole address."""
    if not target.startswith("/"):
        parts = urlsplit(target)
        return unquote(parts.path), parts.query
    path, _, query = target.partition("?")
    return unquote(path), query


def _response(answer: Answer, content: bytes | None = None) -> web.Response:
    if content is None:
        content = b"" if answer.body is None else encode(answer.body)
    response = web.Response(status=answer.status, body=content, headers=dict(answer.headers))
    if content:
        response.content_type = "application/json"
    return response


def _not_allowed(method: str, methods: Mapping[str, object]) -> RefusalError:
    return RefusalError(answers.method_not_allowed(method), headers={"Allow": ", ".join(sorted(methods))})


def _broken(request: web.BaseRequest) -> web.StreamResponse:
    """Break the connection. What is returned finds it closed and is dropped by the server."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _truncated(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Announce the whole body, send half of it, close; past the server's own writer, which would complain.

    Where there is no body, the status line is cut.
    """
    content = b"" if answer.body is None else encode(answer.body)
    head = f"HTTP/1.1 {answer.status} Cut\r\nContent-Type: application/json\r\n"
    head = f"{head}Content-Length: {len(content)}\r\n\r\n" if content else head[:9]
    if request.transport is not None:
        request.transport.write(head.encode() + content[: len(content) // 2])
        request.transport.close()
    return web.Response()


class _Connection(web.RequestHandler):
    """aiohttp's connection, which answers 400 to methods that its parser does not know; the API says 405."""

    service: Service

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed."""
        if isinstance(exc, BadHttpMethod):
            line = _REQUEST_LINE.search(message or "")
            if line is not None:
                return self.service.unknown_method(line["method"], line["target"])
        return super().handle_error(request, status, exc, message)


class Server(web.Server):
    """aiohttp's low-level server: one handler for every method and path, the service's own by default."""

    def __init__(self, service: Service, handler: RequestHandler | None = None) -> None:
        super().__init__(service.handle if handler is None else handler)
        self._service = service

    def __call__(self) -> web.RequestHandler:
        """One more connection."""
        connection = _Connection(self, loop=asyncio.get_running_loop(), access_log=_SILENT, logger=_SILENT)
        connection.service = self._service
        return connection
