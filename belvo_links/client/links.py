"""The session layer: an async client of Belvo's Links API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import overload

from belvo_links.client import follow
from belvo_links.client.files import with_files
from belvo_links.client.nameless import warn_if_nameless
from belvo_links.client.pending import ChallengeCallback, PendingSession
from belvo_links.client.reads import Reads
from belvo_links.protocol import checks, operations, stored
from belvo_links.protocol.challenge import TokenRequired
from belvo_links.protocol.credentials import Credentials
from belvo_links.protocol.mfa import PendingState
from belvo_links.protocol.models import AccessMode, Link
from belvo_links.protocol.operations import Answer, Resources
from belvo_links.redact import Secret
from belvo_links.transport.call import Budget
from belvo_links.transport.messages import Operation
from belvo_links.wire import ABSENT, JsonValue, MaybeAbsent


class BelvoLinks(Reads):
    """An async client of Belvo's Links API.

    ::

        async with BelvoLinks("secret-id", "secret-password", environment="sandbox") as belvo:
            link = await belvo.get("e4bb1afb-4a4f-4dd6-8be0-e615d233185b")

    The constructor does no IO and needs no event loop. One client serves one event loop and any number of tasks.

    Args:
        secret_id: the API key's id.
        secret_password: the API key's password.
        environment: ``"sandbox"`` or ``"production"``; keys belong to one of them. This or ``base_url``.
        base_url: another address of the service: the simulator, a proxy. https, or http to this machine.
        http_session: an ``aiohttp.ClientSession`` to borrow; it is never closed, and its proxy, tracing and connector
            are respected. One with ``auth`` or middlewares of its own is refused.
        store: where pending sessions live; memory by default.
        retry: how failed calls are repeated, where they may be; ``None`` means one attempt.
        timeouts: limits in seconds for the parts of a call. Every call also takes ``timeout=`` for the whole of it.
        rate_limit: requests and seconds, 80 in 30 by default; or a limiter shared with other clients; ``None`` for no
            limit.
        waiting: how ``wait()`` polls, and how often ``on_challenge`` is asked.
        max_connections: how many requests may be under way at once.
        clock: gives the time as an aware ``datetime``, for deadlines.
        observer: is told of calls, attempts, waits and what becomes of pending sessions.

    Raises:
        ValueError: an argument is missing or makes no sense; it is named.
    """

    @overload
    async def register(
        self,
        institution: str,
        credentials: Credentials,
        *,
        external_id: MaybeAbsent[str | None] = ABSENT,
        access_mode: MaybeAbsent[AccessMode | str | None] = ABSENT,
        fetch_resources: MaybeAbsent[Resources | None] = ABSENT,
        credentials_storage: MaybeAbsent[str | None] = ABSENT,
        stale_in: MaybeAbsent[str | None] = ABSENT,
        correlation: JsonValue = None,
        on_challenge: None = None,
        timeout: float | None = None,
    ) -> Link | PendingSession: ...

    @overload
    async def register(
        self,
        institution: str,
        credentials: Credentials,
        *,
        external_id: MaybeAbsent[str | None] = ABSENT,
        access_mode: MaybeAbsent[AccessMode | str | None] = ABSENT,
        fetch_resources: MaybeAbsent[Resources | None] = ABSENT,
        credentials_storage: MaybeAbsent[str | None] = ABSENT,
        stale_in: MaybeAbsent[str | None] = ABSENT,
        correlation: JsonValue = None,
        on_challenge: ChallengeCallback,
        timeout: float | None = None,
    ) -> Link: ...

    async def register(
        self,
        institution: str,
        credentials: Credentials,
        *,
        external_id: MaybeAbsent[str | None] = ABSENT,
        access_mode: MaybeAbsent[AccessMode | str | None] = ABSENT,
        fetch_resources: MaybeAbsent[Resources | None] = ABSENT,
        credentials_storage: MaybeAbsent[str | None] = ABSENT,
        stale_in: MaybeAbsent[str | None] = ABSENT,
        correlation: JsonValue = None,
        on_challenge: ChallengeCallback | None = None,
        timeout: float | None = None,
    ) -> Link | PendingSession:
        """Register a link: log in at an institution for a person (documentation section 9.2).

        Only what is given is sent; ``None`` is sent as null.

        Args:
            institution: Belvo's name of the institution.
            credentials: what the person typed.
            external_id: your id of the person, 3 to 256 characters, no personal data.
            access_mode: ``single`` or ``recurrent``.
            fetch_resources: what historical updates deliver.
            credentials_storage: ``store``, ``nostore``, or ``1d`` to ``365d``; recurrent links store.
            stale_in: how long data is kept without an update, such as ``90d``.
            correlation: your own JSON value for the pending session, at most 512 bytes: who may continue it.
            on_challenge: answers challenges with a token, or ``None`` for "confirmed elsewhere"; the result is then
                always a link.
            timeout: seconds for the whole call; with ``on_challenge``, for each request but not for the person.

        Returns:
            The link, or a pending session where a second factor is asked for.

        Raises:
            ValueError: a value that the documentation does not allow. Nothing was sent.
            LoginError: the institution refused the credentials; see ``.reason``.
            InvalidFieldsError: the service refused a field.
            ResponseLostError, ServerError, RequestTimeoutError: a link may have been made all the same. Look for it by
                its ``external_id`` before you register again.
            StoreError: the challenge could not be recorded; ``.pending`` has it.
            ChallengeAbandonedError, TooManyRoundsError: the callback did not answer; ``.pending`` is still usable.
        """
        budget = self._begin(timeout)
        correlation = checks.correlation(correlation)
        operation = operations.register(
            institution,
            await with_files(credentials),
            external_id=external_id,
            access_mode=access_mode,
            fetch_resources=fetch_resources,
            credentials_storage=credentials_storage,
            stale_in=stale_in,
        )
        named = isinstance(external_id, str)
        with self._caller.watching(operation.name, operation.request):
            result = await self._caller.perform(operation, budget=budget)
            if isinstance(result, Link):
                warn_if_nameless(result, given=named)
                return result
            pending = await self._logins.begin(
                result,
                operation="register",
                budget=budget,
                correlation=correlation,
                nostore=credentials_storage == "nostore",
                named=named,
            )
        return await self._followed(pending, on_challenge, timeout)

    async def complete(
        self,
        pending_id: str,
        token: str | None = None,
        *,
        round: int | None = None,  # noqa: A002  # the word of the public surface
        save_data: MaybeAbsent[bool] = ABSENT,
        timeout: float | None = None,
    ) -> Link | PendingSession:
        """Submit the answer to a challenge, once (documentation section 9.3).

        Args:
            pending_id: the ``id`` of the pending session.
            token: the one-time code; leave it out where the challenge expects no input.
            round: the round that the person was shown, from the form; a submission for any other sends nothing.
            save_data: as documented.
            timeout: seconds for the whole call.

        Raises:
            PendingNotFoundError: the store has no such pending session.
            WrongAccountError: it was begun with other API keys or at another address.
            MfaError, ApiError, ConnectError, StoreError: as for :meth:`PendingSession.complete`.
        """
        self._begin(timeout)
        checks.text("pending_id", pending_id)
        if round is not None:  # from a form it comes as text, which would pass for a round that is over
            checks.whole_number("round", round)
        secret = None if token is None else Secret(checks.text("token", token))
        return await self._logins.submit(pending_id, secret, round=round, save_data=save_data, timeout=timeout)

    @overload
    async def update(
        self,
        link_id: str,
        credentials: Credentials,
        *,
        correlation: JsonValue = None,
        on_challenge: None = None,
        timeout: float | None = None,
    ) -> Link | PendingSession: ...

    @overload
    async def update(
        self,
        link_id: str,
        credentials: Credentials,
        *,
        correlation: JsonValue = None,
        on_challenge: ChallengeCallback,
        timeout: float | None = None,
    ) -> Link: ...

    async def update(
        self,
        link_id: str,
        credentials: Credentials,
        *,
        correlation: JsonValue = None,
        on_challenge: ChallengeCallback | None = None,
        timeout: float | None = None,
    ) -> Link | PendingSession:
        """Log in with new credentials (documentation section 9.6). The link keeps its id.

        Args:
            link_id: Belvo's id of the link, a UUID.
            credentials: a password at least; no user name, since it cannot change.
            correlation: your own JSON value for the pending session, at most 512 bytes.
            on_challenge: answers challenges; the result is then always a link.
            timeout: seconds for the whole call; with ``on_challenge``, for each request but not for the person.

        Raises:
            ValueError: no password, or a user name. Nothing was sent.
            LoginError: the institution refused the credentials; see ``.reason``.
            MfaError, StoreError: as for :meth:`register`.
        """
        budget = self._begin(timeout)
        correlation = checks.correlation(correlation)
        operation = operations.update(link_id, await with_files(credentials))
        return await self._log_in(operation, link_id, budget, correlation, None, on_challenge, timeout)

    @overload
    async def patch(
        self,
        link_id: str,
        *,
        access_mode: MaybeAbsent[AccessMode | str | None] = ABSENT,
        stale_in: MaybeAbsent[str | None] = ABSENT,
        fetch_resources: MaybeAbsent[Resources | None] = ABSENT,
        correlation: JsonValue = None,
        on_challenge: None = None,
        timeout: float | None = None,
    ) -> Link | PendingSession: ...

    @overload
    async def patch(
        self,
        link_id: str,
        *,
        access_mode: MaybeAbsent[AccessMode | str | None] = ABSENT,
        stale_in: MaybeAbsent[str | None] = ABSENT,
        fetch_resources: MaybeAbsent[Resources | None] = ABSENT,
        correlation: JsonValue = None,
        on_challenge: ChallengeCallback,
        timeout: float | None = None,
    ) -> Link: ...

    async def patch(
        self,
        link_id: str,
        *,
        access_mode: MaybeAbsent[AccessMode | str | None] = ABSENT,
        stale_in: MaybeAbsent[str | None] = ABSENT,
        fetch_resources: MaybeAbsent[Resources | None] = ABSENT,
        correlation: JsonValue = None,
        on_challenge: ChallengeCallback | None = None,
        timeout: float | None = None,
    ) -> Link | PendingSession:
        """Change how a link fetches data (documentation section 9.5). Only what is given is sent.

        Args:
            link_id: Belvo's id of the link, a UUID.
            access_mode: ``single`` or ``recurrent``; a change to ``recurrent`` triggers an update that is billed.
            stale_in: how long data is kept without an update, such as ``90d``.
            fetch_resources: what historical updates deliver.
            correlation: your own JSON value for the pending session, at most 512 bytes.
            on_challenge: answers challenges; the result is then always a link.
            timeout: seconds for the whole call; with ``on_challenge``, for each request but not for the person.

        Raises:
            ValueError: nothing to change, or a value that the documentation does not allow. Nothing was sent.
            MfaError, StoreError: as for :meth:`register`.
        """
        budget = self._begin(timeout)
        correlation = checks.correlation(correlation)
        operation = operations.patch(
            link_id, access_mode=access_mode, stale_in=stale_in, fetch_resources=fetch_resources
        )
        wanted = {"access_mode": access_mode, "stale_in": stale_in, "fetch_resources": fetch_resources}
        requested = {name: _plain(value) for name, value in wanted.items() if value is not ABSENT}
        return await self._log_in(operation, link_id, budget, correlation, requested, on_challenge, timeout)

    async def pending(self, pending_id: str) -> PendingSession:
        """Return a pending session as it is now.

        Args:
            pending_id: its ``id``.

        Raises:
            PendingNotFoundError: the store has none.
            WrongAccountError: it was begun with other API keys or at another address.
            StoreError: the store failed.
        """
        self._begin(None)
        return await self._logins.pending(checks.text("pending_id", pending_id))

    async def iterate_pending(self, state: PendingState | str | None = None) -> AsyncIterator[PendingSession]:
        """Iterate over this account's pending sessions in the store, after a deployment for instance.

        Args:
            state: only those in this state; all by default.

        Raises:
            StoreError: the store failed.
        """
        self._begin(None)
        async for record in self._ledger.iterate(None if state is None else PendingState(state)):
            if self._logins.owns(record):
                yield PendingSession(self._logins, record)

    def restore(self, text: str) -> PendingSession:
        """Return the pending session that :meth:`PendingSession.to_json` wrote. Does no IO.

        Its first use puts its record into the store where that lacks it; a record that the store has settled, or has
        in a later round, stays. Restore only text that comes from a place you trust.

        Raises:
            StoredFormatError: the text is not one, was cut or changed, or is of an unknown version.
        """
        return self._logins.handle(stored.load(text))

    def unseal(self, text: str, keys: Sequence[str], audience: str | None = None) -> PendingSession:
        """Return the pending session that :meth:`PendingSession.seal` sealed. Does no IO; see :meth:`restore`.

        One that awaits an answer is too old at its deadline, others a day later: by then it can only be found out what
        became of them. A copy is as good as the text itself, so single use needs a store that all share.

        Args:
            text: the sealed text; it may come from anywhere, and a missing one is refused like any other.
            keys: one of them has sealed it.
            audience: whom it was sealed for, such as your user's id.

        Raises:
            SealError: ``.reason`` says whether it is no sealed text, was changed, is for another audience, of another
                key or version, or too old; then ``.pending_id`` is the session's.
            ValueError, TypeError: the keys are not keys, or the audience is empty or no text.
            ModuleNotFoundError: the extra ``[seal]`` is not installed.
        """
        from belvo_links.client.sealed import unseal

        return self._logins.handle(unseal(text, keys, audience, now=self._logins.clock()))

    async def _log_in(
        self,
        operation: Operation[Answer],
        link_id: str,
        budget: Budget,
        correlation: JsonValue,
        requested: Mapping[str, JsonValue] | None,
        on_challenge: ChallengeCallback | None,
        timeout: float | None,
    ) -> Link | PendingSession:
        """Run a call that logs in for a link that exists."""
        with self._caller.watching(operation.name, operation.request):
            result = await self._caller.perform(operation, budget=budget)
            if not isinstance(result, TokenRequired):
                return result
            pending = await self._logins.begin(
                result,
                operation=operation.name,
                budget=budget,
                link_id=link_id,
                correlation=correlation,
                requested=requested,
            )
        return await self._followed(pending, on_challenge, timeout)

    async def _followed(
        self, pending: PendingSession, on_challenge: ChallengeCallback | None, timeout: float | None
    ) -> Link | PendingSession:
        if on_challenge is None:
            return pending
        return await follow.answer(self._logins, pending, on_challenge, timeout=timeout)


def _plain(value: object) -> JsonValue:
    """Return what a caller gave as plain JSON: the words, not our enums."""
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    return [str(each) for each in checks.texts("fetch_resources", value)]
