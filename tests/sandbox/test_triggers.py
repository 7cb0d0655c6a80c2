"""Every trigger of ours does what its sentence says (documentation section 11.2 for the errors)."""

from typing import Any

import pytest

from belvo_links.sandbox import INSTITUTIONS, OWN_TRIGGERS

OTHER_SHAPES = {"sim_legacy_428", "sim_bare_428", "sim_string_expiry"}
ERRORS = {
    "sim_too_many_sessions": (400, "too_many_sessions"),
    "sim_too_many_once": (400, "too_many_sessions"),
    "sim_institution_down": (400, "institution_down"),
    "sim_institution_unavailable": (400, "institution_unavailable"),
    "sim_institution_inactive": (400, "institution_inactive"),
    "sim_login_error": (400, "login_error"),
    "sim_account_locked": (400, "login_error"),
    "sim_access_forbidden": (400, "login_error"),
    "sim_not_attempted": (400, "login_error"),
    "sim_missing_credentials": (400, "login_error"),
    "sim_mfa_unsupported": (400, "login_error"),
    "sim_login_unexpected": (400, "login_error"),
    "sim_activation_failed": (400, "activation_failed"),
    "sim_unsupported_operation": (400, "unsupported_operation"),
    "sim_consent_without_accounts": (401, "consent_without_accounts"),
    "sim_403": (403, "access_to_resource_denied"),
    "sim_408": (408, "request_timeout"),
    "sim_500": (500, "unexpected_error"),
}
AT_ONCE = {
    *("sim_mfa_update", "sim_mfa_detail", "sim_mfa_delete", "sim_mfa_refresh"),
    *("sim_403_link", "sim_lapse_token", "sim_lapse_invalid", "sim_lapse_later"),
}


@pytest.mark.parametrize("username", sorted({*OWN_TRIGGERS, "sim_somebody_else"} - {"sim_too_many_once"}))
async def test_ours_work_everywhere_with_any_password(api: Any, username: str) -> None:
    """Free of every institution's form: no rule for the password, no further credentials; none where none is wanted."""
    others = 201 if username in AT_ONCE or username not in OWN_TRIGGERS else 428
    expected = ERRORS.get(username, (others, ""))[0]
    for institution in INSTITUTIONS.values():
        body = {"institution": institution.name, "username": username}
        password = {"password": "A quite ordinary pass-phrase!"}
        checked = username not in OTHER_SHAPES
        assert (await api("POST", "/api/links/", {**body, **password}, checked=checked)).status == expected
        bare = await api("POST", "/api/links/", body, checked=checked)
        if institution.needs_password:
            assert bare.codes == [("required", "password")]
        else:
            assert bare.status == expected
    assert (await api.register(username, " ")).codes == [("blank", "password")]


@pytest.mark.parametrize("username", ERRORS)
async def test_a_registration_fails_as_told(api: Any, box: Any, username: str) -> None:
    """At any institution, without leaving a link."""
    for institution in ("erebor_mx_retail", "heimdall_br_retail"):
        reply = await api.register(username, institution=institution)
        assert (reply.status, reply.code) == ERRORS[username]
    assert box.links == []


def test_the_seven_wordings_of_a_login_error_are_all_there() -> None:
    """Only the message tells them apart."""
    problems = [trigger.error for trigger in OWN_TRIGGERS.values()]
    assert len({problem.message for problem in problems if problem and problem.code == "login_error"}) == 7


async def test_too_many_sessions_may_pass(api: Any) -> None:
    """Once per user and institution."""
    assert (await api.register("sim_too_many_once")).status == 400
    assert (await api.register("sim_too_many_once")).status == 201
    assert (await api.register("sim_too_many_once", institution="erebor_co_retail")).status == 400


@pytest.mark.parametrize("username", sorted(set(OWN_TRIGGERS) - set(ERRORS)))
async def test_the_others_ask_or_register(api: Any, box: Any, username: str) -> None:
    """All the rest is 428, or 201 for those that ask later."""
    body = {"institution": "tatooine_mx_fiscal", "username": username, "password": "any"}
    reply = await api("POST", "/api/links/", body, checked=username not in OTHER_SHAPES)
    assert reply.status == (201 if username in AT_ONCE else 428)
    assert [link["status"] for link in box.links] == ["valid" if username in AT_ONCE else "unconfirmed"]
