"""The check that every reply passes through must itself be able to fail."""

import copy
from typing import Any

import pytest
from jsonschema import ValidationError


@pytest.fixture
def contract(request: pytest.FixtureRequest, api: Any) -> Any:
    return type(api)._check.__globals__["CONTRACT"]


@pytest.mark.parametrize(
    "field, value",
    [
        ("id", "7"),
        ("status", "fine"),
        ("created_at", "yesterday"),
        ("created_at", "2026-03-01T09:00:00+01:00"),
        ("external_id", "ab"),
        ("institution_user_id", "short"),
        ("fetch_resources", None),
        ("refresh_rate", "8h"),
        ("stale_in", "soon"),
    ],
)
async def test_a_wrong_link_is_noticed(api: Any, contract: Any, field: str, value: object) -> None:
    """A link with one wrong field fails, and so does one without it."""
    link = (await api.register(external_id="acct-1")).body
    call = ("POST", "/api/links/", "", 201)
    contract.check(*call, link)
    with pytest.raises(ValidationError):
        contract.check(*call, {**link, field: value})
    with pytest.raises(ValidationError):
        contract.check(*call, {name: kept for name, kept in link.items() if name != field})


async def test_a_wrong_challenge_or_error_is_noticed(api: Any, contract: Any) -> None:
    """A 428 needs all its parts, an error its code; a status that the contract lacks is no success."""
    challenge = await api.challenge("sim_mfa_text")
    bad = copy.deepcopy(challenge)
    del bad["token_generation_data"]
    for body in ([bad], challenge, [{**challenge, "expiry": "720"}]):
        with pytest.raises(ValidationError):
            contract.check("POST", "/api/links/", "", 428, body)
    with pytest.raises(ValidationError):
        contract.check("GET", "/api/links/", "", 404, [{"message": "Not found", "request_id": "0" * 32}])
    with pytest.raises(AssertionError):
        contract.check("GET", "/api/links/", "", 206, {})
