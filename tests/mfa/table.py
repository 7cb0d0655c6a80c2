"""What every kind of reply leads to: literal data, which a test holds against the code and the documentation prints.

A fault meets either the call that begins a login (register, update or patch) or the Complete that continues it. A call
runs under a policy of three attempts and meets the fault once; a Complete carries a token.
"""

import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from belvo_links.sandbox import Fault

OPERATIONS: Final = ("register", "update", "patch")


class Call(NamedTuple):
    """What becomes of the call that meets the fault: what it returns or raises, and how often it was sent."""

    outcome: str
    requests: int = 1


class Complete(NamedTuple):
    """What becomes of a Complete: what it returns or raises, the state then, how often it and its token were sent."""

    outcome: str
    state: str
    requests: int = 1


class Row(NamedTuple):
    """One fault: the call that meets it, and Complete for each operation."""

    call: Call
    register: Complete
    update: Complete
    patch: Complete

    @classmethod
    def same(cls, call: Call, complete: Complete) -> "Row":
        """Return a row whose Complete does not depend on the operation."""
        return cls(call, complete, complete, complete)


def problem(status: int, code: str, field: str | None = None) -> Fault:
    """Return a refusal of this code, without processing."""
    item: dict[str, str] = {"code": code, "message": "a message", "request_id": "f" * 32}
    return Fault.status(status, [{**item, "field": field} if field else item])


REFUSED: Final = "connection refused"
"""The fault that needs no simulator."""

FAULTS: Final[dict[str, Fault | None]] = {
    REFUSED: None,
    "dropped before processing": Fault.drop_before(),
    "dropped after processing": Fault.drop_after(),
    "reply cut after processing": Fault.truncate(),
    "2xx that cannot be read, after processing": Fault.status_after(201, b'{"id": 7'),
    "500 after processing": Fault.status_after(500),
    "408": Fault.status(408),
    "500": Fault.status(500),
    "503": Fault.status(503),
    "502 with HTML": Fault.html(502),
    "302": Fault.status(302, b"", headers={"Location": "http://127.0.0.1:9/api/links/"}),
    "428 that cannot be read": Fault.status(428, b"<html>"),
    "428 without session and expiry": problem(428, "token_required"),
    "400 on the field token": problem(400, "invalid", "token"),
    "400 too_many_sessions": problem(400, "too_many_sessions"),
    "400 session_expired": problem(400, "session_expired"),
    "400 login_error": problem(400, "login_error"),
    "401": Fault.status(401),
    "403": Fault.status(403),
    "404": Fault.status(404),
    "422": problem(422, "unprocessable"),
    "429": Fault.status(429),
}

LOST: Final = Complete("IndeterminateOutcomeError", "indeterminate")
PROVED: Final = Complete("Link", "linked")

TABLE: Final[dict[str, Row]] = {
    REFUSED: Row.same(Call("ConnectError", 0), Complete("ConnectError", "awaiting", 0)),
    "dropped before processing": Row.same(Call("ResponseLostError"), LOST),
    "dropped after processing": Row.same(Call("ResponseLostError"), PROVED),
    "reply cut after processing": Row.same(Call("ResponseLostError"), PROVED),
    "2xx that cannot be read, after processing": Row.same(Call("UnexpectedResponseError"), PROVED),
    "500 after processing": Row.same(Call("ServerError"), PROVED),
    "408": Row.same(Call("RequestTimeoutError"), LOST),
    "500": Row.same(Call("ServerError"), LOST),
    "503": Row.same(Call("ServerError"), LOST),
    "502 with HTML": Row.same(Call("ServerError"), LOST),
    "302": Row.same(Call("UnexpectedResponseError"), LOST),
    "428 that cannot be read": Row.same(Call("MalformedChallengeError"), LOST),
    "428 without session and expiry": Row.same(Call("MalformedChallengeError"), Complete("PendingSession", "awaiting")),
    "400 on the field token": Row.same(Call("InvalidFieldsError"), Complete("InvalidFieldsError", "awaiting")),
    "400 too_many_sessions": Row.same(Call("TooManySessionsError"), Complete("TooManySessionsError", "awaiting")),
    "400 session_expired": Row.same(Call("BadRequestError"), Complete("SessionExpiredError", "expired")),
    "400 login_error": Row.same(Call("LoginError"), Complete("LoginError", "failed")),
    "401": Row.same(Call("AuthenticationError"), Complete("AuthenticationError", "awaiting")),
    "403": Row.same(Call("PermissionDeniedError"), Complete("PermissionDeniedError", "awaiting")),
    "404": Row.same(Call("NotFoundError"), Complete("NotFoundError", "failed")),
    "422": Row.same(Call("UnexpectedResponseError"), Complete("UnexpectedResponseError", "failed")),
    "429": Row.same(Call("PendingSession", 2), Complete("RateLimitedError", "awaiting")),
}


def rows() -> Iterator[tuple[str, ...]]:
    """Yield the head and the lines of the table as text."""
    yield "what happens", "to register, update, patch", "to Complete", "state then", "token sent"
    for fault, row in TABLE.items():
        completes = {operation: getattr(row, operation) for operation in OPERATIONS}
        for complete in dict.fromkeys(completes.values()):
            those = [operation for operation, each in completes.items() if each == complete]
            of = "" if len(those) == len(OPERATIONS) else f" (of {', '.join(those)})"
            sent = {1: "`{}`", 2: "sent again, then `{}`", 0: "`{}`, nothing sent"}[row.call.requests]
            yield (
                fault,
                sent.format(row.call.outcome),
                f"`{complete.outcome}`{of}",
                f"`{complete.state}`",
                "once" if complete.requests else "not at all",
            )


def markdown() -> str:
    """Return the table in Markdown."""
    head, *lines = rows()
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ("---",) * len(head), *lines)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())  # python -m tests.mfa.table
