"""``belvo-links audit``: all links read once, what was found in files and on the screen."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

import attrs

from belvo_links.audit.findings import Severity
from belvo_links.audit.report import AuditReport
from belvo_links.audit.run import audit
from belvo_links.cli.console import complain, output_console
from belvo_links.cli.exits import Exit
from belvo_links.cli.progress import following
from belvo_links.cli.show_audit import show
from belvo_links.client.links import BelvoLinks
from belvo_links.errors import BelvoLinksError
from belvo_links.protocol.filters import LinkFilter

PSEUDONYM_KEY: Final = "BELVO_PSEUDONYM_KEY"
"""The environment variable with the key of the pseudonyms: arguments are seen by others on the machine."""

SHORTEST_KEY: Final = 16
"""Characters; a shorter key can be guessed, and with it every pseudonym."""


@attrs.frozen(kw_only=True)
class Order:
    """What somebody wants of an audit.

    Attributes:
        status: only links of these statuses.
        institution: only links at these institutions.
        access_mode: only links of this access mode.
        created_from: only links created on this day or later, UTC.
        created_before: only links created before this day, UTC.
        html: where to write the page.
        json: whether to print the report as data.
        jsonl: where to write the findings as JSON Lines.
        csv: where to write them as comma-separated values.
        parquet: where to write them as Parquet.
        save: where to keep the run.
        checkpoint: where the run is while it is under way.
        fail_on: the severity from which on findings are an exit code.
        pseudonymise: whether ids of users are shown, as pseudonyms.
    """

    status: Sequence[str] = ()
    institution: Sequence[str] = ()
    access_mode: str | None = None
    created_from: date | None = None
    created_before: date | None = None
    html: Path | None = None
    json: bool = False
    jsonl: Path | None = None
    csv: Path | None = None
    parquet: Path | None = None
    save: Path | None = None
    checkpoint: Path | None = None
    fail_on: str | None = None
    pseudonymise: bool = False

    def filters(self) -> LinkFilter:
        """Return which links are wanted.

        Raises:
            ValueError: a value is not allowed.
        """
        return LinkFilter(
            status__in=self.status or None,
            institution__in=self.institution or None,
            access_mode=self.access_mode,
            created_at__gte=self.created_from,
            created_at__lt=self.created_before,
        )

    def files(self) -> dict[str, Path]:
        """Return the files to write, by what is in them."""
        given = {
            "HTML report": self.html,
            "JSON Lines": self.jsonl,
            "CSV": self.csv,
            "Parquet": self.parquet,
            "run": self.save,
        }
        return {name: path for name, path in given.items() if path is not None}


async def run_audit(order: Order) -> Exit:
    """Audit, write what was asked for, and return the exit code."""
    if problem := _unusable(order):
        complain("audit", problem)
        return Exit.USAGE
    try:
        filters = order.filters()
        client = BelvoLinks.from_env()
    except ValueError as error:
        complain("audit", f"{error}.")
        return Exit.USAGE
    try:
        with _ended_by_signal():
            async with client as belvo:
                with following(order.checkpoint) as tell:
                    report = await audit(
                        belvo,
                        filters,
                        checkpoint=order.checkpoint,
                        on_progress=tell,
                        pseudonymise=os.environ[PSEUDONYM_KEY] if order.pseudonymise else None,
                    )
                with report:
                    return await _hand_over(report, order)
    except BelvoLinksError as error:
        complain("audit", " ".join([str(error), *getattr(error, "__notes__", ())]))
    except BrokenPipeError:
        raise  # a reader who left early is no problem with a file
    except OSError as error:
        complain("audit", f"a file cannot be written: {error.strerror or type(error).__name__}")
    return Exit.FAILED


async def _hand_over(report: AuditReport, order: Order) -> Exit:
    """Write and show the report; the checkpoint is no longer needed then."""
    files = order.files()
    writers = {
        "HTML report": report.write_html,
        "JSON Lines": report.write_jsonl,
        "CSV": report.write_csv,
        "Parquet": report.write_parquet,
        "run": report.save,
    }
    for name, path in files.items():
        await writers[name](path)
    if order.json:
        await report.write_json(sys.stdout.buffer)
    else:
        show(report, files, output_console())
    if order.checkpoint is not None and order.checkpoint != order.save:
        order.checkpoint.unlink(missing_ok=True)
    return _code(report, order)


def _code(report: AuditReport, order: Order) -> Exit:
    if not report.complete:
        complain("audit", f"not complete, links may be missing: {report.reason}")
        return Exit.INCOMPLETE
    if order.fail_on and report.worst and report.worst.rank >= Severity(order.fail_on).rank:
        return Exit.FINDINGS
    return Exit.DONE


def _unusable(order: Order) -> str:
    """Return what would only be noticed when the audit has ended, which may be after an hour."""
    for path in (*order.files().values(), *([order.checkpoint] if order.checkpoint else [])):
        if path.is_dir() or not os.access(path.absolute().parent, os.W_OK | os.X_OK):
            return f"cannot write {path}."
    if order.parquet and importlib.util.find_spec("pyarrow") is None:
        return "pyarrow is not installed; run: pip install 'belvo-links[parquet]'"
    if order.pseudonymise and len(os.environ.get(PSEUDONYM_KEY, "")) < SHORTEST_KEY:
        return f"set {PSEUDONYM_KEY} to a key of {SHORTEST_KEY} characters or more."
    return ""


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let SIGTERM end the audit as Ctrl-C does, so that it leaves no temporary file."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    with contextlib.suppress(NotImplementedError):  # Windows
        loop.add_signal_handler(signal.SIGTERM, lambda: task.cancel() if task else None)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGTERM)
