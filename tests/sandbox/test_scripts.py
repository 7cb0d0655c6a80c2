"""Scripts: what the logins of a user meet, in turn."""

from typing import Any

import aiohttp
import pytest

from belvo_links.sandbox import Fault, Step

STEPS = [Step.challenge("numeric", value="77", token="424242"), Step.wrong_token(), Step.link()]
DATA = [{"challenge": "numeric", "value": "77", "token": "424242"}, "wrong_token", {"link": True}]


@pytest.mark.parametrize("steps", [STEPS, DATA], ids=["steps", "data"])
async def test_a_script_answers_call_by_call(api: Any, box: Any, steps: Any) -> None:
    """A challenge, a token that counts as wrong, success; then everything is as usual."""
    box.script("my_user", steps)
    first = await api.challenge("my_user")
    assert first["token_generation_data"]["value"] == "77"
    second = await api.complete(first, "424242")
    assert second.status == 428
    assert second.body[0]["session"] != first["session"]
    third = await api.complete(second.body[0], "111111")
    assert third.status == 428  # not what this challenge wants; no step was taken
    assert (await api.complete(third.body[0], "424242")).status == 201
    assert (await api.register("my_user")).status == 201


async def test_challenges_can_be_chained(api: Any, box: Any) -> None:
    """Of every kind, with texts and lives of their own."""
    box.script(
        "my_user",
        [
            Step.challenge("text", instructions="Your first pet?", expiry=30),
            Step.challenge("qr", expects_user_input=False),
            Step.challenge("inputless", value="", expiry=60),
        ],
    )
    first = await api.challenge("my_user")
    assert (first["token_generation_data"]["instructions"], first["expiry"]) == ("Your first pet?", 30)
    second = (await api.complete(first)).body[0]
    assert second["token_generation_data"]["value"].startswith("iVBORw0KGgo")
    box.confirm(first["link"])
    third = (await api.complete(second, None)).body[0]
    assert third["token_generation_data"]["type"] == "inputless"
    box.confirm(first["link"])
    assert (await api.complete(third, None)).status == 201


async def test_errors_come_in_turn(api: Any, box: Any) -> None:
    """At Register without a link; at Complete with one, whose login a `login_error` ends."""
    box.script(
        "my_user",
        [
            Step.error("too_many_sessions"),
            {"error": "login_error", "message": "The user account is locked, call us"},
            Step.challenge("text"),
            Step.error("institution_down"),
            Step.error("login_error"),
        ],
    )
    assert (await api.register("my_user")).code == "too_many_sessions"
    assert (await api.register("my_user")).body[0]["message"] == "The user account is locked, call us"
    assert box.links == []
    challenge = await api.challenge("my_user")
    assert (await api.complete(challenge)).code == "institution_down"
    assert (await api.complete(challenge)).code == "login_error"
    assert (await api.complete(challenge)).code == "session_expired"


async def test_an_institution_has_a_script_too(api: Any, box: Any) -> None:
    """For everybody who has none of their own."""
    box.script("erebor_mx_retail", ["link", {"error": "institution_inactive"}])
    box.script("my_user", [Step.error("activation_failed")])
    assert (await api.register("bnk100")).status == 201
    assert (await api.register("my_user")).code == "activation_failed"
    assert (await api.register("bnk102")).code == "institution_inactive"
    assert (await api.register("bnk102")).status == 201


async def test_updates_and_the_switch_of_mode_are_logins(api: Any, box: Any) -> None:
    """They take a step each; reading a link does not."""
    box.script("my_user", ["link", {"challenge": "text"}, "link", {"challenge": "numeric"}, "link"])
    link_id = await api.link_id("my_user", access_mode="single")
    assert (await api("GET", f"/api/links/{link_id}/")).status == 200
    asked = await api("PUT", f"/api/links/{link_id}/", {"password": "new"})
    assert (await api.complete(asked.body[0])).status == 201
    asked = await api("PATCH", f"/api/links/{link_id}/", {"access_mode": "recurrent"})
    assert asked.body[0]["token_generation_data"]["type"] == "numeric"
    assert (await api.complete(asked.body[0])).body["access_mode"] == "recurrent"


async def test_a_step_may_lose_its_reply(api: Any, box: Any) -> None:
    """After it has taken effect."""
    box.script("my_user", [Step.challenge("text"), Step.link(fault=Fault.drop_after())])
    challenge = await api.challenge("my_user")
    with pytest.raises(aiohttp.ClientConnectionError):
        await api.complete(challenge)
    assert box.link(challenge["link"])["status"] == "valid"
    assert (await api.register("my_user")).status == 201


async def test_an_injected_fault_goes_before_a_scripted_one(api: Any, box: Any) -> None:
    """One fault at a time; the step is taken all the same."""
    box.script("my_user", [Step.link(fault=Fault.drop_after())])
    box.inject(Fault.replace_body(b"{}"))
    assert (await api("POST", "/api/links/", _body(), checked=False)).body == {}
    assert (await api.register("my_user")).status == 201


def _body() -> dict[str, str]:
    return {"institution": "erebor_mx_retail", "username": "my_user", "password": "full"}


async def test_scripts_are_forgotten_with_the_faults(api: Any, box: Any) -> None:
    """And grow at their end until then."""
    box.script("my_user", [Step.error("login_error")])
    box.script("my_user", [Step.error("too_many_sessions")])
    assert (await api.register("my_user")).code == "login_error"
    box.clear_faults()
    assert (await api.register("my_user")).status == 201


@pytest.mark.parametrize(
    "step",
    [
        {},
        "nothing",
        {"link": True, "error": "login_error"},
        {"challenge": "riddle"},
        {"challenge": "text", "colour": "red"},
        {"challenge": "text", "expiry": "720"},
        {"challenge": "text", "expiry": 0},
        {"challenge": "text", "token": 424242},
        {"link": True, "fault": "drop_after"},
        {"error": "no_such_code"},
        {"link": True, "message": "x"},
        "wrong_token",
        "challenge",
    ],
)
def test_a_step_that_cannot_be_read_is_a_mistake(box: Any, step: Any) -> None:
    """Found when the script is given, not when it is met."""
    with pytest.raises(ValueError):
        box.script("my_user", [step])


def test_a_step_does_not_print_its_token() -> None:
    """Scripts stand in tests, whose output may be kept."""
    assert "424242" not in repr(STEPS)
