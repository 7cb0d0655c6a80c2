"""Webhooks: which ones there are, what they say, and how they arrive (documentation section 16)."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from belvo_links.sandbox import Sandbox, Switches, Webhooks

START = datetime(2026, 3, 1, 9, 0, 0, 100000, UTC)
KEYS = ["webhook_id", "webhook_type", "process_type", "webhook_code", "link_id", "request_id", "external_id", "data"]


class Receiver:
    """The other end: remembers what came, and answers as told."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.statuses: list[int] = []
        self.arrived = asyncio.Event()
        self.hold = asyncio.Event()
        self.hold.set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.method == "POST"
        self.got.append((dict(request.headers), json.loads(await request.read())))
        self.arrived.set()
        await self.hold.wait()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 204, headers={"Location": self.url})

    @property
    def codes(self) -> list[str]:
        return [body["webhook_code"] for _, body in self.got]

    @property
    def types(self) -> list[str]:
        return [body["webhook_type"] for _, body in self.got]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    end = Receiver()
    runner = web.ServerRunner(web.Server(end.handle), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    end.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks?to=me"
    yield end
    end.hold.set()
    await runner.cleanup()


def told(box: Any) -> list[tuple[str, str]]:
    box.advance(seconds=3)
    return [(event.type, event.code) for event in box.webhooks]


# --- Which ones there are


async def test_a_new_recurrent_link_is_followed_by_its_history(api: Any, box: Any) -> None:
    """One event per resource, all of one request, once the work is done."""
    link_id = await api.link_id(external_id="user-1", fetch_resources=["ACCOUNTS", "TRANSACTIONS", "OWNERS"])
    assert box.webhooks == []
    assert told(box) == [(name, "historical_update") for name in ("ACCOUNTS", "TRANSACTIONS", "OWNERS")]
    accounts, transactions, _ = box.webhooks
    assert list(accounts.payload) == KEYS
    assert (accounts.link_id, accounts.payload["external_id"]) == (link_id, "user-1")
    assert accounts.payload["process_type"] == "historical_update"
    assert accounts.request_id == transactions.request_id
    assert len(accounts.payload["webhook_id"]) == 32
    assert 0 < accounts.payload["data"]["total_accounts"] <= 5
    data = transactions.payload["data"]
    assert data["total_transactions"] == data["total_inflow_transactions"] + data["total_outflow_transactions"]
    assert data["first_transaction_date"] < data["last_transaction_date"] == "2026-03-01"
    assert (accounts.at, accounts.attempts, accounts.arrived) == (START + timedelta(seconds=3), [], False)


async def test_a_user_without_data_has_none_to_report(api: Any, box: Any) -> None:
    """The events come all the same."""
    await api.link_id("bnk101")
    assert told(box)[2] == ("TRANSACTIONS", "historical_update")
    assert box.webhooks[0].payload["data"] == {"total_accounts": 0}
    assert box.webhooks[2].payload["data"]["first_transaction_date"] is None


async def test_a_single_link_has_history_where_it_fetches(api: Any, box: Any) -> None:
    """Only with `fetch_resources`."""
    await api.link_id(access_mode="single")
    assert told(box) == []
    await api.link_id(access_mode="single", fetch_resources=["OWNERS"])
    assert told(box) == [("OWNERS", "historical_update")]


async def test_every_link_may_have_history(open_api: Any) -> None:
    """As another sentence of the documents says of the sandbox; a switch."""
    async with Sandbox(clock=lambda: START, switches=Switches(historical_always=True)) as box:
        await open_api(box).link_id(access_mode="single")
        assert [name for name, _ in told(box)] == ["ACCOUNTS", "OWNERS", "TRANSACTIONS"]


async def test_a_paused_login_has_history_once_it_is_completed(api: Any, box: Any) -> None:
    """Not before; a completed update of a recurrent link has it too."""
    challenge = await api.challenge("sim_mfa_text")
    assert told(box) == []
    await api.complete(challenge)
    assert len(told(box)) == 3
    again = (await api("PUT", f"/api/links/{challenge['link']}/", {"password": "new"})).body[0]
    await api.complete(again)
    assert len(told(box)) == 6


async def test_a_refresh_tells_what_it_was_asked_for(api: Any, box: Any) -> None:
    """Under the name that its answer gave; without a choice everything that the institution has."""
    [link_id] = box.add_links(1)
    name = (await api("POST", f"/api/links/{link_id}/refresh/", {"fetch_resources": ["OWNERS"]})).body["request_id"]
    assert told(box) == [("OWNERS", "historical_update")]
    assert box.webhooks[0].request_id == name
    box.webhooks.clear()
    box.advance(minutes=10)
    await api("POST", f"/api/links/{link_id}/refresh/", {})
    assert len(told(box)) == 6


async def test_an_update_of_a_recurrent_link_fetches_at_once(api: Any, box: Any) -> None:
    """A single one's does not."""
    recurrent, single = box.add_links(1, access_mode="recurrent") + box.add_links(1)
    await api("PUT", f"/api/links/{single}/", {"password": "new"})
    assert told(box) == []
    await api("PUT", f"/api/links/{recurrent}/", {"password": "new"})
    assert len(told(box)) == 3


async def test_a_link_that_becomes_recurrent_fetches_the_next_day(api: Any, box: Any) -> None:
    """Its core resources (section 9.5)."""
    [link_id] = box.add_links(1)
    await api("PATCH", f"/api/links/{link_id}/", {"access_mode": "recurrent"})
    assert told(box) == []
    box.advance(days=1)
    assert [event.type for event in box.webhooks] == ["ACCOUNTS", "OWNERS", "TRANSACTIONS"]


async def test_an_asynchronous_deletion_is_told(api: Any, box: Any) -> None:
    """When the link is gone; a synchronous one is not."""
    one, other = box.add_links(2)
    await api("DELETE", f"/api/links/{one}/")
    reply = await api("DELETE", f"/api/links/{other}/", headers={**api.headers, "X-Belvo-Request-Mode": "async"})
    assert told(box) == [("LINK", "link_deleted")]
    [event] = box.webhooks
    assert (event.link_id, event.request_id) == (other, reply.body["request_id"])
    assert (event.payload["process_type"], event.payload["data"]) == ("link_deletion", {})


async def test_refreshes_by_the_clock_find_something_new(api: Any, box: Any) -> None:
    """Once per rate and resource."""
    await api.link_id(fetch_resources=["ACCOUNTS", "BILLS"], institution="erebor_br_retail")
    box.advance(days=15)
    new = [event for event in box.webhooks if event.code != "historical_update"]
    assert [event.code for event in new] == ["new_accounts_available", "new_bills_available"] * 2
    assert {event.payload["process_type"] for event in new} == {"recurrent_update"}
    assert new[0].request_id == new[1].request_id != new[2].request_id


async def test_an_update_that_was_asked_for_moves_the_next_one(api: Any, box: Any) -> None:
    """The rate counts from the last access, whoever caused it."""
    link_id = await api.link_id(fetch_resources=["OWNERS"])
    box.advance(days=3)
    await api("POST", f"/api/links/{link_id}/refresh/", {"fetch_resources": ["OWNERS"]})
    box.advance(days=12)
    moments = [event.at - START for event in box.webhooks if event.code == "new_owners_available"]
    assert moments == [timedelta(days=10, seconds=3)]


@pytest.mark.parametrize(
    "username, code, error, status",
    [
        ("sim_lapse_invalid", "invalid_credentials", "login_error", 400),
        ("sim_lapse_token", "token_required", "token_required", 428),
    ],
)
async def test_a_lapse_is_told_once(api: Any, box: Any, username: str, code: str, error: str, status: int) -> None:
    """With the error that the login met."""
    await api.link_id(username)
    box.advance(days=60)
    event = box.webhooks[-1]
    assert (event.type, event.code, event.payload["process_type"]) == ("LINK", code, "recurrent_update")
    assert (event.payload["data"]["error_code"], event.payload["data"]["status"]) == (error, status)
    assert [each.type for each in box.webhooks].count("LINK") == 1


async def test_a_refresh_that_needs_a_token_says_so(api: Any, box: Any) -> None:
    """Nobody is there to give it; under the request's name."""
    challenge = await api.challenge("sim_mfa_text")
    await api.complete(challenge)
    told(box)
    reply = await api("POST", f"/api/links/{challenge['link']}/refresh/", {})
    assert told(box)[-1] == ("LINK", "token_required")
    assert box.webhooks[-1].request_id == reply.body["request_id"]


async def test_events_about_links_can_be_switched_off(open_api: Any) -> None:
    """An old guide says that the vendor's sandbox sends none."""
    async with Sandbox(clock=lambda: START, switches=Switches(link_events=False)) as box:
        await open_api(box).link_id("sim_lapse_invalid")
        box.advance(days=8)
        assert "LINK" not in [event.type for event in box.webhooks]
        assert box.links[0]["status"] == "invalid"


# --- How they arrive


async def test_webhooks_are_posted(api: Any, box: Any, receiver: Receiver) -> None:
    """As JSON, with the configured Authorization, in order, each once."""
    box.deliver_webhooks_to(receiver.url, authorization="Bearer s3cret")
    await api.link_id(external_id="a&b-1")
    box.advance(seconds=3)
    await box.settle()
    assert receiver.types == ["ACCOUNTS", "OWNERS", "TRANSACTIONS"]
    headers, body = receiver.got[0]
    assert (headers["Authorization"], headers["Content-Type"]) == ("Bearer s3cret", "application/json")
    assert body == box.webhooks[0].payload
    assert [(attempt.at, attempt.status) for attempt in box.webhooks[0].attempts] == [(box.clock(), 204)]
    assert all(event.arrived for event in box.webhooks)
    assert await box.settle() == 0


async def test_they_go_out_by_themselves(open_api: Any, receiver: Receiver) -> None:
    """From a sandbox that runs by the system's clock, without anybody asking for it."""
    async with Sandbox(webhooks=Webhooks(receiver.url), switches=Switches(work_seconds=0)) as box:
        await open_api(box).link_id()
        await asyncio.wait_for(receiver.arrived.wait(), 5)
    assert receiver.codes[0] == "historical_update"
    assert "Authorization" not in receiver.got[0][0]


async def test_time_that_passes_sends_them(api: Any, box: Any, receiver: Receiver) -> None:
    """Moving the clock is enough."""
    box.deliver_webhooks_to(receiver.url)
    await api.link_id()
    box.advance(seconds=3)
    await asyncio.wait_for(receiver.arrived.wait(), 5)


async def test_a_failed_delivery_is_repeated_five_times(api: Any, box: Any, receiver: Receiver) -> None:
    """One, two, three, four, five minutes later, and then no more; in simulated time."""
    box.deliver_webhooks_to(receiver.url)
    receiver.statuses = [500, 302, 404, 503, 500, 400, 204]
    await api.link_id(access_mode="single", fetch_resources=["OWNERS"])
    box.advance(seconds=3)
    assert await box.settle() == 1
    box.advance(seconds=59)
    assert await box.settle() == 0
    box.advance(seconds=1)
    assert await box.settle() == 1
    box.advance(hours=1)
    assert await box.settle() == 4
    [event] = box.webhooks
    minutes = [(attempt.at - event.at) / timedelta(minutes=1) for attempt in event.attempts]
    assert minutes == [0, 1, 3, 6, 10, 15]
    assert [attempt.status for attempt in event.attempts] == [500, 302, 404, 503, 500, 400]  # no redirect followed
    assert (event.arrived, len(receiver.got)) == (False, 6)


async def test_a_repeat_that_arrives_is_the_last_one(api: Any, box: Any, receiver: Receiver) -> None:
    """Any 2xx will do."""
    box.deliver_webhooks_to(receiver.url)
    receiver.statuses = [500, 299]
    await api.link_id(access_mode="single", fetch_resources=["OWNERS"])
    box.advance(hours=1)
    assert await box.settle() == 2
    assert [attempt.status for attempt in box.webhooks[0].attempts] == [500, 299]


async def test_nobody_there_or_too_slow_is_a_failure(api: Any, box: Any, receiver: Receiver) -> None:
    """No answer within the time, or no connection at all."""
    async with Sandbox(clock=lambda: START, webhooks=Webhooks(receiver.url, timeout=0.02, repeats=0)) as impatient:
        receiver.hold.clear()
        [link_id] = impatient.add_links(1)
        await type(api)(impatient, api.http)("POST", f"/api/links/{link_id}/refresh/", {"fetch_resources": ["OWNERS"]})
        impatient.advance(minutes=1)
        await impatient.settle()
        assert [attempt.status for attempt in impatient.webhooks[0].attempts] == [None]
    box.deliver_webhooks_to("http://127.0.0.1:9/")
    await api.link_id(access_mode="single", fetch_resources=["OWNERS"])
    box.advance(hours=1)
    await box.settle()
    assert [attempt.status for attempt in box.webhooks[0].attempts] == [None] * 6


async def test_at_least_once_means_duplicates(api: Any, box: Any, receiver: Receiver) -> None:
    """On demand, each the same as the first."""
    box.deliver_webhooks_to(receiver.url, duplicates=2)
    await api.link_id(access_mode="single", fetch_resources=["OWNERS"])
    box.advance(seconds=3)
    assert await box.settle() == 3
    assert [body for _, body in receiver.got] == [receiver.got[0][1]] * 3


async def test_no_order_is_guaranteed(receiver: Receiver, open_api: Any) -> None:
    """On demand they come shuffled, the same way for the same seed."""
    orders: list[list[Any]] = []
    in_order: list[Any] = []
    for _ in range(2):
        receiver.got.clear()
        async with Sandbox(seed=3, clock=lambda: START) as box:
            box.deliver_webhooks_to(receiver.url, out_of_order=True)
            await open_api(box).link_id()
            box.advance(days=30)
            await box.settle()
            assert len(receiver.got) == 3 + 4 * 3
            in_order = [event.payload for event in box.webhooks]
        orders.append([body for _, body in receiver.got])
    assert orders[0] == orders[1]
    assert orders[0] != in_order
    assert sorted(map(str, orders[0])) == sorted(map(str, in_order))


@pytest.mark.parametrize("url", ["https://example.com/hooks", "http://10.0.0.1/", "ftp://127.0.0.1/", "http://", "x"])
def test_only_this_machine_is_told_unless_allowed(url: str) -> None:
    """A test must not send anything to others by accident."""
    with pytest.raises(ValueError):
        Webhooks(url)
    if url.startswith("http") and url != "http://":
        assert Webhooks(url, allow_remote=True).url == url
    for here in ("http://localhost:1/", "http://127.9.9.9/", "https://[::1]/x"):
        assert Webhooks(here).url == here


def test_the_authorization_is_not_printed() -> None:
    """It is a secret of the receiver."""
    assert "hush" not in repr(Webhooks("http://localhost/", authorization="Bearer hush"))


async def test_a_failure_while_delivering_fails_the_test(receiver: Receiver) -> None:
    """A bug of the simulator does not vanish in its background task."""

    def broken() -> datetime:
        raise ZeroDivisionError

    box = await Sandbox(clock=broken, webhooks=Webhooks(receiver.url)).start()
    await asyncio.sleep(0)
    with pytest.raises(ExceptionGroup) as caught:
        await box.stop()
    assert caught.value.subgroup(ZeroDivisionError)


async def test_it_stops_while_a_delivery_hangs(api: Any, box: Any, receiver: Receiver) -> None:
    """At once, and leaves no task."""
    receiver.hold.clear()
    box.deliver_webhooks_to(receiver.url)
    await api.link_id()
    box.advance(seconds=3)
    await asyncio.wait_for(receiver.arrived.wait(), 5)
    started = asyncio.get_running_loop().time()
    await box.stop()
    assert asyncio.get_running_loop().time() - started < 0.5
    assert not [task for task in asyncio.all_tasks() if "webhooks" in task.get_name()]
