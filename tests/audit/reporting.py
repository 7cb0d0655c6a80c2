"""Runs to report on, made without a scan."""

import json
import random
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from belvo_links.audit import duplicates
from belvo_links.audit.checks import CHECKS
from belvo_links.audit.findings import CheckContext, Finding
from belvo_links.audit.inspection import Inspector, named
from belvo_links.audit.report import AuditReport
from belvo_links.audit.rows import Pseudonyms, cells
from belvo_links.audit.runfile import RunFile
from belvo_links.audit.schema import APPLICATION, SCHEMA, SCHEMA_VERSION, TABLES
from belvo_links.protocol.models import AccessMode, Link, LinkStatus, RefreshRate
from belvo_links.redact import Secret

NOW: Final = datetime(2026, 3, 8, 9, 30, tzinfo=UTC)
KEY: Final = b"a key of 32 bytes, for tests only"

INSTITUTIONS: Final = (
    "erebor_mx_retail",
    "gringotts_br_retail",
    "heimdall_co_retail",
    "gotham_mx_business",
    "erebor_br_retail",
    "heimdall_mx_retail",
    "gotham_co_business",
    "erebor_co_retail",
    "gotham_br_business",
    "heimdall_br_retail",
)


def link(number: int = 1, **given: Any) -> Link:
    """A link that no check finds anything about, unless something else is given."""
    usual: dict[str, Any] = {
        "id": str(UUID(int=number)),
        "institution": "erebor_mx_retail",
        "status": LinkStatus.VALID,
        "created_at": NOW - timedelta(days=10),
        "access_mode": AccessMode.RECURRENT,
        "refresh_rate": RefreshRate.DAILY,
        "last_accessed_at": NOW - timedelta(hours=3),
        "external_id": f"user-{number}",
        "institution_user_id": f"person-{number}",
        "credentials_storage": "store",
        "stale_in": "365d",
    }
    return Link(**(usual | given))


def portfolio(size: int, seed: int = 7) -> list[Link]:
    """Links as an account may have them: most in order, some not, newest first."""
    chance = random.Random(seed)
    made = []
    for number in range(1, size + 1):
        age = timedelta(days=chance.expovariate(1 / 160), minutes=chance.randrange(1440))
        status = chance.choices(list(LinkStatus), (82, 8, 4, 6))[0]
        single = chance.random() < 0.3
        idle = min(age, timedelta(days=chance.expovariate(1 / (60 if single else 3)), hours=1))
        made.append(
            link(
                number,
                id=str(UUID(int=chance.getrandbits(128), version=4)),
                institution=chance.choices(INSTITUTIONS, [2 ** -(place / 2) for place in range(len(INSTITUTIONS))])[0],
                status=status,
                created_at=NOW - age,
                access_mode=AccessMode.SINGLE if single else AccessMode.RECURRENT,
                refresh_rate=None if single else chance.choice([RefreshRate.DAILY, RefreshRate.WEEKLY]),
                last_accessed_at=None if status == "unconfirmed" or chance.random() < 0.02 else NOW - idle,
                external_id=None if chance.random() < 0.03 else f"user-{number}",
                institution_user_id=f"person-{number if chance.random() < 0.97 else number // 2}",
                credentials_storage=chance.choice(["store", "365d", "180d", "nostore"]),
                stale_in=chance.choice(["90d", "180d", "365d", None]),
            )
        )
    return sorted(made, key=lambda each: each.created_at, reverse=True)


def make_run(
    path: Path,
    links: Iterable[Link],
    *,
    extra: Iterable[Finding] = (),
    unreadable: Sequence[tuple[str | None, Sequence[str]]] = (),
    pseudonymised: bool = False,
    temporary: bool = False,
    **facts: Any,
) -> RunFile:
    """The file of a run that has ended, with what all checks find about these links."""
    context, pseudonyms = CheckContext(now=NOW), Pseudonyms(Secret(KEY))
    inspector = Inspector(named(CHECKS), context)
    connection = sqlite3.connect(path)
    for statement in SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    number = 0
    for number, each in enumerate(links, 1):  # noqa: B007  # used after the loop
        _insert(connection, "links", cells(each, context, pseudonyms))
        for finding in inspector.inspect(each):
            _insert_finding(connection, finding)
    connection.execute(duplicates.FIND, duplicates.WORDS)
    for finding in extra:
        _insert_finding(connection, finding)
    for link_id, problems in unreadable:
        _insert(connection, "unreadable", (link_id, json.dumps(list(problems))))
    begun = {
        "account": "digest",
        "origin": "https://sandbox.belvo.com",
        "filters": [],
        "checks": [check.__name__ for check in CHECKS],
        "pseudonymised": pseudonymised,
        "started_at": NOW.isoformat(),
        "judged_at": NOW.isoformat(),
    }
    (findings,) = connection.execute("SELECT count(*) FROM findings").fetchone()
    ended = {
        "ended_at": (NOW + timedelta(minutes=9, seconds=41)).isoformat(),
        "interruptions": 0,
        "complete": True,
        "reason": None,
        "links": number,
        "unreadable": len(unreadable),
        "findings": findings,
    }
    kept = {"facts": {name: facts.get(name, value) for name, value in begun.items()}}
    kept["ended"] = {name: facts.get(name, value) for name, value in ended.items()}
    connection.execute("CREATE INDEX links_by_id ON links (id)")
    connection.executemany("INSERT INTO run VALUES (?, ?)", [(name, json.dumps(value)) for name, value in kept.items()])
    connection.commit()
    connection.close()
    return RunFile(path, temporary=temporary)


def report(path: Path, links: Iterable[Link], **given: Any) -> AuditReport:
    """The report of such a run."""
    return AuditReport.of(make_run(path, links, **given))


def _insert_finding(connection: sqlite3.Connection, each: Finding) -> None:
    _insert(connection, "findings", (each.check, each.severity.value, each.link_id, each.message, each.remedy))


def _insert(connection: sqlite3.Connection, table: str, row: Sequence[Any]) -> None:
    columns = TABLES[table]
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", row)
