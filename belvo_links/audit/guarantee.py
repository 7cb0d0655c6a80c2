"""What an audit guarantees, and what it does not, in sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

_CHANGING: Final = frozenset({"access_mode", "external_id", "institution_user_id", "refresh_rate", "status"})
"""What a link may change while it is scanned."""

_RESTS_ON: Final = (
    "It rests on two facts about the service: lists come newest first, and created_at is the time of creation. Every"
    " page was checked for both."
)
_NOT_COVERED: Final = (
    "Links that were created or deleted meanwhile may be in it or not. A link is shown as it was when its page was"
    " read."
)


def guarantee(
    *,
    complete: bool,
    reason: str | None,
    started_at: datetime,
    ended_at: datetime,
    interruptions: int = 0,
    filtered_by: Iterable[str] = (),
    unreadable: int = 0,
) -> tuple[str, ...]:
    """Return the guarantee, and then its limits, one sentence or two in each.

    Args:
        complete: whether the scan came to its end, with its assumptions kept.
        reason: why not.
        started_at: when it was first begun.
        ended_at: when it last ended.
        interruptions: how often it was continued after an interruption.
        filtered_by: the filters, each as its name, or beginning with it, such as ``status__in: invalid``.
        unreadable: how many records could not be read.
    """
    if not complete:
        why = (reason or "The scan did not come to its end.").strip()
        return (f"This report is not complete: links may be missing. {why}",)
    span = f"from {started_at:%Y-%m-%d %H:%M:%S} to {ended_at:%Y-%m-%d %H:%M:%S}"
    said = [f"Every link that existed during the whole scan, {span} (UTC), was read exactly once.", _NOT_COVERED]
    if interruptions:
        times = "once" if interruptions == 1 else f"{interruptions} times"
        said.append(
            f"The scan was interrupted {times} and continued, so it spans from its first start to its last end."
        )
    fields = sorted({re.split("__|:", each)[0] for each in filtered_by} & _CHANGING)
    if fields:
        said.append(
            f"The filter is on what may change ({', '.join(fields)}): links that began or ceased to match during the"
            " scan may be in it or not, and may have shifted others."
        )
    if unreadable:
        records = "1 record" if unreadable == 1 else f"{unreadable:,} records"
        said.append(f"{records} could not be read as a link; what is known is listed.")
    return (*said, _RESTS_ON)
