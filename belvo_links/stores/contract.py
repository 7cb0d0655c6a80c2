"""What a store of pending sessions is, as tests that anybody can run against their own.

::

    class TestMyStore(PendingStoreContract):
        @pytest.fixture
        async def store(self) -> AsyncIterator[PendingStore]:
            store = MyStore(...)
            yield store
            await store.aclose()

A store that several processes share also gives :meth:`PendingStoreContract.elsewhere`: Python source that makes the
same store in another process. The tests need pytest and pytest-asyncio in its automatic mode.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from belvo_links.protocol.challenge import Challenge, ChallengeKind, TokenRequired
from belvo_links.protocol.mfa import (
    Cancelled,
    Linked,
    PendingRecord,
    PendingState,
    ReplyLost,
    Submitted,
    advance,
    begin,
)
from belvo_links.redact import Secret
from belvo_links.stores.base import PendingStore

LINK_ID = "e4bb1afb-4a4f-4dd6-8be0-e615d233185b"
LONG_LEASE = 60.0
PROCESSES = 4

_RACE = """
import asyncio, json, sys
from belvo_links.protocol.mfa import Submitted, advance
from datetime import UTC, datetime

{elsewhere}

async def main():
    ids = json.loads(sys.stdin.readline())
    print("ready", flush=True)
    sys.stdin.readline()
    won = []
    for pending_id in ids:
        old = (await store.load(pending_id)).record
        if old.state != "awaiting":
            continue
        new = advance(old, Submitted(claim=sys.argv[1], token_sent=True), now=datetime.now(UTC))
        if await store.swap(old, new, lease=60.0):
            won.append(pending_id)
    await store.aclose()
    print(json.dumps(won), flush=True)

asyncio.run(main())
"""


def fresh_record(*, lifetime: timedelta = timedelta(minutes=12)) -> PendingRecord:
    """Return a record such as a first challenge makes."""
    asked = TokenRequired(
        session=Secret("0123456789abcdef0123456789abcdef"),
        link_id=LINK_ID,
        expiry=lifetime,
        challenge=Challenge(kind=ChallengeKind.NUMERIC, instructions="Ñandú 漢字 \N{PILE OF POO}", value="12345"),
        request_id="5b1d3dbbdf514e3ab7d2b5d2b5d2b5d2",
    )
    return begin(
        asked,
        id=secrets.token_urlsafe(24),
        operation="register",
        origin="https://sandbox.belvo.com",
        account="0" * 32,
        now=datetime.now(UTC),
        correlation={"user": "ñ", "n": [1, 2.5, None, True]},
    )


def claimed(record: PendingRecord, by: str = "me") -> PendingRecord:
    """Return the record as claimed by somebody."""
    return advance(record, Submitted(claim=by, token_sent=True), now=record.created_at)


class PendingStoreContract:
    """The promises of :class:`~belvo_links.stores.base.PendingStore`. Supply the fixture ``store``."""

    @pytest.fixture
    def elsewhere(self) -> str | None:
        """Return Python source that binds ``store`` to the same store in another process; ``None`` if it cannot."""
        return None

    async def test_a_record_comes_back_as_it_was(self, store: PendingStore) -> None:
        """What was inserted is loaded, equal in every field, and without a lease."""
        record = fresh_record()
        assert await store.insert(record)
        found = await store.load(record.id)
        assert found is not None
        assert found.record == record
        assert found.lease_left is None

    async def test_an_unknown_id_is_none(self, store: PendingStore) -> None:
        """A record that was never there is no error of the store."""
        assert await store.load("never") is None

    async def test_inserting_twice_changes_nothing(self, store: PendingStore) -> None:
        """A second record with the same id is refused and the first stays."""
        record = fresh_record()
        assert await store.insert(record)
        assert not await store.insert(attrs.evolve(record, correlation="other"))
        found = await store.load(record.id)
        assert found is not None
        assert found.record.correlation == record.correlation

    async def test_swapping_needs_what_was_last_seen(self, store: PendingStore) -> None:
        """A caller who saw an older revision changes nothing."""
        record = fresh_record()
        await store.insert(record)
        mine = claimed(record)
        assert await store.swap(record, mine, lease=LONG_LEASE)
        assert not await store.swap(record, advance(record, Cancelled(), now=record.created_at))
        found = await store.load(record.id)
        assert found is not None
        assert found.record == mine

    @pytest.mark.parametrize("name", ["state", "round", "revision", "claim"])
    async def test_swapping_compares_all_that_was_seen(self, store: PendingStore, name: str) -> None:
        """State, round, revision and claim: each of them alone is enough to lose."""
        record = fresh_record()
        await store.insert(record)
        changed: dict[str, dict[str, object]] = {
            "state": {"state": PendingState.SUBMITTING},
            "round": {"round": 2},
            "revision": {"revision": 7},
            "claim": {"claim": "somebody else's"},
        }
        seen = attrs.evolve(record, **changed[name])  # type: ignore[arg-type]  # a test case's own field and value
        assert not await store.swap(seen, claimed(record), lease=LONG_LEASE)

    async def test_swapping_what_is_gone_fails(self, store: PendingStore) -> None:
        """A record that is not there cannot be claimed."""
        record = fresh_record()
        assert not await store.swap(record, claimed(record), lease=LONG_LEASE)
        assert await store.load(record.id) is None

    async def test_of_many_tasks_one_claims(self, store: PendingStore) -> None:
        """A hundred tasks that saw the same revision claim it; exactly one succeeds."""
        record = fresh_record()
        await store.insert(record)
        claims = [claimed(record, by=str(n)) for n in range(100)]
        results = await asyncio.gather(*(store.swap(record, claim, lease=LONG_LEASE) for claim in claims))
        assert sum(results) == 1
        found = await store.load(record.id)
        assert found is not None
        assert found.record == claims[results.index(True)]

    async def test_of_many_processes_one_claims_each(self, store: PendingStore, elsewhere: str | None) -> None:
        """Processes that race for the same records win each of them once."""
        if elsewhere is None:
            pytest.skip("this store is for one process")
        records = [fresh_record() for _ in range(50)]
        for record in records:
            await store.insert(record)
        wins = await asyncio.to_thread(_race, elsewhere, [record.id for record in records])
        assert sorted(wins) == sorted(record.id for record in records)

    async def test_a_lease_is_counted_by_the_store(self, store: PendingStore) -> None:
        """A claim has time left; one whose lease is over shows it, and still reads submitting."""
        record = fresh_record()
        await store.insert(record)
        held = claimed(record)
        await store.swap(record, held, lease=LONG_LEASE)
        found = await store.load(record.id)
        assert found is not None
        assert found.lease_left is not None
        assert 0 < found.lease_left <= LONG_LEASE
        lost = advance(held, ReplyLost(claim="me"), now=record.created_at)
        again = attrs.evolve(held, revision=lost.revision + 1)
        assert await store.swap(held, lost)
        assert await store.swap(lost, again, lease=-1.0)
        over = await store.load(record.id)
        assert over is not None
        assert over.record.state is PendingState.SUBMITTING
        assert over.lease_left is not None
        assert over.lease_left <= 0

    async def test_settling_ends_the_lease(self, store: PendingStore) -> None:
        """A record that is swapped without a lease has none."""
        record = fresh_record()
        await store.insert(record)
        held = claimed(record)
        await store.swap(record, held, lease=LONG_LEASE)
        assert await store.swap(held, advance(held, Linked(claim="me"), now=record.created_at))
        found = await store.load(record.id)
        assert found is not None
        assert found.lease_left is None
        assert found.record.session is None

    async def test_a_claim_that_nobody_settled_can_be_settled_late(self, store: PendingStore) -> None:
        """After a crash the record stays as claimed, and its own revision still settles it."""
        record = fresh_record()
        await store.insert(record)
        held = claimed(record)
        await store.swap(record, held, lease=-1.0)
        assert await store.swap(held, advance(held, Linked(claim="me"), now=record.created_at))

    async def test_records_are_found_by_their_state(self, store: PendingStore) -> None:
        """Iterating yields each record once, or those in one state."""
        records = [fresh_record() for _ in range(5)]
        for record in records:
            await store.insert(record)
        await store.swap(records[0], claimed(records[0]), lease=LONG_LEASE)
        everything = [record.id async for record in store.iterate()]
        awaiting = {record.id async for record in store.iterate(PendingState.AWAITING)}
        assert sorted(everything) == sorted(record.id for record in records)
        assert awaiting == {record.id for record in records[1:]}

    async def test_iterating_bears_changes(self, store: PendingStore) -> None:
        """Records may be inserted and moved while others are iterated over."""
        for _ in range(5):
            await store.insert(fresh_record())
        seen = 0
        async for record in store.iterate(PendingState.AWAITING):
            seen += 1
            await store.swap(record, claimed(record), lease=LONG_LEASE)
        assert seen == 5

    async def test_purging_removes_what_is_over(self, store: PendingStore) -> None:
        """Settled records go after their deadline, others a day later."""
        open_record, settled = fresh_record(), fresh_record()
        for record in (open_record, settled):
            await store.insert(record)
        await store.swap(settled, advance(settled, Cancelled(), now=settled.created_at))
        deadline = settled.expires_at
        assert await store.purge(deadline - timedelta(seconds=1)) == 0
        assert await store.purge(deadline + timedelta(hours=1)) == 1
        assert await store.load(settled.id) is None
        assert await store.load(open_record.id) is not None
        assert await store.purge(deadline + timedelta(hours=25)) == 1
        assert await store.load(open_record.id) is None

    async def test_a_store_reopens_when_it_is_used_again(self, store: PendingStore) -> None:
        """Closing is no end, may be done twice, and loses nothing that is not meant to be lost with it."""
        record = fresh_record()
        await store.insert(record)
        await store.aclose()
        await store.aclose()
        found = await store.load(record.id)
        assert found is not None
        assert found.record == record

    async def test_a_cancelled_call_leaves_the_store_usable(self, store: PendingStore) -> None:
        """Cancelling a call at any await changes the record wholly or not at all, and breaks nothing."""
        for steps in range(6):
            record = fresh_record()
            await store.insert(record)
            held = claimed(record)
            call = asyncio.ensure_future(_swap(store, record, held))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            found = await store.load(record.id)
            assert found is not None
            assert found.record in (record, held)


async def _swap(store: PendingStore, old: PendingRecord, new: PendingRecord) -> bool:
    return await store.swap(old, new, lease=LONG_LEASE)


def _race(elsewhere: str, ids: list[str]) -> list[str]:
    """Let processes claim the same records at the same time, and return what they won."""
    script = _RACE.format(elsewhere=elsewhere)
    processes = [
        subprocess.Popen(  # noqa: S603  # this interpreter, and a script of ours
            [sys.executable, "-c", script, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(PROCESSES)
    ]
    return list(_referee(processes, ids))


def _referee(processes: list[subprocess.Popen[str]], ids: list[str]) -> Iterator[str]:
    for process in processes:
        _tell(process, json.dumps(ids))
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
    for process in processes:
        _tell(process, "go")
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        yield from json.loads(output)


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
