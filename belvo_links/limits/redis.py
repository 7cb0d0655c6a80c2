"""A limiter in Redis or Valkey."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from belvo_links.drivers.lifetimes import PerLoop
from belvo_links.drivers.redis import Client, Script, checked_client, checked_url, opened
from belvo_links.limits.shared import LIMIT, PATIENCE, SharedLimiter, UnreachableError
from belvo_links.transport.limit import RateLimit
from belvo_links.transport.messages import Lane, Quota

CONNECTIONS: Final = 8

_NAME: Final = re.compile(r"[A-Za-z0-9_.:\-]{1,100}")
_MICRO: Final = 1_000_000

# The clock of all scripts, in microseconds since 1970: whole numbers that a double holds exactly.
CLOCK: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
"""
# A window is a sorted set of tickets by the moment at which they end to count. If the server's clock was set back, what
# ends too late ends a whole window from now.
_WINDOW: Final = """
local function text(number) return string.format('%.0f', number) end

local function refresh(window, length)
    redis.call('ZREMRANGEBYSCORE', window, '-inf', text(now))
    for _, ticket in ipairs(redis.call('ZRANGEBYSCORE', window, '(' .. text(now + length), '+inf')) do
        redis.call('ZADD', window, text(now + length), ticket)
    end
end

local function count(window, ticket, length)
    redis.call('ZADD', window, text(now + length), ticket)
    redis.call('PEXPIRE', window, text(math.ceil(length / 1000) + 1000))
end

local function until_room(window, excess, length)
    local first = redis.call('ZRANGE', window, excess, excess, 'WITHSCORES')
    return first[2] and first[2] - now or length
end
"""
# The line is a sorted set of waiting tickets by lane and arrival; `alive` holds until when each keeps its place. The
# memory has a name: who remembers another one tells what it has let in, and asks again.
_ASK: Final = """
local window, line, alive, arrivals, memory = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local ticket, lane, allowance = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local length, patience, remembered = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local LANE = 1000000000000000

redis.call('SET', memory, ticket, 'NX')
redis.call('EXPIRE', memory, 86400)
local name = redis.call('GET', memory)
if remembered ~= '' and remembered ~= name then return {-1, name} end

local function leave(one)
    redis.call('ZREM', line, one)
    redis.call('ZREM', alive, one)
end

refresh(window, length)
if redis.call('ZSCORE', window, ticket) then
    count(window, ticket, length)
    return {0, name}
end
for _, one in ipairs(redis.call('ZRANGEBYSCORE', alive, '-inf', text(now))) do leave(one) end
for _, one in ipairs(redis.call('ZRANGEBYSCORE', alive, '(' .. text(now + patience), '+inf')) do leave(one) end

local before = redis.call('ZRANK', line, ticket)
local waits = before
if not waits then before = redis.call('ZCOUNT', line, '-inf', '(' .. text((lane + 1) * LANE)) end
local excess = redis.call('ZCARD', window) + before - allowance
if excess < 0 then
    count(window, ticket, length)
    if waits then leave(ticket) end
    return {0, name}
end
if not waits then redis.call('ZADD', line, text(lane * LANE + redis.call('INCR', arrivals)), ticket) end
redis.call('ZADD', alive, text(now + patience), ticket)
for _, key in ipairs({line, alive, arrivals}) do
    redis.call('PEXPIRE', key, text(math.ceil(patience / 1000) + 1000))
end
return {until_room(window, excess, length), name}
"""
_WITHDRAW: Final = """
for _, key in ipairs(KEYS) do redis.call('ZREM', key, ARGV[1]) end
return 0
"""
_REPORT: Final = """
local length = tonumber(ARGV[1])
refresh(KEYS[1], length)
for number = 2, #ARGV, 2 do
    local left = length - ARGV[number + 1]
    if left > 0 then redis.call('ZADD', KEYS[1], 'NX', text(now + left), ARGV[number]) end
    redis.call('ZREM', KEYS[2], ARGV[number])
    redis.call('ZREM', KEYS[3], ARGV[number])
end
redis.call('PEXPIRE', KEYS[1], text(math.ceil(length / 1000) + 1000))
return 0
"""
_RESERVE: Final = """
local window, ticket, requests, length = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
refresh(window, length)
local excess = redis.call('ZCARD', window) - requests
if excess >= 0 and not redis.call('ZSCORE', window, ticket) then return until_room(window, excess, length) end
count(window, ticket, length)
return 0
"""


class RedisLimiter(SharedLimiter):
    """An exact sliding window that processes and machines share, in Redis 6 or newer, or Valkey.

    Args:
        url_or_client: ``redis://``, ``rediss://`` or ``unix://``, opened on first use and closed by :meth:`aclose`; or
            a client of ``redis.asyncio``, for a single server or a cluster, which is never closed.
        limit: requests and seconds. Who shares a name gives the same.
        name: whose requests are counted together, one for each account: letters, digits and ``_ . : -``, at most 100.
        margin: seconds by which windows are longer than the service's. The limiter counts when a request may leave,
            the service when it arrives: give more than these moments can lie apart.
        fallback: the limit of this process alone while the server cannot be reached; by default an eighth of the
            requests in the same time.
        quotas: whether to count synchronous deletions (5 a minute) and the cooldown of refreshes (ten minutes per
            link), too: the sixth deletion waits, and a refresh that comes too early raises
            :class:`~belvo_links.RefreshCooldownError` without a request.

    Raises:
        ValueError: the URL, the name or the margin is not valid. The URL is not quoted.
        TypeError: the first is neither a URL nor such a client.

    Give it to clients as ``rate_limit=``. They do not close it; use it as ``async with``, or call :meth:`aclose`. See
    the page on limits. Needs the extra ``[redis]``.
    """

    def __init__(
        self,
        url_or_client: str | Client,
        limit: RateLimit = RateLimit(80, 30),  # noqa: B008  # frozen
        *,
        name: str = "default",
        margin: float = 0.5,
        fallback: RateLimit | None = None,
        quotas: bool = True,
    ) -> None:
        if not _NAME.fullmatch(name):
            msg = "name: give 1 to 100 letters, digits and _ . : -"
            raise ValueError(msg)
        super().__init__(
            _RedisServer(url_or_client, name=name),
            what=f"The limiter {name!r} in Redis",
            limit=limit,
            margin=margin,
            fallback=fallback,
            quotas=quotas,
        )


class _RedisServer:
    """The scripts, and the client that runs them."""

    def __init__(self, url_or_client: str | Client, *, name: str, clock: str = CLOCK) -> None:
        self._given: Client | None = None
        if isinstance(url_or_client, str):
            url = checked_url(url_or_client)
            self._owned = PerLoop(lambda: opened(url, connections=CONNECTIONS, wait=LIMIT, answer=LIMIT))
        else:
            self._given = checked_client(url_or_client)
        # In braces, so that a cluster keeps the keys of one limiter on one node.
        self._prefix = f"belvo_links:limit:{{{name}}}:"
        self._keys = tuple(f"{self._prefix}{key}" for key in ("window", "line", "alive", "arrivals", "memory"))
        self._ask, self._report, self._reserve = (Script(clock + _WINDOW + body) for body in (_ASK, _REPORT, _RESERVE))
        self._withdraw = Script(_WITHDRAW)
        self._memory = ""

    async def ask(self, ticket: str, lane: Lane, limit: RateLimit) -> float:
        values = (ticket, int(lane), limit.allowance(lane), _micros(limit.seconds), _micros(PATIENCE), self._memory)
        wait, memory = await self._run(self._ask, self._keys, values)
        self._memory = memory.decode() if isinstance(memory, bytes) else str(memory)
        if wait < 0:
            reason = "it has lost its memory"
            raise UnreachableError(reason, dropped=True)
        return int(wait) / _MICRO

    async def withdraw(self, ticket: str) -> None:
        await self._run(self._withdraw, self._keys[:3], (ticket,))

    async def report(self, ages: Mapping[str, float], limit: RateLimit) -> None:
        told = [value for ticket, age in ages.items() for value in (ticket, _micros(age))]
        await self._run(self._report, self._keys[:3], (_micros(limit.seconds), *told))

    async def reserve(self, quota: Quota, ticket: str) -> float:
        values = (ticket, quota.requests, _micros(quota.seconds))
        return int(await self._run(self._reserve, (self._key_of(quota),), values)) / _MICRO

    async def give_back(self, quota: Quota, ticket: str) -> None:
        await self._run(self._withdraw, (self._key_of(quota),), (ticket,))

    async def aclose(self) -> None:
        if self._given is None:
            await self._owned.aclose()

    def _key_of(self, quota: Quota) -> str:
        return f"{self._prefix}quota:{quota.name}"

    async def _run(self, script: Script, keys: tuple[str, ...], values: tuple[str | int, ...]) -> Any:
        try:
            async with asyncio.timeout(LIMIT):
                return await script.run(self._given or await self._owned.get(), keys, values)
        except Exception as error:  # noqa: BLE001  # besides its own errors a driver lets those of sockets and TLS out
            dropped = isinstance(error, (RedisConnectionError, OSError))
            failure = UnreachableError(
                type(error).__name__, dropped=dropped and not isinstance(error, (RedisTimeoutError, TimeoutError))
            )
        raise failure


def _micros(seconds: float) -> int:
    return math.ceil(seconds * _MICRO)
