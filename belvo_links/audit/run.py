"""Running an audit: the scan's pages go through the checks into the run's file, a slice at a time."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from belvo_links.audit.binding import Binding
from belvo_links.audit.checks import CHECKS, duplicates
from belvo_links.audit.findings import Check, CheckContext, Finding
from belvo_links.audit.inspection import Inspector, named
from belvo_links.audit.progress import Line, Pace, Progress
from belvo_links.audit.recorder import Ending, Recorder, Start
from belvo_links.audit.report import AuditReport
from belvo_links.audit.rows import Value, cells
from belvo_links.audit.runfile import RunFile, failures_told, remove
from belvo_links.client.account import account_of
from belvo_links.client.core import clock_of
from belvo_links.client.links import BelvoLinks
from belvo_links.client.scan import LinkScan, ScanPage
from belvo_links.errors import BelvoLinksError, RunFileError, ScanAssumptionError
from belvo_links.protocol.filters import LinkFilter
from belvo_links.redact import Secret

SLICE_SECONDS: Final = 0.002
"""How long links are checked before the event loop gets a turn."""

_GO_ON: Final = "What the audit has finished is kept: call it again with the same arguments to go on from there."


async def audit(
    belvo: BelvoLinks,
    filters: LinkFilter | None = None,
    *,
    checks: Iterable[Check] = CHECKS,
    checkpoint: str | os.PathLike[str] | None = None,
    context: CheckContext | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    concurrency: int = 4,
    page_size: int = 1000,
    timeout: float | None = None,
    pseudonymise: str | bytes | None = None,
) -> AuditReport:
    """Read all links once, check each, and report.

    Every link that exists from the start to the end is read, exactly once, whatever comes and goes meanwhile. Findings
    go into an SQLite file, so memory does not grow with the number of links.

    Args:
        belvo: the client; its limits are kept, and calls that carry credentials go first.
        filters: which links; all by default.
        checks: plain functions; add your own to ``CHECKS``.
        checkpoint: the file of the run, made readable by its owner alone (0600) and kept. An audit with the same
            arguments that was interrupted is continued; of one that has ended the report is returned, however old.
            Take another file for a new audit. By default a temporary file, which goes with the report.
        context: the time and the lengths that checks judge by; the client's clock and the defaults otherwise. An audit
            that is continued keeps the time of its first start.
        on_progress: called in the event loop after each page and when it begins or ceases to wait; must be quick. What
            it raises ends the audit.
        concurrency: requests at once.
        page_size: links per request, 1 to 1000.
        timeout: seconds for each request.
        pseudonymise: a key of yours, 32 random bytes or more, to have ``external_id`` and ``institution_user_id`` in
            the report as HMAC-SHA256; they are left out otherwise.

    Returns:
        The report. It is not ``complete`` where the service broke what the scan rests on; ``reason`` says how. Use it
        as a context manager, or close it, to remove the temporary file at once.

    Raises:
        RunFileError: the checkpoint is of another account, of other arguments or of something else, another audit has
            it, or it cannot be written.
        BelvoLinksError: what reading failed with. The checkpoint stays; call again with the same arguments to go on.
        ValueError: an argument makes no sense.
    """
    job = _job(belvo, filters, checks, context, pseudonymise)
    begin = partial(belvo.scan, filters, page_size=page_size, concurrency=concurrency, timeout=timeout)
    await begin().aclose()  # what is wrong with these arguments is to be said before there is a file
    temporary = checkpoint is None
    path = _temporary_file() if checkpoint is None else Path(checkpoint)
    try:
        async with Recorder(path, temporary=temporary) as recorder:
            start = await recorder.open(job.binding, key=job.key, now=job.now)
            if not start.has_ended:
                total = 0 if on_progress is None else await belvo.count(filters, timeout=timeout)
                pace = Pace(on_progress, clock=asyncio.get_running_loop().time, total=total, tally=start.tally)
                scan = begin(after=start.after, gate=Line(pace))
                reason = await _read(scan, _Reading(job.checks, start, recorder, pace))
                pace.waits_for("file")
                grouped = duplicates in job.checks.values()
                await recorder.end(Ending(at=job.clock(), reason=reason, with_duplicates=grouped))
        return await asyncio.to_thread(lambda: AuditReport.of(RunFile(path, temporary=temporary)))
    except BaseException as error:  # also of a cancelled audit no temporary file is left
        if temporary:
            remove(path)
        elif isinstance(error, BelvoLinksError) and not isinstance(error, RunFileError):
            error.add_note(_GO_ON)
        raise


@attrs.frozen(kw_only=True)
class _Job:
    """What an audit is to do."""

    binding: Binding
    checks: Mapping[str, Check]
    clock: Callable[[], datetime]
    key: Secret[bytes] | None
    now: datetime


def _job(
    belvo: BelvoLinks,
    filters: LinkFilter | None,
    checks: Iterable[Check],
    context: CheckContext | None,
    pseudonymise: str | bytes | None,
) -> _Job:
    by_name = named(checks)
    account = account_of(belvo)
    clock = clock_of(belvo)
    now = clock()
    binding = Binding(
        account=account.digest,
        origin=account.origin,
        filters=LinkFilter() if filters is None else filters,
        checks=tuple(by_name),
        context=CheckContext(now=now) if context is None else context,
        keyed=pseudonymise is not None,
    )
    return _Job(binding=binding, checks=by_name, clock=clock, key=_secret(pseudonymise), now=now)


def _secret(key: str | bytes | None) -> Secret[bytes] | None:
    if key is None:
        return None
    if not key:
        raise ValueError("pseudonymise: is empty; give a key")
    return Secret(key.encode() if isinstance(key, str) else bytes(key))


def _temporary_file() -> Path:
    with failures_told():
        handle, name = tempfile.mkstemp(prefix="belvo_links-audit-", suffix=".sqlite")  # 0600
        os.close(handle)
    return Path(name)


class _Reading:
    """Takes the pages of a scan through the checks into the file.

    Args:
        checks: by their names.
        start: where the run begins.
        recorder: writes the file.
        pace: tells how far it is.
    """

    def __init__(self, checks: Mapping[str, Check], start: Start, recorder: Recorder, pace: Pace) -> None:
        self._start = start
        self._inspector = Inspector(checks, start.context, drift=start.drift)
        self._recorder = recorder
        self._pace = pace

    async def take(self, page: ScanPage) -> None:
        """Check the links of a page, a slice at a time, and write down what was found."""
        rows: list[tuple[Value, ...]] = []
        findings: list[Finding] = []
        await asyncio.sleep(0)  # the page was decoded in this turn of the event loop
        until = time.perf_counter() + SLICE_SECONDS
        for link in page.links:
            rows.append(cells(link, self._start.context, self._start.pseudonyms))
            findings += self._inspector.inspect(link)
            if time.perf_counter() > until:
                await asyncio.sleep(0)  # the event loop's turn
                until = time.perf_counter() + SLICE_SECONDS
        await self._recorder.add(rows, findings, page.unreadable)
        if page.ends_window:
            await self._recorder.finish_window(page.window)
        self._pace.has_read(self._recorder.tally)


async def _read(scan: LinkScan, reading: _Reading) -> str | None:
    """Read a scan to its end; return why it is not complete, or ``None`` if it is."""
    try:
        async for page in scan:
            await reading.take(page)
    except ScanAssumptionError as error:
        return str(error)
    finally:
        await scan.aclose()
    return None
