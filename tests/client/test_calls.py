"""Every call against the simulator: what it gives back."""

import warnings
from datetime import timedelta
from typing import Any

import pytest

from belvo_links import (
    Accepted,
    AccessMode,
    BelvoLinks,
    Credentials,
    ExternalIdDroppedWarning,
    Link,
    LinkFilter,
    LinkPage,
    LinkStatus,
    MfaRequiredError,
    NotFoundError,
    PartialPage,
    PendingSession,
    RateLimitedError,
    RefreshCooldownError,
    Resource,
    UnexpectedResponseError,
)
from belvo_links.sandbox import Fault, Sandbox
from tests.client.making import BANK, LINK_ID, LINKS, MFA_BANK, NUMERIC, ONE_LINK, client, drained, linked, pending


async def test_register_gives_a_link(belvo: BelvoLinks) -> None:
    """Where no second factor is asked for."""
    link = await linked(belvo, external_id="user-42", access_mode="recurrent", stale_in="30d")
    assert link.status is LinkStatus.VALID
    assert link.access_mode is AccessMode.RECURRENT
    assert (link.institution, link.external_id, link.stale_in) == (BANK, "user-42", "30d")
    assert link.created_at.utcoffset() == timedelta(0)


async def test_register_gives_a_pending_session(belvo: BelvoLinks) -> None:
    """Where one is; it is in the store, and completing it gives the link."""
    waiting = await belvo.register(MFA_BANK, NUMERIC, access_mode="single", correlation={"user": 42})
    assert isinstance(waiting, PendingSession)
    assert (waiting.operation, waiting.round, waiting.correlation) == ("register", 1, {"user": 42})
    assert (await belvo.pending(waiting.id)).correlation == {"user": 42}
    link = await belvo.complete(waiting.id, "111111", round=1)
    assert isinstance(link, Link)
    assert link.id == waiting.link_id


async def test_register_with_a_callback_gives_a_link(belvo: BelvoLinks) -> None:
    """Through two challenges."""
    asked: list[int] = []

    async def answer(waiting: PendingSession) -> str:
        asked.append(waiting.round)
        return "111111"

    chain = Credentials("sim_mfa_chain", "any")
    link = await belvo.register(MFA_BANK, chain, access_mode="single", on_challenge=answer)
    assert link.status is LinkStatus.VALID
    assert asked == [1, 2]


NULLED = b'{"id":"%s","institution":"erebor_mx_retail","status":"valid","created_at":"2025-01-01T00:00:00Z"}'


async def test_an_external_id_that_was_dropped_is_warned_of(box: Sandbox, belvo: BelvoLinks) -> None:
    """The link is there all the same, and the warning points at the caller."""
    box.inject(Fault.replace_body(NULLED % LINK_ID.encode()), method="POST", template=LINKS)
    with pytest.warns(ExternalIdDroppedWarning) as caught:
        link = await linked(belvo, external_id="bnk100@example.com")
    assert link.external_id is None
    assert caught[0].filename.endswith("making.py")
    assert "bnk100" not in str(caught[0].message)


async def test_an_external_id_that_was_dropped_is_warned_of_after_a_challenge(box: Sandbox, belvo: BelvoLinks) -> None:
    """The reply to the Complete is the first that shows it."""
    waiting = await pending(belvo, external_id="user-42")
    box.inject(Fault.replace_body(NULLED % waiting.link_id.encode()), method="PATCH", template=LINKS)
    with pytest.warns(ExternalIdDroppedWarning):
        assert isinstance(await waiting.complete("111111"), Link)


async def test_no_external_id_is_no_reason_to_warn(belvo: BelvoLinks) -> None:
    """Neither where none was given nor where null was."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await linked(belvo)
        await linked(belvo, external_id=None)


async def test_get_gives_the_link(box: Sandbox, belvo: BelvoLinks) -> None:
    """The same that a page shows; also by an id in capitals."""
    (link_id,) = box.add_links(1)
    link = await belvo.get(link_id)
    assert (await belvo.page()).results == (link,)
    assert await belvo.get(link_id.upper()) == link


async def test_fields_that_are_not_known_are_kept(box: Sandbox, belvo: BelvoLinks) -> None:
    """By the calls that return one link or one page; an iteration leaves them out."""
    (link_id,) = box.add_links(1)
    shown = box.link(link_id)
    assert shown is not None
    more = {**shown, "colour": "green", "extra": "odd"}
    page = {"count": 1, "next": None, "previous": None, "results": [more]}
    box.inject(Fault.status(200, more), template=ONE_LINK)
    assert dict((await belvo.get(link_id)).extra) == {"colour": "green", "extra": "odd"}
    box.inject(Fault.status(200, page), times=2)
    assert dict((await belvo.page()).results[0].extra) == {"colour": "green", "extra": "odd"}
    (iterated,) = await drained(belvo.iterate())
    assert dict(iterated.extra) == {}
    assert iterated == await belvo.get(link_id)


async def test_page_gives_links(box: Sandbox, belvo: BelvoLinks) -> None:
    """Newest first, with the addresses as they came."""
    ids = box.add_links(5)
    first, last = await belvo.page(page_size=3), await belvo.page(page=2, page_size=3)
    assert isinstance(first, LinkPage)
    assert [link.id for link in (*first.results, *last.results)] == ids
    assert first.count == last.count == 5
    assert first.previous is None
    assert first.next is not None
    assert last.next is None


async def test_page_past_the_end_is_not_found(belvo: BelvoLinks) -> None:
    """The first one always exists."""
    assert (await belvo.page()).results == ()
    with pytest.raises(NotFoundError):
        await belvo.page(page=2)


async def test_page_with_fields_gives_mappings(box: Sandbox, belvo: BelvoLinks) -> None:
    """A part of a link is no link."""
    (link_id,) = box.add_links(1)
    page = await belvo.page(fields=["id", "status"])
    assert isinstance(page, PartialPage)
    assert list(page.results) == [{"id": link_id, "status": "valid"}]
    rest = await belvo.page(omit=["id"])
    assert isinstance(rest, PartialPage)
    assert "id" not in rest.results[0]
    assert "institution" in rest.results[0]


async def test_count_counts_what_matches(box: Sandbox, belvo: BelvoLinks) -> None:
    """With one small request."""
    box.add_links(3)
    box.add_links(2, status="invalid")
    assert await belvo.count() == 5
    assert await belvo.count(LinkFilter(status="invalid")) == 2
    assert "page_size=1" in box.requests[-1].query


async def test_count_splits_a_list_that_is_too_long(box: Sandbox, belvo: BelvoLinks) -> None:
    """And adds up the parts, each link once."""
    ids = box.add_links(400)
    assert await belvo.count(LinkFilter(id__in=[*ids, ids[0].upper(), LINK_ID], status="valid")) == 400
    assert len(box.requests) > 2
    assert max(len(one.query) for one in box.requests) < 8000


async def test_patch_changes_the_link(box: Sandbox, belvo: BelvoLinks) -> None:
    """Only what was given."""
    (link_id,) = box.add_links(1, access_mode="recurrent")
    link = await belvo.patch(link_id, stale_in="10d", fetch_resources=[Resource.OWNERS])
    assert isinstance(link, Link)
    assert (link.stale_in, link.fetch_resources, link.access_mode) == ("10d", ("OWNERS",), "recurrent")


async def test_patch_and_update_may_meet_a_second_factor(belvo: BelvoLinks) -> None:
    """With and without a callback."""
    link = await linked(belvo, Credentials("sim_mfa_update", "any"), access_mode="single")
    waiting = await belvo.patch(link.id, access_mode="recurrent", correlation="me")
    assert isinstance(waiting, PendingSession)
    assert (waiting.operation, waiting.correlation, waiting.link_id) == ("patch", "me", link.id)
    changed = await waiting.complete("111111")
    assert isinstance(changed, Link)
    assert changed.access_mode is AccessMode.RECURRENT

    async def answer(waiting: PendingSession) -> str:
        assert (waiting.operation, waiting.correlation) == ("update", ["me"])
        return "111111"

    updated = await belvo.update(link.id, Credentials(password="new"), correlation=["me"], on_challenge=answer)
    assert updated.id == link.id


async def test_update_makes_a_link_valid_again(box: Sandbox, belvo: BelvoLinks) -> None:
    """With new credentials and the same id."""
    (link_id,) = box.add_links(1, status="invalid")
    link = await belvo.update(link_id, Credentials(password="new"))
    assert isinstance(link, Link)
    assert (link.id, link.status) == (link_id, LinkStatus.VALID)


async def test_delete_is_accepted_and_done_later(box: Sandbox, belvo: BelvoLinks) -> None:
    """The webhook repeats the request id."""
    (link_id,) = box.add_links(1)
    accepted = await belvo.delete(link_id)
    assert isinstance(accepted, Accepted)
    assert accepted.link_id == link_id
    assert accepted.request_id
    assert box.link(link_id) is not None
    box.advance(minutes=1)
    assert box.link(link_id) is None


async def test_delete_waits_until_it_is_done(box: Sandbox, belvo: BelvoLinks) -> None:
    """If it is told to; at most five a minute."""
    ids = box.add_links(6)
    for link_id in ids[:5]:
        await belvo.delete(link_id, mode="sync")
        assert box.link(link_id) is None
    with pytest.raises(RateLimitedError) as caught:
        await belvo.delete(ids[5], mode="sync", timeout=5)
    assert caught.value.retry_after is not None


@pytest.mark.parametrize("fault", [Fault.drop_after(), Fault.truncate(), Fault.status_after(408), Fault.html(502)])
async def test_a_deletion_whose_reply_was_lost_and_that_finds_nothing_is_done(
    box: Sandbox, belvo: BelvoLinks, fault: Fault
) -> None:
    """The repetition's 404 is the proof."""
    (first, second) = box.add_links(2)
    box.inject(fault, method="DELETE")
    if fault.kind == "status":
        box.remove_link(first)  # a gateway's page says nothing about what happened behind it
    assert await belvo.delete(first, mode="sync") is None  # type: ignore[func-returns-value]  # that it is None
    box.inject(Fault.drop_before(), method="DELETE")
    box.remove_link(second)
    assert await belvo.delete(second) == Accepted(link_id=second, request_id=None)


async def test_a_deletion_that_finds_nothing_at_once_is_an_error(belvo: BelvoLinks) -> None:
    """Nobody has deleted it here."""
    with pytest.raises(NotFoundError):
        await belvo.delete(LINK_ID)


async def test_an_accepted_deletion_is_not_done_where_waiting_was_asked_for(box: Sandbox, belvo: BelvoLinks) -> None:
    """202 to a synchronous one is not what the documents promise."""
    (link_id,) = box.add_links(1)
    box.inject(Fault.status(202, {"request_id": "an-id"}), method="DELETE")
    with pytest.raises(UnexpectedResponseError):
        await belvo.delete(link_id, mode="sync")


async def test_refresh_is_accepted_and_then_cools_down(box: Sandbox, belvo: BelvoLinks) -> None:
    """For ten minutes."""
    link = await linked(belvo, access_mode="recurrent")
    accepted = await belvo.refresh(link.id, [Resource.ACCOUNTS])
    assert accepted.link_id == link.id
    assert accepted.request_id
    with pytest.raises(RefreshCooldownError) as caught:
        await belvo.refresh(link.id)
    assert caught.value.retry_after == timedelta(minutes=10)
    box.advance(minutes=11)
    assert (await belvo.refresh(link.id)).request_id != accepted.request_id


@pytest.mark.parametrize("name, operation", [("detail", "get"), ("delete", "delete"), ("refresh", "refresh")])
async def test_a_second_factor_where_none_is_expected(belvo: BelvoLinks, name: str, operation: str) -> None:
    """The pending session is on the error; completing it gives the link, and the call is made again."""
    link = await linked(belvo, Credentials(f"sim_mfa_{name}", "any"), access_mode="recurrent")
    calls: dict[str, Any] = {"get": belvo.get, "delete": belvo.delete, "refresh": belvo.refresh}
    with pytest.raises(MfaRequiredError) as caught:
        await calls[operation](link.id)
    waiting = caught.value.pending
    assert waiting is not None
    assert (waiting.operation, waiting.link_id) == (operation, link.id)
    assert caught.value.request_id == waiting.request_ids[0]
    completed = await (await belvo.pending(waiting.id)).complete("111111")
    assert isinstance(completed, Link)
    assert await calls[operation](link.id)


async def test_get_json_reads_anything_else(belvo: BelvoLinks) -> None:
    """Institutions with their form fields, say."""
    found = await belvo.get_json("/api/institutions/", {"name": BANK})
    assert isinstance(found, dict)
    (institution,) = found["results"]
    assert {field["name"] for field in institution["form_fields"]} == {"username", "password"}


async def test_iterate_pending_finds_this_accounts_sessions(box: Sandbox) -> None:
    """All, or those in one state; another account's are not its own."""
    store = client(box)._ledger._store
    theirs = box.add_account()
    async with client(box, store=store) as belvo, BelvoLinks(*theirs, base_url=box.url, store=store) as other:
        first, second = await pending(belvo), await pending(belvo)
        await pending(other)
        await second.cancel()
        assert {one.id async for one in belvo.iterate_pending()} == {first.id, second.id}
        assert [one.id async for one in belvo.iterate_pending("awaiting")] == [first.id]
        assert [one.state async for one in belvo.iterate_pending(second.state)] == ["cancelled"]
        with pytest.raises(ValueError, match="lost"):
            await drained(belvo.iterate_pending("lost"))


async def test_a_session_survives_as_text(box: Sandbox) -> None:
    """Across clients with stores of their own."""
    async with client(box) as first:
        text = (await pending(first, correlation=7)).to_json()
    async with client(box) as second:
        restored = second.restore(text)
        assert restored.correlation == 7
        assert isinstance(await restored.complete("111111"), Link)
        assert (await second.pending(restored.id)).state == "linked"
