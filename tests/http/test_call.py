"""One operation from start to end over a socket: repeats, waits, budgets, and what the log says."""

import asyncio
import logging
from typing import Any

import attrs
import pytest

from belvo_links.errors import (
    BelvoLinksError,
    ConnectError,
    NotFoundError,
    PoolTimeoutError,
    RateLimitedError,
    ResponseLostError,
    ServerError,
    UnexpectedResponseError,
)
from belvo_links.redact import Secret
from belvo_links.transport.base import Limiter
from belvo_links.transport.call import Budget, Caller
from belvo_links.transport.limit import RateLimit
from belvo_links.transport.limiter import LocalLimiter
from belvo_links.transport.messages import Lane, Operation, Repeat, Request, Response
from belvo_links.transport.retry import RetryPolicy
from belvo_links.transport.timeouts import AttemptLimits, Timeouts
from tests.http.lines import TOKEN, transport
from tests.http.rude import Behaviour, Peer, free_port, polite, rude

LINK = "e4bb1afb-4a4f-4dd6-8be0-e615d233185b"
DROP = b""


def read_status(response: Response) -> int:
    """Stands in for the protocol's `interpret`, which raises from `errors` too."""
    if response.status == 404:
        raise NotFoundError(status=404)
    if response.status == 429:
        wait = response.headers.get("retry-after")
        raise RateLimitedError(status=429, retry_after=None if wait is None else seconds(float(wait)))
    if response.status >= 500:
        raise ServerError(status=response.status)
    return response.status


def seconds(number: float) -> Any:
    from datetime import timedelta

    return timedelta(seconds=number)


def operation(repeat: Repeat, **more: Any) -> Operation[Any]:
    method = {Repeat.READ: "GET", Repeat.DELETE: "DELETE", Repeat.CHANGE: "POST", Repeat.NEVER: "PATCH"}[repeat]
    body = None if method in {"GET", "DELETE"} else Secret(TOKEN)
    request = Request(method=method, path=f"/api/links/{LINK}/", query=(("id", "secret-query"),), body=body)
    given = {"name": repeat.value, "request": request, "interpret": read_status, "repeat": repeat} | more
    return Operation(**given)


def caller(url: str, *, limiter: Limiter | None = None, retry: RetryPolicy | None = None, **timeouts: float) -> Caller:
    return Caller(
        transport(url),
        limiter=limiter,
        retry=retry or RetryPolicy(base=0.001, ceiling=0.002),
        timeouts=Timeouts(**timeouts),
        jitter=lambda: 1.0,
    )


async def close(one: Caller) -> None:
    await one._transport.aclose()


def answering(*replies: bytes | int, headers: str = "") -> Behaviour:
    """One connection per reply; DROP hangs up, a number is a status. The last one is repeated."""
    left = list(replies)

    async def behave(peer: Peer) -> None:
        await peer.request()
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, int):
            head = f"HTTP/1.1 {reply} Status\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
            await peer.send(head.encode())
        else:
            await peer.send(reply)

    return behave


# --- repeats ---------------------------------------------------------------------------------------------------

SENT: dict[str, tuple[bytes | int, dict[Repeat, int]]] = {
    # what the server does: how many requests come in, per kind of operation (documentation section 11.3)
    "lost": (DROP, {Repeat.READ: 3, Repeat.DELETE: 3, Repeat.CHANGE: 1, Repeat.NEVER: 1}),
    "429": (429, {Repeat.READ: 3, Repeat.DELETE: 3, Repeat.CHANGE: 3, Repeat.NEVER: 1}),
    "503": (503, {Repeat.READ: 3, Repeat.DELETE: 3, Repeat.CHANGE: 1, Repeat.NEVER: 1}),
    "404": (404, {Repeat.READ: 1, Repeat.DELETE: 1, Repeat.CHANGE: 1, Repeat.NEVER: 1}),
}


@pytest.mark.parametrize("repeat", list(Repeat))
@pytest.mark.parametrize("what", list(SENT))
async def test_what_is_repeated_as_the_server_counts_it(what: str, repeat: Repeat) -> None:
    """The table of retry.py, seen from the other end of the line."""
    reply, expected = SENT[what]
    async with rude(answering(reply)) as server:
        one = caller(server.url)
        with pytest.raises(BelvoLinksError) as caught:
            await one.run(operation(repeat), budget=Budget(None))
        await close(one)
    assert len(server.requests) == expected[repeat]
    if isinstance(caught.value, ResponseLostError):
        assert caught.value.attempts == expected[repeat]


@pytest.mark.parametrize("repeat", list(Repeat))
async def test_a_refused_connection_is_tried_again_but_for_what_carries_a_token(repeat: Repeat) -> None:
    """And the error says how often."""
    one = caller(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ConnectError) as caught:
        await one.run(operation(repeat), budget=Budget(None))
    await close(one)
    assert caught.value.attempts == (1 if repeat is Repeat.NEVER else 3)


@pytest.mark.parametrize("failures", [(DROP,), (503,), (429,), (DROP, 503)])
async def test_a_read_succeeds_after_transient_failures(failures: tuple[bytes | int, ...]) -> None:
    """The caller sees the result alone."""
    async with rude(answering(*failures, 200)) as server:
        one = caller(server.url)
        assert await one.run(operation(Repeat.READ), budget=Budget(None)) == 200
        await close(one)
    assert len(server.requests) == len(failures) + 1


@pytest.mark.parametrize("before", [(DROP,), (503,), (DROP, 429), (429, DROP)])
async def test_a_deletion_that_finds_nothing_after_a_doubtful_failure_is_done(before: tuple[bytes | int, ...]) -> None:
    """The first attempt may have deleted it, and now it is gone: that is what was asked for."""
    async with rude(answering(*before, 404)) as server:
        one = caller(server.url)
        assert await one.run(operation(Repeat.DELETE, gone=lambda: "gone"), budget=Budget(None)) == "gone"
        await close(one)


@pytest.mark.parametrize("before", [(), (429,)])
async def test_a_deletion_that_finds_nothing_without_doubt_is_an_error(before: tuple[int, ...]) -> None:
    """Nothing of ours can have deleted it."""
    async with rude(answering(*before, 404)) as server:
        one = caller(server.url)
        with pytest.raises(NotFoundError):
            await one.run(operation(Repeat.DELETE, gone=lambda: "gone"), budget=Budget(None))
        await close(one)


async def test_retry_after_is_waited_for_and_no_longer_than_the_ceiling() -> None:
    """The service asks for an hour, the policy gives 20 milliseconds, jitter or not."""
    async with rude(answering(429, 200, headers="Retry-After: 3600\r\n")) as server:
        one = caller(server.url, retry=RetryPolicy(base=0.0, ceiling=0.02))
        started = asyncio.get_running_loop().time()
        async with asyncio.timeout(2):
            assert await one.run(operation(Repeat.READ), budget=Budget(None)) == 200
        took = asyncio.get_running_loop().time() - started
        await close(one)
    assert took >= 0.02


async def test_a_wait_that_does_not_fit_raises_at_once() -> None:
    """Sleeping into a timeout helps nobody: the error that is at hand is the better answer."""
    async with rude(answering(429, headers="Retry-After: 20\r\n")) as server:
        one = caller(server.url, retry=RetryPolicy())
        async with asyncio.timeout(2):
            with pytest.raises(RateLimitedError):
                await one.run(operation(Repeat.READ), budget=Budget(10))
        await close(one)
    assert len(server.requests) == 1


async def test_cancelled_between_two_attempts_there_is_no_other() -> None:
    """The pause can be cancelled like everything else."""
    async with rude(answering(503)) as server:
        one = caller(server.url, retry=RetryPolicy(base=60, ceiling=60))
        task = asyncio.create_task(one.run(operation(Repeat.READ), budget=Budget(None)))
        await server.got_request.wait()
        await server.all_gone.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await close(one)
    assert len(server.requests) == 1


# --- budgets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
async def test_a_timeout_of_nothing_is_refused(timeout: float) -> None:
    """None is how to say "no limit"."""
    with pytest.raises(ValueError, match="timeout"):
        Budget(timeout)


async def test_a_budget_counts_down_and_not_below_zero() -> None:
    """And without a limit everything fits."""
    budget = Budget(0.001)
    assert budget.allows(0.0)
    await asyncio.sleep(0.002)
    assert budget.left() == 0.0
    assert not budget.allows(0.0)
    assert Budget(None).left() is None
    assert Budget(None).allows(1e9)


@pytest.mark.parametrize("lane", [None, Lane.PERSON, Lane.BULK])
async def test_the_timeout_cuts_the_wait_for_the_limiter(lane: Lane | None) -> None:
    """Nothing was sent; also bulk work, which has no other limit there."""
    limiter = LocalLimiter(RateLimit(1, 60.0))
    await limiter.acquire(Lane.CALL)
    async with rude(polite) as server, asyncio.timeout(2):
        one = caller(server.url, limiter=limiter, retry=RetryPolicy(attempts=1))
        with pytest.raises(PoolTimeoutError, match="rate limit"):
            await one.run(operation(Repeat.READ), budget=Budget(0.05), lane=lane)
        await close(one)
    assert server.connections == 0


async def test_the_wait_for_the_limiter_is_bounded_without_a_timeout_too() -> None:
    """By `timeouts.pool_wait`, but for bulk work, which waits its turn."""
    limiter = LocalLimiter(RateLimit(1, 0.1))
    await limiter.acquire(Lane.CALL)
    async with rude(answering(200)) as server:
        one = caller(server.url, limiter=limiter, retry=RetryPolicy(attempts=1), pool_wait=0.02)
        with pytest.raises(PoolTimeoutError, match="rate limit"):
            await one.run(operation(Repeat.READ), budget=Budget(None))
        assert await one.run(operation(Repeat.READ, lane=Lane.BULK), budget=Budget(None)) == 200
        await close(one)
    assert len(server.requests) == 1


@pytest.mark.parametrize("repeat", [Repeat.READ, Repeat.NEVER])
async def test_the_timeout_cuts_a_slow_reply(repeat: Repeat) -> None:
    """It was sent, so it is lost, and there is no time for another attempt."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.hung_up()

    async with rude(behave) as server, asyncio.timeout(2):
        one = caller(server.url)
        with pytest.raises(ResponseLostError):
            await one.run(operation(repeat), budget=Budget(0.05))
        await server.all_gone.wait()
        await close(one)
    assert len(server.requests) == 1


@pytest.mark.parametrize("logs_in", [True, False])
async def test_calls_that_log_in_have_a_limit_of_their_own(logs_in: bool) -> None:
    """The institution takes its time."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.hung_up()

    async with rude(behave) as server, asyncio.timeout(2):
        slow, quick = (0.05, 60.0) if logs_in else (60.0, 0.05)
        one = caller(server.url, login=slow, read=quick)
        with pytest.raises(ResponseLostError):
            await one.run(operation(Repeat.NEVER, logs_in=logs_in), budget=Budget(None))
        await close(one)


async def test_every_attempt_takes_a_slot_of_the_limiter() -> None:
    """Retries count too: the service counts them."""

    class Counting:
        def __init__(self) -> None:
            self.lanes: list[Lane] = []

        async def acquire(self, lane: Lane) -> None:
            self.lanes.append(lane)

    limiter = Counting()
    async with rude(answering(503, 503, 200)) as server:
        one = caller(server.url, limiter=limiter)
        await one.run(operation(Repeat.READ, lane=Lane.PERSON), budget=Budget(None))
        await one.run(operation(Repeat.READ), budget=Budget(None), lane=Lane.BULK)
        await close(one)
    assert limiter.lanes == [Lane.PERSON] * 3 + [Lane.BULK]


# --- one attempt -----------------------------------------------------------------------------------------------


async def test_a_lost_reply_says_how_to_look_for_what_it_was_about() -> None:
    """The operation knows; the transport does not."""
    async with rude(answering(DROP)) as server:
        one = caller(server.url)
        with pytest.raises(ResponseLostError, match="Look for it by its external_id"):
            await one.run(operation(Repeat.CHANGE, lost_hint="Look for it by its external_id."), budget=Budget(None))
        await close(one)


async def test_the_deadline_and_on_send_reach_the_transport() -> None:
    """`once` is what a submission uses."""
    seen: list[tuple[AttemptLimits, Any]] = []

    @attrs.frozen
    class Recorder:
        async def send(self, request: Request, *, limits: AttemptLimits, on_send: Any = None) -> Response:
            seen.append((limits, on_send))
            return Response(status=200)

        async def aclose(self) -> None: ...

    timeouts = Timeouts(read=1, login=2, connect=3, pool_wait=4)
    one = Caller(Recorder(), limiter=None, retry=RetryPolicy(), timeouts=timeouts, jitter=lambda: 0.0)
    await one.once(operation(Repeat.NEVER, logs_in=True), budget=Budget(None), opening=5.0, on_send=print)
    assert seen == [(AttemptLimits(pool_wait=4, connect=3, reply=2, opening=5.0, total=None), print)]
    assert timeouts.lease() > 4 + 3 + 2


# --- the log ---------------------------------------------------------------------------------------------------


async def test_the_log_tells_what_happened_and_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Method, masked path, outcome: no query, no body, no keys, no id."""
    caplog.set_level(logging.DEBUG)
    async with rude(answering(503, DROP, 200)) as server:
        one = caller(server.url)
        await one.run(operation(Repeat.READ), budget=Budget(None))
        await close(one)
    lines = [record.getMessage() for record in caplog.records if record.name == "belvo_links"]
    assert [line.partition(" (0.")[0] for line in lines] == [
        "read: GET /api/links/{id}/: 503 ServerError",
        "read: attempt 1 failed (ServerError), next in 0.0 s",
        "read: GET /api/links/{id}/: ResponseLostError",
        "read: attempt 2 failed (ResponseLostError), next in 0.0 s",
        "read: GET /api/links/{id}/: 200",
    ]
    for secret in (LINK, "secret-query", "a2V5czprZXlz", "918273"):
        assert secret not in caplog.text


async def test_the_log_tells_of_a_cancelled_call(caplog: pytest.LogCaptureFixture) -> None:
    """Cancelled is an outcome too."""
    caplog.set_level(logging.DEBUG, "belvo_links")

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.hung_up()

    async with rude(behave) as server:
        one = caller(server.url)
        task = asyncio.create_task(one.run(operation(Repeat.NEVER), budget=Budget(None)))
        await server.got_request.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await close(one)
    assert "never: PATCH /api/links/{id}/: CancelledError" in caplog.text


async def test_what_interpret_raises_is_not_repeated_when_repeating_cannot_mend_it() -> None:
    """A reply that does not parse will not parse the next time."""

    def fail(_: Response) -> None:
        raise UnexpectedResponseError(status=200, problems=["$: not JSON"])

    async with rude(answering(200)) as server:
        one = caller(server.url)
        with pytest.raises(UnexpectedResponseError):
            await one.run(operation(Repeat.READ, interpret=fail), budget=Budget(None))
        await close(one)
    assert len(server.requests) == 1
