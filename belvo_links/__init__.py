"""The async client for Belvo's Links API that finishes logins with a second factor.

The public names are resolved on first use, so that ``import belvo_links`` loads no HTTP library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from belvo_links.version import __version__ as __version__

if TYPE_CHECKING:
    from belvo_links.client.links import BelvoLinks
    from belvo_links.client.nameless import ExternalIdDroppedWarning
    from belvo_links.client.pages import LinkIterator
    from belvo_links.client.pending import ChallengeCallback, PendingSession
    from belvo_links.client.scan import LinkScan, ScanPage
    from belvo_links.client.settings import ClientOptions, Environment, Waiting
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
        MfaError,
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
        TransportError,
        UnconfirmedLinkError,
        UndrawableQrError,
        UnexpectedResponseError,
        UnsupportedOperationError,
        WebhookError,
        WebhookMalformedError,
        WebhookUnauthorizedError,
        WrongAccountError,
    )
    from belvo_links.protocol.challenge import Challenge, ChallengeAction, ChallengeKind
    from belvo_links.protocol.credentials import Credentials
    from belvo_links.protocol.filters import LinkFilter
    from belvo_links.protocol.mfa import PendingRecord, PendingState
    from belvo_links.protocol.models import (
        Accepted,
        AccessMode,
        Extra,
        Link,
        LinkPage,
        LinkStatus,
        PartialPage,
        RefreshRate,
        Resource,
        UnreadableLink,
    )
    from belvo_links.protocol.qr import QrCode
    from belvo_links.protocol.windows import ScanWindow
    from belvo_links.redact import Secret
    from belvo_links.stores.base import PendingStore
    from belvo_links.stores.memory import MemoryStore
    from belvo_links.transport.base import Limiter
    from belvo_links.transport.limit import RateLimit
    from belvo_links.transport.limiter import LocalLimiter
    from belvo_links.transport.messages import Lane
    from belvo_links.transport.observe import Observer
    from belvo_links.transport.retry import RetryPolicy
    from belvo_links.transport.timeouts import Timeouts
    from belvo_links.wire import ABSENT, Absent, JsonValue, MaybeAbsent


__all__ = [
    "ABSENT",
    "Absent",
    "Accepted",
    "AccessMode",
    "AlreadyClaimedError",
    "AlreadySettledError",
    "ApiError",
    "AuthenticationError",
    "BadRequestError",
    "BelvoLinks",
    "BelvoLinksError",
    "Challenge",
    "ChallengeAbandonedError",
    "ChallengeAction",
    "ChallengeCallback",
    "ChallengeKind",
    "ClientClosedError",
    "ClientOptions",
    "ConflictError",
    "ConnectError",
    "Credentials",
    "Environment",
    "ErrorItem",
    "ExternalIdDroppedWarning",
    "Extra",
    "IllegalTransitionError",
    "IndeterminateOutcomeError",
    "InstitutionError",
    "InvalidFieldsError",
    "InvalidLinkError",
    "JournalError",
    "JsonValue",
    "Lane",
    "Limiter",
    "Link",
    "LinkFilter",
    "LinkIterator",
    "LinkPage",
    "LinkScan",
    "LinkStatus",
    "LocalLimiter",
    "LoginError",
    "LoginReason",
    "LoopMismatchError",
    "MalformedChallengeError",
    "MaybeAbsent",
    "MemoryStore",
    "MfaError",
    "MfaRequiredError",
    "NotFoundError",
    "Observer",
    "PartialPage",
    "PendingNotFoundError",
    "PendingRecord",
    "PendingSession",
    "PendingState",
    "PendingStore",
    "PermissionDeniedError",
    "PoolTimeoutError",
    "QrCode",
    "RateLimit",
    "RateLimitedError",
    "RefreshCooldownError",
    "RefreshRate",
    "RequestTimeoutError",
    "Resource",
    "ResponseLostError",
    "RetryPolicy",
    "RunFileError",
    "ScanAssumptionError",
    "ScanPage",
    "ScanWindow",
    "SealError",
    "SealReason",
    "Secret",
    "ServerError",
    "SessionExpiredError",
    "StoreError",
    "StoredFormatError",
    "Timeouts",
    "TooManyRoundsError",
    "TooManySessionsError",
    "TransportError",
    "UnconfirmedLinkError",
    "UndrawableQrError",
    "UnexpectedResponseError",
    "UnreadableLink",
    "UnsupportedOperationError",
    "Waiting",
    "WebhookError",
    "WebhookMalformedError",
    "WebhookUnauthorizedError",
    "WrongAccountError",
]

_NAMES = {
    "belvo_links.client.links": "BelvoLinks",
    "belvo_links.client.nameless": "ExternalIdDroppedWarning",
    "belvo_links.client.pages": "LinkIterator",
    "belvo_links.client.scan": "LinkScan ScanPage",
    "belvo_links.client.pending": "ChallengeCallback PendingSession",
    "belvo_links.client.settings": "ClientOptions Environment Waiting",
    "belvo_links.errors": (
        "AlreadyClaimedError AlreadySettledError ApiError AuthenticationError "
        "BadRequestError BelvoLinksError ChallengeAbandonedError ClientClosedError "
        "ConflictError ConnectError ErrorItem IllegalTransitionError "
        "IndeterminateOutcomeError InstitutionError InvalidFieldsError InvalidLinkError "
        "JournalError LoginError LoginReason LoopMismatchError MalformedChallengeError "
        "MfaError MfaRequiredError NotFoundError PendingNotFoundError "
        "PermissionDeniedError PoolTimeoutError RateLimitedError RefreshCooldownError "
        "RequestTimeoutError ResponseLostError RunFileError ScanAssumptionError SealError SealReason "
        "ServerError SessionExpiredError StoreError StoredFormatError "
        "TooManyRoundsError TooManySessionsError TransportError UnconfirmedLinkError "
        "UndrawableQrError UnexpectedResponseError UnsupportedOperationError WebhookError "
        "WebhookMalformedError WebhookUnauthorizedError WrongAccountError "
    ),
    "belvo_links.protocol.challenge": "Challenge ChallengeAction ChallengeKind",
    "belvo_links.protocol.credentials": "Credentials",
    "belvo_links.protocol.filters": "LinkFilter",
    "belvo_links.protocol.mfa": "PendingRecord PendingState",
    "belvo_links.protocol.models": (
        "Accepted AccessMode Extra Link LinkPage LinkStatus PartialPage RefreshRate Resource UnreadableLink "
    ),
    "belvo_links.protocol.qr": "QrCode",
    "belvo_links.protocol.windows": "ScanWindow",
    "belvo_links.redact": "Secret",
    "belvo_links.stores.base": "PendingStore",
    "belvo_links.stores.memory": "MemoryStore",
    "belvo_links.transport.base": "Limiter",
    "belvo_links.transport.limit": "RateLimit",
    "belvo_links.transport.limiter": "LocalLimiter",
    "belvo_links.transport.messages": "Lane",
    "belvo_links.transport.observe": "Observer",
    "belvo_links.transport.retry": "RetryPolicy",
    "belvo_links.transport.timeouts": "Timeouts",
    "belvo_links.wire": "ABSENT Absent JsonValue MaybeAbsent",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Resolve a public name on first use."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, resolved or not."""
    return [*__all__, "__version__"]
