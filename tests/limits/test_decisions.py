"""What the scripts decide, compared with the model, by a clock that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from typing import Any, TypeAlias

import attrs
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from belvo_links import Lane, RateLimit
from belvo_links.limits.postgres import _PostgresServer
from belvo_links.limits.redis import _RedisServer
from belvo_links.limits.shared import Server
from belvo_links.transport.messages import Quota
from tests.limits.conftest import drop_functions, limits_sql
from tests.limits.model import Model

# Long ones, since the keys of Redis end by its own clock.
LIMIT = RateLimit(2, 60.0)
ONE = RateLimit(1, 15.0)
LENGTH = 60_000_000
KEPT = 80_000_000
QUOTA = Quota(name="two a while", requests=2, seconds=60.0)
BEGIN = 1_900_000_000_000_000


class RedisBench:
    """A server whose clock the test sets."""

    def __init__(self, url: str, namespace: str) -> None:
        self.client = Redis.from_url(url)
        self.clock = f"{namespace}:now"
        self.namespace = namespace

    def fresh(self) -> Server:
        """Return one that has counted nothing."""
        name = f"{self.namespace}.{secrets.token_hex(4)}"
        return _RedisServer(self.client, name=name, clock=f"local now = tonumber(redis.call('GET', '{self.clock}'))")

    async def set_clock(self, now: int) -> None:
        await self.client.set(self.clock, now)

    async def counted(self, server: Server) -> dict[str, int]:
        """Return until when each ticket counts."""
        assert isinstance(server, _RedisServer)
        found: Any = await self.client.zrange(server._keys[0], 0, -1, withscores=True)
        return {ticket.decode(): int(ends) for ticket, ends in found}

    async def close(self) -> None:
        await self.client.aclose()


class PostgresBench:
    """The same, in PostgreSQL."""

    def __init__(self, dsn: str, table: str) -> None:
        self.server = _PostgresServer(dsn, name="", table=table)

    def fresh(self) -> Server:
        self.server._name = secrets.token_hex(4)
        return self.server

    async def set_clock(self, now: int) -> None:
        connection = await self.server._owned.get()
        await connection.execute("SELECT set_config('belvo.now', %s, false)", [str(now)])

    async def counted(self, server: Server) -> dict[str, int]:
        connection = await self.server._owned.get()
        found = await connection.execute(
            f"SELECT ticket, (extract(epoch FROM ends) * 1000000)::bigint FROM {self.server._table}"
            " WHERE name = %s AND lane IS NULL".encode(),
            [self.server._name],
        )
        return dict(await found.fetchall())

    async def close(self) -> None:
        await self.server.aclose()


Bench: TypeAlias = RedisBench | PostgresBench
Play: TypeAlias = Callable[[Bench], Coroutine[None, None, None]]


@pytest.fixture(params=["redis", "postgres"])
def played(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Play], None]]:
    """A function that runs a play in the event loop of each of the servers."""
    monkeypatch.setattr("belvo_links.limits.redis.PATIENCE", KEPT / 1e6)
    monkeypatch.setattr("belvo_links.limits.postgres._PATIENCE", timedelta(microseconds=KEPT))
    for module in ("redis", "postgres"):
        monkeypatch.setattr(f"belvo_links.limits.{module}.LIMIT", 30.0)  # a slow machine is no defect
    with asyncio.Runner() as runner, contextlib.ExitStack() as stack:
        bench: Bench
        if request.param == "redis":
            bench = RedisBench(request.getfixturevalue("redis_url"), request.getfixturevalue("redis_namespace"))
        else:
            dsn, table = request.getfixturevalue("postgres_dsn"), request.getfixturevalue("postgres_table")
            connection = stack.enter_context(psycopg.connect(dsn, autocommit=True))
            connection.execute(with_a_clock_that_is_set(limits_sql(table)).encode())
            stack.callback(drop_functions, connection, table)
            bench = PostgresBench(dsn, table)
        stack.callback(lambda: runner.run(bench.close()))
        yield lambda play: runner.run(play(bench))


def with_a_clock_that_is_set(text: str) -> str:
    assert "clock_timestamp()" in text
    clock = "(timestamptz 'epoch' + current_setting('belvo.now')::bigint * interval '1 microsecond')"
    return text.replace("clock_timestamp()", clock)


@attrs.frozen
class Step:
    """Some time passes, then something is done with a ticket."""

    passes: int
    does: str
    ticket: int
    age: int


EDGES = [LENGTH - 1, LENGTH, LENGTH + 1, KEPT, KEPT + 1]
PASSES = st.sampled_from([0, 0, 1, 1000, 8_000_000, 20_000_000, *EDGES]) | st.integers(0, 20_000_000)
AGES = st.sampled_from([0, 1, *EDGES]) | st.integers(0, LENGTH)
DOES = st.sampled_from(["ask"] * 8 + ["withdraw", "report"])
STEPS = st.lists(st.builds(Step, PASSES, DOES, st.integers(0, 8), AGES), max_size=40)
BACK = st.sampled_from([0, 1, LENGTH, 3_600_000_000])
# Every example plays under a name of its own.
one_bench = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def lane_of(ticket: int) -> Lane:
    return Lane(ticket % 3)


@one_bench
@given(steps=STEPS, back=BACK, back_at=st.integers(0, 40))
def test_a_server_decides_as_the_model_does(
    played: Callable[[Play], None], steps: list[Step], back: int, back_at: int
) -> None:
    """Whoever asks, leaves, dies or reports, also after the server's clock was set back."""

    async def play(bench: Bench) -> None:
        server, model, now = bench.fresh(), Model(), BEGIN
        for number, step in enumerate(steps):
            now += step.passes - (back if number == back_at else 0)
            await bench.set_clock(now)
            ticket = f"t{step.ticket}"
            lane = lane_of(step.ticket)
            if step.does == "ask":
                allowance = LIMIT.allowance(lane)
                expected = model.ask(now, ticket, lane, allowance=allowance, length=LENGTH, patience=KEPT)
                assert round(await server.ask(ticket, lane, LIMIT) * 1e6) == expected
            elif step.does == "withdraw":
                model.withdraw(ticket)
                await server.withdraw(ticket)
            else:
                model.report(now, ticket, step.age, length=LENGTH)
                await server.report({ticket: step.age / 1e6}, LIMIT)
        assert await bench.counted(server) == model.window

    played(play)


@one_bench
@given(steps=STEPS)
def test_a_server_counts_quotas_as_the_model_does(played: Callable[[Play], None], steps: list[Step]) -> None:
    """And forgets what was given back."""

    async def play(bench: Bench) -> None:
        server, model, now = bench.fresh(), Model(), BEGIN
        for step in steps:
            now += step.passes
            await bench.set_clock(now)
            ticket = f"t{step.ticket}"
            if step.does == "withdraw":
                model.withdraw(ticket)
                await server.give_back(QUOTA, ticket)
            else:
                expected = model.reserve(now, ticket, requests=QUOTA.requests, length=LENGTH)
                assert round(await server.reserve(QUOTA, ticket) * 1e6) == expected

    played(play)


def test_when_the_servers_clock_is_set_back_nobody_waits_for_longer_than_a_window(
    played: Callable[[Play], None],
) -> None:
    """Whoever was let in counts as if it had been just now, and whoever died meanwhile keeps no place."""

    async def play(bench: Bench) -> None:
        server = bench.fresh()
        await bench.set_clock(BEGIN)
        for number in range(LIMIT.requests):
            assert await server.ask(f"in {number}", Lane.CALL, LIMIT) == 0
        assert await server.ask("dead", Lane.CALL, LIMIT) == LIMIT.seconds
        await bench.set_clock(BEGIN - 3_600_000_000)
        assert await server.ask("late", Lane.CALL, LIMIT) == LIMIT.seconds
        await bench.set_clock(BEGIN - 3_600_000_000 + LENGTH)
        for number in range(LIMIT.requests):
            assert await server.ask(f"later {number}" if number else "late", Lane.CALL, LIMIT) == 0

    played(play)


def test_who_came_first_goes_first(played: Callable[[Play], None]) -> None:
    """In the order of lanes, and of arrival within one, whoever asks first when there is room."""

    async def play(bench: Bench) -> None:
        server = bench.fresh()
        await bench.set_clock(BEGIN)
        assert await server.ask("in", Lane.CALL, ONE) == 0
        line = [("b1", Lane.BULK), ("c1", Lane.CALL), ("c2", Lane.CALL), ("p1", Lane.PERSON), ("b2", Lane.BULK)]
        for ticket, lane in line:
            assert await server.ask(ticket, lane, ONE) > 0
        for turn, first in enumerate(["p1", "c1", "c2", "b1", "b2"], 1):
            await bench.set_clock(BEGIN + turn * 15_000_000)
            for ticket, lane in reversed(line):
                if ticket != first:
                    assert await server.ask(ticket, lane, ONE) > 0
            assert await server.ask(first, dict(line)[first], ONE) == 0
            line = [one for one in line if one[0] != first]

    played(play)


def test_what_is_reported_counts_once_and_for_as_long_as_it_would_have(played: Callable[[Play], None]) -> None:
    """What the server knows stays as it is, what is over is left out, and nobody waits for what has gone out."""

    async def play(bench: Bench) -> None:
        server = bench.fresh()
        await bench.set_clock(BEGIN)
        assert await server.ask("known", Lane.CALL, ONE) == 0
        assert await server.ask("waits", Lane.CALL, ONE) == 15
        await bench.set_clock(BEGIN + 5_000_000)
        await server.report({"known": 0, "waits": 2, "over": 15}, ONE)
        assert await bench.counted(server) == {"known": BEGIN + 15_000_000, "waits": BEGIN + 18_000_000}
        assert await server.ask("next", Lane.CALL, ONE) == 13

    played(play)


@given(asks=st.lists(st.tuples(st.integers(0, LENGTH // 3), st.integers(0, 8)), max_size=60))
def test_no_window_ever_holds_more(asks: list[tuple[int, int]]) -> None:
    """Not even where tickets ask again: they then count as of the later moment, at which they go out."""
    model, now, moments, asked = Model(), BEGIN, [], itertools.count()
    for passes, who in asks:
        now += passes
        ticket, lane = f"t{who}", lane_of(who)
        if model.ask(now, ticket, lane, allowance=LIMIT.allowance(lane), length=LENGTH, patience=KEPT) == 0:
            moments.append(now)
            model.window[f"gone {next(asked)}"] = model.window.pop(ticket)
    for first in moments:
        assert sum(first <= moment < first + LENGTH for moment in moments) <= LIMIT.requests
