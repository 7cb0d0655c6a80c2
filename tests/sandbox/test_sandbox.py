"""The simulator as a thing to hold: its life, its records, its clock, its determinism."""

import asyncio
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import belvo_links.sandbox
from belvo_links.sandbox import OWN_TRIGGERS, ClientOptions, Sandbox, SandboxClock, ShortWaits, Switches, Webhooks
from belvo_links.sandbox.state import Identifiers

START = datetime(2026, 3, 1, 9, tzinfo=UTC)


async def test_it_tells_a_client_all_it_needs(box: Any) -> None:
    """Address, keys, environment, clock and waits."""
    assert box.url.startswith("http://127.0.0.1:")
    assert not box.url.endswith("/")
    assert box.env == {
        "BELVO_SECRET_ID": box.secret_id,
        "BELVO_SECRET_PASSWORD": box.secret_password,
        "BELVO_BASE_URL": box.url,
    }
    options: ClientOptions = box.client_options
    assert options == {"clock": box.clock, "waiting": ShortWaits(first=0.05, ceiling=0.2, max_rounds=3)}
    assert box.keys == [(box.secret_id, box.secret_password)]


async def test_keys_and_port_can_be_chosen() -> None:
    """For a server that outlives a run; a second start is a mistake, and so is an address in use."""
    async with Sandbox(secret_id="me", secret_password="hush") as box:
        assert box.keys == [("me", "hush")]
        with pytest.raises(RuntimeError):
            await box.start()
        port = int(box.url.rpartition(":")[2])
        with pytest.raises(OSError, match="address"):
            await Sandbox(port=port).start()
    async with Sandbox(port=port) as box:
        assert box.url.endswith(f":{port}")


async def test_it_can_be_stopped_twice_and_started_again(open_api: Callable[[Sandbox], Any]) -> None:
    """Its links stay."""
    box = Sandbox()
    with pytest.raises(RuntimeError):
        _ = box.url
    assert "at rest" in repr(box)
    await box.stop()
    await box.start()
    box.add_links(1)
    assert box.url in repr(box)
    await box.stop()
    await box.stop()
    await box.start()
    assert (await open_api(box)("GET", "/api/links/")).body["count"] == 1
    await box.stop()


def test_it_can_go_on_in_another_loop() -> None:
    """As a fixture of a wider scope than its tests may want it."""
    box = Sandbox(webhooks=Webhooks("http://127.0.0.1:9/", repeats=0), switches=Switches(work_seconds=0))

    async def once() -> None:
        async with box:
            box.add_links(1, access_mode="recurrent", announce=True)
            box.advance(days=8)
            await asyncio.gather(box.settle(), box.settle())

    for _ in range(2):
        asyncio.run(once())
    assert all(event.attempts for event in box.webhooks)


async def test_it_listens_on_ipv6_too(open_api: Callable[[Sandbox], Any]) -> None:
    """The address is then written in brackets."""
    try:
        box = await Sandbox(host="::1").start()
    except OSError:  # pragma: no cover - where the machine has no IPv6
        pytest.skip("no IPv6 here")
    assert box.url.startswith("http://[::1]:")
    assert (await open_api(box)("GET", "/api/links/")).status == 200
    await box.stop()


async def test_its_own_failure_fails_the_test(open_api: Callable[[Sandbox], Any]) -> None:
    """A bug of the simulator does not vanish behind a 500."""

    def broken() -> datetime:
        raise ZeroDivisionError

    box = await Sandbox(clock=broken).start()
    async with open_api(box).http.get(f"{box.url}/api/") as reply:
        assert reply.status == 500
    with pytest.raises(ExceptionGroup) as caught:
        await box.stop()
    assert caught.value.subgroup(ZeroDivisionError)


async def test_requests_are_recorded_as_they_came(api: Any, box: Any) -> None:
    """Method, path, template, query, headers, body, status, time; counted by method and template."""
    link_id = await api.link_id()
    await api("GET", "/api/links/?external_id=a%20b&page=1")
    await api("POST", f"/api/links/{link_id}/refresh/", {"fetch_resources": []})
    kind = {**api.headers, "Content-Type": "application/json"}
    await api("POST", "/api/links/", data=b"{", headers=kind)
    first, second, third, fourth = box.requests
    assert (first.method, first.path, first.template, first.status) == (
        "POST",
        "/api/links/",
        "/api/links/",
        201,
    )
    assert first.headers["authorization"] == api.headers["Authorization"]
    assert first.body["username"] == "bnk100"
    assert (second.query, second.body) == ("external_id=a%20b&page=1", None)
    assert (third.template, third.status) == ("/api/links/{id}/refresh/", 202)
    assert (fourth.body, fourth.status) == (None, 400)
    assert first.at == box.clock()
    assert box.count() == 4
    assert box.count("POST") == 3
    assert box.count("POST", "/api/links/") == 2
    assert box.count(template="/api/links/{id}/") == 0


async def test_the_record_can_be_emptied_at_any_time(api: Any, box: Any, received: Any) -> None:
    """Also while a request is under way."""
    box.inject(belvo_links.sandbox.Fault.delay(0.02))
    waiting = asyncio.create_task(api.http.get(f"{box.url}/api/", headers=api.headers))
    await received(box)
    box.requests.clear()
    async with await waiting as reply:
        assert reply.status == 200
    assert box.requests == []


async def test_nothing_secret_is_printed(api: Any, box: Any) -> None:
    """Passwords, tokens, sessions and keys are in no `repr`."""
    challenge = await api.challenge("sim_mfa_text", "hush")
    await api.complete(challenge, "654321")
    _, secret_password = box.add_account()
    shown = repr([box, box.requests, box._world.accounts, box._world.sessions, box.clock])
    for secret in ("hush", "654321", challenge["session"], box.secret_password, secret_password, "Basic "):
        assert secret not in shown


async def test_tokens_are_counted_only_where_they_are_tokens(api: Any, box: Any) -> None:
    """In a Complete, as text; not in an update, and not what is no text."""
    [link_id] = box.add_links(1)
    await api("PUT", f"/api/links/{link_id}/", {"password": "new", "token": "123456"})
    await api("PATCH", "/api/links/", {"token": 7})
    await api("PATCH", "/api/links/", [])
    await api("PATCH", "/api/links/", {"token": "222222"})
    assert box.tokens == ["222222"]


async def _story(open_api: Callable[[Sandbox], Any], seed: int) -> list[Any]:
    async with Sandbox(seed=seed, clock=lambda: START) as box:
        api = open_api(box)
        challenge = await api.challenge("sim_mfa_chain")
        refused = await api("POST", "/api/links/", {})
        return [box.keys, challenge, refused.body, box.add_account(), box.add_links(3), box.links]


async def test_the_same_seed_tells_the_same_story(open_api: Callable[[Sandbox], Any]) -> None:
    """Keys, ids, sessions and request ids; another seed gives others."""
    assert await _story(open_api, 7) == await _story(open_api, 7)
    assert [one == other for one, other in zip(await _story(open_api, 7), await _story(open_api, 8), strict=True)] == [
        False
    ] * 6


async def test_bulk_links_take_overrides(box: Any) -> None:
    """Every visible field; own user names keep their meaning."""
    [link_id] = box.add_links(
        1,
        institution="tatooine_mx_fiscal",
        username="sim_mfa_text",
        access_mode="recurrent",
        status="invalid",
        refresh_rate=None,
        external_id=None,
        credentials_storage="store",
        stale_in=None,
        fetch_resources=("INVOICES",),
    )
    link = box.link(link_id)
    assert (link["institution"], link["status"], link["refresh_rate"]) == (
        "tatooine_mx_fiscal",
        "invalid",
        None,
    )
    assert (link["fetch_resources"], link["stale_in"], link["external_id"]) == (["INVOICES"], None, None)
    assert box.add_links(0) == []
    recurrent = box.link(box.add_links(1, access_mode="recurrent")[0])
    assert (recurrent["refresh_rate"], recurrent["credentials_storage"]) == ("7d", "store")


async def test_an_mfa_user_among_bulk_links_asks_for_its_token(api: Any, box: Any) -> None:
    """As if it had been registered."""
    [link_id] = box.add_links(1, username="sim_mfa_text")
    assert (await api("PUT", f"/api/links/{link_id}/", {"password": "new"})).status == 428


async def test_unknown_links_are_a_mistake(box: Any) -> None:
    """Looking one up gives nothing; changing one fails."""
    assert box.link("no") is None
    for act in (box.confirm, box.remove_link, lambda link_id: box.set_status(link_id, "valid")):
        with pytest.raises(LookupError):
            act("no")


async def test_an_account_is_made_only_once() -> None:
    """Two with the same secret id could not be told apart."""
    box = Sandbox(secret_id="me")
    with pytest.raises(ValueError, match="already"):
        box._world.add_account("me")


# --- The clock


def test_the_clock_ticks_with_the_system() -> None:
    """Without a source; aware, in UTC, and moved on by hand."""
    clock = SandboxClock()
    before = datetime.now(UTC)
    assert before <= clock() <= datetime.now(UTC)
    assert clock.advance(days=1, hours=1, minutes=1, seconds=1) >= before + timedelta(1, 3661)
    assert clock().tzinfo is UTC


def test_the_clock_follows_its_source() -> None:
    """Another zone is turned into UTC; a naive source and a step back are mistakes."""
    clock = SandboxClock(lambda: START.astimezone(timezone(timedelta(hours=-6))))
    assert (clock(), clock().tzinfo) == (START, UTC)
    assert clock.advance(minutes=1) == START + timedelta(minutes=1)
    assert "2026-03-01T09:01:00" in repr(clock)
    with pytest.raises(ValueError, match="back"):
        clock.advance(seconds=-1)
    with pytest.raises(ValueError, match="aware"):
        SandboxClock(lambda: datetime(2026, 3, 1))()  # noqa: DTZ001 - what is to be refused


async def test_a_clock_can_be_shared() -> None:
    """One that was handed in stays the same object."""
    clock = SandboxClock(lambda: START)
    box = Sandbox(clock=clock)
    assert box.clock is clock
    box.advance(days=1)
    assert clock() == START + timedelta(days=1)


# --- The package


def test_every_public_name_resolves_lazily() -> None:
    """The names of `__all__` and no others."""
    for name in belvo_links.sandbox.__all__:
        assert getattr(belvo_links.sandbox, name) is not None
        assert name in dir(belvo_links.sandbox)
    with pytest.raises(AttributeError):
        _ = belvo_links.sandbox.Simulator


def test_switches_refuse_what_they_do_not_know() -> None:
    """A misspelt choice would otherwise be ignored."""
    wrong: Any  # what a checker would refuse
    for wrong in ({"error_shape": "list"}, {"page_size": 0}, {"early_complete": "400"}, {"work_seconds": -1}):
        with pytest.raises(ValueError):
            Switches(**wrong)


def test_identifiers_have_the_documented_forms() -> None:
    """Section 4: UUIDs of version 4, and hexadecimal digits with their leading zeros."""
    ids = Identifiers(random.Random(1))
    for _ in range(300):
        assert ids.uuid()[14] == "4"
        assert len(ids.hex()) == 32


def test_the_simulator_borrows_nothing_from_the_client() -> None:
    """It imports no other part of the package, so that one mistake cannot hide behind another."""
    for path in Path(belvo_links.sandbox.__file__).parent.glob("*.py"):
        assert "from .." not in path.read_text()
        assert "import belvo_links" not in path.read_text()


def test_own_triggers_are_clearly_ours() -> None:
    """Their prefix, a sentence each, and no documented name among them."""
    assert all(name.startswith("sim_") and trigger.summary for name, trigger in OWN_TRIGGERS.items())
    assert all(name == trigger.username for name, trigger in OWN_TRIGGERS.items())
    assert json.dumps(sorted(OWN_TRIGGERS))
