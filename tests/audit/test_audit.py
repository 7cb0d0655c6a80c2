"""Whole audits of the simulator's links."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from belvo_links import BelvoLinks, ConnectError, Extra, Link, LinkFilter, RateLimit, RunFileError, ScanAssumptionError
from belvo_links.audit import CHECKS, AuditReport, CheckContext, Finding, Progress, Severity, audit
from belvo_links.audit import checks as shipped
from belvo_links.audit.runfile import RunFile
from belvo_links.client.scan import ScanPage
from belvo_links.errors import BelvoLinksError
from belvo_links.protocol.models import UnreadableLink
from belvo_links.protocol.windows import ScanWindow
from belvo_links.sandbox import Fault, Sandbox
from tests.audit.found import NOW, fill, link
from tests.client.making import client

LINKS = "/api/links/"


def by_check(report: AuditReport) -> dict[str, int]:
    return dict(report.totals["check"])


def held(path: Path) -> tuple[list[Any], ...]:
    """All that a run's file holds but its times and its order."""
    run = RunFile(path)
    return (
        sorted(run.iterate_links(), key=lambda each: each.id),
        sorted(run.iterate_findings(), key=lambda each: (each.link_id, each.check)),
        sorted(run.iterate_unreadable(), key=repr),
    )


async def test_an_audit_reads_every_link_and_says_what_is_wrong(box: Sandbox, belvo: BelvoLinks) -> None:
    fine = box.add_links(
        30, institution="gringotts_mx_retail", external_id="user-1", username="one", access_mode="single"
    )
    box.add_links(3, status="invalid", username="two", external_id="user-2")
    report = await audit(belvo, page_size=7)
    assert (report.complete, report.reason, report.links, report.unreadable) == (True, None, 33, 0)
    assert report.totals["status"] == {"valid": 30, "invalid": 3}
    assert report.worst is Severity.HIGH
    assert by_check(report)["invalid"] == 3
    assert by_check(report)["duplicates"] == 29 + 2
    assert {each.link_id for each in report.findings if each.check == "duplicates"} >= set(fine[1:])
    assert [each.severity.rank for each in report.findings] == sorted(
        (each.severity.rank for each in report.findings), reverse=True
    )
    report.close()


async def test_what_is_found_changes_as_time_passes(box: Sandbox, belvo: BelvoLinks) -> None:
    box.add_links(1, access_mode="single", credentials_storage="365d", stale_in="300d", external_id="user-1")
    first = by_check(await audit(belvo))
    box.advance(days=290)
    second = by_check(await audit(belvo))
    box.advance(days=70)
    third = by_check(await audit(belvo))
    box.advance(days=20)
    fourth = by_check(await audit(belvo))
    assert "data_running_out" not in first
    assert "credentials_running_out" not in second
    assert "data_running_out" in second
    assert "credentials_running_out" in third
    assert "invalid" not in third
    assert "invalid" in fourth


async def test_the_filters_say_which_links_are_audited(box: Sandbox, belvo: BelvoLinks) -> None:
    box.add_links(5, status="invalid")
    box.add_links(5)
    report = await audit(belvo, LinkFilter(status="invalid"))
    assert report.totals["status"] == {"invalid": 5}


def old(link: Link, context: CheckContext) -> Iterable[Finding]:
    """A check of a user's own."""
    if context.now - link.created_at > timedelta(days=30):
        yield Finding(check="old", severity=Severity.LOW, link_id=link.id, message="It is old.", remedy="None needed.")


def failing(link: Link, context: CheckContext) -> Iterable[Finding]:
    raise LookupError(link.external_id)


async def test_checks_of_the_users_own_run_beside_the_shipped_ones(box: Sandbox, belvo: BelvoLinks) -> None:
    box.add_links(1, status="invalid", external_id="user-1")
    box.advance(days=31)
    report = await audit(belvo, checks=(*CHECKS, old, failing))
    assert by_check(report)["old"] == by_check(report)["invalid"] == by_check(report)["check_failed"] == 1
    alone = await audit(belvo, checks=[old])
    assert by_check(alone) == {"old": 1}


async def test_an_audit_without_checks_counts_links(box: Sandbox, belvo: BelvoLinks) -> None:
    box.add_links(4)
    report = await audit(belvo, checks=())
    assert (report.links, report.worst, list(report.findings)) == (4, None, [])


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"checks": [old, old]}, ValueError),
        ({"checks": ["old"]}, TypeError),
        ({"page_size": 0}, ValueError),
        ({"concurrency": 0}, ValueError),
        ({"filters": {"status": "valid"}}, TypeError),
        ({"pseudonymise": ""}, ValueError),
    ],
)
async def test_arguments_without_sense_leave_no_file_and_send_nothing(
    box: Sandbox, belvo: BelvoLinks, tmp_path: Path, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await audit(belvo, checkpoint=tmp_path / "run.sqlite", **arguments)
    assert list(tmp_path.iterdir()) == []
    assert box.served == 0


# --------------------------------------------------------------------------------------------- pages as they are given


class Pages(BelvoLinks):
    """A client whose scan gives these pages; an error among them is raised in its turn."""

    def __init__(self, *pages: ScanPage | BelvoLinksError) -> None:
        super().__init__("id", "password", base_url="http://127.0.0.1:9", clock=lambda: NOW)
        self.pages = pages
        self.after: list[ScanWindow | None] = []

    def scan(self, *args: Any, after: ScanWindow | None = None, **kwargs: Any) -> Any:
        self.after.append(after)
        return Given(self.pages)


class Given:
    def __init__(self, pages: Sequence[ScanPage | BelvoLinksError]) -> None:
        self._pages = iter(pages)

    def __aiter__(self) -> "Given":
        return self

    async def __anext__(self) -> ScanPage:
        await asyncio.sleep(0)
        for page in self._pages:
            if isinstance(page, BelvoLinksError):
                raise page
            return page
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._pages = iter(())


NEWEST = ScanWindow(part=0, since=date(2026, 2, 1), until=None)
OLDEST = ScanWindow(part=0, since=None, until=date(2026, 2, 1))


def page(window: ScanWindow, *links: Link, unreadable: Sequence[UnreadableLink] = (), ends: bool = True) -> ScanPage:
    return ScanPage(window=window, links=links, unreadable=tuple(unreadable), total=len(links), ends_window=ends)


async def test_a_record_that_cannot_be_read_costs_that_record() -> None:
    broken = UnreadableLink(id="b", problems=("$.fetch_resources: expected an array",))
    async with Pages(page(NEWEST, link(id="a"), unreadable=[broken]), page(OLDEST, link(id="c"))) as belvo:
        report = await audit(belvo)
    assert (report.complete, report.links, report.unreadable) == (True, 2, 1)


async def test_drift_is_noticed() -> None:
    newer = link(id="a", status="paused", extra=Extra({"tier": "canary"}))
    async with Pages(page(NEWEST, newer), page(OLDEST, attrs.evolve(newer, id="b"))) as belvo:
        report = await audit(belvo, checks=[shipped.drift])
    assert [each.link_id for each in report.findings] == ["a", "a"]
    assert "canary" not in str(report.findings)


async def test_a_listing_that_does_not_hold_together_makes_the_report_incomplete(tmp_path: Path) -> None:
    broken = ScanAssumptionError("Links came in no order.")
    async with Pages(page(NEWEST, link(id="a")), page(OLDEST, link(id="b"), ends=False), broken) as belvo:
        report = await audit(belvo, checkpoint=tmp_path / "run.sqlite")
        assert (report.complete, report.links) == (False, 2)
        assert report.reason == "Links came in no order."
        again = await audit(belvo, checkpoint=tmp_path / "run.sqlite")
        assert (again.complete, again.reason, again.links) == (False, report.reason, 2)


async def test_what_was_read_of_an_unfinished_window_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    lost = ConnectError(method="GET", path=LINKS)
    async with Pages(page(NEWEST, link(id="a")), page(OLDEST, link(id="b"), ends=False), lost) as belvo:
        with pytest.raises(ConnectError) as failed:
            await audit(belvo, checkpoint=path)
        assert any("call it again" in note for note in failed.value.__notes__)
    async with Pages(page(OLDEST, link(id="b"), link(id="c"))) as belvo:
        report = await audit(belvo, checkpoint=path)
        assert belvo.after[-1] == NEWEST
    assert [each.id for each in RunFile(path).iterate_links()] == ["a", "b", "c"]
    assert (report.complete, report.links) == (True, 3)
    assert RunFile(path).facts.interruptions == 1


async def test_drift_that_was_told_before_an_interruption_is_not_told_again(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with Pages(page(NEWEST, link(id="a", status="paused")), ConnectError(method="GET", path=LINKS)) as belvo:
        with pytest.raises(ConnectError):
            await audit(belvo, checkpoint=path)
    async with Pages(page(OLDEST, link(id="b", status="paused"))) as belvo:
        report = await audit(belvo, checkpoint=path)
    assert [each.link_id for each in report.findings if each.check == "drift"] == ["a"]


async def test_a_failed_audit_without_a_checkpoint_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with Pages(page(NEWEST, link(id="a")), ConnectError(method="GET", path=LINKS)) as belvo:
        with pytest.raises(ConnectError) as failed:
            await audit(belvo)
    assert not hasattr(failed.value, "__notes__")
    assert list(tmp_path.iterdir()) == []


async def test_a_temporary_file_lasts_as_long_as_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with Pages(page(NEWEST, link(id="a"))) as belvo:
        with await audit(belvo):
            assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def slow(link: Link, context: CheckContext) -> Iterable[Finding]:
    """A check that holds up the event loop for a millisecond."""
    until = time.perf_counter() + 0.001
    while time.perf_counter() < until:
        pass
    return ()


async def test_the_event_loop_has_its_turns_while_links_are_checked() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with Pages(page(NEWEST, *(link(id=str(number)) for number in range(100)))) as belvo:
        start = asyncio.create_task(other())
        before: list[int] = []
        during: list[int] = []

        def first_and_last(link: Link, context: CheckContext) -> Iterable[Finding]:
            (before if link.id == "0" else during).append(turns)
            return slow(link, context)

        await audit(belvo, checks=[first_and_last])
        start.cancel()
    assert during[-1] - before[0] >= 25  # 100 ms of work, at most about 2 ms at a time


# ------------------------------------------------------------------------------------------------------------ progress


async def test_progress_is_told_after_each_page_and_costs_one_request(box: Sandbox, belvo: BelvoLinks) -> None:
    box.add_links(40, status="invalid")
    await audit(belvo, page_size=10)
    quiet = box.served
    told: list[Progress] = []
    await audit(belvo, page_size=10, on_progress=told.append)
    assert box.served - quiet == quiet + 1
    assert [each.links for each in told] == sorted(each.links for each in told)
    assert {10, 20, 30, 40} <= {each.links for each in told}
    last = told[-1]
    assert (last.links, last.total, last.waiting_for) == (40, 40, "file")
    assert last.findings >= 40
    assert last.rate > 0
    assert last.remaining == 0


async def test_progress_says_what_it_waits_for(box: Sandbox) -> None:
    box.add_links(400)
    told: list[str | None] = []
    async with client(box, rate_limit=RateLimit(8, 0.2)) as slow:
        await audit(slow, page_size=20, on_progress=lambda progress: told.append(progress.waiting_for))
    first_page = told.index(None)
    assert told[:first_page][:2] == ["rate limit", "service"]
    assert told[-1] == "file"
    assert set(told) == {"rate limit", "service", "file", None}


async def test_progress_goes_on_where_the_run_was_interrupted(tmp_path: Path) -> None:
    told: list[Progress] = []
    path = tmp_path / "run.sqlite"
    async with Pages(page(NEWEST, link(id="a")), ConnectError(method="GET", path=LINKS)) as belvo:
        with pytest.raises(ConnectError):
            await audit(belvo, checkpoint=path)

    class Counted(Pages):
        async def count(self, *args: Any, **kwargs: Any) -> int:
            return 2

    async with Counted(page(OLDEST, link(id="b"))) as belvo:
        await audit(belvo, checkpoint=path, on_progress=told.append)
    assert told[-1].links == 2
    assert told[-1].rate * told[-1].seconds == pytest.approx(1)


async def test_an_error_of_the_progress_display_ends_the_audit_and_keeps_the_checkpoint(
    box: Sandbox, belvo: BelvoLinks, tmp_path: Path
) -> None:
    box.add_links(5)

    def fail(progress: Progress) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await audit(belvo, checkpoint=tmp_path / "run.sqlite", on_progress=fail)
    report = await audit(belvo, checkpoint=tmp_path / "run.sqlite")
    assert report.links == 5


# -------------------------------------------------------------------------------------------------------- interruptions


async def test_an_audit_that_is_cancelled_goes_on_later(box: Sandbox, belvo: BelvoLinks, tmp_path: Path) -> None:
    fill(box, 300)
    path = tmp_path / "run.sqlite"
    context = CheckContext(now=NOW)
    whole = tmp_path / "whole.sqlite"
    await audit(belvo, checkpoint=whole, context=context, page_size=5, pseudonymise="k" * 32)
    at_once = box.served

    def cancel_halfway(progress: Progress) -> None:
        if progress.links > 150:
            task.cancel()

    task = asyncio.create_task(
        audit(belvo, checkpoint=path, context=context, page_size=5, pseudonymise="k" * 32, on_progress=cancel_halfway)
    )
    with pytest.raises(asyncio.CancelledError):
        await task
    before = box.served
    await audit(belvo, checkpoint=path, context=context, page_size=5, pseudonymise="k" * 32)
    assert held(path) == held(whole)
    assert box.served - before < at_once
    assert RunFile(path).facts.interruptions == 1


async def test_a_run_of_another_account_is_not_continued(box: Sandbox, belvo: BelvoLinks, tmp_path: Path) -> None:
    box.add_links(3)
    path = tmp_path / "run.sqlite"
    box.inject(Fault.status(401), times=None)
    with pytest.raises(BelvoLinksError):
        await audit(belvo, checkpoint=path)
    box.clear_faults()
    other_id, other_password = box.add_account()
    async with BelvoLinks(other_id, other_password, base_url=box.url, **box.client_options) as other:
        with pytest.raises(RunFileError, match="account"):
            await audit(other, checkpoint=path)
    assert (await audit(belvo, checkpoint=path)).links == 3


async def test_links_that_come_and_go_between_two_halves_are_told_apart_by_the_times(
    box: Sandbox, belvo: BelvoLinks, tmp_path: Path
) -> None:
    box.add_links(3)
    path = tmp_path / "run.sqlite"
    box.inject(Fault.status(401), times=None)
    with pytest.raises(BelvoLinksError):
        await audit(belvo, checkpoint=path)
    box.clear_faults()
    begun = box.clock()
    box.advance(days=2)
    box.add_links(1)
    report = await audit(belvo, checkpoint=path)
    assert report.links == 4
    assert report.started_at <= begun < begun + timedelta(days=2) <= report.ended_at


async def test_of_a_run_that_has_ended_the_report_is_returned(box: Sandbox, belvo: BelvoLinks, tmp_path: Path) -> None:
    box.add_links(3, status="invalid")
    first = await audit(belvo, checkpoint=tmp_path / "run.sqlite")
    box.advance(days=1)
    served = box.served
    second = await audit(belvo, checkpoint=tmp_path / "run.sqlite")
    assert box.served == served
    assert (second.findings, second.ended_at) == (first.findings, first.ended_at)


async def test_pseudonyms_are_in_the_file_under_the_users_key(box: Sandbox, belvo: BelvoLinks, tmp_path: Path) -> None:
    box.add_links(2, external_id="canary-4711")
    await audit(belvo, checkpoint=tmp_path / "a", pseudonymise="k" * 32)
    await audit(belvo, checkpoint=tmp_path / "b", pseudonymise=b"k" * 32)
    assert held(tmp_path / "a")[0] == held(tmp_path / "b")[0]
    assert RunFile(tmp_path / "a").facts.pseudonymised
    assert b"canary-4711" not in (tmp_path / "a").read_bytes()
