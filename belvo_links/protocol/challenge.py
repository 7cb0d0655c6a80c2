"""A 428: what the institution asks for, in every shape that the documents show."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final

import attrs

from belvo_links.errors import MalformedChallengeError
from belvo_links.protocol import checks
from belvo_links.protocol.qr import QrCode, read_qr
from belvo_links.redact import Secret
from belvo_links.transport.messages import Response
from belvo_links.wire import JsonValue, NotJsonError, OpenStrEnum, decode_json

DEFAULT_EXPIRY: Final = timedelta(seconds=720)
"""How long a session lives when the reply does not say (the guides' example, documentation section 10.2)."""

MAX_EXPIRY: Final = timedelta(days=30)
"""Longer is not believed."""


class ChallengeKind(OpenStrEnum):
    """How the second factor works (documentation section 10.2)."""

    INPUTLESS = "inputless"
    NUMERIC = "numeric"
    QR = "qr"
    TEXT = "text"


class ChallengeAction(StrEnum):
    """What the person does."""

    ENTER_TOKEN = "enter_token"  # noqa: S105  # what to do, not a token
    SCAN = "scan"
    CONFIRM_ELSEWHERE = "confirm_elsewhere"


@attrs.frozen(kw_only=True)
class Challenge:
    """What the institution asks for (documentation section 10.2).

    Attributes:
        kind: open enum; ``inputless``, ``numeric``, ``qr``, ``text``, another word, or ``None``.
        instructions: a text for the person, or ``None``.
        value: what to show: a number, the data of a QR code; ``None`` where there is nothing to show.
        expects_user_input: whether a token is to be collected. If not, Complete is called without one, after the
            person has confirmed.
    """

    kind: ChallengeKind | None = None
    instructions: str | None = None
    value: str | None = attrs.field(default=None, repr=False)
    expects_user_input: bool = True

    @property
    def action(self) -> ChallengeAction:
        """What the person does: scans a code, confirms in the bank's app, or enters a token."""
        if self.kind == ChallengeKind.QR:
            return ChallengeAction.SCAN
        return ChallengeAction.ENTER_TOKEN if self.expects_user_input else ChallengeAction.CONFIRM_ELSEWHERE

    @property
    def qr(self) -> QrCode | None:
        """The QR code, decoded: an image, or the text to encode; ``belvo_links.qr`` draws either.

        ``None`` unless this is a QR challenge whose value can be one: there is a value, and it is no larger than an
        image of 384 KiB or than the text of the largest symbol. It is decoded each time anew.
        """
        return read_qr(self.value) if self.kind == ChallengeKind.QR and self.value else None


@attrs.frozen(kw_only=True)
class TokenRequired:
    """A 428, read. What is missing is ``None``.

    Attributes:
        session: Belvo's session, needed to continue.
        link_id: the link it is about.
        expiry: how long the session lives.
        challenge: what is asked for.
        request_id: Belvo's id of the request.
    """

    session: Secret[str] | None = None
    link_id: str | None = None
    expiry: timedelta | None = None
    challenge: Challenge = attrs.field(factory=Challenge)
    request_id: str | None = None


def read_token_required(response: Response) -> TokenRequired:
    """Read a 428: an array, a bare object, or the old ``detail`` object (documentation sections 10.2 and 11.1).

    Raises:
        MalformedChallengeError: it is none of them, or its session or link is not what the documents say.
    """
    try:
        body = decode_json(response.body)
    except NotJsonError:
        raise MalformedChallengeError(problems=["$: not JSON"]) from None
    where, element = _element(body)
    request_id = _text(element.get("request_id"))
    problems = []
    session, link_id = element.get("session"), element.get("link")
    if session is not None and not (isinstance(session, str) and session):
        problems.append(f"{where}.session: expected text")
    if link_id is not None and not checks.is_uuid(link_id):
        problems.append(f"{where}.link: expected a UUID")
    if problems:
        raise MalformedChallengeError(problems=problems, request_id=request_id)
    return TokenRequired(
        session=Secret(session) if isinstance(session, str) else None,
        link_id=_text(link_id),
        expiry=_expiry(element.get("expiry")),
        challenge=_challenge(element.get("token_generation_data")),
        request_id=request_id,
    )


def _element(body: JsonValue) -> tuple[str, Mapping[str, JsonValue]]:
    """Return the object that holds the session, and its path."""
    if isinstance(body, Mapping):
        return "$", body
    elements = [
        (f"$[{index}]", element)
        for index, element in enumerate(body if isinstance(body, list) else [])
        if isinstance(element, Mapping)
    ]
    if not elements:
        raise MalformedChallengeError(problems=["$: expected an object or an array of objects"])
    return next((pair for pair in elements if "session" in pair[1]), elements[0])


def _expiry(value: JsonValue) -> timedelta | None:
    """Return the seconds, a number or its text; ``None`` for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:12])
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        return None
    return MAX_EXPIRY if value > MAX_EXPIRY.total_seconds() else timedelta(seconds=value)


def _challenge(data: JsonValue) -> Challenge:
    if not isinstance(data, Mapping):
        return Challenge()
    kind = _text(data.get("type"))
    # One guide spells the flag without its s. Without any, a token is expected, unless the kind itself says otherwise.
    flags = (data.get("expects_user_input"), data.get("expect_user_input"), kind != ChallengeKind.INPUTLESS)
    return Challenge(
        kind=ChallengeKind(kind) if kind else None,
        instructions=_text(data.get("instructions")) or None,
        value=_shown(data.get("value")) or None,
        expects_user_input=next(flag for flag in flags if isinstance(flag, bool)),
    )


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def _shown(value: JsonValue) -> str | None:
    """Return what to show; a number, though documented as text, is not lost."""
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
