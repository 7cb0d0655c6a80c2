"""Scripted faults: what breaks, when, and whether the request has taken effect."""

import asyncio
from typing import Any

import aiohttp
import pytest

from belvo_links.sandbox import Fault

BODY = {"institution": "erebor_mx_retail", "username": "bnk100", "password": "full"}


async def test_a_status_without_processing(api: Any, box: Any) -> None:
    """The documented error of that status, unless the test gives a body of its own."""
    box.inject(Fault.status(500))
    reply = await api("POST", "/api/links/", BODY)
    assert (reply.status, reply.code, box.links) == (500, "unexpected_error", [])
    box.inject(Fault.status(429, headers={"Retry-After": "3"}))
    reply = await api("POST", "/api/links/", BODY, listed=False)
    assert (reply.code, reply.headers["Retry-After"]) == ("throttled", "3")
    box.inject(Fault.status(503))
    assert (await api("POST", "/api/links/", BODY, listed=False)).status == 503
    box.inject(Fault.status(200, {"odd": True}))
    assert (await api("POST", "/api/links/", BODY, checked=False)).body == {"odd": True}
    box.inject(Fault.status(204))
    assert (await api("POST", "/api/links/", BODY, checked=False)).body is None
    box.inject(Fault.status(200, b"7"))
    assert (await api("POST", "/api/links/", BODY, checked=False)).body == 7


async def test_a_status_after_processing(api: Any, box: Any) -> None:
    """The link exists although the reply says 500."""
    box.inject(Fault.status_after(500))
    assert (await api("POST", "/api/links/", BODY)).status == 500
    assert len(box.links) == 1


async def test_a_gateway_answers_in_html(api: Any, box: Any) -> None:
    """Without processing."""
    box.inject(Fault.html(504))
    async with api.http.post(f"{box.url}/api/links/", json=BODY, headers=api.headers) as reply:
        assert (reply.status, reply.content_type) == (504, "text/html")
        assert (await reply.text()).startswith("<html>")
    assert (box.links, box.requests[-1].status) == ([], 504)


@pytest.mark.parametrize("fault, links", [(Fault.drop_before(), 0), (Fault.drop_after(), 1)])
async def test_a_dropped_connection(api: Any, box: Any, fault: Fault, links: int) -> None:
    """Before or after processing; the record shows no status."""
    box.inject(fault)
    with pytest.raises(aiohttp.ClientConnectionError):
        await api("POST", "/api/links/", BODY)
    assert len(box.links) == links
    assert box.requests[-1].status is None
    assert (await api("POST", "/api/links/", BODY)).status == 201


async def test_a_dropped_reply_still_counts_its_token(api: Any, box: Any) -> None:
    """The token was received, and the link is valid."""
    challenge = await api.challenge("sim_mfa_text")
    box.inject(Fault.drop_after(), method="PATCH", template="/api/links/")
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.complete(challenge)
    assert box.tokens == ["111111"]
    assert box.link(challenge["link"])["status"] == "valid"


async def test_a_truncated_body(api: Any, box: Any, raw: Any) -> None:
    """Half of what was announced, then the end; without a body the status line is cut."""
    box.inject(Fault.truncate(), times=2)
    with pytest.raises(aiohttp.ClientPayloadError):
        await api("POST", "/api/links/", BODY)
    [link] = box.links
    request = f"DELETE /api/links/{link['id']}/ HTTP/1.1\r\nHost: x\r\n"
    request += f"Authorization: {api.headers['Authorization']}\r\n\r\n"
    assert await raw(box, request.encode()) == (b"HTTP/1.1 ", b"")
    assert box.links == []
    assert [request.status for request in box.requests] == [201, 204]


async def test_a_replaced_body_keeps_the_status(api: Any, box: Any) -> None:
    """The call has taken effect."""
    box.inject(Fault.replace_body(b'["nonsense"]'))
    reply = await api("POST", "/api/links/", BODY, checked=False)
    assert (reply.status, reply.body, len(box.links)) == (201, ["nonsense"], 1)


async def test_a_slow_body_arrives_in_pieces(api: Any, box: Any) -> None:
    """All of it, with its announced length; also where there is none."""
    box.inject(Fault.slow_body(0.001, pieces=3), times=2)
    reply = await api("POST", "/api/links/", BODY)
    assert (reply.status, reply.headers["Content-Length"]) == (201, str(len(reply.content)))
    assert (await api("DELETE", f"/api/links/{reply.body['id']}/")).status == 204
    with pytest.raises(ValueError):
        Fault.slow_body(1, pieces=0)


async def test_a_client_that_loses_patience_with_a_slow_body(api: Any, box: Any, received: Any) -> None:
    """The request has taken its effect."""
    box.inject(Fault.slow_body(60))
    await _give_up(api, box, received)
    assert len(box.links) == 1


async def test_a_page_may_point_to_another_host(api: Any, box: Any) -> None:
    """`next` and `previous`, with their path and query; anything else stays as it is."""
    box.add_links(30)
    box.inject(Fault.foreign_next(), times=2)
    page = (await api("GET", "/api/links/?page=2&status=valid")).body
    assert page["next"] == "https://elsewhere.example/api/links/?page=3&status=valid"
    assert page["previous"] == "https://elsewhere.example/api/links/?status=valid"
    box.clear_faults()
    box.inject(Fault.foreign_next("http://127.0.0.1:1"), times=3)
    assert (await api("GET", "/api/links/?page_size=100")).body["next"] is None
    assert (await api("GET", "/api/links/?id=7")).status == 400
    assert (await api("POST", "/api/links/", BODY)).status == 201


async def test_delays_come_before_or_after_processing(api: Any, box: Any) -> None:
    """In the end both are answered."""
    box.inject(Fault.delay(0.01))
    box.inject(Fault.delay_after(0.01))
    for _ in range(2):
        assert (await api("POST", "/api/links/", BODY)).status == 201


async def test_a_slow_reply_is_recorded_where_it_belongs(api: Any, box: Any, received: Any) -> None:
    """Although a later request was answered before."""
    box.inject(Fault.delay_after(0.02), template="/api/links/")
    slow = asyncio.create_task(api.http.post(f"{box.url}/api/links/", json=BODY, headers=api.headers))
    await received(box)
    assert (await api("GET", "/api/")).status == 200
    assert [request.status for request in box.requests] == [None, 200]
    async with await slow as reply:
        assert reply.status == 201
    assert [request.status for request in box.requests] == [201, 200]


async def _give_up(api: Any, box: Any, received: Any) -> None:
    """Stop waiting for the reply to a request that has come in."""
    waiting = asyncio.create_task(api("POST", "/api/links/", BODY))
    await received(box)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


@pytest.mark.parametrize("fault, links", [(Fault.delay(60), 0), (Fault.delay_after(60), 1)])
async def test_a_client_that_waits_in_vain(api: Any, box: Any, received: Any, fault: Fault, links: int) -> None:
    """What has happened when it gives up; the end of the sandbox does not wait, and leaves no task."""
    box.inject(fault)
    await _give_up(api, box, received)
    assert len(box.links) == links
    started = asyncio.get_running_loop().time()
    await box.stop()
    assert asyncio.get_running_loop().time() - started < 0.2
    await api.http.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_waiting_handler_does_not_delay_the_end(api: Any, box: Any, received: Any) -> None:
    """Also while its client is still there."""
    box.inject(Fault.delay(60))
    waiting = asyncio.create_task(api("POST", "/api/links/", BODY))
    await received(box)
    started = asyncio.get_running_loop().time()
    await box.stop()
    assert asyncio.get_running_loop().time() - started < 0.2
    with pytest.raises(aiohttp.ClientConnectionError):
        await waiting


async def test_faults_wait_for_their_request(api: Any, box: Any) -> None:
    """By method and path, the oldest first, as often as asked."""
    box.inject(Fault.status(500), method="GET", template="/api/links/", times=2)
    box.inject(Fault.status(408), method="GET")
    box.inject(Fault.status(403), template="/api/")
    assert (await api("POST", "/api/links/", BODY)).status == 201
    assert [(await api("GET", "/api/links/")).status for _ in range(4)] == [500, 500, 408, 200]
    assert [(await api("GET", "/api/")).status for _ in range(2)] == [403, 200]


async def test_a_fault_may_stay_until_it_is_cleared(api: Any, box: Any) -> None:
    """`times=None`; less than once is a mistake."""
    box.inject(Fault.status(500), times=None)
    assert [(await api("GET", "/api/links/")).status for _ in range(3)] == [500, 500, 500]
    box.clear_faults()
    assert (await api("GET", "/api/links/")).status == 200
    with pytest.raises(ValueError):
        box.inject(Fault.status(500), times=0)


def test_a_fault_does_not_print_its_body() -> None:
    """A test may put anything into it."""
    assert "hush" not in repr(Fault.status(400, {"token": "hush"}, headers={"X": "hush"}))
