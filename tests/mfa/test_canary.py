"""Unmistakable secrets go through everything, and are looked for in everything that comes out of it."""

import asyncio
import base64
import json
import logging
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from belvo_links import BelvoLinks, BelvoLinksError, Credentials, Link, Observer, PendingSession, SealError
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.stores import MemoryStore, Seal, SqliteStore
from tests.mfa import table
from tests.mfa.helpers import GOOD, LINK, LINKS, NOWHERE, Failing, client, register

SECRET_ID = "canary-secret-id-4711"
SECRET_PASSWORD = "canary-secret-password-4711"
PASSWORD = "canary_pass_4711"  # as long as the form of the test banks allows
TOKEN = "canary-token-4711"
SESSION = "ca4a5e551047" * 2 + "ca4a4711"
SHOWN_VALUE = "canary-challenge-value-4711"
ECHO = "canary-echo-4711"
KEY, OLD_KEY = (base64.urlsafe_b64encode(text).decode() for text in (b"canary-key-4711-" * 2, b"canary-old-4711-" * 2))
BASIC = re.compile(r"Basic [A-Za-z0-9+/=]{8,}")

ALWAYS = (SECRET_ID, SECRET_PASSWORD, PASSWORD, TOKEN, ECHO)
"""What may stand nowhere at all."""
PRINTED = (*ALWAYS, SESSION, SHOWN_VALUE)
"""What may stand in no text that is made for people or logs."""


def challenge(link_id: str) -> list[dict[str, Any]]:
    """Return a 428 with secrets of its own."""
    data = {"type": "numeric", "instructions": "look", "value": SHOWN_VALUE, "expects_user_input": True}
    return [
        {"code": "token_required", "session": SESSION, "expiry": 720, "link": link_id, "token_generation_data": data}
    ]


class Canary:
    """Collects whatever could print a secret."""

    def __init__(self) -> None:
        self.objects: list[object] = []
        self.errors: list[BaseException] = []

    async def run(self, call: Any) -> Any:
        """Run a call and keep its result or error."""
        try:
            result = await call
        except (BelvoLinksError, ValueError, TypeError) as error:
            self.errors.append(error)
            result = error
        self.objects.append(result)
        return result

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield everything that was collected as text, with where it comes from."""
        for thing in self.objects:
            yield f"repr of {type(thing).__name__}", repr(thing)
            yield f"str of {type(thing).__name__}", f"{thing} {thing!s:>1}"
            if attrs.has(type(thing)):
                # The challenge's value is there to be shown, as a value; all else is masked even then.
                shown = repr(attrs.asdict(thing)).replace(SHOWN_VALUE, "")  # type: ignore[arg-type]
                yield f"asdict of {type(thing).__name__}", shown
        for error in self.errors:
            for each in _chain(error):
                yield f"{type(each).__name__}", f"{each} {each!r} {each.args!r}"
            yield f"pickled {type(error).__name__}", repr(pickle.dumps(error))
            again = pickle.loads(pickle.dumps(error))
            yield f"unpickled {type(error).__name__}", f"{again} {again!r} {vars(again)!r}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and everything that a traceback would print with it."""
    while error is not None:
        yield error
        error = error.__cause__ if error.__cause__ is not None or error.__suppress_context__ else error.__context__


async def _everything(box: Sandbox, canary: Canary, store: Failing, observer: Observer | None = None) -> list[str]:
    """Go through every kind of outcome with secrets everywhere; return the texts made by ``to_json``."""
    texts: list[str] = []
    settings: Any = {"base_url": box.url, "store": store, "retry": None, "rate_limit": None, **box.client_options}
    async with BelvoLinks(SECRET_ID, SECRET_PASSWORD, observer=observer, **settings) as belvo:
        canary.objects += [belvo, store, Credentials("user", PASSWORD)]
        for fault in table.FAULTS.values():
            if fault is not None:
                box.inject(fault, method="POST", template=LINKS)
                await canary.run(belvo.register(NOWHERE, Credentials("sim_mfa_text", PASSWORD, token=TOKEN)))
        for fault in table.FAULTS.values():
            if fault is not None:
                await _session(box, canary, belvo, fault, texts)
        box.inject(Fault.status(400, [{"code": "invalid", "message": ECHO, "field": "password"}]), method="POST")
        await canary.run(belvo.register(NOWHERE, Credentials("u", PASSWORD)))
        store.fail(lambda name, number: True, error=OSError(f"{PASSWORD} {TOKEN} {SESSION}"))
        await canary.run(belvo.register(NOWHERE, Credentials("sim_mfa_text", PASSWORD)))
        store.recover()
        real = await canary.run(belvo.register(NOWHERE, Credentials("sim_mfa_text", PASSWORD)))
        texts.append(real.to_json())
        again = await canary.run(real.complete(TOKEN))
        texts.append(again.to_json())
        await canary.run(again.complete(GOOD))
        await canary.run(belvo.complete("unknown", TOKEN))
        await canary.run(belvo.update("no-uuid", Credentials(password=PASSWORD)))

        async def leave(pending: PendingSession) -> None:
            canary.objects.append(pending)

        await canary.run(belvo.register(NOWHERE, Credentials("sim_mfa_text", PASSWORD), on_challenge=leave))
        canary.objects += [each async for each in store.iterate()]
    async with client(box) as stranger:
        await canary.run(stranger.restore(texts[0]).complete(TOKEN))
    await box.stop()
    await canary.run(belvo.get("e4bb1afb-4a4f-4dd6-8be0-e615d233185b"))
    return texts


async def _session(box: Sandbox, canary: Canary, belvo: BelvoLinks, fault: Fault, texts: list[str]) -> None:
    """Begin a session with secrets of the service, let its Complete meet a fault, and do everything else with it."""
    made = await belvo.register("erebor_mx_retail", Credentials("bnk100", "full"))
    assert isinstance(made, Link)
    box.inject(Fault.status(428, challenge(made.id)), method="PUT")
    asked = await canary.run(belvo.update(made.id, Credentials(password=PASSWORD), correlation="user-42"))
    assert isinstance(asked, PendingSession)
    texts.append(asked.to_json())
    canary.objects += [asked.challenge, asked.record, await belvo.pending(asked.id), belvo.restore(texts[-1])]
    box.inject(fault, method="PATCH", template=LINKS)
    await canary.run(asked.complete(TOKEN))
    canary.objects.append(asked.record)
    texts.append(asked.to_json())
    await canary.run(asked.complete(TOKEN))
    await canary.run(asked.wait())
    await canary.run(asked.reconcile())
    await canary.run(asked.cancel())
    task = asyncio.create_task(belvo.complete(asked.id, TOKEN))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def test_no_secret_is_printed_logged_pickled_or_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Logs at DEBUG of everybody, texts of all objects and errors, pickles, JSON: Belvo's session in JSON alone."""
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "aiohttp", "belvo_links"):
        caplog.set_level(logging.DEBUG, logger=name)
    canary, store = Canary(), Failing(MemoryStore())
    async with Sandbox(seed=1, secret_id=SECRET_ID, secret_password=SECRET_PASSWORD) as box:
        texts = await _everything(box, canary, store)
        assert TOKEN in box.tokens
        assert any(PASSWORD in str(request.body) for request in box.requests)
    sessions = {session for text in texts if (session := json.loads(text)["session"]) is not None}
    assert len(sessions) == 3
    logged = [(record.name, f"{record.getMessage()} {record.args!r} {record.exc_info!r}") for record in caplog.records]
    assert {"belvo_links"} <= {name for name, _ in logged}
    found = [
        (where, secret)
        for where, text in (*canary.texts(), *logged)
        for secret in (*PRINTED, *sessions, *BASIC.findall(text))
        if secret in text
    ]
    assert found == []
    assert len(canary.errors) > 3 * len(table.FAULTS)
    in_json = [(secret, text) for text in texts for secret in ALWAYS if secret in text]
    assert in_json == []
    first = json.loads(texts[0])
    assert (first["session"], first["challenge"]["value"]) == (SESSION, SHOWN_VALUE)
    assert GOOD not in texts[0]
    assert LINK not in texts[0]


async def test_no_key_is_printed_logged_pickled_or_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Keys that seal stores and cookies, well and badly: in no text of any object, error or log, and in no file."""
    caplog.set_level(logging.DEBUG)
    canary, path = Canary(), tmp_path / "pending.db"
    store = SqliteStore(path, keys=[KEY, OLD_KEY])
    async with Sandbox(seed=1) as box, client(box, store=store) as belvo, store:
        asked = await register(belvo, correlation=ECHO)
        texts = [asked.seal([KEY]), asked.seal([OLD_KEY, KEY], "canary-user-4711")]
        canary.objects += [store, vars(store), vars(vars(store)["_form"]), Seal([KEY, OLD_KEY], purpose="a"), belvo]
        canary.objects += [asked, belvo.unseal(texts[0], [OLD_KEY, KEY]), *texts]

        async def seal(*args: Any) -> object:
            return asked.seal(*args)

        async def unseal(*args: Any) -> object:
            return belvo.unseal(*args)

        async def open_store(keys: Any) -> object:
            return MemoryStore(keys=keys)

        for bad in (KEY, KEY.encode(), [KEY[1:]], [KEY, KEY + "!"], [KEY.encode()], [], {KEY: KEY}, [[KEY]]):
            for call in (seal(bad), unseal(texts[0], bad), open_store(bad)):
                assert isinstance(await canary.run(call), ValueError | TypeError)
        for call in (
            unseal(KEY, [KEY]),
            unseal(texts[0], [OLD_KEY]),
            unseal(texts[0] + KEY, [KEY]),
            unseal(texts[1], [KEY, OLD_KEY], "another"),
            unseal(texts[1].replace("bls1", "bls2"), [KEY, OLD_KEY], "canary-user-4711"),
        ):
            assert isinstance(await canary.run(call), SealError)
        async with SqliteStore(path, keys=[OLD_KEY]) as other:
            assert isinstance(await canary.run(other.load(asked.id)), SealError)
            canary.objects += [each async for each in other.iterate()]
        written = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    logged = [("log", f"{record.getMessage()} {record.args!r} {record.exc_info!r}") for record in caplog.records]
    assert any("passed over" in text for _, text in logged)
    raw = [base64.urlsafe_b64decode(key) for key in (KEY, OLD_KEY)]
    hidden = [KEY.rstrip("="), OLD_KEY.rstrip("="), *(repr(key)[2:-1] for key in raw), *(key.hex() for key in raw)]
    found = [(where, secret) for where, text in (*canary.texts(), *logged) for secret in hidden if secret in text]
    assert found == []
    assert asked.record.session is not None
    for secret in (*raw, *(text.encode() for text in (*hidden, ECHO, asked.record.session.reveal()))):
        assert secret not in written
        assert not any(secret in text.encode() for text in texts)


async def test_no_file_of_a_store_holds_a_credential_or_a_token(tmp_path: Path) -> None:
    """Neither the database nor what SQLite writes beside it, after everything that can happen to a login."""
    path = tmp_path / "pending.db"
    async with SqliteStore(path) as other:
        await other.load("none")  # keeps the file open, so that what stands beside it stays
        async with Sandbox(seed=1, secret_id=SECRET_ID, secret_password=SECRET_PASSWORD) as box:
            await _everything(box, Canary(), Failing(SqliteStore(path)))
            assert TOKEN in box.tokens
        written = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert {"pending.db", "pending.db-wal"} <= written.keys()
    everything = b"".join(written.values())
    assert SESSION.encode() in everything  # a login that waits needs it: the search finds what is there
    for secret in (*ALWAYS, GOOD):
        assert secret.encode() not in everything
