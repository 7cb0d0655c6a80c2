"""``belvo-links audit diff``: what has changed between two runs that were kept."""

from __future__ import annotations

import json as json_module
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from belvo_links.audit.differences import Change, Comparison, FindingChange, LinkChange, compare
from belvo_links.audit.findings import Severity
from belvo_links.cli.console import complain, output_console
from belvo_links.cli.exits import Exit
from belvo_links.cli.show_audit import LISTED, printable, table
from belvo_links.errors import BelvoLinksError

C = TypeVar("C", LinkChange, FindingChange)


async def run_diff(old: Path, new: Path, *, json: bool, fail_on: str | None) -> Exit:
    """Compare, print, and return the exit code.

    Args:
        old: the file of the earlier run.
        new: the file of the later run.
        json: whether to print data.
        fail_on: the severity from which on new findings, and findings that became worse, are an exit code.
    """
    try:
        compared = await compare(old, new)
        worst = await (_as_data(compared) if json else _as_tables(compared, output_console()))
    except BelvoLinksError as error:
        complain("audit diff", str(error))
        return Exit.FAILED
    return Exit.FINDINGS if fail_on and worst >= Severity(fail_on).rank else Exit.DONE


def _risen(change: FindingChange) -> int:
    """Return the rank of a severity that is new or has become worse; -1 for none."""
    after = -1 if change.after is None else change.after.rank
    return after if change.before is None or after > change.before.rank else -1


async def _as_data(compared: Comparison) -> int:
    worst, out = -1, sys.stdout
    out.write(f'{{"notes": {json_module.dumps(list(compared.notes))},\n"links": [')
    separator = "\n"
    async for link in compared.iterate_links():
        out.write(separator + json_module.dumps(link.to_json()))
        separator = ",\n"
    out.write('],\n"findings": [')
    separator = "\n"
    async for finding in compared.iterate_findings():
        worst = max(worst, _risen(finding))
        out.write(separator + json_module.dumps(finding.to_json()))
        separator = ",\n"
    out.write("]}\n")
    return worst


async def _as_tables(compared: Comparison, console: Console) -> int:
    for note in compared.notes:
        console.print(Text(note, style="yellow"))
    await _shown(console, "link", compared.iterate_links(), _link_cells, ("Link", "Status"))
    worst = -1

    async def watched() -> AsyncIterator[FindingChange]:
        nonlocal worst
        async for each in compared.iterate_findings():
            worst = max(worst, _risen(each))
            yield each

    await _shown(console, "finding", watched(), _finding_cells, ("Link", "Check", "Severity"))
    return worst


async def _shown(
    console: Console,
    name: str,
    changes: AsyncIterator[C],
    cells: Callable[[C], tuple[str, ...]],
    headings: tuple[str, ...],
) -> None:
    counts: Counter[str] = Counter()
    made = table(console, headings)
    async for each in changes:
        counts[str(each.change)] += 1
        if counts.total() <= LISTED:
            made.add_row(*(Text(printable(cell)) for cell in cells(each)))
    said = ", ".join(f"{number:,} {change}" for change, number in sorted(counts.items())) or "no change"
    console.print(Text(f"{name.capitalize()}s: {said}", style="bold"))
    if counts:
        console.print(Padding(made, (0, 0, 0, 2), expand=False))
    if counts.total() > LISTED:
        console.print(Text(f"  and {counts.total() - LISTED:,} more; --json prints all", style="dim"))


def _link_cells(change: LinkChange) -> tuple[str, str]:
    return change.link_id, _told(change.change, change.before, change.after)


def _finding_cells(change: FindingChange) -> tuple[str, str, str]:
    return change.link_id, change.check, _told(change.change, change.before, change.after)


def _told(change: Change, before: str | None, after: str | None) -> str:
    """Return a change in a few letters, since the ids of links need most of the line."""
    if change is Change.CHANGED:
        return f"{before} > {after}"
    return f"{change}: {after or before}"
