"""The benchmarks run; what they measure is for reading, and no test asserts a time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = ROOT / "tests" / "payloads" / "structure.json"


def run(name: str, *options: str) -> Any:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["where"]["aiohttp"]
    return measured


def test_the_benchmark_prints_ratios() -> None:
    """Of `get`, of listings, of memory and of the import."""
    measured = run("get_and_list")
    assert {row["what"].partition(",")[0] for row in measured["rows"]} >= {"one get", "listing", "import of the client"}
    assert all(row["ratio"] > 0 for row in measured["rows"])


def documented_filters() -> set[str]:
    parameters = json.loads(CONTRACT.read_text())["paths"]["/api/links/"]["get"]["parameters"]
    names = {each["$ref"].rpartition("/")[2].removesuffix("_links") for each in parameters}
    return names - {"page", "page_size", "fields", "omit"}


def test_the_simulator_is_measured_against_what_is_promised() -> None:
    """Its start, reads, pages under every filter, memory, and the fixture."""
    rows = {row["what"]: row for row in run("simulator", "--links", "1100", "--gets", "16", "--rounds", "1")["rows"]}
    measured = {what.removeprefix("filter ").partition(",")[0] for what in rows}
    assert measured >= documented_filters()
    for what in ("start", "get", "count", "last page", "fields", "omit", "memory", "fixture", "plugin"):
        assert what in " ".join(rows)
    assert all(row["found"] > 0 for row in rows.values())
    assert all(row["again"] > 0 for what, row in rows.items() if what.startswith(("filter", "page", "last page")))
