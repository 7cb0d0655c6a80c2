"""Links that come and go in the simulator while a client reads them."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import attrs

from belvo_links import BelvoLinks
from belvo_links.protocol.scan import LEAST_OVERLAPPING
from belvo_links.sandbox import Fault, Sandbox, SandboxClock
from belvo_links.telemetry import Attempted, Observer
from tests.client.making import LINKS, client

LEAST_CHANGED = 0.05


class AtEveryAttempt(Observer):
    """Does something whenever a request has been answered: between any two of them."""

    def __init__(self, happen: Callable[[], object]) -> None:
        self._happen = happen
        self.failures: list[Exception] = []

    def attempted(self, event: Attempted) -> None:
        """A client logs what an observer raises, so it is kept here."""
        try:
            self._happen()
        except Exception as error:  # noqa: BLE001  # whatever it is, the test raises it
            self.failures.append(error)


@attrs.define
class Run:
    """What became of one run.

    Attributes:
        links: how many there were.
        changed: how many were created or deleted meanwhile.
        pages: how many pages they would have filled.
        requests: how many were made.
        missed: ids of surviving links that were not given.
        twice: how many were given more than once.
    """

    links: int
    changed: int = 0
    pages: int = 0
    requests: int = 0
    missed: frozenset[str] = frozenset()
    twice: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether every surviving link was given exactly once."""
        return not self.missed and not self.twice


class Crowd:
    """The links of a simulator, which change by chance."""

    def __init__(self, box: Sandbox, chance: random.Random) -> None:
        self._box = box
        self._chance = chance
        self._ids: list[str] = []
        self.changed = 0
        self.gone: set[str] = set()

    def gather(self, most: int) -> frozenset[str]:
        """Create links at some times of a few days; returns their ids."""
        for _ in range(self._chance.randint(1, 4)):
            self._ids += self._box.add_links(self._chance.randint(1, most))
            self._box.clock.advance(hours=self._chance.choice([0.0, 1.0, 9.0, 40.0]))
        return frozenset(self._ids)

    def change(self, most: int) -> None:
        """Create and delete some."""
        creating = self._chance.random()
        for _ in range(self._chance.randint(most // 2, most)):
            self._box.clock.advance(seconds=0.001)
            if self._chance.random() < creating:
                self.changed += 1
                self._ids += self._box.add_links(1)
            elif self._ids:
                self.changed += 1
                place = self._chance.randrange(len(self._ids))
                self._ids[place], self._ids[-1] = self._ids[-1], self._ids[place]
                self.gone.add(doomed := self._ids.pop())
                self._box.remove_link(doomed)


Reading = Callable[[BelvoLinks, int, int], AsyncIterator[str]]
"""Yields ids: with a client, a page size, and how many pages at once."""


async def iterated(belvo: BelvoLinks, page_size: int, concurrency: int) -> AsyncIterator[str]:
    """Read as users do."""
    async for link in belvo.iterate(page_size=page_size, concurrency=concurrency):
        yield link.id


async def scanned(belvo: BelvoLinks, page_size: int, concurrency: int) -> AsyncIterator[str]:
    """Read as audits do."""
    async for page in belvo.scan(page_size=page_size, concurrency=concurrency):
        for link in page.links:
            yield link.id


async def one_run(seed: int, reading: Reading = iterated, *, most: int = 200) -> Run:
    """Read links while at least one in twenty is created or deleted."""
    chance = random.Random(seed)
    start = datetime(2025, 6, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(1440))
    async with Sandbox(seed=seed, clock=SandboxClock(lambda: start)) as box:
        crowd = Crowd(box, chance)
        began = crowd.gather(most)
        size, concurrency = chance.choice([5, 10, 25, 60]), chance.randint(1, 5)
        run = Run(len(began), pages=-(-len(began) // size))
        requests = -(-len(began) // max(size, LEAST_OVERLAPPING))  # at least
        each_time = max(2, math.ceil(len(began) * LEAST_CHANGED * chance.uniform(2.5, 6) / requests))

        def happen() -> None:
            crowd.change(each_time)
            if chance.random() < 0.3:  # an answer that is overtaken by others
                box.inject(chance.choice([Fault.delay, Fault.delay_after])(0.002), template=LINKS)

        observer = AtEveryAttempt(happen)
        async with client(box, observer=observer, rate_limit=None) as belvo:
            found = [link_id async for link_id in reading(belvo, size, concurrency)]
        if observer.failures:
            raise ExceptionGroup("the list could not be changed", observer.failures)
        run.changed, run.requests = crowd.changed, box.count()
        run.missed = began - crowd.gone - set(found)
        run.twice = len(found) - len(set(found))
        return run


async def runs(number: int, reading: Reading = iterated) -> list[Run]:
    """Make so many runs, a few at a time."""
    seeds = iter(range(number))
    done: list[Run] = []

    async def work() -> None:
        for seed in seeds:
            run = await one_run(seed, reading)
            done.append(run)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(work())
    return done
