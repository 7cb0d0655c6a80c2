"""How long what Belvo keeps for a link lasts: credentials and data (documentation section 14)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from belvo_links.protocol.models import Link, RefreshRate

_DAYS: Final = re.compile(r"(\d{1,4})d", re.ASCII)

NOT_KEPT: Final = "nostore"
"""The ``credentials_storage`` of links whose credentials are gone once they have been used."""

RATES: Final = {
    RefreshRate.EVERY_6_HOURS: timedelta(hours=6),
    RefreshRate.EVERY_12_HOURS: timedelta(hours=12),
    RefreshRate.DAILY: timedelta(days=1),
    RefreshRate.WEEKLY: timedelta(days=7),
    RefreshRate.MONTHLY: timedelta(days=30),
}
"""How long Belvo waits between two refreshes of a recurrent link (documentation section 7)."""

DEFAULT_RATE: Final = RATES[RefreshRate.WEEKLY]
"""That of a recurrent link which does not say it."""


def days(text: str | None) -> timedelta | None:
    """Return the length that a number of days such as ``30d`` says, or ``None`` for anything else."""
    found = None if text is None else _DAYS.fullmatch(text)
    return None if found is None else timedelta(days=int(found[1]))


def last_use(link: Link) -> datetime:
    """Return the last access to the institution; the creation where there was none."""
    return link.created_at if link.last_accessed_at is None else link.last_accessed_at


def credentials_until(link: Link) -> datetime | None:
    """Return when the credentials of a link are erased; ``None`` where they stay, or were never to stay."""
    return _after(link.created_at, days(link.credentials_storage))


def data_until(link: Link, kept: timedelta) -> datetime | None:
    """Return when the data of a link are erased unless it is updated before.

    Args:
        link: the link.
        kept: how long, where the link itself does not say it.
    """
    stale_in = days(link.stale_in)
    return _after(last_use(link), kept if stale_in is None else stale_in)


def _after(start: datetime, length: timedelta | None) -> datetime | None:
    try:
        return None if length is None else start + length
    except OverflowError:
        return None  # never, as far as anybody can say
