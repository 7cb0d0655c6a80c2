"""The last scene of the demo: an audit of all its links, whose report is compared with what the simulator holds."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from belvo_links.audit.report import AuditReport
from belvo_links.audit.run import audit
from belvo_links.cli.stage import Outcome, Stage, promise

HOURS: Final = 3
"""Hours that pass before: then the login that was left unfinished can no longer be continued."""


async def audited(stage: Stage) -> Outcome:
    """Audit all links, write the report to a file that stays, and check both.

    Raises:
        PromiseBrokenError: the report is not of what the simulator holds.
    """
    stage.box.advance(hours=HOURS)
    before = len(stage.box.requests)
    with await audit(stage.belvo) as report:
        path = await asyncio.to_thread(_new_file)
        await report.write_html(path)
        found = {(each.check, each.link_id) async for each in report.iterate_findings()}
    _check(stage, report, found)
    page = await asyncio.to_thread(path.read_text, encoding="utf-8")
    promise(all(link_id in page for _, link_id in found), "the page does not name every finding")
    counts = ", ".join(f"{number} {severity}" for severity, number in report.totals["severity"].items())
    return Outcome(
        f"{report.links} links, each read once; findings: {counts}.",
        {
            "complete": report.complete,
            "links": report.links,
            "totals": {name: dict(numbers) for name, numbers in report.totals.items()},
            "worst": None if report.worst is None else str(report.worst),
            "report": str(path),
        },
        events=(
            f"{HOURS} hours pass: the login that user-10 left can no longer be continued.",
            "The report is a page that loads nothing; open it in a browser:",
            str(path),
        ),
        calls={"List": len(stage.box.requests) - before},
    )


def _check(stage: Stage, report: AuditReport, found: set[tuple[str, str]]) -> None:
    """Compare with what the simulator holds."""
    held = stage.box.links
    promise(report.complete, f"the report is not complete: {report.reason}")
    promise(report.links == len(held), f"{report.links} links were read, and there are {len(held)}")
    statuses = Counter(str(link["status"]) for link in held)
    promise(dict(report.totals["status"]) == dict(statuses), "the counts are not those of the simulator")
    due = {
        (status, str(link["id"])) for link in held for status in ("invalid", "unconfirmed") if link["status"] == status
    }
    promise(due <= found, "the audit has missed a link that needs attention")
    promise({each for each in found if each[0] in ("invalid", "unconfirmed")} == due, "the audit has found too much")


def _new_file() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="belvo-links-audit-", suffix=".html")
    os.close(descriptor)
    return Path(name)
