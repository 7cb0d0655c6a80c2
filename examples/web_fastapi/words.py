"""What people are told: our words, never the bank's, and never anything that they have typed.

An address carries the code of a text, never text.
"""

from belvo_links import (
    BadRequestError,
    BelvoLinksError,
    ConnectError,
    InstitutionError,
    InvalidFieldsError,
    LoginError,
    PoolTimeoutError,
    RateLimitedError,
    RefreshCooldownError,
    TooManySessionsError,
)

NOTES = {
    "again": "The bank did not take this answer, or has another question.",
    "not-yet": "The bank has not seen your confirmation yet. Confirm in its app, then try again.",
    "empty": "Please type the answer.",
    "stale": "That answer was for an earlier question, so it was not sent.",
    "asked": "We have asked the bank. This page will show when your account is up to date.",
    "still-unknown": "We still could not find out. Please look again in a minute.",
    "adopted": "We have found your account.",
    "not-found": "We found no new account. Please look again in a minute, before you log in again.",
    "cancelled": "You have cancelled. Nothing is sent to your bank any more.",
}
PROBLEMS = {
    "refused": "The bank did not take this answer. You may try again.",
    "busy": "The bank is busy. Nothing was lost; please try again in a moment.",
    "cooldown": "The bank was asked a few minutes ago. Please try again in ten minutes.",
    "unsure": "We could not tell whether the bank took this. Please look again in a minute.",
    "typed": "Please check what you typed: no user name or password of this bank looks like that.",
    "elsewhere": "You seem to be logged in at the bank elsewhere. Please log out there, then try again.",
    "down": "The bank cannot be reached at the moment. Please try again later.",
    "login": "The bank refused the login.",
    "ours": "Something went wrong on our side. Please try again later.",
    # The reasons of a LoginError:
    "invalid_credentials": "The bank does not know this user name with this password.",
    "missing_credentials": "The bank wants more than was typed.",
    "account_locked": "The bank has locked this account. Please ask the bank to unlock it.",
    "access_forbidden": "The bank does not let us in with this account.",
    "not_attempted": "We did not try this password again, since the bank has refused it before.",
    "mfa_unsupported": "The bank asks for a proof that we cannot handle yet.",
}
STATUSES = {
    "valid": "connected",
    "token_required": "wants you to confirm it",
    "invalid": "wants you to log in",
    "unconfirmed": "not confirmed",
    "deleted": "no longer connected",
}


def what_went_wrong(error: BelvoLinksError | ValueError) -> str:
    """Return the code of what a person is told about a login that was refused."""
    match error:
        case LoginError():
            return str(error.reason) if error.reason in PROBLEMS else "login"
        case InvalidFieldsError() | ValueError():
            return "typed"
        case TooManySessionsError():
            return "elsewhere"
        case InstitutionError():
            return "down"
        case RefreshCooldownError():
            return "cooldown"
        case ConnectError() | PoolTimeoutError() | RateLimitedError():
            return "busy"
        case BadRequestError():
            return "login"
    return "ours"
