"""How an audit, and the difference between two, look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.box import ASCII, SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from belvo_links.audit.report import AuditReport

SEVERITIES: Final = {"high": "red", "medium": "yellow", "low": "cyan", "info": "dim"}
STATUSES: Final = {"valid": "green", "unconfirmed": "yellow", "token_required": "magenta", "invalid": "red"}
LISTED: Final = 12
"""How many institutions, or changes, are listed at most."""


def show(report: AuditReport, files: Mapping[str, Path], console: Console) -> None:
    """Show a report: what there is, what was found, what was written.

    Args:
        report: the report.
        files: what was written, by what is in it.
        console: where to.
    """
    state = Text("complete", style="green") if report.complete else Text("not complete", style="bold red")
    unreadable = f", {report.unreadable:,} unreadable" if report.unreadable else ""
    console.print(Text.assemble((f"{report.links:,} links{unreadable}, ", "bold"), state))
    _counts(console, "Status", "Links", report.totals["status"], STATUSES)
    if report.totals["severity"]:
        _counts(console, "Severity", "Findings", report.totals["severity"], SEVERITIES)
        _counts(console, "Check", "Findings", report.totals["check"], {})
    else:
        console.print(Text("\nNothing was found.", style="green"))
    console.print(Text(f"\n{report.guarantee[0]}", style="dim"))
    for name, path in files.items():
        console.print(Text(f"{name}: {path}"), soft_wrap=True)
    console.file.flush()


def table(console: Console, headings: Sequence[str], *, numbers: Sequence[str] = ()) -> Table:
    """Return a table as all of them look."""
    box = ASCII if console.options.ascii_only else SIMPLE_HEAD
    made = Table(box=box, show_edge=False, pad_edge=False, header_style="bold")
    for heading in headings:
        made.add_column(heading, justify="right" if heading in numbers else "left", overflow="fold")
    return made


def _counts(console: Console, what: str, number: str, counts: Mapping[str, int], styles: Mapping[str, str]) -> None:
    made = table(console, (what, number), numbers=(number,))
    order = list(styles)
    rows = sorted(counts.items(), key=lambda row: (order.index(row[0]) if row[0] in order else len(order), -row[1]))
    for name, count in rows[:LISTED]:
        made.add_row(Text(printable(name), style=styles.get(name, "")), f"{count:,}")
    if len(rows) > LISTED:
        made.add_row("others", f"{sum(count for _, count in rows[LISTED:]):,}")
    if rows:
        console.print()
        console.print(Padding(made, (0, 0, 0, 2), expand=False))


def printable(text: str) -> str:
    """Return text from outside without what steers a terminal."""
    return "".join(each if each.isprintable() else "�" for each in text)
