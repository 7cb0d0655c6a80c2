"""What the file of a run is bound to: only the same audit of the same account may continue it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import attrs

from belvo_links.audit.findings import CheckContext
from belvo_links.audit.rows import Pseudonyms
from belvo_links.protocol.filters import LinkFilter
from belvo_links.wire import encode_json

_HARMLESS: Final = ("institution", "access_mode", "created_at", "refresh_rate", "status")
"""Filters whose values name nobody, by how their names begin."""

_NAMES_PEOPLE: Final = ("institution_user_id",)


@attrs.frozen(kw_only=True)
class Binding:
    """What an audit is asked to do.

    Attributes:
        account: a digest of the API key's id.
        origin: the address of the service.
        filters: which links.
        checks: the names of the checks.
        context: what the checks are told; its time is no part of what a run is bound to.
        keyed: whether the pseudonyms are made with a key of the user's.
    """

    account: str
    origin: str
    filters: LinkFilter
    checks: Sequence[str]
    context: CheckContext
    keyed: bool

    def texts(self, pseudonyms: Pseudonyms, *, salted: Pseudonyms) -> Mapping[str, str]:
        """Return names and values to compare, none of which names a person.

        Args:
            pseudonyms: what names people in the file.
            salted: what names the filters in it.
        """
        settings = {
            field.name: length.total_seconds()
            for field in attrs.fields(CheckContext)
            if isinstance(length := getattr(self.context, field.name), timedelta)
        }
        return {
            "account": self.account,
            "origin": self.origin,
            "pseudonymise": pseudonyms.of("belvo_links") if self.keyed else "",
            "filters": salted.of(encode_json(self.filters.query()).decode()),
            "checks": encode_json(list(self.checks)).decode(),
            "context": encode_json(settings).decode(),
        }

    def filters_in_words(self) -> Sequence[str]:
        """Return which links are asked for, such as ``status__in: invalid,token_required``."""
        return [f"{name}: {_told(name, value)}" for name, value in self.filters.query()]


def _told(name: str, value: str) -> str:
    if name.startswith(_HARMLESS) and not name.startswith(_NAMES_PEOPLE):
        return value
    number = value.count(",") + 1
    return "one value" if number == 1 else f"{number} values"
