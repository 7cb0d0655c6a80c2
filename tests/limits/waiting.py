"""Waiting for what must happen."""

import asyncio
from collections.abc import Callable
from typing import Any


async def until(reached: Callable[[], bool], patience: float = 20) -> None:
    """Wait for something, and fail if it does not happen."""
    clock = asyncio.get_running_loop().time
    ends = clock() + patience
    while not reached():
        assert clock() < ends
        await asyncio.sleep(0.002)


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
