"""The simulator in a thread with an event loop of its own, for whoever has none, or several."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack

from .options import Switches
from .record import Received
from .sandbox import Sandbox

if TYPE_CHECKING:
    from typing import TypedDict

    class Options(TypedDict, total=False):
        """What is said about a simulator when it is opened."""

        seed: int
        switches: Switches

    _Face = Sandbox
else:
    _Face = object

T = TypeVar("T")
P = ParamSpec("P")
_NOT_OFFERED = ("start", "stop")


class Copy(list[T]):
    """A list of the simulator's as it was a moment ago; to empty it empties the simulator's as well."""

    def __init__(self, entries: Iterable[T], empty: Callable[[], None]) -> None:
        super().__init__(entries)
        self._empty = empty

    def clear(self) -> None:
        """Forget what there is, here and in the simulator."""
        self._empty()
        super().clear()


class SimulatorThread:
    """A thread whose event loop simulators live in, one after the other or side by side."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_debug(False)  # whatever the tests of others want: it would fill their logs
        self._loop.set_exception_handler(self._note)
        self._failures: list[Exception] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="belvo_links.sandbox", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the simulator's loop and wait for it, in another thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call something in the simulator's thread, while it does nothing else."""
        if threading.current_thread() is self._thread:
            return function(*args, **kwargs)

        async def at_once() -> T:
            return function(*args, **kwargs)

        return self.run(at_once())

    def open(self, **options: Unpack[Options]) -> ThreadedSandbox:
        """Start a simulator."""

        async def start() -> Sandbox:
            return await Sandbox(**options).start()

        return ThreadedSandbox(self, self.run(start()))

    def stop(self, box: Sandbox) -> None:
        """End a simulator.

        Raises:
            ExceptionGroup: It has failed meanwhile, or something in its loop has.
        """
        failures: list[Exception] = []
        try:
            self.run(box.stop())
        except ExceptionGroup as group:
            failures += group.exceptions
        ours, self._failures = self._failures, []
        if failures or ours:
            raise ExceptionGroup("the simulator itself has failed", [*failures, *ours])

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, ConnectionError):
            return  # a client that goes is no failure
        self._failures.append(error if isinstance(error, Exception) else RuntimeError(context.get("message")))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class ThreadedSandbox(_Face):
    """What a :class:`Sandbox` offers, callable from every thread, with or without an event loop.

    Everything that touches the simulated world happens in the simulator's own thread, one thing at a time. Lists are
    copies of what there was; ``clear`` empties the simulator's as well.
    """

    def __init__(self, thread: SimulatorThread, box: Sandbox) -> None:
        self._thread = thread
        self._box = box
        self._forgotten: list[Received] = []

    def settle(self) -> int:  # type: ignore[override]
        """Do what is due now and deliver its webhooks, repeats included; tells how many deliveries were made.

        It waits for the receiver's answers. Where an event loop runs, call it as
        ``await asyncio.to_thread(belvo_sandbox.settle)``, so that a receiver in that loop can answer.

        Raises:
            RuntimeError: It is called in an event loop, which it would stop.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._thread.run(self._box.settle())
        raise RuntimeError("settle() would stop this event loop: await asyncio.to_thread(belvo_sandbox.settle)")

    def ever_received(self) -> list[Received]:
        """Every request, also those that were cleared away."""
        return [*self._forgotten, *self._thread.call(lambda: list(self._box.requests))]

    def close(self) -> None:
        """End the simulator.

        Raises:
            ExceptionGroup: It has failed meanwhile.
        """
        self._thread.stop(self._box)

    if not TYPE_CHECKING:  # checkers know the methods of Sandbox

        def __getattr__(self, name: str) -> Any:
            offered = not name.startswith("_") and name not in _NOT_OFFERED
            known = getattr(Sandbox, name, None) if offered else None
            if not offered or inspect.iscoroutinefunction(known):
                raise AttributeError(f"the simulator of another thread has no {name!r}")
            if inspect.isfunction(known):
                return self._remote(getattr(self._box, name))
            return self._thread.call(self._look, name)

    def _remote(self, method: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(method)
        def remote(*args: P.args, **kwargs: P.kwargs) -> T:
            __tracebackhide__ = True
            try:
                return self._thread.call(method, *args, **kwargs)
            except AssertionError as error:
                # The way through the other thread tells nothing about what is wrong.
                raise error.with_traceback(None) from None

        return remote

    def _look(self, name: str) -> Any:
        value = getattr(self._box, name)
        if not isinstance(value, list):
            return value
        return Copy(value, lambda: self._thread.call(self._forget, name, value))

    def _forget(self, name: str, entries: list[Any]) -> None:
        if name == "requests":
            self._forgotten += entries
        entries.clear()

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in dir(self._box) if not name.startswith("_"))})

    def __repr__(self) -> str:
        return repr(self._box)
