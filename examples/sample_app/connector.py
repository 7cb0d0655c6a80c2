"""An application's service that connects a person's bank account: what stands below the pages of a web framework.

What is pending lives in the store of the client. The tests, in `test_connector.py`, need no bank.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Literal

from belvo_links import (
    AlreadyClaimedError,
    AlreadySettledError,
    ApiError,
    BelvoLinks,
    Credentials,
    IndeterminateOutcomeError,
    InvalidFieldsError,
    Link,
    LoginError,
    PendingNotFoundError,
    PendingSession,
    ResponseLostError,
    SessionExpiredError,
)

State = Literal["linked", "asked", "confirm", "refused", "expired", "checking", "unknown"]


@dataclass(frozen=True)
class Page:
    """What is shown next: a question, a request to confirm elsewhere, or how it ended."""

    state: State
    message: str = ""
    pending_id: str = ""
    round: int = 0
    value: str | bytes | None = None  # a number to show, the image of a QR code


CHECKING = Page("checking", "We are asking the bank. Please look again in a minute.")
EXPIRED = Page("expired", "It is too late. Please begin again.")
REFUSED = Page("refused", "The login has ended.")
UNKNOWN = Page("unknown", "There is no such login.")


class Connector:
    """Connects accounts; a user is the id that a person has in this application."""

    def __init__(self, belvo: BelvoLinks) -> None:
        self._belvo = belvo
        self.links: dict[str, str] = {}  # the link of each user; an application has a table for that

    async def start(self, user: str, institution: str, credentials: Credentials) -> Page:
        """Log in at the bank."""
        try:
            outcome = await self._belvo.register(institution, credentials, external_id=user, correlation=user)
            return self._page(user, outcome)
        except LoginError as error:
            return Page("refused", f"The bank refused the login: {error.reason}.")
        except InvalidFieldsError:
            return Page("refused", "No user name or password of this bank looks like that.")
        except ResponseLostError:
            return CHECKING

    async def answer(self, user: str, pending_id: str, number: int, token: str | None = None) -> Page:
        """Answer the challenge of a round; without a token: "I have confirmed"."""
        try:
            if await self._mine(user, pending_id) is None:
                return UNKNOWN
            return await self._outcome(user, self._belvo.complete(pending_id, token, round=number))
        except LoginError as error:
            return Page("refused", f"The bank refused the login: {error.reason}.")
        except (AlreadyClaimedError, ApiError):
            return await self.status(user, pending_id)  # a second click, an old form, a bank that is busy

    async def status(self, user: str, pending_id: str) -> Page:
        """Show where a login stands; where that is not known, ask Belvo. No token is sent again."""
        if (pending := await self._mine(user, pending_id)) is None:
            return UNKNOWN
        match pending.state:
            case "linked":
                return self._linked(user, pending.link_id)
            case "awaiting" if pending.seconds_left > 0:
                return self._page(user, pending)
            case "indeterminate":
                return await self._outcome(user, pending.reconcile())
            case "failed" | "cancelled":
                return REFUSED
        return CHECKING if pending.state == "submitting" else EXPIRED

    async def _mine(self, user: str, pending_id: str) -> PendingSession | None:
        """Load a pending session if it is this user's: its id alone authorises nobody."""
        try:
            pending = await self._belvo.pending(pending_id)
        except PendingNotFoundError:
            return None
        return pending if pending.correlation == user else None

    async def _outcome(self, user: str, call: Awaitable[Link | PendingSession]) -> Page:
        try:
            return self._page(user, await call)
        except SessionExpiredError:
            return EXPIRED
        except IndeterminateOutcomeError:
            return CHECKING
        except AlreadySettledError as error:
            return self._linked(user, error.link_id) if error.state == "linked" else REFUSED

    def _page(self, user: str, outcome: Link | PendingSession) -> Page:
        if isinstance(outcome, Link):
            return self._linked(user, outcome.id)
        asked = outcome.challenge
        value = (asked.qr.image or asked.qr.text) if asked.qr else asked.value
        state: State = "asked" if asked.expects_user_input else "confirm"
        return Page(state, asked.instructions or "", outcome.id, outcome.round, value)

    def _linked(self, user: str, link_id: str) -> Page:
        self.links[user] = link_id
        return Page("linked", "Your account is connected.")
