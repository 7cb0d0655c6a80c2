"""What the record of requests proves, for tests to assert."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from .record import Received

LINKS = "/api/links/"
ITEM = "/api/links/{id}/"


def token_of(received: Received) -> tuple[str, str] | None:
    """The token in a request, after what it was meant for: the session of a Complete, the link of an update."""
    if not isinstance(received.body, Mapping) or not isinstance(token := received.body.get("token"), str):
        return None
    if (received.method, received.template) == ("PATCH", LINKS):
        return str(received.body.get("session")), token
    if (received.method, received.template) == ("PUT", ITEM):
        return received.path, token
    return None


def duplicate_submissions(requests: Iterable[Received]) -> list[Received]:
    """The requests that should not have been sent again, and were: a token's second, a registration's second."""
    seen: set[object] = set()
    found: list[Received] = []
    for received in requests:
        what: object = token_of(received)
        if (received.method, received.template) == ("POST", LINKS):
            what = received.headers.get("authorization"), repr(received.body)
        if what is None:
            continue
        if what in seen:
            found.append(received)
        seen.add(what)
    return found


def check_token_sent_once(requests: Sequence[Received], token: str | None) -> None:
    """Fail unless the token came once; without one: unless some came, and none a second time.

    Raises:
        AssertionError: It did not. The message names requests, never the token.
    """
    carrying = [(number, received, sent) for number, received in enumerate(requests, 1) if (sent := token_of(received))]
    if token is not None:
        carrying = [each for each in carrying if each[2][1] == token]
    which = "a token" if token is None else "this token"
    if not carrying:
        raise AssertionError(f"no request brought {which}; there were {_several(len(requests), 'request')}")
    times = Counter(sent if token is None else sent[1] for _, _, sent in carrying)
    if max(times.values()) > 1:
        again = [(number, one) for number, one, sent in carrying if times[sent if token is None else sent[1]] > 1]
        raise AssertionError(f"{which} was sent {max(times.values())} times:\n{_listed(again)}")


def check_nothing_sent(requests: Sequence[Received], method: str | None, template: str | None) -> None:
    """Fail if anything came, of this method and path template where they are named.

    Raises:
        AssertionError: Something did; the message lists it.
    """
    came = [
        (number, one)
        for number, one in enumerate(requests, 1)
        if method in (None, one.method) and template in (None, one.template)
    ]
    if came:
        raise AssertionError(f"{_several(len(came), 'request')} came:\n{_listed(came)}")


def _listed(requests: Iterable[tuple[int, Received]]) -> str:
    return "\n".join(
        f"  request {number}: {one.method} {one.path}, answered {one.status or 'nothing'}" for number, one in requests
    )


def _several(number: int, thing: str) -> str:
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"


def peak(requests: Iterable[Received], seconds: float) -> int:
    """The most requests in any window of so many simulated seconds (documentation section 13)."""
    window = timedelta(seconds=seconds)
    moments = sorted(received.at for received in requests)
    first = most = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most
