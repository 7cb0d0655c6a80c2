"""The PostgreSQL store keeps the contract with pools of any settings, its errors in the family, and its word."""

import asyncio
import gc
import logging
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, LiteralString

import attrs
import psycopg
import pytest
from psycopg import AsyncRawCursor, IsolationLevel, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, AsyncNullConnectionPool

from belvo_links import SealError, StoredFormatError, StoreError
from belvo_links.client.ledger import STORE_LIMIT
from belvo_links.drivers import lifetimes as driver
from belvo_links.protocol.mfa import Cancelled, PendingState, advance
from belvo_links.stores import PostgresStore, new_key
from belvo_links.stores import postgres as module
from belvo_links.stores.contract import PendingStoreContract, claimed, fresh_record
from tests.servers import PrivatePostgres, free_port

KEY = new_key()
SERIALIZABLE = "-c default_transaction_isolation=serializable"


@pytest.fixture
async def store(postgres_dsn: str, postgres_table: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore(postgres_dsn, table=postgres_table) as store:
        await store.create()
        yield store


@pytest.fixture
def plain(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    """Give a connection to look and meddle with."""
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


def do(connection: psycopg.Connection, statement: LiteralString, table: str, *values: object) -> list[Any]:
    """Execute a statement on a table, and return the rows."""
    cursor = connection.execute(sql.SQL(statement).format(sql.Identifier(table)), values)
    return [] if cursor.description is None else cursor.fetchall()


def everything_shown(error: BaseException) -> str:
    return f"{error} {error!r} {error.__cause__!r} {error.__context__!r}"


# --------------------------------------------------------------------------------------------------------- the contract


class TestPostgresStore(PendingStoreContract):
    """The contract, also between processes."""

    @pytest.fixture
    def elsewhere(self, postgres_dsn: str, postgres_table: str) -> str:
        """Open the same table."""
        make = f"PostgresStore({postgres_dsn!r}, table={postgres_table!r})"
        return f"from belvo_links.stores import PostgresStore\nstore = {make}"


class TestSealedPostgresStore(PendingStoreContract):
    """The contract with keys, also between processes."""

    @pytest.fixture
    async def store(self, postgres_dsn: str, postgres_table: str) -> AsyncIterator[PostgresStore]:
        async with PostgresStore(postgres_dsn, table=postgres_table, keys=[KEY]) as store:
            await store.create()
            yield store

    @pytest.fixture
    def elsewhere(self, postgres_dsn: str, postgres_table: str) -> str:
        """Open the same table with the same key."""
        make = f"PostgresStore({postgres_dsn!r}, table={postgres_table!r}, keys=[{KEY!r}])"
        return f"from belvo_links.stores import PostgresStore\nstore = {make}"


class TestPostgresStoreThatIsSerializable(PendingStoreContract):
    """The contract, also between processes, where the server undoes what meets at one row and never waits."""

    @pytest.fixture
    def dsn(self, postgres_dsn: str) -> str:
        """Give a DSN whose transactions are serializable."""
        return make_conninfo(postgres_dsn, options=SERIALIZABLE)

    @pytest.fixture
    async def store(self, dsn: str, postgres_table: str) -> AsyncIterator[PostgresStore]:
        async with PostgresStore(dsn, table=postgres_table) as store:
            await store.create()
            await asyncio.gather(*(store.load("any") for _ in range(50)))  # for as many connections as there may be
            yield store

    @pytest.fixture
    def elsewhere(self, dsn: str, postgres_table: str) -> str:
        """Open the same table in the same way."""
        make = f"PostgresStore({dsn!r}, table={postgres_table!r})"
        return f"from belvo_links.stores import PostgresStore\nstore = {make}"


async def _isolate(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)


@asynccontextmanager
async def pool_of(dsn: str, kind: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    """Give a pool that somebody has set up for themselves."""
    pools: dict[str, AsyncConnectionPool[Any]] = {
        "dictionaries": AsyncConnectionPool(dsn, kwargs={"row_factory": dict_row}, min_size=1, open=False),
        "other cursors": AsyncConnectionPool(
            dsn, kwargs={"cursor_factory": AsyncRawCursor, "autocommit": True}, min_size=1, open=False
        ),
        "repeatable read": AsyncConnectionPool(dsn, configure=_isolate, min_size=2, max_size=20, open=False),
        "no two statements on one connection": AsyncNullConnectionPool(dsn, max_size=8, open=False),
    }
    async with pools[kind] as pool:
        yield pool


class TestPostgresStoreOfAGivenPool(PendingStoreContract):
    """The contract with pools that others have set up for themselves."""

    @pytest.fixture(params=["dictionaries", "other cursors", "repeatable read", "no two statements on one connection"])
    async def store(
        self, request: pytest.FixtureRequest, postgres_dsn: str, postgres_table: str
    ) -> AsyncIterator[PostgresStore]:
        """Give a store that is closed before its pool, which outlives it."""
        async with pool_of(postgres_dsn, request.param) as pool:
            async with PostgresStore(pool, table=postgres_table) as store:
                await store.create()
                yield store
            async with pool.connection() as connection:
                assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


# ------------------------------------------------------------------------------------------------------------ the table


async def test_the_table_is_made_by_many_at_once_and_stays(postgres_dsn: str, postgres_table: str) -> None:
    """Whoever comes first makes it; the others, and those who come later, change nothing."""
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(PostgresStore(postgres_dsn, table=postgres_table)) for _ in range(10)]
        await asyncio.gather(*(store.create() for store in stores))
        record = fresh_record()
        await stores[0].insert(record)
        await stores[1].create()
        assert await stores[2].load(record.id) is not None


async def test_a_table_may_lie_in_a_schema(postgres_dsn: str, postgres_table: str, plain: psycopg.Connection) -> None:
    """Its name is quoted: capitals count, and words of SQL are no harm."""
    do(plain, "CREATE SCHEMA {}", postgres_table)
    try:
        async with PostgresStore(postgres_dsn, table=f"{postgres_table}.Order") as store:
            await store.create()
            record = fresh_record()
            assert await store.insert(record)
            assert await store.load(record.id) is not None
        tables = plain.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [postgres_table]).fetchall()
        assert tables == [("Order",)]
    finally:
        do(plain, "DROP SCHEMA {} CASCADE", postgres_table)


async def test_the_sql_file_makes_the_same_table(
    postgres_dsn: str, postgres_table: str, plain: psycopg.Connection
) -> None:
    """Run by psql, twice, it makes what the store uses with its default name."""
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("no psql")
    do(plain, "CREATE SCHEMA {}", postgres_table)
    try:
        dsn = make_conninfo(postgres_dsn, options=f"-csearch_path={postgres_table}")
        for _ in range(2):
            command = [psql, dsn, "-v", "ON_ERROR_STOP=1", "-f", str(Path(module.__file__).with_name("postgres.sql"))]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
            assert (done.returncode, done.stderr) == (0, b"")
        async with PostgresStore(dsn) as store:
            assert await store.insert(fresh_record())
    finally:
        do(plain, "DROP SCHEMA {} CASCADE", postgres_table)


async def test_a_missing_table_says_what_to_do(postgres_dsn: str, postgres_table: str) -> None:
    """For every call; and once it is made, all is well."""
    record = fresh_record()
    async with PostgresStore(postgres_dsn, table=postgres_table) as store:
        for call in (store.load("any"), store.insert(record), store.swap(record, record), anext(store.iterate())):
            with pytest.raises(StoreError, match=r"call create\(\) once") as caught:
                await call
            assert caught.value.__context__ is None
        await store.create()
        assert await store.insert(record)


async def test_a_missing_schema_is_a_store_error(postgres_dsn: str, postgres_table: str) -> None:
    async with PostgresStore(postgres_dsn, table=f"{postgres_table}.x") as store:
        with pytest.raises(StoreError, match="InvalidSchemaName"):
            await store.create()


async def test_a_role_that_may_not_make_tables_may_use_one(private_postgres: PrivatePostgres) -> None:
    """Where the table is there, :meth:`create` asks for no more rights than its use."""
    with psycopg.connect(private_postgres.dsn, autocommit=True) as connection:
        async with PostgresStore(private_postgres.dsn) as store:
            await store.create()
        connection.execute("CREATE ROLE app LOGIN")
        connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON belvo_pending TO app")
    dsn = make_conninfo(private_postgres.dsn, user="app")
    async with PostgresStore(dsn) as store, PostgresStore(dsn, table="other") as other:
        await store.create()
        assert await store.insert(fresh_record())
        with pytest.raises(StoreError, match="InsufficientPrivilege"):
            await other.create()


@pytest.mark.parametrize(
    "dsn, table",
    [
        ("postgresql://user:canary@local host/db", "ok"),
        ("host=localhost password=canary canary", "ok"),
        ("postgresql://localhost/test", ""),
        ("postgresql://localhost/test", 'a"b'),
        ("postgresql://localhost/test", "a b"),
        ("postgresql://localhost/test", "a.b.c"),
        ("postgresql://localhost/test", "1a"),
        ("postgresql://localhost/test", "a;"),
        ("postgresql://localhost/test", "x" * 64),
    ],
)
def test_what_is_not_valid_is_refused_at_once(dsn: str, table: str) -> None:
    """A ``ValueError`` that quotes neither the DSN nor what the driver says of it."""
    with pytest.raises(ValueError, match=r"^(dsn|table): give") as caught:
        PostgresStore(dsn, table=table)
    assert "canary" not in everything_shown(caught.value)


def test_a_pool_of_another_kind_is_refused_at_once() -> None:
    """Such as a connection."""
    with pytest.raises(TypeError, match="AsyncConnectionPool"):
        PostgresStore(object())  # type: ignore[arg-type]  # what is tested


# --------------------------------------------------------------------------------------------------------- what is kept


async def test_with_keys_nothing_readable_is_kept(
    postgres_dsn: str, postgres_table: str, plain: psycopg.Connection
) -> None:
    """What Belvo and the bank sent is sealed; who has no keys, or others, is told so."""
    record = fresh_record()
    async with (
        PostgresStore(postgres_dsn, table=postgres_table, keys=[KEY]) as sealed,
        PostgresStore(postgres_dsn, table=postgres_table) as bare,
        PostgresStore(postgres_dsn, table=postgres_table, keys=[new_key()]) as other,
    ):
        await sealed.create()
        await sealed.insert(record)
        kept = str(do(plain, "SELECT * FROM {}", postgres_table))
        assert record.session is not None
        assert record.session.reveal() not in kept
        assert record.link_id not in kept
        for store, reason in ((bare, "no_keys"), (other, "unknown_key")):
            with pytest.raises(SealError) as caught:
                await store.load(record.id)
            assert caught.value.reason == reason


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {} SET state = 'submitting' WHERE id = %s",
        "UPDATE {} SET round = 2 WHERE id = %s",
        "UPDATE {} SET revision = 1 WHERE id = %s",
        "UPDATE {} SET claim = 'somebody' WHERE id = %s",
        "UPDATE {} SET record = '' WHERE id = %s",
        """UPDATE {} SET record = replace(record, '"belvo_links_pending":1', '"belvo_links_pending":99')
        WHERE id = %s""",
    ],
)
async def test_what_was_changed_in_the_table_is_noticed(
    store: PostgresStore,
    plain: psycopg.Connection,
    postgres_table: str,
    caplog: pytest.LogCaptureFixture,
    change: LiteralString,
) -> None:
    """Loading says so; iterating passes it over and says so in the log."""
    changed, whole = fresh_record(), fresh_record()
    for record in (changed, whole):
        await store.insert(record)
    do(plain, change, postgres_table, changed.id)
    with pytest.raises(StoredFormatError):
        await store.load(changed.id)
    with caplog.at_level(logging.WARNING, logger="belvo_links"):
        assert [record.id async for record in store.iterate()] == [whole.id]
    assert changed.id in caplog.text


async def test_an_id_that_no_text_can_be_is_not_there(store: PostgresStore) -> None:
    """Whatever somebody put into a form: it is no failure of the store."""
    assert await store.load("a\0b") is None


async def test_iterating_reads_in_batches(store: PostgresStore) -> None:
    """More records than one batch come out once each, also those in one state."""
    first = fresh_record()
    ids = {f"id-{number:04}" for number in range(250)}
    await asyncio.gather(*(store.insert(attrs.evolve(first, id=pending_id)) for pending_id in ids))
    for state in (None, PendingState.AWAITING):
        found = [record.id async for record in store.iterate(state)]
        assert len(found) == 250
        assert set(found) == ids
    assert await store.purge(first.expires_at + timedelta(hours=25)) == 250


async def test_what_is_over_is_swept_out_by_later_inserts(
    store: PostgresStore, plain: psycopg.Connection, postgres_table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table does not grow for ever: settled after the deadline, others a day later, and nothing before."""
    monkeypatch.setattr(module, "PURGE_EVERY", 0.0)
    settled, unsettled = (fresh_record(lifetime=timedelta(minutes=5)) for _ in range(2))
    for record in (settled, unsettled):
        await store.insert(record)
    await store.swap(settled, advance(settled, Cancelled(), now=settled.created_at))
    age = "UPDATE {} SET keep_until = keep_until - make_interval(secs => %s)"
    for passed, left in ((295.0, {settled.id, unsettled.id}), (10.0, {unsettled.id}), (86_400.0, set())):
        do(plain, age, postgres_table, passed)
        fresh = fresh_record(lifetime=timedelta(days=2))
        await store.insert(fresh)
        found = {record.id async for record in store.iterate()}
        assert found & {settled.id, unsettled.id} == left


async def test_nothing_is_left_in_a_session_of_a_given_pool(postgres_dsn: str, postgres_table: str) -> None:
    """No prepared statement, no setting: the next statement may meet another session behind a pooler."""
    async with AsyncConnectionPool(postgres_dsn, min_size=1, max_size=1, open=False) as pool:
        store = PostgresStore(pool, table=postgres_table)
        await store.create()
        for _ in range(8):  # psycopg prepares what it has seen five times
            record = fresh_record()
            await store.insert(record)
            await store.swap(record, claimed(record), lease=60)
            await store.load(record.id)
        async with pool.connection() as connection:
            left = await connection.execute("""
                SELECT count(*) FROM pg_prepared_statements
                UNION ALL
                SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
            """)
            assert await left.fetchall() == [(0,), (0,)]


# ---------------------------------------------------------------------------------------------------------- durability


async def test_what_is_acknowledged_outlives_a_killed_server(private_postgres: PrivatePostgres) -> None:
    """Also where sessions do not wait for the disk by default: a claim does."""
    careless = "-c synchronous_commit=off"
    with psycopg.connect(private_postgres.dsn, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")  # who waits for the disk must ask for it
        connection.execute("SELECT pg_reload_conf()")
    record, settled = fresh_record(), fresh_record()
    async with PostgresStore(make_conninfo(private_postgres.dsn, options=careless)) as store:
        await store.create()
        for each in (record, settled):
            await store.insert(each)
        await store.swap(settled, advance(settled, Cancelled(), now=settled.created_at))
        await store.swap(record, claimed(record), lease=60)
        await asyncio.to_thread(private_postgres.restart)
        found = await store.load(record.id)
        other = await store.load(settled.id)
    assert found is not None
    assert found.record == claimed(record)
    assert other is not None
    assert other.record.state == "cancelled"


# -------------------------------------------------------------------------------------------------------- when it fails


async def test_a_server_that_is_not_there_is_a_store_error(caplog: pytest.LogCaptureFixture) -> None:
    """At once, without the driver's own error, and without the password."""
    store = PostgresStore(f"postgresql://user:canary@127.0.0.1:{free_port()}/test")
    with caplog.at_level(logging.DEBUG):
        for call in (store.load("any"), store.insert(fresh_record()), store.create()):
            with pytest.raises(StoreError, match="OperationalError") as caught:
                await call
            assert "canary" not in everything_shown(caught.value)
            assert caught.value.__context__ is None
    await store.aclose()
    assert "canary" not in caplog.text + repr(store)


async def test_a_server_that_hangs_is_a_store_error_in_bounded_time(
    private_postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the driver would still like to tell the server; then all goes on."""
    assert module.LIMIT + 2 * driver.GRACE < STORE_LIMIT
    assert module.POOL_SECONDS < module.LIMIT
    monkeypatch.setattr(driver, "GRACE", 0.1)
    loop = asyncio.get_running_loop()
    async with (
        PostgresStore(private_postgres.dsn) as own,
        AsyncConnectionPool(private_postgres.dsn, min_size=1, max_size=1, open=False) as pool,
    ):
        given = PostgresStore(pool)
        await own.create()
        await given.load("any")
        private_postgres.pause()
        monkeypatch.setattr(module, "LIMIT", 0.2)
        for store in (own, given):
            began = loop.time()
            with pytest.raises(StoreError, match="TimeoutError"):
                await store.load("any")
            assert loop.time() - began < 3
        private_postgres.resume()
        monkeypatch.setattr(module, "LIMIT", 10.0)
        for store in (own, given):
            assert await store.load("any") is None


async def test_cancellation_passes_while_the_server_hangs(
    private_postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soon, although psycopg would wait for ten seconds, and the store can be used again."""
    monkeypatch.setattr(driver, "GRACE", 0.1)
    loop = asyncio.get_running_loop()
    async with PostgresStore(private_postgres.dsn) as store:
        await store.create()
        private_postgres.pause()
        call = asyncio.create_task(store.load("any"))
        _, waiting = await asyncio.wait({call}, timeout=0.05)
        assert waiting
        began = loop.time()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert loop.time() - began < 3
        private_postgres.resume()
        assert await store.load("any") is None


async def test_a_restarted_server_is_found_again(private_postgres: PrivatePostgres) -> None:
    """Connections that the server has closed are replaced before they are used."""
    async with PostgresStore(private_postgres.dsn) as store:
        await store.create()
        await asyncio.gather(*(store.load("any") for _ in range(10)))
        await asyncio.to_thread(private_postgres.restart)
        assert await asyncio.gather(*(store.load("any") for _ in range(10))) == [None] * 10


async def test_an_exhausted_pool_is_told_apart(
    postgres_dsn: str, postgres_table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason says that it is the pool, not the server; the wait is bounded, whatever the pool's own limit is."""
    monkeypatch.setattr(module, "POOL_SECONDS", 0.05)
    async with AsyncConnectionPool(postgres_dsn, min_size=1, max_size=1, timeout=600, open=False) as pool:
        store = PostgresStore(pool, table=postgres_table)
        async with pool.connection():
            with pytest.raises(StoreError) as caught:
                await store.load("any")
        assert caught.value.reason == "PoolTimeout"
        await store.create()
        assert await store.load("any") is None


async def test_a_store_whose_own_connections_are_all_busy_says_so(
    postgres_dsn: str, postgres_table: str, plain: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same word; who has one is not disturbed."""
    monkeypatch.setattr(module, "CONNECTIONS", 1)
    monkeypatch.setattr(module, "POOL_SECONDS", 0.05)
    async with PostgresStore(postgres_dsn, table=postgres_table) as store:
        await store.create()
        with plain.transaction():
            do(plain, "LOCK TABLE {}", postgres_table)
            first = asyncio.create_task(store.load("any"))
            await _is_waiting_for_a_lock(postgres_dsn, postgres_table)
            with pytest.raises(StoreError) as caught:
                await store.load("any")
        assert caught.value.reason == "PoolTimeout"
        assert await first is None


async def test_a_given_pool_that_is_closed_is_a_store_error(postgres_dsn: str) -> None:
    """It is not opened: that is for whoever made it."""
    with pytest.raises(StoreError, match="PoolClosed"):
        await PostgresStore(AsyncConnectionPool(postgres_dsn, open=False)).load("any")


async def test_a_swap_that_never_gets_through_is_a_store_error_and_no_winner(
    postgres_dsn: str, postgres_table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server undoes every attempt, nobody is told to have the claim."""
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    async with AsyncConnectionPool(postgres_dsn, configure=_isolate, min_size=2, open=False) as pool:
        store = PostgresStore(pool, table=postgres_table)
        await store.create()
        record = fresh_record()
        await store.insert(record)
        async with pool.connection() as other:
            await other.execute(sql.SQL("UPDATE {} SET claim = 'other'").format(sql.Identifier(postgres_table)))
            swap = asyncio.create_task(store.swap(record, claimed(record), lease=60))
            await _is_waiting_for_a_lock(postgres_dsn, postgres_table)
            await other.commit()
            with pytest.raises(StoreError, match="SerializationFailure"):
                await swap


async def test_a_swap_that_was_undone_is_tried_again_and_loses_truly(postgres_dsn: str, postgres_table: str) -> None:
    """The second attempt sees what the other has done."""
    async with AsyncConnectionPool(postgres_dsn, configure=_isolate, min_size=2, open=False) as pool:
        store = PostgresStore(pool, table=postgres_table)
        await store.create()
        record = fresh_record()
        await store.insert(record)
        async with pool.connection() as other:
            await other.execute(sql.SQL("UPDATE {} SET claim = 'other'").format(sql.Identifier(postgres_table)))
            swap = asyncio.create_task(store.swap(record, claimed(record), lease=60))
            await _is_waiting_for_a_lock(postgres_dsn, postgres_table)
            await other.commit()
            assert await swap is False


async def _is_waiting_for_a_lock(dsn: str, table: str) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND strpos(query, %s) > 0"
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection, asyncio.timeout(10):
        while await (await connection.execute(waiting, [table])).fetchone() == (0,):  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.01)


# ------------------------------------------------------------------------------------------- opening, closing, loops


def sessions(plain: psycopg.Connection, name: str) -> int:
    [(found,)] = plain.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [name]).fetchall()
    return int(found)


async def test_only_what_the_store_has_opened_is_closed(
    postgres_dsn: str, postgres_table: str, plain: psycopg.Connection
) -> None:
    """Nothing is opened before it is needed, a given pool stays open, and an ``application_name`` of the DSN counts."""
    own, given = f"{postgres_table}-own", f"{postgres_table}-given"
    store = PostgresStore(make_conninfo(postgres_dsn, application_name=own), table=postgres_table)
    assert sessions(plain, own) == 0
    await store.create()
    assert sessions(plain, own) == 1
    await store.aclose()
    dsn = make_conninfo(postgres_dsn, application_name=given)
    async with AsyncConnectionPool(dsn, min_size=1, max_size=1, open=False) as pool:
        async with PostgresStore(pool, table=postgres_table) as other:
            await other.load("any")
        assert sessions(plain, given) == 1
    async with asyncio.timeout(5):
        while sessions(plain, own):  # noqa: ASYNC110  # the server notices a little later, and tells nobody
            await asyncio.sleep(0.01)


async def test_connections_say_whose_they_are(
    postgres_dsn: str, postgres_table: str, plain: psycopg.Connection
) -> None:
    """Where the DSN gives no ``application_name``."""
    assert "application_name" not in conninfo_to_dict(postgres_dsn)
    async with PostgresStore(postgres_dsn, table=postgres_table) as store:
        await store.create()
        assert sessions(plain, "belvo_links") >= 1


@pytest.mark.parametrize("closing", [True, False])
def test_a_store_serves_one_event_loop_after_the_other(postgres_dsn: str, postgres_table: str, closing: bool) -> None:
    """Closed or not: a loop that ends takes its connections along, and the next one has its own."""
    store = PostgresStore(postgres_dsn, table=postgres_table)
    record = fresh_record()

    async def use() -> bool:
        await store.create()
        inserted = await store.insert(record)
        await asyncio.gather(*(store.load(record.id) for _ in range(20)))
        if closing:
            await store.aclose()
        return inserted

    assert [asyncio.run(use(), debug=True) for _ in range(3)] == [True, False, False]
    asyncio.run(store.aclose())
    gc.collect()  # a connection that was left open would warn, and a warning is an error
