"""Telling an observer, so that nothing it does can harm a call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

from belvo_links.transport.messages import Request
from belvo_links.transport.observe import (
    Attempted,
    Call,
    Challenged,
    Claimed,
    Event,
    LimitWaited,
    Observer,
    Retrying,
    Settled,
    template,
)

log: Final = logging.getLogger("belvo_links")

METHODS: Final[Mapping[type[Event], str]] = {
    Attempted: "attempted",
    Retrying: "retrying",
    LimitWaited: "limit_waited",
    Challenged: "challenged",
    Claimed: "claimed",
    Settled: "settled",
}
"""Which method of an observer is told of which event."""

_PORTS: Final[Mapping[str, int]] = {"https": 443, "http": 80}

# The methods are plain functions, in which no cancellation of the caller's can arrive: one that comes out is their own.
_HARMLESS: Final = (Exception, asyncio.CancelledError)


class Guard:
    """An observer whose errors end here: they are logged, by their class alone, and the call goes on.

    Args:
        observer: who is told.

    Raises:
        TypeError: it lacks a method.
    """

    def __init__(self, observer: Observer) -> None:
        names = ("call", *METHODS.values())
        if isinstance(observer, type) or not all(callable(getattr(observer, name, None)) for name in names):
            msg = "observer: give an instance of a subclass of Observer"
            raise TypeError(msg)
        self._observer = observer

    def around(self, call: Call) -> AbstractContextManager[None]:
        """Return what surrounds a call."""
        return _Around(self._observer, call)

    def tell(self, event: Event) -> None:
        """Tell of an event."""
        try:
            getattr(self._observer, METHODS[type(event)])(event)
        except _HARMLESS as error:
            _complain(error)


class Watch(Guard):
    """What a client tells its observer through.

    Args:
        observer: who is told.
        origin: scheme, host and port of the service.
    """

    def __init__(self, observer: Observer, *, origin: str) -> None:
        super().__init__(observer)
        parts = urlsplit(origin)
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]

    def call(self, name: str, request: Request) -> AbstractContextManager[None]:
        """Return what surrounds a call of this name."""
        return self.around(
            Call(name=name, method=request.method, template=template(request), host=self._host, port=self._port)
        )


class _Around(AbstractContextManager[None]):
    """An observer's context manager, guarded; where it could not be entered, it is not left either."""

    __slots__ = ("_call", "_inner", "_observer")

    def __init__(self, observer: Observer, call: Call) -> None:
        self._observer = observer
        self._call = call
        self._inner: AbstractContextManager[object] | None = None

    def __enter__(self) -> None:
        try:
            inner = self._observer.call(self._call)
            inner.__enter__()
        except _HARMLESS as error:
            _complain(error)
        else:
            self._inner = inner

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._inner is None:
            return
        try:
            self._inner.__exit__(kind, error, trace)
        except _HARMLESS as own:
            _complain(own)


def _complain(error: BaseException) -> None:
    log.error("the observer failed: %s", type(error).__name__)  # not its text, which may quote anything
