"""What the tests over sockets share: nothing may be left behind."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    """No task survives its test, and the event loop has nothing to complain about (unclosed connections, say)."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    for _ in range(10):  # handlers of a server that was just closed get a few turns to end
        if not left:
            break
        await asyncio.sleep(0)
        left = {task for task in left if not task.done()}
    assert not left
    gc.collect(1)  # the young are enough: they come from this test
    # A server whose certificate is refused may complain about the handshake: that is its side of the test.
    ours = [one for one in complaints if "incoming connection" not in one["message"]]
    assert ours == []
