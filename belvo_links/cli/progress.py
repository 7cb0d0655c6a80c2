"""How far an audit is, on standard error: a bar in a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Display
from rich.table import Column

from belvo_links.audit.progress import Progress
from belvo_links.cli.console import error_console

EVERY: Final = 5.0
"""Seconds between two lines where there is no terminal."""

_WAITS: Final = {
    "rate limit": "waits for the rate limit",
    "service": "waits for the service",
    "file": "looks for duplicates and counts",
}


@contextmanager
def following(
    checkpoint: Path | None, *, clock: Callable[[], float] = monotonic
) -> Iterator[Callable[[Progress], None]]:
    """Show how far an audit is as long as the block lasts; what it gives is to be told.

    Args:
        checkpoint: from where the audit can be continued; said when it is interrupted.
        clock: gives seconds.
    """
    console = error_console()
    try:
        if console.is_terminal:
            bar = BarColumn(None, table_column=Column(min_width=8, max_width=24))
            text = TextColumn(
                "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")
            )
            with Display(bar, text, console=console, transient=True, refresh_per_second=8) as display:
                task = display.add_task("starts", total=None)
                yield lambda progress: display.update(
                    task, completed=progress.links, total=progress.total or None, description=said(progress)
                )
        else:
            yield _lines(clock)
    except BaseException:
        if checkpoint is not None and checkpoint.exists():
            print(f"What was finished is in {checkpoint}: the same command goes on from there.", file=sys.stderr)
        raise


def said(progress: Progress) -> str:
    """Return how far it is, in words.

    >>> said(Progress(links=12000, total=50000, findings=31, unreadable=0, seconds=10, rate=1200, remaining=95))
    '12,000 of 50,000 links, 1,200/s, 1 min 35 s left, 31 findings'
    """
    parts = [f"{progress.links:,}{f' of {progress.total:,}' if progress.total else ''} links"]
    if progress.rate:
        parts.append(f"{progress.rate:,.0f}/s")
    if progress.remaining:
        parts.append(f"{lasting(progress.remaining)} left")
    parts.append(f"{progress.findings:,} finding{'' if progress.findings == 1 else 's'}")
    if progress.unreadable:
        parts.append(f"{progress.unreadable:,} unreadable")
    if progress.waiting_for:
        parts.append(_WAITS.get(progress.waiting_for, f"waits for {progress.waiting_for}"))
    return ", ".join(parts)


def lasting(seconds: float) -> str:
    """Return a length of time for people.

    >>> lasting(0.2), lasting(59.6), lasting(95), lasting(3 * 3600 + 61)
    ('1 s', '1 min 0 s', '1 min 35 s', '3 h 1 min')
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _lines(clock: Callable[[], float]) -> Callable[[Progress], None]:
    last = clock()

    def tell(progress: Progress) -> None:
        nonlocal last
        if clock() - last >= EVERY:
            last = clock()
            print(said(progress), file=sys.stderr, flush=True)

    return tell
