"""`box.logins`: what the phones of the users show."""

import base64
from collections.abc import Callable
from typing import Any

from belvo_links.sandbox import Sandbox, Step, WaitingLogin
from tests.sandbox.conftest import START


async def test_a_test_reads_the_token_where_the_user_would(api: Any, box: Sandbox) -> None:
    """Without looking inside, whatever was scripted."""
    box.script("me", [Step.challenge("numeric", value="77", token="424242", expiry=60), Step.link()])
    challenge = await api.challenge("me")
    [login] = box.logins
    assert isinstance(login, WaitingLogin)
    assert (login.link_id, login.institution, login.username) == (challenge["link"], "erebor_mx_retail", "me")
    assert (login.operation, login.kind, login.value, login.round) == ("register", "numeric", "77", 1)
    assert login.instructions == "Use this code to generate the token"
    assert (login.expires_at - START).total_seconds() == 60
    assert (login.expects_user_input, login.token, login.confirmed) == (True, "424242", False)
    assert (await api.complete(challenge, login.token)).status == 201
    assert box.logins == []


async def test_tokens_are_in_no_repr(api: Any, box: Sandbox) -> None:
    """Nor what the user is called, or shown."""
    box.script("my_name", [Step.challenge("numeric", value="77001", token="424242")])
    await api.challenge("my_name")
    await api.challenge("sim_mfa_inputless")
    shown = repr(box.logins)
    assert "token='***'" in shown
    assert "token=None" in shown
    for secret in ("424242", "77001", "my_name", *box._world.sessions):
        assert secret not in shown


async def test_rounds_are_counted(api: Any, box: Sandbox) -> None:
    """By wrong tokens and by further challenges; the latest challenge comes last."""
    first, second = await api.challenge("sim_mfa_chain"), await api.challenge("sim_mfa_text")
    assert [login.link_id for login in box.logins] == [first["link"], second["link"]]
    again = (await api.complete(first, "999999")).body[0]
    assert [(login.link_id, login.round) for login in box.logins] == [(second["link"], 1), (first["link"], 2)]
    await api.complete(again)
    assert [(login.kind, login.round) for login in box.logins] == [("text", 1), ("text", 3)]


async def test_a_picture_is_the_one_of_the_challenge(api: Any, box: Sandbox) -> None:
    """A PNG in base64."""
    challenge = await api.challenge("sim_mfa_qr_scan")
    [login] = box.logins
    assert login.value == challenge["token_generation_data"]["value"]
    assert base64.b64decode(login.value or "").startswith(b"\x89PNG")
    assert (login.kind, login.expects_user_input, login.token) == ("qr", False, None)
    box.confirm(login.link_id)
    assert box.logins[0].confirmed


async def test_a_login_that_cannot_be_completed_does_not_wait(api: Any, box: Sandbox) -> None:
    """Its time is over, or that of credentials which are not stored, or its link is gone."""
    switched = await api.challenge("mfa_default", "pass_valid", institution="heimdall_mx_retail")
    nostore = await api.challenge(
        "mfa_default",
        "pass_valid",
        institution="heimdall_mx_retail",
        access_mode="single",
        credentials_storage="nostore",
        fetch_resources=["ACCOUNTS"],
    )
    assert [(login.expires_at - START).total_seconds() for login in box.logins] == [9600, 900]
    box.advance(minutes=15)
    assert [login.link_id for login in box.logins] == [switched["link"]]
    assert (await api.complete(nostore)).code == "session_expired"
    box.remove_link(switched["link"])
    assert box.logins == []


async def test_a_fixture_of_another_thread_offers_them(belvo_sandbox: Any, open_api: Callable[[Sandbox], Any]) -> None:
    """Like everything else."""
    assert belvo_sandbox.logins == []
    assert belvo_sandbox.served == 0
