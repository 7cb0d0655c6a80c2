"""The file of a run: private, bound, one transaction per window, and read without growing."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from belvo_links import LinkFilter, RunFileError
from belvo_links.audit.binding import Binding
from belvo_links.audit.findings import CheckContext, Finding, Severity
from belvo_links.audit.recorder import Ending, Recorder, Start
from belvo_links.audit.rows import Value, cells
from belvo_links.audit.runfile import RunFile, UnreadableRow
from belvo_links.protocol.models import UnreadableLink
from belvo_links.protocol.windows import ScanWindow
from belvo_links.redact import Secret
from tests.audit.found import NOW, link

LATER = NOW + timedelta(hours=1)
BINDING = Binding(
    account="an account",
    origin="https://sandbox.belvo.com",
    filters=LinkFilter(status="valid", external_id="canary-4711"),
    checks=("invalid", "drift"),
    context=CheckContext(now=NOW),
    keyed=False,
)
NEWEST = ScanWindow(part=0, since=date(2026, 2, 1), until=None)
OLDEST = ScanWindow(part=0, since=None, until=date(2026, 2, 1))
ENDING = Ending(at=LATER, reason=None, with_duplicates=False)


@asynccontextmanager
async def recording(
    path: Path, binding: Binding = BINDING, *, key: str | None = None, now: datetime = NOW, temporary: bool = False
) -> AsyncIterator[tuple[Recorder, Start]]:
    async with Recorder(path, temporary=temporary) as recorder:
        secret = None if key is None else Secret(key.encode())
        yield recorder, await recorder.open(binding, key=secret, now=now)


def row(start: Start, **fields: Any) -> Sequence[Value]:
    return cells(link(**fields), start.context, start.pseudonyms)


def finding(link_id: str = "a", severity: str = "low", check: str = "mine") -> Finding:
    return Finding(check=check, severity=Severity(severity), link_id=link_id, message="It is so.", remedy="None.")


async def test_the_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with recording(path) as (recorder, start):
        await recorder.add([row(start)], [])
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
        assert modes == {"run.sqlite": 0o600, "run.sqlite-journal": 0o600}


async def test_an_existing_file_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    path.touch(0o644)
    async with recording(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_run_that_has_ended_tells_what_it_was_and_holds(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with recording(path) as (recorder, start):
        assert (start.after, start.interruptions, start.has_ended) == (None, 0, False)
        await recorder.add(
            [
                row(start, id=f"{number:03}", institution="other_bank" if number == 1 else "a_bank")
                for number in range(123)
            ],
            [finding(), finding("b", "high", "yours"), finding("c")],
            [UnreadableLink(id="d", problems=("$.status: expected text",)), UnreadableLink(id=None, problems=())],
        )
        await recorder.finish_window(NEWEST)
        await recorder.end(ENDING)
    run = RunFile(path)
    facts = run.facts
    assert attrs.asdict(facts) == {
        "account": "an account",
        "origin": "https://sandbox.belvo.com",
        "filters": ["external_id: one value", "status: valid"],
        "checks": ["invalid", "drift"],
        "pseudonymised": False,
        "started_at": NOW,
        "judged_at": NOW,
        "ended_at": LATER,
        "interruptions": 0,
        "complete": True,
        "reason": None,
        "links": 123,
        "unreadable": 2,
        "findings": 3,
    }
    assert run.totals() == {
        "status": {"valid": 123},
        "institution": {"a_bank": 122, "other_bank": 1},
        "access_mode": {"single": 123},
        "severity": {"low": 2, "high": 1},
        "check": {"mine": 2, "yours": 1},
    }
    assert run.worst() is Severity.HIGH
    assert [each.link_id for each in run.iterate_findings()] == ["a", "b", "c"]
    assert [each.link_id for each in run.iterate_findings(worst_first=True)] == ["b", "a", "c"]
    assert [each.link_id for each in run.iterate_findings(worst_first=True, limit=1)] == ["b"]
    assert list(run.iterate_findings(min_severity="medium")) == [finding("b", "high", "yours")]
    assert [each.id for each in run.iterate_links()] == [f"{number:03}" for number in range(123)]
    assert list(run.iterate_unreadable()) == [
        UnreadableRow(link_id="d", problems=("$.status: expected text",)),
        UnreadableRow(link_id=None, problems=()),
    ]
    assert len(list(run.iterate_unreadable(limit=1))) == 1
    assert list(run.query("SELECT count(*) FROM links WHERE id < ?", ("100",))) == [(100,)]
    with pytest.raises(RunFileError):
        list(run.query("DELETE FROM links"))


async def test_what_is_kept_of_a_link_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    user = "sooE7XJWEKypZJR603ecaWYk_8Ap0oD-Nr-wHyDb2Fg="
    async with recording(path) as (recorder, start):
        await recorder.add([row(start), row(start, id="b"), row(start, id="c", external_id=None)], [])
        await recorder.finish_window(NEWEST)
        await recorder.end(ENDING)
    for canary in (b"canary-4711", b"user-42", user.encode()):
        assert canary not in path.read_bytes()
    first, second, third = RunFile(path).iterate_links()
    assert first.institution_user_id == second.institution_user_id == third.institution_user_id
    assert first.external_id == second.external_id
    assert third.external_id is None
    with sqlite3.connect(path) as connection:
        kept = [key for (key,) in connection.execute("SELECT key FROM run")]
    connection.close()
    assert sorted(kept) == ["binding", "ended", "facts", "interruptions", "salt"]


async def test_the_key_of_a_run_that_has_ended_is_nowhere_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with recording(path) as (recorder, _):
        pass
    connection = sqlite3.connect(path)
    ((key,),) = connection.execute("SELECT value FROM run WHERE key = 'pseudonym_key'").fetchall()
    connection.close()
    assert key.encode() in path.read_bytes()
    async with recording(path) as (recorder, _):
        await recorder.end(ENDING)
    assert key.encode() not in path.read_bytes()
    assert RunFile(path).facts.interruptions == 1


async def test_under_a_key_of_the_users_pseudonyms_are_hmac_sha256_of_the_values(tmp_path: Path) -> None:
    import hashlib
    import hmac

    path = tmp_path / "run.sqlite"
    keyed = attrs.evolve(BINDING, keyed=True)
    async with recording(path, keyed, key="k" * 32) as (recorder, start):
        await recorder.add([row(start, external_id="user-42")], [])
        await recorder.end(ENDING)
    (only,) = RunFile(path).iterate_links()
    assert only.external_id == hmac.new(b"k" * 32, b"user-42", hashlib.sha256).hexdigest()
    assert RunFile(path).facts.pseudonymised
    assert b"k" * 32 not in path.read_bytes()


# -------------------------------------------------------------------------------------------------------- interruptions


async def test_a_run_goes_on_behind_the_last_finished_window_with_its_first_time(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with recording(path) as (recorder, start):
        await recorder.add([row(start, id="kept")], [finding(check="drift")])
        await recorder.finish_window(NEWEST)
        await recorder.add([row(start, id="dropped")], [finding()])
    async with recording(path, now=LATER) as (recorder, start):
        assert (start.after, start.interruptions, start.has_ended) == (NEWEST, 1, False)
        assert start.context.now == NOW
        assert start.drift == {"It is so."}
        assert (recorder.tally.links, recorder.tally.findings) == (1, 1)
        await recorder.add([row(start, id="more")], [])
        await recorder.finish_window(OLDEST)
        await recorder.end(ENDING)
    run = RunFile(path)
    assert [each.id for each in run.iterate_links()] == ["kept", "more"]
    assert (run.facts.started_at, run.facts.ended_at, run.facts.interruptions) == (NOW, LATER, 1)
    assert len({each.institution_user_id for each in run.iterate_links()}) == 1


async def test_a_killed_process_leaves_its_finished_windows_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    program = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.audit.test_runfile import NEWEST, finding, recording, row

async def main():
    async with recording(Path(sys.argv[1])) as (recorder, start):
        await recorder.add([row(start, id="kept")], [finding()])
        await recorder.finish_window(NEWEST)
        await recorder.add([row(start, id=str(number)) for number in range(50_000)], [finding()])
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -9
    async with recording(path) as (recorder, start):
        assert (start.after, start.interruptions) == (NEWEST, 1)
        await recorder.end(ENDING)
    assert [each.id for each in RunFile(path).iterate_links()] == ["kept"]
    assert len(list(RunFile(path).iterate_findings())) == 1


async def test_a_run_that_ended_incomplete_keeps_what_it_has_read(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with recording(path) as (recorder, start):
        await recorder.add([row(start)], [])
        await recorder.end(attrs.evolve(ENDING, reason="Links came in no order."))
    facts = RunFile(path).facts
    assert (facts.complete, facts.reason, facts.links) == (False, "Links came in no order.", 1)


# ------------------------------------------------------------------------------------------------------------ refusals

CHANGES: list[tuple[str, Callable[[Binding], Binding]]] = [
    ("account", lambda binding: attrs.evolve(binding, account="another")),
    ("origin", lambda binding: attrs.evolve(binding, origin="https://api.belvo.com")),
    ("filters", lambda binding: attrs.evolve(binding, filters=LinkFilter(status="valid"))),
    ("checks", lambda binding: attrs.evolve(binding, checks=("invalid",))),
    (
        "context",
        lambda binding: attrs.evolve(binding, context=CheckContext(now=NOW, data_lead=timedelta(days=1))),
    ),
]


@pytest.mark.parametrize("name, change", CHANGES)
async def test_a_run_of_other_arguments_is_not_continued(
    tmp_path: Path, name: str, change: Callable[[Binding], Binding]
) -> None:
    path = tmp_path / "run.sqlite"
    async with recording(path) as (recorder, _):
        await recorder.finish_window(NEWEST)
    with pytest.raises(RunFileError, match=rf"of other arguments: {name}\.") as refused:
        async with recording(path, change(BINDING)):
            pass
    assert "canary" not in str(refused.value)
    async with recording(path) as (_, start):
        assert (start.after, start.interruptions) == (NEWEST, 1)


async def test_another_time_is_no_other_argument(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with recording(path):
        pass
    async with recording(path, attrs.evolve(BINDING, context=CheckContext(now=LATER))) as (_, start):
        assert start.context.now == NOW


@pytest.mark.parametrize("first, second", [(None, "k"), ("k", None), ("k", "l")])
async def test_a_run_with_another_key_is_not_continued(tmp_path: Path, first: str | None, second: str | None) -> None:
    path = tmp_path / "run.sqlite"
    async with recording(path, attrs.evolve(BINDING, keyed=first is not None), key=first):
        pass
    with pytest.raises(RunFileError, match=r"of other arguments: pseudonymise\."):
        async with recording(path, attrs.evolve(BINDING, keyed=second is not None), key=second):
            pass


async def test_a_run_that_has_ended_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with recording(path) as (recorder, _):
        await recorder.end(ENDING)
    before = path.read_bytes()
    async with recording(path, now=LATER) as (_, start):
        assert start.has_ended
    with pytest.raises(RunFileError, match=r"of other arguments: filters, checks\."):
        async with recording(path, attrs.evolve(BINDING, checks=(), filters=LinkFilter())):
            pass
    assert RunFile(path).facts.interruptions == 0
    assert path.read_bytes() == before


async def test_a_run_that_has_not_ended_has_no_report(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with recording(path):
        with pytest.raises(RunFileError, match="Another audit is writing"):
            RunFile(path)
    with pytest.raises(RunFileError, match="has not ended"):
        RunFile(path)


async def test_one_file_is_written_by_one_audit(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with recording(path) as (recorder, start):
        with pytest.raises(RunFileError, match="Another audit is writing this file"):
            async with recording(path):
                pass
        await recorder.add([row(start)], [])
        await recorder.end(ENDING)
    assert RunFile(path).facts.links == 1


async def test_two_processes_cannot_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    program = """
import asyncio, sys
from pathlib import Path
from tests.audit.test_runfile import recording

async def main():
    async with recording(Path(sys.argv[1])):
        pass

asyncio.run(main())
"""
    async with recording(path):
        other = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", program, str(path)], check=False, capture_output=True, text=True
        )
    assert "RunFileError: Another audit is writing this file" in other.stderr


def test_no_file_of_something_else_is_touched(tmp_path: Path) -> None:
    text, foreign = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("Not a database at all. " * 100)
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()

    async def open_it(path: Path) -> None:
        async with recording(path):
            pass

    for path in (text, foreign):
        before = path.read_bytes()
        with pytest.raises(RunFileError, match="none of an audit's run"):
            asyncio.run(open_it(path))
        with pytest.raises(RunFileError, match="none of an audit's run"):
            RunFile(path)
        assert path.read_bytes() == before


async def test_a_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with recording(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RunFileError, match="Another version"):
        async with recording(path):
            pass


async def test_a_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"

    async def change(statement: str) -> None:
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    async with recording(path):
        pass
    await change("UPDATE run SET value = 'x' WHERE key = 'pseudonym_key'")
    with pytest.raises(RunFileError, match="has been changed"):
        async with recording(path):
            pass
    await change("INSERT INTO run (key, value) VALUES ('ended', '{}')")
    with pytest.raises(RunFileError, match="has been changed"):
        RunFile(path)


async def test_what_the_system_refuses_is_said_without_a_foreign_error(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match="cannot be read or written") as refused:
        async with recording(tmp_path / "no" / "such" / "folder"):
            pass
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    with pytest.raises(RunFileError, match="cannot be read or written"):
        RunFile(tmp_path / "missing.sqlite")


async def test_a_full_disk_leaves_the_finished_windows(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with recording(path) as (recorder, start):
        await recorder.add([row(start, id="kept")], [])
        await recorder.finish_window(NEWEST)
        connection = recorder._connection
        assert connection is not None
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(RunFileError, match="cannot be read or written"):
            await recorder.add([row(start, id=str(number)) for number in range(1000)], [])
    async with recording(path) as (_, start):
        assert start.after == NEWEST
        assert start.tally.links == 1


async def test_a_recorder_that_is_closed_writes_nothing(tmp_path: Path) -> None:
    async with recording(tmp_path / "run.sqlite") as (recorder, start):
        pass
    await recorder.aclose()
    with pytest.raises((RunFileError, RuntimeError)):
        await recorder.add([row(start)], [])


# ----------------------------------------------------------------------------------------------------------- temporary


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


async def ended(path: Path, *, temporary: bool) -> RunFile:
    async with recording(path, temporary=temporary) as (recorder, _):
        await recorder.end(ENDING)
    return RunFile(path, temporary=temporary)


async def test_a_temporary_file_goes_when_it_is_closed(tmp_path: Path) -> None:
    with await ended(tmp_path / "run.sqlite", temporary=True):
        assert names(tmp_path) == ["run.sqlite"]
    assert names(tmp_path) == []


async def test_a_temporary_file_goes_with_its_last_reader(tmp_path: Path) -> None:
    run = await ended(tmp_path / "run.sqlite", temporary=True)
    rows = run.iterate_links()
    next(rows, None)
    del run, rows
    assert names(tmp_path) == []


async def test_a_temporary_file_goes_while_the_interpreter_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError

    run = await ended(tmp_path / "run.sqlite", temporary=True)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    run.close()
    run.close()
    assert names(tmp_path) == []


async def test_a_temporary_file_that_somebody_removed_is_no_matter(tmp_path: Path) -> None:
    run = await ended(tmp_path / "run.sqlite", temporary=True)
    run.path.unlink()
    run.close()


async def test_a_file_with_a_name_stays(tmp_path: Path) -> None:
    (await ended(tmp_path / "run.sqlite", temporary=False)).close()
    assert names(tmp_path) == ["run.sqlite"]


# ---------------------------------------------------------------------------------------------------------- duplicates


async def grouped(tmp_path: Path, *links: dict[str, Any]) -> list[Finding]:
    path = tmp_path / "run.sqlite"
    async with recording(path) as (recorder, start):
        await recorder.add([row(start, **fields) for fields in links], [])
        await recorder.end(attrs.evolve(ENDING, with_duplicates=True))
    return list(RunFile(path).iterate_findings())


HOURS = timedelta(hours=1)
PAIRS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"status": "token_required", "used": 9 * HOURS}, {"status": "invalid"}, "its status is the better one"),
    ({"used": 9 * HOURS}, {"status": "token_required"}, "its status is the better one"),
    ({"status": "paused", "used": 9 * HOURS}, {"status": "invalid"}, "its status is the better one"),
    ({"used": 9 * HOURS}, {"external_id": None}, "it has an external_id"),
    ({"access_mode": "recurrent", "used": 9 * HOURS}, {}, "it is recurrent"),
    ({"age": timedelta(days=99)}, {"used": 2 * HOURS}, "it was accessed later"),
    ({}, {"age": timedelta(days=99)}, "it is newer"),
    ({"id": "a"}, {"id": "b"}, "the two are alike"),
]


@pytest.mark.parametrize("keep, go, why", PAIRS)
@pytest.mark.parametrize("turned", [False, True])
async def test_of_two_links_of_a_user_one_is_to_go_and_it_is_said_why(
    tmp_path: Path, keep: dict[str, Any], go: dict[str, Any], why: str, turned: bool
) -> None:
    keep, go = {"id": "keep"} | keep, {"id": "go"} | go
    (finding,) = await grouped(tmp_path, *([go, keep] if turned else [keep, go]))
    assert (finding.check, finding.severity, finding.link_id) == ("duplicates", "medium", go["id"])
    assert f'has the link "{keep["id"]}" at this institution, which is the one to keep: {why}.' in finding.message
    assert finding.remedy == f'belvo.delete("{go["id"]}")'


async def test_what_is_no_duplicate_is_left_alone(tmp_path: Path) -> None:
    assert not await grouped(
        tmp_path,
        {"id": "a"},
        {"id": "other bank", "institution": "gringotts_mx_retail"},
        {"id": "other user", "institution_user_id": "another"},
        {"id": "unknown user", "institution_user_id": None},
        {"id": "unknown user too", "institution_user_id": None},
        {"id": "perhaps a login under way", "status": "unconfirmed"},
    )


async def test_of_several_links_all_but_one_are_to_go(tmp_path: Path) -> None:
    found = await grouped(tmp_path, *({"id": str(number), "used": number * HOURS} for number in range(5)))
    assert [each.link_id for each in found] == ["1", "2", "3", "4"]
    assert all('"0"' in each.message for each in found)


async def test_two_of_your_users_with_one_login_lose_no_link(tmp_path: Path) -> None:
    (finding,) = await grouped(tmp_path, {"id": "a"}, {"id": "b", "external_id": "user-43", "used": 9 * HOURS})
    assert (finding.link_id, finding.severity, finding.remedy) == ("b", "low", 'belvo.get("a")')
    assert "under another external_id" in finding.message


async def test_a_long_statement_ends_with_its_task(tmp_path: Path) -> None:
    async with recording(tmp_path / "run.sqlite") as (recorder, _):
        endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
        task = asyncio.create_task(recorder._in_thread(lambda: recorder._file().execute(endless)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    # Closing has not waited for it: the statement has no end.
