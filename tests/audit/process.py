"""A process that waits for an order, to be killed while it carries it out."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from belvo_links.sandbox import Sandbox


@contextlib.asynccontextmanager
async def waiting(box: Sandbox, module: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module that says when it is ready; it is gone at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", module),
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | box.env,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(45):
            assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
