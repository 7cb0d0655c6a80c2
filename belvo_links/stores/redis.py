"""A store in Redis or Valkey: for any number of machines."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError
from redis.exceptions import TimeoutError as RedisTimeoutError

from belvo_links.drivers.lifetimes import PerLoop, bounded
from belvo_links.drivers.redis import Client, Script, checked_client, checked_url, opened
from belvo_links.errors import StoreError
from belvo_links.protocol.mfa import SETTLED, PendingRecord, PendingState
from belvo_links.stores.base import KEPT_UNSETTLED, StoredRecord
from belvo_links.stores.form import Seen, form_for, readable, seconds_kept
from belvo_links.stores.weaknesses import weaknesses

T = TypeVar("T")

log: Final = logging.getLogger("belvo_links")

LIMIT: Final = 18.0
"""Seconds for one call, whatever the client's own limits are."""

ANSWER_SECONDS: Final = 5.0
"""Seconds for connecting, and for a reply, where the client is ours."""

POOL_SECONDS: Final = 10.0
"""Seconds to wait for a connection, where the client is ours."""

CONNECTIONS: Final = 20
PAGE: Final = 200
KEPT_LONGER: Final = 60.0
"""Seconds that a record is kept beyond what is promised."""

_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.:\-]{1,100}")
_UNDECODED: Final = {"NEVER_DECODE": True}
"""Makes a client that decodes replies, in whatever encoding, leave ours alone."""


# Every script touches one key only, so that it runs in a cluster. A record's fields are written by one HSET, so that
# a server that is full or fails writes all of them or none. Times are the server's, in milliseconds since 1970.
_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
_INSERT: Final = Script("""
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'seen', ARGV[1], 'record', ARGV[2], 'expires_at', ARGV[3], 'lease_until', '')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
""")
_LOAD: Final = Script(f"""
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
{_NOW}
local found = redis.call('HMGET', KEYS[1], 'seen', 'record', 'lease_until')
local lease_until = tonumber(found[3])
return {{found[1] or '', found[2] or '', lease_until and lease_until - now or false}}
""")
# The second condition: where a client repeats a command whose reply was lost, as redis-py does by default, the second
# time finds what the first has written. A claim carries a nonce that no other call has, so it was this very call, and
# it has the claim. Without that, the round would be held by nobody who knows. A swap that is no claim needs no such
# rule: who is told that the record has moved on looks, and sees what it wanted to write.
_SWAP: Final = Script(f"""
local seen = redis.call('HGET', KEYS[1], 'seen')
if not seen then return 0 end
if seen ~= ARGV[5] then return (ARGV[7] ~= '' and seen == ARGV[1]) and 1 or 0 end
local lease_until = ''
if ARGV[6] ~= '' then
    {_NOW}
    lease_until = string.format('%.0f', now + ARGV[6])
end
redis.call('HSET', KEYS[1], 'seen', ARGV[1], 'record', ARGV[2], 'expires_at', ARGV[3], 'lease_until', lease_until)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
""")
_PURGE: Final = """
local found = redis.call('HMGET', KEYS[1], 'seen', 'expires_at')
local expires_at = tonumber(found[2])
if not found[1] or not expires_at then return 0 end
local state = string.match(found[1], '^%l*')
local before = string.find(ARGV[1], ' ' .. state .. ' ', 1, true) and ARGV[2] or ARGV[3]
if expires_at >= tonumber(before) then return 0 end
return redis.call('DEL', KEYS[1])
"""


class RedisStore:
    """Keeps pending records in Redis 6 or newer, or Valkey.

    Args:
        url_or_client: ``redis://``, ``rediss://`` or ``unix://``, opened on first use and closed by :meth:`aclose`; or
            a client of ``redis.asyncio``, for a single server or a cluster, which is never closed.
        namespace: what the keys begin with: letters, digits and ``_ . : -``, at most 100.
        keys: 32 bytes each as url-safe base64; what is kept is then encrypted with the first, and read with any. Needs
            the extra ``[seal]``.

    Raises:
        ValueError: the URL or the namespace is not valid. The URL is not quoted.
        TypeError: it is neither a URL nor such a client.

    A server that may lose a write that it has acknowledged may let a token be sent twice. At first use the store looks
    whether its settings allow that, and says so in the log, once; see the page on stores. Needs the extra ``[redis]``.
    """

    def __init__(
        self, url_or_client: str | Client, *, namespace: str = "belvo_links", keys: Sequence[str] | None = None
    ) -> None:
        if not _NAMESPACE.fullmatch(namespace):
            msg = "namespace: give 1 to 100 letters, digits and _ . : -"
            raise ValueError(msg)
        self._given: Client | None = None
        if isinstance(url_or_client, str):
            url = checked_url(url_or_client)
            self._owned = PerLoop(
                lambda: opened(url, connections=CONNECTIONS, wait=POOL_SECONDS, answer=ANSWER_SECONDS)
            )
        else:
            self._given = checked_client(url_or_client)
        self._prefix = f"{namespace}:pending:".encode()
        self._form = form_for(keys)
        self._looked = False

    async def insert(self, record: PendingRecord) -> bool:
        """Keep a new record; return ``False``, changing nothing, where its id exists."""
        inserted: int = await self._ask(self._run(_INSERT, record.id, *self._fields(record)))
        return inserted == 1

    async def load(self, pending_id: str) -> StoredRecord | None:
        """Return the record with this id, or ``None``.

        Raises:
            StoredFormatError: it was changed, or a version of this package that this one does not know has written it.
            SealError: it was sealed with other keys, or without.
        """
        found = await self._ask(self._run(_LOAD, pending_id))
        if found is None:
            return None
        seen, text, left = found
        return StoredRecord(
            record=self._read(pending_id, seen, text), lease_left=None if left is None else int(left) / 1000
        )

    async def swap(self, old: PendingRecord, new: PendingRecord, *, lease: float | None = None) -> bool:
        """Replace a record if it still is what the caller saw."""
        milliseconds = "" if lease is None else str(math.ceil(lease * 1000))
        is_claim = lease is not None and new.claim not in (None, old.claim)
        fields = (*self._fields(new), _seen_text(Seen.of(old)), milliseconds, "claim" if is_claim else "")
        swapped: int = await self._ask(self._run(_SWAP, old.id, *fields))
        return swapped == 1

    async def iterate(self, state: PendingState | None = None) -> AsyncIterator[PendingRecord]:
        """Yield the records, or those in one state; what cannot be read is passed over and logged.

        All keys of the server's database are looked through.
        """
        yielded: set[bytes] = set()  # SCAN may return a key twice
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                keys = [key for key in dict.fromkeys(page) if key not in yielded]
                for key, (seen, text) in await self._ask(self._read_page(keys, state)):
                    yielded.add(key)
                    pending_id = key.removeprefix(self._prefix).decode("utf-8", "surrogateescape")
                    if (record := readable(self._read, pending_id, seen, text)) is not None:
                        yield record

    async def purge(self, before: datetime) -> int:
        """Remove what is over and return how many records that were.

        The server forgets records by itself: this is for who wants them gone earlier. All keys of its database are
        looked through.
        """
        bound = before.timestamp()
        values = (f" {' '.join(SETTLED)} ", repr(bound), repr(bound - KEPT_UNSETTLED.total_seconds()))
        removed = 0
        async for page in self._pages():
            commands = [("EVAL", _PURGE, 1, key, *values) for key in page]
            removed += sum(await self._ask(self._pipe(commands)))
        return removed

    async def aclose(self) -> None:
        """Close the client, unless it was given. It is opened again when the store is used again."""
        if self._given is None:
            await self._ask(self._owned.aclose())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # ------------------------------------------------------------------------------------------------ what is kept

    def _fields(self, record: PendingRecord) -> tuple[str, str, str, str]:
        kept = math.ceil((seconds_kept(record) + KEPT_LONGER) * 1000)
        return _seen_text(Seen.of(record)), self._form.write(record), repr(record.expires_at.timestamp()), str(kept)

    def _read(self, pending_id: str, seen: bytes, text: bytes) -> PendingRecord:
        return self._form.read(pending_id, text.decode("utf-8", "replace"), seen=_seen(seen))

    # ------------------------------------------------------------------------------------------------- the server

    async def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Await the client for a bounded time, and turn whatever it raises into ours."""
        try:
            return await bounded(work, LIMIT)
        except Exception as error:  # noqa: BLE001  # besides its own errors a driver lets those of sockets and TLS out
            reason = _reason(error)
        raise StoreError(reason=reason)

    async def _client(self) -> Client:
        client = self._given or await self._owned.get()
        if not self._looked:
            self._looked = True  # others need not wait for it
            self._looked = await _has_warned(client)
        return client

    async def _run(self, script: Script, pending_id: str, *values: str) -> Any:
        encoded = [value.encode() for value in values]
        return await script.run(await self._client(), [self._prefix + pending_id.encode()], encoded, **_UNDECODED)

    async def _pages(self) -> AsyncGenerator[list[bytes]]:
        """Yield the keys of this namespace; a key may come twice. No call waits for the whole of it."""
        for target in await self._ask(self._targets()):
            cursor = 0
            while True:
                cursor, page = await self._ask(self._scan(cursor, target))
                yield page
                if cursor == 0:
                    break

    async def _targets(self) -> list[Mapping[str, Any]]:
        client = await self._client()
        if isinstance(client, Redis):
            return [{}]
        client = await client.initialize()
        return [{"target_nodes": node} for node in client.get_primaries()]

    async def _scan(self, cursor: int, target: Mapping[str, Any]) -> tuple[int, list[bytes]]:
        client = await self._client()
        command: tuple[Any, ...] = ("SCAN", cursor, "MATCH", self._prefix + b"*", "COUNT", PAGE, "TYPE", "hash")
        after, page = await client.execute_command(*command, **target, **_UNDECODED)
        if isinstance(after, dict):  # by node, of which there is one
            [after] = after.values()
        return after, page

    async def _read_page(
        self, keys: Sequence[bytes], state: PendingState | None
    ) -> list[tuple[bytes, tuple[bytes, bytes]]]:
        """Return what is kept under these keys, of records in this state: the others are not fetched."""
        if state is not None:
            begins = await self._pipe([("HGET", key, "seen") for key in keys])
            keys = [key for key, seen in zip(keys, begins, strict=True) if seen is not None and _state(seen) == state]
        found = await self._pipe([("HMGET", key, "seen", "record") for key in keys])
        return [
            (key, (seen or b"", text or b""))
            for key, (seen, text) in zip(keys, found, strict=True)
            if (seen, text) != (None, None) and (state is None or _state(seen or b"") == state)
        ]

    async def _pipe(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send many commands at once and return their replies."""
        if not commands:
            return []
        client = await self._client()
        async with client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command, **_UNDECODED)
            return list(await pipe.execute())


def _reason(error: Exception) -> str:
    """Return a short word for an error of the driver: its class, unless the pool had no connection to give."""
    exhausted = isinstance(error, RedisConnectionError) and str(error) == "No connection available."
    return "PoolTimeout" if exhausted or isinstance(error, MaxConnectionsError) else type(error).__name__


# ---------------------------------------------------------------------------------------------- what a claim compares


def _seen_text(seen: Seen) -> str:
    claim = [] if seen.claim is None else [seen.claim]
    return " ".join([seen.state, str(seen.round), str(seen.revision), *claim])


def _seen(text: bytes) -> Seen:
    """Return what was written; anything else contradicts every record."""
    state, *others = text.decode("utf-8", "replace").split(" ", 3)
    try:
        return Seen(state, int(others[0]), int(others[1]), others[2] if len(others) > 2 else None)
    except (ValueError, IndexError):
        return Seen("", 0, 0, None)


def _state(seen: bytes) -> str:
    return _seen(seen).state


# --------------------------------------------------------------------------------------------------- what it may lose


async def _has_warned(client: Client) -> bool:
    """Warn if the server may lose what it has acknowledged; return whether there was an answer, be it a refusal."""
    settings: dict[str, str] = {}
    try:
        for name in ("appendonly", "appendfsync", "maxmemory", "maxmemory-policy"):
            settings |= {_text(key): _text(value) for key, value in (await client.config_get(name)).items()}
    except (RedisConnectionError, RedisTimeoutError, OSError):
        return False
    except Exception:  # noqa: BLE001  # CONFIG is refused, renamed or unknown: best effort
        return True
    if found := weaknesses(settings):
        log.warning(
            "RedisStore: this server may lose a claim that it has acknowledged, and a token could then be sent twice:"
            " %s. See the page on stores.",
            ", ".join(found),
        )
    return True


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
