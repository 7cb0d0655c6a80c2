"""What was cut, edited, swapped or of another version, in every store: it is said which, and nothing is sent."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import pytest

from belvo_links import BelvoLinks, BelvoLinksError, PendingSession, SealError, StoredFormatError
from belvo_links.sandbox import Sandbox
from belvo_links.stores import MemoryStore, PendingStore, PostgresStore, RedisStore, SqliteStore, new_key
from belvo_links.stores.contract import claimed, fresh_record
from tests.mfa.helpers import GOOD, client, link, register
from tests.stores import editing
from tests.stores.editing import Fields
from tests.stores.places import MemoryPlace, Place, PostgresPlace, RedisPlace, SqlitePlace
from tests.stores.table import Kind

KEYS: Final = [new_key()]
OTHER_KEYS: Final = [new_key()]

CUT: Final = "it may have been cut"
NO_RECORD: Final = "not a stored pending session"
VERSION: Final = "a version that this package does not read"
FIELDS: Final = "its fields are not what was written"
BESIDE: Final = "what is kept beside it contradicts it"
ANOTHERS: Final = "it stands in the place of another"


class Change(NamedTuple):
    """What somebody does to what is kept, and what every use of it then says.

    Attributes:
        edit: makes the new fields of the old ones and those of another session.
        plain: a part of the ``StoredFormatError``, or the reason of the ``SealError``, of a store without keys.
        sealed: the same of a store with keys; ``None`` where the change cannot be made to sealed text.
    """

    edit: Callable[[Fields, Fields], Fields]
    plain: str
    sealed: str | None


def record(edit: Callable[[str], str]) -> Callable[[Fields, Fields], Fields]:
    """Return what edits the text."""
    return lambda mine, other: {**mine, "record": edit(mine["record"])}


def within(edit: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Callable[[Fields, Fields], Fields]:
    """Return what edits the fields inside of the text."""
    return record(lambda text: json.dumps(edit(json.loads(text))))


def beside(**changed: object) -> Callable[[Fields, Fields], Fields]:
    """Return what edits what stands beside the text."""
    return lambda mine, other: {**mine, **changed}


def swap(fields: Mapping[str, Any], one: str, other: str) -> dict[str, Any]:
    """Return the fields, two of them swapped."""
    return {**fields, one: fields[other], other: fields[one]}


def without(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the fields but one."""
    return {key: value for key, value in fields.items() if key != name}


def swapped_halves(text: str) -> str:
    """Return sealed text, still well-formed, with the halves of its ciphertext swapped."""
    mark, ciphertext = text[:48], text[48:]
    half = len(ciphertext) // 8 * 4
    return mark + ciphertext[half : 2 * half] + ciphertext[:half] + ciphertext[2 * half :]


CHANGES: Final[Mapping[str, Change]] = {
    "cut": Change(record(lambda text: text[:120]), CUT, "changed"),
    "all but its end cut": Change(record(lambda text: text[120:]), CUT, "not_sealed"),
    "emptied": Change(record(lambda text: ""), CUT, "not_sealed"),
    "of another kind": Change(record(lambda text: '{"linked":true}'), NO_RECORD, "not_sealed"),
    "of another version": Change(
        record(lambda text: text.replace('_pending":1,', '_pending":2,').replace("bls1.", "bls2.")),
        VERSION,
        "unknown_version",
    ),
    "one character": Change(record(lambda text: f"{text[:99]}!{text[100:]}"), FIELDS, "changed"),
    "halves swapped": Change(record(swapped_halves), CUT, "changed"),
    "a state by hand": Change(within(lambda fields: {**fields, "state": "paid"}), FIELDS, None),
    "a round by hand": Change(within(lambda fields: {**fields, "round": 2}), BESIDE, None),
    "a field less": Change(within(lambda fields: without(fields, "claim")), FIELDS, None),
    "a field more": Change(within(lambda fields: {**fields, "extra": 1}), FIELDS, None),
    "session and link swapped": Change(within(lambda fields: swap(fields, "session", "link_id")), FIELDS, None),
    "round and revision swapped": Change(within(lambda fields: swap(fields, "round", "revision")), FIELDS, None),
    "another's text": Change(lambda mine, other: {**mine, "record": other["record"]}, ANOTHERS, "other_record"),
    "another's, as a whole": Change(lambda mine, other: other, ANOTHERS, "other_record"),
    "the state beside it": Change(beside(state="linked"), BESIDE, BESIDE),
    "a state that is none": Change(beside(state="paid"), BESIDE, BESIDE),
    "the round beside it": Change(beside(round=2), BESIDE, BESIDE),
    "the revision beside it": Change(beside(revision=7), BESIDE, BESIDE),
    "the claim beside it": Change(beside(claim="somebody"), BESIDE, BESIDE),
    "columns swapped": Change(lambda mine, other: swap(mine, "round", "revision"), BESIDE, BESIDE),
}  # fmt: skip


def open_store(place: Place, keys: list[str] | None) -> PendingStore:
    """Return a store at a place; whoever uses it closes it."""
    match place:
        case MemoryPlace():
            store = MemoryStore(keys=keys)
            store._entries = place._store._entries
            place._store = store
            return store
        case SqlitePlace():
            return SqliteStore(place.path, keys=keys)
        case RedisPlace():
            return RedisStore(place.server.url, namespace=place.namespace, keys=keys)
        case PostgresPlace():
            return PostgresStore(place.server.dsn, table=place.table, keys=keys)
    raise TypeError


async def uses(belvo: BelvoLinks, asked: PendingSession) -> set[str]:
    """Return what every use of a session says: by its handle, by its id, and brought back from text."""
    again = belvo.restore(asked.to_json())
    calls = [call for one in (asked, again) for call in (one.complete(GOOD), one.cancel(), one.reconcile())]
    by_id = (belvo.complete(asked.id, GOOD), belvo.complete(asked.id, GOOD, round=1), belvo.pending(asked.id))
    said = set()
    for call in (*calls, *by_id):
        with pytest.raises(BelvoLinksError) as caught:
            await call
        said.add(what(caught.value))
    return said


def what(error: BelvoLinksError) -> str:
    """Return which of the known ways an error names."""
    if isinstance(error, SealError):
        return error.reason
    assert isinstance(error, StoredFormatError), repr(error)
    [found] = [each for each in (CUT, VERSION, FIELDS, BESIDE, ANOTHERS, NO_RECORD) if each in str(error)][:1]
    return found


STORES = [(kind, sealed) for kind in Kind for sealed in (False, True) if (kind, sealed) != (Kind.MEMORY, False)]
"""A ``MemoryStore`` without keys keeps objects and no text, which nobody can edit."""


@pytest.mark.parametrize("kind, sealed", STORES, ids=[f"{kind}{' with keys' * sealed}" for kind, sealed in STORES])
async def test_a_record_that_was_changed_is_told_and_nothing_is_sent(
    box: Sandbox, place: Place, kind: Kind, sealed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """By whatever use; iterating passes it over and names it, purging removes it, the others are none the worse."""
    says = {how: each.sealed if sealed else each.plain for how, each in CHANGES.items()}
    expected = {how: {said} for how, said in says.items() if said is not None}
    seen: dict[str, set[str]] = {}
    store = open_store(place, KEYS if sealed else None)
    async with client(box, store=store) as belvo:
        other = await register(belvo)
        changed = {how: await register(belvo) for how in expected}
        before = box.served
        for how, asked in changed.items():
            edited = CHANGES[how].edit(editing.read(place, asked.id), editing.read(place, other.id))
            editing.write(place, asked.id, edited)
            async with asyncio.timeout(10):  # no call tries for ever
                seen[how] = await uses(belvo, asked)
        assert seen == expected
        with caplog.at_level(logging.WARNING, logger="belvo_links"):
            assert [each.id async for each in belvo.iterate_pending("awaiting")] == [other.id]
            assert [each.id async for each in belvo.iterate_pending()] == [other.id]
        assert [how for how, asked in changed.items() if asked.id not in caplog.text] == []
        assert box.served == before
        assert link(await other.complete(GOOD)).status == "valid"
        assert await store.purge(box.clock().replace(year=9999)) == len(changed) + 1
    assert box.tokens == [GOOD]


WAYS: Final = ((KEYS, OTHER_KEYS, "unknown_key"), (KEYS, None, "no_keys"), (None, KEYS, "not_sealed"))
"""The keys that wrote a record, those that are to read it, and what is said."""


@pytest.mark.parametrize("kind", Kind)
async def test_keys_that_are_missing_wrong_or_new_are_told_and_nothing_is_sent(
    box: Sandbox, place: Place, kind: Kind
) -> None:
    """What is there and cannot be read is not missing, and stays as it is."""
    for written, reading, reason in WAYS:
        if (kind, written) == (Kind.MEMORY, None):
            continue  # it keeps objects, and there is no text to be read
        async with client(box, store=open_store(place, written)) as belvo:
            asked = await register(belvo)
        kept, before = editing.read(place, asked.id), box.served
        async with client(box, store=open_store(place, reading)) as belvo:
            assert await uses(belvo, belvo.restore(asked.to_json())) == {reason}
            assert [each async for each in belvo.iterate_pending()] == []
        assert (box.served, editing.read(place, asked.id)) == (before, kept)
        await place.empty()


@pytest.mark.parametrize("kind", [Kind.SQLITE, Kind.REDIS, Kind.POSTGRES])
async def test_an_id_that_was_changed_writes_no_line_of_its_own_into_the_log(
    place: Place, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    """It may hold anything by then."""
    store = open_store(place, None)
    changed, whole = fresh_record(), fresh_record()
    for each in (changed, whole):
        await store.insert(each)
    editing.rename(place, changed.id, "a\nroot: all is well\x1b[2J")
    with caplog.at_level(logging.WARNING, logger="belvo_links"):
        assert [each.id async for each in store.iterate()] == [whole.id]
    await store.aclose()
    assert "a\\nroot: all is well\\x1b" in caplog.text
    assert "\nroot" not in caplog.text


# ------------------------------------------------------------------------------ what Redis keeps without a look at it


@pytest.fixture
def kind() -> Kind:
    return Kind.REDIS


def change(place: RedisPlace, pending_id: bytes, **fields: str) -> None:
    with place.admin() as plain:
        for name, value in fields.items():
            plain.hset(f"{place.namespace}:pending:".encode() + pending_id, name, value)


async def test_times_that_are_no_numbers_hinder_nobody(place: RedisPlace) -> None:
    """A lease that cannot be read is over: the session is indeterminate, and no token is sent. Purging goes on."""
    async with RedisStore(place.server.url, namespace=place.namespace) as store:
        held, whole = fresh_record(), fresh_record()
        for each in (held, whole):
            await store.insert(each)
        assert await store.swap(held, claimed(held), lease=60)
        change(place, held.id.encode(), lease_until="tomorrow", expires_at="never")
        found = await store.load(held.id)
        assert found is not None
        assert (found.record, found.lease_left) == (claimed(held), None)
        assert {each.id async for each in store.iterate()} == {held.id, whole.id}
        assert await store.purge(whole.expires_at.replace(year=9999)) == 1
        assert await store.load(whole.id) is None


async def test_a_key_that_is_no_text_hinders_nobody(place: RedisPlace, caplog: pytest.LogCaptureFixture) -> None:
    """It is passed over like every record that cannot be read."""
    async with RedisStore(place.server.url, namespace=place.namespace) as store:
        whole = fresh_record()
        await store.insert(whole)
        change(place, b"\xff\xfe", seen="awaiting 1 0", record="{}")
        with caplog.at_level(logging.WARNING, logger="belvo_links"):
            assert [each.id async for each in store.iterate()] == [whole.id]
        assert "\\udcff\\udcfe" in caplog.text


async def test_a_key_of_another_type_hinders_nobody(place: RedisPlace, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody else's key below our namespace."""
    async with RedisStore(place.server.url, namespace=place.namespace) as store:
        whole = fresh_record()
        await store.insert(whole)
        with place.admin() as plain:
            plain.set(f"{place.namespace}:pending:other", "a text")
        with caplog.at_level(logging.WARNING, logger="belvo_links"):
            assert [each.id async for each in store.iterate()] == [whole.id]
            assert [each.id async for each in store.iterate(whole.state)] == [whole.id]
        assert await store.purge(whole.expires_at.replace(year=9999)) == 1
