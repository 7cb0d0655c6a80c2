"""Register: what is stored, what is refused (documentation section 9.2)."""

from typing import Any
from uuid import UUID

import pytest

MFA_BANK = "heimdall_mx_retail"


async def test_a_recurrent_link_gets_the_defaults_of_the_documents(api: Any, box: Any) -> None:
    """Without an access mode the link is recurrent, stores its credentials and fetches the core resources."""
    reply = await api.register(external_id="acct-1")
    assert reply.status == 201
    assert reply.body == {
        "id": reply.body["id"],
        "institution": "erebor_mx_retail",
        "access_mode": "recurrent",
        "status": "valid",
        "refresh_rate": "7d",
        "created_by": reply.body["created_by"],
        "last_accessed_at": "2026-03-01T09:00:00.100000Z",
        "external_id": "acct-1",
        "created_at": "2026-03-01T09:00:00.100000Z",
        "institution_user_id": reply.body["institution_user_id"],
        "credentials_storage": "store",
        "stale_in": "365d",
        "fetch_resources": ["ACCOUNTS", "OWNERS", "TRANSACTIONS"],
    }
    assert box.link(reply.body["id"]) == reply.body


async def test_a_single_link_gets_the_defaults_of_the_examples(api: Any) -> None:
    """A sparse single link has no refresh rate, null for `stale_in` and nothing to fetch."""
    link = (await api.register(access_mode="single")).body
    assert (link["refresh_rate"], link["credentials_storage"], link["stale_in"]) == (None, "365d", None)
    assert (link["fetch_resources"], link["external_id"]) == ([], None)


async def test_what_the_caller_gives_is_kept(api: Any) -> None:
    """Storage, retention and resources come back as given."""
    given = {"credentials_storage": "30d", "stale_in": "200d", "fetch_resources": ["OWNERS"]}
    link = (await api.register(access_mode="single", **given)).body
    assert {name: link[name] for name in given} == given


async def test_the_same_person_has_the_same_institution_user_id(api: Any) -> None:
    """Two links of one user at one institution share it; another user has another."""
    ids = [(await api.register(user)).body["institution_user_id"] for user in ("ana", "ana", "bea")]
    assert ids[0] == ids[1] != ids[2]
    elsewhere = (await api.register("ana", institution="erebor_co_retail")).body["institution_user_id"]
    assert elsewhere != ids[0]


async def test_the_longest_and_the_shortest_are_taken(api: Any) -> None:
    """16 characters for a bank's user, 3 to 256 for the caller's own id (sections 9.2 and 17.1)."""
    for external_id in ("abc", "x" * 256):
        reply = await api.register("u" * 16, "p" * 16, external_id=external_id)
        assert (reply.status, reply.body["external_id"]) == (201, external_id)


@pytest.mark.parametrize("external_id", ["ana@example.com", "123.456.789-09", "12345678909", None])
async def test_personal_data_is_not_kept_as_external_id(api: Any, external_id: str | None) -> None:
    """What looks like an e-mail address or a CPF is stored as null, like null itself."""
    assert (await api.register(external_id=external_id)).body["external_id"] is None


async def test_employment_in_mexico_takes_no_password(api: Any) -> None:
    """The form of that institution has a user name only."""
    body = {"institution": "planet_mx_employment", "username": "MOAI540326HDGNYG04", "access_mode": "single"}
    reply = await api("POST", "/api/links/", {**body, "fetch_resources": ["EMPLOYMENT_RECORDS", "OWNERS"]})
    assert reply.status == 201


async def test_an_open_finance_user_is_free_of_the_test_banks_form(api: Any) -> None:
    """A dotted CPF is no name for Erebor, and one for the open finance mock bank."""
    assert (await api.register("123.456.789-09")).codes == [("invalid", "username")]
    reply = await api.register("123.456.789-09", institution="ofmockbank_br_retail")
    assert reply.status == 201


@pytest.mark.parametrize(
    "body, codes",
    [
        ({}, [("required", "institution"), ("required", "username")]),
        ({"institution": "erebor_mx_retail"}, [("required", "username")]),
        ({"institution": "erebor_mx_retail", "username": "bnk100"}, [("required", "password")]),
        (
            {"institution": "narnia", "external_id": "ab", "username": ""},
            [("does_not_exist", "institution"), ("blank", "username"), ("min_length", "external_id")],
        ),
        ({"institution": None, "username": None}, [("null", "institution"), ("null", "username")]),
        ({"institution": "", "username": 7}, [("blank", "institution"), ("invalid", "username")]),
    ],
)
async def test_the_first_fields_are_checked_together(api: Any, body: Any, codes: Any) -> None:
    """Every field at fault has one element; all share one request id (checked with every reply)."""
    reply = await api("POST", "/api/links/", body)
    assert (reply.status, reply.codes) == (400, codes)


@pytest.mark.parametrize(
    "field, value, code",
    [
        ("access_mode", "daily", "invalid_choice"),
        ("access_mode", None, "null"),
        ("external_id", "x" * 257, "max_length"),
        ("external_id", "a\0bc", "invalid"),
        ("fetch_resources", "ACCOUNTS", "invalid"),
        ("fetch_resources", [1], "invalid"),
        ("fetch_resources", None, "null"),
        ("credentials_storage", "366d", "invalid"),
        ("credentials_storage", "0d", "invalid"),
        ("stale_in", "90", "invalid"),
        ("stale_in", "\u0669\u0660d", "invalid"),  # digits, and none of those that are meant
        ("username2", "", "blank"),
        ("username2", " ", "blank"),
        ("fetch_historical", "yes", "invalid"),
        ("certificate", "%%", "invalid"),
        ("certificate", 7, "invalid"),
        ("username", "1234567890abcdefg", "max_length"),
        ("password", "with-hyphen", "invalid"),
        ("token", 111111, "invalid"),
    ],
)
async def test_a_bad_value_names_its_field(api: Any, field: str, value: object, code: str) -> None:
    """One wrong field, one element, with the framework's code."""
    body = {"institution": "erebor_mx_retail", "username": "bnk100", "password": "full", field: value}
    if field == "certificate":
        body["private_key"] = "a2V5"
    reply = await api("POST", "/api/links/", body)
    assert (reply.status, reply.codes) == (400, [(code, field)])


async def test_ids_are_random_ones(api: Any) -> None:
    """UUIDs of version 4 (section 4)."""
    link = (await api.register()).body
    assert [UUID(link[name]).version for name in ("id", "created_by")] == [4, 4]


async def test_a_link_is_written_in_the_usual_order(api: Any) -> None:
    """That of real payloads (section 7), which nobody may rely on and people read."""
    assert list((await api.register()).body) == [
        *(
            "id",
            "institution",
            "access_mode",
            "status",
            "refresh_rate",
            "created_by",
            "last_accessed_at",
            "external_id",
        ),
        *("created_at", "institution_user_id", "credentials_storage", "stale_in", "fetch_resources"),
    ]


async def test_certificate_and_private_key_come_together(api: Any) -> None:
    """Each requires the other."""
    assert (await api.register(certificate="a2V5")).codes == [("required", "private_key")]
    assert (await api.register(private_key="a2V5")).codes == [("required", "certificate")]
    assert (await api.register(certificate="a2V5", private_key="a2V5")).status == 201


async def test_unsupported_resources_are_listed_by_what_is_supported(api: Any) -> None:
    """The field is called `resources`, and BALANCES is shown by the institution yet no value."""
    reply = await api.register(fetch_resources=["INVOICES"])
    assert reply.codes == [("invalid", "resources")]
    assert reply.body[0]["message"].endswith(
        "ACCOUNTS, OWNERS, TRANSACTIONS, INCOMES, RECURRING_EXPENSES, RISK_INSIGHTS"
    )
    assert (await api.register(fetch_resources=["BALANCES"])).codes == [("invalid", "resources")]


async def test_storage_goes_with_the_access_mode(api: Any) -> None:
    """Recurrent links store; single links that do not store must fetch at once."""
    assert (await api.register(credentials_storage="30d")).code == "invalid_credentials_storage"
    assert (await api.register(credentials_storage="store")).status == 201
    single = {"access_mode": "single", "credentials_storage": "nostore"}
    assert (await api.register(**single)).code == "invalid_fetch_resources"
    assert (await api.register(**single, fetch_resources=["OWNERS"])).status == 201


async def test_a_refused_login_leaves_no_link(api: Any, box: Any) -> None:
    """`user_invalid` is refused whatever the password."""
    reply = await api.register("user_invalid", "pass_invalid", external_id="acct-1")
    assert (reply.status, reply.code) == (400, "login_error")
    assert box.links == []


IRON = {
    "institution": "ironbank_br_retail",
    "username2": "valid",
    "password2": "valid",
    "username_type": "003",
}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"username2": None}, "Missing credentials to login to the institution"),
        ({"username2": "invalid"}, "Invalid credentials provided to login to the institution"),
        ({"password2": "invalid"}, "Invalid credentials provided to login to the institution"),
        ({"username_type": "999"}, "Invalid credentials provided to login to the institution"),
        ({"username": "adv_invalid"}, "Invalid credentials provided to login to the institution"),
    ],
)
async def test_iron_bank_wants_more_credentials(api: Any, changes: dict[str, Any], message: str) -> None:
    """A second name, a second password and a document type, each with a value that is refused."""
    assert (await api.register("adv_valid", "pass_valid", **IRON)).status == 201
    fields = {name: value for name, value in {**IRON, **changes}.items() if value is not None}
    username = str(fields.pop("username", "adv_valid"))
    reply = await api.register(username, "pass_valid", **fields)
    assert (reply.code, reply.body[0]["message"]) == ("login_error", message)


async def test_adv_invalid_is_a_name_like_any_other_elsewhere(api: Any) -> None:
    """It is documented for Iron Bank only."""
    assert (await api.register("adv_invalid")).status == 201


@pytest.mark.parametrize("bank", [MFA_BANK, "gotham_br_business"])
@pytest.mark.parametrize(
    "username, password, kind, value",
    [
        ("mfa_default", "pass_valid", "text", None),
        ("mfa_numeric", "numeric_code", "numeric", "12345"),
        ("mfa_qr", "qr_code", "qr", "iVBORw0KGgo"),
    ],
)
async def test_documented_mfa_users_get_their_challenge(
    api: Any, box: Any, bank: str, username: str, password: str, kind: str, value: str | None
) -> None:
    """The link of the 428 exists and is unconfirmed."""
    challenge = await api.challenge(username, password, institution=bank)
    data = challenge["token_generation_data"]
    assert (challenge["expiry"], data["type"], data["expects_user_input"]) == (9600, kind, True)
    assert (data.get("value") or "")[:11] == (value or "")
    assert box.link(challenge["link"])["status"] == "unconfirmed"
    assert box.link(challenge["link"])["last_accessed_at"] is None


async def test_mfa_users_are_plain_with_another_password_or_bank(api: Any) -> None:
    """Every other combination registers at once (section 17.2)."""
    assert (await api.register("mfa_qr", "pass_valid", institution=MFA_BANK)).status == 201
    assert (await api.register("mfa_qr", "qr_code")).status == 201


async def test_a_token_that_comes_along_answers_the_challenge(api: Any) -> None:
    """Sent up front, the right one is enough, a wrong one is asked for, and its form is the bank's."""
    credentials = ("mfa_default", "pass_valid")
    assert (await api.register(*credentials, institution=MFA_BANK, token="111111")).status == 201
    assert (await api.register(*credentials, institution=MFA_BANK, token="222222")).status == 428
    reply = await api.register(*credentials, institution=MFA_BANK, token="1")
    assert reply.codes == [("invalid", "token")]
