"""The tables of the file of an audit's run."""

from __future__ import annotations

from typing import Final

from belvo_links.audit.rows import COLUMNS

SCHEMA_VERSION: Final = 1
APPLICATION: Final = 0x42656C52
"""Marks the file as ours, in SQLite's own header."""

SCHEMA: Final = (
    "CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """
    CREATE TABLE windows (number INTEGER PRIMARY KEY, part INTEGER NOT NULL, since TEXT, until TEXT) STRICT
    """,
    """
    CREATE TABLE links (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        institution TEXT NOT NULL,
        institution_user_id TEXT,
        external_id TEXT,
        status TEXT NOT NULL,
        access_mode TEXT,
        refresh_rate TEXT,
        created_at INTEGER NOT NULL,
        last_accessed_at INTEGER,
        credentials_storage TEXT,
        credentials_until INTEGER,
        data_until INTEGER
    ) STRICT
    """,
    """
    CREATE TABLE findings (
        id INTEGER PRIMARY KEY,
        check_name TEXT NOT NULL,
        severity TEXT NOT NULL,
        link_id TEXT NOT NULL,
        message TEXT NOT NULL,
        remedy TEXT NOT NULL
    ) STRICT
    """,
    "CREATE TABLE unreadable (id INTEGER PRIMARY KEY, link_id TEXT, problems TEXT NOT NULL) STRICT",
)
TABLES: Final = {
    "links": COLUMNS,
    "findings": ("check_name", "severity", "link_id", "message", "remedy"),
    "unreadable": ("link_id", "problems"),
}
"""What is written into each table, in this order."""
