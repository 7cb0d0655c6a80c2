"""Secrets in unmistakable strings through every call, and nothing that shows them: logs, reprs, errors, pickles."""

import asyncio
import base64
import json
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from belvo_links import BelvoLinks, Credentials, Link, LinkFilter, PendingSession
from belvo_links.sandbox import Fault, Sandbox
from tests.client.making import AT_ONCE, BANK, LINK_ID, LINKS, MFA_BANK
from tests.http.conftest import nothing_left_behind
from tests.http.rude import free_port
from tests.observing import Everything

__all__ = ["nothing_left_behind"]

SECRET_ID = "canary-secret-id"
SECRET_PASSWORD = "canary-secret-password"
TOKEN = "canary-token"
CERTIFICATE = b"canary-certificate"
PRIVATE_KEY = b"canary-private-key"
CREDENTIALS = Credentials(
    "canary-username",
    "canary-password",
    username2="canary-username2",
    username3="canary-username3",
    username_type="canary-username_type",
    password2="canary-password2",
    token=TOKEN,
    certificate=CERTIFICATE,
    private_key=PRIVATE_KEY,
)
CANARIES = (
    "canary",
    base64.b64encode(CERTIFICATE).decode(),
    base64.b64encode(PRIVATE_KEY).decode(),
    base64.b64encode(f"{SECRET_ID}:{SECRET_PASSWORD}".encode()).decode(),
)

ECHO = "The value canary-password of canary-username with canary-token is wrong"
"""What a careless server says: Belvo's validation messages quote what was sent."""


def echoes(status: int, *, request_id: str = "canary user") -> list[Fault]:
    """Replies that repeat what was sent wherever a reply has room for it."""
    wordy = {"code": "canary token", "message": ECHO, "field": "canary password", "request_id": request_id}
    item = {"code": "invalid", "message": ECHO, "field": "password", "request_id": "5b1e"}
    bodies: list[Any] = [
        [wordy],
        wordy,
        {"detail": ECHO},
        [item, wordy],
        ECHO,
        f"<html>{ECHO}</html>".encode(),
        [[ECHO]],
    ]
    return [
        Fault.status(status, body, headers={"X-Echo": ECHO, "Location": f"/canary/?token={TOKEN}"}) for body in bodies
    ]


def hidden(text: str) -> None:
    """Fail if a secret is in the text, without quoting more than is needed to find the place."""
    text = text.replace(Path(__file__).name, "")  # asyncio names it where a slow machine keeps the loop waiting
    for canary in CANARIES:
        place = text.find(canary)
        assert place < 0, f"…{text[max(0, place - 120) : place + 60]}…"


class Ear(logging.Handler):
    """Hears every record of every logger, with what would be formatted from it."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(f"{record.name} {record.getMessage()} {record.args!r} {record.exc_text!r}")
        if record.exc_info and record.exc_info[1]:
            self.heard.append("".join(traceback.format_exception(record.exc_info[1])))


@pytest.fixture(autouse=True)
def ear() -> Iterator[Ear]:
    """All loggers at DEBUG; afterwards, nothing that was heard shows a secret."""
    one, root = Ear(), logging.getLogger()
    before = root.level
    loggers = [each for each in logging.Logger.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    levels = {each: each.level for each in loggers}
    root.addHandler(one)
    root.setLevel(logging.DEBUG)
    for each in loggers:
        each.setLevel(logging.DEBUG)
    yield one
    root.removeHandler(one)
    root.setLevel(before)
    for each, level in levels.items():
        each.setLevel(level)
    hidden("\n".join(one.heard))


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(secret_id=SECRET_ID, secret_password=SECRET_PASSWORD) as sandbox:
        yield sandbox


@pytest.fixture
async def belvo(box: Sandbox) -> AsyncIterator[BelvoLinks]:
    """A client that is watched by everything there is; nothing of what that was told shows a secret."""
    watching = Everything()
    settings: Any = {"base_url": box.url, "retry": AT_ONCE, "rate_limit": None, **box.client_options}
    async with BelvoLinks(SECRET_ID, SECRET_PASSWORD, observer=watching.observer, **settings) as client:
        yield client
    told = watching.text()
    assert LINK_ID not in told
    hidden(told)


def seen(error: BaseException) -> Iterator[BaseException]:
    """The error and whatever a traceback would print along with it."""
    yield error
    if error.__cause__ is not None:
        yield from seen(error.__cause__)
    elif error.__context__ is not None and not error.__suppress_context__:
        yield from seen(error.__context__)


def hushed(value: object) -> None:
    """Nothing that a program prints of a value or an error shows a secret."""
    parts = [repr(value), str(value), f"{value}"]
    if attrs.has(type(value)):
        parts.append(str(attrs.asdict(value)))  # type: ignore[arg-type]  # has() is no type guard
    if isinstance(value, BaseException):
        for one in seen(value):
            parts += [str(one), repr(one), " ".join(map(repr, one.args)), *getattr(one, "__notes__", ())]
        parts += traceback.format_exception_only(type(value), value)
        pickled = pickle.dumps(value)
        parts += [pickled.decode("latin-1"), repr(pickle.loads(pickled)), repr(vars(pickle.loads(pickled)))]
        waiting = getattr(value, "pending", None)
        parts += [repr(waiting), repr(waiting and waiting.record), repr(waiting and waiting.challenge)]
    hidden("\n".join(parts))


Call = Callable[[BelvoLinks], Awaitable[object]]


async def _iterate(belvo: BelvoLinks) -> list[Link]:
    return [link async for link in belvo.iterate()]


CALLS: dict[str, Call] = {
    "register": lambda belvo: belvo.register(BANK, CREDENTIALS),
    "patch": lambda belvo: belvo.patch(LINK_ID, stale_in="90d"),
    "update": lambda belvo: belvo.update(LINK_ID, attrs.evolve(CREDENTIALS, username=None)),
    "get": lambda belvo: belvo.get(LINK_ID),
    "page": lambda belvo: belvo.page(),
    "partial page": lambda belvo: belvo.page(fields=["id"]),
    "count": lambda belvo: belvo.count(LinkFilter(status="valid")),
    "iterate": _iterate,
    "delete": lambda belvo: belvo.delete(LINK_ID),
    "refresh": lambda belvo: belvo.refresh(LINK_ID),
    "get_json": lambda belvo: belvo.get_json("/api/institutions/"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_service_that_echoes_what_was_sent(box: Sandbox, belvo: BelvoLinks, call: Call) -> None:
    """In messages, codes, fields, request ids, headers, and in every shape: none of it is shown."""
    for status in (200, 201, 204, 302, 400, 401, 403, 404, 408, 409, 428, 429, 500, 502):
        for fault in echoes(status):
            box.inject(fault, times=None)
            (outcome,) = await asyncio.gather(call(belvo), return_exceptions=True)
            if not isinstance(outcome, dict | list | str):  # what get_json gives is the reply itself
                hushed(outcome)
            box.clear_faults()


@pytest.mark.parametrize(
    "fault", [Fault.drop_before(), Fault.drop_after(), Fault.truncate(), Fault.replace_body(ECHO.encode())]
)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_reply_that_is_lost_or_cannot_be_read(
    box: Sandbox, belvo: BelvoLinks, call: Call, fault: Fault
) -> None:
    """With what was sent in reach of whoever writes the error."""
    box.inject(fault, times=None)
    hushed((await asyncio.gather(call(belvo), return_exceptions=True))[0])


async def test_nobody_listens() -> None:
    """The errors of the network show addresses and more."""
    address = f"http://127.0.0.1:{free_port()}"
    async with BelvoLinks(SECRET_ID, SECRET_PASSWORD, base_url=address, retry=AT_ONCE) as belvo:
        hushed(belvo)
        for call in CALLS.values():
            (error,) = await asyncio.gather(call(belvo), return_exceptions=True)
            assert isinstance(error, Exception)
            hushed(error)


async def test_a_login_from_its_beginning_to_its_end(box: Sandbox, belvo: BelvoLinks, ear: Ear) -> None:
    """Every object on the way, and every way for a Complete to fail; Belvo's session is as secret as the rest."""
    plain = Credentials("sim_mfa_text", "canary_password")
    hushed(plain)
    hushed(CREDENTIALS)
    failing = [
        # A request id is kept as it came, for Belvo's support: it is theirs.
        *(fault for status in (200, 400, 428, 429, 500) for fault in echoes(status, request_id="5b1e")),
        Fault.drop_before(),
        Fault.drop_after(),
        Fault.truncate(),
    ]
    for fault in failing:
        waiting = await belvo.register(MFA_BANK, plain, access_mode="single")
        assert isinstance(waiting, PendingSession)
        session = json.loads(waiting.to_json())["session"]
        assert session
        for shown in (waiting, waiting.record, waiting.challenge):
            hushed(shown)
            assert session not in repr(shown)
        box.inject(fault, method="PATCH", template=LINKS)
        (outcome,) = await asyncio.gather(waiting.complete(TOKEN), return_exceptions=True)
        hushed(outcome)
        assert session not in repr(outcome)
        assert TOKEN not in waiting.to_json()
        assert "canary" not in repr(waiting.record)
        assert session not in " ".join(ear.heard)


async def test_values_that_are_refused_here(box: Sandbox, belvo: BelvoLinks, tmp_path: Path) -> None:
    """The check that fails does not say what it saw."""
    missing = tmp_path / "canary-file"
    for call in (
        belvo.register(BANK, Credentials("canary-username", certificate=missing, private_key=missing)),
        belvo.register(BANK, {"password": "canary-password"}),  # type: ignore[call-overload]  # on purpose
        belvo.register(BANK, CREDENTIALS, external_id="canary" * 100),
        belvo.register(BANK, CREDENTIALS, stale_in="canary"),
        belvo.update(LINK_ID, CREDENTIALS),
        belvo.complete("an-id", "canary-token\ud800"),
        belvo.complete("an-id", b"canary-token"),  # type: ignore[arg-type]  # on purpose
        belvo.get("canary"),
        belvo.get_json("/api/canary/?token=canary"),
    ):
        with pytest.raises((ValueError, TypeError)) as caught:
            await call
        hidden("\n".join(map(repr, seen(caught.value))))
    assert box.requests == []
    hidden(repr(belvo) + repr(box))
