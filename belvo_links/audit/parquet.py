"""The Parquet file of a report; needs pyarrow: ``pip install 'belvo-links[parquet]'``. Everything here blocks."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import IO, BinaryIO, Final

from belvo_links.audit.figures import COLUMNS, ReportedFinding

try:
    import pyarrow as pa  # type: ignore[import-untyped]  # it comes without types
    from pyarrow import parquet
except ModuleNotFoundError as missing:
    _MISSING: str | None = missing.name
else:
    _MISSING = None

if _MISSING is not None:  # outside of the handler, so that the error says one thing
    raise ModuleNotFoundError(
        "a Parquet file needs the extra [parquet]: pip install 'belvo-links[parquet]'", name=_MISSING
    )

ROWS: Final = 500
"""Rows that are converted at once, which keeps the interpreter to itself."""
GROUP: Final = 10
"""Such conversions that are in memory at once, and become a group of rows that can be read by itself."""

_TIMES: Final = frozenset({"created_at", "last_accessed_at"})


def write_parquet(file: BinaryIO | IO[bytes], findings: Iterable[ReportedFinding]) -> None:
    """Write a Parquet file with a column for each field of a finding; times are UTC, in milliseconds."""
    schema = pa.schema([(name, pa.timestamp("ms", tz="UTC") if name in _TIMES else pa.string()) for name in COLUMNS])
    rows = iter(findings)
    with parquet.ParquetWriter(file, schema) as writer:
        converted = iter(lambda: [_plain(each) for each in islice(rows, ROWS)], [])
        while group := [pa.RecordBatch.from_pylist(some, schema) for some in islice(converted, GROUP)]:
            writer.write_table(pa.Table.from_batches(group, schema))


def _plain(finding: ReportedFinding) -> dict[str, object]:
    return {name: getattr(finding, name) for name in COLUMNS} | {"severity": finding.severity.value}
