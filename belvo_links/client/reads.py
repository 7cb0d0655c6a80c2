"""The calls that read links, and the two that neither log in nor change a link's data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Literal, TypeVar, overload

from belvo_links.client.core import Core
from belvo_links.client.pages import LinkIterator, Reader, show_page
from belvo_links.client.scan import LinkScan, show_records
from belvo_links.protocol import checks, operations
from belvo_links.protocol.filters import LinkFilter
from belvo_links.protocol.models import Accepted, Link, LinkPage, PartialPage, RecordPage
from belvo_links.protocol.operations import QueryValue, Resources
from belvo_links.protocol.windows import ROOM_FOR_DAYS, Ask, ScanWindow, Scope, WholeScan, WindowedScan
from belvo_links.transport.base import Gate
from belvo_links.transport.messages import Operation, Response
from belvo_links.wire import JsonValue

T = TypeVar("T")


class Reads(Core):
    """Reading, deleting and refreshing links."""

    async def get(self, link_id: str, *, timeout: float | None = None) -> Link:
        """Read one link (documentation section 9.4).

        Args:
            link_id: Belvo's id of the link, a UUID.
            timeout: seconds for the whole call.

        Raises:
            ValueError: it is no UUID.
            NotFoundError: there is no such link in this account.
            MfaRequiredError: the institution asks for a second factor; complete ``.pending``, then call again.
        """
        budget = self._begin(timeout)
        return await self._logins.without_challenge(operations.get(link_id), link_id, budget)

    @overload
    async def page(
        self, filters: LinkFilter | None = None, *, page: int = 1, page_size: int = 100, timeout: float | None = None
    ) -> LinkPage: ...

    @overload
    async def page(
        self,
        filters: LinkFilter | None = None,
        *,
        page: int = 1,
        page_size: int = 100,
        fields: Sequence[str],
        omit: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> PartialPage: ...

    @overload
    async def page(
        self,
        filters: LinkFilter | None = None,
        *,
        page: int = 1,
        page_size: int = 100,
        fields: Sequence[str] | None = None,
        omit: Sequence[str],
        timeout: float | None = None,
    ) -> PartialPage: ...

    async def page(
        self,
        filters: LinkFilter | None = None,
        *,
        page: int = 1,
        page_size: int = 100,
        fields: Sequence[str] | None = None,
        omit: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> LinkPage | PartialPage:
        """Read one page of links, newest first (documentation sections 5, 6 and 9.1).

        Args:
            filters: which links; all by default.
            page: its number, from 1.
            page_size: links per page, 1 to 1000.
            fields: first-level names: return only these; the results are then plain mappings.
            omit: first-level names: leave these out; the results are then plain mappings.
            timeout: seconds for the whole call.

        Raises:
            ValueError: a number out of range, or filters that are too long for a URL.
            NotFoundError: there is no such page.
        """
        budget = self._begin(timeout)
        chosen = _chosen(filters)
        if fields is None and omit is None:
            return await self._caller.run(operations.page(chosen, page=page, page_size=page_size), budget=budget)
        partial = operations.partial_page(chosen, page=page, page_size=page_size, fields=fields, omit=omit)
        return await self._caller.run(partial, budget=budget)

    async def count(self, filters: LinkFilter | None = None, *, timeout: float | None = None) -> int:
        """Count links; a list that is too long for a URL is split (documentation section 5).

        Args:
            filters: which links; all by default.
            timeout: seconds for the whole call.
        """
        budget = self._begin(timeout)
        parts = list(_chosen(filters).split())  # all of them first: what cannot be split sends nothing
        return sum([await self._caller.run(operations.count(part), budget=budget) for part in parts])

    def iterate(
        self,
        filters: LinkFilter | None = None,
        *,
        page_size: int = 1000,
        concurrency: int = 4,
        timeout: float | None = None,
    ) -> LinkIterator:
        """Iterate over links: every one that exists during the whole iteration, exactly once, in no promised order.

        That holds while links are created and deleted, for filters on what never changes: ids, institutions,
        ``created_at``, ``created_by``. Under a filter on anything else it holds for links that match throughout, as
        long as no other link enters or leaves it. See docs/scans.md for what it rests on.

        Args:
            filters: which links; all by default. A list that is too long for a URL is split.
            page_size: links per request, 1 to 1000. Where the service answers 408 smaller pages are asked for, and
                pages of less than 20 become larger when the list changes.
            concurrency: requests at once.
            timeout: seconds for each request.

        Raises:
            ScanAssumptionError: the service does not list as this rests on: not newest first, a moment of creation that
                changes, links in the past that were not there.
        """
        scans = (WholeScan(scope) for scope in self._scopes(filters, page_size, concurrency))
        return LinkIterator(Reader(scans, partial(self._read, _linked, timeout), show_page))

    def scan(
        self,
        filters: LinkFilter | None = None,
        *,
        page_size: int = 1000,
        concurrency: int = 4,
        after: ScanWindow | None = None,
        timeout: float | None = None,
        gate: Gate | None = None,
    ) -> LinkScan:
        """Go through links as ``iterate`` does, by windows of days, so that it can be resumed.

        A record that cannot be read costs that record alone.

        Args:
            filters: which links; all by default.
            page_size: links per request, 1 to 1000; see ``iterate``.
            concurrency: requests at once.
            after: go on behind this window, which a scan with the same filters has ended.
            timeout: seconds for each request.
            gate: is told when a request begins to wait for its turn, and when it goes out.

        Raises:
            ScanAssumptionError: the service does not list as this rests on; see ``iterate``.
        """
        scans = self._windows(self._scopes(filters, page_size, concurrency), after)
        return LinkScan(Reader(scans, partial(self._read, _recorded, timeout, gate=gate), show_records))

    def _scopes(self, filters: LinkFilter | None, page_size: int, concurrency: int) -> Iterator[Scope]:
        """Return what to read, part by part; raises now for what cannot be sent."""
        if checks.whole_number("concurrency", concurrency) < 1:
            msg = "concurrency: give 1 or more"
            raise ValueError(msg)
        parts = list(_chosen(filters).split(room=ROOM_FOR_DAYS))
        operations.iteration_page(parts[0], page=1, page_size=page_size)
        now = self._logins.clock
        return (Scope(filters=part, now=now(), page_size=page_size, concurrency=concurrency) for part in parts)

    @staticmethod
    def _windows(scopes: Iterator[Scope], after: ScanWindow | None) -> Iterator[WindowedScan]:
        for part, scope in enumerate(scopes):
            if after is None or part > after.part:
                yield WindowedScan(scope, part=part)
            elif part == after.part and after.since is not None:
                yield WindowedScan(scope, part=part, until=after.since)

    async def _read(
        self,
        operation: Callable[[Ask], Operation[T]],
        timeout: float | None,
        ask: Ask,
        *,
        gate: Gate | None = None,
    ) -> Callable[[], T]:
        return await self._caller.run(_decoded_later(operation(ask)), budget=self._begin(timeout), gate=gate)

    @overload
    async def delete(
        self, link_id: str, *, mode: Literal["async"] = "async", timeout: float | None = None
    ) -> Accepted: ...

    @overload
    async def delete(self, link_id: str, *, mode: Literal["sync"], timeout: float | None = None) -> None: ...

    async def delete(
        self, link_id: str, *, mode: Literal["async", "sync"] = "async", timeout: float | None = None
    ) -> Accepted | None:
        """Delete a link and all its data, for good (documentation section 9.7).

        Args:
            link_id: Belvo's id of the link, a UUID.
            mode: ``"async"`` returns when Belvo has accepted it; ``"sync"`` when it is done, at most 5 a minute.
            timeout: seconds for the whole call.

        Raises:
            ValueError: it is no UUID.
            NotFoundError: there is no such link in this account.
            RateLimitedError: too many synchronous deletions.
            MfaRequiredError: the institution asks for a second factor; complete ``.pending``, then call again.
        """
        budget = self._begin(timeout)
        return await self._logins.without_challenge(operations.delete(link_id, mode=mode), link_id, budget)

    async def refresh(
        self, link_id: str, fetch_resources: Resources | None = None, *, timeout: float | None = None
    ) -> Accepted:
        """Fetch a link's data anew; webhooks tell when it is there (documentation section 9.8).

        Args:
            link_id: Belvo's id of the link, a UUID.
            fetch_resources: what to fetch; everything that the institution supports by default.
            timeout: seconds for the whole call.

        Raises:
            ValueError: it is no UUID, or a resource is empty.
            RefreshCooldownError: it was refreshed less than ten minutes ago; see ``.retry_after``.
            InvalidLinkError: the link needs new credentials first.
            MfaRequiredError: the institution asks for a second factor; complete ``.pending``, then call again.
        """
        budget = self._begin(timeout)
        return await self._logins.without_challenge(operations.refresh(link_id, fetch_resources), link_id, budget)

    async def get_json(
        self, path: str, query: Mapping[str, QueryValue] | None = None, *, timeout: float | None = None
    ) -> JsonValue:
        """Read anything else of the same service, such as the institutions (documentation section 21).

        Args:
            path: such as ``/api/institutions/``, without a query.
            query: names and values; a sequence becomes one comma-separated value.
            timeout: seconds for the whole call.

        Raises:
            ValueError: it is no path of this service.
        """
        budget = self._begin(timeout)
        return await self._caller.run(operations.get_json(path, query), budget=budget)


def _chosen(filters: object) -> LinkFilter:
    if filters is None:
        return LinkFilter()
    if not isinstance(filters, LinkFilter):
        msg = "filters: give a LinkFilter"
        raise TypeError(msg)
    return filters


def _linked(ask: Ask) -> Operation[LinkPage]:
    return operations.iteration_page(ask.filters, page=ask.slot.page, page_size=ask.slot.size)


def _recorded(ask: Ask) -> Operation[RecordPage]:
    slot = ask.slot
    return operations.scan_page(ask.filters, page=slot.page, page_size=slot.size, in_full=ask.in_full)


def _decoded_later(operation: Operation[T]) -> Operation[Callable[[], T]]:
    """Return the operation with a result that is yet to be decoded, so that pages are not decoded back to back."""

    def interpret(response: Response) -> Callable[[], T]:
        if response.status >= HTTPStatus.BAD_REQUEST:
            operation.interpret(response)  # raises
        return partial(operation.interpret, response)

    return Operation(
        name=operation.name,
        request=operation.request,
        interpret=interpret,
        repeat=operation.repeat,
        lane=operation.lane,
    )
