"""The benchmarks run; what they measure is for reading, and no test asserts a time."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_benchmark_prints_ratios() -> None:
    """Of `get`, of listings, of memory and of the import."""
    command = [sys.executable, "-m", "benchmarks.get_and_list", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["where"]["aiohttp"]
    assert {row["what"].partition(",")[0] for row in measured["rows"]} >= {"one get", "listing", "import of the client"}
    assert all(row["ratio"] > 0 for row in measured["rows"])
