"""The data files of a report. Everything here blocks, and holds a few rows at a time."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, BinaryIO, Final

from belvo_links.audit.figures import COLUMNS, ReportedFinding, instant
from belvo_links.audit.runfile import RunFile, failures_told
from belvo_links.wire import JsonValue, encode_json

FORMAT: Final = 1
"""The version of the JSON document; fields may be added to it."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet takes for a formula."""


def head(
    run: RunFile, totals: Mapping[str, Mapping[str, int]], worst: str | None, guarantee: Iterable[str]
) -> dict[str, JsonValue]:
    """Return what the JSON document says before its lists."""
    facts = run.facts
    return {
        "format": FORMAT,
        "complete": facts.complete,
        "reason": facts.reason,
        "guarantee": list(guarantee),
        "origin": facts.origin,
        "filters": list(facts.filters),
        "checks": list(facts.checks),
        "pseudonymised": facts.pseudonymised,
        "started_at": instant(facts.started_at),
        "ended_at": instant(facts.ended_at),
        "interruptions": facts.interruptions,
        "links": facts.links,
        "unreadable": facts.unreadable,
        "worst": worst,
        "totals": {name: dict(counts) for name, counts in totals.items()},
    }


def write_json(
    file: BinaryIO | IO[bytes],
    document: Mapping[str, JsonValue],
    findings: Iterable[ReportedFinding],
    unreadable: Iterable[Mapping[str, JsonValue]],
) -> None:
    """Write one JSON document: what it begins with, then all findings, then all records that could not be read."""
    file.write(encode_json(document)[:-1])
    for name, rows in (("findings", (each.to_json() for each in findings)), ("unreadable_records", unreadable)):
        file.write(b',\n"%s":[' % name.encode())
        separator = b"\n"
        for row in rows:
            file.write(separator + encode_json(row))
            separator = b",\n"
        file.write(b"]")
    file.write(b"}\n")


def write_jsonl(file: BinaryIO | IO[bytes], findings: Iterable[ReportedFinding]) -> None:
    """Write one JSON object per line and finding."""
    for each in findings:
        file.write(encode_json(each.to_json()) + b"\n")


def write_csv(file: BinaryIO | IO[bytes], findings: Iterable[ReportedFinding]) -> None:
    """Write comma-separated values (RFC 4180, UTF-8) with a header. What a spreadsheet would compute gets a ``'``."""
    text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
    try:
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows(map(cell, each.to_json().values()) for each in findings)
    finally:
        text.detach()  # what was opened elsewhere is closed elsewhere


def cell(value: JsonValue) -> str:
    """Return a value as a cell that no spreadsheet takes for a formula.

    >>> cell("=1+1"), cell("erebor_mx_retail"), cell(None)
    ("'=1+1", 'erebor_mx_retail', '')
    """
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def write_copy(file: BinaryIO | IO[bytes], path: os.PathLike[str]) -> None:
    """Write the file of a run that has ended.

    Raises:
        RunFileError: it cannot be read.
    """
    with failures_told():
        source = Path(path).open("rb")  # noqa: SIM115  # it is closed below; a failure there is another one
    with source:
        shutil.copyfileobj(source, file, 1 << 20)
