"""The simulator as a thing to hold: started, looked into, steered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, Unpack
from urllib.parse import quote

from aiohttp import web
from attrs import evolve

from . import evidence, life
from .answers import JsonValue
from .clock import SandboxClock
from .delivery import Courier
from .faults import Fault
from .institutions import INSTITUTIONS
from .options import ClientOptions, ShortWaits, Switches
from .record import Received
from .scripts import Step, StepData
from .server import Server, Service
from .state import LinkOverrides, Status, StoredLink
from .waiting import WaitingLogin, waiting_logins
from .webhooks import Notification, Webhooks
from .world import World, default_keys

if TYPE_CHECKING:
    from .control.endpoints import Control

_NO_SWITCHES = Switches()


class Sandbox:
    """A pretend Belvo Links API on a socket of this machine.

    ::

        async with Sandbox() as box:
            ...  # a client with box.url, box.secret_id, box.secret_password and **box.client_options

    Args:
        seed: Every identifier follows from it, so that two runs show the same ones.
        clock: Where the simulated time comes from; the system's by default.
        host: Where to listen; loopback by default, since the keys are no secret.
        port: Which port; 0 takes a free one.
        secret_id: Key of the first account; derived from the seed by default.
        secret_password: Its password; likewise.
        switches: Choices where the documents are open (documentation section 20).
        webhooks: Where webhooks are delivered; without, they are only remembered.
        record_limit: How many requests, tokens and webhooks are remembered, the latest ones; all by default, which
            suits a test and not a server that runs for weeks.
        control_key: Opens the page at ``/`` and the control endpoints, which show tokens; without one there are none.
            At least 16 ASCII letters, digits or signs. They need the extra ``[cli]``.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        clock: SandboxClock | Callable[[], datetime] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        secret_id: str | None = None,
        secret_password: str | None = None,
        switches: Switches = _NO_SWITCHES,
        webhooks: Webhooks | None = None,
        record_limit: int | None = None,
        control_key: str | None = None,
    ) -> None:
        if record_limit is not None and record_limit < 1:
            raise ValueError("a record holds at least one request")
        self.clock = clock if isinstance(clock, SandboxClock) else SandboxClock(clock)
        self._host, self._port = host, port
        self._world = World.create(seed, self.clock, switches, record_limit)
        made_id, made_password = default_keys(seed)
        self._account = self._world.add_account(secret_id or made_id, secret_password or made_password)
        self._service = Service(self._world, self.clock)
        self._control = None if control_key is None else self._open_control(control_key)
        self._courier = Courier(seed, webhooks)
        self._world.on_notification, self._world.on_work = self._courier.take, self._courier.wake
        self._pump: asyncio.Task[None] | None = None
        self._runner: web.ServerRunner | None = None
        self._url: str | None = None

    def _open_control(self, key: str) -> Control:
        """Make the page, and remember from now on what happens to links."""
        from .control.access import Gate, checked_key
        from .control.endpoints import Control
        from .control.history import History, WatchedLinks

        world = self._world
        history = History(lambda: world.moment)
        world.links, world.on_login = WatchedLinks(history), history.note_login
        return Control(Gate(key=checked_key(key), host=self._host), self, world, self._service, history)

    async def start(self) -> Self:
        """Listen."""
        if self._runner is not None:
            raise RuntimeError("the sandbox is running already")
        # A handler that still waits (a scripted delay) must not delay the end.
        handler = None if self._control is None else self._control.handle
        runner = web.ServerRunner(Server(self._service, handler), shutdown_timeout=0.01)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
        except BaseException:
            await runner.cleanup()
            raise
        port: int = runner.addresses[0][1]
        # Who listens on every address is reached on this machine's own.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - replaced
        host = f"[{host}]" if ":" in host else host
        self._runner, self._url = runner, f"http://{host}:{port}"
        self._courier.open()
        self._start_delivering()
        return self

    def _start_delivering(self) -> None:
        if self._runner is not None and self._pump is None and self._courier.webhooks is not None:
            self._pump = asyncio.create_task(self._deliver(), name="belvo_links.sandbox webhooks")

    async def _deliver(self) -> None:
        try:
            await self._courier.run(self._world.settle, lambda: self._world.next_work)
        except Exception as error:  # noqa: BLE001 - whatever it is, `stop` raises it
            self._service.failures.append(error)

    async def stop(self) -> None:
        """Stop listening and break what is left; harmless when it is not running.

        Raises:
            ExceptionGroup: The simulator itself has failed meanwhile, whatever its clients made of that.
        """
        runner, self._runner = self._runner, None
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
        await self._courier.close()
        if runner is not None:
            await runner.cleanup()
            await self._service.close()
        failures, self._service.failures = self._service.failures, []
        if failures:
            raise ExceptionGroup("the simulator itself has failed", failures)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Base URL of the API, without a slash at the end; known once started."""
        if self._url is None:
            raise RuntimeError("the sandbox has not been started")
        return self._url

    @property
    def page_url(self) -> str:
        """The address that opens the page: with the control key, so that it is a secret itself; known once started."""
        if self._control is None:
            raise RuntimeError("the sandbox was made without control_key, so that it has no page")
        return f"{self.url}/?key={quote(self._control.gate.key, safe='')}"

    @property
    def secret_id(self) -> str:
        """Secret id of the first account."""
        return self._account.secret_id

    @property
    def secret_password(self) -> str:
        """Secret password of the first account."""
        return self._account.secret_password

    @property
    def client_options(self) -> ClientOptions:
        """What a client of the simulator is given besides keys and address: its clock and short waits."""
        return {"clock": self.clock, "waiting": ShortWaits()}

    @property
    def env(self) -> dict[str, str]:
        """The environment for subprocesses that use the simulator."""
        return {
            "BELVO_SECRET_ID": self.secret_id,
            "BELVO_SECRET_PASSWORD": self.secret_password,
            "BELVO_BASE_URL": self.url,
        }

    @property
    def requests(self) -> list[Received]:
        """Everything that came, in order; may be emptied."""
        return self._service.requests

    @property
    def tokens(self) -> list[str]:
        """Every token received in a Complete, in order, also where the reply was dropped."""
        return self._service.tokens

    @property
    def served(self) -> int:
        """How many requests came in all, those that are no longer remembered included."""
        return self._service.served

    @property
    def logins(self) -> list[WaitingLogin]:
        """The logins that wait for a second factor, the latest challenge last: what the users' phones would show."""
        self._world.settle()
        return waiting_logins(self._world)

    def count(self, method: str | None = None, template: str | None = None) -> int:
        """How many requests came, of this method and path template where they are named."""
        return sum(
            method in (None, received.method) and template in (None, received.template) for received in self.requests
        )

    @property
    def duplicate_submissions(self) -> list[Received]:
        """Requests that brought a token for the second time, or the very registration that had come before."""
        return evidence.duplicate_submissions(self.requests)

    def peak_requests(self, seconds: float = 30) -> int:
        """The most requests within so many simulated seconds: beyond 80, Belvo may block (section 13)."""
        return evidence.peak(self.requests, seconds)

    def assert_token_sent_once(self, token: str | None = None) -> None:
        """Fail unless this token came exactly once; without one: unless some came, and none twice for one login."""
        __tracebackhide__ = True
        evidence.check_token_sent_once(self.requests, token)

    def assert_nothing_sent(self, method: str | None = None, template: str | None = None) -> None:
        """Fail if any request came, of this method and path template where they are named."""
        __tracebackhide__ = True
        evidence.check_nothing_sent(self.requests, method, template)

    def add_account(self) -> tuple[str, str]:
        """The keys of a further account, which sees its own links only."""
        account = self._world.add_account()
        return account.secret_id, account.secret_password

    @property
    def keys(self) -> list[tuple[str, str]]:
        """The keys of every account, the first one first."""
        return [(account.secret_id, account.secret_password) for account in self._world.accounts.values()]

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Move the simulated time: sessions expire, cooldowns end, asynchronous work is done."""
        self.clock.advance(days=days, hours=hours, minutes=minutes, seconds=seconds)
        self._world.settle()
        self._courier.wake()

    async def settle(self) -> int:
        """Do what is due now and deliver its webhooks, repeats included; tells how many deliveries were made.

        A running sandbox does so by itself, a moment later; this waits until it is done.
        """
        return await self._courier.deliver(self._world.settle())

    def deliver_webhooks_to(
        self,
        url: str,
        *,
        authorization: str | None = None,
        allow_remote: bool = False,
        duplicates: int = 0,
        out_of_order: bool = False,
    ) -> None:
        """Deliver webhooks to this address from now on (documentation section 16.3); see :class:`Webhooks`."""
        self._courier.webhooks = Webhooks(
            url=url,
            authorization=authorization,
            allow_remote=allow_remote,
            duplicates=duplicates,
            out_of_order=out_of_order,
        )
        self._start_delivering()
        self._courier.wake()

    @property
    def webhooks(self) -> list[Notification]:
        """Every webhook that has come to be, in order, delivered or not; may be emptied."""
        self._world.settle()
        return self._world.notifications

    def link(self, link_id: str) -> dict[str, JsonValue] | None:
        """A link of any account as the API would show it, or ``None`` where there is none."""
        now = self._world.settle()
        link = self._world.links.get(link_id)
        return None if link is None else _shown(link, now)

    @property
    def links(self) -> list[dict[str, JsonValue]]:
        """The links of all accounts as the API would show them, newest first."""
        now = self._world.settle()
        accounts = self._world.accounts
        found = [link for account in accounts for link in reversed(self._world.links.oldest_first(account))]
        if len(accounts) > 1:
            found.sort(key=lambda link: link.order, reverse=True)
        return [_shown(link, now) for link in found]

    def add_links(self, number: int, *, announce: bool = False, **overrides: Unpack[LinkOverrides]) -> list[str]:
        """Create plain valid links of the first account, spread back in time; their ids, newest first.

        Recurrent ones are refreshed as time passes, but silently unless ``announce`` wants webhooks about it: of a
        million links that would be millions of webhooks a month.
        """
        return self._world.add_links(number, self._account, overrides, announce=announce)

    def set_status(self, link_id: str, status: Status) -> None:
        """Give a link another status (documentation section 8)."""
        self._world.links.put(evolve(self._existing(link_id), status=status, lapse=None))

    def has_data(self, link_id: str) -> bool:
        """Whether the user's data are still kept: ``stale_in`` after the last update they go (section 14)."""
        link, now = self._existing(link_id), self._world.clock()
        until = life.data_until(link, now)
        return until is not None and now < until

    def set_institution_status(self, name: str, status: Literal["healthy", "down"]) -> None:
        """Let an institution go down, so that logins there are refused, or come up again (section 21)."""
        if name not in INSTITUTIONS:
            raise LookupError("there is no such institution")
        (self._world.down.add if status == "down" else self._world.down.discard)(name)

    def script(self, name: str, steps: Sequence[Step | StepData]) -> None:
        """Say what the next logins of a user, or at an institution, meet: one step for each call.

        Without steps left, everything is as usual. See :class:`Step`, which may also be written as plain data.
        """
        self._world.scripts.add(name, steps)

    def confirm(self, link_id: str) -> None:
        """Let the user confirm the login of this link elsewhere: its next Complete goes through."""
        self._existing(link_id)
        if not self._world.confirm(link_id):
            raise LookupError("no login of this link waits for anything")

    def remove_link(self, link_id: str) -> None:
        """Let a link vanish behind the client's back."""
        self._existing(link_id)
        self._world.remove(link_id)

    def inject(
        self,
        fault: Fault,
        *,
        method: str | None = None,
        template: str | None = None,
        times: int | None = 1,
    ) -> None:
        """Let the next matching requests meet a fault; the oldest fault first, ``times=None`` for good."""
        self._service.faults.add(fault, method=method, template=template, times=times)

    def clear_faults(self) -> None:
        """Forget the faults and the scripts that have not been met yet."""
        self._service.faults.clear()
        self._world.scripts.clear()

    def _existing(self, link_id: str) -> StoredLink:
        self._world.settle()
        link = self._world.find(link_id)
        if link is None:
            raise LookupError("there is no such link")
        return link

    def __repr__(self) -> str:
        place = "rest" if self._runner is None else self._url
        return f"<Sandbox at {place}, {len(self._world.links)} links>"


def _shown(link: StoredLink, now: datetime) -> dict[str, JsonValue]:
    shown = link.to_json(now)
    shown["fetch_resources"] = list(link.fetch_resources)
    return shown
