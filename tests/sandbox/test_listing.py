"""List: pages, filters, fields (documentation sections 5 and 6)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from belvo_links.sandbox import Sandbox, Switches
from belvo_links.sandbox.filters import build_selection, parse_query


async def _list(api: Any, query: str = "") -> Any:
    reply = await api("GET", "/api/links/" + (f"?{query}" if query else ""))
    assert reply.status == 200
    return reply.body


async def test_an_empty_account_has_one_empty_page(api: Any) -> None:
    """No match is no error."""
    assert await _list(api) == {"count": 0, "next": None, "previous": None, "results": []}
    assert (await _list(api, "external_id=nobody"))["count"] == 0


async def test_links_come_newest_first(api: Any, box: Any) -> None:
    """Registered ones before the bulk, whose dates lie in the past."""
    old = box.add_links(2)
    box.advance(seconds=1)
    new = await api.link_id()
    assert [link["id"] for link in (await _list(api))["results"]] == [new, *old]
    assert [link["id"] for link in box.links] == [new, *old]


async def test_ten_links_are_a_page_by_default(api: Any, box: Any) -> None:
    """Like the real sandbox; an explicit size wins."""
    box.add_links(25)
    assert len((await _list(api))["results"]) == 10
    assert len((await _list(api, "page_size=7"))["results"]) == 7


async def test_the_default_page_size_is_a_switch(open_api: Callable[[Sandbox], Any]) -> None:
    """100 outside the sandbox profile."""
    async with Sandbox(switches=Switches(page_size=100)) as box:
        box.add_links(101)
        assert len((await _list(open_api(box)))["results"]) == 100


@pytest.mark.parametrize("size, effective", [("5000", 1000), ("0", 10), ("-1", 10), ("many", 10), ("", 10)])
async def test_odd_page_sizes_are_lowered_or_ignored(api: Any, box: Any, size: str, effective: int) -> None:
    """Above 1000 means 1000; what is no size at all means the default."""
    box.add_links(1001)
    assert len((await _list(api, f"page_size={size}"))["results"]) == effective


async def test_next_and_previous_repeat_the_query(api: Any, box: Any) -> None:
    """Absolute addresses; page 1 goes without `page`; the last page has no next."""
    ids = box.add_links(5, status="invalid")
    base = f"{box.url}/api/links/?fields=id%2Cstatus"
    page = await _list(api, "page_size=2&fields=id,status&status__in=invalid,valid")
    seen = [link["id"] for link in page["results"]]
    tail = "page_size=2&status__in=invalid%2Cvalid"
    assert (page["count"], page["previous"]) == (5, None)
    assert page["next"] == f"{base}&page=2&{tail}"
    page = await _list(api, page["next"].partition("?")[2])
    assert page["previous"] == f"{base}&{tail}"
    seen += [link["id"] for link in page["results"]]
    page = await _list(api, page["next"].partition("?")[2])
    assert (page["next"], page["previous"]) == (None, f"{base}&page=2&{tail}")
    assert seen + [link["id"] for link in page["results"]] == ids


async def test_ampersands_are_escaped_like_in_real_payloads(api: Any, box: Any, http: Any) -> None:
    """Section 4: any JSON parser reads them all the same."""
    box.add_links(3)
    async with http.get(f"{box.url}/api/links/?page_size=1&page=2", headers=api.headers) as reply:
        content = await reply.read()
    assert b"&" not in content
    assert b"page=3\\u0026page_size=1" in content
    assert b'"previous":"' + box.url.encode() + b'/api/links/?page_size=1"' in content


async def test_the_first_page_of_a_plain_list_has_a_plain_address(api: Any, box: Any) -> None:
    """Without any query left, no question mark is left."""
    box.add_links(11)
    assert (await _list(api, "page=2"))["previous"] == f"{box.url}/api/links/"


@pytest.mark.parametrize("page", ["2", "0", "-1", "last", "1.5", "9" * 5000])
async def test_a_page_that_does_not_exist_is_not_found(api: Any, box: Any, page: str) -> None:
    """404 with the framework's message, also under a filter."""
    box.add_links(3)
    for query in (f"page={page}", f"page={page}&status=valid"):
        reply = await api("GET", f"/api/links/?{query}")
        assert (reply.status, reply.code, reply.body[0]["message"]) == (404, "not_found", "Invalid page.")


async def test_fields_and_omit_narrow_each_result(api: Any, box: Any) -> None:
    """`fields` first, then `omit`; unknown names are ignored."""
    [link_id] = box.add_links(1)
    assert (await _list(api, "fields=id,nonsense"))["results"] == [{"id": link_id}]
    assert (await _list(api, "fields=id,status&omit=status"))["results"] == [{"id": link_id}]
    [link] = (await _list(api, "omit=id,status"))["results"]
    assert len(link) == 11


@pytest.fixture
def mixed(box: Any) -> dict[str, str]:
    """One link of each kind, by name."""
    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        "recurrent": {"access_mode": "recurrent", "external_id": "ana"},
        "fiscal": {"institution": "tatooine_mx_fiscal", "status": "invalid"},
        "waiting": {"status": "token_required", "username": "bea", "refresh_rate": "24h"},
    }
    ids = {}
    for name, overrides in kinds.items():
        [ids[name]] = box.add_links(1, **overrides)
        box.advance(days=1)
    return ids


FILTERS = [
    ("institution=tatooine_mx_fiscal", "fiscal"),
    ("institution__in=tatooine_mx_fiscal,narnia", "fiscal"),
    ("access_mode=recurrent", "recurrent"),
    ("status=invalid", "fiscal"),
    ("status__in=invalid,token_required", "fiscal waiting"),
    ("status=odd", ""),
    ("external_id=ana", "recurrent"),
    ("external_id__in=ana,user-1", "plain recurrent fiscal waiting"),
    ("refresh_rate=7d", "recurrent"),
    ("refresh_rate=null", "plain fiscal"),
    ("created_at=2026-03-02", "recurrent"),
    ("created_at__gt=2026-03-02", "fiscal waiting"),
    ("created_at__gte=2026-03-02", "recurrent fiscal waiting"),
    ("created_at__lt=2026-03-02", "plain"),
    ("created_at__lte=2026-03-02", "plain recurrent"),
    ("created_at__range=2026-03-02,2026-03-03", "recurrent fiscal"),
    ("created_at__gte=2026-03-02T09:00:00.1Z", "recurrent fiscal waiting"),
    ("created_at__gt=2026-03-02T09:00:00.1%2B00:00", "fiscal waiting"),
    ("created_at__gt=2026-03-02T09:00:00.1+00:00", "fiscal waiting"),
    ("created_at__lt=2026-03-02T09:00:00.100000", "plain"),
    ("status=&unknown=1", "plain recurrent fiscal waiting"),
    ("status=invalid&institution=erebor_mx_retail", ""),
    ("status=valid&status=invalid", "fiscal"),
]


@pytest.mark.parametrize("query, names", FILTERS)
async def test_filters_select(api: Any, mixed: dict[str, str], query: str, names: str) -> None:
    """Each documented filter, alone and together; unknown and empty ones count for nothing."""
    page = await _list(api, query)
    found = {link["id"] for link in page["results"]}
    assert found == {mixed[name] for name in names.split()}
    assert page["count"] == len(found)


async def test_filters_on_identity(api: Any, box: Any, mixed: dict[str, str]) -> None:
    """By id, by user at the institution (percent-encoded), by creator."""
    link = box.link(mixed["waiting"])
    for query in (
        f"id={link['id'].upper()}",
        f"id__in={link['id']},{'0' * 8}-0000-4000-8000-{'0' * 12}",
        f"institution_user_id={quote(link['institution_user_id'])}",
        f"institution_user_id__in={quote(link['institution_user_id'])},x",
    ):
        assert [found["id"] for found in (await _list(api, query))["results"]] == [link["id"]]
    assert (await _list(api, f"created_by__not_in={link['created_by']}"))["count"] == 0


@pytest.mark.parametrize(
    "query, code",
    [
        ("id=7", "invalid"),
        ("id__in=7,8", "invalid"),
        ("created_by__not_in=me", "invalid"),
        ("created_at=2026-02-30", "invalid"),
        ("created_at__gte=yesterday", "invalid"),
        ("created_at__range=2026-03-02", "invalid"),
        ("created_at__range=2026-03-02,x", "invalid"),
        ("access_mode=daily", "invalid_choice"),
    ],
)
async def test_a_bad_filter_names_itself(api: Any, query: str, code: str) -> None:
    """400 with the parameter as the field."""
    reply = await api("GET", f"/api/links/?{query}")
    assert (reply.status, reply.codes) == (400, [(code, query.partition("=")[0])])


async def test_the_first_and_the_last_day_can_be_asked_for(api: Any, box: Any) -> None:
    """There is nothing before or after them."""
    box.add_links(1)
    for query, count in (("gt=9999-12-31", 0), ("lte=9999-12-31", 1), ("lt=0001-01-01", 0), ("gte=0001-01-01", 1)):
        assert (await _list(api, f"created_at__{query}"))["count"] == count


async def test_two_filters_on_the_status_must_both_hold(api: Any, box: Any) -> None:
    """As with any other two."""
    ids = box.add_links(3)
    box.set_status(ids[0], "invalid")
    assert (await _list(api, "status=valid&status__in=valid,invalid"))["count"] == 2
    assert (await _list(api, "status=valid&status__in=invalid"))["count"] == 0


async def test_the_page_after_a_full_last_one_does_not_exist(api: Any, box: Any) -> None:
    """Nor does `next` name it."""
    box.add_links(20)
    assert (await _list(api, "page=2"))["next"] is None
    assert (await api("GET", "/api/links/?page=3")).status == 404


async def test_a_listing_follows_its_changes(api: Any, box: Any) -> None:
    """Whatever was found before is not kept when links come, change, go or age."""
    ids = box.add_links(3, access_mode="single", credentials_storage="1d")
    assert (await _list(api, "status=valid"))["count"] == 3
    box.set_status(ids[0], "invalid")
    assert (await _list(api, "status=valid"))["count"] == 2
    box.remove_link(ids[1])
    assert (await _list(api, "status=valid"))["count"] == 1
    await api.link_id()
    assert (await _list(api, "status=valid"))["count"] == 2
    box.advance(days=1)
    assert (await _list(api, "status=valid"))["count"] == 1
    assert (await _list(api.other_account(), "status=valid"))["count"] == 0
    for number in range(6):
        assert (await _list(api, f"external_id=none-{number}"))["count"] == 0


async def test_accounts_see_their_own_links_only(api: Any, box: Any) -> None:
    """In the list as by id; `box.links` shows all, newest first."""
    mine = await api.link_id()
    other = api.other_account()
    assert (await _list(other))["count"] == 0
    assert (await other("GET", f"/api/links/{mine}/")).code == "not_found"
    box.advance(seconds=1)
    theirs = await other.link_id()
    assert [link["id"] for link in box.links] == [theirs, mine]
    assert box.link(mine)["created_by"] != box.link(theirs)["created_by"]
    assert len(box.keys) == 2


def test_a_query_without_filters_needs_no_test() -> None:
    """Pages alone filter nothing, so that listing a hundred thousand links stays a slice."""
    assert build_selection(parse_query("page=2&page_size=5&fields=id&colour=red")) is None


async def test_a_hundred_thousand_links_are_no_burden(box: Any, api: Any) -> None:
    """Created in one go, in order, none of them past its storage."""
    ids = box.add_links(100_000, external_id=None)
    page = await _list(api, "page=100&page_size=1000")
    assert (page["count"], page["next"]) == (100_000, None)
    assert page["results"][-1]["id"] == ids[-1]
    assert page["results"][-1]["status"] == "valid"
    assert datetime.fromisoformat(page["results"][-1]["created_at"]) < datetime(2026, 1, 1, tzinfo=UTC)
