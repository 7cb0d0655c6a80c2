"""Values that the documents do not allow: refused before anything is sent, named, and never shown."""

from collections.abc import Callable, Coroutine
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from belvo_links import BelvoLinks, Credentials, LinkFilter
from belvo_links.sandbox import Sandbox
from tests.client.making import BANK, GOOD, LINK_ID, pending
from tests.http.rude import told

HUSH = "hunter2"
Bad = Callable[[BelvoLinks], Coroutine[Any, Any, object]]


async def _iterate(belvo: BelvoLinks, filters: Any = None, **options: Any) -> None:
    async for _ in belvo.iterate(filters, **options):
        pass


def _register(**more: Any) -> Bad:
    return lambda belvo: belvo.register(BANK, Credentials("bnk100", HUSH), **more)


BAD: list[tuple[str, type[Exception], Bad]] = [
    ("institution", ValueError, lambda b: b.register("", GOOD)),
    ("institution", TypeError, lambda b: b.register(5, GOOD)),  # type: ignore[call-overload]
    ("credentials", TypeError, lambda b: b.register(BANK, {"password": HUSH})),  # type: ignore[call-overload]
    ("credentials", TypeError, lambda b: b.register(BANK, None)),  # type: ignore[call-overload]
    ("external_id", ValueError, _register(external_id="ab")),
    ("external_id", ValueError, _register(external_id=HUSH * 100)),
    ("external_id", TypeError, _register(external_id=42)),
    ("stale_in", ValueError, _register(stale_in=HUSH)),
    ("stale_in", ValueError, _register(stale_in="1000d")),
    ("credentials_storage", ValueError, _register(credentials_storage="366d")),
    ("credentials_storage", ValueError, _register(credentials_storage="30d", access_mode="recurrent")),
    ("credentials_storage", ValueError, _register(credentials_storage="nostore", fetch_resources=["OWNERS"])),
    ("fetch_resources", ValueError, _register(credentials_storage="nostore", access_mode="single")),
    ("fetch_resources", TypeError, _register(fetch_resources="OWNERS")),
    ("fetch_resources", ValueError, _register(fetch_resources=[""])),
    ("access_mode", TypeError, _register(access_mode=1)),
    ("correlation", ValueError, _register(correlation="x" * 511)),
    ("correlation", ValueError, _register(correlation=object())),
    ("timeout", ValueError, _register(timeout=0)),
    ("timeout", ValueError, _register(timeout=float("nan"))),
    ("certificate", ValueError, lambda b: b.register(BANK, _with_files(Path("/nowhere") / HUSH))),
    ("certificate", ValueError, lambda b: b.register(BANK, _with_files(Path(f"{HUSH}\0")))),
    ("pending_id", TypeError, lambda b: b.complete(42, HUSH)),  # type: ignore[arg-type]
    ("pending_id", TypeError, lambda b: b.pending(42)),  # type: ignore[arg-type]
    ("token", TypeError, lambda b: b.complete("an-id", 111111)),  # type: ignore[arg-type]
    ("token", ValueError, lambda b: b.complete("an-id", f"{HUSH}\ud800")),
    ("round", TypeError, lambda b: b.complete("an-id", HUSH, round="1")),  # type: ignore[arg-type]
    ("link_id", ValueError, lambda b: b.get(HUSH)),
    ("link_id", ValueError, lambda b: b.get(f"{LINK_ID}/../{HUSH}")),
    ("link_id", TypeError, lambda b: b.get(None)),  # type: ignore[arg-type]
    ("link_id", ValueError, lambda b: b.delete(HUSH)),
    ("link_id", ValueError, lambda b: b.refresh(HUSH)),
    ("link_id", ValueError, lambda b: b.patch(HUSH, stale_in="90d")),
    ("link_id", ValueError, lambda b: b.update(HUSH, Credentials(password="new"))),
    ("mode", ValueError, lambda b: b.delete(LINK_ID, mode=HUSH)),  # type: ignore[call-overload]
    ("fetch_resources", TypeError, lambda b: b.refresh(LINK_ID, "OWNERS")),
    ("patch", ValueError, lambda b: b.patch(LINK_ID)),
    ("stale_in", ValueError, lambda b: b.patch(LINK_ID, stale_in=HUSH)),
    ("password", ValueError, lambda b: b.update(LINK_ID, Credentials(password2=HUSH))),
    ("username", ValueError, lambda b: b.update(LINK_ID, Credentials(HUSH, HUSH))),
    ("credentials", TypeError, lambda b: b.update(LINK_ID, HUSH)),  # type: ignore[call-overload]
    ("page", ValueError, lambda b: b.page(page=0)),
    ("page", TypeError, lambda b: b.page(page="1")),  # type: ignore[call-overload]
    ("page_size", ValueError, lambda b: b.page(page_size=0)),
    ("page_size", ValueError, lambda b: b.page(page_size=1001, fields=["id"])),
    ("page_size", ValueError, lambda b: _iterate(b, page_size=1001)),
    ("concurrency", ValueError, lambda b: _iterate(b, concurrency=0)),
    ("concurrency", TypeError, lambda b: _iterate(b, concurrency=1.5)),
    ("timeout", ValueError, lambda b: _iterate(b, timeout=-1)),
    ("fields", ValueError, lambda b: b.page(fields=[])),
    ("fields", ValueError, lambda b: b.page(fields=["id,status"])),
    ("omit", TypeError, lambda b: b.page(omit="id")),
    ("filters", ValueError, lambda b: b.page(LinkFilter(id__in=_many_ids()))),
    ("filters", TypeError, lambda b: b.page({"status": HUSH})),  # type: ignore[call-overload]
    ("filters", TypeError, lambda b: b.count({})),  # type: ignore[arg-type]
    ("filters", TypeError, lambda b: _iterate(b, {"status": HUSH})),
    ("created_by__not_in", ValueError, lambda b: b.count(LinkFilter(created_by__not_in=_many_ids()))),
    ("created_by__not_in", ValueError, lambda b: _iterate(b, LinkFilter(created_by__not_in=_many_ids()))),
    ("path", ValueError, lambda b: b.get_json("https://evil.example/api/")),
    ("path", ValueError, lambda b: b.get_json("/api/../admin/")),
    ("path", ValueError, lambda b: b.get_json("//evil.example/api/")),
    ("path", ValueError, lambda b: b.get_json(f"/api/links/?password={HUSH}")),
    ("a", TypeError, lambda b: b.get_json("/api/institutions/", {"a": object()})),  # type: ignore[dict-item]
    ("a", ValueError, lambda b: b.get_json("/api/institutions/", {"a": [f"{HUSH},"]})),
]


def _with_files(path: Path) -> Credentials:
    return Credentials("one", "two", certificate=path, private_key=b"a key")


def _many_ids() -> list[str]:
    return [f"{number:08x}-4a4f-4dd6-8be0-e615d233185b" for number in range(500)]


@pytest.mark.parametrize("named, kind, call", BAD, ids=[f"{row[0]}-{number}" for number, row in enumerate(BAD)])
async def test_it_is_refused_before_anything_is_sent(
    box: Sandbox, belvo: BelvoLinks, named: str, kind: type[Exception], call: Bad
) -> None:
    """By a `ValueError` or a `TypeError` that names the field and shows no value, nor does anything behind it."""
    with pytest.raises(kind) as caught:
        await call(belvo)
    assert str(caught.value).startswith(f"{named}: ")
    assert HUSH not in told(caught.value)
    assert box.requests == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: LinkFilter(created_at=date(2025, 1, 1), status=""),
        lambda: LinkFilter(id=HUSH),
        lambda: LinkFilter(institution=f"{HUSH}!"),
        lambda: Credentials("one", HUSH, certificate=b"a certificate"),
        lambda: Credentials("one", HUSH, certificate=HUSH, private_key=b"a key"),  # type: ignore[arg-type]
    ],
)
def test_filters_and_credentials_are_checked_where_they_are_made(make: Callable[[], object]) -> None:
    """So that the error points at the place."""
    with pytest.raises((ValueError, TypeError)) as caught:
        make()
    assert HUSH not in told(caught.value)


async def test_deleting_the_link_of_anything_but_a_registration_is_refused(box: Sandbox, belvo: BelvoLinks) -> None:
    """Such a link was there before."""
    link = await belvo.register(BANK, Credentials("sim_mfa_update", "any"), access_mode="single")
    waiting = await belvo.update(link.id, Credentials(password="new"))
    before = box.count()
    with pytest.raises(ValueError, match=r"^delete_link: "):
        await waiting.cancel(delete_link=True)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"^wait: "):
        await (await pending(belvo)).wait()
    assert box.count() == before + 1
