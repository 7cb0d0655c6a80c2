"""Clients, credentials and links for tests."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Unpack

from belvo_links import BelvoLinks, ClientOptions, Credentials, Link, LinkFilter, PendingSession, RetryPolicy
from belvo_links.sandbox import Sandbox

EXAMPLES = Path(__file__).parents[1] / "payloads" / "examples"
BANK = "erebor_mx_retail"
MFA_BANK = "heimdall_mx_retail"
LINK_ID = "e4bb1afb-4a4f-4dd6-8be0-e615d233185b"
LINKS = "/api/links/"
ONE_LINK = "/api/links/{id}/"
GOOD = Credentials("bnk100", "full")
NUMERIC = Credentials("mfa_numeric", "numeric_code")
AT_ONCE = RetryPolicy(base=0)  # three attempts, no waiting between them

Call = Callable[[BelvoLinks], Awaitable[object]]


def client(box: Sandbox, **options: Unpack[ClientOptions]) -> BelvoLinks:
    """A client of the simulator that repeats calls without waiting."""
    settings: ClientOptions = {"base_url": box.url, "retry": AT_ONCE, **box.client_options, **options}
    return BelvoLinks(box.secret_id, box.secret_password, **settings)


def example(name: str) -> Any:
    """The body of a documented reply."""
    return json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["response"]["body"]


async def pending(belvo: BelvoLinks, username: str = "sim_mfa_text", **more: Any) -> PendingSession:
    """A registration that waits for its second factor."""
    password = "numeric_code" if username == "mfa_numeric" else "any"
    outcome = await belvo.register(MFA_BANK, Credentials(username, password), access_mode="single", **more)
    assert isinstance(outcome, PendingSession)
    return outcome


async def linked(belvo: BelvoLinks, credentials: Credentials = GOOD, **more: Any) -> Link:
    """A link that was registered without a second factor."""
    outcome = await belvo.register(BANK, credentials, **more)
    assert isinstance(outcome, Link)
    return outcome


async def drained(links: Any) -> list[Link]:
    """Everything that an iteration yields."""
    return [link async for link in links]


async def _all_pending(belvo: BelvoLinks) -> list[PendingSession]:
    return [one async for one in belvo.iterate_pending()]


EVERY_COROUTINE: Mapping[str, Call] = {
    "register": lambda belvo: belvo.register(BANK, GOOD),
    "complete": lambda belvo: belvo.complete("an-id", "111111"),
    "get": lambda belvo: belvo.get(LINK_ID),
    "page": lambda belvo: belvo.page(),
    "partial page": lambda belvo: belvo.page(fields=["id"]),
    "count": lambda belvo: belvo.count(LinkFilter(status="valid")),
    "iterate": lambda belvo: drained(belvo.iterate()),
    "patch": lambda belvo: belvo.patch(LINK_ID, stale_in="90d"),
    "update": lambda belvo: belvo.update(LINK_ID, Credentials(password="new")),
    "delete": lambda belvo: belvo.delete(LINK_ID),
    "refresh": lambda belvo: belvo.refresh(LINK_ID),
    "get_json": lambda belvo: belvo.get_json("/api/institutions/"),
    "pending": lambda belvo: belvo.pending("an-id"),
    "iterate_pending": _all_pending,
}
"""Every coroutine of the client, each called in a way that would reach the service or the store."""
