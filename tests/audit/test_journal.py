"""The file that a bulk action keeps: whose it is, who may read it, and what it holds."""

import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from belvo_links import JournalError
from belvo_links.audit import Journal, LinkResult, Outcome
from belvo_links.audit import journal as journals
from belvo_links.audit.outcomes import INTERRUPTED

LINK = "e4bb1afb-4a4f-4dd6-8be0-e615d233185b"
PLAN = {"kind": "delete", "arguments": "{}", "origin": "https://sandbox.belvo.com", "account": "0a"}
FULL = LinkResult(
    link_id=LINK,
    outcome=Outcome.SKIPPED,
    request_id="f00",
    reason="why",
    error="ThatError",
    code="that",
    retry_after=timedelta(seconds=2.5),
    pending_id="an-id",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    """One that a run has open."""
    async with Journal(path) as one:
        await one.open(PLAN)
        yield one


async def all_of(journal: Journal, outcome: Outcome | None = None) -> list[LinkResult]:
    return [result async for result in journal.results(outcome)]


async def test_what_is_written_comes_back_as_it_was(journal: Journal, path: Path) -> None:
    await journal.begin(LINK)
    assert await journal.find([LINK]) == {LINK: LinkResult(link_id=LINK, outcome=Outcome.UNKNOWN)}
    await journal.settle(FULL)
    assert await journal.find([LINK, str(UUID(int=1))]) == {LINK: FULL}
    await journal.aclose()
    assert await all_of(Journal(path)) == [FULL]
    assert await Journal(path).counts() == {Outcome.SKIPPED: 1}


async def test_what_was_begun_and_never_ended_is_unknown(path: Path) -> None:
    async with Journal(path) as dead:
        await dead.open(PLAN)
        await dead.settle(FULL)
        await dead.begin(LINK)
    assert await all_of(Journal(path), Outcome.UNKNOWN) == [LinkResult(link_id=LINK, outcome=Outcome.UNKNOWN)]
    assert await Journal(path).counts() == {Outcome.UNKNOWN: 1}
    async with Journal(path) as next_run:
        await next_run.open(PLAN)
        assert await all_of(next_run) == [LinkResult(link_id=LINK, outcome=Outcome.UNKNOWN, reason=INTERRUPTED)]


async def test_what_was_not_sent_after_all_leaves_what_was_there_before(journal: Journal) -> None:
    await journal.begin(LINK)
    await journal.withdraw(LINK, None)
    assert await all_of(journal) == []
    await journal.begin(LINK)
    await journal.withdraw(LINK, FULL)
    assert await all_of(journal) == [FULL]


async def test_results_come_a_few_at_a_time_and_can_be_chosen(journal: Journal) -> None:
    for number in range(1201):
        outcome = Outcome.DONE if number % 3 else Outcome.FAILED
        await journal.settle(LinkResult(link_id=str(UUID(int=number)), outcome=outcome))
    assert [result.link_id for result in await all_of(journal)] == [str(UUID(int=number)) for number in range(1201)]
    assert len(await all_of(journal, Outcome.FAILED)) == 401
    with pytest.raises(ValueError):
        await all_of(journal, "no such outcome")  # type: ignore[arg-type]  # what a plain program may give


async def test_the_file_is_its_owner_s_alone(path: Path) -> None:
    path.touch(0o644)
    path.chmod(0o644)
    async with Journal(path) as one:
        await one.open(PLAN)
        await one.begin(LINK)
        made = list(path.parent.iterdir())
        assert len(made) == 2  # with the one that SQLite writes ahead
        assert {stat.S_IMODE(each.stat().st_mode) for each in made} == {0o600}
    assert list(path.parent.iterdir()) == [path]


async def test_a_new_file_is_private_from_the_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Path, "chmod")
    async with Journal(path) as one:
        await one.open(PLAN)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_every_write_is_on_disk_before_it_is_acknowledged(journal: Journal) -> None:
    settings = {
        name: await journal._ask(lambda connection, name=name: connection.execute(f"PRAGMA {name}").fetchone()[0])  # type: ignore[misc]  # of a lambda with a default
        for name in ("journal_mode", "synchronous", "locking_mode")
    }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "locking_mode": "exclusive"}


@pytest.mark.parametrize("name", PLAN)
async def test_another_plan_is_told_what_differs(journal: Journal, path: Path, name: str) -> None:
    await journal.settle(FULL)
    await journal.aclose()
    other = {**PLAN, name: "other"}
    with pytest.raises(JournalError, match=rf"another plan's \({name} differ"):
        await Journal(path).open(other)
    with pytest.raises(JournalError, match=name):
        await Journal(path).is_there(other)
    assert await Journal(path).is_there(PLAN)
    assert await all_of(Journal(path)) == [FULL]


async def test_one_run_at_a_time_has_it(journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "BUSY_SECONDS", 0.05)
    await journal.settle(FULL)
    with pytest.raises(JournalError, match="Another run has this journal"):
        await journal.open(PLAN)
    second = Journal(path)
    with pytest.raises(JournalError, match="Another run has this journal"):
        await second.open(PLAN)
    with pytest.raises(JournalError, match="Another run has this journal"):
        await all_of(second)
    assert await all_of(journal) == [FULL]
    await journal.aclose()
    await journal.aclose()
    await second.open(PLAN)
    await second.aclose()


async def test_a_file_of_somebody_else_s_is_left_as_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE theirs (id)")
        theirs.commit()
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(JournalError, match="no journal of a bulk action"):
        await Journal(path).open(PLAN)
    with pytest.raises(JournalError, match="no journal of a bulk action"):
        await Journal(path).counts()
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(path.parent.iterdir()) == [path]


async def test_what_is_no_database_is_no_journal(path: Path) -> None:
    path.write_text("a text of some length, which is no database at all" * 20)
    with pytest.raises(JournalError, match=r"cannot be read or written \(DatabaseError\)") as refused:
        await Journal(path).open(PLAN)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


async def test_a_journal_of_a_later_version_is_not_touched(journal: Journal, path: Path) -> None:
    await journal.aclose()
    with closing(sqlite3.connect(path)) as later:
        later.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="Another version"):
        await Journal(path).open(PLAN)


async def test_reading_makes_no_file(path: Path) -> None:
    with pytest.raises(JournalError, match="no journal at this path"):
        await all_of(Journal(path))
    assert not await Journal(path).is_there(PLAN)
    assert not path.exists()


async def test_a_run_that_died_before_it_wrote_anything_has_left_no_journal(path: Path) -> None:
    path.touch()
    assert not await Journal(path).is_there(PLAN)
    with pytest.raises(JournalError, match="no journal at this path"):
        await Journal(path).counts()
    async with Journal(path) as next_run:
        await next_run.open(PLAN)
    assert await Journal(path).is_there(PLAN)


async def test_a_folder_that_does_not_exist_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="FileNotFoundError"):
        await Journal(tmp_path / "nowhere" / "journal.db").open(PLAN)


async def test_a_write_that_fails_is_an_error_of_ours(journal: Journal) -> None:
    await journal._ask(lambda connection: connection.execute("PRAGMA query_only = ON").close())
    with pytest.raises(JournalError, match="OperationalError"):
        await journal.begin(LINK)
