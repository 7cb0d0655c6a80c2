"""What the public types are: read by mypy and pyright, never run. Change the surface, and this must change with it."""

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import assert_never, assert_type

import aiohttp
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis, RedisCluster

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
    LinkScan,
    LinkStatus,
    LocalLimiter,
    LoginError,
    LoginReason,
    MaybeAbsent,
    MemoryStore,
    MfaError,
    MfaRequiredError,
    Observer,
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
    ScanPage,
    ScanWindow,
    SealError,
    SealReason,
    StoreError,
    Timeouts,
    TransportError,
    UnexpectedResponseError,
    UnreadableLink,
    Waiting,
    WebhookError,
    WebhookMalformedError,
    WebhookUnauthorizedError,
)
from belvo_links.audit import (
    CHECKS,
    AuditReport,
    Change,
    Check,
    CheckContext,
    Finding,
    FindingChange,
    Journal,
    LinkChange,
    LinkResult,
    Outcome,
    Plan,
    Progress,
    RunSummary,
    Severity,
    UnreadableRow,
    audit,
    compare,
    plan_delete,
    plan_patch,
    plan_refresh,
)
from belvo_links.limits import PostgresLimiter, RedisLimiter
from belvo_links.qr import to_modules, to_svg, to_terminal
from belvo_links.sandbox import Sandbox, WaitingLogin
from belvo_links.stores import PostgresStore, RedisStore, SqliteStore, new_key
from belvo_links.telemetry import (
    Attempted,
    Call,
    Challenged,
    Claimed,
    Event,
    LimitWaited,
    Observers,
    OpenTelemetryObserver,
    PrometheusObserver,
    Retrying,
    Settled,
)
from belvo_links.webhooks import (
    MAX_BYTES,
    Dispatched,
    ProcessType,
    WebhookCode,
    WebhookDispatcher,
    WebhookEvent,
    WebhookHandler,
    WebhookType,
    basic,
    bearer,
    parse_webhook,
)


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
    assert_type(belvo.scan(LinkFilter(), page_size=100, concurrency=2, after=None, timeout=3), LinkScan)
    async for page in belvo.scan(after=ScanWindow(part=0, since=date(2025, 1, 1))):
        assert_type(page, ScanPage)
        assert_type(page.window, ScanWindow)
        assert_type(page.links, tuple[Link, ...])
        assert_type(page.unreadable, tuple[UnreadableLink, ...])
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
    keys: tuple[str, ...] = (new_key(),)
    assert_type(pending.seal(keys), str)
    assert_type(belvo.unseal(pending.seal([new_key()], "user-42"), keys, "user-42"), PendingSession)
    assert_type(belvo.unseal("text", keys, audience=None), PendingSession)
    pending.seal(new_key(), audience=42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    try:
        belvo.unseal("text", [])
    except SealError as error:
        assert_type(error.reason, SealReason)
        assert_type(error.pending_id, str | None)
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
    if code := pending.challenge.qr:
        assert_type((code.image, code.media_type, code.text), tuple[bytes | None, str | None, str | None])
        assert_type(to_svg(code, size=300, title="Scan this"), str)
        assert_type(to_terminal(code, ascii_only=True), str)
        assert_type(to_modules(code), tuple[tuple[bool, ...], ...])
        to_svg(code, 300)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    to_svg(pending.challenge.qr)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
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
        case UnexpectedResponseError() | WebhookMalformedError():
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


async def ask_again(event: WebhookEvent) -> int:
    """A handler may give back what it likes."""
    return len(event.data)


async def was_seen(dedup_key: str) -> bool:
    """Tell whether an event was handled."""
    return False


async def webhooks(body: bytes, headers: Mapping[str, str]) -> None:
    """Authenticated in the same call that reads; one value or several."""
    event = parse_webhook(body, headers, authorization=bearer("a-token"))
    parse_webhook(body, headers, authorization=[basic("user", "password"), bearer("a-token")], max_bytes=1024)
    parse_webhook(body, headers)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    parse_webhook("{}", headers, authorization="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    size: int = MAX_BYTES
    parse_webhook(body, headers, authorization="Bearer a-token", max_bytes=size)
    assert_type(event, WebhookEvent)
    assert_type(event.webhook_id, str)
    assert_type(event.webhook_type, WebhookType)
    assert_type(event.webhook_code, WebhookCode)
    assert_type(event.process_type, ProcessType | None)
    assert_type(event.link_id, str)
    assert_type(event.request_id, str | None)
    assert_type(event.external_id, str | None)
    assert_type(event.data, Extra)
    assert_type(event.extra, Extra)
    assert_type(event.dedup_key, str)
    event.link_id = "another"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]

    dispatcher = WebhookDispatcher(seen=was_seen, remember=was_seen)
    handler: WebhookHandler = ask_again
    decorated: Callable[[WebhookEvent], Awaitable[int]] = dispatcher.on("token_required", "link_deleted")(ask_again)
    assert_type(await decorated(event), int)
    dispatcher.on(WebhookCode.INVALID_CREDENTIALS)(handler)
    dispatcher.on("link_deleted")(len)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    dispatcher.fallback(ask_again)
    assert_type(await dispatcher.dispatch(event), Dispatched)
    try:
        parse_webhook(body, headers, authorization="x")
    except WebhookUnauthorizedError as refused:
        assert_type(str(refused), str)
    except WebhookError as malformed:
        assert_type(malformed, WebhookError)


class MyLimiter:
    """Somebody else's limiter."""

    async def acquire(self, lane: Lane) -> None:
        """Let in."""


class Partly(Observer):
    """An observer overrides what it wants to hear."""

    def __init__(self) -> None:
        self.seen: list[Event] = []

    @contextmanager
    def call(self, call: Call) -> Generator[None]:
        """Surround a call."""
        assert_type((call.name, call.method, call.template, call.host, call.port), tuple[str, str, str, str, int])
        yield

    def settled(self, event: Settled) -> None:
        """Keep it."""
        assert_type((event.before, event.state, event.recorded), tuple[str, str, bool])
        self.seen.append(event)


def watching(event: Event) -> None:
    """Events are told apart by their classes."""
    observer: Observer = Partly()
    observer = Observers(observer, OpenTelemetryObserver(), PrometheusObserver())
    observer = OpenTelemetryObserver(TracerProvider())
    observer = PrometheusObserver(CollectorRegistry())
    BelvoLinks("id", "password", environment="sandbox", observer=observer)
    BelvoLinks("id", "password", environment="sandbox", observer=print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    match event:
        case Attempted():
            assert_type((event.number, event.status, event.error), tuple[int, int | None, str | None])
        case Retrying():
            assert_type((event.error, event.delay), tuple[str, float])
        case LimitWaited():
            assert_type((event.lane, event.seconds, event.admitted), tuple[Lane, float, bool])
        case Challenged():
            assert_type((event.pending_id, event.round, event.kind), tuple[str, int, str | None])
        case Claimed():
            assert_type((event.operation, event.won), tuple[str, bool])
        case Settled():
            assert_type(event.state, str)
        case _:
            assert_never(event)


async def making(session: aiohttp.ClientSession) -> None:
    """All the ways to make a client."""
    limiter: Limiter = MyLimiter()
    store: PendingStore = MemoryStore()
    store = MemoryStore(keys=[new_key()])
    store = SqliteStore("pending.db", keys=(new_key(),))
    store = RedisStore("redis://localhost", namespace="app", keys=(new_key(),))
    store = RedisStore(Redis(decode_responses=True))
    store = RedisStore(RedisCluster("localhost"))
    store = PostgresStore("postgresql://localhost/app", table="app.pending", keys=(new_key(),))
    store = PostgresStore(AsyncConnectionPool("", kwargs={"autocommit": True}, open=False))
    RedisStore("redis://localhost", "app")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    PostgresStore(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
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
    limiter = RedisLimiter("redis://localhost", RateLimit(80, 30), name="app", margin=0.25, quotas=False)
    limiter = RedisLimiter(RedisCluster("localhost"), fallback=RateLimit(5, 30))
    limiter = PostgresLimiter("postgresql://localhost/app", RateLimit(), name="app", table="app.limits")
    limiter = PostgresLimiter(AsyncConnectionPool("", open=False))
    async with PostgresLimiter("dbname=app") as opened:
        assert_type(opened, PostgresLimiter)
        await opened.create()
    RedisLimiter("redis://localhost", 80)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    PostgresLimiter("", RateLimit(), "app")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    BelvoLinks("id", "password", "sandbox")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    BelvoLinks("id", "password", environment="sandbox", rate_limit=80)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    options: ClientOptions = {"environment": "sandbox", "store": store}
    async with BelvoLinks("id", "password", **options) as belvo:
        assert_type(belvo, BelvoLinks)
    assert_type(BelvoLinks.from_env(max_connections=3), BelvoLinks)
    assert_type(BelvoLinks.from_env({"BELVO_SECRET_ID": "an-id"}, **options), BelvoLinks)
    BelvoLinks.from_env(max_connection=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    BelvoLinks.from_env(timeouts=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def many(belvo: BelvoLinks, ids: set[str]) -> None:
    """Bulk actions."""
    plan: Plan = plan_refresh(ids, [Resource.ACCOUNTS, "OWNERS"], rate_limit=RateLimit(8, 3))
    plan = plan_patch(ids, access_mode=AccessMode.RECURRENT, stale_in=None, fetch_resources=ABSENT)
    plan = plan_delete(iter(ids), mode="sync", sync_deletions=RateLimit(5, 60))
    plan_delete(ids, mode="later")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    plan_delete(ids, "sync")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type((plan.ids, plan.duration, plan.describe()), tuple[tuple[str, ...], timedelta, str])

    told: list[LinkResult] = []
    summary = await plan.run(belvo, journal=Path("journal.db"), dry_run=False, concurrency=4, on_result=told.append)
    assert_type(summary, RunSummary)
    assert_type((summary.counts, summary.before, summary.left), tuple[Mapping[Outcome, int], int, int])
    async for result in summary.results(Outcome.UNKNOWN):
        assert_type((result.link_id, result.outcome), tuple[str, Outcome])
        assert_type((result.request_id, result.pending_id, result.error), tuple[str | None, str | None, str | None])
        assert_type(result.retry_after, timedelta | None)
    await plan.run(belvo)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    async with Journal("journal.db") as journal:
        await plan.run(belvo, journal=journal)
        assert_type(await journal.counts(), Mapping[Outcome, int])
        assert_type([each async for each in journal.results("failed")], list[LinkResult])


def too_old(link: Link, context: CheckContext) -> Iterable[Finding]:
    """A check of a user's own."""
    if context.now - link.created_at > timedelta(days=900):
        yield Finding(check="too_old", severity="low", link_id=link.id, message="It is old.", remedy="None.")


async def audited(belvo: BelvoLinks, told: list[Progress]) -> None:
    """Audits."""
    assert_type(CHECKS, tuple[Check, ...])
    report = await audit(belvo, LinkFilter(status="valid"), checks=(*CHECKS, too_old), on_progress=told.append)
    assert_type(report, AuditReport)
    assert_type((report.complete, report.links, report.unreadable), tuple[bool, int, int])
    assert_type((report.worst, report.reason), tuple[Severity | None, str | None])
    for finding in report.findings:
        assert_type((finding.severity, finding.severity.rank), tuple[Severity, int])
    assert_type((told[0].links, told[0].remaining), tuple[int, float | None])
    assert_type([each async for each in report.iterate_findings("high")], list[Finding])
    assert_type([each async for each in report.iterate_unreadable()], list[UnreadableRow])
    assert_type((report.summary(), report.guarantee), tuple[str, Sequence[str]])
    await report.write_html("audit.html")
    await report.write_json(Path("audit.json"))
    with Path("audit.csv").open("wb") as file:
        await report.write_csv(file)
    await report.write_csv(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await report.save("march.audit")
    compared = await compare("february.audit", Path("march.audit"))
    assert_type(compared.notes, Sequence[str])
    assert_type([each async for each in compared.iterate_links()], list[LinkChange])
    assert_type([each async for each in compared.iterate_findings()], list[FindingChange])
    assert_type([each.change async for each in compared.iterate_links()], list[Change])
    await audit(belvo, checkpoint=Path("run.audit"), context=CheckContext(now=datetime.now()), pseudonymise=b"key")
    await audit(belvo, checks=[len])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await audit(belvo, "valid")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    CheckContext()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def simulated() -> None:
    """The simulator brings what its client should be given."""
    async with Sandbox() as box:
        async with BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, **box.client_options) as belvo:
            assert_type(await belvo.count(), int)
        BelvoLinks.from_env(box.env, **box.client_options)
        assert_type(box.logins, list[WaitingLogin])
        assert_type(box.logins[0].token, str | None)
        assert_type(box.served, int)
    assert_type(Sandbox(control_key="a-key-of-16-characters").page_url, str)
    Sandbox(control_key=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
