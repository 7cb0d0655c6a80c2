"""What is to be done with many links, before anything is done: checked, counted, timed and said in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from belvo_links.audit.outcomes import Kind, LinkResult
from belvo_links.protocol import checks, operations
from belvo_links.protocol.models import AccessMode
from belvo_links.protocol.operations import Resources
from belvo_links.transport.limit import RateLimit
from belvo_links.transport.messages import Lane, Operation
from belvo_links.wire import ABSENT, JsonValue, MaybeAbsent, encode_json

if TYPE_CHECKING:
    import os

    from belvo_links.audit.actions import RunSummary
    from belvo_links.audit.journal import Journal
    from belvo_links.client.links import BelvoLinks

REQUESTS: Final = RateLimit(80, 30)
"""What Belvo asked for (documentation section 13)."""

SYNC_DELETIONS: Final = RateLimit(5, 60)
"""Synchronous deletions of an account (documentation section 13)."""

CONCURRENCY: Final = 8

_ANY_LINK: Final = "00000000-0000-0000-0000-000000000000"


@attrs.frozen(kw_only=True)
class Plan:
    """One call for each of many links, not yet made; :func:`plan_refresh` and the others make one.

    Attributes:
        kind: ``refresh``, ``delete`` or ``patch``.
        ids: the links, each once, in the order in which they were given.
        arguments: what every call is made with, as JSON.
        rate_limit: the limit of all requests, of which bulk work uses three quarters.
        sync_deletions: the limit of synchronous deletions.
    """

    kind: Kind
    ids: tuple[str, ...] = attrs.field(repr=False)
    arguments: Mapping[str, JsonValue]
    rate_limit: RateLimit = REQUESTS
    sync_deletions: RateLimit = SYNC_DELETIONS

    @property
    def deletes_in_sync(self) -> bool:
        """Whether the calls are synchronous deletions, which have a limit of their own."""
        return self.kind is Kind.DELETE and self.arguments["mode"] == "sync"

    @property
    def duration(self) -> timedelta:
        """How long the calls take at least, under the limits and with nothing else going on."""
        seconds = _least(len(self.ids), self.rate_limit.allowance(Lane.BULK), self.rate_limit.seconds)
        if self.deletes_in_sync:
            seconds = max(seconds, _least(len(self.ids), self.sync_deletions.requests, self.sync_deletions.seconds))
        return timedelta(seconds=seconds)

    def describe(self) -> str:
        """Say in a few lines what will be done, how long it takes at least and what may be billed."""
        return "\n".join([_what(self), _how_long(self), *_NOTES[self.kind](self)])

    def operation(self, link_id: str) -> Operation[Any]:
        """Return the call for one link."""
        match self.kind:
            case Kind.DELETE:
                return operations.delete(link_id, **self._keywords)
            case Kind.REFRESH:
                return operations.refresh(link_id, **self._keywords)
            case _:
                return operations.patch(link_id, **self._keywords)

    @property
    def _keywords(self) -> dict[str, Any]:
        return dict(self.arguments)

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """What a journal of this plan is recognised by, beside the account."""
        return {"kind": str(self.kind), "arguments": encode_json(dict(sorted(self.arguments.items()))).decode()}

    async def run(
        self,
        belvo: BelvoLinks,
        *,
        journal: str | os.PathLike[str] | Journal,
        dry_run: bool = True,
        concurrency: int = CONCURRENCY,
        on_result: Callable[[LinkResult], None] | None = None,
    ) -> RunSummary:
        """Carry the plan out, or say what would be done: a dry run, which is the default, sends nothing.

        Every call is written into the journal before it is sent and when it has ended. Run again with the same
        journal, a plan goes on where it was interrupted: what is done is not repeated, and what was under way then is
        of unknown outcome. Of that, deletions are made again, refreshes and patches are not. One link's failure is
        that link's result. The run ends early only if ten calls in a row say that none can succeed.

        Args:
            belvo: the client; its calls are let in after those that somebody waits for.
            journal: a file that is made readable by its owner alone (0600), or a :class:`Journal`; one for each plan.
            dry_run: ``False`` to carry it out.
            concurrency: calls at once.
            on_result: told of each result as it comes, in the event loop: keep it short.

        Returns:
            Counts, and the results to iterate over.

        Raises:
            JournalError: the journal is another plan's or account's, is in use, or cannot be written.
            AuthenticationError, ConnectError, PoolTimeoutError, RateLimitedError: ten calls in a row ended so. What was
                not done is done when the plan is run again.
        """
        from belvo_links.audit.actions import carry_out  # effects, which a plan has none of until it is carried out

        return await carry_out(
            self, belvo, journal=journal, dry_run=dry_run, concurrency=concurrency, on_result=on_result
        )


def plan_refresh(
    ids: Iterable[str], fetch_resources: Resources | None = None, *, rate_limit: RateLimit = REQUESTS
) -> Plan:
    """Plan to fetch the data of many links anew (documentation section 9.8).

    Args:
        ids: Belvo's ids of the links, UUIDs; duplicates count once. 100,000 are checked in about a tenth of a second.
        fetch_resources: what to fetch; everything that each institution supports by default.
        rate_limit: the limit to estimate the duration with; the client's own is what holds.

    Raises:
        ValueError: one of the ids is no UUID, or a resource is empty.
        TypeError: the ids are not an iterable of texts.
    """
    operations.refresh(_ANY_LINK, fetch_resources)  # raises for what cannot be sent
    given: dict[str, JsonValue] = {} if fetch_resources is None else {"fetch_resources": _words(fetch_resources)}
    return _plan(Kind.REFRESH, ids, given, rate_limit=rate_limit)


def plan_delete(
    ids: Iterable[str],
    *,
    mode: Literal["async", "sync"] = "async",
    rate_limit: RateLimit = REQUESTS,
    sync_deletions: RateLimit = SYNC_DELETIONS,
) -> Plan:
    """Plan to delete many links and all their data, for good (documentation section 9.7).

    Args:
        ids: Belvo's ids of the links, UUIDs; duplicates count once.
        mode: ``"async"`` where Belvo accepts each deletion and finishes it later; ``"sync"`` where it is done when the
            call returns, at most 5 a minute.
        rate_limit: the limit to estimate the duration with; the client's own is what holds.
        sync_deletions: how many synchronous deletions Belvo allows the account; the run keeps to it by itself.

    Raises:
        ValueError: one of the ids is no UUID, or there is no such mode.
        TypeError: the ids are not an iterable of texts.
    """
    operations.delete(_ANY_LINK, mode=mode)
    return _plan(Kind.DELETE, ids, {"mode": mode}, rate_limit=rate_limit, sync_deletions=sync_deletions)


def plan_patch(
    ids: Iterable[str],
    *,
    access_mode: MaybeAbsent[AccessMode | str | None] = ABSENT,
    stale_in: MaybeAbsent[str | None] = ABSENT,
    fetch_resources: MaybeAbsent[Resources | None] = ABSENT,
    rate_limit: RateLimit = REQUESTS,
) -> Plan:
    """Plan to change how many links fetch data (documentation section 9.5). Only what is given is sent.

    Args:
        ids: Belvo's ids of the links, UUIDs; duplicates count once.
        access_mode: ``single`` or ``recurrent``; a change to ``recurrent`` triggers an update that is billed.
        stale_in: how long data is kept without an update, such as ``90d``.
        fetch_resources: what historical updates deliver.
        rate_limit: the limit to estimate the duration with; the client's own is what holds.

    Raises:
        ValueError: one of the ids is no UUID, nothing to change, or a value that the documentation does not allow.
        TypeError: the ids are not an iterable of texts.
    """
    operations.patch(_ANY_LINK, access_mode=access_mode, stale_in=stale_in, fetch_resources=fetch_resources)
    given: dict[str, JsonValue] = {}
    if access_mode is not ABSENT:
        given["access_mode"] = None if access_mode is None else str(access_mode)
    if stale_in is not ABSENT:
        given["stale_in"] = stale_in
    if fetch_resources is not ABSENT:
        given["fetch_resources"] = None if fetch_resources is None else _words(fetch_resources)
    return _plan(Kind.PATCH, ids, given, rate_limit=rate_limit)


def _plan(
    kind: Kind,
    ids: Iterable[str],
    arguments: Mapping[str, JsonValue],
    *,
    rate_limit: RateLimit,
    sync_deletions: RateLimit = SYNC_DELETIONS,
) -> Plan:
    return Plan(
        kind=kind,
        ids=_checked(ids),
        arguments=MappingProxyType(dict(arguments)),
        rate_limit=rate_limit,
        sync_deletions=sync_deletions,
    )


def _checked(ids: object) -> tuple[str, ...]:
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        msg = "ids: give an iterable of links' ids, not a single one"
        raise TypeError(msg)
    unique: dict[str, None] = {}
    for number, value in enumerate(ids, 1):
        if not checks.is_uuid(value):
            msg = f"ids: number {number} is not a link's id, a UUID such as e4bb1afb-4a4f-4dd6-8be0-e615d233185b"
            raise ValueError(msg)
        unique[value.lower()] = None  # one link, however its id is written
    return tuple(unique)


def _words(resources: Resources) -> list[JsonValue]:
    """Return the words in an order of their own, so that a plan is the same however they were given."""
    return [*sorted(str(each) for each in resources)]


# ------------------------------------------------------------------------------------------------------------ in words


def _least(calls: int, allowed: int, seconds: float) -> float:
    """Return the seconds from the first of the calls to the last, where so many are let in per window."""
    return max(0, math.ceil(calls / allowed) - 1) * seconds


def _what(plan: Plan) -> str:
    links = _links(len(plan.ids))
    match plan.kind:
        case Kind.DELETE:
            return f"Delete {links} and all their data, for good ({_how(plan)})."
        case Kind.REFRESH:
            return f"Refresh {links}: fetch {_listed(plan.arguments.get('fetch_resources')) or 'everything'} anew."
        case _:
            changes = (f"{name} = {_listed(value) or 'null'}" for name, value in plan.arguments.items())
            return f"Patch {links}: {', '.join(changes)}."


def _how(plan: Plan) -> str:
    return "each is gone when its call returns" if plan.deletes_in_sync else "Belvo accepts each and finishes it later"


def _how_long(plan: Plan) -> str:
    limit = plan.rate_limit
    reason = f"bulk work uses {limit.allowance(Lane.BULK)} of {limit.requests} requests in {limit.seconds:g} seconds"
    if plan.deletes_in_sync:
        allowed = plan.sync_deletions
        reason = f"{allowed.requests} synchronous deletions in {allowed.seconds:g} seconds are allowed"
    return f"It takes {_span(plan.duration)}: {reason}."


def _notes_on_delete(plan: Plan) -> list[str]:
    notes = ["It starts no update that could be billed."]
    return [*notes, 'mode="async" has no limit of its own.'] if plan.deletes_in_sync else notes


def _notes_on_refresh(plan: Plan) -> list[str]:
    return [
        f"Each accepted refresh may be billed: up to {_links(len(plan.ids))}.",
        "A link that was refreshed less than ten minutes ago is skipped.",
        _TOKENS,
    ]


def _notes_on_patch(plan: Plan) -> list[str]:
    if "access_mode" not in plan.arguments:
        return ["It starts no update that could be billed."]
    if plan.arguments["access_mode"] != AccessMode.RECURRENT:
        return [f"A change of access_mode may start an update that is billed: up to {_links(len(plan.ids))}."]
    return [
        f"Each link that becomes recurrent is updated regularly, which is billed: up to {_links(len(plan.ids))}.",
        "Belvo logs in at the institution meanwhile, so that one call may take minutes.",
        _TOKENS,
    ]


_TOKENS: Final = "Where an institution asks for a second factor, the result has a pending session; nobody is prompted."

_NOTES: Final[Mapping[Kind, Callable[[Plan], list[str]]]] = {
    Kind.DELETE: _notes_on_delete,
    Kind.REFRESH: _notes_on_refresh,
    Kind.PATCH: _notes_on_patch,
}


def _links(number: int) -> str:
    return f"{number:,} link{'' if number == 1 else 's'}"


def _listed(value: JsonValue) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _span(duration: timedelta) -> str:
    minutes, seconds = divmod(math.ceil(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{number} {unit}" for number, unit in ((hours, "h"), (minutes, "min"), (seconds, "s")) if number]
    return f"at least {' '.join(parts)}" if parts else "moments"
