"""What the service limits beside the number of all requests (documentation section 13)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from belvo_links.errors import RefreshCooldownError
from belvo_links.transport.messages import Quota

SYNC_DELETIONS: Final = Quota(name="synchronous deletions", requests=5, seconds=60)
"""Synchronous deletions of an account; more of them wait."""

COOLDOWN: Final = timedelta(minutes=10)
"""Between two accepted refreshes of one link."""


def refresh_cooldown(link_id: str) -> Quota:
    """Return the cooldown of a link: nobody waits for ten minutes, so a call that comes too early is refused."""
    return Quota(name=f"refresh {link_id}", requests=1, seconds=COOLDOWN.total_seconds(), too_early=_too_early)


def _too_early(seconds: float) -> RefreshCooldownError:
    return RefreshCooldownError(status=409, retry_after=timedelta(seconds=seconds))
