"""No usable answer: errors of the network and of replies that cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from belvo_links.errors.root import BelvoLinksError, request_id_fact
from belvo_links.redact import mask_path


class TransportError(BelvoLinksError):
    """The service gave no usable answer.

    Attributes:
        method: the HTTP method.
        path: the path of the request, without its query.
        attempts: how many attempts were made.
        reason: a short word for the cause, such as the class name of the network library's error.
    """

    unpickled: ClassVar[Mapping[str, object]] = {"path": ""}

    def __init__(self, *, method: str, path: str, reason: str = "", attempts: int = 1) -> None:
        super().__init__()
        self.method = method
        self.path = path
        self.reason = reason
        self.attempts = attempts
        self.template = mask_path(path)

    def details(self) -> Sequence[str]:
        """Return method, masked path, attempts and cause."""
        facts = [f"{self.method} {self.template}", f"attempts {self.attempts}"]
        return [*facts, f"cause {self.reason}"] if self.reason else facts


class ConnectError(TransportError):
    """No connection could be opened, so nothing was sent."""

    advice = "Nothing has happened; the call may be made again."


class PoolTimeoutError(TransportError):
    """No connection or limiter slot became free in time, so nothing was sent."""

    advice = "Nothing has happened; make fewer calls at once, or raise `timeouts.pool_wait`."


class ResponseLostError(TransportError):
    """The request was sent, but its reply timed out, broke off or was cut."""

    advice = "It may have been carried out: look before you repeat it."

    def __init__(self, *, method: str, path: str, reason: str = "", attempts: int = 1, hint: str = "") -> None:
        super().__init__(method=method, path=path, reason=reason, attempts=attempts)
        self.hint = hint

    def describe(self) -> str:
        """Say what was lost and, for a registration, how to look for the link."""
        return " ".join(part for part in (super().describe(), self.hint) if part)


class UnexpectedResponseError(BelvoLinksError):
    """The reply is not what the documentation promises.

    Attributes:
        status: the HTTP status.
        problems: where the reply is wrong, as paths with a reason and never a value.
        request_id: Belvo's id of the request, where the reply names one.
    """

    advice = "If this persists, report it with these paths."

    def __init__(self, *, status: int, problems: Sequence[str], request_id: str | None = None) -> None:
        super().__init__()
        self.status = status
        self.problems = tuple(problems)
        self.request_id = request_id

    def details(self) -> Sequence[str]:
        """Return the status, the first few paths and the request id."""
        return [f"HTTP {self.status}", *self.problems[:5], *request_id_fact(self.request_id)]
