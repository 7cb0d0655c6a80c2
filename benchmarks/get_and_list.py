"""One `get` and long listings against aiohttp by hand: what the types, the limits and the errors cost.

Run it from the top of the project; README.md beside it says how, and what the columns mean.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import platform
import statistics
import tempfile
import time
import tracemalloc
from contextlib import ExitStack
from importlib.metadata import version
from typing import Final

import attrs
import msgspec

from benchmarks._contestants import BareLink, BelvoPython, by_hand, client, get_typed, list_dicts, list_ours, list_typed
from benchmarks._measuring import Job, Spent, import_time, interleaved, ratio, repeat
from benchmarks._page_server import LINK_ID, PAGE_SIZE, running


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
    far_rounds: int


FULL: Final = Sizes(links=100_000, rounds=7, gets=400, imports=15, far_links=100_000, far_rounds=3)
QUICK: Final = Sizes(links=4_000, rounds=1, gets=20, imports=1, far_links=4_000, far_rounds=1)
VENDOR: Final = "belvo-python, dicts, one by one"


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
    with ExitStack() as vendor:
        async with client(url) as belvo, by_hand() as session:
            jobs: dict[str, Job] = {
                "ours": lambda: list_ours(belvo, 1),
                "typed": lambda: list_typed(session, url, pages),
                "dicts": lambda: list_dicts(session, url, pages),
                "ours4": lambda: list_ours(belvo, 4),
            }
            if BelvoPython.installed:
                jobs["vendor"] = vendor.enter_context(BelvoPython(url)).list_dicts
            spent = await interleaved(jobs, sizes.rounds)
    thousands = sizes.links // 1000
    rows: list[Row] = []
    for name, label in (("ours", "one page at a time"), ("ours4", "4 pages at a time")):
        for other, against, least in (
            ("typed", "aiohttp + msgspec.Struct", 0.7),
            ("dicts", "aiohttp + json dicts", None),
        ):
            rows.append(speed(f"listing, {label}", spent[name], spent[other], against, least, sizes.links))
        what = f"CPU per 1,000 links, {label}"
        rows.append(compare(what, spent[name], spent["typed"], "aiohttp + msgspec.Struct", 1.4, thousands, cpu=True))
        if "vendor" in spent:
            rows.append(speed(f"listing, {label}", spent[name], spent["vendor"], VENDOR, 1.5, sizes.links))
            rows.append(compare(what, spent[name], spent["vendor"], VENDOR, 1, thousands, cpu=True))
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
    pages, thousands = math.ceil(sizes.far_links / PAGE_SIZE), sizes.far_links // 1000
    with running(sizes.far_links, 0.05) as url, ExitStack() as vendor:
        async with client(url) as belvo, by_hand() as session:
            jobs: dict[str, Job] = {
                "ours": lambda: list_ours(belvo, 16),
                "typed": lambda: list_typed(session, url, pages),
            }
            if BelvoPython.installed:
                jobs["vendor"] = vendor.enter_context(BelvoPython(url)).list_dicts
            spent = await interleaved(jobs, sizes.far_rounds)
    what, against = "listing, 50 ms away, 16 pages at a time", "aiohttp + msgspec.Struct, one by one"
    rows = [speed(what, spent["ours"], spent["typed"], against, None, sizes.far_links)]
    if "vendor" in spent:
        rows.append(speed(what, spent["ours"], spent["vendor"], VENDOR, 10, sizes.far_links))
        rows.append(
            compare(f"CPU per 1,000 links, {what}", spent["ours"], spent["vendor"], VENDOR, 1, thousands, cpu=True)
        )
    return rows


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
    names = ["belvo-links", "aiohttp", "attrs", "msgspec"]
    if BelvoPython.installed:
        names += ["belvo-python", "requests"]
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
    if not BelvoPython.installed:
        print("belvo-python is not installed: nothing is compared with it")
    show(rows)


if __name__ == "__main__":
    main()
