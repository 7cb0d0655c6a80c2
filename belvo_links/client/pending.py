"""The handle that a caller holds while a login waits."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Never, TypeAlias

from belvo_links.client import follow
from belvo_links.client.view import View
from belvo_links.errors import NotFoundError
from belvo_links.protocol import operations, stored
from belvo_links.protocol.challenge import Challenge
from belvo_links.protocol.checks import text
from belvo_links.protocol.mfa import PendingRecord, PendingState
from belvo_links.protocol.models import Link
from belvo_links.redact import Secret
from belvo_links.transport.call import Budget
from belvo_links.wire import ABSENT, JsonValue, MaybeAbsent

if TYPE_CHECKING:
    from belvo_links.client.logins import Logins

_ERASED: Final = Challenge(expects_user_input=False)


class PendingSession:
    """A login that waits for a second factor.

    A handle is a snapshot: ``id``, ``round`` and ``challenge`` never change, and ``state`` is what its own calls last
    learned. ``await belvo.pending(id)`` gives the present one.

    Compare :attr:`correlation` with the person who is logged in before you let them continue: the id is not guessable,
    but it is no authorisation.
    """

    __slots__ = ("__weakref__", "_known", "_logins", "_shown", "_unsaved")

    def __init__(self, logins: Logins, record: PendingRecord, *, unsaved: bool = False) -> None:
        self._logins = logins
        self._shown = record
        self._known = record
        self._unsaved = unsaved

    @property
    def id(self) -> str:
        """Ours: the same over all rounds, safe in a URL or a cookie."""
        return self._shown.id

    @property
    def link_id(self) -> str:
        """The link it is about; unconfirmed, where the operation is ``register``."""
        return self._shown.link_id

    @property
    def operation(self) -> str:
        """The call that met the challenge: ``register``, ``update``, ``patch``, ``get``, ``delete``, ``refresh``."""
        return self._shown.operation

    @property
    def challenge(self) -> Challenge:
        """What the institution asks for; an empty one where the record was settled before this handle was made."""
        return self._shown.challenge or _ERASED

    @property
    def round(self) -> int:
        """Which challenge of this login it is, from 1."""
        return self._shown.round

    @property
    def state(self) -> PendingState:
        """Where it stands, as far as this handle's own calls have learned."""
        return self._known.state

    @property
    def created_at(self) -> datetime:
        """When the first challenge came, aware UTC."""
        return self._shown.created_at

    @property
    def expires_at(self) -> datetime:
        """Until when this round can be answered, aware UTC."""
        return self._shown.expires_at

    @property
    def seconds_left(self) -> float:
        """How long this round can still be answered, in seconds, at least 0."""
        return max(0.0, (self.expires_at - self._logins.clock()).total_seconds())

    @property
    def correlation(self) -> JsonValue:
        """The caller's own JSON value, as given to the call that met the challenge."""
        return self._shown.correlation

    @property
    def request_ids(self) -> tuple[str, ...]:
        """Belvo's request ids of every reply so far, for its support."""
        return self._known.request_ids

    @property
    def record(self) -> PendingRecord:
        """The frozen record behind it, as far as this handle's own calls have learned: what a store keeps."""
        return self._known

    @property
    def unsaved(self) -> bool:
        """Whether the store may not know it yet: restored from text, or it could not be recorded."""
        return self._unsaved

    async def complete(
        self,
        token: str | None = None,
        *,
        save_data: MaybeAbsent[bool] = ABSENT,
        timeout: float | None = None,
    ) -> Link | PendingSession:
        """Submit the answer to this round's challenge, once.

        Args:
            token: the one-time code; leave it out where the challenge expects no input.
            save_data: as documented in section 9.3.
            timeout: seconds for the whole call.

        Returns:
            The link, or the next round's pending session (same ``id``) when the institution asks again.

        Raises:
            SessionExpiredError: it is too late.
            AlreadyClaimedError: another submission has this round, or the round has passed. Nothing was sent.
            AlreadySettledError: it is linked, failed or cancelled. Nothing was sent.
            IndeterminateOutcomeError: it was sent, and the outcome is not known. It is never sent again.
            ConnectError: nothing was sent; the token may still be used.
            ApiError: the service refused; ``state`` says whether this round may be answered again.
            StoreError: the claim could not be recorded. Nothing was sent.
        """
        secret = None if token is None else Secret(text("token", token))
        return await self._logins.submit(
            self.id, secret, round=self.round, save_data=save_data, timeout=timeout, view=self._view()
        )

    async def wait(self, *, timeout: float | None = None) -> Link | PendingSession:
        """Wait until the person has confirmed elsewhere, by completing without a token again and again.

        For challenges that expect no input. Intervals grow and are jittered (``waiting`` of the client), and nothing is
        sent past the deadline. How the service answers an early Complete is not documented: in a page, offer "I have
        confirmed" instead.

        Args:
            timeout: seconds after which no further submission begins; none under way is cut.

        Returns:
            The link; or the pending session, when a later challenge does expect input, or the timeout has passed.

        Raises:
            ValueError: the challenge expects input.
            MfaError, ApiError: any definite answer but success.
        """
        if self.challenge.expects_user_input:
            msg = "wait: this challenge expects input; collect it and call complete(token)"
            raise ValueError(msg)
        return await follow.wait(self._logins, self._shown, timeout=timeout, view=self._view())

    async def reconcile(self, *, timeout: float | None = None) -> Link | PendingSession:
        """Ask Belvo for the link after a lost reply, and settle where that proves something. Sends no token.

        Args:
            timeout: seconds for the whole call.

        Returns:
            The link where it proves success; the pending session where it awaits an answer (again).

        Raises:
            IndeterminateOutcomeError: it proves nothing yet.
            SessionExpiredError: the link was never confirmed, and the time is over.
            AlreadySettledError: it is linked, failed or cancelled already, or is found to have failed.
        """
        return await self._logins.reconcile(self.id, timeout=timeout, view=self._view())

    async def cancel(self, *, delete_link: bool = False, timeout: float | None = None) -> None:
        """Give up. Nothing is sent, unless the link is to be deleted.

        Args:
            delete_link: also delete the unconfirmed link that a registration leaves behind.
            timeout: seconds for the deletion.

        Raises:
            ValueError: ``delete_link`` for another operation than ``register``: that link was there before.
            MfaError: it is no longer awaiting an answer.
            MfaRequiredError: the deletion asks for a second factor; complete ``.pending``, then delete the link.
        """
        if delete_link and self.operation != "register":
            msg = "delete_link: only a registration leaves a link behind; this one was there before"
            raise ValueError(msg)
        await self._logins.cancel(self.id, view=self._view())
        if delete_link:
            deletion = operations.delete(self.link_id, mode="async")
            with contextlib.suppress(NotFoundError):  # gone already
                await self._logins.without_challenge(deletion, self.link_id, Budget(timeout))

    def to_json(self) -> str:
        """Return it as JSON text, for a place of your own: versioned, without loss, no credential, no token.

        The text holds Belvo's session, so keep it as secret as a password. ``belvo.restore(text)`` reads it.
        """
        return stored.dump(self._known)

    def seal(self, keys: Sequence[str], audience: str | None = None) -> str:
        """Return it as encrypted text that nobody without a key can read or change: compact enough for a cookie.

        Without the data of a QR code, and with the latest request ids only: about 600 characters as a rule, under
        1.5 KB with the longest correlation and instructions of 200 characters. Single use is not in the text: it comes
        from the store that all who unseal it share. ``belvo.unseal(text, keys, audience)`` reads it.

        Args:
            keys: 32 bytes each as url-safe base64; the first encrypts (``new_key()`` of ``belvo_links.stores``).
            audience: whom it is for, such as your user's id; who unseals it must name the same.

        Raises:
            ValueError, TypeError: the keys are not keys, or the audience is empty or no text.
            ValueError: the texts of the challenge are so long that nothing would unseal them (64 KiB).
            ModuleNotFoundError: the extra ``[seal]`` is not installed.
        """
        from belvo_links.client.sealed import seal

        return seal(self._known, keys, audience)

    def __repr__(self) -> str:
        return (
            f"<PendingSession {self.id} {self.operation} round {self.round} {self.state},"
            f" {self.challenge.action} until {self.expires_at:%Y-%m-%dT%H:%M:%SZ}>"
        )

    def __reduce_ex__(self, protocol: object) -> Never:
        """Refuse: it belongs to its client. ``to_json`` and ``restore`` carry it elsewhere."""
        msg = "a PendingSession cannot be pickled; use to_json() and restore()"
        raise TypeError(msg)

    def _view(self) -> View:
        return View(brought=self._known if self._unsaved else None, note=self._take_note)

    def _take_note(self, record: PendingRecord) -> None:
        self._known = record
        self._unsaved = False


ChallengeCallback: TypeAlias = Callable[[PendingSession], Awaitable[str | None]]
"""Answers a challenge with a token, or with ``None`` once the person has confirmed elsewhere."""
