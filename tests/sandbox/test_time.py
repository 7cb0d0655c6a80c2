"""What time alone does: refreshes by the clock, ends of credentials and data, all lazily and in order."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from belvo_links.sandbox import Sandbox, Switches

START = datetime(2026, 3, 1, 9, 0, 0, 100000, UTC)


def _after(**passed: float) -> str:
    return (START + timedelta(**passed)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def test_a_recurrent_link_is_accessed_at_its_rate(api: Any, box: Any) -> None:
    """Every seven days from the last login on; a single link is not, and an update starts anew."""
    recurrent, single = await api.link_id(), await api.link_id(access_mode="single")
    box.advance(days=6, hours=23)
    assert box.link(recurrent)["last_accessed_at"] == _after()
    box.advance(hours=1)
    assert box.link(recurrent)["last_accessed_at"] == _after(days=7)
    box.advance(days=23)
    assert box.link(recurrent)["last_accessed_at"] == _after(days=28)
    await api("PUT", f"/api/links/{recurrent}/", {"password": "new"})
    box.advance(days=8)
    assert box.link(recurrent)["last_accessed_at"] == _after(days=37)
    assert box.link(single)["last_accessed_at"] == _after()


@pytest.mark.parametrize(
    "rate, passed", [("6h", {"hours": 30}), ("12h", {"hours": 24}), ("24h", {"hours": 24}), ("30d", {})]
)
async def test_the_rate_is_the_accounts(open_api: Any, rate: Any, passed: dict[str, float]) -> None:
    """Every documented one, as a switch."""
    async with Sandbox(clock=lambda: START, switches=Switches(refresh_rate=rate)) as box:
        link_id = await open_api(box).link_id()
        box.advance(hours=35)
        link = box.link(link_id)
        assert link is not None
        assert (link["refresh_rate"], link["last_accessed_at"]) == (rate, _after(**passed))


async def test_a_switch_of_mode_starts_and_ends_the_refreshes(api: Any, box: Any) -> None:
    """To recurrent: from that login on. To single: never again."""
    link_id = await api.link_id(access_mode="single")
    box.advance(days=3)
    await api("PATCH", f"/api/links/{link_id}/", {"access_mode": "recurrent"})
    box.advance(days=8)
    assert box.link(link_id)["last_accessed_at"] == _after(days=10)
    await api("PATCH", f"/api/links/{link_id}/", {"access_mode": "single"})
    box.advance(days=30)
    link = box.link(link_id)
    assert (link["last_accessed_at"], link["refresh_rate"]) == (_after(days=10), None)


@pytest.mark.parametrize(
    "username, days, status, last",
    [
        ("sim_lapse_token", 7, "token_required", 0),
        ("sim_lapse_invalid", 7, "invalid", 0),
        ("sim_lapse_later", 21, "invalid", 14),
    ],
)
async def test_links_lapse_at_a_refresh(api: Any, box: Any, username: str, days: int, status: str, last: int) -> None:
    """Not before; the list, its filters and the link agree; an update mends it for good."""
    link_id = await api.link_id(username)
    box.advance(days=days - 1)
    assert box.link(link_id)["status"] == "valid"
    box.advance(days=1)
    link = (await api("GET", f"/api/links/{link_id}/")).body
    assert (link["status"], link["last_accessed_at"]) == (status, _after(days=last))
    assert (await api("GET", f"/api/links/?status={status}")).body["count"] == 1
    assert (await api("PUT", f"/api/links/{link_id}/", {"password": "new"})).body["status"] == "valid"
    box.advance(days=100)
    assert box.link(link_id)["status"] == "valid"


async def test_a_link_that_requires_a_token_is_mended_by_a_refresh_with_one(api: Any, box: Any) -> None:
    """Whoever answers the challenge of the refresh gets a valid link, which stays so."""
    link_id = await api.link_id("sim_lapse_token")
    box.advance(days=8)
    [asked] = (await api("POST", f"/api/links/{link_id}/refresh/", {})).body
    answer = {"session": asked["session"], "link": link_id, "token": "111111"}
    assert (await api("PATCH", "/api/links/", answer)).body["status"] == "valid"
    box.advance(days=8)
    assert box.link(link_id)["status"] == "valid"
    assert box.link(link_id)["last_accessed_at"] == _after(days=15)


async def test_a_single_link_does_not_lapse(api: Any, box: Any) -> None:
    """Nobody refreshes it; a link that lapses is not looked at in the meantime."""
    link_id = await api.link_id("sim_lapse_token", access_mode="single")
    box.advance(days=300)
    assert box.link(link_id)["status"] == "valid"


async def test_a_login_that_needed_a_token_needs_it_again(api: Any, box: Any) -> None:
    """At the first refresh by the clock, where nobody is there to answer (section 8)."""
    challenge = await api.challenge("mfa_numeric", "numeric_code", institution="heimdall_mx_retail")
    assert (await api.complete(challenge)).status == 201
    box.advance(days=7)
    assert box.link(challenge["link"])["status"] == "token_required"


async def test_credentials_run_out(api: Any, box: Any) -> None:
    """`nostore` after 15 minutes, `Nd` after N days from the creation (section 14); then status invalid."""
    resources = {"fetch_resources": ["ACCOUNTS"], "access_mode": "single"}
    short = await api.link_id(credentials_storage="nostore", **resources)
    long = await api.link_id(credentials_storage="30d", **resources)
    box.advance(minutes=14, seconds=59)
    assert box.link(short)["status"] == "valid"
    box.advance(seconds=1)
    assert (box.link(short)["status"], box.link(long)["status"]) == ("invalid", "valid")
    assert (await api("POST", f"/api/links/{short}/refresh/", {})).code == "invalid_link"
    box.advance(days=30)
    assert box.link(long)["status"] == "invalid"
    assert (await api("GET", "/api/links/?status=invalid")).body["count"] == 2


async def test_data_go_when_nothing_was_updated(api: Any, box: Any) -> None:
    """`stale_in` after the last access, which every refresh restarts; 365 days by default (section 14)."""
    short = await api.link_id(access_mode="single", stale_in="10d")
    plain = await api.link_id(access_mode="single")
    kept = await api.link_id(stale_in="10d")
    waiting = (await api.challenge("sim_mfa_text"))["link"]
    assert [box.has_data(each) for each in (short, plain, kept, waiting)] == [True, True, True, False]
    box.advance(days=10)
    assert [box.has_data(each) for each in (short, plain, kept)] == [False, True, True]
    await api("PUT", f"/api/links/{short}/", {"password": "new"})
    assert box.has_data(short)
    box.advance(days=355)
    assert not box.has_data(plain)


async def test_a_month_passes_in_order(api: Any, box: Any) -> None:
    """Deletions, updates and refreshes by the clock happen at the moments at which they were due."""
    kept, gone = await api.link_id(), await api.link_id("bnk102")
    await api("POST", f"/api/links/{kept}/refresh/", {"fetch_resources": ["ACCOUNTS"]})
    await api("DELETE", f"/api/links/{gone}/", headers={**api.headers, "X-Belvo-Request-Mode": "async"})
    box.advance(days=30)
    moments = [event.at for event in box.webhooks]
    assert moments == sorted(moments)
    assert moments[-1] == START + timedelta(days=28, seconds=3)
    assert {event.code for event in box.webhooks if event.link_id == gone} == {"historical_update", "link_deleted"}


async def _month(open_api: Any, steps: int) -> list[Any]:
    async with Sandbox(seed=5, clock=lambda: START) as box:
        for user in ("bnk100", "sim_lapse_later", "sim_lapse_token"):
            await open_api(box).link_id(user)
        for _ in range(steps):
            box.advance(days=30 / steps)
            _ = box.links
        return [(event.at, event.payload) for event in box.webhooks]


async def test_one_long_step_is_as_good_as_many(open_api: Any) -> None:
    """The same events at the same moments, whatever happens to be looked at meanwhile."""
    told = await _month(open_api, 1)
    # Three histories; four refreshes of the healthy link, two and none of the others, which then lapse.
    assert len(told) == 3 * 3 + 4 * 3 + 2 * 3 + 2
    assert told == await _month(open_api, 30)


async def test_a_hundred_thousand_recurrent_links_age_at_no_cost(box: Any, api: Any) -> None:
    """Computed where somebody looks; no webhooks unless they are asked for."""
    ids = box.add_links(100_000, access_mode="recurrent")
    [loud] = box.add_links(1, access_mode="recurrent", announce=True)
    box.advance(days=30)
    page = (await api("GET", "/api/links/?page_size=1000&page=101")).body
    assert page["results"][-1]["id"] == ids[-1]
    accessed = datetime.fromisoformat(page["results"][-1]["last_accessed_at"])
    assert START + timedelta(days=23) < accessed <= START + timedelta(days=30)
    assert {event.link_id for event in box.webhooks} == {loud}


async def test_a_status_of_our_own_making_does_not_lapse(api: Any, box: Any) -> None:
    """What a test has set stays, until a login or the end of the credentials."""
    link_id = await api.link_id("sim_lapse_token")
    box.advance(days=7)
    box.set_status(link_id, "valid")
    box.advance(days=7)
    assert box.link(link_id)["status"] == "valid"


async def test_an_invalid_link_is_not_refreshed(api: Any, box: Any) -> None:
    """It tells nothing, and its last access stays; a new login starts it again."""
    link_id = await api.link_id()
    box.set_status(link_id, "invalid")
    box.advance(days=30)
    assert {event.code for event in box.webhooks} == {"historical_update"}
    assert box.link(link_id)["last_accessed_at"] == _after()
    await api("PUT", f"/api/links/{link_id}/", {"password": "new"})
    box.advance(days=7)
    assert box.webhooks[-1].code == "new_transactions_available"


async def test_a_rate_that_is_none_refreshes_nothing(box: Any) -> None:
    """A recurrent link without one, or with one of zero, only ages."""
    for rate in (None, "0h", "often"):
        [link_id] = box.add_links(1, access_mode="recurrent", refresh_rate=rate, announce=True)
        before = box.link(link_id)["last_accessed_at"]
        box.advance(days=30)
        assert box.link(link_id)["last_accessed_at"] == before
    assert box.webhooks == []


async def test_a_refresh_of_a_link_that_lapses_meanwhile_comes_to_nothing(api: Any, box: Any) -> None:
    """It was accepted while the link was valid; nothing is fetched."""
    [link_id] = box.add_links(1)
    before = box.link(link_id)["last_accessed_at"]
    assert (await api("POST", f"/api/links/{link_id}/refresh/", {})).status == 202
    box.set_status(link_id, "invalid")
    box.advance(seconds=3)
    assert box.webhooks == []
    assert box.link(link_id)["last_accessed_at"] == before


async def test_old_sessions_are_forgotten(api: Any, box: Any) -> None:
    """So that a server that runs for weeks does not grow; the answer is that of an expired one anyway."""
    old = await api.challenge("sim_mfa_text")
    box.advance(hours=1)
    world = box._world
    for _ in range(1999):
        session = next(iter(world.sessions.values()))
        later = world.clock() + timedelta(hours=1)
        world.add_session(evolve(session, id=world.ids.hex(), expires_at=later))
    assert old["session"] not in world.sessions
    assert (await api.complete(old)).code == "session_expired"
