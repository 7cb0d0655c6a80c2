"""Finishing what must be finished although the caller has been cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end even if the caller is cancelled meanwhile, and only then let the cancellation pass.

    For recording what has happened: short, and bounded by its own time limit. (Not ``asyncio.shield``: from Python 3.14
    on it reports what fails after the cancellation to the event loop.)
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # taken note of: the cancellation is what passes
    raise cancelled
