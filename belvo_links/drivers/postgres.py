"""PostgreSQL as stores and limiters use it: a pool that was given, or the address of a server."""

from __future__ import annotations

from typing import Any, TypeAlias

from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import Error as PsycopgError
from psycopg_pool import AsyncConnectionPool

Connection: TypeAlias = AsyncConnection[Any]
Pool: TypeAlias = AsyncConnectionPool[Any]


def checked_dsn(dsn: str) -> str:
    """Return the DSN.

    Raises:
        ValueError: it is none. It is not quoted.
    """
    try:
        conninfo_to_dict(dsn)
    except PsycopgError:
        pass
    else:
        return dsn
    # The driver's own words quote pieces of it.
    msg = "dsn: give postgresql://… or host=… dbname=…, with special characters of a password as %XX or quoted"
    raise ValueError(msg)


def checked_pool(pool: object) -> Pool:
    """Return the pool.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(pool, AsyncConnectionPool):
        msg = "dsn_or_pool: give a DSN, or an AsyncConnectionPool of psycopg_pool"
        raise TypeError(msg)
    return pool
