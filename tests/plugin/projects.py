"""Projects of somebody else, whose tests run in a process of their own."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

from attrs import frozen

CLIENT = """
import asyncio, base64, http.client, json, logging, threading
import pytest
from belvo_links import BelvoLinks, Credentials

def client(box):
    return BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, **box.client_options)

async def register(box, username="bnk100", password="full"):
    async with client(box) as belvo:
        return await belvo.register("erebor_mx_retail", Credentials(username, password))

def read(box):
    connection = http.client.HTTPConnection(box.url.removeprefix("http://"), timeout=10)
    keys = base64.b64encode(f"{box.secret_id}:{box.secret_password}".encode()).decode()
    connection.request("GET", "/api/links/", headers={"Authorization": "Basic " + keys})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status
"""
SETTINGS = """
[pytest]
addopts = --strict-markers --strict-config
filterwarnings = error
"""
NOT_NEEDED = ("cacheprovider", "hypothesispytest", "timeout", "xdist")
"""Plugins that take time to load, where they are installed."""
ASYNC_SETTINGS = f"{SETTINGS}asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"


@frozen
class Run:
    """A test run that has ended."""

    code: int
    out: str

    def counts(self, **expected: int) -> bool:
        """Whether the last line tells these numbers, and no others."""
        last = self.out.strip().splitlines()[-1]
        return {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", last.partition(" in ")[0])} == (
            expected
        )


class Project:
    """A project of somebody else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, tests: str, *options: str, settings: str = SETTINGS, client: bool = True) -> Run:
        """Run a file of tests; without settings for asyncio as if pytest-asyncio were not installed."""
        if "asyncio" not in settings:
            options = ("-p", "no:asyncio", *options)
        (self.folder / "pytest.ini").write_text(settings)
        text = (CLIENT if client else "") + textwrap.dedent(tests)
        (self.folder / "test_it.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *(f"-pno:{name}" for name in NOT_NEEDED), *options],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
        return Run(done.returncode, done.stdout + done.stderr)
