"""Institutions, as far as a connect form needs them (documentation section 21)."""

import re
from typing import Any

import pytest

from belvo_links.sandbox import INSTITUTIONS


@pytest.mark.parametrize(
    "query, count",
    [
        ("name=erebor_mx_retail", 1),
        ("name__in=erebor_mx_retail,tatooine_mx_fiscal,x", 2),
        ("display_name=Tatooine", 1),
        ("country_code=CO", 4),
        ("country_code__in=CO,MX", 10),
        ("type=fiscal", 1),
        ("type__in=fiscal,employment", 2),
        ("status=healthy", 17),
        ("status__in=down,x", 0),
        ("resources__allin=BILLS,BALANCES", 7),
        ("resources__allin=INVOICES", 1),
        ("website=https://erebor.example/", 3),
        ("type=bank&country_code=MX", 4),
        ("colour=red&name=", 17),
    ],
)
async def test_institutions_can_be_filtered(api: Any, query: str, count: int) -> None:
    """By every filter of the section, alone and together; unknown and empty ones count for nothing."""
    page = (await api("GET", f"/api/institutions/?{query}")).body
    assert page["count"] == count
    assert len(page["results"]) == min(count, 10)


async def test_a_type_that_does_not_exist_is_refused(api: Any) -> None:
    """The one filter with a closed set of values in the contract."""
    reply = await api("GET", "/api/institutions/?type=shop")
    assert reply.codes == [("invalid_choice", "type")]


async def test_every_form_field_says_what_it_wants(api: Any) -> None:
    """A name, a label, a rule that compiles and accepts what the documents give, and a message."""
    page = (await api("GET", "/api/institutions/?page_size=100")).body
    for institution in page["results"]:
        for field in institution["form_fields"]:
            assert {"name", "type", "label", "validation", "validation_message", "placeholder"} <= set(field)
            re.compile(field["validation"])
            assert ("values" in field) == (field["type"] == "select")


async def test_mfa_banks_take_a_token_in_their_form(api: Any) -> None:
    """Optional, of six digits; the others have no such field."""
    fields = (await api("GET", "/api/institutions/1014/")).body["form_fields"]
    assert [field["name"] for field in fields] == ["username", "password", "token"]
    assert (fields[2]["validation"], fields[2]["optional"]) == (r"^\d{6}$", True)
    assert "optional" not in fields[0]
    features = [(await api("GET", f"/api/institutions/{number}/")).body["features"] for number in (1004, 1014)]
    assert [[feature["name"] for feature in each] for each in features] == [[], ["token_required"]]


async def test_open_finance_says_so(api: Any) -> None:
    """Its information is null for the others."""
    shown = {each["name"]: each for each in (await api("GET", "/api/institutions/?page_size=100")).body["results"]}
    assert shown["ofmockbank_br_retail"]["openbanking_information"]["participants"] is None
    assert shown["erebor_br_retail"]["openbanking_information"] is None


async def test_a_form_is_checked_with_the_message_that_it_shows(api: Any) -> None:
    """Which the documents name and do not quote."""
    fields = (await api("GET", "/api/institutions/1014/")).body["form_fields"]
    body = {"institution": "heimdall_mx_retail", "username": "a-b", "password": "c d", "token": "12"}
    errors = {error["field"]: error for error in (await api("POST", "/api/links/", body)).body}
    assert {name: error["message"] for name, error in errors.items()} == {
        field["name"]: field["validation_message"] for field in fields
    }
    assert {error["code"] for error in errors.values()} == {"invalid"}


async def test_an_institution_may_go_down(api: Any, box: Any) -> None:
    """Its status says so, and logins there are refused until it is up again."""
    link_id = await api.link_id()
    box.set_institution_status("erebor_mx_retail", "down")
    assert (await api("GET", "/api/institutions/1004/")).body["status"] == "down"
    assert (await api("GET", "/api/institutions/?status=down")).body["count"] == 1
    assert (await api.register()).code == "institution_down"
    assert (await api("PUT", f"/api/links/{link_id}/", {"password": "new"})).code == "institution_down"
    assert (await api.register(institution="erebor_co_retail")).status == 201
    box.set_institution_status("erebor_mx_retail", "healthy")
    assert (await api.register()).status == 201
    with pytest.raises(LookupError):
        box.set_institution_status("narnia", "down")


async def test_every_institution_takes_the_documented_user(api: Any) -> None:
    """`user_valid` works everywhere."""
    for name, institution in INSTITUTIONS.items():
        more = {"username_type": "003", "username2": "valid", "password2": "valid"}
        body = {"institution": name, "username": "user_valid", "password": "pass_valid"}
        reply = await api("POST", "/api/links/", body | (more if "password2" in institution.fields else {}))
        assert reply.status == 201
