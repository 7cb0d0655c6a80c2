"""Every error's wording, and what it must not say."""

import copy
import inspect
import pickle
import re
from datetime import timedelta
from typing import Any

import attrs
import pytest

from belvo_links import errors
from belvo_links.errors import (
    AlreadyClaimedError,
    AlreadySettledError,
    ApiError,
    AuthenticationError,
    BadRequestError,
    BelvoLinksError,
    ChallengeAbandonedError,
    ClientClosedError,
    ConflictError,
    ConnectError,
    ErrorItem,
    IllegalTransitionError,
    IndeterminateOutcomeError,
    InstitutionError,
    InvalidFieldsError,
    InvalidLinkError,
    JournalError,
    LoginError,
    LoginReason,
    LoopMismatchError,
    MalformedChallengeError,
    MfaRequiredError,
    NotFoundError,
    PendingNotFoundError,
    PermissionDeniedError,
    PoolTimeoutError,
    RateLimitedError,
    RefreshCooldownError,
    RequestTimeoutError,
    ResponseLostError,
    RunFileError,
    ScanAssumptionError,
    SealError,
    SealReason,
    ServerError,
    SessionExpiredError,
    StoredFormatError,
    StoreError,
    TooManyRoundsError,
    TooManySessionsError,
    UnconfirmedLinkError,
    UndrawableQrError,
    UnexpectedResponseError,
    UnsupportedOperationError,
    WebhookMalformedError,
    WebhookUnauthorizedError,
    WrongAccountError,
)
from belvo_links.errors.root import shown_name

CANARY = "Maria's canary 42"


@attrs.frozen
class Pending:
    """As much of a pending session as errors look at."""

    id: str = "ps_1"
    round: int = 2
    operation: str = "register"
    secret: str = CANARY


PENDING: Any = Pending()
UPDATE: Any = Pending(operation="update")
LINE: dict[str, Any] = {"method": "POST", "path": "/api/links/e4bb1afb/", "attempts": 2, "reason": "OSError"}
REFUSED: dict[str, Any] = {
    "code": "some_code",
    "message": CANARY,
    "field": "some_field",
    "request_id": "5f3a",
    "errors": [ErrorItem(code="some_code", message=CANARY, field="some_field", request_id="5f3a")],
}
FACTS = "code some_code, field some_field, request id 5f3a"
LINE_FACTS = "[POST /api/links/{…}/, attempts 2, cause OSError]"
PENDING_FACTS = "pending ps_1, round 2"

WORDING: list[tuple[BelvoLinksError, str]] = [
    (
        ConnectError(**LINE),
        (
            "No connection could be opened, so nothing was sent. "
            f"Nothing has happened; the call may be made again. {LINE_FACTS}"
        ),
    ),
    (
        PoolTimeoutError(**LINE),
        (
            "No connection or limiter slot became free in time, so nothing was sent. "
            f"Nothing has happened; make fewer calls at once, or raise `timeouts.pool_wait`. {LINE_FACTS}"
        ),
    ),
    (
        ResponseLostError(**LINE, hint="Look for the link by its external_id."),
        (
            "The request was sent, but its reply timed out, broke off or was cut. "
            "Look for the link by its external_id. "
            f"It may have been carried out: look before you repeat it. {LINE_FACTS}"
        ),
    ),
    (
        ResponseLostError(method="GET", path="/api/links/"),
        (
            "The request was sent, but its reply timed out, broke off or was cut. "
            "It may have been carried out: look before you repeat it. [GET /api/links/, attempts 1]"
        ),
    ),
    (
        UnexpectedResponseError(
            status=200, problems=[f"$.results[{n}]: not a link" for n in range(7)], request_id="5f3a"
        ),
        "The reply is not what the documentation promises. If this persists, report it with these paths. [HTTP 200, "
        + ", ".join(f"$.results[{n}]: not a link" for n in range(5))
        + ", request id 5f3a]",
    ),
    (ApiError(status=418, **REFUSED), f"The service refused the call. [HTTP 418, {FACTS}]"),
    (
        ApiError(status=400, documented="Invalid credentials."),
        'The service refused the call. Belvo says: "Invalid credentials." [HTTP 400]',
    ),
    (
        ApiError(status=404, documented="Not found"),
        'The service refused the call. Belvo says: "Not found". [HTTP 404]',
    ),
    (
        BadRequestError(status=400, **REFUSED),
        f"The request is wrong or cannot be carried out now. [HTTP 400, {FACTS}]",
    ),
    (
        InvalidFieldsError(status=400, **REFUSED),
        (
            "One or more fields were refused. Correct the fields; `.fields` has the messages. "
            "[HTTP 400, some_field: some_code, request id 5f3a]"
        ),
    ),
    (
        InvalidFieldsError(status=400, errors=[ErrorItem(code=CANARY, field=CANARY)]),
        "One or more fields were refused. Correct the fields; `.fields` has the messages. [HTTP 400, ?: ?]",
    ),
    (
        InvalidFieldsError(status=400, code="invalid"),
        "One or more fields were refused. Correct the fields; `.fields` has the messages. [HTTP 400, code invalid]",
    ),
    (
        LoginError(status=400, reason=LoginReason.ACCOUNT_LOCKED, **REFUSED),
        (
            "The institution refused the login. What helps depends on `.reason`: "
            "new credentials, the institution's help, "
            f"or time. [reason account_locked, HTTP 400, {FACTS}]"
        ),
    ),
    (
        TooManySessionsError(status=400, **REFUSED),
        (
            "A session with the institution is already open for these credentials. "
            f"Wait until the person has logged out at the institution, then try again. [HTTP 400, {FACTS}]"
        ),
    ),
    (
        InvalidLinkError(status=400, **REFUSED),
        f"The link is no longer valid. Update it with fresh credentials. [HTTP 400, {FACTS}]",
    ),
    (
        UnconfirmedLinkError(status=400, **REFUSED),
        (
            "The link was never completed. Complete its pending session, or register again and delete it. "
            f"[HTTP 400, {FACTS}]"
        ),
    ),
    (
        UnsupportedOperationError(status=400, **REFUSED),
        f"The institution does not support this. See the institution's `resources`. [HTTP 400, {FACTS}]",
    ),
    (
        InstitutionError(status=400, **REFUSED),
        (
            "The institution is down, unavailable or switched off. Try again later; watch the institution's status. "
            f"[HTTP 400, {FACTS}]"
        ),
    ),
    (
        AuthenticationError(status=401, **REFUSED),
        (
            "The API keys were refused. Check the secret id and password, and that they belong to this environment. "
            f"[HTTP 401, {FACTS}]"
        ),
    ),
    (
        PermissionDeniedError(status=403, **REFUSED),
        f"These API keys may not do this. Ask Belvo for access. [HTTP 403, {FACTS}]",
    ),
    (
        NotFoundError(status=404, **REFUSED),
        (
            "There is no such thing in this account. "
            "Check the id, and that it belongs to this account and environment. "
            f"[HTTP 404, {FACTS}]"
        ),
    ),
    (
        RequestTimeoutError(status=408, **REFUSED),
        (
            "Belvo took too long to answer. Ask for less (a smaller page, more filters); "
            "after a write, look before you "
            f"repeat it. [HTTP 408, {FACTS}]"
        ),
    ),
    (ConflictError(status=409, **REFUSED), f"The call conflicts with the link's present state. [HTTP 409, {FACTS}]"),
    (
        RefreshCooldownError(status=409, retry_after=timedelta(minutes=10)),
        "The link was refreshed less than ten minutes ago. Wait for `.retry_after`. [HTTP 409, retry after 600 s]",
    ),
    (
        RateLimitedError(status=429, retry_after=timedelta(0)),
        "Too many requests. Wait for `.retry_after`, or a minute where it is None. [HTTP 429, retry after 0 s]",
    ),
    (
        ServerError(status=503, **REFUSED),
        (
            "Belvo or a gateway before it failed. It may have been carried out: look before you repeat a write. "
            f"If it persists, report the request id. [HTTP 503, {FACTS}]"
        ),
    ),
    (
        MfaRequiredError(pending=PENDING, request_id="5f3a"),
        (
            "The institution asks for a second factor in a call that has no other way to say so. "
            f"Complete `.pending`, then make the call again. [{PENDING_FACTS}, request id 5f3a]"
        ),
    ),
    (
        SessionExpiredError(pending=PENDING),
        (
            "The time to answer the challenge is over. An unconfirmed link was left behind; delete it. Start again. "
            f"[{PENDING_FACTS}]"
        ),
    ),
    (SessionExpiredError(pending=UPDATE), f"The time to answer the challenge is over. Start again. [{PENDING_FACTS}]"),
    (
        IndeterminateOutcomeError(pending=PENDING),
        (
            "The submission was sent, but its outcome is not known. Its token is never sent again; call "
            f"`pending.reconcile()` later, or look at the link. [{PENDING_FACTS}]"
        ),
    ),
    (
        AlreadyClaimedError(pending=PENDING),
        (
            "Another submission has this round, or the round has passed; nothing was sent. "
            f"Load the pending session again and show its present challenge. [{PENDING_FACTS}]"
        ),
    ),
    (
        AlreadySettledError(pending=PENDING, state="linked", link_id="e4bb1afb"),
        f"The pending session is settled; nothing was sent. [state linked, {PENDING_FACTS}]",
    ),
    (
        PendingNotFoundError(),
        "The store has no such pending session. It was never here, or was purged after its end.",
    ),
    (
        WrongAccountError(pending=PENDING),
        (
            "The pending session was begun with other API keys or at another address; nothing was sent. "
            f"Use a client with the keys and environment that began it. [{PENDING_FACTS}]"
        ),
    ),
    (
        TooManyRoundsError(pending=PENDING),
        (
            "The institution asked more often than `waiting.max_rounds` allows. "
            f"The pending session is still usable: `.pending.complete(token)`. [{PENDING_FACTS}]"
        ),
    ),
    (
        ChallengeAbandonedError(pending=PENDING),
        (
            "The `on_challenge` callback gave no answer. "
            f"The pending session is still usable: `.pending.complete(token)`. [{PENDING_FACTS}]"
        ),
    ),
    (
        MalformedChallengeError(problems=["$.session: missing"], pending=None, request_id="5f3a"),
        (
            "A 428 lacks what is needed to continue. Begin again; if it persists, report the request id. "
            "[$.session: missing, request id 5f3a]"
        ),
    ),
    (
        StoreError(reason="OperationalError", pending=PENDING),
        (
            "The store of pending sessions is unreachable, full or refuses. "
            "No token was sent without a recorded claim. "
            "Mend the store, then go on with `.pending` if there is one. [cause OperationalError, pending ps_1]"
        ),
    ),
    (
        StoreError(),
        (
            "The store of pending sessions is unreachable, full or refuses. "
            "No token was sent without a recorded claim. "
            "Mend the store, then go on with `.pending` if there is one."
        ),
    ),
    (StoredFormatError(), "The text is not a stored pending session of a version that this package reads."),
    (StoredFormatError("Version 9 is too new."), "Version 9 is too new."),
    (SealError(SealReason.CHANGED), "The sealed text was cut or changed."),
    (SealError(SealReason.NOT_SEALED), "The text is not sealed, or its beginning is missing."),
    (SealError(SealReason.NO_KEYS), "The text is sealed; give `keys=`."),
    (
        SealError(SealReason.UNKNOWN_KEY),
        (
            "The text was sealed with a key that is not among those given, or for another purpose. "
            "Keep an old key behind the new one."
        ),
    ),
    (
        SealError(SealReason.UNKNOWN_VERSION),
        "The text was sealed by a version of this package that this one does not know.",
    ),
    (SealError(SealReason.OTHER_AUDIENCE), "The text was sealed for another audience."),
    (
        SealError(SealReason.OTHER_RECORD, pending_id="ps_2"),
        "The text is the sealed form of another pending session. [pending ps_2]",
    ),
    (
        SealError(SealReason.EXPIRED, pending_id="ps_1"),
        "The sealed text is genuine, but the time to use it is over; start again. [pending ps_1]",
    ),
    (ScanAssumptionError(), "The listing breaks an assumption that a complete scan rests on."),
    (RunFileError(), "The file of an audit's run cannot be used."),
    (IllegalTransitionError(), "The event is not allowed in this state; nothing was changed."),
    (
        LoopMismatchError(),
        "The client is used from an event loop other than its first one. Make one client per event loop.",
    ),
    (JournalError(), "The journal of a bulk action cannot be used; nothing more was sent."),
    (ClientClosedError(), "The client, or the HTTP session it borrowed, is closed. Make a new one."),
    (UndrawableQrError(), "The QR code cannot be drawn. Save its image as a file, or show its text."),
    (WebhookUnauthorizedError(), "The webhook's Authorization header is missing or wrong."),
    (WebhookMalformedError(), "The webhook's body is not an event."),
    (WebhookMalformedError("The webhook's body is larger than 9 bytes."), "The webhook's body is larger than 9 bytes."),
    (
        WebhookMalformedError(problems=["$.data: expected an object", "$.link_id: missing"]),
        "The webhook's body is not an event. [$.data: expected an object, $.link_id: missing]",
    ),
]
BASES = {"BelvoLinksError", "TransportError", "MfaError", "WebhookError"}

ids = [f"{type(error).__name__}-{number}" for number, (error, _) in enumerate(WORDING)]


@pytest.mark.parametrize("error, text", WORDING, ids=ids)
def test_the_wording(error: BelvoLinksError, text: str) -> None:
    """What happened, what to do, the facts in brackets."""
    assert str(error) == text
    assert repr(error) == f"{type(error).__name__}({text!r})"


def test_every_reason_of_a_seal_has_its_wording_here() -> None:
    """None is left to a lookup that fails while an error is shown."""
    assert {error.reason for error, _ in WORDING if isinstance(error, SealError)} == set(SealReason)


def test_every_error_has_its_wording_here() -> None:
    """Bases that are never raised as such excepted."""
    public = {name for name in errors.__all__ if name.endswith("Error")}
    assert {type(error).__name__ for error, _ in WORDING} == public - BASES


@pytest.mark.parametrize("error", [error for error, _ in WORDING], ids=ids)
def test_no_word_from_outside_is_shown(error: BelvoLinksError) -> None:
    """Messages, pending sessions and paths stay in attributes; logging an error is always safe."""
    assert CANARY not in f"{error} {error!r} {error.args}"
    assert "e4bb1afb" not in str(error)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("error", [error for error, _ in WORDING], ids=ids)
def test_a_pickled_error_carries_what_it_says_and_no_more(error: BelvoLinksError, protocol: int) -> None:
    """Task queues pickle errors into their tables."""
    data = pickle.dumps(error, protocol)
    assert CANARY.encode() not in data
    assert b"/api/links/e4bb1afb" not in data
    again = pickle.loads(data)
    assert type(again) is type(error)
    if getattr(error, "pending", None) is None:
        assert str(again) == str(error)
    else:
        assert vars(again)["pending"] is None
        left_behind = " An unconfirmed link was left behind; delete it."  # said of the session, which does not travel
        assert str(again).partition(" [")[0] in str(error).replace(left_behind, "")


def test_what_looks_like_no_name_is_neither_shown_nor_pickled() -> None:
    """A hostile or broken service may put anything into a code, a field or a request id."""
    error = ApiError(
        status=400, code=CANARY, field=CANARY, request_id=CANARY, errors=[ErrorItem(code=CANARY, field=CANARY)]
    )
    assert str(error) == "The service refused the call. [HTTP 400]"
    assert (error.code, error.field, error.request_id) == (CANARY, CANARY, CANARY)
    assert CANARY.encode() not in pickle.dumps(error)
    assert copy.copy(error).code is None


@pytest.mark.parametrize(
    "name, shown",
    [
        ("login_error", True),
        ("credentials[0].username-2", True),
        ("", False),
        ("a b", False),
        ("é", False),
        ("a" * 65, False),
        (None, False),
    ],
)
def test_names_are_shown_when_they_look_like_one(name: str | None, shown: bool) -> None:
    """Short, and made of what identifiers are made of."""
    assert shown_name(name) == (name if shown else None)


def test_fields_are_grouped_as_they_came() -> None:
    """In Belvo's words, by the name of the field."""
    items = [
        ErrorItem(field="a", message="1"),
        ErrorItem(field="a", message="2"),
        ErrorItem(message="3"),
        ErrorItem(field="b"),
    ]
    assert InvalidFieldsError(status=400, errors=items).fields == {"a": ["1", "2"], "": ["3"], "b": [""]}
    assert "1" not in repr(ErrorItem(message="1"))


def test_which_may_succeed_later() -> None:
    """Without anything being changed."""
    refused = [error for error, _ in WORDING if isinstance(error, ApiError)]
    assert {type(error).__name__ for error in refused if error.retryable} == {
        "TooManySessionsError",
        "InstitutionError",
        "RequestTimeoutError",
        "RefreshCooldownError",
        "RateLimitedError",
        "ServerError",
    }
    assert InstitutionError(status=400, code="institution_down").retryable
    assert not InstitutionError(status=400, code="institution_inactive").retryable


def test_a_login_without_a_known_reason_is_unexpected() -> None:
    """And an unknown word is kept."""
    assert LoginError(status=400).reason is LoginReason.UNEXPECTED
    assert LoginError(status=400, reason=LoginReason("new_reason")).reason == "new_reason"


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Every class once, below its parent."""
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").split("\n"):
        names = re.findall(r"\b[A-Z]\w*Error\b", line)
        if not names or not line.startswith("    "):
            continue
        column = line.index(names[0])
        while above and above[-1][0] >= column:
            above.pop()
        parent = above[-1][1] if above else "Exception"
        if ("─ " in line.partition(names[0])[2] and len(names) > 1) or line.count("─ ") > 1:
            # "A 1 · B 2 ─ C": the last of a line stands below the one before it
            *siblings, chief, first = names if names[0] != "WebhookError" else [names[0], names[1]]
            drawn |= dict.fromkeys((*siblings, chief), parent) | {first: chief}
            drawn |= {name: chief for name in names if name not in drawn}
        else:
            drawn |= dict.fromkeys(names, parent)
        above.append((column, names[0]))
    real = {
        name: next(base.__name__ for base in kind.__mro__[1:] if base.__name__ != "PlainError")
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, BelvoLinksError)
    }
    assert drawn == real
