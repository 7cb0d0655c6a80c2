"""Unmistakable secrets go through everything, and are looked for in events, spans and metrics."""

import json
import re

from belvo_links import BelvoLinks, Credentials, Link, LinkFilter, RateLimit, RetryPolicy
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.stores import MemoryStore
from tests.mfa import table
from tests.mfa.helpers import LINK, Failing
from tests.mfa.test_canary import BASIC, PRINTED, SECRET_ID, SECRET_PASSWORD, Canary, _everything
from tests.observing import Everything

EXTERNAL_ID = "canary-external-id-4711"
UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-")


async def test_no_observer_is_told_a_secret_of_a_login() -> None:
    """All that can happen to one, the store failing too: no credential, token, session or key, and no id of a link."""
    canary, watching = Canary(), Everything()
    async with Sandbox(seed=1, secret_id=SECRET_ID, secret_password=SECRET_PASSWORD) as box:
        texts = await _everything(box, canary, Failing(MemoryStore()), watching.observer)
    told = watching.text()
    stored = [json.loads(text) for text in texts]
    sessions = {each["session"] for each in stored if each["session"] is not None}
    assert len(sessions) == 3
    for secret in (*PRINTED, *sessions, *(each["link_id"] for each in stored), "user-42"):
        assert secret not in told
    assert BASIC.search(told) is None
    assert UUID.search(told) is None
    assert all(each["id"] in told for each in stored)  # the search finds what is there
    assert {type(event).__name__ for event in watching.recorder.events} == {
        "Attempted",
        "Challenged",
        "Claimed",
        "Settled",
    }
    assert len(watching.spans) == len(watching.recorder.calls) > 5 * len(table.FAULTS)


async def test_no_observer_is_told_whom_a_call_is_about() -> None:
    """Neither a link's id in an address, nor an external id in a query or a body, nor a word of an echo."""
    watching = Everything()
    async with (
        Sandbox(seed=1, secret_id=SECRET_ID, secret_password=SECRET_PASSWORD) as box,
        BelvoLinks(
            SECRET_ID,
            SECRET_PASSWORD,
            base_url=box.url,
            rate_limit=RateLimit(99, 1),
            retry=RetryPolicy(base=0),
            observer=watching.observer,
        ) as belvo,
    ):
        made = await belvo.register("erebor_mx_retail", Credentials("bnk100", "full"), external_id=EXTERNAL_ID)
        assert isinstance(made, Link)
        box.inject(
            Fault.status(503, [{"code": "canary", "request_id": f"canary {made.id}"}]),
            times=2,
            method="GET",
            template=LINK,
        )
        await belvo.get(made.id)
        await belvo.patch(made.id, stale_in="90d")
        assert await belvo.count(LinkFilter(external_id=EXTERNAL_ID)) == 1
        assert (await belvo.page(LinkFilter(id=made.id))).count == 1
        assert [each.id async for each in belvo.iterate(LinkFilter(external_id=EXTERNAL_ID))] == [made.id]
        await belvo.refresh(made.id)
        await belvo.delete(made.id)
        assert any(EXTERNAL_ID in request.query for request in box.requests)
    told = watching.text()
    assert "canary" not in told
    assert made.id not in told
    assert "/api/links/{id}/refresh/" in told
    assert {type(event).__name__ for event in watching.recorder.events} == {"Attempted", "Retrying", "LimitWaited"}
