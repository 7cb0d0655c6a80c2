"""The data files of a report."""

import asyncio
import csv
import io
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet  # type: ignore[import-untyped]  # it comes without types
import pytest
from jsonschema import validate

from belvo_links.audit.figures import COLUMNS
from belvo_links.audit.findings import Finding, Severity
from belvo_links.audit.report import AuditReport
from belvo_links.protocol.models import LinkStatus
from tests.audit.reporting import link, portfolio, report

DOCUMENT: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        *("format", "complete", "reason", "guarantee", "origin", "filters", "checks", "pseudonymised", "started_at"),
        *("ended_at", "interruptions", "links", "unreadable", "worst", "totals", "findings", "unreadable_records"),
    ],
    "properties": {
        "format": {"const": 1},
        "complete": {"type": "boolean"},
        "reason": {"type": ["string", "null"]},
        "guarantee": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "origin": {"type": "string"},
        "filters": {"type": "array", "items": {"type": "string"}},
        "checks": {"type": "array", "items": {"type": "string"}},
        "pseudonymised": {"type": "boolean"},
        "started_at": {"type": "string", "pattern": "Z$"},
        "ended_at": {"type": "string", "pattern": "Z$"},
        "interruptions": {"type": "integer"},
        "links": {"type": "integer"},
        "unreadable": {"type": "integer"},
        "worst": {"enum": ["high", "medium", "low", "info", None]},
        "totals": {"type": "object", "additionalProperties": {"type": "object"}},
        "findings": {"type": "array", "items": {"type": "object", "required": list(COLUMNS)}},
        "unreadable_records": {"type": "array", "items": {"type": "object", "required": ["link_id", "problems"]}},
    },
}
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]


@pytest.fixture
def made(tmp_path: Path) -> AuditReport:
    return report(tmp_path / "run", portfolio(200), unreadable=[(None, ["$.id: expected text"])])


async def test_json_has_everything(made: AuditReport, tmp_path: Path) -> None:
    await made.write_json(tmp_path / "out.json")
    document = json.loads((tmp_path / "out.json").read_bytes())
    validate(document, DOCUMENT)
    assert len(document["findings"]) == sum(document["totals"]["severity"].values()) > 100
    assert document["unreadable_records"] == [{"link_id": None, "problems": ["$.id: expected text"]}]
    ranks = [Severity(each["severity"]).rank for each in document["findings"]]
    assert ranks == sorted(ranks, reverse=True)


async def test_json_of_nothing_is_json(tmp_path: Path) -> None:
    await report(tmp_path / "run", []).write_json(tmp_path / "out.json")
    document = json.loads((tmp_path / "out.json").read_bytes())
    validate(document, DOCUMENT)
    assert (document["findings"], document["worst"]) == ([], None)


async def test_all_formats_have_the_same_rows(made: AuditReport, tmp_path: Path) -> None:
    await made.write_json(tmp_path / "out.json")
    await made.write_jsonl(tmp_path / "out.jsonl")
    await made.write_csv(tmp_path / "out.csv")
    await made.write_parquet(tmp_path / "out.parquet")
    rows = json.loads((tmp_path / "out.json").read_bytes())["findings"]
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == rows
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        cells = [{name: text or None for name, text in row.items()} for row in csv.DictReader(file)]
    assert cells == rows
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == list(COLUMNS)
    assert [(row["check"], row["severity"], row["link_id"]) for row in table.to_pylist()] == [
        (row["check"], row["severity"], row["link_id"]) for row in rows
    ]
    assert f"{table.to_pylist()[0]['created_at']:%Y-%m-%dT%H:%M:%SZ}" == rows[0]["created_at"]


@pytest.mark.parametrize("format_", ["json", "jsonl", "csv", "parquet", "html"])
async def test_files_are_the_owners_alone_and_replaced_whole(made: AuditReport, tmp_path: Path, format_: str) -> None:
    path = tmp_path / "out"
    path.write_text("before")
    path.chmod(0o644)
    await getattr(made, f"write_{format_}")(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() != b"before"
    with pytest.raises(OSError):
        await getattr(made, f"write_{format_}")(tmp_path / "no-folder" / "out")


@pytest.mark.parametrize("format_", ["json", "jsonl", "csv", "parquet", "html"])
async def test_an_open_file_is_written_to_and_stays_open(made: AuditReport, format_: str) -> None:
    file = io.BytesIO()
    await getattr(made, f"write_{format_}")(file)
    assert len(file.getvalue()) > 1000


async def test_a_failure_leaves_the_file_that_was_there(
    made: AuditReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    path.write_text("before")

    def fail(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("belvo_links.audit.writers.write_jsonl", fail)
    with pytest.raises(OSError):
        await made.write_jsonl(path)
    assert path.read_text() == "before"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "run"]


async def test_who_cancels_gets_no_file(made: AuditReport, tmp_path: Path) -> None:
    writing = asyncio.ensure_future(made.write_csv(tmp_path / "out"))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await asyncio.get_running_loop().shutdown_default_executor()
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("text", FORMULAS)
async def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    extra = [Finding(check="mine", severity=Severity.LOW, link_id=text, message=text, remedy=text)]
    made = report(tmp_path / "run", [link(institution=text, status=LinkStatus.INVALID)], extra=extra)
    file = io.BytesIO()
    await made.write_csv(file)
    rows = list(csv.reader(io.StringIO(file.getvalue().decode(), newline="")))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert f"'{text}" in rows[1]


async def test_ids_of_users_are_there_as_pseudonyms_or_not_at_all(tmp_path: Path) -> None:
    def rows(**given: bool) -> list[dict[str, str | None]]:
        file = io.BytesIO()
        path = tmp_path / f"run{len(given)}"
        asyncio.run(report(path, [link(status=LinkStatus.INVALID)], **given).write_jsonl(file))
        assert b"user-1" not in file.getvalue() + path.read_bytes()
        assert b"person-1" not in file.getvalue() + path.read_bytes()
        return [json.loads(line) for line in file.getvalue().splitlines()]

    (named,) = await asyncio.to_thread(lambda: rows(pseudonymised=True))
    (nameless,) = await asyncio.to_thread(rows)
    assert len(named["external_id"] or "") == len(named["institution_user_id"] or "") == 64
    assert (nameless["external_id"], nameless["institution_user_id"]) == (None, None)


@pytest.mark.parametrize(
    "library, module, extra", [("jinja2", "rendering", "report"), ("pyarrow", "parquet", "parquet")]
)
async def test_a_missing_extra_is_named(
    made: AuditReport, monkeypatch: pytest.MonkeyPatch, library: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"belvo_links.audit.{module}", raising=False)
    write = made.write_html if library == "jinja2" else made.write_parquet
    with pytest.raises(ModuleNotFoundError, match=rf"belvo-links\[{extra}\]"):
        await write(io.BytesIO())
