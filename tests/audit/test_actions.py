"""Plans that are carried out, seen from the service: what it received, and what the journal says of it."""

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from belvo_links import (
    AuthenticationError,
    BelvoLinks,
    ClientClosedError,
    JournalError,
    Lane,
    Link,
    LocalLimiter,
    Observer,
    RateLimit,
    RetryPolicy,
)
from belvo_links.audit import Journal, LinkResult, Outcome, Plan, RunSummary, plan_delete, plan_patch, plan_refresh
from belvo_links.audit import journal as journals
from belvo_links.audit.actions import GIVE_UP_AFTER, Pace
from belvo_links.audit.outcomes import CANCELLED, COOLDOWN, GONE
from belvo_links.sandbox import Fault, Sandbox, Switches
from belvo_links.telemetry import Call
from belvo_links.transport.messages import Quota
from tests.client.making import client

REFRESH = "/api/links/{id}/refresh/"
ONE_LINK = "/api/links/{id}/"
NO_SUCH_LINK = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def called_for(box: Sandbox, method: str | None = None) -> Counter[str]:
    """How many requests named each link."""
    return Counter(one.path.split("/")[3] for one in box.requests if method in (None, one.method))


async def results(summary: RunSummary, outcome: Outcome | None = None) -> dict[str, LinkResult]:
    return {result.link_id: result async for result in summary.results(outcome)}


def only(summary: RunSummary) -> dict[Outcome, int]:
    """The counts that are not 0."""
    return {outcome: number for outcome, number in summary.counts.items() if number}


# ----------------------------------------------------------------------------------------------------------- a dry run


async def test_a_dry_run_is_the_default_and_sends_nothing(box: Sandbox, belvo: BelvoLinks, path: Path) -> None:
    ids = box.add_links(3)
    for plan in (plan_delete(ids), plan_refresh(ids), plan_patch(ids, stale_in="90d")):
        summary = await plan.run(belvo, journal=path)
        assert (summary.dry_run, summary.left, only(summary), await results(summary)) == (True, 3, {}, {})
        assert summary.describe() == "dry run, nothing was sent: 3 calls to make"
    box.assert_nothing_sent()
    assert not path.exists()


async def test_a_dry_run_says_what_a_journal_leaves_to_do(box: Sandbox, belvo: BelvoLinks, path: Path) -> None:
    ids = box.add_links(5)
    await plan_refresh(ids[:3]).run(belvo, journal=path, dry_run=False)
    box.requests.clear()
    summary = await plan_refresh(ids).run(belvo, journal=path)
    assert (summary.left, summary.before, only(summary)) == (2, 3, {Outcome.DONE: 3})
    assert summary.describe() == "dry run, nothing was sent: 2 calls to make; 3 done"
    assert set(await results(summary)) == set(ids[:3])
    box.assert_nothing_sent()
    with pytest.raises(JournalError, match="another plan's"):
        await plan_delete(ids).run(belvo, journal=path)


# -------------------------------------------------------------------------------------------------------- what is done


async def test_every_link_is_deleted_and_its_request_id_is_the_webhook_s(
    box: Sandbox, belvo: BelvoLinks, path: Path
) -> None:
    ids = box.add_links(25)
    kept = box.add_links(1)
    told: list[LinkResult] = []
    summary = await plan_delete(ids).run(belvo, journal=path, dry_run=False, on_result=told.append)
    assert (only(summary), summary.before, summary.left) == ({Outcome.DONE: 25}, 0, 0)
    assert summary.describe() == "25 done"
    box.advance(minutes=1)
    assert [link["id"] for link in box.links] == kept
    found = await results(summary)
    assert {one.link_id: one for one in told} == found
    deleted = {hook.payload["link_id"]: hook.payload["request_id"] for hook in box.webhooks}
    assert {link_id: result.request_id for link_id, result in found.items()} == deleted


async def test_a_patch_reaches_every_link(box: Sandbox, belvo: BelvoLinks, path: Path) -> None:
    ids = box.add_links(3)
    summary = await plan_patch(ids, stale_in="45d", fetch_resources=["OWNERS", "ACCOUNTS"]).run(
        belvo, journal=path, dry_run=False
    )
    assert only(summary) == {Outcome.DONE: 3}
    assert [link["stale_in"] for link in box.links] == ["45d"] * 3
    assert {str(one.body) for one in box.requests} == {
        "{'stale_in': '45d', 'fetch_resources': ['ACCOUNTS', 'OWNERS']}",
    }


class UnderWay(Observer):
    """Counts the calls that are under way."""

    def __init__(self) -> None:
        self.now = self.most = 0

    @contextmanager
    def call(self, call: Call) -> Generator[None]:
        self.now += 1
        self.most = max(self.most, self.now)
        yield
        self.now -= 1


async def test_no_more_calls_are_under_way_than_was_said(box: Sandbox, path: Path) -> None:
    under_way = UnderWay()
    box.inject(Fault.delay(0.01), times=None)
    async with client(box, rate_limit=None, observer=under_way) as belvo:
        await plan_refresh(box.add_links(12)).run(belvo, journal=path, dry_run=False, concurrency=3)
        assert (under_way.most, under_way.now) == (3, 0)
        with pytest.raises(ValueError, match="concurrency"):
            await plan_refresh([]).run(belvo, journal=path, concurrency=0)


async def test_nothing_to_do_is_done_at_once(box: Sandbox, belvo: BelvoLinks, path: Path) -> None:
    summary = await plan_delete([]).run(belvo, journal=path, dry_run=False)
    assert summary.describe() == "nothing to do"
    assert path.exists()


# -------------------------------------------------------------------------------------------- one link's trouble is its


async def test_one_failure_is_one_result(box: Sandbox, belvo: BelvoLinks, path: Path) -> None:
    good = box.add_links(2)
    [invalid] = box.add_links(1, status="invalid")
    [cooling] = box.add_links(1)
    [denied] = box.add_links(1, username="sim_403_link")
    await belvo.refresh(cooling)
    plan = plan_refresh([good[0], invalid, cooling, denied, NO_SUCH_LINK, good[1]])
    summary = await plan.run(belvo, journal=path, dry_run=False)
    assert only(summary) == {Outcome.DONE: 2, Outcome.SKIPPED: 1, Outcome.FAILED: 3}
    found = await results(summary)
    assert [found[each].outcome for each in good] == [Outcome.DONE] * 2
    assert (found[invalid].error, found[invalid].code) == ("InvalidLinkError", "invalid_link")
    assert found[invalid].request_id is not None
    assert found[cooling].reason == COOLDOWN
    assert found[cooling].retry_after == timedelta(minutes=10)
    assert found[denied].error == "PermissionDeniedError"
    assert (found[NO_SUCH_LINK].outcome, found[NO_SUCH_LINK].error) == (Outcome.FAILED, "NotFoundError")
    assert set(await results(summary, Outcome.SKIPPED)) == {cooling}


async def test_a_link_that_is_gone_needs_no_deletion(box: Sandbox, belvo: BelvoLinks, path: Path) -> None:
    summary = await plan_delete([NO_SUCH_LINK]).run(belvo, journal=path, dry_run=False)
    [result] = (await results(summary)).values()
    assert (result.outcome, result.reason) == (Outcome.SKIPPED, GONE)


@pytest.mark.parametrize(
    "plan,username",
    [
        (lambda ids: plan_patch(ids, access_mode="recurrent"), "sim_mfa_update"),
        (plan_delete, "sim_mfa_delete"),
        (plan_refresh, "sim_mfa_refresh"),
    ],
)
async def test_a_second_factor_is_a_result_whose_session_is_stored(
    box: Sandbox, belvo: BelvoLinks, path: Path, plan: Callable[[list[str]], Plan], username: str
) -> None:
    plain = box.add_links(2)
    [asking] = box.add_links(1, username=username)
    summary = await plan([plain[0], asking, plain[1]]).run(belvo, journal=path, dry_run=False)
    assert only(summary) == {Outcome.DONE: 2, Outcome.WAITING: 1}
    [waiting] = (await results(summary, Outcome.WAITING)).values()
    assert waiting.link_id == asking
    session = await belvo.pending(waiting.pending_id or "")
    assert session.link_id == asking
    linked = await session.complete("111111")
    assert isinstance(linked, Link)
    if session.operation == "patch":
        assert linked.access_mode == "recurrent"


async def test_a_lost_patch_to_recurrent_is_recognised_by_what_was_asked_for(
    box: Sandbox, belvo: BelvoLinks, path: Path
) -> None:
    [asking] = box.add_links(1, username="sim_mfa_update")
    summary = await plan_patch([asking], access_mode="recurrent").run(belvo, journal=path, dry_run=False)
    [waiting] = (await results(summary)).values()
    box.inject(Fault.drop_after(), method="PATCH")
    session = await belvo.pending(waiting.pending_id or "")
    assert isinstance(await session.complete("111111"), Link)  # the link proves it
    box.assert_token_sent_once()


# ------------------------------------------------------------------------------------------------------ lost and broken


@pytest.mark.parametrize("fault", [Fault.drop_before(), Fault.drop_after(), Fault.html(), Fault.html_after()])
async def test_a_refresh_whose_reply_is_lost_is_unknown_and_not_repeated(
    box: Sandbox, belvo: BelvoLinks, path: Path, fault: Fault
) -> None:
    ids = box.add_links(3)
    box.inject(fault, template=REFRESH)
    summary = await plan_refresh(ids).run(belvo, journal=path, dry_run=False, concurrency=1)
    assert only(summary) == {Outcome.DONE: 2, Outcome.UNKNOWN: 1}
    assert set(await results(summary, Outcome.UNKNOWN)) == {ids[0]}
    summary = await plan_refresh(ids).run(belvo, journal=path, dry_run=False)
    assert (only(summary), summary.before) == ({Outcome.DONE: 2, Outcome.UNKNOWN: 1}, 3)
    assert called_for(box) == dict.fromkeys(ids, 1)


async def test_a_deletion_whose_reply_is_lost_is_repeated_until_it_is_known(
    box: Sandbox, belvo: BelvoLinks, path: Path
) -> None:
    ids = box.add_links(2)
    box.inject(Fault.drop_after(), method="DELETE", times=3)  # all attempts of the first call
    plan = plan_delete(ids, mode="sync")
    summary = await plan.run(belvo, journal=path, dry_run=False, concurrency=1)
    assert only(summary) == {Outcome.DONE: 1, Outcome.UNKNOWN: 1}
    assert set(await results(summary, Outcome.UNKNOWN)) == {ids[0]}
    assert called_for(box) == {ids[0]: 3, ids[1]: 1}
    box.requests.clear()

    summary = await attempts_allowed(plan).run(belvo, journal=path, dry_run=False)
    assert (only(summary), summary.before) == ({Outcome.DONE: 2}, 1)
    assert [(one.path.split("/")[3], one.status) for one in box.requests] == [(ids[0], 404)]


def attempts_allowed(plan: Plan) -> Plan:
    """The same plan under a limit that does not make a test wait a minute."""
    return plan_delete(plan.ids, mode="sync", sync_deletions=RateLimit(20, 60))


async def test_what_was_throttled_is_called_for_again_when_the_run_goes_on(
    box: Sandbox, belvo: BelvoLinks, path: Path
) -> None:
    ids = box.add_links(2)
    box.inject(Fault.status(429), template=REFRESH, times=3)
    plan = plan_refresh(ids)
    summary = await plan.run(belvo, journal=path, dry_run=False, concurrency=1)
    assert only(summary) == {Outcome.FAILED: 1, Outcome.DONE: 1}
    assert [one.error for one in (await results(summary, Outcome.FAILED)).values()] == ["RateLimitedError"]
    assert (await plan.run(belvo, journal=path)).left == 1
    summary = await plan.run(belvo, journal=path, dry_run=False)
    assert only(summary) == {Outcome.DONE: 2}
    assert called_for(box) == {ids[0]: 4, ids[1]: 1}


async def test_a_few_refused_keys_are_results_and_ten_in_a_row_end_the_run(
    box: Sandbox, belvo: BelvoLinks, path: Path
) -> None:
    ids = box.add_links(30)
    plan = plan_refresh(ids)
    box.inject(Fault.status(401), template=REFRESH, times=GIVE_UP_AFTER - 1)
    summary = await plan.run(belvo, journal=path, dry_run=False, concurrency=1)
    assert only(summary) == {Outcome.FAILED: GIVE_UP_AFTER - 1, Outcome.DONE: 31 - GIVE_UP_AFTER}

    other = path.with_name("other.db")
    box.requests.clear()
    box.advance(hours=1)
    box.inject(Fault.status(401), template=REFRESH, times=None)
    with pytest.raises(AuthenticationError):
        await plan.run(belvo, journal=other, dry_run=False, concurrency=2)
    assert GIVE_UP_AFTER <= len(box.requests) <= GIVE_UP_AFTER + 1
    assert await Journal(other).counts() == {Outcome.FAILED: len(box.requests)}
    box.clear_faults()
    assert only(await plan.run(belvo, journal=other, dry_run=False)) == {Outcome.DONE: 30}


# ----------------------------------------------------------------------------------------------------------- the limits


class Lanes:
    """A limiter that lets everybody in, counts quotas like a shared one and remembers the lanes."""

    def __init__(self) -> None:
        self.seen: Counter[Lane] = Counter()
        self.cooling: set[str] = set()

    async def acquire(self, lane: Lane) -> None:
        self.seen[lane] += 1

    async def reserve(self, quota: Quota, ticket: str) -> float:
        return 300.0 if quota.name in self.cooling else 0.0

    async def give_back(self, quota: Quota, ticket: str) -> None:
        pass


async def test_everything_goes_in_the_bulk_lane_the_look_before_a_second_factor_too(box: Sandbox, path: Path) -> None:
    lanes = Lanes()
    ids = [*box.add_links(2), *box.add_links(1, username="sim_mfa_update")]
    async with client(box, rate_limit=lanes) as belvo:
        await plan_patch(ids, access_mode="recurrent").run(belvo, journal=path, dry_run=False)
        assert lanes.seen == {Lane.BULK: 4}
        assert len(box.requests) == 4
        await belvo.refresh(ids[0])
        assert lanes.seen == {Lane.BULK: 4, Lane.CALL: 1}


async def test_a_cooldown_that_a_shared_limiter_knows_costs_no_request(box: Sandbox, path: Path) -> None:
    lanes = Lanes()
    ids = box.add_links(2)
    lanes.cooling.add(f"refresh {ids[0]}")
    async with client(box, rate_limit=lanes) as belvo:
        summary = await plan_refresh(ids).run(belvo, journal=path, dry_run=False)
    assert only(summary) == {Outcome.SKIPPED: 1, Outcome.DONE: 1}
    [skipped] = (await results(summary, Outcome.SKIPPED)).values()
    assert (skipped.link_id, skipped.retry_after) == (ids[0], timedelta(minutes=5))
    assert called_for(box) == {ids[1]: 1}


async def test_a_quarter_of_the_limit_is_left_and_a_cancelled_run_ends_at_once(box: Sandbox, path: Path) -> None:
    """What waited for its turn was not begun; what was done is done."""
    ids = box.add_links(20)
    async with client(box, rate_limit=LocalLimiter(RateLimit(8, 600))) as belvo:
        six = asyncio.Event()
        told: list[str] = []

        def tell(result: LinkResult) -> None:
            told.append(result.link_id)
            if len(told) == 6:
                six.set()

        run = asyncio.create_task(plan_refresh(ids).run(belvo, journal=path, dry_run=False, on_result=tell))
        await six.wait()
        await belvo.get(ids[19])  # somebody who waits is let in
        assert len(box.requests) == 7
        began = time.perf_counter()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert time.perf_counter() - began < 1
    assert {one.link_id async for one in Journal(path).results()} == set(told)
    assert await Journal(path).counts() == {Outcome.DONE: 6}


async def test_what_was_under_way_when_a_run_is_cancelled_is_unknown(
    box: Sandbox, belvo: BelvoLinks, path: Path
) -> None:
    ids = box.add_links(10)
    box.inject(Fault.delay_after(30), template=REFRESH, times=None)
    run = asyncio.create_task(plan_refresh(ids).run(belvo, journal=path, dry_run=False, concurrency=2))
    while len(box.requests) < 2:  # noqa: ASYNC110  # the simulator has no event for it
        await asyncio.sleep(0.002)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    found = [one async for one in Journal(path).results()]
    assert [(one.outcome, one.reason) for one in found] == [(Outcome.UNKNOWN, CANCELLED)] * 2
    box.clear_faults()
    summary = await plan_refresh(ids).run(belvo, journal=path, dry_run=False)
    assert only(summary) == {Outcome.UNKNOWN: 2, Outcome.DONE: 8}
    assert called_for(box) == dict.fromkeys(ids, 1)


async def test_what_was_written_down_but_not_sent_when_a_run_is_cancelled_was_not_begun(
    box: Sandbox, belvo: BelvoLinks, path: Path
) -> None:
    written = asyncio.Event()

    class Slow(Journal):
        async def begin(self, link_id: str) -> None:
            await super().begin(link_id)
            written.set()
            await asyncio.sleep(0.02)

    run = asyncio.create_task(plan_refresh(box.add_links(2)).run(belvo, journal=Slow(path), dry_run=False))
    await written.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await Journal(path).counts() == {}
    box.assert_nothing_sent()


async def test_what_has_ended_when_a_run_is_cancelled_is_written_down(
    box: Sandbox, belvo: BelvoLinks, path: Path
) -> None:
    ended = asyncio.Event()

    class Slow(Journal):
        async def settle(self, result: LinkResult) -> None:
            ended.set()
            await asyncio.sleep(0.02)
            await super().settle(result)

    run = asyncio.create_task(plan_refresh(box.add_links(1)).run(belvo, journal=Slow(path), dry_run=False))
    await ended.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await Journal(path).counts() == {Outcome.DONE: 1}


SPEED = 200.0
"""How much faster than ours the time of the simulator goes in the next test."""


async def test_synchronous_deletions_are_paced_so_that_none_is_throttled(path: Path) -> None:
    """Also those of a run that goes on a moment after another has ended."""
    began = time.monotonic()
    start = datetime(2026, 3, 1, 9, tzinfo=UTC)
    box = Sandbox(seed=1, clock=lambda: start + timedelta(seconds=(time.monotonic() - began) * SPEED))
    async with box, client(box, rate_limit=None, retry=RetryPolicy(base=0, ceiling=0)) as belvo:
        ids = box.add_links(13)
        allowed = RateLimit(5, 60 / SPEED)
        box.inject(Fault.drop_after(), method="DELETE")  # an attempt that counts, too
        for number in (9, 13):
            plan = plan_delete(ids[:number], mode="sync", sync_deletions=allowed)
            summary = await plan.run(belvo, journal=path, dry_run=False, concurrency=50)
            assert only(summary) == {Outcome.DONE: number}
        assert [one.status for one in box.requests].count(429) == 0
        assert len(box.requests) == 14
        assert box.peak_requests(60) == 5


async def test_without_a_pace_the_service_would_have_throttled(path: Path) -> None:
    """The test above can fail."""
    async with Sandbox(switches=Switches(retry_after=False)) as box, client(box, rate_limit=None) as belvo:
        plan = plan_delete(box.add_links(12), mode="sync", sync_deletions=RateLimit(100, 60))
        summary = await plan.run(belvo, journal=path, dry_run=False)
        assert only(summary) == {Outcome.DONE: 5, Outcome.FAILED: 7}


async def test_a_place_that_nobody_waits_for_any_more_is_free_again() -> None:
    pace = Pace(RateLimit(1, 60), [-5.0, 0.0][:1])  # the clock was set back meanwhile: not more than a window
    waiting = asyncio.create_task(pace.take())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert 59 < pace._free[0] - asyncio.get_running_loop().time() <= 60
    quick = Pace(RateLimit(2, 60), [60.0])
    await asyncio.wait_for(quick.take(), 1)
    await asyncio.wait_for(quick.take(), 1)


# ---------------------------------------------------------------------------------------------------------- the journal


async def test_a_run_that_is_repeated_calls_for_nothing(box: Sandbox, belvo: BelvoLinks, path: Path) -> None:
    ids = box.add_links(4)
    plan = plan_refresh(ids)
    async with Journal(path) as journal:
        await plan.run(belvo, journal=journal, dry_run=False)
        summary = await plan.run(belvo, journal=journal, dry_run=False)
    assert (only(summary), summary.before) == ({Outcome.DONE: 4}, 4)
    assert called_for(box) == dict.fromkeys(ids, 1)


async def test_a_journal_is_its_account_s(box: Sandbox, belvo: BelvoLinks, path: Path) -> None:
    ids = box.add_links(1)
    plan = plan_refresh(ids)
    await plan.run(belvo, journal=path, dry_run=False)
    secret_id, secret_password = box.add_account()
    async with BelvoLinks(secret_id, secret_password, base_url=box.url) as other:
        with pytest.raises(JournalError, match=r"\(account differ"):
            await plan.run(other, journal=path, dry_run=False)
    async with Sandbox() as elsewhere, BelvoLinks(box.secret_id, box.secret_password, base_url=elsewhere.url) as moved:
        with pytest.raises(JournalError, match=r"\(origin differ"):
            await plan.run(moved, journal=path, dry_run=False)
    assert len(box.requests) == 1
    assert box.secret_id not in path.read_bytes().decode("latin-1")


async def test_of_two_runs_with_one_journal_one_runs(
    box: Sandbox, belvo: BelvoLinks, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "BUSY_SECONDS", 0.05)
    plan = plan_refresh(box.add_links(6))
    box.inject(Fault.delay(30), times=None)
    first = asyncio.create_task(plan.run(belvo, journal=path, dry_run=False, concurrency=1))
    while not box.requests:  # noqa: ASYNC110  # the simulator has no event for it
        await asyncio.sleep(0.002)
    with pytest.raises(JournalError, match="Another run has this journal"):
        await plan.run(belvo, journal=path, dry_run=False)
    assert len(box.requests) == 1
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_what_cannot_be_written_down_is_not_sent(box: Sandbox, belvo: BelvoLinks, path: Path) -> None:
    await plan_refresh([]).run(belvo, journal=path, dry_run=False)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON calls WHEN NEW.state = 'begun' BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    with pytest.raises(JournalError, match="IntegrityError"):
        await plan_refresh(box.add_links(3)).run(belvo, journal=path, dry_run=False)
    box.assert_nothing_sent()


async def test_what_cannot_be_settled_ends_the_run_and_stays_unknown(
    box: Sandbox, belvo: BelvoLinks, path: Path
) -> None:
    await plan_refresh([]).run(belvo, journal=path, dry_run=False)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON calls WHEN NEW.state = 'done' BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    with pytest.raises(JournalError):
        await plan_refresh(box.add_links(3)).run(belvo, journal=path, dry_run=False, concurrency=1)
    assert len(box.requests) == 1
    assert await Journal(path).counts() == {Outcome.UNKNOWN: 1}


async def test_a_client_that_is_closed_meanwhile_ends_the_run_with_nothing_unknown(box: Sandbox, path: Path) -> None:
    ids = box.add_links(5)
    async with client(box, rate_limit=None) as belvo:
        closing_it: list[asyncio.Task[None]] = []

        def close(_: LinkResult) -> None:
            closing_it.append(asyncio.ensure_future(belvo.aclose()))

        with pytest.raises(ClientClosedError):
            await plan_refresh(ids).run(belvo, journal=path, dry_run=False, concurrency=1, on_result=close)
        await asyncio.gather(*closing_it)
        with pytest.raises(ClientClosedError):
            await plan_refresh(ids).run(belvo, journal=path, dry_run=False)
    assert await Journal(path).counts() == {Outcome.DONE: len(box.requests)}


async def test_what_the_caller_s_function_raises_ends_the_run(box: Sandbox, belvo: BelvoLinks, path: Path) -> None:
    ids = box.add_links(10)

    def fail(_: LinkResult) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await plan_refresh(ids).run(belvo, journal=path, dry_run=False, concurrency=2, on_result=fail)
    assert await Journal(path).counts() == {Outcome.DONE: len(box.requests)}
    assert len(box.requests) <= 2
