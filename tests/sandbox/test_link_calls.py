"""Detail, Modify, Update, Delete, Refresh (documentation sections 9.4 to 9.8)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from belvo_links.sandbox import Sandbox, Switches
from belvo_links.sandbox.answers import RefusalError
from belvo_links.sandbox.rules import check_cooldown, check_delete_limit

ASYNC = {"X-Belvo-Request-Mode": "async"}
MISSING = "00000000-0000-4000-8000-000000000000"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
UNSTORED = {"access_mode": "single", "credentials_storage": "nostore", "fetch_resources": ["OWNERS"]}


def _path(link_id: str) -> str:
    return f"/api/links/{link_id}/"


async def test_detail_shows_what_register_showed(api: Any) -> None:
    """The same link, also for an id in capitals."""
    link = (await api.register()).body
    assert (await api("GET", _path(link["id"]))).body == link
    assert (await api("GET", _path(link["id"].upper()))).body == link


@pytest.mark.parametrize(
    "method, tail", [("GET", ""), ("PUT", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "refresh/")]
)
async def test_a_link_that_does_not_exist_is_not_found(api: Any, method: str, tail: str) -> None:
    """404 on every call with an id."""
    reply = await api(method, _path(MISSING) + tail, {} if method != "GET" else None)
    assert (reply.status, reply.code) == (404, "not_found")


async def test_the_end_of_the_storage_makes_a_link_invalid(api: Any, box: Any) -> None:
    """After `30d`; a new password cannot help then (section 8), while an empty patch is still fine."""
    link_id = await api.link_id(access_mode="single", credentials_storage="30d")
    box.advance(days=29.9)
    assert box.link(link_id)["status"] == "valid"
    box.advance(days=0.1)
    assert box.link(link_id)["status"] == "invalid"
    assert (await api("GET", "/api/links/?status=invalid")).body["count"] == 1
    assert (await api("PUT", _path(link_id), {"password": "new"})).code == "invalid_link"
    assert (await api("PATCH", _path(link_id), {})).status == 200


# --- Modify


async def test_an_empty_patch_changes_nothing(api: Any) -> None:
    """Not documented; 200 with the link as it is."""
    link = (await api.register()).body
    assert (await api("PATCH", _path(link["id"]), {})).body == link


async def test_a_patch_changes_what_it_names(api: Any, box: Any) -> None:
    """Retention and resources, null included; the rest stays."""
    link = (await api.register()).body
    reply = await api("PATCH", _path(link["id"]), {"stale_in": "42d", "fetch_resources": ["OWNERS"]})
    assert reply.body == {**link, "stale_in": "42d", "fetch_resources": ["OWNERS"]}
    reply = await api("PATCH", _path(link["id"]), {"stale_in": None, "fetch_resources": []})
    assert reply.body == {**link, "stale_in": None, "fetch_resources": []}
    assert box.link(link["id"]) == reply.body


async def test_switching_to_recurrent_and_back(api: Any) -> None:
    """Side effects of section 9.5: rate and storage, and something to fetch."""
    link = (await api.register(access_mode="single", credentials_storage="30d")).body
    recurrent = (await api("PATCH", _path(link["id"]), {"access_mode": "recurrent"})).body
    changes = {"access_mode": "recurrent", "refresh_rate": "7d", "credentials_storage": "store"}
    assert recurrent == {**link, **changes, "fetch_resources": ["ACCOUNTS", "OWNERS", "TRANSACTIONS"]}
    assert (await api("PATCH", _path(link["id"]), {"access_mode": "recurrent"})).body == recurrent
    single = (await api("PATCH", _path(link["id"]), {"access_mode": "single"})).body
    assert single == {**recurrent, "access_mode": "single", "refresh_rate": None}


async def test_a_switch_keeps_the_resources_that_a_link_has(api: Any) -> None:
    """Only an empty list is filled up."""
    link_id = await api.link_id(access_mode="single", fetch_resources=["OWNERS"])
    assert (await api("PATCH", _path(link_id), {"access_mode": "recurrent"})).body["fetch_resources"] == ["OWNERS"]


async def test_a_switch_needs_stored_credentials_and_a_valid_link(api: Any, box: Any) -> None:
    """Without credentials `invalid_access_mode_switch`; an invalid link says so; an unconfirmed one too."""
    change = {"access_mode": "recurrent"}
    link_id = await api.link_id(**UNSTORED)
    assert (await api("PATCH", _path(link_id), change)).code == "invalid_access_mode_switch"
    link_id = await api.link_id(access_mode="single")
    box.set_status(link_id, "invalid")
    assert (await api("PATCH", _path(link_id), change)).code == "invalid_link"
    challenge = await api.challenge("sim_mfa_text")
    assert (await api("PATCH", _path(challenge["link"]), change)).code == "unconfirmed_link"


@pytest.mark.parametrize(
    "body, codes",
    [
        ({"access_mode": "x", "stale_in": "x"}, [("invalid_choice", "access_mode"), ("invalid", "stale_in")]),
        ({"fetch_resources": ["TAX_STATUS"]}, [("invalid", "resources")]),
    ],
)
async def test_a_patch_is_checked(api: Any, body: Any, codes: Any) -> None:
    """Like a registration."""
    assert (await api("PATCH", _path(await api.link_id()), body)).codes == codes


@pytest.mark.parametrize("status", ["valid", "token_required"])
async def test_a_switch_may_meet_a_second_factor(api: Any, box: Any, status: Any) -> None:
    """Nothing changes before the Complete, everything after it."""
    username = "sim_mfa_update" if status == "valid" else "bnk100"
    link_id = await api.link_id(username, access_mode="single")
    box.set_status(link_id, status)
    before = box.link(link_id)
    reply = await api("PATCH", _path(link_id), {"access_mode": "recurrent", "stale_in": "7d"})
    assert reply.status == 428
    assert box.link(link_id) == before
    after = (await api.complete(reply.body[0])).body
    assert (after["access_mode"], after["stale_in"], after["status"]) == ("recurrent", "7d", "valid")


# --- Update


@pytest.mark.parametrize("status", ["valid", "invalid", "token_required"])
async def test_new_credentials_make_the_link_valid(api: Any, box: Any, status: Any) -> None:
    """The id stays, the access is new; the vendor's sample password, with its hyphen, is fine."""
    link_id = await api.link_id()
    box.set_status(link_id, status)
    box.advance(hours=1)
    link = (await api("PUT", _path(link_id), {"password": "new-password"})).body
    assert (link["id"], link["status"]) == (link_id, "valid")
    assert link["last_accessed_at"] == "2026-03-01T10:00:00.100000Z"


@pytest.mark.parametrize(
    "body, codes",
    [
        ({}, [("required", "password")]),
        ({"password": "", "token": None}, [("blank", "password"), ("null", "token")]),
        ({"password": "x", "certificate": "a2V5"}, [("required", "private_key")]),
        ({"password": "pass_invalid"}, [("login_error", None)]),
    ],
)
async def test_an_update_is_checked(api: Any, body: Any, codes: Any) -> None:
    """The password is required; `pass_invalid` is refused by the institution."""
    assert (await api("PUT", _path(await api.link_id()), body)).codes == codes


async def test_an_unconfirmed_link_cannot_be_updated(api: Any) -> None:
    """Only Complete finishes it (section 8)."""
    challenge = await api.challenge("sim_mfa_text")
    assert (await api("PUT", _path(challenge["link"]), {"password": "new"})).code == "unconfirmed_link"


async def test_an_update_may_meet_a_second_factor(api: Any, box: Any) -> None:
    """An invalid link stays so until the Complete; a token that comes along spares it."""
    link_id = await api.link_id("sim_mfa_update")
    box.set_status(link_id, "invalid")
    reply = await api("PUT", _path(link_id), {"password": "new"})
    assert (reply.status, reply.body[0]["link"]) == (428, link_id)
    assert box.link(link_id)["status"] == "invalid"
    assert (await api.complete(reply.body[0])).body["status"] == "valid"
    assert (await api("PUT", _path(link_id), {"password": "new", "token": "111111"})).status == 200
    assert box.tokens == ["111111"]


@pytest.mark.parametrize(
    "password, kind",
    [("pass_valid", "text"), ("numeric_code", "numeric"), ("qr_code", "qr"), ("other", None)],
)
async def test_documented_mfa_users_meet_it_by_their_new_password(api: Any, password: str, kind: str | None) -> None:
    """Each MFA password asks for its own kind of challenge, any other for none."""
    bank = {"institution": "heimdall_br_retail"}
    challenge = await api.challenge("mfa_default", "pass_valid", **bank)
    link_id = (await api.complete(challenge)).body["id"]
    reply = await api("PUT", _path(link_id), {"password": password})
    assert (reply.body[0]["token_generation_data"]["type"] if reply.status == 428 else None) == kind
    assert (await api("PUT", _path(link_id), {"password": password, "token": "111111"})).status == 200


async def test_mfa_user_names_mean_nothing_at_other_banks(api: Any) -> None:
    """There an update with an MFA password just works."""
    link_id = await api.link_id("mfa_default")
    assert (await api("PUT", _path(link_id), {"password": "pass_valid"})).status == 200


# --- Delete


async def test_a_deletion_is_done_at_once(api: Any, box: Any) -> None:
    """204 without a body; a second one finds nothing."""
    link_id = await api.link_id()
    reply = await api("DELETE", _path(link_id))
    assert (reply.status, reply.body) == (204, None)
    assert box.link(link_id) is None
    assert (await api("DELETE", _path(link_id))).code == "not_found"


async def test_five_deletions_a_minute(api: Any, box: Any) -> None:
    """The sixth is throttled until the first leaves the sliding minute; other keys and async ones are free."""
    ids = box.add_links(9)
    for link_id in ids[:5]:
        assert (await api("DELETE", _path(link_id))).status == 204
        box.advance(seconds=4)
    reply = await api("DELETE", _path(ids[5]))
    assert (reply.status, reply.code, reply.headers["Retry-After"]) == (429, "throttled", "40")
    assert reply.body[0]["message"] == "Request was throttled. Expected available in 40 seconds."
    assert (await api("DELETE", _path(ids[6]), headers={**api.headers, **ASYNC})).status == 202
    assert (await api.other_account()("DELETE", _path(MISSING))).status == 404
    box.advance(seconds=40)
    assert (await api("DELETE", _path(ids[5]))).status == 204
    assert (await api("DELETE", _path(ids[7]))).status == 429


async def test_failed_deletions_do_not_count(api: Any, box: Any) -> None:
    """Only successful synchronous ones do (section 20)."""
    for _ in range(6):
        assert (await api("DELETE", _path(MISSING))).status == 404
    assert (await api("DELETE", _path(await api.link_id()))).status == 204


async def test_the_429_may_lack_its_header(open_api: Callable[[Sandbox], Any]) -> None:
    """By switch, and with another limit."""
    async with Sandbox(switches=Switches(retry_after=False, sync_deletes_per_minute=1)) as box:
        api = open_api(box)
        one, two = box.add_links(2)
        assert (await api("DELETE", _path(one))).status == 204
        reply = await api("DELETE", _path(two))
        assert reply.status == 429
        assert "Retry-After" not in reply.headers


async def test_an_asynchronous_deletion_is_done_later(api: Any, box: Any) -> None:
    """Readable until then, and accepted twice; then gone, without harm from the second."""
    link_id = await api.link_id()
    headers = {**api.headers, **ASYNC}
    assert (await api("DELETE", _path(link_id), headers=headers)).status == 202
    assert (await api("DELETE", _path(link_id), headers=headers)).status == 202
    assert (await api("GET", _path(link_id))).status == 200
    box.advance(seconds=3)
    assert (await api("GET", _path(link_id))).status == 404


async def test_another_request_mode_is_ignored(api: Any) -> None:
    """Any value but `async` is synchronous (section 20)."""
    headers = {**api.headers, "X-Belvo-Request-Mode": "later"}
    assert (await api("DELETE", _path(await api.link_id()), headers=headers)).status == 204


# --- Refresh


async def test_a_refresh_is_accepted_and_its_access_follows(api: Any, box: Any) -> None:
    """The stored resources stay; a body may be absent."""
    link_id = await api.link_id()
    before = box.link(link_id)
    assert (await api("POST", _path(link_id) + "refresh/", {"fetch_resources": ["OWNERS"]})).status == 202
    assert box.link(link_id) == before
    box.advance(seconds=3)
    assert box.link(link_id) == {**before, "last_accessed_at": "2026-03-01T09:00:03.100000Z"}
    box.advance(minutes=10)
    assert (await api("POST", _path(link_id) + "refresh/")).status == 202


async def test_a_refresh_cools_down(api: Any, box: Any) -> None:
    """The minutes left are rounded up; another link is free."""
    one, two = box.add_links(2)
    assert (await api("POST", _path(one) + "refresh/", {})).status == 202
    for seconds, minutes in ((0, 10), (1, 10), (59, 9), (530, 1)):
        box.advance(seconds=seconds)
        reply = await api("POST", _path(one) + "refresh/", {})
        assert (reply.status, reply.code) == (409, "link_refreshed")
        assert f"wait {minutes} minutes" in reply.body[0]["message"]
    assert (await api("POST", _path(two) + "refresh/", {})).status == 202
    box.advance(seconds=10)
    assert (await api("POST", _path(one) + "refresh/", {})).status == 202


async def test_a_failed_refresh_starts_no_cooldown(api: Any, box: Any) -> None:
    """Unsupported resources and unusable links are 400."""
    path = _path(await api.link_id()) + "refresh/"
    assert (await api("POST", path, {"fetch_resources": ["INVOICES"]})).codes == [("invalid", "resources")]
    assert (await api("POST", path, {"fetch_resources": "OWNERS"})).codes == [("invalid", "fetch_resources")]
    assert (await api("POST", path, {})).status == 202
    link_id = await api.link_id()
    box.set_status(link_id, "invalid")
    assert (await api("POST", _path(link_id) + "refresh/", {})).code == "invalid_link"
    challenge = await api.challenge("sim_mfa_text")
    assert (await api("POST", _path(challenge["link"]) + "refresh/", {})).code == "unconfirmed_link"
    link_id = await api.link_id(**UNSTORED)
    assert (await api("POST", _path(link_id) + "refresh/", {})).code == "login_error"


async def test_a_refresh_of_an_mfa_link_ends_in_token_required(api: Any, box: Any) -> None:
    """202 first; the next refresh then asks for the token, and goes through after it."""
    link_id = (await api.complete(await api.challenge("sim_mfa_text"))).body["id"]
    path = _path(link_id) + "refresh/"
    assert (await api("POST", path, {})).status == 202
    box.advance(seconds=3)
    assert box.link(link_id)["status"] == "token_required"
    box.advance(minutes=10)
    reply = await api("POST", path, {})
    assert reply.status == 428
    assert (await api.complete(reply.body[0])).body["status"] == "valid"
    assert (await api("POST", path, {})).status == 202
    box.advance(seconds=3)
    assert box.link(link_id)["status"] == "valid"


async def test_a_refresh_can_ask_at_once(open_api: Callable[[Sandbox], Any]) -> None:
    """By switch, an MFA link answers 428 immediately; a plain one does not."""
    async with Sandbox(switches=Switches(refresh_mfa="428")) as box:
        api = open_api(box)
        link_id = (await api.complete(await api.challenge("sim_mfa_text"))).body["id"]
        assert (await api("POST", _path(link_id) + "refresh/", {})).status == 428
        assert (await api("POST", _path(await api.link_id()) + "refresh/", {})).status == 202


async def test_a_link_that_vanishes_takes_its_work_along(api: Any, box: Any) -> None:
    """A refresh that is due for a link which is gone does nothing."""
    link_id = await api.link_id()
    await api("POST", _path(link_id) + "refresh/", {})
    box.remove_link(link_id)
    box.advance(seconds=3)
    assert box.links == []


@pytest.mark.parametrize(
    "username, method, tail, status",
    [
        ("sim_mfa_detail", "GET", "", 200),
        ("sim_mfa_delete", "DELETE", "", 204),
        ("sim_mfa_refresh", "POST", "refresh/", 202),
    ],
)
async def test_other_calls_may_ask_too(api: Any, username: str, method: str, tail: str, status: int) -> None:
    """428 on GET, DELETE and refresh: after the Complete the call goes through."""
    link_id = await api.link_id(username)
    path = _path(link_id) + tail
    reply = await api(method, path)
    assert reply.status == 428
    assert (await api.complete(reply.body[0])).body["id"] == link_id
    assert (await api(method, path)).status == status


# --- The limits as such


@pytest.mark.parametrize("ago, left", [(0, 10), (1, 10), (60, 9), (599, 1), (600, None), (9999, None), (None, None)])
def test_the_cooldown_counts_in_begun_minutes(ago: int | None, left: int | None) -> None:
    """From the last accepted refresh."""
    at = None if ago is None else NOW - timedelta(seconds=ago)
    if left is None:
        check_cooldown(at, NOW, minutes=10)
    else:
        with pytest.raises(RefusalError) as caught:
            check_cooldown(at, NOW, minutes=10)
        assert f"wait {left} minutes" in caught.value.problems[0].message


@pytest.mark.parametrize(
    "ago, wait",
    [
        ([], None),
        ([59, 58], None),
        ([59, 30, 1], 1),
        ([60, 30, 1], None),
        ([90, 59, 58, 0], 1),
        ([0, 0, 0], 60),
        ([59, 58, 57, 0], 2),
    ],
)
def test_the_delete_window_slides(ago: list[int], wait: int | None) -> None:
    """With a limit of three: what is a minute old no longer counts."""
    recent = [NOW - timedelta(seconds=seconds) for seconds in ago]
    if wait is None:
        check_delete_limit(recent, NOW, limit=3, retry_after=True)
    else:
        with pytest.raises(RefusalError) as caught:
            check_delete_limit(recent, NOW, limit=3, retry_after=True)
        assert caught.value.headers == {"Retry-After": str(wait)}
