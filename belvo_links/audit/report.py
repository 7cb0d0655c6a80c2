"""The report of an audit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from types import TracebackType
from typing import IO, BinaryIO, Final, Self, TypeVar

import attrs

from belvo_links.audit import writers
from belvo_links.audit.counting import figures_of, reported
from belvo_links.audit.figures import SHOWN
from belvo_links.audit.findings import Finding, Severity
from belvo_links.audit.guarantee import guarantee
from belvo_links.audit.private import Target, private_file
from belvo_links.audit.runfile import RunFile, UnreadableRow
from belvo_links.audit.turns import Turns

T = TypeVar("T")

_AT_ONCE: Final = 500
"""Rows that are in memory at once while somebody iterates."""


@attrs.frozen(kw_only=True)
class AuditReport:
    """What an audit has found. Its rows stay in the run's file, so it is small however many links there are.

    The methods that write work in a thread and hold a few rows at a time. Each takes the path of a file, which is
    replaced when all of it was written (0600), or a binary file that is open. They raise :class:`OSError` where the
    file cannot be written, and :class:`~belvo_links.errors.RunFileError` where the run's file cannot be read, as after
    :meth:`close`.

    Attributes:
        complete: whether it provably saw every link that existed from its start to its end.
        reason: why not, or ``None``.
        links: how many links it read.
        unreadable: how many records could not be read.
        totals: how many there are: links by ``status``, ``institution``, ``access_mode``; findings by ``severity``,
            ``check``.
        worst: the gravest severity found, or ``None``.
        findings: the first 2,000, the gravest first.
        started_at: when it began the first time; the checks judge by this moment unless told otherwise.
        ended_at: when it ended.
        guarantee: what it guarantees, and its limits, in sentences.
    """

    complete: bool
    reason: str | None
    links: int
    unreadable: int
    totals: Mapping[str, Mapping[str, int]]
    worst: Severity | None
    findings: Sequence[Finding]
    started_at: datetime
    ended_at: datetime
    guarantee: Sequence[str]
    _runfile: RunFile = attrs.field(repr=False)

    @classmethod
    def of(cls, runfile: RunFile) -> Self:
        """Make the report of a run; blocks while it counts."""
        facts = runfile.facts
        return cls(
            complete=facts.complete,
            reason=facts.reason,
            links=facts.links,
            unreadable=facts.unreadable,
            totals=runfile.totals(),
            worst=runfile.worst(),
            findings=tuple(runfile.iterate_findings(worst_first=True, limit=SHOWN)),
            started_at=facts.started_at,
            ended_at=facts.ended_at,
            guarantee=guarantee(
                complete=facts.complete,
                reason=facts.reason,
                started_at=facts.started_at,
                ended_at=facts.ended_at,
                interruptions=facts.interruptions,
                filtered_by=facts.filters,
                unreadable=facts.unreadable,
            ),
            runfile=runfile,
        )

    # --------------------------------------------------------------------------------------------------------- reading

    async def iterate_findings(self, min_severity: Severity | str | None = None) -> AsyncIterator[Finding]:
        """Iterate over all findings, in the order in which they were found.

        Args:
            min_severity: only those of this severity or graver.

        Raises:
            RunFileError: the run's file cannot be read.
        """
        async for finding in _slowly(self._runfile.iterate_findings(min_severity=min_severity)):
            yield finding

    async def iterate_unreadable(self) -> AsyncIterator[UnreadableRow]:
        """Iterate over the records that could not be read, with their ids and where they are wrong.

        Raises:
            RunFileError: the run's file cannot be read.
        """
        async for row in _slowly(self._runfile.iterate_unreadable()):
            yield row

    def summary(self) -> str:
        """Return the report in a few lines for people."""
        state = "" if self.complete else " (not complete)"
        lines = [
            f"{_counted(self.links, 'link')}{state}: {_listed(self.totals['status'])}",
            f"{_counted(sum(self.totals['severity'].values()), 'finding')}: {_listed(self.totals['severity'])}",
        ]
        if self.unreadable:
            lines.append(f"{_counted(self.unreadable, 'record')} could not be read")
        return "\n".join([*lines, *self.guarantee[:1]])

    # --------------------------------------------------------------------------------------------------------- writing

    async def write_json(self, target: Target) -> None:
        """Write one JSON document with everything: the totals, all findings, all records that could not be read."""
        document = writers.head(self._runfile, self.totals, self.worst, self.guarantee)

        def write(file: BinaryIO | IO[bytes], turns: Turns) -> None:
            unreadable = (
                {"link_id": each.link_id, "problems": list(each.problems)}
                for each in turns.over(self._runfile.iterate_unreadable())
            )
            writers.write_json(file, document, turns.over(reported(self._runfile)), unreadable)

        await _write(target, write)

    async def write_jsonl(self, target: Target) -> None:
        """Write all findings, worst first, as one JSON object per line."""
        await _write(target, lambda file, turns: writers.write_jsonl(file, turns.over(reported(self._runfile))))

    async def write_csv(self, target: Target) -> None:
        """Write all findings, worst first, as comma-separated values that no spreadsheet takes for formulas."""
        await _write(target, lambda file, turns: writers.write_csv(file, turns.over(reported(self._runfile))))

    async def write_parquet(self, target: Target) -> None:
        """Write all findings, worst first, as a Parquet file.

        Raises:
            ModuleNotFoundError: the extra ``[parquet]`` is not installed.
        """

        def write(file: BinaryIO | IO[bytes], turns: Turns) -> None:
            from belvo_links.audit.parquet import write_parquet

            write_parquet(file, turns.over(reported(self._runfile)))

        await _write(target, write)

    async def write_html(self, target: Target) -> None:
        """Write one HTML page that loads nothing: figures, charts, and the first 2,000 findings, worst first.

        Raises:
            ModuleNotFoundError: the extra ``[report]`` is not installed.
        """

        def write(file: BinaryIO | IO[bytes], turns: Turns) -> None:
            from belvo_links.audit.rendering import UNREADABLE_SHOWN, write_html

            run = self._runfile
            findings = tuple(turns.over(reported(run, SHOWN)))
            unreadable = tuple(run.iterate_unreadable(limit=UNREADABLE_SHOWN))
            write_html(file, turns, run.facts, figures_of(run), findings, unreadable, self.guarantee)

        await _write(target, write)

    async def save(self, target: Target) -> None:
        """Write a copy of the run's file, for :func:`~belvo_links.audit.compare`."""
        await _write(target, lambda file, _: writers.write_copy(file, self._runfile.path))

    # --------------------------------------------------------------------------------------------------------- the end

    def close(self) -> None:
        """Remove the run's file, if it is a temporary one."""
        self._runfile.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def _write(target: Target, write: Callable[[BinaryIO | IO[bytes], Turns], None]) -> None:
    """Write in a thread; where the caller is cancelled, the thread ends at its next row and leaves no file."""
    turns = Turns()

    def work() -> None:
        with private_file(target) as file:
            write(file, turns)
            turns.take()

    try:
        await asyncio.to_thread(work)
    except asyncio.CancelledError:
        turns.stop()
        raise


async def _slowly(rows: Iterator[T]) -> AsyncIterator[T]:
    """Fetch rows in a thread, some at a time."""
    fetch = partial(_some, rows)
    while some := await asyncio.to_thread(fetch):
        for row in some:
            yield row


def _some(rows: Iterator[T]) -> list[T]:
    return list(islice(rows, _AT_ONCE))


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items()) or "none"
