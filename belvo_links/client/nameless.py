"""The warning for a link that cannot be found by the id that its caller gave."""

from __future__ import annotations

import warnings

from belvo_links.protocol.models import Link


class ExternalIdDroppedWarning(UserWarning):
    """Belvo stored no ``external_id``, since it saw personal data in it: the link cannot be found by it."""


def warn_if_nameless(link: Link) -> None:
    """Warn if Belvo stored no ``external_id`` although one was given (documentation section 7)."""
    if link.external_id is None:
        warnings.warn(
            "Belvo stored no external_id for a link, since it saw personal data in it; find the link by its id.",
            ExternalIdDroppedWarning,
            stacklevel=4,
        )
