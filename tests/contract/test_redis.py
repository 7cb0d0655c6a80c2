"""The Redis store keeps the contract with clients of any settings, its errors in the family, and warns of losses."""

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import redis
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from belvo_links import SealError, StoredFormatError, StoreError
from belvo_links.client.ledger import STORE_LIMIT
from belvo_links.drivers import lifetimes as driver
from belvo_links.protocol.mfa import Cancelled, PendingRecord, advance
from belvo_links.stores import RedisStore, new_key
from belvo_links.stores import redis as module
from belvo_links.stores.contract import PendingStoreContract, claimed, fresh_record
from belvo_links.stores.form import seconds_kept
from belvo_links.stores.weaknesses import weaknesses
from tests.servers import PrivateRedis, Relay, free_port, redis_servers

KEY = new_key()


@pytest.fixture
async def store(redis_url: str, redis_namespace: str) -> AsyncIterator[RedisStore]:
    async with RedisStore(redis_url, namespace=redis_namespace) as store:
        yield store


@pytest.fixture
def plain(redis_url: str) -> Iterator[redis.Redis]:
    """Give a client to look and meddle with."""
    with contextlib.closing(redis.Redis.from_url(redis_url, decode_responses=True)) as client:
        yield client


def key_of(namespace: str, record: PendingRecord) -> str:
    return f"{namespace}:pending:{record.id}"


# --------------------------------------------------------------------------------------------------------- the contract


class TestRedisStore(PendingStoreContract):
    """The contract, also between processes."""

    @pytest.fixture
    def elsewhere(self, redis_url: str, redis_namespace: str) -> str:
        """Open the same namespace."""
        make = f"RedisStore({redis_url!r}, namespace={redis_namespace!r})"
        return f"from belvo_links.stores import RedisStore\nstore = {make}"


class TestSealedRedisStore(PendingStoreContract):
    """The contract with keys, also between processes."""

    @pytest.fixture
    async def store(self, redis_url: str, redis_namespace: str) -> AsyncIterator[RedisStore]:
        async with RedisStore(redis_url, namespace=redis_namespace, keys=[KEY]) as store:
            yield store

    @pytest.fixture
    def elsewhere(self, redis_url: str, redis_namespace: str) -> str:
        """Open the same namespace with the same key."""
        make = f"RedisStore({redis_url!r}, namespace={redis_namespace!r}, keys=[{KEY!r}])"
        return f"from belvo_links.stores import RedisStore\nstore = {make}"


class TestRedisStoreOfAGivenClient(PendingStoreContract):
    """The contract with clients that others have set up for themselves."""

    @pytest.fixture(
        params=[
            pytest.param({"decode_responses": True}, id="decoding"),
            pytest.param({"decode_responses": True, "encoding": "latin-1"}, id="decoding otherwise"),
            pytest.param({"protocol": 2, "max_connections": 200}, id="protocol 2"),
            pytest.param({"protocol": 3, "single_connection_client": True}, id="one connection"),
        ]
    )
    async def store(
        self, request: pytest.FixtureRequest, redis_url: str, redis_namespace: str
    ) -> AsyncIterator[RedisStore]:
        """Give a store that is closed before its client, which outlives it."""
        options: dict[str, Any] = {"socket_timeout": 15, "socket_connect_timeout": 15}  # for a hundred at once
        async with Redis.from_url(redis_url, **options, **request.param) as client:
            async with RedisStore(client, namespace=redis_namespace) as store:
                yield store
            assert await client.ping()


@pytest.fixture(scope="module")
def cluster() -> Iterator[int]:
    """Give the port of one of two nodes that have half of the keys each."""
    with redis_servers() as make:
        bus = free_port()  # by default 10,000 above the other port, which may be none
        second = make("--cluster-enabled", "yes", "--cluster-port", str(bus))
        first = make("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        with (
            contextlib.closing(redis.Redis(port=first.port)) as one,
            contextlib.closing(redis.Redis(port=second.port)) as other,
        ):
            tell(one, "ADDSLOTSRANGE", 0, 8191)
            tell(other, "ADDSLOTSRANGE", 8192, 16383)
            tell(other, "SET-CONFIG-EPOCH", 2)
            tell(one, "MEET", "127.0.0.1", second.port, bus)
            ends = time.monotonic() + 30
            while not (_is_whole(one) and _is_whole(other)) and time.monotonic() < ends:
                time.sleep(0.02)
        yield first.port


def tell(node: redis.Redis, *command: object) -> str:
    return str(node.execute_command("CLUSTER", *command))  # type: ignore[no-untyped-call]  # the driver's


def _is_whole(node: redis.Redis) -> bool:
    info = tell(node, "INFO")
    return "cluster_state:ok" in info and "cluster_slots_assigned:16384" in info


class TestRedisStoreInACluster(PendingStoreContract):
    """The contract on two nodes."""

    @pytest.fixture
    async def store(self, cluster: int, redis_namespace: str) -> AsyncIterator[RedisStore]:
        """Give a store on an empty cluster."""
        async with RedisCluster("127.0.0.1", cluster) as client:
            async with RedisStore(client, namespace=redis_namespace) as store:
                yield store
            await client.flushall()

    async def test_records_lie_on_both_nodes(self, store: RedisStore, cluster: int) -> None:
        """Otherwise this would be no test of a cluster."""
        for _ in range(20):
            await store.insert(fresh_record())
        async with RedisCluster("127.0.0.1", cluster) as client:
            sizes = [await client.dbsize(target_nodes=node) for node in client.get_primaries()]
        assert sum(sizes) == 20
        assert all(sizes)


# ------------------------------------------------------------------------------------------------------ what is kept


async def test_one_hash_per_record_below_the_namespace(
    store: RedisStore, plain: redis.Redis, redis_namespace: str
) -> None:
    """The key says whose it is, so that a script touches one key and a cluster can hold it anywhere."""
    record = fresh_record()
    await store.insert(record)
    assert plain.keys(f"*{redis_namespace}*") == [key_of(redis_namespace, record)]
    assert plain.type(key_of(redis_namespace, record)) == "hash"


async def test_the_server_forgets_a_record_after_its_time_and_not_before(
    store: RedisStore, plain: redis.Redis, redis_namespace: str
) -> None:
    """Unsettled: a day after the deadline; settled: after the deadline; counted from the last change."""
    record = fresh_record(lifetime=timedelta(minutes=5))
    key = key_of(redis_namespace, record)
    await store.insert(record)
    unsettled = plain.pttl(key) / 1000
    settled = advance(record, Cancelled(), now=record.created_at)
    await store.swap(record, settled)
    assert seconds_kept(record) < unsettled < seconds_kept(record) + 61
    assert seconds_kept(settled) < plain.pttl(key) / 1000 < seconds_kept(settled) + 61


async def test_a_lease_is_counted_in_milliseconds(store: RedisStore) -> None:
    """A short lease is neither rounded up to seconds nor forgotten."""
    record = fresh_record()
    await store.insert(record)
    await store.swap(record, claimed(record), lease=0.25)
    found = await store.load(record.id)
    assert found is not None
    assert found.lease_left is not None
    assert 0 < found.lease_left <= 0.25


async def test_with_keys_nothing_readable_is_kept(redis_url: str, redis_namespace: str, plain: redis.Redis) -> None:
    """What Belvo and the bank sent is sealed; who has no keys, or others, is told so."""
    record = fresh_record()
    async with (
        RedisStore(redis_url, namespace=redis_namespace, keys=[KEY]) as sealed,
        RedisStore(redis_url, namespace=redis_namespace) as bare,
        RedisStore(redis_url, namespace=redis_namespace, keys=[new_key()]) as other,
    ):
        await sealed.insert(record)
        kept = str(plain.hgetall(key_of(redis_namespace, record)))
        assert record.session is not None
        assert record.session.reveal() not in kept
        assert record.link_id not in kept
        for store, reason in ((bare, "no_keys"), (other, "unknown_key")):
            with pytest.raises(SealError) as caught:
                await store.load(record.id)
            assert caught.value.reason == reason


@pytest.mark.parametrize(
    "field, value",
    [
        ("seen", "awaiting 1 1"),
        ("seen", "awaiting 1 0 somebody"),
        ("seen", "submitting 1 0"),
        ("seen", "nonsense"),
        ("seen", "awaiting x y"),
        ("seen", None),
        ("record", "{}"),
        ("record", None),
    ],
)
async def test_what_was_changed_on_the_server_is_noticed(
    store: RedisStore,
    plain: redis.Redis,
    redis_namespace: str,
    caplog: pytest.LogCaptureFixture,
    field: str,
    value: str | None,
) -> None:
    """Loading says so; iterating passes it over and says so in the log."""
    changed, whole = fresh_record(), fresh_record()
    for record in (changed, whole):
        await store.insert(record)
    if value is None:
        plain.hdel(key_of(redis_namespace, changed), field)
    else:
        plain.hset(key_of(redis_namespace, changed), field, value)
    with pytest.raises(StoredFormatError):
        await store.load(changed.id)
    with caplog.at_level(logging.WARNING, logger="belvo_links"):
        assert [record.id async for record in store.iterate()] == [whole.id]
    assert changed.id in caplog.text


async def test_a_key_of_another_kind_is_a_store_error(
    store: RedisStore, plain: redis.Redis, redis_namespace: str
) -> None:
    """Somebody else's key in our place."""
    record = fresh_record()
    plain.set(key_of(redis_namespace, record), "a text")
    with pytest.raises(StoreError, match="ResponseError"):
        await store.load(record.id)


async def test_many_records_are_iterated_over_once_and_purged(
    store: RedisStore, redis_url: str, redis_namespace: str
) -> None:
    """More than a page; the records of another namespace are none of this store's business."""
    first = fresh_record()
    ids = {f"id-{number:04}" for number in range(3 * module.PAGE)}
    async with RedisStore(redis_url, namespace=f"{redis_namespace}:x") as other:
        await other.insert(first)
        await asyncio.gather(*(store.insert(attrs.evolve(first, id=pending_id)) for pending_id in ids))
        found = [record.id async for record in store.iterate()]
        assert len(found) == len(ids)
        assert set(found) == ids
        assert await store.purge(first.expires_at + timedelta(hours=25)) == len(ids)
        assert [record.id async for record in store.iterate()] == []
        assert await other.load(first.id) is not None


async def test_leaving_an_iteration_early_leaves_nothing_behind(store: RedisStore) -> None:
    """No task and no open generator stays."""
    for _ in range(3):
        await store.insert(fresh_record())
    before = asyncio.all_tasks()
    async with contextlib.aclosing(store.iterate()) as records:  # type: ignore[type-var]  # it is a generator
        async for _ in records:
            break
    await asyncio.sleep(0)  # a generator that was dropped would get a task to close it
    assert asyncio.all_tasks() == before


# --------------------------------------------------------------------------------------------------------- lost replies


async def know_script(store: RedisStore) -> None:
    """Swap something: the server has the script then, and a claim is one command with one reply."""
    assert not await store.swap(fresh_record(), fresh_record())


async def test_a_client_that_repeats_a_claim_finds_its_own(private_redis: PrivateRedis) -> None:
    """The reply to the first claim is lost and the client sends it again: it has the claim, and nobody else."""
    record = fresh_record()
    async with Relay.to(private_redis.port) as relay:
        retrying = Retry(NoBackoff(), 1)
        async with (
            Redis(port=relay.port, retry=retrying) as client,
            RedisStore(client) as store,
            RedisStore(private_redis.url) as other,
        ):
            await store.insert(record)
            await know_script(store)
            relay.lose = 1
            assert await store.swap(record, claimed(record, by="me"), lease=60)
            assert relay.lost == 1
            assert not await other.swap(record, claimed(record, by="somebody else"), lease=60)
            found = await other.load(record.id)
    assert found is not None
    assert found.record == claimed(record, by="me")


async def test_a_client_that_repeats_a_settlement_changes_nothing_twice(private_redis: PrivateRedis) -> None:
    """Only a claim finds its own: whoever settles looks again, and sees it. Without a nonce there is no claim."""
    record, nameless = fresh_record(), fresh_record()
    settled = advance(record, Cancelled(), now=record.created_at)
    held = attrs.evolve(nameless, revision=1)
    async with RedisStore(private_redis.url) as store:
        await store.insert(record)
        await store.insert(nameless)
        assert await store.swap(record, settled)
        assert not await store.swap(record, settled)
        assert await store.swap(nameless, held, lease=60)
        assert not await store.swap(nameless, held, lease=60)


async def test_a_client_of_the_store_itself_repeats_nothing(private_redis: PrivateRedis) -> None:
    """A claim whose reply was lost is a ``StoreError``, and may be on record."""
    record = fresh_record()
    async with Relay.to(private_redis.port) as relay, RedisStore(f"redis://127.0.0.1:{relay.port}") as store:
        await store.insert(record)
        await know_script(store)
        relay.lose = 1
        with pytest.raises(StoreError, match="ConnectionError"):
            await store.swap(record, claimed(record), lease=60)
        assert relay.lost == 1
        found = await store.load(record.id)
    assert found is not None
    assert found.record == claimed(record)


async def test_scripts_that_the_server_has_forgotten_are_sent_again(private_redis: PrivateRedis) -> None:
    """After a restart, or in another node of a cluster, a script is not known by its digest."""
    record = fresh_record()
    async with RedisStore(private_redis.url) as store:
        await store.insert(record)
        with contextlib.closing(redis.Redis.from_url(private_redis.url)) as plain:
            plain.script_flush()
        assert await store.swap(record, claimed(record), lease=60)
        assert await store.load(record.id) is not None


async def test_a_claim_outlives_a_killed_server(private_redis: PrivateRedis) -> None:
    """With these settings what is acknowledged is on disk; the store finds its way back by itself."""
    record = fresh_record()
    async with RedisStore(private_redis.url) as store:
        await store.insert(record)
        await store.swap(record, claimed(record), lease=60)
        await asyncio.to_thread(private_redis.restart)
        found = await store.load(record.id)
    assert found is not None
    assert found.record == claimed(record)


# ------------------------------------------------------------------------------------------------------- when it fails


def everything_shown(error: BaseException) -> str:
    return f"{error} {error!r} {error.__cause__!r} {error.__context__!r}"


@pytest.mark.parametrize("address", ["redis://user:canary@127.0.0.1:{port}/0", "unix:///nowhere/canary.sock"])
async def test_a_server_that_is_not_there_is_a_store_error(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """At once, without the driver's own error, and without the password."""
    store = RedisStore(address.format(port=free_port()))
    with caplog.at_level(logging.DEBUG):
        for call in (store.load("any"), store.insert(fresh_record()), store.purge(fresh_record().expires_at)):
            with pytest.raises(StoreError, match="ConnectionError") as caught:
                await call
            assert "canary" not in everything_shown(caught.value)
            assert caught.value.__context__ is None
    await store.aclose()
    assert "canary" not in caplog.text + repr(store)


async def test_a_wrong_password_is_a_store_error(
    make_private_redis: Callable[..., PrivateRedis],
) -> None:
    """Refused by the server."""
    server = make_private_redis()
    with contextlib.closing(redis.Redis.from_url(server.url)) as plain:
        plain.config_set("requirepass", "right")
    async with RedisStore(f"redis://:canary@127.0.0.1:{server.port}") as store:
        with pytest.raises(StoreError, match="AuthenticationError") as caught:
            await store.load("any")
    assert "canary" not in everything_shown(caught.value)


async def test_a_full_server_is_a_store_error_and_changes_nothing(
    make_private_redis: Callable[..., PrivateRedis],
) -> None:
    """A claim that does not fit is not taken."""
    server = make_private_redis("--appendonly", "yes", "--appendfsync", "always")
    record = fresh_record()
    async with RedisStore(server.url) as store:
        await store.insert(record)
        with contextlib.closing(redis.Redis.from_url(server.url)) as plain:
            plain.config_set("maxmemory", 1)
        with pytest.raises(StoreError, match="OutOfMemoryError"):
            await store.swap(record, claimed(record), lease=60)
        found = await store.load(record.id)
    assert found is not None
    assert found.record == record


async def test_a_server_that_hangs_is_a_store_error_in_bounded_time(
    private_redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's own limit for a reply, and ours for a client without one; then all goes on."""
    assert module.LIMIT + driver.GRACE < STORE_LIMIT
    record = fresh_record()
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    async with (
        RedisStore(private_redis.url) as own,
        Redis.from_url(private_redis.url, socket_timeout=None) as client,
        RedisStore(client) as given,
    ):
        await own.insert(record)
        await given.load(record.id)
        private_redis.pause()
        monkeypatch.setattr(module, "LIMIT", 0.3)
        for store in (own, given):
            with pytest.raises(StoreError, match="TimeoutError"):
                await store.load(record.id)
        private_redis.resume()
        monkeypatch.setattr(module, "LIMIT", 10.0)
        for store in (own, given):
            assert await store.load(record.id) is not None


async def test_cancellation_passes_while_the_server_hangs(private_redis: PrivateRedis) -> None:
    """At once, and the store can be used again."""
    async with RedisStore(private_redis.url) as store:
        await store.load("any")
        private_redis.pause()
        call = asyncio.create_task(store.load("any"))
        _, waiting = await asyncio.wait({call}, timeout=0.05)
        assert waiting
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        private_redis.resume()
        assert await store.load("any") is None


@pytest.mark.parametrize(
    "make_pool",
    [
        lambda url: BlockingConnectionPool.from_url(url, max_connections=1, timeout=0.05),
        lambda url: ConnectionPool.from_url(url, max_connections=1),
    ],
    ids=["waiting", "refusing"],
)
async def test_an_exhausted_pool_is_told_apart(
    redis_url: str, redis_namespace: str, make_pool: Callable[[str], ConnectionPool]
) -> None:
    """The reason says that it is the pool, not the server."""
    pool = make_pool(redis_url)
    async with Redis.from_pool(pool) as client:
        store = RedisStore(client, namespace=redis_namespace)
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # the driver's
        with pytest.raises(StoreError) as caught:
            await store.load("any")
        await pool.release(connection)
        assert caught.value.reason == "PoolTimeout"
        assert await store.load("any") is None


# ------------------------------------------------------------------------------------------- opening, closing, loops


def connections(plain: redis.Redis, name: str) -> int:
    return sum(one["name"] == name for one in plain.client_list())


async def test_only_what_the_store_has_opened_is_closed(
    redis_url: str, redis_namespace: str, plain: redis.Redis
) -> None:
    """A client that was given keeps its connections; the store's own go with :meth:`aclose`."""
    joined = "&" if "?" in redis_url else "?"
    own, given = f"{redis_namespace}-own", f"{redis_namespace}-given"
    store = RedisStore(f"{redis_url}{joined}client_name={own}", namespace=redis_namespace)
    assert connections(plain, own) == 0
    await store.load("any")
    assert connections(plain, own) == 1
    await store.aclose()
    async with Redis.from_url(redis_url, client_name=given) as client:
        async with RedisStore(client, namespace=redis_namespace) as other:
            await other.load("any")
        assert connections(plain, given) == 1
    async with asyncio.timeout(5):
        while connections(plain, own):  # noqa: ASYNC110  # the server notices a little later, and tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("closing", [True, False])
def test_a_store_serves_one_event_loop_after_the_other(redis_url: str, redis_namespace: str, closing: bool) -> None:
    """Closed or not: a loop that ends takes its connections along, and the next one has its own."""
    store = RedisStore(redis_url, namespace=redis_namespace)
    record = fresh_record()

    async def use() -> bool:
        inserted = await store.insert(record)
        await asyncio.gather(*(store.load(record.id) for _ in range(5)))
        if closing:
            await store.aclose()
        return inserted

    assert [asyncio.run(use(), debug=True) for _ in range(3)] == [True, False, False]
    asyncio.run(store.aclose())
    gc.collect()  # a connection that was left open would warn, and a warning is an error


async def test_over_a_unix_socket(make_private_redis: Callable[..., PrivateRedis], tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    make_private_redis("--unixsocket", str(path))
    record = fresh_record()
    async with RedisStore(f"unix://{path}") as store:
        assert await store.insert(record)
        assert await store.load(record.id) is not None


@pytest.mark.parametrize(
    "url, namespace",
    [
        ("http://user:canary@localhost", "ok"),
        ("redis://:canary/#@localhost:6379", "ok"),
        ("redis://localhost?socket_timeout=canary", "ok"),
        ("localhost:6379", "ok"),
        ("redis://localhost", ""),
        ("redis://localhost", "a b"),
        ("redis://localhost", "{a}"),
        ("redis://localhost", "a*"),
        ("redis://localhost", "x" * 101),
    ],
)
def test_what_is_not_valid_is_refused_at_once(url: str, namespace: str) -> None:
    """A ``ValueError`` that quotes neither the URL nor what the driver says of it."""
    with pytest.raises(ValueError, match=r"^(url|namespace): give") as caught:
        RedisStore(url, namespace=namespace)
    assert "canary" not in everything_shown(caught.value)


def test_a_client_of_another_kind_is_refused_at_once(redis_url: str) -> None:
    """Such as the one without asyncio."""
    with (
        contextlib.closing(redis.Redis.from_url(redis_url)) as client,
        pytest.raises(TypeError, match=r"redis\.asyncio"),
    ):
        RedisStore(client)  # type: ignore[arg-type]  # what is tested


# ------------------------------------------------------------------------------------------------- what may be lost


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"appendonly": "yes", "appendfsync": "always", "maxmemory": "0", "maxmemory-policy": "noeviction"}, []),
        ({"appendonly": "no", "appendfsync": "always"}, ["appendonly is no"]),
        ({"appendonly": "yes", "appendfsync": "everysec"}, ["appendfsync is everysec"]),
        ({"maxmemory": "0", "maxmemory-policy": "allkeys-lru"}, []),
        ({"maxmemory": "1000", "maxmemory-policy": "noeviction"}, []),
        (
            {"appendonly": "no", "maxmemory": "1000", "maxmemory-policy": "volatile-lru"},
            ["appendonly is no", "maxmemory-policy is volatile-lru"],
        ),
        ({}, []),
    ],
)
def test_settings_that_may_lose_an_acknowledged_write_are_named(settings: dict[str, str], expected: list[str]) -> None:
    """What the server does not tell is not judged."""
    assert weaknesses(settings) == expected


@pytest.mark.parametrize(
    "options, expected",
    [
        (("--appendonly", "yes", "--appendfsync", "always"), None),
        (("--appendonly", "yes", "--appendfsync", "everysec"), "appendfsync is everysec"),
        (
            ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"),
            "appendonly is no, maxmemory-policy is allkeys",
        ),
        (("--rename-command", "CONFIG", ""), None),
    ],
    ids=["durable", "each second", "evicting", "not telling"],
)
async def test_a_server_that_may_lose_claims_is_warned_of_once(
    make_private_redis: Callable[..., PrivateRedis],
    caplog: pytest.LogCaptureFixture,
    options: tuple[str, ...],
    expected: str | None,
) -> None:
    """One warning for each store, however many calls begin at once; a server that does not tell is left alone."""
    server = make_private_redis(*options)
    with caplog.at_level(logging.DEBUG, logger="belvo_links"):
        async with RedisStore(server.url) as store, Redis.from_url(server.url, decode_responses=True) as client:
            await asyncio.gather(*(store.load("any") for _ in range(10)))
            await store.aclose()
            await store.load("any")
            messages = _said(caplog)
            await RedisStore(client).load("any")
    assert len(messages) == (expected is not None)
    assert all(expected is not None and expected in message for message in messages)
    assert len(_said(caplog)) == 2 * len(messages)


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Our own lines: on a slow machine asyncio logs what took long."""
    return [record.getMessage() for record in caplog.records if record.name == "belvo_links"]
