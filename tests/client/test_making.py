"""How a client is made: every argument is checked, nothing is touched, no secret is shown."""

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import aiohttp
import pytest

from belvo_links import BelvoLinks, Environment, LocalLimiter, RateLimit, Waiting
from belvo_links.sandbox import Sandbox, ShortWaits
from tests.client.making import client

UNWATCHED = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
KEYS = ("the-secret-id", "the-secret-password")
HERE = "http://127.0.0.1:1"


def made(**options: Any) -> BelvoLinks:
    return BelvoLinks(*KEYS, **{"base_url": HERE, **options})


@pytest.mark.parametrize(
    "environment, url",
    [
        ("sandbox", "https://sandbox.belvo.com"),
        ("production", "https://api.belvo.com"),
        (Environment.PRODUCTION, "https://api.belvo.com"),
    ],
)
def test_an_environment_says_where_to_connect_to(environment: Environment | str, url: str) -> None:
    """Its name or the enum; and no event loop is needed."""
    assert repr(BelvoLinks(*KEYS, environment=environment)) == f"<BelvoLinks {url}>"


@pytest.mark.parametrize("environment, base_url", [(None, None), ("sandbox", HERE)])
def test_one_place_is_given_and_not_two(environment: str | None, base_url: str | None) -> None:
    """Neither none nor both."""
    with pytest.raises(ValueError, match="exactly one"):
        BelvoLinks(*KEYS, environment=environment, base_url=base_url)


@pytest.mark.parametrize("environment", ["", "staging", "https://user:hunter2@host"])
def test_an_unknown_environment_is_refused_without_being_quoted(environment: str) -> None:
    """It may be an address with a password in it."""
    with pytest.raises(ValueError, match=r"^environment: give") as caught:
        BelvoLinks(*KEYS, environment=environment)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "given, used",
    [
        ("https://proxy.example/belvo/", "https://proxy.example/belvo"),
        ("https://sandbox.belvo.com:443", "https://sandbox.belvo.com"),
        ("HTTPS://Sandbox.Belvo.com", "https://sandbox.belvo.com"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.2:80/", "http://127.0.0.2"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_address_has_one_spelling(given: str, used: str) -> None:
    """Pending sessions belong to an address, so that two spellings of it must not look like two services."""
    assert repr(made(base_url=given)) == f"<BelvoLinks {used}>"


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "sandbox.belvo.com",
        "https://",
        "https://[::1",
        "https://host:port",
        "https://host:99999",
        "https://user:hunter2@sandbox.belvo.com",
        "https://@sandbox.belvo.com",
        "https://host/?key=hunter2",
        "https://host/?",
        "https://host/#hunter2",
        "https://host/a b",
        "https://host/\n",
        "https://host/\x00",
        "https://host\\evil.example",
        "https://bücher.example",
        "ftp://localhost",
        "http://sandbox.belvo.com",
        "http://10.0.0.1",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
    ],
)
def test_an_address_that_is_not_safe_is_refused_without_being_quoted(base_url: str) -> None:
    """https anywhere, http for this machine alone, and no credentials, query or fragment."""
    with pytest.raises(ValueError, match=r"^base_url: ") as caught:
        made(base_url=base_url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "secret_id, secret_password, error, named",
    [
        ("", "password", ValueError, "secret_id"),
        ("id", "", ValueError, "secret_password"),
        ("with:colon", "password", ValueError, "secret_id"),
        (None, "password", TypeError, "secret_id"),
        ("id", b"hunter2", TypeError, "secret_password"),
        ("id", "hunter2\ud800", ValueError, "secret_password"),
    ],
)
def test_keys_that_cannot_be_sent_are_refused(
    secret_id: Any, secret_password: Any, error: type[Exception], named: str
) -> None:
    """Named, and not shown."""
    with pytest.raises(error, match=f"^{named}: ") as caught:
        BelvoLinks(secret_id, secret_password, base_url=HERE)
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__context__ is None


class Nowhere(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, moment: datetime | None) -> None:
        return None

    dst = tzname = utcoffset


@pytest.mark.parametrize(
    "options, error, named",
    [
        ({"max_connections": 0}, ValueError, "max_connections"),
        ({"max_connections": "100"}, TypeError, "max_connections"),
        ({"max_connections": True}, TypeError, "max_connections"),
        ({"rate_limit": 80}, TypeError, "rate_limit"),
        ({"rate_limit": (80, 30)}, TypeError, "rate_limit"),
        ({"clock": lambda: datetime(2025, 1, 1)}, ValueError, "clock"),  # noqa: DTZ001  # that is the point
        ({"clock": lambda: datetime(2025, 1, 1, tzinfo=Nowhere())}, ValueError, "clock"),
        ({"clock": lambda: 1_750_000_000}, ValueError, "clock"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    options: Mapping[str, Any], error: type[Exception], named: str
) -> None:
    """At once, and not when a challenge has come and would be lost."""
    with pytest.raises(error, match=f"^{named}: "):
        made(**options)


@pytest.mark.parametrize("rate_limit", [None, RateLimit(2, 1), LocalLimiter(RateLimit(2, 1))])
def test_a_rate_limit_is_a_number_a_limiter_or_none(rate_limit: Any) -> None:
    """All three make a client."""
    assert isinstance(made(rate_limit=rate_limit), BelvoLinks)


def test_a_clock_of_any_zone_will_do() -> None:
    """It is turned into UTC."""
    moment = datetime(2025, 1, 1, 12, tzinfo=timezone(timedelta(hours=-5)))
    belvo = made(clock=lambda: moment)
    assert belvo._logins.clock() == moment
    assert belvo._logins.clock().tzinfo is UTC


def test_waiting_is_checked() -> None:
    """Seconds more than nothing, one round or more; and anything with its attributes is taken."""
    for wrong in ({"first": 0.0}, {"ceiling": float("inf")}, {"first": float("nan")}, {"max_rounds": 0}):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: "):
            Waiting(**wrong)
    assert Waiting.of(ShortWaits()) == Waiting(0.05, 0.2, max_rounds=3)
    assert Waiting.of(same := Waiting()) is same


async def test_a_borrowed_session_with_keys_or_middlewares_of_its_own_is_refused() -> None:
    """They would collide with ours."""

    async def middleware(request: Any, handler: Any) -> Any: ...

    async with aiohttp.ClientSession(middlewares=[middleware]) as session:
        with pytest.raises(ValueError, match=r"^http_session: it has middlewares"):
            made(http_session=session)


def test_nothing_shows_the_keys() -> None:
    """Not the client, and nothing that it holds."""
    belvo = made()
    shown = " ".join(map(repr, [belvo, *vars(belvo).values(), *vars(belvo._transport).values()]))
    assert "the-secret" not in shown


NO_IO = """
import sys
from belvo_links import BelvoLinks
BelvoLinks("id", "password", environment="sandbox")  # whatever is imported on first use is imported now

def watch(event, arguments):
    if event.split(".")[0] in {"open", "socket", "os", "import", "subprocess"}:
        print(event, arguments)

sys.addaudithook(watch)
belvo = BelvoLinks("id", "password", environment="sandbox")
repr(belvo)
"""


def test_making_a_client_does_no_io() -> None:
    """No file is opened, no socket made, and nothing imported."""
    done = subprocess.run([sys.executable, "-c", NO_IO], capture_output=True, text=True, check=True, env=UNWATCHED)
    assert done.stdout == ""


ENV = {"BELVO_SECRET_ID": "an-id", "BELVO_SECRET_PASSWORD": "a-password"}


@pytest.mark.parametrize(
    "variables, says",
    [
        ({}, "set BELVO_SECRET_ID, BELVO_SECRET_PASSWORD, BELVO_ENVIRONMENT (or BELVO_BASE_URL)"),
        ({**ENV, "BELVO_ENVIRONMENT": "sandbox", "BELVO_SECRET_ID": ""}, "set BELVO_SECRET_ID"),
        ({"BELVO_SECRET_ID": "an-id", "BELVO_BASE_URL": HERE}, "set BELVO_SECRET_PASSWORD"),
        (ENV, "set BELVO_ENVIRONMENT (or BELVO_BASE_URL)"),
        (
            {**ENV, "BELVO_ENVIRONMENT": "sandbox", "BELVO_BASE_URL": HERE},
            "set one of BELVO_ENVIRONMENT and BELVO_BASE_URL, not both",
        ),
    ],
)
def test_the_environment_variables_that_are_missing_are_named(variables: Mapping[str, str], says: str) -> None:
    """All of them at once; an empty one is missing."""
    with pytest.raises(ValueError, match=r"^set ") as caught:
        BelvoLinks.from_env(variables)
    assert str(caught.value) == says


def test_a_client_is_made_from_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the process's own where none are given; other arguments are passed on."""
    for name, value in {**ENV, "BELVO_ENVIRONMENT": "production"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("BELVO_BASE_URL", raising=False)
    assert repr(BelvoLinks.from_env(max_connections=3)) == "<BelvoLinks https://api.belvo.com>"
    with pytest.raises(ValueError, match=r"^max_connections: "):
        BelvoLinks.from_env(max_connections=0)


def test_a_place_that_is_given_goes_before_the_variables() -> None:
    """The variables for it are then not asked, so that they cannot contradict it."""
    both = {**ENV, "BELVO_ENVIRONMENT": "production", "BELVO_BASE_URL": HERE}
    assert repr(BelvoLinks.from_env(both, environment="sandbox")) == "<BelvoLinks https://sandbox.belvo.com>"
    assert repr(BelvoLinks.from_env(ENV, base_url=HERE)) == f"<BelvoLinks {HERE}>"
    assert repr(BelvoLinks.from_env({**ENV, "BELVO_BASE_URL": HERE}, environment=None)) == f"<BelvoLinks {HERE}>"


async def test_the_simulators_environment_makes_a_client(box: Sandbox) -> None:
    """`box.env` is what a subprocess is given."""
    async with BelvoLinks.from_env(box.env, **box.client_options) as belvo:
        assert await belvo.count() == 0
    async with client(box) as belvo:
        assert await belvo.count() == 0
