"""Knowing that the server is about to stop.

A server waits for replies that are under way before it tells the application of its end. A live status would keep it
waiting, so it listens to the signals itself, and the server's own handlers are called as ever.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def told_of_the_end() -> Iterator[asyncio.Event]:
    """Give an event that is set by SIGINT and SIGTERM."""
    ending, loop = asyncio.Event(), asyncio.get_running_loop()
    in_main_thread = threading.current_thread() is threading.main_thread()  # elsewhere Python takes no signals
    signals = (signal.SIGINT, signal.SIGTERM) if in_main_thread else ()
    before = {number: handler for number in signals if callable(handler := signal.getsignal(number))}

    def note(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(ending.set)
        before[signal.Signals(number)](number, frame)

    for number in before:
        signal.signal(number, note)
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
