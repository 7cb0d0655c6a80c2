"""The simulator as a thing to hold: started, looked into, steered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self, Unpack

from aiohttp import web
from attrs import evolve

from .answers import JsonValue
from .clock import SandboxClock
from .faults import Fault
from .options import ClientOptions, ShortWaits, Switches
from .record import Received
from .server import Server, Service
from .state import LinkOverrides, Status, StoredLink
from .world import World, default_keys

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
    ) -> None:
        self.clock = clock if isinstance(clock, SandboxClock) else SandboxClock(clock)
        self._host, self._port = host, port
        self._world = World.create(seed, self.clock, switches)
        made_id, made_password = default_keys(seed)
        self._account = self._world.add_account(secret_id or made_id, secret_password or made_password)
        self._service = Service(self._world)
        self._runner: web.ServerRunner | None = None
        self._url: str | None = None

    async def start(self) -> Self:
        """Listen."""
        if self._runner is not None:
            raise RuntimeError("the sandbox is running already")
        # A handler that still waits (a scripted delay) must not delay the end.
        runner = web.ServerRunner(Server(self._service), shutdown_timeout=0.01)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
        except BaseException:
            await runner.cleanup()
            raise
        port: int = runner.addresses[0][1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._runner, self._url = runner, f"http://{host}:{port}"
        return self

    async def stop(self) -> None:
        """Stop listening and break what is left; harmless when it is not running.

        Raises:
            ExceptionGroup: The simulator itself has failed meanwhile, whatever its clients made of that.
        """
        runner, self._runner = self._runner, None
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

    def count(self, method: str | None = None, template: str | None = None) -> int:
        """How many requests came, of this method and path template where they are named."""
        return sum(
            method in (None, received.method) and template in (None, received.template) for received in self.requests
        )

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
        found = [link for account in accounts for link in self._world.links.newest(account)]
        if len(accounts) > 1:
            found.sort(key=lambda link: link.created_at, reverse=True)
        return [_shown(link, now) for link in found]

    def add_links(self, number: int, **overrides: Unpack[LinkOverrides]) -> list[str]:
        """Create plain valid links of the first account, spread back in time; their ids, newest first."""
        return self._world.add_links(number, self._account, overrides)

    def set_status(self, link_id: str, status: Status) -> None:
        """Give a link another status (documentation section 8)."""
        self._world.links.put(evolve(self._existing(link_id), status=status))

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
        """Forget the faults that have not been met yet."""
        self._service.faults.clear()

    def _existing(self, link_id: str) -> StoredLink:
        self._world.settle()
        link = self._world.links.get(link_id)
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
