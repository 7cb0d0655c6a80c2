"""Scripts: what the logins of one user, or of everybody at one institution, meet in turn. Ours."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from attrs import evolve, field, frozen

from . import answers
from .answers import Problem, RefusalError
from .faults import AFTER, LATER, EarlyFaultError, Fault
from .triggers import INPUTLESS, NUMERIC, QR, RIGHT_TOKEN, TEXT, Challenge, ChallengeKind

StepData = Mapping[str, object] | str
_CHALLENGES: Mapping[str, Challenge] = {"text": TEXT, "numeric": NUMERIC, "qr": QR, "inputless": INPUTLESS}
_TYPES: Mapping[str, type] = {
    "value": str,
    "instructions": str,
    "token": str,
    "message": str,
    "expects_user_input": bool,
    "expiry": int,
    "fault": Fault,
}
"""What the parts of a step are, since plain data come from anywhere."""
_PROBLEMS: Mapping[str, Problem] = {
    problem.code: problem
    for problem in vars(answers).values()
    if isinstance(problem, Problem) and problem not in (answers.INVALID_PAGE, answers.LOGIN_NOT_ATTEMPTED)
}


@frozen
class Step:
    """The answer to one call that logs in, made by the class methods below.

    Such calls are Register, Complete, PUT and the switch to recurrent. Every step may have a fault, for instance
    ``Step.link(fault=Fault.drop_after())``. With one that leaves the request without effect, such as
    ``Fault.drop_before()``, the step is over all the same.
    """

    kind: Literal["challenge", "wrong_token", "error", "link"]
    what: Challenge | None = None
    problem: Problem | None = field(default=None)
    fault: Fault | None = None

    @classmethod
    def challenge(
        cls,
        kind: ChallengeKind,
        *,
        value: str | None = None,
        instructions: str | None = None,
        token: str = RIGHT_TOKEN,
        expects_user_input: bool | None = None,
        expiry: int | None = None,
        fault: Fault | None = None,
    ) -> Step:
        """428 with this challenge, and what answers it; its session lives for ``expiry`` seconds."""
        plain = _CHALLENGES.get(kind)
        if plain is None:
            raise ValueError(f"a challenge is one of {', '.join(_CHALLENGES)}")
        if expiry is not None and expiry < 1:
            raise ValueError("a session lives for a second at least")
        asked = evolve(
            plain,
            value=plain.value if value is None else value,
            instructions=plain.instructions if instructions is None else instructions,
            token=token,
            expects_user_input=plain.expects_user_input if expects_user_input is None else expects_user_input,
            expiry=expiry,
        )
        return cls("challenge", what=asked, fault=fault)

    @classmethod
    def wrong_token(cls, *, fault: Fault | None = None) -> Step:
        """A Complete is asked the same again, whatever its token."""
        return cls("wrong_token", fault=fault)

    @classmethod
    def error(cls, code: str, message: str | None = None, *, fault: Fault | None = None) -> Step:
        """A documented error, with a wording of its own where that matters (documentation section 11.2)."""
        documented = _PROBLEMS.get(code)
        if documented is None:
            raise ValueError(f"an error is one of {', '.join(sorted(_PROBLEMS))}")
        return cls("error", problem=documented if message is None else evolve(documented, message=message), fault=fault)

    @classmethod
    def link(cls, *, fault: Fault | None = None) -> Step:
        """The login works."""
        return cls("link", fault=fault)

    @classmethod
    def read(cls, data: StepData) -> Step:
        """A step from data: ``"link"``, ``{"challenge": "numeric", "value": "77"}``, ``{"error": "login_error"}``…"""
        if isinstance(data, str):
            data = {data: True}
        given = dict(data)
        kinds = [kind for kind in ("challenge", "wrong_token", "error", "link") if kind in given]
        if len(kinds) != 1:
            raise ValueError("a step is one of challenge, wrong_token, error and link")
        first, more = given.pop(kinds[0]), cast(dict[str, Any], given)
        for name, value in more.items():
            if not isinstance(value, _TYPES.get(name, object)):
                raise ValueError(f"{name} of a step is no {_TYPES[name].__name__}")  # noqa: TRY004 - as of all data
        try:
            if kinds[0] == "challenge":
                return cls.challenge(cast(ChallengeKind, first), **more)
            if kinds[0] == "error":
                return cls.error(str(first), **more)
            return cls.link(**more) if kinds[0] == "link" else cls.wrong_token(**more)
        except TypeError as error:
            raise ValueError(f"a step {kinds[0]} cannot be read: {error}") from None

    def challenges(self) -> tuple[Challenge, ...]:
        """What a call that begins a login is asked; none where it works.

        Raises:
            RefusalError: It is refused.
        """
        if self.problem is not None:
            raise RefusalError(self.problem)
        return () if self.what is None else (self.what,)


class Scripts:
    """The steps that wait for their calls."""

    __slots__ = ("_waiting", "fault", "spoils")

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Step]] = {}
        self.fault: Fault | None = None
        """What spoils the reply to the call that has just taken its step."""
        self.spoils = True
        """Whether the faults of steps count; not while the call has one of its own."""

    def add(self, name: str, steps: Sequence[Step | StepData]) -> None:
        """Add the steps of a user, or of an institution, after those that wait already."""
        read = [step if isinstance(step, Step) else Step.read(step) for step in steps]
        waiting = self._waiting.get(name, ())
        asked = [step.kind in ("challenge", "wrong_token") for step in (*waiting, *read)]
        for position, step in enumerate((*waiting, *read)):
            if step.kind == "wrong_token" and not (position and asked[position - 1]):
                raise ValueError("a wrong token needs a challenge before it")
        self._waiting[name] = deque((*waiting, *read))

    def peek(self, username: str, institution: str) -> Step | None:
        """The next step of a user's login; without any, the institution's."""
        for name in (username, institution):
            if waiting := self._waiting.get(name):
                return waiting[0]
        return None

    def take(self, username: str, institution: str) -> Step | None:
        """The same, which is then done with.

        Raises:
            EarlyFaultError: Its fault comes first.
        """
        for name in (username, institution):
            if waiting := self._waiting.get(name):
                step = waiting.popleft()
                if self.spoils and step.fault is not None:
                    self._spoil(step, step.fault, waiting)
                return step
        return None

    def _spoil(self, step: Step, fault: Fault, waiting: deque[Step]) -> None:
        if fault.kind in AFTER:
            self.fault = fault
            return
        if fault.kind in LATER:
            waiting.appendleft(evolve(step, fault=None))  # for when the call takes its effect
        raise EarlyFaultError(fault)

    def clear(self) -> None:
        """Forget all that has not been met."""
        self._waiting.clear()
