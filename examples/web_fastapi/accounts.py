"""What the application itself remembers: whose link is whose, which forms were sent, which webhooks came.

Never a credential, and never a token.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiosqlite

from belvo_links import Link

SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS accounts (
    link_id TEXT PRIMARY KEY, person TEXT NOT NULL, institution TEXT NOT NULL, status TEXT NOT NULL, stored INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS forms (
    person TEXT, id TEXT, place TEXT, otherwise TEXT NOT NULL, sent_at INTEGER DEFAULT (unixepoch()),
    PRIMARY KEY (person, id)
) STRICT;
CREATE TABLE IF NOT EXISTS webhooks (
    key TEXT PRIMARY KEY, link_id TEXT NOT NULL, due INTEGER DEFAULT 0, came_at INTEGER DEFAULT (unixepoch())
) STRICT;
DELETE FROM forms WHERE sent_at < unixepoch('now', '-1 day');
DELETE FROM webhooks WHERE came_at < unixepoch('now', '-30 days');
COMMIT;
"""
"""In one transaction, so that processes which start at the same time wait for each other."""
LEASE = 60
"""Seconds after which a webhook that somebody has taken, and not been done with, is taken again."""


@dataclass(frozen=True)
class BankAccount:
    """A link, as far as the application needs it."""

    link_id: str
    institution: str
    status: str
    stored: bool  # whether Belvo has the credentials, so that the person need not type them again

    @property
    def name(self) -> str:
        bank, country, *_ = f"{self.institution}__".split("_")
        return f"{bank.capitalize()} ({country.upper()})"

    @property
    def needs_the_person(self) -> bool:
        return self.status in ("token_required", "invalid", "unconfirmed")


class Accounts:
    """The application's own database; an application of yours has a better one."""

    def __init__(self, database: aiosqlite.Connection) -> None:
        self._database = database

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Self]:
        async with aiosqlite.connect(path, isolation_level=None, timeout=10) as database:
            await database.executescript(SCHEMA)
            yield cls(database)

    # --- accounts

    async def of(self, person: str) -> list[BankAccount]:
        """Return a person's accounts."""
        query = "SELECT link_id, institution, status, stored FROM accounts WHERE person = ? ORDER BY institution"
        rows = await self._database.execute_fetchall(query, (person,))
        return [BankAccount(row[0], row[1], row[2], bool(row[3])) for row in rows]

    async def one(self, person: str, link_id: str) -> BankAccount | None:
        """Return one account of this person; somebody else's is none."""
        return next((account for account in await self.of(person) if account.link_id == link_id), None)

    async def keep(self, person: str, link: Link) -> bool:
        """Remember a link, or what has become of it; return `False` where it is somebody else's."""
        return await self._changes(
            "INSERT INTO accounts VALUES (?, ?, ?, ?, ?) ON CONFLICT (link_id) DO UPDATE "
            "SET status = excluded.status, stored = excluded.stored WHERE person = excluded.person",
            (link.id, person, link.institution, str(link.status), link.credentials_storage != "nostore"),
        )

    async def mark(self, link_id: str, status: str) -> None:
        """Remember what has become of a link; one that nobody here owns is left alone."""
        await self._changes("UPDATE accounts SET status = ? WHERE link_id = ?", (status, link_id))

    # --- forms

    async def first_click(self, person: str, form: str, otherwise: str) -> bool:
        """Return whether this form is sent for the first time: a second click must not log in again.

        `otherwise` is the page for when nobody ever says where the form has led to.
        """
        statement = "INSERT OR IGNORE INTO forms (person, id, otherwise) VALUES (?, ?, ?)"
        return await self._changes(statement, (person, form, otherwise))

    async def logins_of_late(self, person: str) -> int:
        """Return how many forms this person has sent in ten minutes: banks lock those who try too often."""
        query = "SELECT count(*) FROM forms WHERE person = ? AND sent_at > unixepoch('now', '-10 minutes')"
        rows = list(await self._database.execute_fetchall(query, (person,)))
        return int(rows[0][0])

    async def led_to(self, person: str, form: str, place: str) -> None:
        """Remember the page that a form has led to."""
        await self._changes("UPDATE forms SET place = ? WHERE person = ? AND id = ?", (place, person, form))

    async def unfinished(self, person: str) -> str | None:
        """Return a form that this person has sent and of which it is not known where it has led to."""
        query = "SELECT id FROM forms WHERE person = ? AND place IS NULL ORDER BY sent_at LIMIT 1"
        return next((row[0] for row in await self._database.execute_fetchall(query, (person,))), None)

    async def find_form(self, person: str, form: str, patience: float) -> tuple[bool, str | None]:
        """Return whether there is such a form, and where it leads to, which after some seconds is `otherwise`."""
        query = "SELECT place, otherwise, unixepoch() - sent_at FROM forms WHERE person = ? AND id = ?"
        for place, otherwise, seconds_ago in await self._database.execute_fetchall(query, (person, form)):
            if place is None and seconds_ago > patience:
                await self.led_to(person, form, otherwise)
                return True, otherwise
            return True, place
        return False, None

    # --- webhooks

    async def note_webhook(self, key: str, link_id: str) -> None:
        """Remember a webhook for later, once however often it comes."""
        await self._changes("INSERT OR IGNORE INTO webhooks (key, link_id) VALUES (?, ?)", (key, link_id))

    async def take_webhooks(self) -> tuple[str, list[str]] | None:
        """Take what webhooks told of one link, and return the link and their keys.

        Those of a link that nobody has yet wait until somebody has it: a webhook may be faster than our own reply.
        """
        rows = await self._database.execute_fetchall(
            "UPDATE webhooks SET due = unixepoch() + ? WHERE due <= unixepoch() AND link_id = ("
            "SELECT link_id FROM webhooks JOIN accounts USING (link_id) WHERE due <= unixepoch() LIMIT 1"
            ") RETURNING link_id, key",
            (LEASE,),
        )
        taken = list(rows)
        return (taken[0][0], [row[1] for row in taken]) if taken else None

    async def done_with(self, keys: Sequence[str]) -> None:
        """Remember that these need not be taken again; what has come since is looked at on its own."""
        await self._database.executemany("UPDATE webhooks SET due = NULL WHERE key = ?", [(key,) for key in keys])

    async def _changes(self, statement: str, values: Sequence[object]) -> bool:
        async with self._database.execute(statement, values) as cursor:
            return cursor.rowcount == 1
