"""One `get` and long listings against aiohttp by hand: what the types, the limits and the errors cost.

Run it from the top of the project; README.md beside it says how, and what the columns mean.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Final

import aiohttp
import attrs
import msgspec

from belvo_links import BelvoLinks
from benchmarks.page_server import LINK_ID, PAGE_SIZE, running

KEYS: Final = ("benchmark-id", "benchmark-password")


class BareLink(msgspec.Struct):
    """A link as somebody would type it who wants nothing but speed."""

    id: str
    institution: str
    status: str
    created_at: datetime
    access_mode: str | None = None
    last_accessed_at: datetime | None = None
    external_id: str | None = None
    institution_user_id: str | None = None
    created_by: str | None = None
    refresh_rate: str | None = None
    credentials_storage: str | None = None
    stale_in: str | None = None
    fetch_resources: list[str] = []  # msgspec copies it


class BarePage(msgspec.Struct):
    """A page of such links."""

    count: int
    next: str | None
    results: list[BareLink]


@attrs.frozen(kw_only=True)
class Row:
    """One measured ratio.

    Attributes:
        what: what was measured.
        against: what it is compared with.
        ratio: the median of the ratios within each round.
        target: what to reach, in words.
        reached: whether it is.
        ours: the median of our own values, for orientation only.
        theirs: the same of what it is compared with.
        unit: of these two.
    """

    what: str
    against: str
    ratio: float
    target: str
    reached: bool | None
    ours: float
    theirs: float
    unit: str


@attrs.frozen(kw_only=True)
class Sizes:
    """How much to do: more means quieter numbers."""

    links: int
    rounds: int
    gets: int
    imports: int
    far_links: int


FULL: Final = Sizes(links=100_000, rounds=7, gets=400, imports=15, far_links=100_000)
QUICK: Final = Sizes(links=4_000, rounds=1, gets=20, imports=1, far_links=4_000)

Job = Callable[[], Awaitable[object]]


@attrs.frozen
class Spent:
    """What one run of a job took, in seconds."""

    wall: float
    cpu: float


async def spend(job: Job) -> Spent:
    """Run a job once, with a clean heap before."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    await job()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


async def interleaved(jobs: dict[str, Job], rounds: int) -> dict[str, list[Spent]]:
    """Run all jobs in turn, so that a noisy neighbour disturbs them alike; the first round warms up."""
    spent: dict[str, list[Spent]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            took = await spend(job)
            if number:
                spent[name].append(took)
    return spent


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios within each round."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


# ------------------------------------------------------------------------------------------------------ the contestants


def client(url: str) -> BelvoLinks:
    """Ours, with the limiter off: Belvo's limit would be all that is measured."""
    return BelvoLinks(*KEYS, base_url=url, rate_limit=None)


def by_hand() -> aiohttp.ClientSession:
    """Theirs."""
    keys = base64.b64encode(":".join(KEYS).encode()).decode()
    return aiohttp.ClientSession(headers={"Authorization": f"Basic {keys}"})


async def list_ours(belvo: BelvoLinks, concurrency: int) -> int:
    """List everything through the SDK."""
    number = 0
    async for link in belvo.iterate(page_size=PAGE_SIZE, concurrency=concurrency):
        number += link is not None
    return number


async def list_typed(session: aiohttp.ClientSession, url: str, pages: int) -> int:
    """List everything with aiohttp and msgspec, the ceiling of what typed can be."""
    decoder = msgspec.json.Decoder(BarePage)
    number = 0
    for page in range(1, pages + 1):
        async with session.get(f"{url}/api/links/", params={"page": page, "page_size": PAGE_SIZE}) as reply:
            body = await reply.read()
        for link in decoder.decode(body).results:
            number += link is not None
    return number


async def list_dicts(session: aiohttp.ClientSession, url: str, pages: int) -> int:
    """List everything with aiohttp and the standard library's JSON."""
    number = 0
    for page in range(1, pages + 1):
        async with session.get(f"{url}/api/links/", params={"page": page, "page_size": PAGE_SIZE}) as reply:
            body = await reply.read()
        for link in json.loads(body)["results"]:
            number += link is not None
    return number


async def get_typed(session: aiohttp.ClientSession, url: str, decoder: msgspec.json.Decoder[BareLink]) -> BareLink:
    """Read one link with aiohttp and msgspec."""
    async with session.get(f"{url}/api/links/{LINK_ID}/") as reply:
        return decoder.decode(await reply.read())


async def repeat(call: Job, times: int) -> None:
    """Call one after the other."""
    for _ in range(times):
        await call()


# --------------------------------------------------------------------------------------------------------- measurements


async def measure_get(url: str, sizes: Sizes) -> list[Row]:
    """One `get` against the bare call."""
    decoder = msgspec.json.Decoder(BareLink)
    async with client(url) as belvo, by_hand() as session:
        spent = await interleaved(
            {
                "ours": lambda: repeat(lambda: belvo.get(LINK_ID), sizes.gets),
                "bare": lambda: repeat(lambda: get_typed(session, url, decoder), sizes.gets),
            },
            sizes.rounds * 3,
        )
    return [
        compare("one get, wall", spent["ours"], spent["bare"], "aiohttp + msgspec.Struct", 1.15, sizes.gets, cpu=False),
        compare("one get, CPU", spent["ours"], spent["bare"], "aiohttp + msgspec.Struct", None, sizes.gets, cpu=True),
    ]


def compare(
    what: str, ours: list[Spent], theirs: list[Spent], against: str, most: float | None, number: int, *, cpu: bool
) -> Row:
    """Make a row of two series, in microseconds for each of so many things."""
    mine = [(one.cpu if cpu else one.wall) for one in ours]
    other = [(one.cpu if cpu else one.wall) for one in theirs]
    found = ratio(mine, other)
    return Row(
        what=what,
        against=against,
        ratio=found,
        target="" if most is None else f"<= {most}",
        reached=None if most is None else found <= most,
        ours=statistics.median(mine) / number * 1e6,
        theirs=statistics.median(other) / number * 1e6,
        unit="us",
    )


async def measure_listing(url: str, sizes: Sizes) -> list[Row]:
    """Long listings: one page at a time, and with the default concurrency."""
    pages = math.ceil(sizes.links / PAGE_SIZE)
    async with client(url) as belvo, by_hand() as session:
        spent = await interleaved(
            {
                "ours": lambda: list_ours(belvo, 1),
                "typed": lambda: list_typed(session, url, pages),
                "dicts": lambda: list_dicts(session, url, pages),
                "ours4": lambda: list_ours(belvo, 4),
            },
            sizes.rounds,
        )
    thousands = sizes.links // 1000
    rows: list[Row] = []
    for name, label in (("ours", "one page at a time"), ("ours4", "4 pages at a time")):
        for other, against, least in (
            ("typed", "aiohttp + msgspec.Struct", 0.7),
            ("dicts", "aiohttp + json dicts", None),
        ):
            rows.append(speed(f"listing, {label}", spent[name], spent[other], against, least, sizes.links))
        most = 1.4
        against = "aiohttp + msgspec.Struct"
        rows.append(
            compare(f"CPU per 1,000 links, {label}", spent[name], spent["typed"], against, most, thousands, cpu=True)
        )
    return rows


def speed(what: str, ours: list[Spent], theirs: list[Spent], against: str, least: float | None, links: int) -> Row:
    """Make a row of two series as links a second: more is better."""
    mine, other = [links / one.wall for one in ours], [links / one.wall for one in theirs]
    found = ratio(mine, other)
    return Row(
        what=what,
        against=against,
        ratio=found,
        target="" if least is None else f">= {least}",
        reached=None if least is None else found >= least,
        ours=statistics.median(mine),
        theirs=statistics.median(other),
        unit="links/s",
    )


async def measure_far_listing(sizes: Sizes) -> list[Row]:
    """A listing over a slow line, many pages in flight, against one page at a time by hand."""
    pages = math.ceil(sizes.far_links / PAGE_SIZE)
    with running(sizes.far_links, 0.05) as url:
        async with client(url) as belvo, by_hand() as session:
            spent = await interleaved(
                {
                    "ours": lambda: list_ours(belvo, 16),
                    "typed": lambda: list_typed(session, url, pages),
                },
                1,
            )
    against = "aiohttp + msgspec.Struct, one by one"
    return [
        speed("listing, 50 ms away, 16 pages at a time", spent["ours"], spent["typed"], against, None, sizes.far_links)
    ]


async def stalls(job: Job) -> list[float]:
    """How long each turn of the event loop took while a job ran, in milliseconds."""
    turns: list[float] = []
    running_job = asyncio.ensure_future(job())
    before = time.perf_counter()
    while not running_job.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        turns.append((now - before) * 1e3)
        before = now
    await running_job
    return turns


async def measure_stall(url: str, sizes: Sizes) -> list[Row]:
    """The longest turn of the event loop during a listing, the collector off."""
    pages = math.ceil(sizes.links / PAGE_SIZE)
    async with client(url) as belvo, by_hand() as session:
        jobs: dict[str, Job] = {
            "ours": lambda: list_ours(belvo, 4),
            "dicts": lambda: list_dicts(session, url, pages),
        }
        worst: dict[str, list[float]] = {name: [] for name in jobs}
        for number in range(sizes.rounds + 1):
            for name, job in jobs.items():
                gc.collect()
                gc.disable()
                turns = sorted(await stalls(job), reverse=True)
                gc.enable()
                if number:
                    worst[name].append(turns[pages // 100])  # one page in a hundred may be worse
    found = ratio(worst["ours"], worst["dicts"])
    ours = statistics.median(worst["ours"])
    return [
        Row(
            what="stall of the loop by a page (p99 of pages, collector off)",
            against="aiohttp + json dicts",
            ratio=found,
            target="<= 1, and <= 5 ms",
            reached=found <= 1 and ours <= 5,
            ours=ours,
            theirs=statistics.median(worst["dicts"]),
            unit="ms",
        )
    ]


async def measure_held(url: str, sizes: Sizes) -> list[Row]:
    """The memory of all links in a list, as links and as dicts."""
    pages = math.ceil(sizes.links / PAGE_SIZE)
    held: dict[str, float] = {}
    async with client(url) as belvo, by_hand() as session:
        for name in ("warm-up", "ours", "dicts"):
            gc.collect()
            tracemalloc.start()
            kept: list[object] = []
            if name == "dicts":
                for page in range(1, pages + 1):
                    async with session.get(f"{url}/api/links/", params={"page": page}) as reply:
                        kept += json.loads(await reply.read())["results"]
            else:
                async for link in belvo.iterate(page_size=PAGE_SIZE):
                    kept.append(link)
            gc.collect()
            held[name] = tracemalloc.get_traced_memory()[0] / 2**20
            tracemalloc.stop()
    found = held["ours"] / held["dicts"]
    return [
        Row(
            what=f"{sizes.links:,} links held in a list",
            against="json dicts",
            ratio=found,
            target="<= 0.55",
            reached=found <= 0.55,
            ours=held["ours"],
            theirs=held["dicts"],
            unit="MiB",
        )
    ]


def import_time(statement: str, cache: str) -> float:
    """How long an import takes in a fresh interpreter, in milliseconds.

    With a cache of compiled modules for all alike, since an installed package has one and a checkout may have none.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    program = f"import time; t = time.perf_counter(); {statement}; print((time.perf_counter() - t) * 1e3)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


def measure_import(sizes: Sizes) -> list[Row]:
    """Importing the client against importing aiohttp."""
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as cache:
        for number in range(sizes.imports + 1):
            pair = import_time("from belvo_links import BelvoLinks", cache), import_time("import aiohttp", cache)
            if number:
                ours.append(pair[0])
                theirs.append(pair[1])
    found = ratio(ours, theirs)
    return [
        Row(
            what="import of the client",
            against="import aiohttp",
            ratio=found,
            target="<= 1.35",
            reached=found <= 1.35,
            ours=statistics.median(ours),
            theirs=statistics.median(theirs),
            unit="ms",
        )
    ]


# -------------------------------------------------------------------------------------------------------------- output


def show(rows: list[Row]) -> None:
    """Print a table."""
    width = max(len(row.what) for row in rows)
    other = max(len(row.against) for row in rows)
    print(f"{'what':<{width}}  {'against':<{other}}  {'ratio':>6}  {'reach':<18}  {'ours':>10}  {'theirs':>10}")
    for row in rows:
        mark = {True: "yes", False: "MISSED", None: ""}[row.reached]
        print(
            f"{row.what:<{width}}  {row.against:<{other}}  {row.ratio:>6.2f}  {f'{row.target} {mark}':<18}"
            f"  {row.ours:>10.1f}  {row.theirs:>10.1f}  {row.unit}"
        )


def where() -> dict[str, str]:
    """What it ran on; ratios of other versions are not comparable."""
    names = ("belvo-links", "aiohttp", "attrs", "msgspec")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


async def measure(sizes: Sizes) -> list[Row]:
    """Measure everything."""
    with running(sizes.links) as url:
        rows = [
            *await measure_get(url, sizes),
            *await measure_listing(url, sizes),
            *await measure_stall(url, sizes),
            *await measure_held(url, sizes),
        ]
    return [*rows, *await measure_far_listing(sizes), *measure_import(sizes)]


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description="Ratios against aiohttp by hand, limiter off.")
    parser.add_argument("--quick", action="store_true", help="little data, one round: shows that it runs")
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    given = parser.parse_args()
    rows = asyncio.run(measure(QUICK if given.quick else FULL))
    if given.json:
        print(json.dumps({"where": where(), "rows": [attrs.asdict(row) for row in rows]}, indent=2))
        return
    print(", ".join(f"{name} {number}" for name, number in where().items()), "- limiter off, medians of ratios")
    show(rows)


if __name__ == "__main__":
    main()
