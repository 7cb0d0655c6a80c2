"""The SQLite store keeps the contract, its file to itself, and its errors in the family."""

import asyncio
import logging
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from belvo_links import SealError, SealReason, StoredFormatError, StoreError
from belvo_links.protocol.mfa import Cancelled, advance
from belvo_links.stores import SqliteStore, new_key
from belvo_links.stores.contract import PendingStoreContract, claimed, fresh_record

KEY, OTHER_KEY = new_key(), new_key()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pending.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path) as store:
        yield store


class TestSqliteStore(PendingStoreContract):
    """The contract, also between processes."""

    @pytest.fixture
    def elsewhere(self, path: Path) -> str:
        """Open the same file."""
        return f"from belvo_links.stores import SqliteStore\nstore = SqliteStore({str(path)!r})"


class TestSqliteStoreWithKeys(PendingStoreContract):
    """The contract with everything encrypted, also between processes."""

    @pytest.fixture
    async def store(self, path: Path) -> AsyncIterator[SqliteStore]:
        """Give an empty store."""
        async with SqliteStore(path, keys=[KEY]) as store:
            yield store

    @pytest.fixture
    def elsewhere(self, path: Path) -> str:
        """Open the same file with the same key."""
        return f"from belvo_links.stores import SqliteStore\nstore = SqliteStore({str(path)!r}, keys=[{KEY!r}])"


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement, values)


async def test_a_record_survives_a_restart(path: Path) -> None:
    """What one store object wrote, another one reads."""
    record = fresh_record()
    async with SqliteStore(path) as first:
        await first.insert(record)
    async with SqliteStore(path) as second:
        found = await second.load(record.id)
    assert found is not None
    assert found.record == record


async def test_the_files_are_for_their_owner_alone(store: SqliteStore, path: Path) -> None:
    """The database and its side files have mode 0600, whatever the umask."""
    before = os.umask(0)
    try:
        await store.insert(fresh_record())
    finally:
        os.umask(before)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert set(modes) >= {"pending.db", "pending.db-wal"}
    assert set(modes.values()) == {0o600}


async def test_a_file_that_others_may_read_is_closed_to_them(path: Path) -> None:
    """A file that somebody made with a wider mode is narrowed before anything is written."""
    path.touch(mode=0o644)
    async with SqliteStore(path) as store:
        await store.insert(fresh_record())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_settled_record_leaves_no_session_in_the_files(path: Path) -> None:
    """Settling erases Belvo's session; once the store is closed, no file holds it."""
    record = fresh_record()
    async with SqliteStore(path) as store:
        await store.insert(record)
        await store.swap(record, advance(record, Cancelled(), now=record.created_at))
    assert record.session is not None
    everything = b"".join(each.read_bytes() for each in path.parent.iterdir())
    assert record.id.encode() in everything
    assert record.session.reveal().encode() not in everything


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.write_bytes(b"no database" * 100), id="no database"),
        pytest.param(lambda path: path.mkdir(), id="a folder"),
        pytest.param(lambda path: change(path, "PRAGMA user_version = 99"), id="a later schema"),
    ],
)
async def test_a_file_that_cannot_be_used_is_a_store_error(path: Path, spoil: object) -> None:
    """Nothing of SQLite's errors gets out, and the path is not shown."""
    assert callable(spoil)
    spoil(path)
    async with SqliteStore(path) as store:
        with pytest.raises(StoreError) as caught:
            await store.insert(fresh_record())
    assert str(path) not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_missing_folder_is_a_store_error(tmp_path: Path) -> None:
    """The folder is the caller's to make."""
    async with SqliteStore(tmp_path / "nowhere" / "pending.db") as store:
        with pytest.raises(StoreError):
            await store.load("any")


async def test_a_locked_file_is_a_store_error_in_bounded_time(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that holds the lock does not make calls hang."""
    monkeypatch.setattr("belvo_links.stores.sqlite.BUSY_SECONDS", 0.05)
    record = fresh_record()
    await store.insert(record)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError):
            await store.swap(record, claimed(record), lease=1.0)
        other.execute("ROLLBACK")
    assert await store.swap(record, claimed(record), lease=1.0)


async def test_a_new_file_that_another_process_is_making_is_waited_for(path: Path) -> None:
    """SQLite itself refuses at once to change the journal of a file that is being written to."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE anything (x)")
        async with SqliteStore(path) as store:
            inserting = asyncio.create_task(store.insert(fresh_record()))
            await asyncio.wait((inserting,), timeout=0.1)
            other.execute("ROLLBACK")
            assert await inserting


async def test_a_record_of_an_unknown_version_is_told_apart(
    path: Path, store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Loading says so; iterating passes it over and says so in the log."""
    strange, known = fresh_record(), fresh_record()
    for record in (strange, known):
        await store.insert(record)
    newer = "replace(record, '\"belvo_links_pending\":1', '\"belvo_links_pending\":99')"
    change(path, f"UPDATE belvo_pending SET record = {newer} WHERE id = ?", strange.id)
    with pytest.raises(StoredFormatError):
        await store.load(strange.id)
    with caplog.at_level(logging.WARNING, logger="belvo_links"):
        assert [record.id async for record in store.iterate()] == [known.id]
    assert strange.id in caplog.text


# ---------------------------------------------------------------------------------------------------------- with keys


async def refused(store: SqliteStore, pending_id: str) -> SealReason:
    with pytest.raises(SealError) as caught:
        await store.load(pending_id)
    assert caught.value.__cause__ is None
    return caught.value.reason


async def test_keys_are_rotated(path: Path) -> None:
    """The new one first and the old one behind it: what the old one sealed is read, and written with the new one."""
    first, second = fresh_record(), fresh_record()
    async with SqliteStore(path, keys=[OTHER_KEY]) as before:
        for record in (first, second):
            await before.insert(record)
    async with SqliteStore(path, keys=[KEY, OTHER_KEY]) as meanwhile:
        assert {record.id async for record in meanwhile.iterate()} == {first.id, second.id}
        assert await meanwhile.swap(first, claimed(first))
    async with SqliteStore(path, keys=[KEY]) as after:
        found = await after.load(first.id)
        assert found is not None
        assert found.record == claimed(first)
        assert await refused(after, second.id) is SealReason.UNKNOWN_KEY


@pytest.mark.parametrize(
    "written, read, reason",
    [
        ([KEY], [OTHER_KEY], SealReason.UNKNOWN_KEY),
        ([KEY], None, SealReason.NO_KEYS),
        (None, [KEY], SealReason.NOT_SEALED),
    ],
)
async def test_a_wrong_key_is_no_missing_record(
    path: Path,
    written: list[str] | None,
    read: list[str] | None,
    reason: SealReason,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Loading says so; iterating passes it over and says so in the log; its place is taken; purging needs no key."""
    record, own = fresh_record(), fresh_record()
    async with SqliteStore(path, keys=written) as one:
        await one.insert(record)
    async with SqliteStore(path, keys=read) as other:
        await other.insert(own)
        assert await refused(other, record.id) is reason
        with caplog.at_level(logging.WARNING, logger="belvo_links"):
            assert [each.id async for each in other.iterate()] == [own.id]
        assert record.id in caplog.text
        assert KEY not in caplog.text
        assert not await other.insert(record)
        assert await other.purge(record.expires_at + timedelta(hours=25)) == 2


async def test_with_keys_the_file_holds_nothing_in_clear(path: Path) -> None:
    """Neither the database nor what SQLite writes beside it, before and after a change; without keys, all of it."""
    record = attrs.evolve(fresh_record(), correlation={"user": "canary-correlation"}, request_ids=("canary-request",))
    assert record.session is not None
    assert record.challenge is not None
    assert record.challenge.instructions is not None
    secret = (
        record.session.reveal(),
        record.challenge.instructions,
        "canary-correlation",
        "canary-request",
        record.link_id,
        record.origin,
        "register",
    )

    async def written(keys: list[str] | None, where: Path) -> bytes:
        where.mkdir()
        async with SqliteStore(where / "pending.db", keys=keys) as store:
            await store.insert(record)
            await store.swap(record, claimed(record), lease=1.0)
            everything = b"".join(each.read_bytes() for each in where.iterdir())
        return everything + b"".join(each.read_bytes() for each in where.iterdir())

    plain = await written(None, path.parent / "plain")
    sealed = await written([KEY], path.parent / "sealed")
    assert all(text.encode() in plain for text in secret)
    assert not any(text.encode() in sealed for text in secret)
    assert KEY.rstrip("=").encode() not in sealed
    assert record.id.encode() in sealed


# ------------------------------------------------------------------------------------------------- changed by hand


COLUMNS = {
    "state": "'submitting'",
    "round": "7",
    "revision": "7",
    "claim": "'somebody'",
}


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("keys", [None, [KEY]])
async def test_a_column_that_was_changed_is_noticed(path: Path, column: str, keys: list[str] | None) -> None:
    """No claim on such a record could ever succeed: it is said instead of tried for ever."""
    record = fresh_record()
    async with SqliteStore(path, keys=keys) as store:
        await store.insert(record)
        change(path, f"UPDATE belvo_pending SET {column} = {COLUMNS[column]}")
        assert not await store.swap(record, claimed(record))
        with pytest.raises(StoredFormatError, match="contradicts"):
            await store.load(record.id)
        assert [each async for each in store.iterate()] == []


async def test_records_in_each_others_places_are_noticed(path: Path) -> None:
    """With what stands beside them, too: a record is bound to its id."""
    one, two = fresh_record(), fresh_record()
    others = "SELECT record FROM copy WHERE copy.id <> belvo_pending.id"
    async with SqliteStore(path, keys=[KEY]) as store:
        for record in (one, two):
            await store.insert(record)
        change(path, "CREATE TABLE copy AS SELECT * FROM belvo_pending")
        change(path, f"UPDATE belvo_pending SET record = ({others})")
        for record, other in ((one, two), (two, one)):
            with pytest.raises(SealError) as caught:
                await store.load(record.id)
            assert (caught.value.reason, caught.value.pending_id) == (SealReason.OTHER_RECORD, other.id)
        assert [each async for each in store.iterate()] == []


async def test_an_older_text_is_noticed_and_an_older_row_is_not(path: Path) -> None:
    """What stands beside it has moved on; whoever puts a whole row back has put the record back."""
    record = fresh_record()
    columns = "state, round, revision, claim, record"
    async with SqliteStore(path, keys=[KEY]) as store:
        await store.insert(record)
        change(path, "CREATE TABLE copy AS SELECT * FROM belvo_pending")
        assert await store.swap(record, claimed(record))
        change(path, "UPDATE belvo_pending SET record = (SELECT record FROM copy)")
        with pytest.raises(StoredFormatError, match="contradicts"):
            await store.load(record.id)
        change(path, f"UPDATE belvo_pending SET ({columns}) = (SELECT {columns} FROM copy)")
        found = await store.load(record.id)
        assert found is not None
        assert found.record == record


@pytest.mark.parametrize(
    "record",
    [
        pytest.param("substr(record, 1, 50)", id="cut"),
        pytest.param("''", id="emptied"),
        pytest.param("CAST(substr(CAST(record AS BLOB), 1, 50) || x'c3' AS TEXT)", id="cut inside a character"),
        pytest.param("CAST(x'ff00fe' AS TEXT)", id="no text"),
    ],
)
@pytest.mark.parametrize("keys", [None, [KEY]])
async def test_a_record_that_was_damaged_is_told_and_spoils_no_other(
    path: Path, record: str, keys: list[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Iterating goes on behind it."""
    damaged, whole = fresh_record(), fresh_record()
    async with SqliteStore(path, keys=keys) as store:
        for each in (damaged, whole):
            await store.insert(each)
        change(path, f"UPDATE belvo_pending SET record = {record} WHERE id = ?", damaged.id)
        with pytest.raises((StoredFormatError, SealError)) as caught:
            await store.load(damaged.id)
        assert isinstance(caught.value, SealError) == (keys is not None)
        assert [found.id async for found in store.iterate()] == [whole.id]
    assert damaged.id in caplog.text


async def test_an_id_that_was_changed_writes_no_line_of_its_own_into_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may hold anything by then."""
    async with SqliteStore(path) as store:
        await store.insert(fresh_record())
        change(path, "UPDATE belvo_pending SET id = 'a' || char(10) || 'root: all is well'")
        assert [each async for each in store.iterate()] == []
    assert "a\\nroot: all is well" in caplog.text
    assert "\nroot" not in caplog.text


async def test_what_is_over_is_swept_out_by_later_inserts(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file does not grow for ever: a record beyond its time goes when another comes."""
    monkeypatch.setattr("belvo_links.stores.sqlite.PURGE_EVERY", 0.0)
    old = fresh_record()
    await store.insert(old)
    change(path, "UPDATE belvo_pending SET keep_until = keep_until - ?", timedelta(days=2).total_seconds())
    await store.insert(fresh_record())
    assert await store.load(old.id) is None


async def test_iterating_reads_in_batches(store: SqliteStore) -> None:
    """More records than one batch come out once each."""
    first = fresh_record()
    ids = {f"id-{number:04}" for number in range(250)}
    for pending_id in ids:
        await store.insert(attrs.evolve(first, id=pending_id))
    found = [record.id async for record in store.iterate()]
    assert len(found) == 250
    assert set(found) == ids
