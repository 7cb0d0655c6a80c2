"""The warning for a link that cannot be found by the id that its caller gave."""

from __future__ import annotations

import inspect
import warnings
from types import FrameType

from belvo_links.protocol.models import Link


class ExternalIdDroppedWarning(UserWarning):
    """Belvo stored no ``external_id``, since it saw personal data in it: the link cannot be found by it."""


def warn_if_nameless(link: Link, *, given: bool) -> None:
    """Warn if Belvo stored no ``external_id`` although one was given (documentation section 7)."""
    if given and link.external_id is None:
        warnings.warn(
            "Belvo stored no external_id for a link, since it saw personal data in it; find the link by its id.",
            ExternalIdDroppedWarning,
            stacklevel=_level_of_caller(),
        )


def _level_of_caller() -> int:
    """Return the stack level, as seen by the function that warns, of whoever called this package."""
    level = 1
    here = inspect.currentframe()
    frame: FrameType | None = here and here.f_back
    while frame is not None and frame.f_globals.get("__name__", "").startswith("belvo_links."):
        frame = frame.f_back
        level += 1
    return level
