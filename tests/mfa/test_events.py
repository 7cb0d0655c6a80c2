"""What an observer is told, in which order, over a real socket: everything once, and nothing that is not so."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, cast

import attrs
import pytest

from belvo_links import (
    AlreadyClaimedError,
    AlreadySettledError,
    BelvoLinks,
    Credentials,
    IndeterminateOutcomeError,
    Lane,
    LinkFilter,
    LocalLimiter,
    MfaRequiredError,
    NotFoundError,
    PendingSession,
    PoolTimeoutError,
    RateLimit,
    RefreshCooldownError,
    SessionExpiredError,
    StoreError,
    Timeouts,
)
from belvo_links.errors import ConnectError, ServerError
from belvo_links.protocol.mfa import PendingRecord
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.stores import MemoryStore
from belvo_links.telemetry import Attempted, Challenged, Claimed, LimitWaited, Observer, Retrying, Settled
from belvo_links.transport.messages import Quota
from belvo_links.transport.watch import METHODS
from tests.mfa import helpers
from tests.mfa.helpers import (
    EAGER,
    GOOD,
    LINK,
    LINKS,
    WRONG,
    Counting,
    Failing,
    Leased,
    arrived,
    client,
    link,
    pending,
    plain_link,
    register,
)
from tests.observing import Recorder

COMPLETE: dict[str, Any] = {"method": "PATCH", "template": LINKS}
LOOK: dict[str, Any] = {"method": "GET", "template": LINK}
LOST_AND_PROVED = [
    "complete {",
    "claim 1: won",
    "attempt 1: ResponseLostError",
    "submitting > indeterminate",
    "get {",
    "attempt 1: 200",
    "}",
    "indeterminate > linked",
    "}",
]


@pytest.fixture
def told() -> Recorder:
    return Recorder()


@pytest.fixture
def store() -> Failing:
    return Failing()


@pytest.fixture
async def belvo(box: Sandbox, store: Failing, told: Recorder) -> Any:
    async with client(box, store=store, observer=told) as opened:
        yield opened


def challenge(link_id: str, kind: str | None = "text", request_id: str = "5b1e") -> Fault:
    """A 428."""
    item: dict[str, Any] = {"code": "token_required", "session": "c" * 32, "expiry": 720, "link": link_id}
    item["token_generation_data"] = {"type": kind, "instructions": "look", "expects_user_input": True}
    return Fault.status(428, [{**item, "request_id": request_id}])


def broken() -> Observer:
    """An observer that fails at everything."""

    def fail(*_: object) -> None:
        raise RuntimeError("canary")

    kind: Any = type("Broken", (Observer,), dict.fromkeys(("call", *METHODS.values()), fail))
    return cast("Observer", kind())


async def test_an_observer_that_fails_at_everything_harms_no_login(
    box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Each call does what it does without one, and the log has one line for each failure."""
    async with client(box, retry=EAGER, rate_limit=Counting(), observer=broken()) as belvo:
        asked = await register(belvo)
        second = pending(await asked.complete(WRONG))
        box.inject(Fault.drop_after(), **COMPLETE)
        box.inject(Fault.status(503), **LOOK)
        made = link(await second.complete(GOOD))
        with pytest.raises(AlreadySettledError):
            await asked.complete(GOOD)
        assert (await belvo.get(made.id)).id == made.id
        with pytest.raises(NotFoundError) as caught:
            await belvo.get(helpers.SOME_LINK)
        assert caught.value.__context__ is None
    assert box.tokens == [WRONG, GOOD]
    failures = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    # register: call, wait, attempt, challenge; complete: call, wait, claim, attempt, settle, challenge; the same with
    # settle, call, wait, attempt, repeat, wait, attempt, settle; call, claim; twice call, wait, attempt.
    assert failures == ["the observer failed: RuntimeError"] * (4 + 6 + 12 + 2 + 6)
    assert "canary" not in caplog.text


# ------------------------------------------------------------------------------------------------------ single calls


async def test_a_call_is_one_attempt(box: Sandbox, belvo: BelvoLinks, told: Recorder) -> None:
    """With its template, its status and how long it took."""
    made = await plain_link(belvo)
    told.take()
    told.events.clear()
    await belvo.get(made.id)
    assert told.take() == ["get {", "attempt 1: 200", "}"]
    (event,) = told.events
    assert isinstance(event, Attempted)
    assert 0 < event.seconds < 60
    assert attrs.evolve(event, seconds=0) == Attempted(
        call="get", number=1, method="GET", template=LINK, status=200, seconds=0
    )
    assert (told.calls[-1].name, told.calls[-1].method, told.calls[-1].template) == ("get", "GET", LINK)
    assert f"http://{told.calls[-1].host}:{told.calls[-1].port}" == box.url


async def test_a_repeated_call_says_why_and_when(box: Sandbox, told: Recorder) -> None:
    """Two 503, then success: three attempts, two repetitions, one call."""
    async with client(box, retry=EAGER, observer=told) as belvo:
        made = await plain_link(belvo)
        told.take()
        told.events.clear()
        box.inject(
            Fault.status(503, [{"code": "x", "request_id": "a" * 32}], headers={"Retry-After": "0"}), times=2, **LOOK
        )
        await belvo.get(made.id)
    assert told.take() == [
        "get {",
        "attempt 1: 503 ServerError",
        "repeat 1: ServerError",
        "attempt 2: 503 ServerError",
        "repeat 2: ServerError",
        "attempt 3: 200",
        "}",
    ]
    assert told.events[1] == Retrying(call="get", number=1, error="ServerError", delay=0.0)
    assert [event.request_id for event in told.events if isinstance(event, Attempted)] == ["a" * 32] * 2 + [None]


async def test_a_call_that_fails_ends_with_its_error(box: Sandbox, belvo: BelvoLinks, told: Recorder) -> None:
    """Refused, unreachable."""
    with pytest.raises(NotFoundError):
        await belvo.get(helpers.SOME_LINK)
    assert told.take() == ["get {", "attempt 1: 404 NotFoundError", "} NotFoundError"]
    await box.stop()
    async with client(box, observer=told) as unconnected:
        with pytest.raises(ConnectError):
            await unconnected.get(helpers.SOME_LINK)
    assert told.take() == ["get {", "attempt 1: ConnectError", "} ConnectError"]


async def test_every_page_of_an_iteration_is_a_call(box: Sandbox, belvo: BelvoLinks, told: Recorder) -> None:
    """Each in its own task, so that they may overlap; a single page is the first."""
    box.add_links(25)
    assert len([each async for each in belvo.iterate(page_size=10, concurrency=2)]) == 25
    assert told.lines[:3] == ["iterate {", "attempt 1: 200", "}"]
    assert sorted(told.take()) == sorted(["iterate {", "attempt 1: 200", "}"] * 3)


async def test_a_count_that_is_split_is_several_calls(box: Sandbox, belvo: BelvoLinks, told: Recorder) -> None:
    """One for each request."""
    filters = LinkFilter(id__in=box.add_links(300))
    parts = len(list(filters.split()))
    assert parts > 1
    assert await belvo.count(filters) == 300
    assert told.take() == ["count {", "attempt 1: 200", "}"] * parts


async def test_a_value_that_is_refused_here_is_no_call(belvo: BelvoLinks, told: Recorder) -> None:
    """Nothing was begun."""
    with pytest.raises(ValueError, match="UUID"):
        await belvo.get("no-uuid")
    assert told.take() == []


async def test_a_cancelled_call_ends_with_the_cancellation(box: Sandbox, belvo: BelvoLinks, told: Recorder) -> None:
    """The attempt under way is told too."""
    box.inject(Fault.delay(5), **LOOK)
    task = asyncio.create_task(belvo.get(helpers.SOME_LINK))
    while not box.requests:  # noqa: ASYNC110  # a request that comes in is no event of ours
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told.take() == ["get {", "attempt 1: CancelledError", "} CancelledError"]


# ------------------------------------------------------------------------------------------------------------- limits


async def test_waiting_for_the_limiter_is_told(box: Sandbox, told: Recorder) -> None:
    """Before each attempt, with the lane and the time; also where there was room."""
    limiter = Counting()
    async with client(box, rate_limit=limiter, observer=told) as belvo:
        await belvo.count()
        limiter.hook = partial(asyncio.sleep, 0.02)
        await belvo.count()
    assert told.take() == ["count {", "waited: call", "attempt 1: 200", "}"] * 2
    waits = [event for event in told.events if isinstance(event, LimitWaited)]
    assert [(event.call, event.lane, event.admitted) for event in waits] == [("count", Lane.CALL, True)] * 2
    assert 0.01 < waits[1].seconds < 60


async def test_whoever_gives_up_waiting_sends_nothing(box: Sandbox, told: Recorder) -> None:
    """By the time limit or by a cancellation."""
    limiter = Counting()

    async def never() -> None:
        await asyncio.Event().wait()

    limiter.hook = never
    async with client(box, rate_limit=limiter, timeouts=Timeouts(pool_wait=0.01), observer=told) as belvo:
        with pytest.raises(PoolTimeoutError):
            await belvo.count()
        assert told.take() == ["count {", "gave up: call", "} PoolTimeoutError"]
        task = asyncio.create_task(belvo.register(helpers.NOWHERE, helpers.NUMERIC))
        await helpers.settle_loop()
        task.cancel()
        await asyncio.wait([task])
        assert told.take() == ["register {", "gave up: person", "} CancelledError"]


class Quotas(LocalLimiter):
    """Has no room for single kinds of calls."""

    async def reserve(self, quota: Quota, ticket: str) -> float:
        return 300.0

    async def give_back(self, quota: Quota, ticket: str) -> None:
        pass


async def test_a_quota_that_is_used_up_is_a_wait_given_up(box: Sandbox, told: Recorder) -> None:
    """A refresh too early is refused at once; a synchronous deletion waits as long as it may."""
    limiter, short = Quotas(RateLimit(9, 1)), Timeouts(pool_wait=0.01)
    async with client(box, rate_limit=limiter, timeouts=short, observer=told) as belvo:
        with pytest.raises(RefreshCooldownError):
            await belvo.refresh(helpers.SOME_LINK)
        assert told.take() == ["refresh {", "gave up: call", "} RefreshCooldownError"]
        with pytest.raises(PoolTimeoutError):
            await belvo.delete(helpers.SOME_LINK, mode="sync")
        assert told.take() == ["delete {", "gave up: call", "} PoolTimeoutError"]


# --------------------------------------------------------------------------------------------------------- challenges


async def test_a_login_from_its_beginning_to_its_end(belvo: BelvoLinks, told: Recorder) -> None:
    """Challenged, a wrong token, challenged again, the right one."""
    asked = await register(belvo)
    assert told.take() == ["register {", "attempt 1: 428", "challenge 1: numeric", "}"]
    assert isinstance(told.events[0], Attempted)
    assert told.events[0].error is None
    first = told.events[1]
    assert first == Challenged(
        pending_id=asked.id,
        operation="register",
        round=1,
        kind="numeric",
        expects_user_input=True,
        request_id=asked.request_ids[0],
    )
    assert told.events[0].request_id == asked.request_ids[0]
    second = pending(await asked.complete(WRONG))
    assert told.take() == [
        "complete {",
        "claim 1: won",
        "attempt 1: 428",
        "submitting > awaiting",
        "challenge 2: numeric",
        "}",
    ]
    link(await second.complete(GOOD))
    assert told.take() == ["complete {", "claim 2: won", "attempt 1: 201", "submitting > linked", "}"]
    assert told.events[-3] == Claimed(pending_id=asked.id, operation="register", round=2, won=True)
    assert told.events[-1] == Settled(
        pending_id=asked.id, operation="register", round=2, before="submitting", state="linked"
    )


@pytest.mark.parametrize(
    "name, call",
    [
        ("update", lambda belvo, link_id: belvo.update(link_id, Credentials(password="new"))),
        ("patch", lambda belvo, link_id: belvo.patch(link_id, access_mode="recurrent")),
    ],
)
async def test_the_look_at_a_link_that_is_challenged_is_inside_of_the_call(
    belvo: BelvoLinks, told: Recorder, name: str, call: Callable[[BelvoLinks, str], Awaitable[Any]]
) -> None:
    """Update and patch read the link once, for later."""
    made = await plain_link(belvo)
    told.take()
    pending(await call(belvo, made.id))
    challenged = [f"{name} {{", "attempt 1: 428", "challenge 1: text"]
    assert told.take() == [*challenged, "get {", "attempt 1: 200", "}", "}"]


@pytest.mark.parametrize(
    "name, method, template, call",
    [
        ("get", "GET", LINK, lambda belvo, link_id: belvo.get(link_id)),
        ("delete", "DELETE", LINK, lambda belvo, link_id: belvo.delete(link_id)),
        ("refresh", "POST", f"{LINK}refresh/", lambda belvo, link_id: belvo.refresh(link_id)),
    ],
)
async def test_a_call_that_cannot_go_on_is_challenged_too(
    box: Sandbox, belvo: BelvoLinks, told: Recorder, name: str, method: str, template: str, call: Any
) -> None:
    """It ends with the error that has the pending session."""
    made = await plain_link(belvo)
    told.take()
    box.inject(challenge(made.id), method=method, template=template)
    with pytest.raises(MfaRequiredError):
        await call(belvo, made.id)
    challenged = [f"{name} {{", "attempt 1: 428", "challenge 1: text"]
    assert told.take() == [*challenged, "get {", "attempt 1: 200", "}", "} MfaRequiredError"]
    assert (told.calls[-2].method, told.calls[-2].template) == (method, template)


async def test_a_challenge_of_an_unknown_kind_is_of_another_kind(
    box: Sandbox, belvo: BelvoLinks, told: Recorder
) -> None:
    """No word of somebody else's gets into an event; no word at all is none."""
    made = await plain_link(belvo)
    for kind, name in (("canary_kind", "other"), (None, "None")):
        told.take()
        box.inject(challenge(made.id, kind, "a canary"), method="PUT", template=LINK)
        pending(await belvo.update(made.id, Credentials(password="new")))
        assert told.take()[2] == f"challenge 1: {name}"
    assert "canary" not in repr(told.events)


async def test_whom_a_callback_answers_for_is_no_part_of_the_call(box: Sandbox, told: Recorder) -> None:
    """The call ends with the challenge; a person may take minutes, and each answer is a call of its own."""
    seen: list[list[str]] = []

    async def on_challenge(asked: PendingSession) -> str:
        seen.append(told.take())
        return WRONG if asked.round == 1 else GOOD

    async with client(box, observer=told) as belvo:
        await belvo.register(helpers.NOWHERE, helpers.NUMERIC, access_mode="single", on_challenge=on_challenge)
    assert seen[0] == ["register {", "attempt 1: 428", "challenge 1: numeric", "}"]
    assert (seen[1][0], seen[1][-1]) == ("complete {", "}")
    assert told.take() == ["complete {", "claim 2: won", "attempt 1: 201", "submitting > linked", "}"]


async def test_waiting_for_a_confirmation_is_a_call_for_each_submission(
    box: Sandbox, belvo: BelvoLinks, told: Recorder
) -> None:
    """Each one claims and settles."""
    asked = await register(belvo, "sim_mfa_inputless")
    box.inject(Fault.status(429), **COMPLETE)
    told.take()
    waiting = asyncio.create_task(asked.wait())
    await arrived(box)
    box.confirm(asked.link_id)
    link(await waiting)
    refused = ["complete {", "claim 1: won", "attempt 1: 429 RateLimitedError", "submitting > awaiting"]
    success = ["complete {", "claim 1: won", "attempt 1: 201", "submitting > linked", "}"]
    assert told.take() == [*refused, "} RateLimitedError", *success]


# ------------------------------------------------------------------------------------------------------------- claims


async def test_of_a_hundred_tasks_one_claims(belvo: BelvoLinks, told: Recorder) -> None:
    """All others find that the round is not to be had, whenever they look; nothing else is told twice."""
    asked = await register(belvo)
    told.take()
    await asyncio.gather(*(belvo.complete(asked.id, GOOD) for _ in range(100)), return_exceptions=True)
    lines = told.take()
    assert (lines.count("complete {"), lines.count("claim 1: won"), lines.count("claim 1: lost")) == (100, 1, 99)
    assert (lines.count("attempt 1: 201"), lines.count("submitting > linked"), lines.count("}")) == (1, 1, 1)
    assert len(lines) == 302


async def test_of_two_clients_that_have_both_looked_one_claims(box: Sandbox) -> None:
    """The store decides, and each client's observer is told its own part."""
    store, both = MemoryStore(), asyncio.Barrier(2)
    limiters, recorders = [Counting(), Counting()], [Recorder(), Recorder()]
    clients = [
        client(box, store=store, rate_limit=limiter, observer=recorder)
        for limiter, recorder in zip(limiters, recorders, strict=True)
    ]
    asked = await register(clients[0])

    async def meet() -> None:
        await both.wait()

    for limiter in limiters:
        limiter.hook = meet
    await asyncio.gather(*(each.complete(asked.id, GOOD) for each in clients), return_exceptions=True)
    for each in clients:
        await each.aclose()
    lines = sorted((recorder.lines[-5:] for recorder in recorders), key=lambda each: each[-1])
    assert lines[0][1:] == ["claim 1: won", "attempt 1: 201", "submitting > linked", "}"]
    assert lines[1][-4:] == ["complete {", "waited: person", "claim 1: lost", "} AlreadyClaimedError"]


async def test_a_record_that_was_only_completed_is_not_lost(box: Sandbox, told: Recorder) -> None:
    """Between the look and the claim something else of the record changed: the claim is made anew and won."""

    class Busy(helpers.Wrapped):
        async def swap(self, old: PendingRecord, new: PendingRecord, *, lease: float | None = None) -> bool:
            if lease is not None and old.revision == 0:
                await self.inner.swap(old, attrs.evolve(old, correlation="changed", revision=1))
            return await super().swap(old, new, lease=lease)

    async with client(box, store=Busy(), observer=told) as belvo:
        asked = await register(belvo)
        told.take()
        link(await asked.complete(GOOD))
    assert told.take() == ["complete {", "claim 1: won", "attempt 1: 201", "submitting > linked", "}"]


async def test_a_round_that_is_over_is_lost(belvo: BelvoLinks, told: Recorder) -> None:
    """The wanted round is told, not the present one; what the store does not know is no claim at all."""
    asked = await register(belvo)
    await asked.complete(WRONG)
    told.take()
    with pytest.raises(AlreadyClaimedError):
        await belvo.complete(asked.id, GOOD, round=1)
    assert told.take() == ["complete {", "claim 1: lost", "} AlreadyClaimedError"]
    with pytest.raises(Exception, match="no such pending"):
        await belvo.complete("unknown", GOOD)
    assert told.take() == ["complete {", "} PendingNotFoundError"]


async def test_a_claim_that_is_cancelled_is_given_back(box: Sandbox, told: Recorder) -> None:
    """Won and at once awaiting again."""
    claimed, go_on = asyncio.Event(), asyncio.Event()

    class Dawdling(helpers.Wrapped):
        async def around(self, name: str, work: helpers.Work[helpers.T]) -> helpers.T:
            result = await work()
            if name == "claim":
                claimed.set()
                await go_on.wait()
            return result

    async with client(box, store=Dawdling(), observer=told) as belvo:
        asked = await register(belvo)
        told.take()
        task = asyncio.create_task(asked.complete(GOOD))
        await claimed.wait()
        task.cancel()
        await helpers.settle_loop()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert told.take() == ["complete {", "claim 1: won", "submitting > awaiting", "} CancelledError"]


async def test_a_claim_that_the_store_cannot_confirm_is_given_back(
    belvo: BelvoLinks, store: Failing, told: Recorder
) -> None:
    """Nobody knows that it was won; what is found to be taken is given back, and that is told."""
    asked = await register(belvo)
    told.take()
    store.fail(lambda name, number: name == "claim", after=True)
    with pytest.raises(StoreError):
        await asked.complete(GOOD)
    assert told.take() == ["complete {", "submitting > awaiting", "} StoreError"]


# ------------------------------------------------------------------------------------------------------- lost replies


async def test_a_lost_reply_is_looked_after_inside_of_the_call(box: Sandbox, belvo: BelvoLinks, told: Recorder) -> None:
    """The look at the link is a call inside of it; what it proves settles."""
    asked = await register(belvo)
    told.take()
    box.inject(Fault.drop_after(), **COMPLETE)
    link(await asked.complete(GOOD))
    assert told.take() == LOST_AND_PROVED


async def test_a_lost_reply_that_stays_unexplained_is_settled_once(
    box: Sandbox, belvo: BelvoLinks, told: Recorder
) -> None:
    """Looking again is a call; it settles when it proves something."""
    asked = await register(belvo)
    box.inject(Fault.drop_after(), **COMPLETE)
    box.inject(Fault.status(503), times=2, **LOOK)
    told.take()
    with pytest.raises(IndeterminateOutcomeError):
        await asked.complete(GOOD)
    look = ["get {", "attempt 1: 503 ServerError", "} ServerError"]
    assert told.take() == [*LOST_AND_PROVED[:4], *look, "} IndeterminateOutcomeError"]
    with pytest.raises(IndeterminateOutcomeError):
        await asked.reconcile()
    assert told.take() == ["reconcile {", *look, "} IndeterminateOutcomeError"]
    link(await asked.reconcile())
    assert told.take() == ["reconcile {", "get {", "attempt 1: 200", "}", "indeterminate > linked", "}"]
    with pytest.raises(AlreadySettledError):
        await asked.reconcile()
    assert told.take() == ["reconcile {", "} AlreadySettledError"]


async def test_a_submission_without_a_token_is_put_back(box: Sandbox, belvo: BelvoLinks, told: Recorder) -> None:
    """Awaiting again, in the same round: no new challenge."""
    asked = await register(belvo, "sim_mfa_inputless")
    told.take()
    box.inject(Fault.status(500), **COMPLETE)
    with pytest.raises(ServerError):
        await asked.complete()
    assert told.take() == [
        "complete {",
        "claim 1: won",
        "attempt 1: 500 ServerError",
        "submitting > indeterminate",
        "get {",
        "attempt 1: 200",
        "}",
        "indeterminate > awaiting",
        "} ServerError",
    ]
    assert pending(await asked.reconcile()).state == "awaiting"
    assert told.take() == ["reconcile {", "}"]


async def test_a_submission_that_is_cancelled_is_settled_first(box: Sandbox, belvo: BelvoLinks, told: Recorder) -> None:
    """The request was out: indeterminate, told before the cancellation passes."""
    asked = await register(belvo)
    told.take()
    box.inject(Fault.delay(5), **COMPLETE)
    task = asyncio.create_task(asked.complete(GOOD))
    await arrived(box)
    task.cancel()
    await asyncio.wait([task])
    cancelled = ["attempt 1: CancelledError", "submitting > indeterminate", "} CancelledError"]
    assert told.take() == ["complete {", "claim 1: won", *cancelled]


async def test_nothing_sent_gives_the_round_back(box: Sandbox, belvo: BelvoLinks, told: Recorder) -> None:
    """The connection was refused."""
    asked = await register(belvo)
    await box.stop()
    async with client(box, observer=told) as unconnected:
        again = unconnected.restore(asked.to_json())
        told.take()
        with pytest.raises(ConnectError):
            await again.complete(GOOD)
    refused = ["attempt 1: ConnectError", "submitting > awaiting", "} ConnectError"]
    assert told.take() == ["complete {", "claim 1: won", *refused]


async def test_a_late_challenge_is_told_where_it_counts(box: Sandbox, told: Recorder) -> None:
    """A round that was put back meanwhile stays what it is: its challenge is not told again."""
    store = Leased()
    async with client(box, store=store, observer=told) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
        box.inject(challenge(asked.link_id), **COMPLETE)

        async def put_back() -> None:
            store.elapsed = 1_000.0
            pending(await (await belvo.pending(asked.id)).reconcile())
            store.elapsed = 0.0

        store.on_settle = put_back
        told.take()
        assert pending(await asked.complete()).round == 1
    assert told.take() == [
        "complete {",
        "claim 1: won",
        "attempt 1: 428",
        "submitting > indeterminate",
        "reconcile {",
        "get {",
        "attempt 1: 200",
        "}",
        "indeterminate > awaiting",
        "}",
        "}",
    ]


# --------------------------------------------------------------------------------------------------------- the store


async def test_a_challenge_is_told_although_the_store_fails(belvo: BelvoLinks, store: Failing, told: Recorder) -> None:
    """It was met all the same, and is told once: not again when it comes to be recorded."""
    store.fail(lambda name, number: name == "insert")
    with pytest.raises(StoreError) as caught:
        await register(belvo)
    assert told.take() == ["register {", "attempt 1: 428", "challenge 1: numeric", "} StoreError"]
    store.recover()
    assert isinstance(caught.value.pending, PendingSession)
    link(await caught.value.pending.complete(GOOD))
    assert told.take() == ["complete {", "claim 1: won", "attempt 1: 201", "submitting > linked", "}"]


@pytest.mark.parametrize("again", ["insert", "settle"])
async def test_what_cannot_be_recorded_is_told_as_such(
    belvo: BelvoLinks, store: Failing, told: Recorder, again: str
) -> None:
    """A settled login, and a new round, which is told once although it is recorded later."""
    asked = await register(belvo)
    told.take()
    store.fail(lambda name, number: name == "settle")
    second = pending(await asked.complete(WRONG))
    unrecorded = ["submitting > awaiting (unrecorded)", "challenge 2: numeric", "}"]
    assert told.take() == ["complete {", "claim 1: won", "attempt 1: 428", *unrecorded]
    if again == "insert":
        store.recover()
    else:
        store.fail(lambda name, number: name == "settle" and number > 4)
    link(await second.complete(GOOD))
    late = "" if again == "insert" else " (unrecorded)"
    assert told.take() == ["complete {", "claim 2: won", "attempt 1: 201", f"submitting > linked{late}", "}"]


@pytest.mark.parametrize("recovers", [True, False])
async def test_a_lost_reply_that_cannot_be_recorded_is_told_once(
    box: Sandbox, belvo: BelvoLinks, store: Failing, told: Recorder, recovers: bool
) -> None:
    """Recording it is tried again after the look; that is no news."""
    asked = await register(belvo)
    told.take()
    settles = []

    def fails(name: str, number: int) -> bool:
        settles.extend([number] if name == "settle" else [])
        return name == "settle" and (not recovers or len(settles) == 1)

    store.fail(fails)
    box.inject(Fault.drop_before(), **COMPLETE)
    with pytest.raises(IndeterminateOutcomeError):
        await asked.complete(GOOD)
    lines = told.take()
    assert len(settles) == 2
    assert [line for line in lines if ">" in line] == ["submitting > indeterminate (unrecorded)"]
    assert (await helpers.stored(store.inner, asked.id)).state == ("indeterminate" if recovers else "submitting")


async def test_what_the_look_proves_is_told_although_the_loss_could_not_be_recorded(
    box: Sandbox, belvo: BelvoLinks, store: Failing, told: Recorder
) -> None:
    """From what the store knew to what it knows now."""
    asked = await register(belvo)
    told.take()
    first = iter([True])
    store.fail(lambda name, number: name == "settle" and next(first, False))
    box.inject(Fault.drop_after(), **COMPLETE)
    link(await asked.complete(GOOD))
    lost = ["submitting > indeterminate (unrecorded)", "get {", "attempt 1: 200", "}"]
    assert told.take()[3:] == [*lost, "submitting > linked", "}"]


async def test_time_settles_too(box: Sandbox, belvo: BelvoLinks, told: Recorder) -> None:
    """Whoever looks first finds it out, once, inside or outside of a call."""
    asked, other = await register(belvo), await register(belvo)
    told.take()
    box.advance(seconds=9600)
    assert {each.state for each in await asyncio.gather(*(belvo.pending(asked.id) for _ in range(9)))} == {"expired"}
    assert told.take() == ["awaiting > expired"]
    with pytest.raises(SessionExpiredError):
        await other.complete(GOOD)
    assert told.take() == ["complete {", "awaiting > expired", "claim 1: lost", "} SessionExpiredError"]
    assert len([each async for each in belvo.iterate_pending("expired")]) == 2
    assert told.take() == []


async def test_a_deadline_that_passes_in_the_limiter_is_told(box: Sandbox, told: Recorder) -> None:
    """Nothing is claimed; after a claim, it is given back first."""
    limiter, store = Counting(), Leased()
    async with client(box, store=store, rate_limit=limiter, observer=told) as belvo:

        async def late() -> None:
            box.advance(seconds=9600)

        asked = await register(belvo)
        limiter.hook = late
        told.take()
        with pytest.raises(SessionExpiredError):
            await asked.complete(GOOD)
    over = ["awaiting > expired", "claim 1: lost", "} SessionExpiredError"]
    assert told.take() == ["complete {", "waited: person", *over]


async def test_a_deadline_that_passes_while_connecting_is_told(box: Sandbox, told: Recorder) -> None:
    """The claim was won; it is given back, and then it is too late."""

    class Dawdling(helpers.Wrapped):
        async def around(self, name: str, work: helpers.Work[helpers.T]) -> helpers.T:
            result = await work()
            if name == "claim":
                box.advance(seconds=9600)
            return result

    async with client(box, store=Dawdling(), observer=told) as belvo:
        asked = await register(belvo)
        told.take()
        with pytest.raises(SessionExpiredError):
            await asked.complete(GOOD)
    assert told.take() == [
        "complete {",
        "claim 1: won",
        "attempt 1: PoolTimeoutError",
        "submitting > awaiting",
        "awaiting > expired",
        "} SessionExpiredError",
    ]


async def test_a_lease_that_ran_out_and_a_reply_that_came_after_all(box: Sandbox, told: Recorder) -> None:
    """Indeterminate for whoever looks; the late reply settles it all the same."""
    store = Leased()
    async with client(box, store=store, observer=told) as belvo:
        asked = await register(belvo)
        told.take()

        async def look() -> None:
            store.elapsed = 1_000.0
            assert (await belvo.pending(asked.id)).state == "indeterminate"
            store.elapsed = 0.0

        store.on_settle = look
        link(await asked.complete(GOOD))
    settled = ["submitting > indeterminate", "indeterminate > linked", "}"]
    assert told.take() == ["complete {", "claim 1: won", "attempt 1: 201", *settled]


async def test_a_record_that_was_purged_meanwhile_is_settled_all_the_same(box: Sandbox, told: Recorder) -> None:
    """It is kept anew, and told once."""
    store = Leased()
    async with client(box, store=store, observer=told) as belvo:
        asked = await register(belvo)

        async def purge() -> None:
            assert await store.purge(box.clock() + timedelta(days=9)) == 1

        store.on_settle = purge
        told.take()
        link(await asked.complete(GOOD))
    assert told.take() == ["complete {", "claim 1: won", "attempt 1: 201", "submitting > linked", "}"]


async def test_giving_up_is_told(box: Sandbox, belvo: BelvoLinks, told: Recorder) -> None:
    """It is no call; deleting the link that is left behind is one."""
    asked, other = await register(belvo), await register(belvo)
    told.take()
    await asked.cancel()
    assert told.take() == ["awaiting > cancelled"]
    box.remove_link(other.link_id)
    await other.cancel(delete_link=True)
    assert told.take() == ["awaiting > cancelled", "delete {", "attempt 1: 404 NotFoundError", "} NotFoundError"]
    with pytest.raises(AlreadySettledError):
        await asked.cancel()
    assert told.take() == []


async def test_restoring_is_no_event_but_what_is_done_then_is(box: Sandbox, belvo: BelvoLinks, told: Recorder) -> None:
    """The new store learns of the record, and nothing has happened to it by that."""
    text = (await register(belvo)).to_json()
    async with client(box, observer=told) as elsewhere:
        told.take()
        again = elsewhere.restore(text)
        assert told.take() == []
        link(await again.complete(GOOD))
    assert told.take() == ["complete {", "claim 1: won", "attempt 1: 201", "submitting > linked", "}"]


async def test_words_of_a_restored_text_do_not_get_into_events(box: Sandbox, belvo: BelvoLinks, told: Recorder) -> None:
    """Its id and its operation may be anything."""
    record = attrs.evolve(
        (await register(belvo)).record,
        id="an id: canary",
        operation="canary",
        expires_at=box.clock() - timedelta(seconds=1),
    )
    await belvo._ledger.insert(record)
    assert (await belvo.pending(record.id)).state == "expired"
    event = told.events[-1]
    assert isinstance(event, Settled)
    assert (event.pending_id, event.operation, event.state) == ("***", "other", "expired")
