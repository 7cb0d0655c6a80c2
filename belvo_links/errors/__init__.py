"""Everything this package raises on purpose, under one root.

::

    BelvoLinksError
    ├─ TransportError                     no usable answer
    │  ├─ ConnectError                    nothing was sent
    │  ├─ PoolTimeoutError                no connection or limiter slot became free; nothing was sent
    │  └─ ResponseLostError               sent, but the reply timed out, broke off or was cut
    ├─ UnexpectedResponseError            the reply does not parse, or its status is none of ours
    ├─ ApiError                           the service refused
    │  ├─ BadRequestError 400
    │  │  ├─ InvalidFieldsError · LoginError · TooManySessionsError
    │  │  ├─ InvalidLinkError · UnconfirmedLinkError · UnsupportedOperationError
    │  │  └─ InstitutionError
    │  ├─ AuthenticationError 401 · PermissionDeniedError 403 · NotFoundError 404 · RequestTimeoutError 408
    │  ├─ ConflictError 409 ─ RefreshCooldownError
    │  ├─ RateLimitedError 429
    │  └─ ServerError 5xx
    ├─ MfaError                           what a page that takes tokens handles
    │  ├─ MfaRequiredError · SessionExpiredError · IndeterminateOutcomeError
    │  ├─ AlreadyClaimedError · AlreadySettledError · PendingNotFoundError · WrongAccountError
    │  ├─ TooManyRoundsError · ChallengeAbandonedError
    │  └─ MalformedChallengeError
    ├─ StoreError                         the store is unreachable, full or refuses
    ├─ StoredFormatError · SealError      text that is not ours, changed, too old, of another version, key or audience
    ├─ ScanAssumptionError · IllegalTransitionError · LoopMismatchError · ClientClosedError
    ├─ JournalError                       the journal of a bulk action is another's, in use or cannot be written
    ├─ RunFileError                       the file of an audit's run is another's, in use, ended or cannot be written
    ├─ UndrawableQrError                  a QR code that cannot be drawn here
    └─ WebhookError ─ WebhookUnauthorizedError · WebhookMalformedError

An error carries facts in attributes and words them in ``str()``: what happened, what to do, the request id. Values that
a user or a bank supplied are never part of ``str()`` or ``repr()``. A pickled error carries what ``str()`` shows and
leaves the rest behind (:attr:`BelvoLinksError.unpickled`).
"""

from belvo_links.errors.api import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ErrorItem,
    InstitutionError,
    InvalidFieldsError,
    InvalidLinkError,
    LoginError,
    LoginReason,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RefreshCooldownError,
    RequestTimeoutError,
    ServerError,
    TooManySessionsError,
    UnconfirmedLinkError,
    UnsupportedOperationError,
)
from belvo_links.errors.mfa import (
    AlreadyClaimedError,
    AlreadySettledError,
    ChallengeAbandonedError,
    IndeterminateOutcomeError,
    MalformedChallengeError,
    MfaError,
    MfaRequiredError,
    PendingNotFoundError,
    SessionExpiredError,
    StoreError,
    TooManyRoundsError,
    WrongAccountError,
)
from belvo_links.errors.root import BelvoLinksError
from belvo_links.errors.transport import (
    ConnectError,
    PoolTimeoutError,
    ResponseLostError,
    TransportError,
    UnexpectedResponseError,
)
from belvo_links.errors.usage import (
    ClientClosedError,
    IllegalTransitionError,
    JournalError,
    LoopMismatchError,
    RunFileError,
    ScanAssumptionError,
    SealError,
    SealReason,
    StoredFormatError,
    UndrawableQrError,
    WebhookError,
    WebhookMalformedError,
    WebhookUnauthorizedError,
)

__all__ = [
    "AlreadyClaimedError",
    "AlreadySettledError",
    "ApiError",
    "AuthenticationError",
    "BadRequestError",
    "BelvoLinksError",
    "ChallengeAbandonedError",
    "ClientClosedError",
    "ConflictError",
    "ConnectError",
    "ErrorItem",
    "IllegalTransitionError",
    "IndeterminateOutcomeError",
    "InstitutionError",
    "InvalidFieldsError",
    "InvalidLinkError",
    "JournalError",
    "LoginError",
    "LoginReason",
    "LoopMismatchError",
    "MalformedChallengeError",
    "MfaError",
    "MfaRequiredError",
    "NotFoundError",
    "PendingNotFoundError",
    "PermissionDeniedError",
    "PoolTimeoutError",
    "RateLimitedError",
    "RefreshCooldownError",
    "RequestTimeoutError",
    "ResponseLostError",
    "RunFileError",
    "ScanAssumptionError",
    "SealError",
    "SealReason",
    "ServerError",
    "SessionExpiredError",
    "StoreError",
    "StoredFormatError",
    "TooManyRoundsError",
    "TooManySessionsError",
    "TransportError",
    "UnconfirmedLinkError",
    "UndrawableQrError",
    "UnexpectedResponseError",
    "UnsupportedOperationError",
    "WebhookError",
    "WebhookMalformedError",
    "WebhookUnauthorizedError",
    "WrongAccountError",
]
