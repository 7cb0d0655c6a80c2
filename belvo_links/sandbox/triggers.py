"""User names that make something happen: the documented ones, and ours, clearly apart.

``DOCUMENTED_USERS`` are the sandbox credentials of documentation sections 17.2 and 17.3. ``OWN_TRIGGERS``
begin with ``sim_``, work at every institution with any password that is not blank, are free of its form rules and of
its further credentials, and exist nowhere but in this simulator: they reach what the documents name but give no
credential for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from . import answers
from .answers import Problem

Operation = Literal["register", "update", "patch", "detail", "delete", "refresh"]
"""A call at which the institution may ask for a second factor (documentation section 10.1)."""
ChallengeKind = Literal["inputless", "numeric", "qr", "text"]
LaterStatus = Literal["invalid", "token_required"]

OWN_PREFIX = "sim_"
RIGHT_TOKEN = "111111"  # noqa: S105 - the sandbox's published token
"""The token that every challenge accepts (documentation section 17.3); any other is asked for again."""

_LOGINS: frozenset[Operation] = frozenset({"register", "update", "patch"})


@frozen
class Challenge:
    """One challenge of a login (documentation section 10.2)."""

    kind: ChallengeKind
    instructions: str
    value: str | None = None
    expects_user_input: bool = True
    token: str = field(default=RIGHT_TOKEN, repr=False)
    """What answers it, where input is expected."""
    expiry: int | None = None
    """Seconds that its session lives; ``None``: as the user or the switches say."""


TEXT = Challenge("text", "Enter the code sent to your phone")
NUMERIC = Challenge("numeric", "Use this code to generate the token", "12345")
QR = Challenge("qr", "Scan the QR code with your bank app", "qr")  # the image is drawn when it is asked for
QR_SCAN = Challenge("qr", "Scan the QR code and confirm in your bank app", "qr", expects_user_input=False)
INPUTLESS = Challenge("inputless", "Confirm the login in your bank app", "", expects_user_input=False)


@frozen(kw_only=True)
class Trigger:
    """What logging in as this user does."""

    username: str
    summary: str
    """One sentence for the documentation."""
    password: str | None = None
    """The password the user name works with; ``None``: any."""
    steps: tuple[Challenge, ...] = ()
    """The challenges, in turn; empty: the login needs no second factor."""
    at: frozenset[Operation] = _LOGINS
    """The calls that meet the challenges."""
    error: Problem | None = None
    """What Register answers instead of a link."""
    error_once: bool = False
    """Whether only the first Register of this user at an institution meets the error."""
    complete_error: Problem | None = None
    """What Complete answers, whatever the token."""
    denied: bool = False
    """Whether every call that names the link is refused with 403."""
    lapse_after: int = 0
    """Which scheduled refresh of a recurrent link fails; 0: none does."""
    lapse_to: LaterStatus = "token_required"
    """The status that this refresh leaves behind (documentation section 8)."""
    expiry: int | None = None
    """Seconds that a session lives; ``None``: as the switches say."""
    shape: Literal["normal", "bare", "detail", "text_expiry", "silent_second"] = "normal"
    """How its 428 is written (documentation section 10.2)."""


def _documented(username: str, password: str | None, summary: str, *steps: Challenge) -> Trigger:
    error = None if steps else answers.INVALID_CREDENTIALS
    return Trigger(username=username, password=password, summary=summary, steps=steps, error=error)


DOCUMENTED_USERS: Mapping[str, Trigger] = {
    trigger.username: trigger
    for trigger in (
        _documented("user_invalid", None, "Register answers 400 login_error."),
        _documented("adv_invalid", None, "Iron Bank: Register answers 400 login_error."),
        _documented("mfa_default", "pass_valid", "MFA banks: 428 for a plain token from a device.", TEXT),
        _documented("mfa_numeric", "numeric_code", "MFA banks: 428 with a numeric challenge.", NUMERIC),
        _documented("mfa_qr", "qr_code", "MFA banks: 428 with a QR code.", QR),
    )
}
"""The user names of documentation sections 17.2 and 17.3 that do anything but succeed. The MFA users work at
the MFA banks with their own password only: every other combination registers at once (section 17.2)."""


def _own(username: str, summary: str, *steps: Challenge) -> Trigger:
    return Trigger(username=username, summary=summary, steps=steps, expiry=720)


def _at(operation: Operation, summary: str) -> Trigger:
    return Trigger(
        username=f"sim_mfa_{operation}", summary=summary, steps=(TEXT,), at=frozenset({operation}), expiry=720
    )


def _lapsing(username: str, after: int, to: LaterStatus) -> Trigger:
    which = {1: "first", 3: "third"}[after]
    summary = f"Registers at once; the {which} scheduled refresh of a recurrent link makes it {to}, until PUT mends it."
    return Trigger(username=username, summary=summary, lapse_after=after, lapse_to=to)


def _failing(username: str, problem: Problem) -> Trigger:
    summary = f"Register answers {problem.status} {problem.code}: {problem.message}"
    return Trigger(username=username, summary=summary, error=problem)


def _failing_complete(username: str, problem: Problem) -> Trigger:
    summary = f"428 text; Complete answers {problem.status} {problem.code}."
    return Trigger(username=username, summary=summary, steps=(TEXT,), expiry=720, complete_error=problem)


OWN_TRIGGERS: Mapping[str, Trigger] = {
    trigger.username: trigger
    for trigger in (
        _own(
            "sim_mfa_inputless",
            "428 inputless: Complete needs no token and works once confirmed, by default at the second try.",
            INPUTLESS,
        ),
        _own("sim_mfa_text", "428 text: Complete with 111111.", TEXT),
        _own(
            "sim_mfa_qr_scan",
            "428 with a QR code that needs no token: works like sim_mfa_inputless.",
            QR_SCAN,
        ),
        _own("sim_mfa_chain", "Two chained challenges, numeric then text.", NUMERIC, TEXT),
        _own("sim_mfa_chain3", "Three chained challenges: numeric, text, QR code.", NUMERIC, TEXT, QR),
        _own("sim_mfa_confirm_text", "Confirmed elsewhere first, then a text challenge.", INPUTLESS, TEXT),
        Trigger(
            username="sim_mfa_short",
            summary="428 text whose session lives two seconds.",
            steps=(TEXT,),
            expiry=2,
        ),
        Trigger(
            username="sim_mfa_update",
            summary="Registers at once; PUT and the switch to recurrent answer 428 text.",
            steps=(TEXT,),
            at=frozenset({"update", "patch"}),
            expiry=720,
        ),
        _at("detail", "Registers at once; GET of the link answers 428 text until it is completed."),
        _at("delete", "Registers at once; DELETE answers 428 text, and works after it is completed."),
        _at("refresh", "Registers at once; a refresh answers 428 text, and works after it is completed."),
        _lapsing("sim_lapse_token", 1, "token_required"),
        _lapsing("sim_lapse_invalid", 1, "invalid"),
        _lapsing("sim_lapse_later", 3, "invalid"),
        Trigger(
            username="sim_403_link",
            summary="Registers at once; every call that names the link answers 403 access_to_resource_denied.",
            denied=True,
        ),
        Trigger(
            username="sim_mfa_no_session",
            summary="428 text; a wrong token gives a 428 without session and expiry; the session goes on.",
            steps=(TEXT,),
            expiry=720,
            shape="silent_second",
        ),
        Trigger(
            username="sim_legacy_428",
            summary="428 in the oldest shape, a bare object with detail, session, expiry and link.",
            steps=(TEXT,),
            shape="detail",
        ),
        Trigger(
            username="sim_bare_428",
            summary="428 as a bare object instead of an array.",
            steps=(TEXT,),
            expiry=720,
            shape="bare",
        ),
        Trigger(
            username="sim_string_expiry",
            summary='428 with expiry "720" as text and the flag spelled expect_user_input.',
            steps=(TEXT,),
            expiry=720,
            shape="text_expiry",
        ),
        _failing_complete("sim_mfa_expired", answers.SESSION_EXPIRED),
        _failing_complete("sim_mfa_login_error", answers.INVALID_CREDENTIALS),
        _failing_complete("sim_mfa_too_many_sessions", answers.TOO_MANY_SESSIONS),
        _failing("sim_too_many_sessions", answers.TOO_MANY_SESSIONS),
        Trigger(
            username="sim_too_many_once",
            summary="The first Register answers 400 too_many_sessions, the next one works.",
            error=answers.TOO_MANY_SESSIONS,
            error_once=True,
        ),
        _failing("sim_institution_down", answers.INSTITUTION_DOWN),
        _failing("sim_institution_unavailable", answers.INSTITUTION_UNAVAILABLE),
        _failing("sim_institution_inactive", answers.INSTITUTION_INACTIVE),
        _failing("sim_login_error", answers.INVALID_CREDENTIALS),
        _failing("sim_account_locked", answers.ACCOUNT_LOCKED),
        _failing("sim_access_forbidden", answers.ACCESS_FORBIDDEN),
        _failing("sim_not_attempted", answers.LOGIN_NOT_ATTEMPTED),
        _failing("sim_missing_credentials", answers.MISSING_CREDENTIALS),
        _failing("sim_mfa_unsupported", answers.MFA_UNSUPPORTED),
        _failing("sim_login_unexpected", answers.LOGIN_UNEXPECTED),
        _failing("sim_activation_failed", answers.ACTIVATION_FAILED),
        _failing("sim_unsupported_operation", answers.UNSUPPORTED_OPERATION),
        _failing("sim_consent_without_accounts", answers.CONSENT_WITHOUT_ACCOUNTS),
        _failing("sim_403", answers.ACCESS_DENIED),
        _failing("sim_408", answers.REQUEST_TIMEOUT),
        _failing("sim_500", answers.UNEXPECTED_ERROR),
    )
}
"""Ours, in no document: each user name with what it does."""

STEPS_BY_PASSWORD: Mapping[str, tuple[Challenge, ...]] = {
    trigger.password: trigger.steps for trigger in DOCUMENTED_USERS.values() if trigger.password is not None
}
"""The challenge that a documented MFA password stands for, whoever of the MFA users gives it to an update."""
