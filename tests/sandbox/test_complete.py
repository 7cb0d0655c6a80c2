"""Complete: sessions, tokens, chains (documentation sections 9.3 and 10)."""

from collections.abc import Callable
from typing import Any

import pytest

from belvo_links.sandbox import Sandbox, Switches

UNKNOWN = "00000000000000000000000000000000"


async def test_the_right_token_makes_the_link_valid(api: Any, box: Any) -> None:
    """201, the link valid and accessed, the session spent."""
    challenge = await api.challenge("sim_mfa_text")
    box.advance(seconds=30)
    reply = await api.complete(challenge)
    assert (reply.status, reply.body["status"]) == (201, "valid")
    assert reply.body["last_accessed_at"] == "2026-03-01T09:00:30.100000Z"
    assert (await api.complete(challenge)).code == "session_expired"
    assert box.tokens == ["111111", "111111"]


async def test_save_data_false_gives_200(api: Any) -> None:
    """The reference's text; absent and true give 201."""
    assert (await api.complete(await api.challenge("sim_mfa_text"), save_data=False)).status == 200
    assert (await api.complete(await api.challenge("sim_mfa_text"), save_data=True)).status == 201


async def test_the_status_can_be_200_always(open_api: Callable[[Sandbox], Any]) -> None:
    """The reference's table, by switch."""
    async with Sandbox(switches=Switches(complete_status="always_200")) as box:
        api = open_api(box)
        assert (await api.complete(await api.challenge("sim_mfa_text"))).status == 200


@pytest.mark.parametrize("token", ["999999", "123456", None])
async def test_a_wrong_or_missing_token_is_asked_for_again(api: Any, box: Any, token: str | None) -> None:
    """The same link, a new session with a fresh expiry; the old session is dead."""
    first = await api.challenge("sim_mfa_text")
    box.advance(minutes=11)
    second = (await api.complete(first, token)).body[0]
    assert (second["link"], second["expiry"]) == (first["link"], 720)
    assert second["session"] != first["session"]
    assert (await api.complete(first)).code == "session_expired"
    box.advance(minutes=11)
    assert (await api.complete(second)).status == 201


async def test_the_session_can_stay_the_same(open_api: Callable[[Sandbox], Any]) -> None:
    """By switch, a second 428 repeats the session."""
    async with Sandbox(switches=Switches(session_changes=False)) as box:
        api = open_api(box)
        first = await api.challenge("sim_mfa_text")
        second = (await api.complete(first, "999999")).body[0]
        assert second["session"] == first["session"]
        assert (await api.complete(second)).status == 201


async def test_a_session_expires(api: Any, box: Any) -> None:
    """At its deadline, not before; the link stays unconfirmed."""
    challenge = await api.challenge("mfa_default", "pass_valid", institution="heimdall_co_retail")
    box.advance(seconds=9600)
    assert (await api.complete(challenge)).code == "session_expired"
    assert box.link(challenge["link"])["status"] == "unconfirmed"
    short = await api.challenge("sim_mfa_short")
    box.advance(seconds=1.9)
    assert (short["expiry"], (await api.complete(short)).status) == (2, 201)


async def test_unstored_credentials_end_the_session_after_15_minutes(api: Any, box: Any) -> None:
    """Whatever `expiry` says (section 10.3), counted from the link's creation over all rounds."""
    unstored = {"access_mode": "single", "credentials_storage": "nostore", "fetch_resources": ["OWNERS"]}
    challenge = await api.challenge("sim_mfa_text", **unstored)
    box.advance(minutes=10)
    challenge = (await api.complete(challenge, "999999")).body[0]
    box.advance(minutes=5)
    assert (await api.complete(challenge)).code == "session_expired"


async def test_session_and_link_belong_together(api: Any) -> None:
    """Another link, an unknown session and another account are all `session_expired`."""
    one, two = await api.challenge("sim_mfa_text"), await api.challenge("sim_mfa_text")
    assert (await api.complete({**one, "link": two["link"]})).code == "session_expired"
    assert (await api.complete({**one, "session": UNKNOWN})).code == "session_expired"
    assert (await api.other_account().complete(one)).code == "session_expired"
    assert (await api.complete({**one, "link": one["link"].upper()})).status == 201


@pytest.mark.parametrize(
    "body, codes",
    [
        ({"token": "111111"}, [("required", "session"), ("required", "link")]),
        ({"session": "x", "link": "y"}, [("invalid", "session"), ("invalid", "link")]),
        ({"session": UNKNOWN, "link": 7, "token": "", "save_data": "no"}, None),
        ({"session": UNKNOWN, "link": None, "token": None, "save_data": None}, None),
    ],
)
async def test_the_body_is_checked(api: Any, body: Any, codes: Any) -> None:
    """Session and link are required, a token must not be blank or null, `save_data` is a flag."""
    expected = codes or [
        ("invalid" if body["link"] else "null", "link"),
        ("null" if body["token"] is None else "blank", "token"),
        ("null" if body["save_data"] is None else "invalid", "save_data"),
    ]
    assert (await api("PATCH", "/api/links/", body)).codes == expected


async def test_chained_challenges_come_one_after_the_other(api: Any) -> None:
    """Each right token brings the next challenge; a wrong one repeats the present one."""
    challenge = await api.challenge("sim_mfa_chain3")
    kinds = [challenge["token_generation_data"]["type"]]
    for token in ("111111", "999999", "111111"):
        challenge = (await api.complete(challenge, token)).body[0]
        kinds.append(challenge["token_generation_data"]["type"])
    assert kinds == ["numeric", "text", "text", "qr"]
    assert (await api.complete(challenge)).body["status"] == "valid"


@pytest.mark.parametrize("username", ["sim_mfa_inputless", "sim_mfa_qr_scan"])
async def test_a_confirmation_elsewhere_is_met_at_the_second_try(api: Any, username: str) -> None:
    """The first Complete comes too early and is answered 428 with a new session."""
    first = await api.challenge(username)
    assert first["token_generation_data"]["expects_user_input"] is False
    second = (await api.complete(first, None)).body[0]
    assert second["session"] != first["session"]
    assert (await api.complete(second, None)).status == 201


async def test_the_test_can_confirm_for_the_user(open_api: Callable[[Sandbox], Any]) -> None:
    """With the patience switched off only `confirm` helps, and it survives a new session."""
    async with Sandbox(switches=Switches(confirm_after=None)) as box:
        api = open_api(box)
        challenge = await api.challenge("sim_mfa_inputless")
        for _ in range(3):
            challenge = (await api.complete(challenge, None)).body[0]
        box.confirm(challenge["link"])
        assert (await api.complete(challenge, None)).status == 201
        with pytest.raises(LookupError):
            box.confirm(challenge["link"])


async def test_confirming_leads_on_to_the_next_challenge(api: Any, box: Any) -> None:
    """A chain may begin elsewhere and go on with a token."""
    challenge = await api.challenge("sim_mfa_confirm_text")
    box.confirm(challenge["link"])
    challenge = (await api.complete(challenge, None)).body[0]
    assert challenge["token_generation_data"]["type"] == "text"
    assert (await api.complete(challenge, None)).status == 428
    challenge = api.box.link(challenge["link"])
    assert challenge["status"] == "unconfirmed"


@pytest.mark.parametrize("how", ["confirmed", "early"])
async def test_each_of_two_confirmations_is_waited_for(api: Any, box: Any, how: str) -> None:
    """Neither that the first was given nor that it was asked for too early counts for the second."""
    box.script("my_user", [{"challenge": "inputless"}, {"challenge": "inputless"}])
    challenge = await api.challenge("my_user")
    if how == "confirmed":
        box.confirm(challenge["link"])
    else:
        challenge = (await api.complete(challenge, None)).body[0]
    second = (await api.complete(challenge, None)).body[0]
    early = await api.complete(second, None)
    assert early.status == 428
    assert (await api.complete(early.body[0], None)).status == 201


async def test_an_early_complete_can_be_refused(open_api: Callable[[Sandbox], Any]) -> None:
    """By switch it is a `login_error`, and the session is over."""
    async with Sandbox(switches=Switches(early_complete="login_error")) as box:
        api = open_api(box)
        challenge = await api.challenge("sim_mfa_inputless")
        assert (await api.complete(challenge, None)).code == "login_error"
        assert (await api.complete(challenge, None)).code == "session_expired"


@pytest.mark.parametrize(
    "username, code, then",
    [
        ("sim_mfa_expired", "session_expired", "session_expired"),
        ("sim_mfa_login_error", "login_error", "session_expired"),
        ("sim_mfa_too_many_sessions", "too_many_sessions", "too_many_sessions"),
    ],
)
async def test_complete_can_be_refused(api: Any, username: str, code: str, then: str) -> None:
    """The link stays unconfirmed; a refused login spends its session, a busy institution does not."""
    challenge = await api.challenge(username)
    reply = await api.complete(challenge)
    assert (reply.status, reply.code) == (400, code)
    assert (await api.complete(challenge)).code == then
    assert api.box.link(challenge["link"])["status"] == "unconfirmed"


async def _raw_challenge(api: Any, username: str) -> Any:
    body = {"institution": "erebor_mx_retail", "username": username, "password": "any"}
    reply = await api("POST", "/api/links/", body, checked=False)
    assert reply.status == 428
    return reply.body


async def test_the_oldest_shape_is_a_bare_object(api: Any) -> None:
    """`sim_legacy_428` shows the shape of the old guide, `sim_bare_428` the one of the reference's listing."""
    legacy = await _raw_challenge(api, "sim_legacy_428")
    assert set(legacy) == {"detail", "session", "expiry", "link"}
    assert legacy["detail"] == "Token Required"
    assert (await api.complete(legacy)).status == 201
    assert (await _raw_challenge(api, "sim_bare_428"))["code"] == "token_required"


async def test_the_guides_spelling(api: Any) -> None:
    """`expiry` as text and the flag without its s."""
    [challenge] = await _raw_challenge(api, "sim_string_expiry")
    assert challenge["expiry"] == "720"
    assert challenge["token_generation_data"]["expect_user_input"] is True
    assert (await api.complete(challenge)).status == 201


async def test_a_second_428_may_say_nothing_about_its_session(api: Any) -> None:
    """The previous session then lives on."""
    first = await api.challenge("sim_mfa_no_session")
    body = {"session": first["session"], "link": first["link"], "token": "999999"}
    [second] = (await api("PATCH", "/api/links/", body, checked=False)).body
    assert not {"session", "expiry"} & set(second)
    assert (await api.complete(first)).status == 201


@pytest.mark.parametrize(
    "switches, shape",
    [
        (Switches(error_shape="object"), "object"),
        (Switches(error_shape="detail"), "detail"),
        (Switches(expiry_as_text=True), "text"),
    ],
)
async def test_switches_shape_every_428(open_api: Callable[[Sandbox], Any], switches: Switches, shape: str) -> None:
    """The error shapes hold for 428 too, and so does an expiry as text."""
    async with Sandbox(switches=switches) as box:
        challenge = await _raw_challenge(open_api(box), "sim_mfa_text")
        if shape == "text":
            assert challenge[0]["expiry"] == "720"
        else:
            assert ("detail" in challenge) == (shape == "detail")


async def test_deleting_the_link_ends_its_sessions(api: Any, box: Any) -> None:
    """A Complete for a link that is gone is `session_expired`."""
    challenge = await api.challenge("sim_mfa_text")
    assert [login.link_id for login in box.logins] == [challenge["link"]]
    box.remove_link(challenge["link"])
    assert (await api.complete(challenge)).code == "session_expired"
    assert box.logins == []
    assert box._world.sessions == {}
