"""What a report says and how it is read."""

import asyncio
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from belvo_links.audit.charts import charts_of, share
from belvo_links.audit.counting import figures_of
from belvo_links.audit.figures import SHOWN, WEEKS
from belvo_links.audit.findings import Finding, Severity
from belvo_links.audit.guarantee import guarantee
from belvo_links.audit.report import AuditReport
from belvo_links.audit.runfile import RunFile
from belvo_links.errors import RunFileError
from belvo_links.protocol.models import LinkStatus
from tests.audit.reporting import NOW, link, make_run, portfolio, report

SAID = "Every link that existed during the whole scan, from 2026-03-08 09:30:00 to 2026-03-08 09:39:41 (UTC)"


def finding(number: int, severity: Severity = Severity.LOW, check: str = "mine") -> Finding:
    return Finding(check=check, severity=severity, link_id=link(number).id, message="Something.", remedy="Do it.")


def test_a_report_says_what_was_read_and_found(tmp_path: Path) -> None:
    links = [link(1), link(2, status=LinkStatus.INVALID), link(3, status=LinkStatus.TOKEN_REQUIRED, external_id=None)]
    made = report(tmp_path / "run", links, unreadable=[("an-id", ["$.status: expected text"])])
    assert (made.complete, made.reason, made.links, made.unreadable) == (True, None, 3, 1)
    assert made.totals["status"] == {"invalid": 1, "token_required": 1, "valid": 1}
    assert made.totals["check"] == {"invalid": 1, "no_external_id": 1, "token_required": 1}
    assert made.worst is Severity.HIGH
    assert [each.severity.rank for each in made.findings] == [3, 3, 1]
    assert made.guarantee[0].startswith(SAID)
    assert made.ended_at - made.started_at == timedelta(minutes=9, seconds=41)
    assert made.summary().splitlines()[:3] == [
        "3 links: 1 invalid, 1 token_required, 1 valid",
        "3 findings: 2 high, 1 low",
        "1 record could not be read",
    ]


def test_an_incomplete_report_says_so_and_why(tmp_path: Path) -> None:
    made = report(tmp_path / "run", [link()], complete=False, reason="The list was not newest first.")
    assert made.guarantee == ("This report is not complete: links may be missing. The list was not newest first.",)
    assert "1 link (not complete)" in made.summary()


def test_it_holds_the_first_findings_and_gives_all_of_them(tmp_path: Path) -> None:
    many = [finding(number, Severity.LOW if number % 2 else Severity.MEDIUM) for number in range(SHOWN + 700)]
    made = report(tmp_path / "run", [], extra=many)

    async def listed(min_severity: str | None = None) -> list[Finding]:
        return [each async for each in made.iterate_findings(min_severity)]

    assert len(made.findings) == SHOWN
    assert {each.severity for each in made.findings[:1350]} == {Severity.MEDIUM}
    assert asyncio.run(listed()) == many
    assert asyncio.run(listed("medium")) == [each for each in many if each.severity is Severity.MEDIUM]


async def test_records_that_could_not_be_read_are_listed(tmp_path: Path) -> None:
    made = report(tmp_path / "run", [], unreadable=[("an-id", ["$.a: x", "$.b: y"]), (None, ["$.id: expected text"])])
    rows = [(each.link_id, tuple(each.problems)) async for each in made.iterate_unreadable()]
    assert rows == [("an-id", ("$.a: x", "$.b: y")), (None, ("$.id: expected text",))]


async def test_a_closed_report_has_no_file_any_more(tmp_path: Path) -> None:
    with report(tmp_path / "run", [link()], temporary=True) as made:
        await made.save(tmp_path / "kept")
    assert not (tmp_path / "run").exists()
    for late in (made.write_json, made.write_html, made.save):
        with pytest.raises(RunFileError):
            await late(tmp_path / "late")
    assert not (tmp_path / "late").exists()
    again = AuditReport.of(RunFile(tmp_path / "kept"))
    assert again.totals == made.totals
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o600


def test_the_guarantee_names_what_narrows_it() -> None:
    def said(**given: object) -> str:
        usual = {"complete": True, "reason": None, "started_at": NOW, "ended_at": NOW}
        return " ".join(guarantee(**(usual | given)))  # type: ignore[arg-type]  # a test gives what it likes

    assert "interrupted once" in said(interruptions=1)
    assert "interrupted 3 times" in said(interruptions=3)
    assert "interrupted" not in said()
    assert "(access_mode, status)" in said(filtered_by=["status__in: valid", "access_mode: single"])
    assert "filter" not in said(filtered_by=["institution: erebor_mx_retail", "created_at__gte: 2026-01-01"])
    assert "1 record could not" in said(unreadable=1)
    assert "1,200 records could not" in said(unreadable=1200)
    assert "links may be missing" in said(complete=False)


def test_figures_are_counted_into_their_classes(tmp_path: Path) -> None:
    links = [
        link(1, last_accessed_at=NOW - timedelta(hours=23)),
        link(2, last_accessed_at=NOW - timedelta(days=1)),
        link(3, last_accessed_at=NOW - timedelta(days=400), institution="gringotts_br_retail"),
        link(4, last_accessed_at=None, status=LinkStatus.INVALID),
        link(5, credentials_storage="30d", created_at=NOW - timedelta(days=23)),
        link(6, credentials_storage="30d", created_at=NOW - timedelta(days=31)),
    ]
    counted = figures_of(make_run(tmp_path / "run", links))
    assert counted.ages == (4 - 1, 1, 0, 0, 0, 1)
    assert counted.unused == 1
    assert (counted.credentials.past, counted.credentials.weeks[:2], counted.credentials.later) == (1, (0, 1), 0)
    assert counted.credentials.never == 4
    assert counted.data.past == 1
    assert sum(counted.data.weeks) + counted.data.later + counted.data.past == 6
    assert [(each.name, each.total) for each in counted.institutions] == [
        ("erebor_mx_retail", 5),
        ("gringotts_br_retail", 1),
    ]
    assert counted.worst is Severity.HIGH
    assert counted.findings == sum(each.findings for each in counted.checks)


def test_every_part_of_a_chart_stays_inside_of_it(tmp_path: Path) -> None:
    drawn = charts_of(figures_of(make_run(tmp_path / "run", portfolio(300))), NOW)
    for bars in (drawn.statuses, drawn.severities, drawn.institutions, drawn.checks):
        assert bars.bars
        assert bars.said
        for bar in bars.bars:
            ends = [piece.start + piece.width for piece in bar.pieces]
            assert ends == sorted(ends)
            assert all(0 < end <= 101 for end in ends)
    columns = [column for lane in drawn.running_out.lanes for column in lane.columns]
    assert len(columns) == 2 * WEEKS
    assert all(column.height <= drawn.running_out.height and column.start + column.width <= 100 for column in columns)
    assert max(column.height for column in drawn.ages.columns) == drawn.ages.height
    assert [mark.text for mark in drawn.running_out.months][:3] == ["now", "Apr", "May"]


def test_many_institutions_and_words_become_a_rest(tmp_path: Path) -> None:
    links = [link(number, institution=f"bank_{number:03}", status=LinkStatus(f"word{number}")) for number in range(300)]
    counted = figures_of(make_run(tmp_path / "run", links))
    drawn = charts_of(counted, NOW)
    assert len(counted.institutions) == 200
    assert counted.other_institutions == 100
    assert (drawn.institutions.bars[-1].label, drawn.institutions.bars[-1].value) == ("others", "288")
    assert (drawn.statuses.bars[-1].label, drawn.statuses.bars[-1].value) == ("other words", "288")
    assert drawn.institutions.kinds == ("other",)


@pytest.mark.parametrize(
    "part, whole, words",
    [(1, 3, "33 %"), (1, 5000, "< 1 %"), (4999, 5000, "> 99 %"), (5, 5, "100 %"), (0, 5, "0 %"), (0, 0, "0 %")],
)
def test_what_is_there_is_never_said_to_be_nothing(part: int, whole: int, words: str) -> None:
    assert share(part, whole) == words


def test_nothing_at_all_is_drawn_too(tmp_path: Path) -> None:
    drawn = charts_of(figures_of(make_run(tmp_path / "run", [])), NOW)
    assert drawn.statuses.said == "There are no links."
    assert drawn.checks.said == drawn.severities.said == "There are no findings."
    assert drawn.ages.said == "There are no links."
    assert {column.height for column in drawn.ages.columns} == {0}
    assert {column.height for lane in drawn.running_out.lanes for column in lane.columns} == {0}
