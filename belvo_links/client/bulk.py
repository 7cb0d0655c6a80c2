"""Single calls as parts of a bulk action: they leave a quarter of the limit free, and somebody watches each attempt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self, TypeVar

from belvo_links.client.logins import Logins
from belvo_links.client.pending import PendingSession
from belvo_links.protocol.challenge import TokenRequired
from belvo_links.transport.base import Gate
from belvo_links.transport.call import Budget, Caller
from belvo_links.transport.messages import Lane, Operation
from belvo_links.wire import JsonValue

if TYPE_CHECKING:
    from belvo_links.client.core import Core

T = TypeVar("T")


class BulkCalls:
    """Makes calls of a client in the bulk lane.

    Args:
        caller: runs operations.
        logins: keeps what a second factor interrupts.
    """

    def __init__(self, caller: Caller, logins: Logins) -> None:
        self._caller = caller
        self._logins = logins

    @classmethod
    def of(cls, belvo: Core) -> Self:
        """Return those of a client.

        Raises:
            ClientClosedError: it is closed.
            LoopMismatchError: it belongs to another event loop.
        """
        belvo._transport.check()  # noqa: SLF001  # a client shows its parts to this package alone
        return cls(belvo._caller, belvo._logins)  # noqa: SLF001  # the same

    async def make(
        self,
        operation: Operation[T | TokenRequired],
        link_id: str,
        *,
        gate: Gate,
        requested: Mapping[str, JsonValue] | None = None,
    ) -> T | PendingSession:
        """Make one call for a link, however long its turn takes.

        Args:
            operation: what to do.
            link_id: for which link.
            gate: what every attempt has to pass.
            requested: the changes asked for, by which a lost login is recognised later.

        Returns:
            What came of it; the pending session, which is stored, where a second factor is asked for.

        Raises:
            BelvoLinksError: as the client's own call would.
        """
        budget = Budget(None)
        with self._caller.watching(operation.name, operation.request):
            result = await self._caller.perform(operation, budget=budget, lane=Lane.BULK, gate=gate)
            if not isinstance(result, TokenRequired):
                return result
            return await self._logins.begin(
                result,
                operation=operation.name,
                budget=budget,
                link_id=link_id,
                requested=requested,
                lane=Lane.BULK,
            )
