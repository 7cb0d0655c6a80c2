"""What every test may use: hypothesis profiles, the mocked HTTP client, and the servers of tests/servers.py."""

import os
from collections.abc import Iterator
from datetime import timedelta
from inspect import signature
from typing import Any

import aiohttp
import aioresponses.core
import pytest
from hypothesis import HealthCheck, settings

from tests.servers import (  # noqa: F401  # pytest finds fixtures by their names
    make_private_redis,
    postgres_dsn,
    postgres_table,
    postgres_template,
    private_postgres,
    private_redis,
    redis_namespace,
    redis_url,
)

# `ci` repeats itself exactly, so that a red run can be run again; `prove` searches long, each time elsewhere.
settings.register_profile(
    "ci",
    derandomize=True,
    max_examples=100,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],  # a slow machine is no defect
)
settings.register_profile(
    "prove",
    max_examples=5_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("dev", max_examples=50, deadline=timedelta(seconds=2))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


class ClosedWriter:
    """The `stream_writer` that aiohttp 3.14 asks of a response: all has been sent, nothing is known of it."""

    output_size = 0


class Response(aiohttp.ClientResponse):
    """aiohttp's response, with the argument that aioresponses 0.7.9 does not know of."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "stream_writer" in signature(aiohttp.ClientResponse.__init__).parameters:
            kwargs.setdefault("stream_writer", ClosedWriter())
        super().__init__(*args, **kwargs)


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses.core.aioresponses]:
    """aiohttp's client with canned replies. Middlewares and connectors do not run: use a real socket."""
    monkeypatch.setattr(aioresponses.core, "ClientResponse", Response)
    with aioresponses.core.aioresponses() as responses:
        yield responses
