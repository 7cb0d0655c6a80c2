"""What a page that takes tokens handles, and a store that fails it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from belvo_links.errors.root import BelvoLinksError, request_id_fact

if TYPE_CHECKING:
    from belvo_links.client.pending import PendingSession


class MfaError(BelvoLinksError):
    """What a page that takes tokens handles.

    Attributes:
        pending: the pending session, a :class:`~belvo_links.PendingSession`, or ``None`` where there is none.
    """

    unpickled: ClassVar[Mapping[str, object]] = {"pending": None}

    def __init__(self, *, pending: PendingSession | None = None, request_id: str | None = None) -> None:
        super().__init__()
        self.pending = pending
        self.request_id = request_id

    def details(self) -> Sequence[str]:
        """Return our id of the pending session, its round, and the request id."""
        ours = [f"pending {self.pending.id}", f"round {self.pending.round}"] if self.pending else []
        return [*ours, *request_id_fact(self.request_id)]


class MfaRequiredError(MfaError):
    """The institution asks for a second factor in a call that has no other way to say so."""

    advice = "Complete `.pending`, then make the call again."


class SessionExpiredError(MfaError):
    """The time to answer the challenge is over."""

    advice = "Start again."

    def describe(self) -> str:
        """Say that it is over and, for a registration, that an unconfirmed link was left behind."""
        left_behind = self.pending is not None and self.pending.operation == "register"
        return f"{super().describe()}{' An unconfirmed link was left behind; delete it.' if left_behind else ''}"


class IndeterminateOutcomeError(MfaError):
    """The submission was sent, but its outcome is not known."""

    advice = "Its token is never sent again; call `pending.reconcile()` later, or look at the link."


class AlreadyClaimedError(MfaError):
    """Another submission has this round, or the round has passed; nothing was sent."""

    advice = "Load the pending session again and show its present challenge."


class AlreadySettledError(MfaError):
    """The pending session is settled; nothing was sent.

    Attributes:
        state: how it ended: ``linked``, ``failed`` or ``cancelled``.
        link_id: the link it was about.
    """

    def __init__(
        self,
        *,
        pending: PendingSession | None = None,
        state: str,
        link_id: str,
        request_id: str | None = None,
    ) -> None:
        super().__init__(pending=pending, request_id=request_id)
        self.state = state
        self.link_id = link_id

    def details(self) -> Sequence[str]:
        """Return how it ended, before everything else."""
        return [f"state {self.state}", *super().details()]


class PendingNotFoundError(MfaError):
    """The store has no such pending session."""

    advice = "It was never here, or was purged after its end."


class WrongAccountError(MfaError):
    """The pending session was begun with other API keys or at another address; nothing was sent."""

    advice = "Use a client with the keys and environment that began it."


class TooManyRoundsError(MfaError):
    """The institution asked more often than `waiting.max_rounds` allows."""

    advice = "The pending session is still usable: `.pending.complete(token)`."


class ChallengeAbandonedError(MfaError):
    """The `on_challenge` callback gave no answer."""

    advice = "The pending session is still usable: `.pending.complete(token)`."


class MalformedChallengeError(MfaError):
    """A 428 lacks what is needed to continue.

    Attributes:
        problems: where the reply is wrong, as paths with a reason and never a value.
    """

    advice = "Begin again; if it persists, report the request id."

    def __init__(
        self,
        *,
        problems: Sequence[str] = (),
        pending: PendingSession | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(pending=pending, request_id=request_id)
        self.problems = tuple(problems)

    def details(self) -> Sequence[str]:
        """Return the paths, before everything else."""
        return [*self.problems[:5], *super().details()]


class StoreError(BelvoLinksError):
    """The store of pending sessions is unreachable, full or refuses.

    Attributes:
        pending: a fresh pending session that could not be saved, or ``None``. It is usable: its first use saves it.
        reason: a short word for the cause, such as the class name of the store's own error.
    """

    unpickled: ClassVar[Mapping[str, object]] = {"pending": None}
    advice = "No token was sent without a recorded claim. Mend the store, then go on with `.pending` if there is one."

    def __init__(self, *, reason: str = "", pending: PendingSession | None = None) -> None:
        super().__init__()
        self.reason = reason
        self.pending = pending

    def details(self) -> Sequence[str]:
        """Return the cause and our id of the pending session."""
        facts = [f"cause {self.reason}"] if self.reason else []
        return [*facts, f"pending {self.pending.id}"] if self.pending else facts
