"""The choices that have no better place: each switch of `Switches` is named in some test."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from belvo_links.sandbox import Sandbox, Switches

START = datetime(2026, 3, 1, 9, 0, 0, 100000, UTC)


@pytest.mark.parametrize("switch", [field.name for field in attrs.fields(Switches)])
def test_every_switch_is_tested_and_told(switch: str) -> None:
    """Set in some test, and named in the table of the documentation."""
    here = Path(__file__).parent
    assert any(f"{switch}=" in path.read_text() for path in here.glob("test_*.py"))
    assert f"`{switch}`" in (here.parent.parent / "docs" / "simulator.md").read_text()


async def test_sessions_may_live_shorter(open_api: Any) -> None:
    """Those of the documented users; ours have lives of their own."""
    async with Sandbox(switches=Switches(expiry_seconds=5)) as box:
        api = open_api(box)
        assert (await api.challenge("mfa_qr", "qr_code", institution="heimdall_mx_retail"))["expiry"] == 5
        assert (await api.challenge("sim_mfa_text"))["expiry"] == 720


async def test_the_cooldown_may_be_shorter(open_api: Any) -> None:
    """Its minutes are in the message of the 409."""
    async with Sandbox(clock=lambda: START, switches=Switches(refresh_cooldown_minutes=2)) as box:
        [link_id] = box.add_links(1)
        path = f"/api/links/{link_id}/refresh/"
        assert [(await open_api(box)("POST", path, {})).status for _ in range(2)] == [202, 409]
        assert "wait 2 minutes" in (await open_api(box)("POST", path, {})).body[0]["message"]
        box.advance(minutes=2)
        assert (await open_api(box)("POST", path, {})).status == 202


async def test_large_pages_may_time_out(open_api: Any) -> None:
    """408 by what a page would hold; a smaller one works, and so does a large one with little in it."""
    async with Sandbox(switches=Switches(largest_page=20)) as box:
        api = open_api(box)
        box.add_links(20)
        assert (await api("GET", "/api/links/?page_size=1000")).body["count"] == 20
        box.add_links(30)
        assert (await api("GET", "/api/links/?page_size=21")).code == "request_timeout"
        assert len((await api("GET", "/api/links/?page_size=20")).body["results"]) == 20
        assert (await api("GET", "/api/links/?page_size=40&page=2")).body["next"] is None


async def test_the_whole_api_may_have_a_limit(open_api: Any) -> None:
    """Of any account and path, in a sliding half minute of simulated time."""
    async with Sandbox(clock=lambda: START, switches=Switches(request_limit=3)) as box:
        api = open_api(box)
        for path in ("/api/", "/api/links/"):
            assert (await api("GET", path)).status == 200
        box.advance(seconds=20)
        assert (await api.other_account()("GET", "/api/")).status == 200
        reply = await api("GET", "/api/links/", listed=False)
        assert (reply.status, reply.code, reply.headers["Retry-After"]) == (429, "throttled", "10")
        box.advance(seconds=10)
        assert [(await api("GET", "/api/links/", listed=False)).status for _ in range(3)] == [200, 200, 429]
    async with Sandbox(switches=Switches(request_limit=1, retry_after=False)) as box:
        replies = [await open_api(box)("GET", "/api/links/", listed=False) for _ in range(2)]
        assert "Retry-After" not in replies[1].headers


async def test_the_limit_that_the_documents_name(open_api: Any) -> None:
    """80 requests in 30 seconds (section 13)."""
    async with Sandbox(clock=lambda: START, switches=Switches(request_limit=80)) as box:
        api = open_api(box)
        statuses = [(await api("GET", "/api/", listed=False)).status for _ in range(81)]
        assert statuses == [200] * 80 + [429]
        box.advance(seconds=30)
        assert (await api("GET", "/api/")).status == 200


async def test_a_listing_may_be_in_another_order(open_api: Any) -> None:
    """Oldest first, with filters and without."""
    async with Sandbox(switches=Switches(list_order="oldest_first")) as box:
        ids = box.add_links(25)
        for query in ("", "&status=valid"):
            page = (await open_api(box)("GET", f"/api/links/?page=3{query}")).body
            assert [link["id"] for link in page["results"]] == ids[::-1][20:]


@pytest.mark.parametrize("skew", [-90, 0, 3600])
async def test_the_services_clock_may_be_wrong(open_api: Any, skew: int) -> None:
    """In what it says and in its `Date`; what a test reads off the record is right."""
    async with Sandbox(clock=lambda: START, switches=Switches(clock_skew_seconds=skew)) as box:
        reply = await open_api(box).register()
        there = START + timedelta(seconds=skew)
        assert datetime.fromisoformat(reply.body["created_at"]) == there
        assert parsedate_to_datetime(reply.headers["Date"]) == there.replace(microsecond=0)
        assert box.requests[0].at == START


async def test_no_access_to_a_link(api: Any, box: Any) -> None:
    """Every call that names it is refused; a list still shows it."""
    link_id = await api.link_id("sim_403_link")
    path = f"/api/links/{link_id}/"
    for method, more in (("GET", ""), ("PUT", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "refresh/")):
        reply = await api(method, path + more, {} if method in ("PUT", "PATCH", "POST") else None)
        assert (reply.status, reply.code) == (403, "access_to_resource_denied")
    assert (await api("GET", "/api/links/")).body["count"] == 1
