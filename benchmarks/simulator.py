"""How fast and how large the simulator is, against what is promised of it.

Run it from the top of the project; README.md beside it says how, and what the rows mean.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

import attrs

from belvo_links.sandbox import Sandbox
from benchmarks._measuring import import_time
from benchmarks._sandbox_server import Remote, running

PAGE_SIZE: Final = 1000
TESTS: Final = """
import pytest

@pytest.mark.parametrize("number", range({tests}))
def test_with_the_fixture(belvo_sandbox, number):
    pass

@pytest.mark.parametrize("number", range({tests}))
def test_without_it(number):
    pass
"""


@attrs.frozen(kw_only=True)
class Row:
    """One measured figure.

    Attributes:
        what: what was measured.
        found: the median over the rounds.
        again: the same of a second time, where nothing has changed since the first one.
        unit: of both.
        target: what to reach, in words.
        reached: whether it is.
    """

    what: str
    found: float
    again: float | None = None
    unit: str
    target: str = ""
    reached: bool | None = None


@attrs.frozen(kw_only=True)
class Sizes:
    """How much to do."""

    links: int
    rounds: int
    gets: int
    starts: int
    tests: int


FULL: Final = Sizes(links=1_000_000, rounds=7, gets=20_000, starts=50, tests=200)
QUICK: Final = Sizes(links=3_000, rounds=1, gets=80, starts=2, tests=3)


def at_most(what: str, found: float, unit: str, most: float, again: float | None = None) -> Row:
    """Make a row of something of which less is better."""
    return Row(what=what, found=found, again=again, unit=unit, target=f"<= {most:g} {unit}", reached=found <= most)


def at_least(what: str, found: float, unit: str, least: float) -> Row:
    """Make a row of something of which more is better."""
    return Row(what=what, found=found, unit=unit, target=f">= {least:g} {unit}", reached=found >= least)


def milliseconds(job: Callable[[], object]) -> float:
    """How long something takes."""
    began = time.perf_counter()
    job()
    return (time.perf_counter() - began) * 1e3


# ----------------------------------------------------------------------------------------------------------- the client


class Connection:
    """A client that costs next to nothing: prepared bytes out, as many bytes in as the reply announces."""

    def __init__(self, remote: Remote) -> None:
        url = urlsplit(remote.started.url)
        keys = base64.b64encode(":".join(remote.started.keys).encode()).decode()
        self._socket = socket.create_connection((url.hostname, url.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = f" HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Basic {keys}\r\n\r\n"

    def send(self, target: str) -> None:
        """Ask for something."""
        self._socket.sendall(f"GET {target}{self._rest}".encode())

    def receive(self) -> bytes:
        """Read the reply: its body."""
        head, found, body = b"", b"", b""
        while not found:
            received = self._socket.recv(2**16)
            if not received:
                raise ConnectionError("the simulator has closed the connection")
            head, found, body = (head + received).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(head.decode(errors="replace"))
        length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])
        whole = bytearray(body)
        while len(whole) < length:
            whole += self._socket.recv(2**20)
        return bytes(whole)

    def ask(self, target: str) -> bytes:
        """Ask, and read the reply."""
        self.send(target)
        return self.receive()

    def close(self) -> None:
        """End it."""
        self._socket.close()


@contextmanager
def connections(remote: Remote, number: int) -> Iterator[list[Connection]]:
    """So many connections to a simulator."""
    made = [Connection(remote) for _ in range(number)]
    try:
        yield made
    finally:
        for connection in made:
            connection.close()


# --------------------------------------------------------------------------------------------------------- measurements


async def start_times(number: int) -> list[float]:
    """Milliseconds from nothing to a simulator that listens; the first one, which imports, is left out."""
    took: list[float] = []
    for _ in range(number + 1):
        began = time.perf_counter()
        box = await Sandbox().start()
        took.append((time.perf_counter() - began) * 1e3)
        await box.stop()
    return took[1:]


def measure_start(sizes: Sizes) -> list[Row]:
    """A start in a running process."""
    took = statistics.median(asyncio.run(start_times(sizes.starts)))
    return [at_most("start in a running process", took, "ms", 50)]


def measure_gets(remote: Remote, sizes: Sizes) -> list[Row]:
    """`get`, eight requests at a time, by the clock and by the processor time of the simulator alone."""
    with connections(remote, 8) as lines:
        target = f"/api/links/{remote.started.sample['id']}/"
        for line in lines:
            line.ask(target)
        before, began = remote.usage(), time.perf_counter()
        rounds = sizes.gets // len(lines)
        for _ in range(rounds):
            for line in lines:
                line.send(target)
            for line in lines:
                line.receive()
        took, used = time.perf_counter() - began, remote.usage().cpu - before.cpu
    done = rounds * len(lines)
    return [
        at_least("get, 8 connections", done / took, "/s", 2000),
        at_least("get, by the simulator's processor time", done / used, "/s", 2000),
    ]


def filters_of(sample: dict[str, str | None]) -> dict[str, dict[str, str]]:
    """One query for each filter, of values that the sample has."""
    day = str(sample["created_at"])[:10]
    own = {name: str(sample[name]) for name in ("id", "institution", "external_id", "institution_user_id")}
    queries = {name: {name: value} for name, value in own.items()}
    queries |= {f"{name}__in": {f"{name}__in": f"{value},{value}"} for name, value in own.items()}
    queries |= {
        "external_id__in, 200 values": {"external_id__in": ",".join(f"user-{7 * number}" for number in range(1, 201))},
        "access_mode": {"access_mode": "single"},
        "refresh_rate": {"refresh_rate": "null"},
        "status, all links": {"status": "valid"},
        "status, no link": {"status": "unconfirmed"},
        "status__in": {"status__in": "valid,invalid,token_required"},
        "created_by__not_in": {"created_by__not_in": str(sample["id"])},
        "created_at": {"created_at": day},
        **{f"created_at__{end}": {f"created_at__{end}": day} for end in ("gt", "gte", "lt", "lte")},
        "created_at__range": {"created_at__range": f"2000-01-01,{day}"},
        "four together": {
            "created_at__lte": day,
            "institution": own["institution"],
            "access_mode": "single",
            "status": "valid",
        },
    }
    return queries


def measure_pages(remote: Remote, sizes: Sizes) -> list[Row]:
    """Pages of 1,000, each the first time after a link has changed, and once more."""
    last = -(-sizes.links // PAGE_SIZE)
    queries: dict[str, dict[str, str]] = {
        "count": {"page_size": "1"},
        "page": {},
        "last page": {"page": str(last)},
        "page with fields=id,status": {"fields": "id,status"},
        "page with omit=fetch_resources": {"omit": "fetch_resources"},
        "last page, filtered": {"page": str(last), "institution": str(remote.started.sample["institution"])},
    }
    queries |= {f"filter {name}": query for name, query in filters_of(remote.started.sample).items()}
    rows = [measure_page(remote, sizes, name, query) for name, query in queries.items()]
    remote.advance(70)  # the storage of the oldest links' credentials has ended, which makes them invalid
    later = [
        measure_page(remote, sizes, f"filter status, {status}, 70 days later", {"status": status})
        for status in ("valid", "invalid")
    ]
    return rows + later


def measure_page(remote: Remote, sizes: Sizes, what: str, query: dict[str, str]) -> Row:
    """One page, from the first byte of the request to the last one of the reply."""
    target = f"/api/links/?{urlencode({'page_size': PAGE_SIZE, **query})}"
    first: list[float] = []
    second: list[float] = []
    with connections(remote, 1) as [line]:
        line.ask("/api/")
        for _ in range(sizes.rounds):
            remote.change()
            first.append(milliseconds(lambda: line.ask(target)))
            second.append(milliseconds(lambda: line.ask(target)))
    return at_most(what, statistics.median(first), "ms", 50, statistics.median(second))


def measure_fixture(sizes: Sizes) -> list[Row]:
    """The pytest fixture, by a run of pytest, and what the plugin costs a run that does not use it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "pytest.ini").write_text("[pytest]\n")
        (place / "test_fixture.py").write_text(TESTS.format(tests=sizes.tests))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=times.xml"]
        subprocess.run(command, cwd=folder, capture_output=True, check=True)
        cases = list(ET.parse(place / "times.xml").iter("testcase"))
        took = {
            name: [float(case.attrib["time"]) * 1e3 for case in cases if case.attrib["name"].startswith(name)]
            for name in ("test_with_the", "test_without")
        }
        # The first import of what a simulator needs is the first test's, and none of the fixture's doing.
        cost = statistics.median(took["test_with_the"][1:]) - statistics.median(took["test_without"])
        load = "import pytest; t = time.perf_counter(); import belvo_links.sandbox.plugin"
        imports = [import_time(load, folder) for _ in range(sizes.rounds + 1)][1:]
    return [
        at_most("fixture belvo_sandbox, for each test", cost, "ms", 10),
        Row(what="plugin, in a run of pytest that does not use it", found=statistics.median(imports), unit="ms"),
    ]


def measure(sizes: Sizes) -> list[Row]:
    """Measure everything."""
    rows = measure_start(sizes)
    with running(sizes.links) as remote:
        rows += [
            Row(what=f"add_links of {sizes.links:,} links", found=remote.started.adding, unit="s"),
            *measure_gets(remote, sizes),
            *measure_pages(remote, sizes),
            at_most(f"memory at most, {sizes.links:,} links", remote.usage().memory, "MiB", 1024),
        ]
    return rows + measure_fixture(sizes) if find_spec("pytest") is not None else rows


# -------------------------------------------------------------------------------------------------------------- output


def show(rows: list[Row]) -> None:
    """Print a table."""
    width = max(len(row.what) for row in rows)
    print(f"{'what':<{width}}  {'measured':>10}  {'again':>10}  {'unit':<4}  to reach")
    for row in rows:
        mark = {True: "yes", False: "MISSED", None: ""}[row.reached]
        again = "" if row.again is None else f"{row.again:,.2f}"
        line = f"{row.what:<{width}}  {row.found:>10,.2f}  {again:>10}  {row.unit:<4}  {row.target:<13}  {mark}"
        print(line.rstrip())


def where() -> dict[str, str]:
    """What it ran on."""
    names = ("belvo-links", "aiohttp", "attrs", "msgspec")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description="Speed and size of the simulator.")
    parser.add_argument("--links", type=int, help=f"how many links it holds, at least 1,000; {FULL.links:,} by default")
    parser.add_argument("--rounds", type=int, help=f"how often each page is read; {FULL.rounds} by default")
    parser.add_argument("--gets", type=int, help=f"how many links are read one by one; {FULL.gets:,} by default")
    parser.add_argument("--quick", action="store_true", help="little data, one round: shows that it runs")
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    given = parser.parse_args()
    chosen = {name: value for name in ("links", "rounds", "gets") if (value := getattr(given, name)) is not None}
    rows = measure(attrs.evolve(QUICK if given.quick else FULL, **chosen))
    if given.json:
        print(json.dumps({"where": where(), "rows": [attrs.asdict(row) for row in rows]}, indent=2))
        return
    print(", ".join(f"{name} {number}" for name, number in where().items()), "- medians over the rounds")
    if find_spec("pytest") is None:
        print("pytest is not installed: the fixture is not measured")
    show(rows)


if __name__ == "__main__":
    main()
