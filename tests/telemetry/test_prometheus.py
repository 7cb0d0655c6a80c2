"""Counters and histograms: what is counted, and that no word from outside becomes a series."""

import asyncio
import gc
import weakref
from functools import partial
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, generate_latest

from belvo_links import BelvoLinks, BelvoLinksError, Lane
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.telemetry import (
    Attempted,
    Call,
    Challenged,
    Claimed,
    LimitWaited,
    PrometheusObserver,
    Retrying,
    Settled,
)
from tests.mfa.helpers import EAGER, GOOD, LINK, SOME_LINK, WRONG, Counting, client, link, pending, plain_link, register


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def belvo(box: Sandbox, registry: CollectorRegistry) -> Any:
    async with client(box, retry=EAGER, observer=PrometheusObserver(registry)) as opened:
        yield opened


def counted(registry: CollectorRegistry, name: str) -> dict[str, float]:
    """The values of a metric by its labels, in the order of their names."""
    return {
        " ".join(value for _, value in sorted(sample.labels.items())): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == name
    }


async def test_requests_are_counted_by_call_and_status(
    box: Sandbox, belvo: BelvoLinks, registry: CollectorRegistry
) -> None:
    """Each attempt, with its class of error; the call itself once."""
    made = await plain_link(belvo)
    box.inject(Fault.status(503), times=2, method="GET", template=LINK)
    await belvo.get(made.id)
    with pytest.raises(BelvoLinksError):
        await belvo.get(SOME_LINK)
    assert counted(registry, "belvo_links_requests_total") == {
        "register none POST 201": 1,
        "get ServerError GET 503": 2,
        "get none GET 200": 1,
        "get NotFoundError GET 404": 1,
    }
    assert counted(registry, "belvo_links_retries_total") == {"get ServerError": 2}
    assert counted(registry, "belvo_links_calls_total") == {"register none": 1, "get none": 1, "get NotFoundError": 1}
    assert counted(registry, "belvo_links_request_seconds_count") == {"register POST": 1, "get GET": 4}
    assert 0 < counted(registry, "belvo_links_request_seconds_sum")["get GET"] < 60


async def test_pending_sessions_are_counted(box: Sandbox, belvo: BelvoLinks, registry: CollectorRegistry) -> None:
    """Challenges by kind, claims by whether they were won, and where sessions end."""
    asked = await register(belvo)
    second = pending(await asked.complete(WRONG))
    link(await second.complete(GOOD))
    await asyncio.gather(*(belvo.complete(asked.id, GOOD) for _ in range(5)), return_exceptions=True)
    await (await register(belvo, "sim_mfa_text")).cancel()
    assert counted(registry, "belvo_links_challenges_total") == {"numeric register": 2, "text register": 1}
    assert counted(registry, "belvo_links_claims_total") == {"register true": 2, "register false": 5}
    assert counted(registry, "belvo_links_settled_total") == {
        "register true awaiting": 1,
        "register true linked": 1,
        "register true cancelled": 1,
    }
    assert counted(registry, "belvo_links_calls_total")["complete AlreadySettledError"] == 5


async def test_waits_are_counted_by_lane(box: Sandbox, registry: CollectorRegistry) -> None:
    """With the time they took."""
    limiter = Counting()
    async with client(box, rate_limit=limiter, observer=PrometheusObserver(registry)) as belvo:
        await belvo.count()
        limiter.hook = partial(asyncio.sleep, 0.02)
        await belvo.count()
    assert counted(registry, "belvo_links_limit_wait_seconds_count") == {"true call": 2}
    assert 0.01 < counted(registry, "belvo_links_limit_wait_seconds_sum")["true call"] < 60


async def test_a_cancelled_call_is_counted_as_such(registry: CollectorRegistry) -> None:
    """It has no error class of ours."""
    observer = PrometheusObserver(registry)
    with pytest.raises(asyncio.CancelledError), observer.call(a_call("get")):
        raise asyncio.CancelledError
    assert counted(registry, "belvo_links_calls_total") == {"get CancelledError": 1}


def a_call(name: str) -> Call:
    return Call(name=name, method="GET", template="/", host="h", port=1)


def flood(observer: PrometheusObserver, number: int) -> None:
    """Everything that an event may hold, with words that nobody knows."""
    word = f"canary-{number}"
    foreign = type(f"Canary{number}", (Exception,), {})
    with pytest.raises(foreign), observer.call(a_call(word)):
        raise foreign
    observer.attempted(
        Attempted(call=word, number=number, method=word, template=word, status=1000 + number, error=word, seconds=1)
    )
    observer.attempted(Attempted(call=word, number=number, method=word, template=word, request_id=word, seconds=1))
    observer.retrying(Retrying(call=word, number=number, error=word, delay=1))
    observer.limit_waited(LimitWaited(call=word, lane=Lane.BULK, seconds=number, admitted=False))
    observer.challenged(
        Challenged(pending_id=word, operation=word, round=number, kind=word, expects_user_input=True, request_id=word)
    )
    observer.claimed(Claimed(pending_id=word, operation=word, round=number, won=False))
    observer.settled(Settled(pending_id=word, operation=word, round=number, before=word, state=word, recorded=False))


def test_words_from_outside_make_no_series(registry: CollectorRegistry) -> None:
    """However many there are: all of them are `other`."""
    observer = PrometheusObserver(registry)
    flood(observer, 0)
    first = generate_latest(registry).decode()
    for number in range(1, 200):
        flood(observer, number)
    after = generate_latest(registry).decode()
    assert after.count("\n") == first.count("\n")
    assert "anary" not in after
    assert counted(registry, "belvo_links_requests_total") == {
        "other other other other": 200,
        "other none other none": 200,
    }
    assert counted(registry, "belvo_links_settled_total") == {"other false other": 200}


def test_observers_of_one_registry_share_its_metrics(registry: CollectorRegistry) -> None:
    """Two clients have one each, or one for both: the sums are the same."""
    for _ in range(2):
        PrometheusObserver(registry).retrying(Retrying(call="get", number=1, error="ServerError", delay=0))
    assert counted(registry, "belvo_links_retries_total") == {"get ServerError": 2}
    other = CollectorRegistry()
    PrometheusObserver(other)
    assert counted(other, "belvo_links_retries_total") == {}


def test_a_registry_that_has_such_names_already_is_refused(registry: CollectorRegistry) -> None:
    """They would be counted together with something else."""
    Counter("belvo_links_requests", "somebody else's", registry=registry)
    with pytest.raises(ValueError, match="belvo_links_requests"):
        PrometheusObserver(registry)


def test_a_registry_that_is_gone_leaves_nothing_behind() -> None:
    """What is shared does not keep it."""
    registry = CollectorRegistry()
    PrometheusObserver(registry)
    gone = weakref.ref(registry)
    del registry
    gc.collect()
    assert gone() is None


def test_without_a_registry_it_is_the_global_one() -> None:
    """As everywhere with Prometheus."""
    PrometheusObserver().retrying(Retrying(call="count", number=1, error="ConnectError", delay=0))
    found = REGISTRY.get_sample_value("belvo_links_retries_total", {"call": "count", "error": "ConnectError"})
    assert found == 1


def test_names_follow_the_conventions(registry: CollectorRegistry) -> None:
    """A prefix, a unit in the plural, `_total` for what only grows; each says what it is."""
    PrometheusObserver(registry)
    metrics = {metric.name: metric for metric in registry.collect()}
    assert all(name.startswith("belvo_links_") and metric.documentation for name, metric in metrics.items())
    assert {name for name, metric in metrics.items() if metric.type == "histogram"} == {
        "belvo_links_request_seconds",
        "belvo_links_limit_wait_seconds",
    }
    assert {metric.type for metric in metrics.values()} == {"counter", "histogram"}
