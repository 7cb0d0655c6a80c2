"""The application as the browser tests run it: everything is logged, and a process that dies is soon missed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from fastapi import FastAPI

from belvo_links import Limiter, RateLimit, Timeouts
from examples.web_fastapi.app import create_app as create
from examples.web_fastapi.settings import Settings

SOON = Timeouts(login=5, connect=1, pool_wait=0.5, lease_slack=0.5)


@dataclass(frozen=True)
class Unhurried(Settings):
    """All tests together send more than Belvo would allow within half a minute."""

    async def rate_limit(self) -> RateLimit | Limiter:
        return RateLimit(10_000, 30)


def create_app() -> FastAPI:
    logging.basicConfig(level=logging.DEBUG)
    return create(replace(Unhurried.from_env(), timeouts=SOON))
