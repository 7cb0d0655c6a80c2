"""What the record of requests proves, and how long it is kept."""

from datetime import UTC, datetime
from typing import Any

import pytest

from belvo_links.sandbox import Sandbox

START = datetime(2026, 3, 1, 9, tzinfo=UTC)


async def test_a_token_that_came_once(api: Any, box: Any) -> None:
    """In a Complete or in an update."""
    await api.complete(await api.challenge("sim_mfa_text"), "654321")
    box.assert_token_sent_once()
    box.assert_token_sent_once("654321")
    [link_id] = box.add_links(1)
    await api("PUT", f"/api/links/{link_id}/", {"password": "new", "token": "222222"})
    box.assert_token_sent_once("222222")
    box.assert_token_sent_once()


async def test_a_token_that_never_came(api: Any, box: Any) -> None:
    """The message says how much came instead, and not which token."""
    with pytest.raises(AssertionError, match="no request brought a token; there were no requests"):
        box.assert_token_sent_once()
    await api("PATCH", "/api/links/", {"token": 7})
    await api("POST", "/api/links/", {"token": "333333"})
    with pytest.raises(AssertionError, match="no request brought this token; there were 2 requests") as caught:
        box.assert_token_sent_once("333333")
    assert "333333" not in str(caught.value)


async def test_a_token_that_came_twice(api: Any, box: Any) -> None:
    """The message lists the requests that brought it."""
    challenge = await api.challenge("sim_mfa_text")
    for _ in range(2):
        await api.complete(challenge)
    for token in (None, "111111"):
        with pytest.raises(AssertionError) as caught:
            box.assert_token_sent_once(token)
        assert "was sent 2 times:\n  request 2: PATCH /api/links/, answered 201" in str(caught.value)
        assert "request 3: PATCH /api/links/, answered 400" in str(caught.value)
        assert "111111" not in str(caught.value)


async def test_the_same_token_for_two_logins_is_two_tokens(api: Any, box: Any) -> None:
    """Unless it is asked for by name."""
    for _ in range(2):
        await api.complete(await api.challenge("sim_mfa_text"))
    box.assert_token_sent_once()
    with pytest.raises(AssertionError):
        box.assert_token_sent_once("111111")


async def test_nothing_was_sent(api: Any, box: Any) -> None:
    """At all, or to one place."""
    box.assert_nothing_sent()
    await api("GET", "/api/links/")
    box.assert_nothing_sent("POST")
    box.assert_nothing_sent("GET", "/api/links/{id}/")
    with pytest.raises(AssertionError, match=r"1 request came:\n  request 1: GET /api/links/, answered 200"):
        box.assert_nothing_sent("GET")


async def test_duplicate_submissions_are_found(api: Any, box: Any) -> None:
    """The second of a token, the second of a registration; a poll without a token is none."""
    challenge = await api.challenge("sim_mfa_inputless")
    for _ in range(2):
        await api.complete(challenge, None)
    assert box.duplicate_submissions == []
    await api.register()
    await api.register("bnk102")
    await api.other_account().register()
    assert box.duplicate_submissions == []
    await api.register()
    challenge = await api.challenge("sim_mfa_text")
    for _ in range(3):
        await api.complete(challenge)
    assert [each.method for each in box.duplicate_submissions] == ["POST", "PATCH", "PATCH"]


async def test_the_busiest_half_minute(api: Any, box: Any) -> None:
    """Counted always, so that a test can hold it against 80."""
    assert box.peak_requests() == 0
    for pause in (0, 10, 15, 5, 29):
        box.advance(seconds=pause)
        await api("GET", "/api/")
    assert (box.peak_requests(), box.peak_requests(60), box.peak_requests(5)) == (3, 5, 1)


async def test_a_record_may_be_bounded(open_api: Any) -> None:
    """Requests, tokens and webhooks: the latest are kept."""
    async with Sandbox(clock=lambda: START, record_limit=2) as box:
        api = open_api(box)
        for token in ("222222", "333333", "444444"):
            await api.complete(await api.challenge("sim_mfa_text"), token)
        await api.link_id()
        box.advance(days=8)
        assert [(each.method, each.status) for each in box.requests] == [("PATCH", 428), ("POST", 201)]
        assert box.tokens == ["333333", "444444"]
        assert [each.type for each in box.webhooks] == ["OWNERS", "TRANSACTIONS"]
    with pytest.raises(ValueError):
        Sandbox(record_limit=0)


async def test_who_listens_everywhere_is_reached_here(open_api: Any) -> None:
    """A wildcard is no address to connect to."""
    async with Sandbox(host="0.0.0.0") as box:
        assert box.url.startswith("http://127.0.0.1:")
        assert (await open_api(box)("GET", "/api/links/")).status == 200
