"""The root of the tree and what every error shares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

_NAME: Final = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,64}")
_WORDS_OF_THE_SERVICE: Final = frozenset({"code", "field", "request_id"})


def shown_name(name: str | None) -> str | None:
    """Return a code, field name or request id if it looks like one: the service's word is not trusted to be one."""
    return name if name is not None and _NAME.fullmatch(name) else None


def request_id_fact(request_id: str | None) -> Sequence[str]:
    """Return the fact that every error ends with, or nothing."""
    return [f"request id {shown}"] if (shown := shown_name(request_id)) else []


def _rebuild(cls: type[BelvoLinksError], state: Mapping[str, object]) -> BelvoLinksError:
    error = cls.__new__(cls)
    error.__dict__.update(state)
    return error


class BelvoLinksError(Exception):
    """The root: catch it to catch everything this package raises on purpose."""

    unpickled: ClassVar[Mapping[str, object]] = {}
    """Attributes that do not travel when the error is pickled, with what stands in for them."""

    advice: ClassVar[str] = ""
    """One sentence for the developer: what to do about it."""

    def describe(self) -> str:
        """Return one sentence that says what happened, without any value that a user or a bank supplied."""
        return (type(self).__doc__ or type(self).__name__).partition("\n")[0]

    def details(self) -> Sequence[str]:
        """Return the facts in brackets at the end of the text: status, code, field, request id."""
        return ()

    def __str__(self) -> str:
        facts = ", ".join(self.details())
        return " ".join(part for part in (self.describe(), self.advice, f"[{facts}]" if facts else "") if part)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def travelling(self) -> dict[str, object]:
        """Return the attributes that a pickled error carries: words of the service only where ``str()`` shows them."""
        state = {**self.__dict__, **self.unpickled}
        for name in _WORDS_OF_THE_SERVICE & state.keys():
            word = state[name]
            state[name] = shown_name(word) if isinstance(word, str) else None
        return state

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.travelling())


class PlainError(BelvoLinksError):
    """An error that is fully said by one fixed sentence.

    Args:
        what: the sentence; written by this package, never with a value from outside.
    """

    def __init__(self, what: str = "") -> None:
        super().__init__()
        self.what = what

    def describe(self) -> str:
        """Return the sentence."""
        return self.what or super().describe()
