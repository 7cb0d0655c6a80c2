"""What goes over the wire, byte by byte: against canned replies, and where it matters how aiohttp encodes, a socket."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from aioresponses import aioresponses
from yarl import URL

from belvo_links import AccessMode, BelvoLinks, Credentials, LinkFilter, LinkStatus, Resource, UnexpectedResponseError
from belvo_links.sandbox import Fault, Sandbox
from tests.client.making import BANK, GOOD, LINK_ID, LINKS, MFA_BANK, ONE_LINK, example, pending

BASE = "https://sandbox.belvo.com"
AUTHORIZATION = "Basic " + base64.b64encode(b"an-id:a-password").decode()


@pytest.fixture
async def real() -> AsyncIterator[BelvoLinks]:
    """A client of the sandbox environment, whose replies are canned."""
    async with BelvoLinks("an-id", "a-password", environment="sandbox") as belvo:
        yield belvo


def sent(mocked: aioresponses, method: str, path: str) -> Any:
    """The one call that was made."""
    ((address, calls),) = mocked.requests.items()
    assert address == (method, URL(BASE + path))
    (call,) = calls
    return call


async def body_of(mocked: aioresponses, method: str, path: str) -> Any:
    """The body of the one call that was made."""
    return json.loads(await sent(mocked, method, path).kwargs["data"].as_bytes())


async def test_register_sends_what_was_given_and_nothing_else(mocked: aioresponses, real: BelvoLinks) -> None:
    """No field with a default of ours."""
    mocked.post(BASE + LINKS, status=201, payload=example("detail-200.json"))
    await real.register(BANK, GOOD)
    assert await body_of(mocked, "POST", LINKS) == {"institution": BANK, "username": "bnk100", "password": "full"}


async def test_register_tells_null_from_absent_and_empty(mocked: aioresponses, real: BelvoLinks) -> None:
    """`None` is null, `""` is empty, an empty list is one; in credentials, `None` is absent."""
    mocked.post(BASE + LINKS, status=201, payload=example("detail-200.json"))
    await real.register(
        BANK,
        Credentials("", None, username2="", password2=None),
        external_id=None,
        access_mode=None,
        fetch_resources=[],
        stale_in=None,
        credentials_storage=None,
    )
    assert await body_of(mocked, "POST", LINKS) == {
        "institution": BANK,
        "username": "",
        "username2": "",
        "external_id": None,
        "access_mode": None,
        "fetch_resources": [],
        "stale_in": None,
        "credentials_storage": None,
    }


async def test_register_sends_every_field(mocked: aioresponses, real: BelvoLinks, tmp_path: Path) -> None:
    """Enums as their words, files in base64, also those given as paths."""
    key = tmp_path / "key.pem"
    key.write_bytes(b"a key")
    mocked.post(BASE + LINKS, status=200, payload=example("detail-200.json"))
    await real.register(
        BANK,
        Credentials(
            "one",
            "two",
            username2="three",
            username3="four",
            username_type="003",
            password2="five",
            token="six",
            certificate=b"a certificate",
            private_key=key,
        ),
        external_id="user-42",
        access_mode=AccessMode.SINGLE,
        fetch_resources=(Resource.ACCOUNTS, "OWNERS"),
        credentials_storage="nostore",
        stale_in="90d",
        correlation={"user": 42},
    )
    assert await body_of(mocked, "POST", LINKS) == {
        "institution": BANK,
        "username": "one",
        "password": "two",
        "username2": "three",
        "username3": "four",
        "username_type": "003",
        "password2": "five",
        "token": "six",
        "certificate": base64.b64encode(b"a certificate").decode(),
        "private_key": base64.b64encode(b"a key").decode(),
        "external_id": "user-42",
        "access_mode": "single",
        "fetch_resources": ["ACCOUNTS", "OWNERS"],
        "credentials_storage": "nostore",
        "stale_in": "90d",
    }


async def test_a_call_carries_the_keys_and_follows_no_redirect(mocked: aioresponses, real: BelvoLinks) -> None:
    """Basic authentication per request."""
    mocked.get(f"{BASE}{LINKS}{LINK_ID}/", status=200, payload=example("detail-200.json"))
    await real.get(LINK_ID)
    call = sent(mocked, "GET", f"{LINKS}{LINK_ID}/")
    assert call.kwargs["headers"]["Authorization"] == AUTHORIZATION
    assert call.kwargs["headers"]["User-Agent"].startswith("belvo_links/")
    assert call.kwargs["allow_redirects"] is False


@pytest.mark.parametrize(
    "given, body",
    [
        ({"stale_in": "90d"}, {"stale_in": "90d"}),
        ({"stale_in": None}, {"stale_in": None}),
        ({"fetch_resources": []}, {"fetch_resources": []}),
        ({"access_mode": AccessMode.RECURRENT}, {"access_mode": "recurrent"}),
    ],
)
async def test_patch_sends_what_was_given(
    mocked: aioresponses, real: BelvoLinks, given: dict[str, Any], body: dict[str, Any]
) -> None:
    """And nothing else."""
    mocked.patch(f"{BASE}{LINKS}{LINK_ID}/", status=200, payload=example("detail-200.json"))
    await real.patch(LINK_ID, **given)
    assert await body_of(mocked, "PATCH", f"{LINKS}{LINK_ID}/") == body


async def test_update_sends_the_credentials(mocked: aioresponses, real: BelvoLinks) -> None:
    """Those that were given."""
    mocked.put(f"{BASE}{LINKS}{LINK_ID}/", status=200, payload=example("detail-200.json"))
    await real.update(LINK_ID, Credentials(password="new", password2="newer"))
    assert await body_of(mocked, "PUT", f"{LINKS}{LINK_ID}/") == {"password": "new", "password2": "newer"}


@pytest.mark.parametrize("given, body", [(None, {}), (["INCOMES"], {"fetch_resources": ["INCOMES"]})])
async def test_refresh_sends_the_resources(mocked: aioresponses, real: BelvoLinks, given: Any, body: Any) -> None:
    """`None` is absent here, since null makes no sense."""
    path = f"{LINKS}{LINK_ID}/refresh/"
    mocked.post(BASE + path, status=202, payload={"request_id": "an-id"})
    await real.refresh(LINK_ID, given)
    assert await body_of(mocked, "POST", path) == body


@pytest.mark.parametrize("mode, header", [("async", "async"), ("sync", None)])
async def test_delete_says_in_a_header_whether_to_wait(box: Sandbox, belvo: BelvoLinks, mode: Any, header: Any) -> None:
    """`X-Belvo-Request-Mode` for asynchronous ones, nothing for others."""
    (link_id,) = box.add_links(1)
    await belvo.delete(link_id, mode=mode)
    assert box.requests[-1].headers.get("x-belvo-request-mode") == header
    assert box.requests[-1].body is None


@pytest.mark.parametrize(
    "given, more",
    [
        ({}, {}),
        ({"token": None}, {}),
        ({"token": "111111"}, {"token": "111111"}),
        ({"token": ""}, {"token": ""}),
        ({"token": "111111", "save_data": False}, {"token": "111111", "save_data": False}),
        ({"save_data": True}, {"save_data": True}),
    ],
)
async def test_complete_sends_session_link_and_what_was_given(
    box: Sandbox, belvo: BelvoLinks, given: dict[str, Any], more: dict[str, Any]
) -> None:
    """No token is none, an empty one is empty, and `save_data=False` is not left out."""
    waiting = await pending(belvo)
    box.inject(Fault.status(401), method="PATCH", template=LINKS)
    with pytest.raises(Exception, match="keys"):
        await belvo.complete(waiting.id, **given)
    body = box.requests[-1].body
    assert isinstance(body, dict)
    assert body.pop("session")
    assert body == {"link": waiting.link_id, **more}


async def test_filters_reach_the_service_as_they_were_meant(box: Sandbox, belvo: BelvoLinks) -> None:
    """Several values are one, joined by commas; `=` and `&` inside a value are percent-encoded."""
    user = "sooE7XJWEKypZJR603ecaW+YkTi&bLBYZ-V8Yk="
    filters = LinkFilter(
        status__in=[LinkStatus.VALID, "invalid"],
        institution_user_id=user,
        created_at__range=(date(2025, 1, 1), date(2025, 12, 31)),
    )
    await belvo.page(filters, page=1, page_size=7)
    query = box.requests[-1].query
    parts = dict(part.split("=", 1) for part in query.split("&"))
    assert parts["institution_user_id"].endswith("%3D")
    assert "%26" in parts["institution_user_id"]
    assert "%2B" in parts["institution_user_id"]
    assert {name: unquote(value) for name, value in parts.items()} == {
        "status__in": "valid,invalid",
        "institution_user_id": user,
        "created_at__range": "2025-01-01,2025-12-31",
        "page": "1",
        "page_size": "7",
    }


async def test_a_page_asks_for_fields_or_without_some(box: Sandbox, belvo: BelvoLinks) -> None:
    """As comma-separated names."""
    await belvo.page(fields=["id", "status"])
    assert "fields=id,status" in unquote(box.requests[-1].query)
    await belvo.page(omit=("external_id",), fields=("id", "external_id"))
    assert "omit=external_id" in unquote(box.requests[-1].query)


async def test_get_json_asks_as_given(box: Sandbox, belvo: BelvoLinks) -> None:
    """Numbers, flags, dates and sequences in the query; a slash is added where it lacks."""
    query: dict[str, Any] = {"a": 1, "b": True, "c": False, "d": date(2025, 1, 2), "e": ["x", "y"], "f": "z"}
    await belvo.get_json("/api/institutions", query)
    assert box.requests[-1].path == "/api/institutions/"
    assert unquote(box.requests[-1].query) == "a=1&b=true&c=false&d=2025-01-02&e=x,y&f=z"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(box: Sandbox, belvo: BelvoLinks, status: int) -> None:
    """Neither for reads nor with credentials: it is a reply like any other that is not documented."""
    elsewhere = {"Location": f"{box.url}/api/institutions/"}
    box.inject(Fault.status(status, {}, headers=elsewhere), times=2)
    with pytest.raises(UnexpectedResponseError):
        await belvo.get(LINK_ID)
    with pytest.raises(UnexpectedResponseError):
        await belvo.register(MFA_BANK, GOOD)
    assert [(one.method, one.template) for one in box.requests] == [("GET", ONE_LINK), ("POST", LINKS)]
