"""Redis as stores and limiters use it: a client that was given or one of our own, and scripts."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any, TypeAlias

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

Client: TypeAlias = Redis | RedisCluster


class Script:
    """A Lua script, which the server keeps by its digest."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(
        self, client: Client, keys: Sequence[str | bytes], values: Sequence[str | bytes | int], **options: Any
    ) -> Any:
        """Run it and return the server's reply. The options are the driver's, for reading the reply."""
        arguments = (len(keys), *keys, *values)
        try:
            return await client.execute_command("EVALSHA", self._digest, *arguments, **options)
        except NoScriptError:  # a server that was started anew, or another node of a cluster
            return await client.execute_command("EVAL", self._text, *arguments, **options)


def checked_client(client: object) -> Client:
    """Return the client.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(client, (Redis, RedisCluster)):
        msg = "url_or_client: give a URL, or a client of redis.asyncio"
        raise TypeError(msg)
    return client


def checked_url(url: str) -> str:
    """Return the URL.

    Raises:
        ValueError: it is none of Redis. It is not quoted.
    """
    try:
        parse_url(url)
    except ValueError:
        pass
    else:
        return url
    # The driver's own words may quote a piece of a password.
    msg = "url: give redis://, rediss:// or unix://, with special characters of a password as %XX"
    raise ValueError(msg)


async def opened(url: str, *, connections: int, wait: float, answer: float) -> AsyncGenerator[Redis]:
    """Open a client, yield it once, and close it.

    Without the driver's own repetitions: what is not known to have happened is for the caller to know. Connections that
    the server has closed are found out before they are used, though not under protocol 3, where redis-py takes what can
    be read for a notification.

    Args:
        url: where the server is.
        connections: how many at most.
        wait: seconds to wait for one of them.
        answer: seconds for connecting, and for a reply.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=wait,
        protocol=2,
        socket_timeout=answer,
        socket_connect_timeout=answer,
        retry=Retry(NoBackoff(), 0),
    )
    client = Redis.from_pool(pool)
    try:
        yield client
    finally:
        await client.aclose()
