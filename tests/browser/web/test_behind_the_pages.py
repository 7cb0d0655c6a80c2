"""What no browser sees of the example: its table of accounts, its stores, its words."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from belvo_links import (
    BelvoLinks,
    BelvoLinksError,
    ConnectError,
    Credentials,
    Link,
    LoginError,
    LoginReason,
    MfaRequiredError,
    PendingSession,
    ServerError,
)
from belvo_links.sandbox import Sandbox
from tests.browser.looking import REQUIRED

try:
    from examples.web_fastapi.accounts import Accounts
    from examples.web_fastapi.ending import told_of_the_end
    from examples.web_fastapi.services import Services
    from examples.web_fastapi.settings import Settings
    from examples.web_fastapi.words import PROBLEMS, what_went_wrong
except ModuleNotFoundError as missing:
    if REQUIRED:
        raise
    pytest.skip(f"examples/web_fastapi needs the extra [examples]: {missing}", allow_module_level=True)

BANK = "heimdall_mx_retail"


@pytest.fixture
async def box(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        for name, value in sandbox.env.items():
            monkeypatch.setenv(name, value)
        yield sandbox


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(secret="s", pending=str(tmp_path / "pending.db"), database=tmp_path / "accounts.db")


@pytest.fixture
def postgres(postgres_dsn: str) -> Iterator[str]:
    """A schema of this test's own, in which everything has its usual name."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        yield f"{postgres_dsn}?options=-csearch_path%3D{name}"
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


async def connected(belvo: BelvoLinks, user: str = "bnk100") -> Link:
    link = await belvo.register(BANK, Credentials(user, "full"), external_id="user-42")
    assert isinstance(link, Link)
    return link


# --- Whose


@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
async def test_a_login_belongs_to_a_person_whatever_keeps_it(
    kind: str, box: Sandbox, settings: Settings, request: pytest.FixtureRequest
) -> None:
    """By its correlation; one that a refresh has begun, by its link."""
    if kind == "redis":
        settings = replace(settings, pending=request.getfixturevalue("redis_url"))
    if kind == "postgres":
        settings = replace(settings, pending=request.getfixturevalue("postgres"))
    async with Services.open(settings) as given:
        begun = await given.belvo.register(BANK, Credentials("sim_mfa_text", "full"), correlation="ana")
        assert isinstance(begun, PendingSession)
        assert await given.pending_of("ana", begun.id)
        assert await given.pending_of("bea", begun.id) is None
        assert await given.pending_of("ana", "no-such-login") is None
        await given.accounts.keep("ana", link := await connected(given.belvo, "sim_mfa_refresh"))
        with pytest.raises(MfaRequiredError) as caught:
            await given.belvo.refresh(link.id)
        assert caught.value.pending
        assert await given.pending_of("ana", caught.value.pending.id)
        assert await given.pending_of("bea", caught.value.pending.id) is None


async def test_nobody_takes_over_the_link_of_somebody_else(box: Sandbox, settings: Settings) -> None:
    async with Services.open(settings) as given:
        link = await connected(given.belvo)
        assert await given.accounts.keep("ana", link)
        assert not await given.accounts.keep("bea", link)
        assert await given.accounts.of("bea") == []
        assert [account.link_id for account in await given.accounts.of("ana")] == [link.id]


# --- Webhooks and forms


async def test_a_webhook_waits_until_somebody_has_the_link(box: Sandbox, settings: Settings) -> None:
    """It is then taken by one process, and what comes meanwhile is not lost with it."""
    async with (
        Services.open(settings) as given,
        Accounts.open(settings.database) as other,
    ):
        link = await connected(given.belvo)
        await given.accounts.note_webhook("key-1", link.id)
        await given.accounts.note_webhook("key-1", link.id)
        assert await given.accounts.take_webhooks() is None
        await given.accounts.keep("ana", link)
        assert await given.accounts.take_webhooks() == (link.id, ["key-1"])
        assert await other.take_webhooks() is None
        await other.note_webhook("key-2", link.id)
        await given.accounts.done_with(["key-1"])
        assert await other.take_webhooks() == (link.id, ["key-2"])


async def test_a_form_counts_once_and_leads_somewhere_in_the_end(settings: Settings) -> None:
    """One of somebody else's has no place here."""
    async with Accounts.open(settings.database) as accounts:
        assert await accounts.first_click("ana", "form", "/unsure")
        assert not await accounts.first_click("ana", "form", "/unsure")
        assert await accounts.unfinished("ana") == "form"
        assert await accounts.find_form("ana", "form", 60) == (True, None)
        assert await accounts.find_form("bea", "form", 60) == (False, None)
        assert await accounts.find_form("ana", "form", -1) == (True, "/unsure")
        assert await accounts.find_form("ana", "form", 60) == (True, "/unsure")
        assert await accounts.unfinished("ana") is None


# --- Settings and words


def test_the_settings_come_from_variables() -> None:
    """Secrets are not shown."""
    variables = {
        "APP_SECRET": "canary-1",
        "APP_PENDING": "redis://:canary-2@localhost/0",
        "APP_DATABASE": "/srv/accounts.db",
        "APP_WEBHOOK_AUTHORIZATION": "Bearer canary-3\nBearer canary-4",
        "APP_KEYS": "canary-5 canary-6",
        "APP_SECURE_COOKIES": "0",
        "WEB_CONCURRENCY": "4",
    }
    settings = Settings.from_env(variables)
    assert settings.webhook_authorization == ("Bearer canary-3", "Bearer canary-4")
    assert settings.keys == ("canary-5", "canary-6")
    assert (settings.database, settings.secure_cookies, settings.processes) == (Path("/srv/accounts.db"), False, 4)
    assert "canary" not in repr(settings)
    plain = Settings.from_env({"APP_SECRET": "s"})
    assert (plain.keys, plain.webhook_authorization, plain.secure_cookies) == (None, (), True)


@pytest.mark.parametrize(
    "error, code",
    [
        *((LoginError(status=400, reason=reason), str(reason)) for reason in LoginReason if reason != "unexpected"),
        (LoginError(status=400), "login"),
        (ValueError("password: too long"), "typed"),
        (ConnectError(method="GET", path="/api/links/"), "busy"),
        (ServerError(status=500), "ours"),
    ],
    ids=str,
)
def test_every_refusal_has_words(error: BelvoLinksError | ValueError, code: str) -> None:
    assert what_went_wrong(error) == code
    assert PROBLEMS[code]


async def test_where_python_takes_no_signals_there_is_still_an_event() -> None:
    """In a thread, as some servers and test clients have it."""

    async def listen() -> bool:
        with told_of_the_end() as ending:
            return ending.is_set()

    assert await asyncio.to_thread(lambda: asyncio.run(listen())) is False
