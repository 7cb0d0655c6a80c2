"""Finding secrets in what was logged while the simulator received them."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, quote_plus

from .record import Received

SHORTEST: Final = 6
"""Characters of the shortest value that is looked for: shorter ones stand in a log by chance."""

_FIELDS: Final = {
    "password": "a password",
    "password2": "a password",
    "token": "a token",
    "private_key": "a private key",
    "session": "a login session",
}
_USUAL: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_UNWANTED: Final = "_belvo_links_unwanted"


def secrets_in(requests: Iterable[Received]) -> dict[str, str]:
    """The secrets that were received, each with what it is."""
    found: dict[str, str] = {}
    for received in requests:
        if isinstance(received.body, Mapping):
            for name, kind in _FIELDS.items():
                if isinstance(value := received.body.get(name), str):
                    found.setdefault(value, kind)
        _, _, encoded = received.headers.get("authorization", "").partition(" ")
        found.setdefault(encoded, "an Authorization header")
        try:
            _, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            continue
        found.setdefault(password, "a secret_password")
    return {value: kind for value, kind in found.items() if len(value) >= SHORTEST}


class LogWatch:
    """Sees every record that is logged, from DEBUG on, whatever the levels are, and changes nothing for others.

    That takes more than a handler at the root: with a lower level there, everybody else's handlers, pytest's ``caplog``
    among them, would get records that they did not ask for. So the loggers themselves are told to make every record,
    and those that nobody wants end here.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, str], None] = {}
        self._old: dict[str, Any] = {}

    def __enter__(self) -> Self:
        enabled, make, handle = logging.Logger.isEnabledFor, logging.Logger.makeRecord, logging.Logger.handle

        def watched_enabled(logger: logging.Logger, level: int) -> bool:
            return level >= logging.DEBUG or enabled(logger, level)

        def watched_make(logger: logging.Logger, *args: Any, **kwargs: Any) -> logging.LogRecord:
            record = make(logger, *args, **kwargs)
            if not enabled(logger, record.levelno):
                setattr(record, _UNWANTED, True)
            return record

        def watched_handle(logger: logging.Logger, record: logging.LogRecord) -> None:
            self._see(record)
            if not hasattr(record, _UNWANTED):
                handle(logger, record)

        self._old = {"isEnabledFor": enabled, "makeRecord": make, "handle": handle}
        self._set({"isEnabledFor": watched_enabled, "makeRecord": watched_make, "handle": watched_handle})
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._set(self._old)

    def _set(self, methods: Mapping[str, Any]) -> None:
        for name, method in methods.items():
            setattr(logging.Logger, name, method)

    def _see(self, record: logging.LogRecord) -> None:
        place = f"{record.levelname} at {record.filename}:{record.lineno}"
        self._seen[record.name, place, "\n".join(_texts(record))] = None

    def leaks(self, secrets: Mapping[str, str]) -> list[str]:
        """Which logger said what kind of secret, and where; never the secret."""
        patterns = [(_pattern(value), kind) for value, kind in secrets.items()]
        lines: dict[str, None] = {}
        for logger, place, text in self._seen:
            for pattern, kind in patterns:
                if pattern.search(text) or pattern.search(logger):
                    lines[f"{kind}: logger {logger!r}, {place}"] = None
        everything = re.compile("|".join(pattern.pattern for pattern, _ in patterns) or r"(?!)")
        return [everything.sub("***", line) for line in lines]


def _texts(record: logging.LogRecord) -> Iterator[str]:
    """All that a formatter could make of a record."""
    try:
        yield record.getMessage()
    except Exception:  # noqa: BLE001 - wrong arguments are the business of logging
        yield repr((record.msg, record.args))
    if record.exc_info:
        yield logging.Formatter().formatException(record.exc_info)
    yield from (text for text in (record.exc_text, record.stack_info) if text)
    for name, value in vars(record).items():
        if name not in _USUAL and name != _UNWANTED:
            yield repr(value)


def _pattern(value: str) -> re.Pattern[str]:
    """The value, also as it is written in JSON, in Python and in an address; but no part of a longer word."""
    escaped = (value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, safe=""), quote_plus(value))
    ways = "|".join(re.escape(way) for way in dict.fromkeys(escaped))
    return re.compile(rf"(?<![A-Za-z0-9])(?:{ways})(?![A-Za-z0-9])")
