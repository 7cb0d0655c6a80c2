"""What is kept of a record, read and written past the store, as somebody with access to the file or server could."""

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final, LiteralString, TypeAlias

import attrs
import psycopg
import redis
from psycopg import sql

from belvo_links.stores import MemoryStore
from belvo_links.stores.form import Seen
from belvo_links.stores.redis import _seen, _seen_text
from tests.stores.places import MemoryPlace, Place, PostgresPlace, RedisPlace, SqlitePlace

Fields: TypeAlias = Mapping[str, Any]
"""``record``, the text, and ``state``, ``round``, ``revision`` and ``claim`` beside it."""

NAMES: Final = ("state", "round", "revision", "claim", "record")


def read(place: Place, pending_id: str) -> Fields:
    """Return what is kept of a record."""
    match place:
        case MemoryPlace():
            entry = _memory(place)._entries[pending_id]
            return {**attrs.asdict(entry.seen), "record": entry.kept}
        case RedisPlace():
            with _redis(place) as client:
                kept = client.hgetall(_key(place, pending_id))
            return {**attrs.asdict(_seen(str(kept["seen"]).encode())), "record": kept["record"]}
        case SqlitePlace():
            with closing(sqlite3.connect(place.path)) as database:
                [row] = database.execute(f"SELECT {', '.join(NAMES)} FROM belvo_pending WHERE id = ?", [pending_id])
            return dict(zip(NAMES, row, strict=True))
        case PostgresPlace():
            [row] = _postgres(place, f"SELECT {', '.join(NAMES)} FROM {{}} WHERE id = %s", pending_id)
            return dict(zip(NAMES, row, strict=True))
    raise TypeError


def write(place: Place, pending_id: str, fields: Fields) -> None:
    """Replace what is kept of a record."""
    values = [fields[name] for name in NAMES]
    match place:
        case MemoryPlace():
            entries = _memory(place)._entries
            entries[pending_id] = attrs.evolve(entries[pending_id], seen=Seen(*values[:4]), kept=values[4])
        case RedisPlace():
            with _redis(place) as client:
                key = _key(place, pending_id)
                client.hset(key, mapping={"seen": _seen_text(Seen(*values[:4])), "record": values[4]})
        case SqlitePlace():
            to = ", ".join(f"{name} = ?" for name in NAMES)
            with closing(sqlite3.connect(place.path)) as database, database:
                database.execute(f"UPDATE belvo_pending SET {to} WHERE id = ?", [*values, pending_id])
        case PostgresPlace():
            to = ", ".join(f"{name} = %s" for name in NAMES)
            _postgres(place, f"UPDATE {{}} SET {to} WHERE id = %s", *values, pending_id)


def rename(place: Place, pending_id: str, new: str) -> None:
    """Keep a record under another id."""
    match place:
        case MemoryPlace():
            entries = _memory(place)._entries
            entries[new] = entries.pop(pending_id)
        case RedisPlace():
            with _redis(place) as client:
                client.rename(_key(place, pending_id), _key(place, new))
        case SqlitePlace():
            with closing(sqlite3.connect(place.path)) as database, database:
                database.execute("UPDATE belvo_pending SET id = ? WHERE id = ?", [new, pending_id])
        case PostgresPlace():
            _postgres(place, "UPDATE {} SET id = %s WHERE id = %s", new, pending_id)


def _memory(place: MemoryPlace) -> MemoryStore:
    return place._store


def _key(place: RedisPlace, pending_id: str) -> str:
    return f"{place.namespace}:pending:{pending_id}"


@contextlib.contextmanager
def _redis(place: RedisPlace) -> Iterator[redis.Redis]:
    with closing(redis.Redis.from_url(place.server.url, decode_responses=True)) as client:
        yield client


def _postgres(place: PostgresPlace, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(place.server.dsn, autocommit=True) as connection:
        text = sql.SQL(statement).format(sql.Identifier(place.table))
        cursor = connection.execute(text, values)
        return [] if cursor.description is None else cursor.fetchall()
