"""The demo: plays the scenes against a simulator in this process, and compares each with what the server received."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Final, Protocol

import attrs

from belvo_links.cli.scenes import SCENES
from belvo_links.cli.stage import PromiseBrokenError, Scene, Stage, shown, simulator
from belvo_links.client.links import BelvoLinks
from belvo_links.errors import BelvoLinksError
from belvo_links.protocol.qr import QrCode
from belvo_links.sandbox.record import Received
from belvo_links.wire import JsonValue

PATIENCE: Final = 0.3
"""Seconds after which a scene that still plays is shown to be under way."""

_CALLS: Final = {
    ("POST", "/api/links/"): "Register",
    ("PATCH", "/api/links/"): "Complete",
    ("GET", "/api/links/"): "List",
    ("GET", "/api/links/{id}/"): "Get",
    ("POST", "/api/links/{id}/refresh/"): "Refresh",
}


@attrs.frozen(kw_only=True)
class Step:
    """A scene that was played.

    Attributes:
        name: its title.
        said: what it is about.
        code: what a user would write.
        events: what happened on the way.
        outcome: how it came out, in one sentence; empty where it failed.
        result: the same as data.
        qr: a QR code to show.
        calls: how many requests the server received, by call.
        tokens: how often it received each token.
        seconds: how long it took.
        problem: what did not come out as promised.
    """

    name: str
    said: str
    code: str
    events: tuple[str, ...] = ()
    outcome: str = ""
    result: Mapping[str, JsonValue] = attrs.field(factory=dict[str, JsonValue])
    qr: QrCode | None = None
    calls: Mapping[str, int]
    tokens: Mapping[str, int]
    seconds: float
    problem: str | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """Return the step as data."""
        return {
            "name": self.name,
            "said": self.said,
            "code": self.code,
            "events": list(self.events),
            "outcome": self.outcome,
            "result": dict(self.result),
            "server": {"calls": dict(self.calls), "tokens": dict(self.tokens)},
            "seconds": round(self.seconds, 4),
            "ok": self.problem is None,
        }


@attrs.define(kw_only=True)
class Telling:
    """The whole demo: its steps, the links at its end, how many requests the server received, how long it took."""

    steps: list[Step] = attrs.Factory(list)
    links: list[dict[str, JsonValue]] = attrs.Factory(list)
    requests: int = 0
    seconds: float = 0.0

    @property
    def problem(self) -> str | None:
        """What did not come out as promised."""
        return next((step.problem for step in self.steps if step.problem), None)

    @property
    def ok(self) -> bool:
        """Whether every step was played and kept its promise."""
        return self.problem is None and len(self.steps) == len(SCENES)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the demo as data."""
        return {
            "steps": [step.to_json() for step in self.steps],
            "links": [dict(link) for link in self.links],
            "requests": self.requests,
            "seconds": round(self.seconds, 4),
            "ok": self.ok,
            "problem": self.problem,
        }


class Audience(Protocol):
    """To whom the demo is told."""

    def busy(self, text: str) -> AbstractContextManager[object]:
        """Show that something is under way."""
        ...

    def begins(self, url: str) -> None:
        """Hear where the simulator listens."""
        ...

    def sees(self, number: int, step: Step) -> None:
        """Hear of a step, as soon as it was played."""
        ...

    def ends(self, telling: Telling) -> None:
        """Hear of the whole."""
        ...


async def run(audience: Audience) -> Telling:
    """Tell the demo, and stop at the first step that does not come out as promised."""
    telling, began = Telling(), perf_counter()
    async with (
        simulator() as box,
        BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, **box.client_options) as belvo,
    ):
        stage = Stage(box, belvo)
        audience.begins(box.url)
        for number, scene in enumerate(SCENES, 1):
            step = await _patiently(scene, stage, audience)
            telling.steps.append(step)
            audience.sees(number, step)
            if step.problem:
                break
        telling.requests = len(box.requests)
        telling.links = [shown(link) for link in stage.links]
    telling.seconds = perf_counter() - began
    audience.ends(telling)
    return telling


async def _patiently(scene: Scene, stage: Stage, audience: Audience) -> Step:
    """Play a scene, show that it is under way where it takes long, and leave nothing of it behind."""
    task = asyncio.create_task(play(scene, stage))
    try:
        await asyncio.wait({task}, timeout=0 if scene.meanwhile else PATIENCE)
        if not task.done():
            with audience.busy(scene.meanwhile or scene.name):
                await asyncio.wait({task})
    finally:
        if not task.done():  # somebody has pressed Ctrl-C
            task.cancel()
            await asyncio.wait({task})
    return task.result()


async def play(scene: Scene, stage: Stage) -> Step:
    """Play a scene, and compare what it promised with what the server received."""
    box, began = stage.box, perf_counter()
    requests, tokens = len(box.requests), len(box.tokens)
    outcome, problem = None, None
    try:
        outcome = await scene.play(stage)
    except PromiseBrokenError as error:
        problem = str(error)
    except (BelvoLinksError, OSError) as error:  # an OSError: no temporary folder, or no process to be had
        problem = f"{type(error).__name__}: {error}"
    calls = dict(Counter(_call(request) for request in box.requests[requests:]))
    sent = dict(Counter(box.tokens[tokens:]))
    due = scene.calls if outcome is None or outcome.calls is None else outcome.calls
    if problem is None and (calls, sent) != (due, scene.tokens):
        problem = f"the server should have received {received(due, scene.tokens)}, not {received(calls, sent)}"
    return Step(
        name=scene.name,
        said=scene.said,
        code=scene.code,
        events=outcome.events if outcome else (),
        outcome=outcome.said if outcome and not problem else "",
        result=outcome.data if outcome else {},
        qr=outcome.qr if outcome else None,
        calls=calls,
        tokens=sent,
        seconds=perf_counter() - began,
        problem=f'"{scene.name}" did not come out as promised: {problem}' if problem else None,
    )


def _call(request: Received) -> str:
    """Return the name of a call, as the documents have it."""
    return _CALLS.get((request.method, request.template or ""), f"{request.method} {request.template or request.path}")


def received(calls: Mapping[str, int], tokens: Mapping[str, int]) -> str:
    """Return in words what the server received.

    >>> received({"Register": 1, "Complete": 2}, {"999999": 1, "111111": 1})
    '1 Register and 2 Completes (token 999999 once, token 111111 once)'
    >>> received({"Register": 1, "Complete": 3, "Get": 1}, {})
    '1 Register, 3 Completes and 1 Get (no token)'
    """
    *most, last = [f"{number} {call}{_plural(call) if number > 1 else ''}" for call, number in calls.items()] or [""]
    said = (f"{', '.join(most)} and {last}" if most else last) or "nothing"
    if "Complete" in calls and not tokens:
        return f"{said} (no token)"
    times = {1: "once", 2: "twice"}
    counted = ", ".join(f"token {token} {times.get(number, f'{number} times')}" for token, number in tokens.items())
    return f"{said} ({counted})" if counted else said


def _plural(call: str) -> str:
    if call not in _CALLS.values():
        return " requests"
    return "es" if call.endswith("sh") else "s"
