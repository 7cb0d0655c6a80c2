"""What can be chosen about a simulator: the open questions as switches, and what a client should be given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal, TypedDict

from attrs import field, frozen, validators


@frozen(kw_only=True)
class Switches:
    """How the simulator behaves where the documents are open (documentation section 20).

    The defaults are the recommendations of that section's table.
    """

    error_shape: Literal["array", "object", "detail"] = field(
        default="array", validator=validators.in_(("array", "object", "detail"))
    )
    """Shape of error bodies: the normal array, one bare object, or the old ``detail`` (section 11.1)."""

    complete_status: Literal["by_save_data", "always_200"] = field(
        default="by_save_data", validator=validators.in_(("by_save_data", "always_200"))
    )
    """Status of a successful Complete: 201, or 200 for ``save_data: false``; or always 200 (section 9.3)."""

    page_size: int = field(default=10, validator=validators.in_(range(1, 1001)))
    """Results per page when the caller names no size: 10 in the sandbox, 100 elsewhere (section 5)."""

    strict_slash: bool = True
    """Whether a path without its last slash is unknown (404); otherwise it is served as well (section 1)."""

    expiry_seconds: int = field(default=9600, validator=validators.gt(0))
    """Life of a login session of the documented MFA users (section 10.2)."""

    expiry_as_text: bool = False
    """Whether ``expiry`` in a 428 is the text ``"9600"`` instead of a number (section 10.2)."""

    session_changes: bool = True
    """Whether a second 428 carries a new ``session``; otherwise the old one lives on (section 20)."""

    early_complete: Literal["428", "login_error"] = field(
        default="428", validator=validators.in_(("428", "login_error"))
    )
    """Answer to a Complete before the user has confirmed elsewhere (section 20)."""

    confirm_after: int | None = 1
    """How many early Completes a login meets before the simulated user confirms it elsewhere; ``None``: only
    ``Sandbox.confirm`` does it. Ours: the documents say nothing (section 10.2)."""

    refresh_mfa: Literal["202", "428"] = field(default="202", validator=validators.in_(("202", "428")))
    """Refresh of a link that needs MFA: accepted, then ``token_required``; or 428 at once (section 20)."""

    retry_after: bool = True
    """Whether the 429 of the delete limit brings a ``Retry-After`` header (section 20)."""

    sync_deletes_per_minute: int = field(default=5, validator=validators.gt(0))
    """Successful synchronous deletions in a sliding minute, per API key (section 13)."""

    refresh_cooldown_minutes: int = field(default=10, validator=validators.gt(0))
    """Minutes between two accepted refreshes of a link (section 9.8)."""

    work_seconds: float = field(default=3.0, validator=validators.ge(0))
    """Simulated seconds until an asynchronous deletion or an accepted refresh is done (section 12)."""

    largest_page: int | None = field(default=None, validator=validators.optional(validators.gt(0)))
    """A page of more results than that times out with 408; ``None``: none does (section 9.1). Ours: the documents
    say "ask for less data", not how much is too much."""

    request_limit: int | None = field(default=None, validator=validators.optional(validators.gt(0)))
    """Requests in a sliding 30 s; beyond, 429. ``None``: only counted, by ``Sandbox.peak_requests``. The documents
    give 80 and threaten with an "IP block" (section 13); that it looks like 429 is ours."""

    list_order: Literal["newest_first", "oldest_first"] = field(
        default="newest_first", validator=validators.in_(("newest_first", "oldest_first"))
    )
    """Order of a listing: as in the vendor's sample, or otherwise, since none is documented (section 5)."""

    refresh_rate: Literal["6h", "12h", "24h", "7d", "30d"] = field(
        default="7d", validator=validators.in_(("6h", "12h", "24h", "7d", "30d"))
    )
    """How often the service refreshes recurrent links: fixed per account (section 7)."""

    link_events: bool = True
    """Whether there are webhooks about the link itself; an old guide says that the vendor's sandbox sends none
    (section 16.2)."""

    historical_always: bool = False
    """Whether a single link without ``fetch_resources`` gets historical events too, of the core resources. The
    documents say both (section 16.2)."""

    clock_skew_seconds: float = 0.0
    """How far the service's clock is ahead: in its timestamps and its ``Date``; negative: behind. Ours."""


@frozen(kw_only=True)
class ShortWaits:
    """How patient a client of the simulator should be: seconds of the first and the longest wait; rounds."""

    first: float = 0.05
    ceiling: float = 0.2
    max_rounds: int = 3


class ClientOptions(TypedDict):
    """Keyword arguments for a client of the simulator."""

    clock: Callable[[], datetime]
    waiting: ShortWaits
