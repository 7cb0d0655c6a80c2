"""The SQLite store keeps the contract, its file to itself, and its errors in the family."""

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

from belvo_links import StoredFormatError, StoreError
from belvo_links.protocol.mfa import Cancelled, advance
from belvo_links.stores import SqliteStore
from belvo_links.stores.contract import PendingStoreContract, claimed, fresh_record


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
