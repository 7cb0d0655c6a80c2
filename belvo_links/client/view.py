"""What a caller knows of a record, and how it hears more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from belvo_links.protocol.mfa import PendingRecord


def _ignore(_: PendingRecord) -> None:
    """Take no note."""


@attrs.frozen(kw_only=True)
class View:
    """A caller's side of a record.

    Attributes:
        brought: a version that the store may not know yet: restored from text, or a challenge that could not be
            recorded.
        note: told of every version that a call learns of.
    """

    brought: PendingRecord | None = None
    note: Callable[[PendingRecord], None] = _ignore


UNKNOWN: Final = View()
"""Of a caller who knows nothing but the id."""
