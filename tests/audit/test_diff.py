"""What has changed between two runs."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.audit.differences import FindingChange, LinkChange, compare, finding_changes, link_changes, merged
from belvo_links.audit.findings import Severity
from belvo_links.errors import RunFileError
from belvo_links.protocol.models import LinkStatus
from tests.audit.reporting import NOW, link, make_run

ROWS = st.dictionaries(st.text(max_size=3), st.sampled_from(["valid", "invalid"]), max_size=12)


async def changes(old: Path, new: Path) -> tuple[list[LinkChange], list[FindingChange]]:
    compared = await compare(old, new)
    links = [each async for each in compared.iterate_links()]
    return links, [each async for each in compared.iterate_findings()]


async def test_links_and_findings_that_came_went_and_changed_are_told(tmp_path: Path) -> None:
    soon = NOW - timedelta(days=29)
    make_run(
        tmp_path / "old", [link(1), link(2, external_id=None), link(3, created_at=soon, credentials_storage="42d")]
    )
    make_run(
        tmp_path / "new",
        [link(1, status=LinkStatus.INVALID), link(3, created_at=soon, credentials_storage="30d"), link(4)],
    )
    links, findings = await changes(tmp_path / "old", tmp_path / "new")
    assert [(each.change, each.link_id[-1], each.before, each.after) for each in links] == [
        ("changed", "1", "valid", "invalid"),
        ("gone", "2", "valid", None),
        ("new", "4", None, "valid"),
    ]
    told = {(each.change, each.check, each.link_id[-1]) for each in findings}
    assert {("new", "invalid", "1"), ("gone", "no_external_id", "2")} <= told
    assert all(each.message and each.remedy for each in findings)
    assert links[0].to_json()["after"] == "invalid"
    assert findings[0].to_json()["after"] in {"high", "medium", "low", "info"}


async def test_a_run_is_no_different_from_itself(tmp_path: Path) -> None:
    make_run(tmp_path / "run", [link(number, status=LinkStatus.INVALID) for number in range(700)])
    assert await changes(tmp_path / "run", tmp_path / "run") == ([], [])
    assert (await compare(tmp_path / "run", tmp_path / "run")).notes == []


def test_a_severity_that_changed_is_told() -> None:
    def row(severity: str) -> tuple[str, str, str, str, str]:
        return ("a", "mine", severity, f"It is {severity}.", "Do it.")

    (told,) = finding_changes([row("info")], [row("high")])
    assert (told.change, told.before, told.after) == ("changed", Severity.INFO, Severity.HIGH)
    assert told.message == "It is high."


async def test_what_narrows_the_comparison_is_noted(tmp_path: Path) -> None:
    make_run(tmp_path / "old", [], complete=False, reason="x", judged_at=(NOW + timedelta(days=1)).isoformat())
    make_run(tmp_path / "new", [], complete=False, reason="x", filters=["status: valid"], checks=["mine"])
    assert (await compare(tmp_path / "old", tmp_path / "new")).notes == [
        "The old run is not complete: links may only seem to be new.",
        "The new run is not complete: links may only seem to be gone.",
        "The runs have other filters: a link may be new or gone because of that.",
        "The runs have other checks: a finding may be new or gone because of that.",
        "The old run is the later one.",
    ]


@pytest.mark.parametrize("other", [{"origin": "https://api.belvo.com"}, {"account": "another"}])
async def test_runs_of_different_accounts_are_not_compared(tmp_path: Path, other: dict[str, Any]) -> None:
    make_run(tmp_path / "old", [])
    make_run(tmp_path / "new", [], **other)
    with pytest.raises(RunFileError, match="different accounts or services"):
        await compare(tmp_path / "old", tmp_path / "new")


async def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no run at all, but long enough to be looked at")
    make_run(tmp_path / "run", [])
    for old, new in (("text", "run"), ("run", "text"), ("run", "missing")):
        with pytest.raises(RunFileError):
            await compare(tmp_path / old, tmp_path / new)


@given(ROWS, ROWS)
def test_any_two_lists_are_compared_as_sets_would_be(old: dict[str, str], new: dict[str, str]) -> None:
    def rows(links: dict[str, str]) -> list[tuple[str, str, str]]:
        by_bytes = sorted(links, key=lambda each: each.encode("utf-8", "surrogatepass"))
        return [(each, links[each], "bank") for each in by_bytes]

    told = {each.link_id: (each.before, each.after) for each in link_changes(rows(old), rows(new))}
    assert told == {each: (old.get(each), new.get(each)) for each in {*old, *new} if old.get(each) != new.get(each)}
    assert sum(1 for _ in merged(rows(old), rows(new), keys=1)) == len({*old, *new})
