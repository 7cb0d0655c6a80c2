"""What the public types are: read by mypy and pyright, never run. Change the surface, and this must change with it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import assert_never, assert_type

import aiohttp

from belvo_links import (
    ABSENT,
    Accepted,
    AccessMode,
    AlreadySettledError,
    ApiError,
    BelvoLinks,
    BelvoLinksError,
    Challenge,
    ChallengeCallback,
    ChallengeKind,
    ClientOptions,
    Credentials,
    Environment,
    ErrorItem,
    Extra,
    InvalidFieldsError,
    JsonValue,
    Lane,
    Limiter,
    Link,
    LinkFilter,
    LinkIterator,
    LinkPage,
    LinkStatus,
    LocalLimiter,
    LoginError,
    LoginReason,
    MaybeAbsent,
    MemoryStore,
    MfaError,
    MfaRequiredError,
    PartialPage,
    PendingRecord,
    PendingSession,
    PendingState,
    PendingStore,
    QrCode,
    RateLimit,
    RefreshCooldownError,
    RefreshRate,
    Resource,
    ResponseLostError,
    RetryPolicy,
    StoreError,
    Timeouts,
    TransportError,
    UnexpectedResponseError,
    Waiting,
)
from belvo_links.sandbox import Sandbox


async def on_challenge(pending: PendingSession) -> str | None:
    """Answer with a token, or with None for "confirmed elsewhere"."""
    return "111111" if pending.challenge.expects_user_input else None


async def always(pending: PendingSession) -> str:
    """A callback that always has a token is one too."""
    return "111111"


async def logins(belvo: BelvoLinks, credentials: Credentials, callback: ChallengeCallback | None) -> None:
    """Calls that log in give a link or a pending session; with a callback, a link."""
    outcome = await belvo.register("erebor_mx_retail", credentials, external_id="user-42")
    assert_type(outcome, Link | PendingSession)
    match outcome:
        case Link():
            assert_type(outcome, Link)
        case PendingSession():
            assert_type(outcome, PendingSession)
            assert_type(await outcome.complete("123456"), Link | PendingSession)
        case _:
            assert_never(outcome)

    assert_type(await belvo.register("a_bank", credentials, on_challenge=on_challenge), Link)
    assert_type(await belvo.register("a_bank", credentials, on_challenge=always, timeout=5), Link)
    assert_type(await belvo.register("a_bank", credentials, on_challenge=None), Link | PendingSession)
    assert_type(
        await belvo.register(
            "a_bank",
            credentials,
            external_id=None,
            access_mode=AccessMode.SINGLE,
            fetch_resources=(Resource.ACCOUNTS, "NEW_WORD"),
            credentials_storage="30d",
            stale_in="90d",
            correlation={"user": [1, 2.5, None, True]},
        ),
        Link | PendingSession,
    )
    assert_type(await belvo.patch("an-id", stale_in="90d"), Link | PendingSession)
    assert_type(await belvo.patch("an-id", access_mode="recurrent", on_challenge=on_challenge), Link)
    assert_type(await belvo.update("an-id", credentials), Link | PendingSession)
    assert_type(await belvo.update("an-id", credentials, on_challenge=always, correlation="me"), Link)
    assert_type(await belvo.complete("an-id"), Link | PendingSession)
    assert_type(await belvo.complete("an-id", "123456", round=1, save_data=False, timeout=1.5), Link | PendingSession)

    given: MaybeAbsent[str | None] = ABSENT
    await belvo.register("a_bank", credentials, external_id=given, stale_in=given)


async def reads(belvo: BelvoLinks, names: Sequence[str]) -> None:
    """A part of a link is no link."""
    assert_type(await belvo.get("an-id"), Link)
    assert_type(await belvo.page(), LinkPage)
    assert_type(await belvo.page(LinkFilter(status="valid"), page=2, page_size=10), LinkPage)
    assert_type(await belvo.page(fields=["id"]), PartialPage)
    assert_type(await belvo.page(omit=names), PartialPage)
    assert_type(await belvo.page(fields=names, omit=names), PartialPage)
    assert_type((await belvo.page()).results, tuple[Link, ...])
    assert_type((await belvo.page(omit=names)).results, tuple[Mapping[str, JsonValue], ...])
    assert_type(await belvo.count(), int)
    assert_type(belvo.iterate(), LinkIterator)
    async for link in belvo.iterate(LinkFilter(), page_size=100, concurrency=2, timeout=3):
        assert_type(link, Link)
    assert_type([link async for link in belvo.iterate()], list[Link])
    assert_type(await anext(belvo.iterate()), Link)
    assert_type(await belvo.get_json("/api/institutions/", {"page": 1, "name__in": ["a"], "b": True}), JsonValue)


async def others(belvo: BelvoLinks) -> None:
    """An asynchronous deletion is accepted, a synchronous one gives nothing."""
    assert_type(await belvo.delete("an-id"), Accepted)
    assert_type(await belvo.delete("an-id", mode="async", timeout=1), Accepted)
    accepted = await belvo.refresh("an-id", ["OWNERS", Resource.ACCOUNTS])
    assert_type(accepted, Accepted)
    assert_type(accepted.request_id, str | None)
    done: None = await belvo.delete("an-id", mode="sync")  # type: ignore[func-returns-value]  # mypy: it gives None
    await belvo.delete("an-id", mode="later")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    return done


async def handles(belvo: BelvoLinks) -> None:
    """What a pending session says and does."""
    pending = await belvo.pending("an-id")
    assert_type(pending, PendingSession)
    async for each in belvo.iterate_pending(PendingState.AWAITING):
        assert_type(each, PendingSession)
    assert_type(belvo.restore(pending.to_json()), PendingSession)
    assert_type(pending.id, str)
    assert_type(pending.link_id, str)
    assert_type(pending.operation, str)
    assert_type(pending.round, int)
    assert_type(pending.state, PendingState)
    assert_type(pending.created_at, datetime)
    assert_type(pending.expires_at, datetime)
    assert_type(pending.seconds_left, float)
    assert_type(pending.correlation, JsonValue)
    assert_type(pending.request_ids, tuple[str, ...])
    assert_type(pending.record, PendingRecord)
    assert_type(pending.challenge, Challenge)
    assert_type(pending.challenge.kind, ChallengeKind | None)
    assert_type(pending.challenge.expects_user_input, bool)
    assert_type(pending.challenge.qr, QrCode | None)
    assert_type(await pending.complete(), Link | PendingSession)
    assert_type(await pending.wait(timeout=60), Link | PendingSession)
    assert_type(await pending.reconcile(), Link | PendingSession)
    await pending.cancel(delete_link=True)


def values(link: Link, page: LinkPage) -> None:
    """Frozen, with enums and aware datetimes."""
    assert_type(link.id, str)
    assert_type(link.institution, str)
    assert_type(link.status, LinkStatus)
    assert_type(link.created_at, datetime)
    assert_type(link.access_mode, AccessMode | None)
    assert_type(link.refresh_rate, RefreshRate | None)
    assert_type(link.created_by, str | None)
    assert_type(link.last_accessed_at, datetime | None)
    assert_type(link.external_id, str | None)
    assert_type(link.institution_user_id, str | None)
    assert_type(link.credentials_storage, str | None)
    assert_type(link.stale_in, str | None)
    assert_type(link.fetch_resources, tuple[Resource, ...])
    assert_type(link.extra, Extra)
    as_mapping: Mapping[str, JsonValue] = link.extra
    assert_type(page.count, int)
    assert_type(page.next, str | None)
    assert_type(as_mapping.get("colour"), JsonValue | None)
    link.id = "another"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    Credentials(
        "one",
        password="two",
        username2="three",
        username3=None,
        username_type="003",
        password2="four",
        token="five",
        certificate=b"six",
        private_key=Path("seven"),
    )
    Credentials("one", "two", certificate="six", private_key=b"seven")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Credentials("one", "two", "three")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    LinkFilter(
        id="an-id",
        id__in=["an-id"],
        status__in=(LinkStatus.VALID, "invalid"),
        created_at__gte=date(2025, 1, 1),
        created_at__range=(date(2025, 1, 1), date(2025, 2, 1)),
        created_by__not_in=["an-id"],
    )


def errors(error: Exception) -> None:
    """Facts are attributes."""
    match error:
        case LoginError():
            assert_type(error.reason, LoginReason)
            assert_type(error.retryable, bool)
        case RefreshCooldownError():
            assert_type(error.retry_after, timedelta | None)
        case InvalidFieldsError():
            assert_type(error.fields, Mapping[str, Sequence[str]])
        case ApiError():
            assert_type(error.status, int)
            assert_type(error.code, str | None)
            assert_type(error.message, str | None)
            assert_type(error.field, str | None)
            assert_type(error.request_id, str | None)
            assert_type(error.errors, tuple[ErrorItem, ...])
            assert_type(error.retry_after, timedelta | None)
        case ResponseLostError():
            assert_type(error.hint, str)
        case TransportError():
            assert_type((error.method, error.path, error.attempts), tuple[str, str, int])
        case UnexpectedResponseError():
            assert_type(error.problems, tuple[str, ...])
        case AlreadySettledError():
            assert_type((error.state, error.link_id), tuple[str, str])
        case MfaRequiredError() | MfaError():
            assert_type(error.pending, PendingSession | None)
        case StoreError():
            assert_type(error.pending, PendingSession | None)
        case BelvoLinksError():
            assert_type(str(error), str)
        case _:
            pass


class MyLimiter:
    """Somebody else's limiter."""

    async def acquire(self, lane: Lane) -> None:
        """Let in."""


async def making(session: aiohttp.ClientSession) -> None:
    """All the ways to make a client."""
    limiter: Limiter = MyLimiter()
    store: PendingStore = MemoryStore()
    BelvoLinks("id", "password", environment="sandbox")
    BelvoLinks("id", "password", environment=Environment.PRODUCTION, retry=None, rate_limit=None, store=store)
    BelvoLinks(
        "id",
        "password",
        base_url="https://proxy.example",
        http_session=session,
        retry=RetryPolicy(attempts=2, base=0.1, ceiling=5, too_many_sessions=True),
        timeouts=Timeouts(read=10, login=120, connect=5, pool_wait=30),
        rate_limit=RateLimit(80, 30),
        waiting=Waiting(first=5, ceiling=30, max_rounds=3),
        max_connections=10,
        clock=lambda: datetime.now(UTC),
    )
    BelvoLinks("id", "password", environment="sandbox", rate_limit=LocalLimiter(RateLimit(8, 3)))
    BelvoLinks("id", "password", environment="sandbox", rate_limit=limiter)
    BelvoLinks("id", "password", "sandbox")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    BelvoLinks("id", "password", environment="sandbox", rate_limit=80)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    options: ClientOptions = {"environment": "sandbox", "store": store}
    async with BelvoLinks("id", "password", **options) as belvo:
        assert_type(belvo, BelvoLinks)
    assert_type(BelvoLinks.from_env(max_connections=3), BelvoLinks)
    assert_type(BelvoLinks.from_env({"BELVO_SECRET_ID": "an-id"}, **options), BelvoLinks)
    BelvoLinks.from_env(max_connection=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    BelvoLinks.from_env(timeouts=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def simulated() -> None:
    """The simulator brings what its client should be given."""
    async with Sandbox() as box:
        async with BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, **box.client_options) as belvo:
            assert_type(await belvo.count(), int)
        BelvoLinks.from_env(box.env, **box.client_options)
