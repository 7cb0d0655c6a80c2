"""The transport against canned replies: what goes into aiohttp's call, and what its errors become.

aioresponses passes middlewares and connectors by, so that here nothing is known about sending; everything about
connections is tested over real sockets beside this file.
"""

import aiohttp
import pytest
from aioresponses import aioresponses
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from belvo_links.errors import ConnectError, ResponseLostError, TransportError
from belvo_links.redact import Secret
from belvo_links.transport.messages import Request
from tests.http.lines import KEYS, TOKEN, a, limits, transport
from tests.http.rude import told

BASE = "https://sandbox.belvo.com"
LINKS = f"{BASE}/api/links/"


async def test_a_reply_is_read_with_lower_case_headers(mocked: aioresponses) -> None:
    """Status, headers, body: all that is known of a reply."""
    mocked.get(LINKS, status=429, body=b"[]", headers={"Retry-After": "30"})
    carrier = transport(BASE)
    reply = await carrier.send(a("GET"), limits=limits())
    await carrier.aclose()
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (429, b"[]", "30")


async def test_the_call_carries_our_keys_and_follows_nothing(mocked: aioresponses) -> None:
    """Per request, not per session; redirects off; a status is never raised."""
    mocked.patch(LINKS, status=200, payload={})
    carrier = transport(BASE)
    await carrier.send(a("PATCH"), limits=limits())
    await carrier.aclose()
    (call,) = mocked.requests[("PATCH", URL(LINKS))]
    assert call.kwargs["headers"]["Authorization"] == KEYS
    assert call.kwargs["headers"]["Content-Type"] == "application/json"
    assert call.kwargs["allow_redirects"] is False
    assert call.kwargs["raise_for_status"] is False
    assert await call.kwargs["data"].as_bytes() == TOKEN


async def test_a_query_goes_into_the_address(mocked: aioresponses) -> None:
    """Names and values are given plain."""
    mocked.get(f"{LINKS}?page=2&status__in=valid,invalid", status=200, payload={})
    request = Request(method="GET", path="/api/links/", query=(("page", "2"), ("status__in", "valid,invalid")))
    carrier = transport(BASE)
    assert (await carrier.send(request, limits=limits())).status == 200
    await carrier.aclose()


@pytest.mark.parametrize(
    "error, ours",
    [
        (aiohttp.ServerDisconnectedError(), ResponseLostError),
        (aiohttp.ClientOSError(104, "reset"), ResponseLostError),
        (aiohttp.ClientPayloadError("cut"), ResponseLostError),
        (aiohttp.SocketTimeoutError(), ResponseLostError),
        (TimeoutError(), ResponseLostError),
        (ConnectionResetError(), ResponseLostError),
        (aiohttp.ConnectionTimeoutError(), ConnectError),
        (aiohttp.ServerFingerprintMismatch(b"", b"", "host", 443), ConnectError),
        (aiohttp.InvalidURL("https://user:password@host"), ConnectError),
        (ValueError("https://user:password@host"), ConnectError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_every_error_becomes_one_of_ours(
    method: str, error: Exception, ours: type[TransportError], mocked: aioresponses
) -> None:
    """In doubt it was sent; and nothing of aiohttp's error is passed on but its name."""
    mocked.add(LINKS, method, exception=error)
    carrier = transport(BASE)
    with pytest.raises(ours) as caught:
        await carrier.send(a(method), limits=limits())
    await carrier.aclose()
    assert caught.value.reason.startswith(type(error).__name__)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "password" not in told(caught.value)


async def test_an_error_with_our_headers_inside_does_not_show_them(mocked: aioresponses) -> None:
    """The repr of aiohttp's ClientResponseError prints the Authorization header."""
    headers = CIMultiDictProxy(CIMultiDict(Authorization=KEYS))
    info = aiohttp.RequestInfo(URL(LINKS), "PATCH", headers)
    mocked.patch(LINKS, exception=aiohttp.ClientResponseError(info, (), message="918273"))
    carrier = transport(BASE)
    request = Request(method="PATCH", path="/api/links/", body=Secret(TOKEN))
    with pytest.raises(ResponseLostError) as caught:
        await carrier.send(request, limits=limits())
    await carrier.aclose()
    assert KEYS not in told(caught.value)
    assert "918273" not in told(caught.value)
