"""What can be done from outside: the fields of a form or of JSON in, the simulator steered, JSON out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from attrs import frozen

from belvo_links.sandbox.answers import JsonObject, JsonValue
from belvo_links.sandbox.faults import Fault
from belvo_links.sandbox.options import Switches
from belvo_links.sandbox.scripts import StepData
from belvo_links.sandbox.state import timestamp

if TYPE_CHECKING:
    from belvo_links.sandbox.sandbox import Sandbox

Fields = Mapping[str, object]
_UNITS = ("days", "hours", "minutes", "seconds")
_STATUSES = ("valid", "invalid", "unconfirmed", "token_required")
_FURTHEST = 9000
"""The year that the simulated time does not leave behind; Python's own end is near."""
_LONGEST_DELAY = 600.0
_MOST_TIMES = 1_000_000


class ActionError(Exception):
    """What was asked for cannot be done; the text says what could be, and repeats nothing of what was given."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


@frozen
class Done:
    """What was done, for a program and for a person."""

    result: JsonObject
    said: str


Action = Callable[["Sandbox", Fields], Done]


def advance(box: Sandbox, fields: Fields) -> Done:
    """Move the simulated time by ``days``, ``hours``, ``minutes`` and ``seconds``."""
    steps = {unit: _number(fields, unit) for unit in _UNITS if fields.get(unit) not in (None, "")}
    if fields.get("amount") not in (None, ""):  # of the form, which has one field and a choice
        unit = fields.get("unit")
        if unit not in _UNITS:
            raise ActionError(f"unit is one of {', '.join(_UNITS)}")
        steps[str(unit)] = _number(fields, "amount")
    if not steps:
        raise ActionError(f"give one or more of {', '.join(_UNITS)}")
    seconds = sum(
        number * {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}[u] for u, number in steps.items()
    )
    if seconds / 86400 > (_FURTHEST - box.clock().year) * 365:
        raise ActionError("the simulated time does not go that far")
    box.advance(seconds=seconds)
    now = box.clock()
    return Done({"now": timestamp(now)}, f"It is {now:%Y-%m-%d %H:%M:%S} now.")


def confirm(box: Sandbox, fields: Fields) -> Done:
    """Let the user confirm the login of a ``link`` elsewhere."""
    link = _text(fields, "link")
    box.confirm(link)
    return Done({"link": link}, "Confirmed.")


def inject(box: Sandbox, fields: Fields) -> Done:
    """Let the next ``times`` requests of a ``method`` and ``template`` meet a fault of a ``kind``, see below."""
    kind = fields.get("kind")
    make = _FAULTS.get(kind) if isinstance(kind, str) else None
    if make is None:
        raise ActionError(f"kind is one of {', '.join(_FAULTS)}")
    method, template = _optional_text(fields, "method"), _optional_text(fields, "template")
    if call := _optional_text(fields, "call"):  # a choice of the form: both in one
        method, _, template = call.partition(" ")
    times = _times(fields)
    box.inject(make(fields), method=method, template=template, times=times)
    return Done({"kind": str(kind), "times": times}, "The next matching call meets it.")


def clear(box: Sandbox, fields: Fields) -> Done:
    """Forget faults and scripts."""
    box.clear_faults()
    return Done({}, "No faults wait any more.")


def script(box: Sandbox, fields: Fields) -> Done:
    """Say what the next logins of the user, or at the institution, called ``name`` meet: ``steps`` as plain data."""
    steps = fields.get("steps")
    if not isinstance(steps, Sequence) or isinstance(steps, str):
        raise ActionError("steps is a list")
    if not all(isinstance(step, Mapping | str) for step in steps):
        raise ActionError("a step is a text or an object")
    box.script(_text(fields, "name"), cast(Sequence[StepData], steps))
    return Done({"steps": len(steps)}, "The next logins meet it.")


def set_link_status(box: Sandbox, fields: Fields) -> Done:
    """Give a ``link`` another ``status``."""
    link, status = _text(fields, "link"), fields.get("status")
    if status not in _STATUSES:
        raise ActionError(f"status is one of {', '.join(_STATUSES)}")
    box.set_status(link, cast(Literal["valid", "invalid", "unconfirmed", "token_required"], status))
    return Done({"link": link, "status": str(status)}, "Done.")


def set_institution_status(box: Sandbox, fields: Fields) -> Done:
    """Let the institution called ``name`` go ``down``, or be ``healthy`` again."""
    name, status = _text(fields, "name"), fields.get("status")
    if status not in ("healthy", "down"):
        raise ActionError("status is healthy or down")
    box.set_institution_status(name, status)
    return Done({"name": name, "status": status}, "Done.")


ACTIONS: Mapping[str, tuple[Action, str]] = {
    "/_sandbox/advance": (advance, "time"),
    "/_sandbox/confirm": (confirm, "logins"),
    "/_sandbox/faults": (inject, "faults"),
    "/_sandbox/faults/clear": (clear, "faults"),
    "/_sandbox/script": (script, "faults"),
    "/_sandbox/link-status": (set_link_status, "links"),
    "/_sandbox/institution-status": (set_institution_status, "links"),
}
"""By path: what is done, and where on the page it shows."""


def perform(action: Action, box: Sandbox, fields: Fields) -> Done:
    """Do it.

    Raises:
        ActionError: It cannot be done.
    """
    problem = ""
    try:
        return action(box, fields)
    except LookupError as error:
        missing = str(error.args[0]) if error.args else "there is no such thing"
    except ValueError as error:
        missing, problem = "", str(error)
    # Outside of the handlers: what went wrong inside may quote what was given.
    raise ActionError(problem) if problem else ActionError(missing, 404)


def _fault_of_status(after: bool) -> Callable[[Fields], Fault]:
    def make(fields: Fields) -> Fault:
        code = int(_number(fields, "code", 500))
        if not 200 <= code <= 599:
            raise ActionError("code is a status between 200 and 599")
        body = cast(JsonValue, fields.get("body"))
        return Fault.status_after(code, body) if after else Fault.status(code, body)

    return make


def _slow(make: Callable[[float], Fault]) -> Callable[[Fields], Fault]:
    def made(fields: Fields) -> Fault:
        seconds = _number(fields, "seconds", 2)
        if seconds > _LONGEST_DELAY:
            raise ActionError(f"seconds is at most {_LONGEST_DELAY:g}")
        return make(seconds)

    return made


def _switches(fields: Fields) -> Switches:
    """Other switches for one request, as an object of names and values."""
    given = fields.get("switches")
    if not isinstance(given, Mapping) or not given:
        raise ActionError("switches is an object of switches and their values")
    try:
        return Switches(**cast(dict[str, Any], dict(given)))
    except (TypeError, ValueError):  # its words would quote what was given
        pass
    raise ActionError("switches has an unknown name, or a value that is none of its own")


_FAULTS: Mapping[str, Callable[[Fields], Fault]] = {
    "status": _fault_of_status(after=False),
    "status_after": _fault_of_status(after=True),
    "html": lambda fields: Fault.html(),
    "html_after": lambda fields: Fault.html_after(),
    "drop_before": lambda fields: Fault.drop_before(),
    "drop_during": lambda fields: Fault.drop_during(),
    "drop_after": lambda fields: Fault.drop_after(),
    "truncate": lambda fields: Fault.truncate(),
    "delay": _slow(Fault.delay),
    "delay_after": _slow(Fault.delay_after),
    "slow_body": _slow(Fault.slow_body),
    "foreign_next": lambda fields: Fault.foreign_next(),
    "switched": lambda fields: Fault.switched(_switches(fields)),
    "replace_body": lambda fields: Fault.replace_body(_text(fields, "body").encode()),
}


def _times(fields: Fields) -> int | None:
    if "times" in fields and fields["times"] in (None, "always"):
        return None
    times = int(_number(fields, "times", 1))
    if not 1 <= times <= _MOST_TIMES:
        raise ActionError("times is a number from 1 on; null is for good")
    return times


def _number(fields: Fields, name: str, default: float | None = None) -> float:
    value = fields.get(name)
    if value in (None, "") and default is not None:
        return default
    number = math.nan
    if isinstance(value, int | float | str) and not isinstance(value, bool) and len(str(value)) < 30:
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not 0 <= number < math.inf:
        raise ActionError(f"{name} is a number that is not negative")
    return number


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ActionError(f"{name} is missing")
    return value


def _optional_text(fields: Fields, name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise ActionError(f"{name} is text")
    return value or None
