"""What an audit finds: findings, how grave they are, and what a check is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias

import attrs

from belvo_links.protocol.models import Link


class Severity(StrEnum):
    """How grave a finding is; see :attr:`rank` for the order."""

    INFO = "info"
    """Good to know."""
    LOW = "low"
    """Worth tidying up."""
    MEDIUM = "medium"
    """Something will stop, or has to be paid for, unless somebody acts."""
    HIGH = "high"
    """No data come for this link until somebody acts."""

    @property
    def rank(self) -> int:
        """Its place in the order, from 0 for ``info`` to 3 for ``high``."""
        return _RANKS[self]


_RANKS: Final = {severity: rank for rank, severity in enumerate(Severity)}


@attrs.frozen(kw_only=True)
class Finding:
    """What a check has found about a link.

    Attributes:
        check: the name of the check.
        severity: how grave it is.
        link_id: Belvo's id of the link.
        message: one sentence for people. It is stored and printed: put no personal data into it.
        remedy: the call that mends it, such as ``belvo.refresh("…")``.
    """

    check: str
    severity: Severity = attrs.field(converter=Severity)
    link_id: str
    message: str
    remedy: str


def _checked_length(_: object, attribute: attrs.Attribute[timedelta], value: object) -> None:
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise ValueError(f"{attribute.name}: give a timedelta of 0 or more")


@attrs.frozen(kw_only=True)
class CheckContext:
    """What the checks of one audit are told besides the link.

    Attributes:
        now: the moment that everything is judged by, aware. One audit has one, however long it takes and however
            often it is interrupted.
        session_lifetime: how long the login session of an unconfirmed link may live (documentation section 10).
        credentials_lead: how long before credentials run out it is said.
        data_lead: how long before data run out it is said.
        data_kept: how long data are kept where a link has no ``stale_in`` (documentation section 14).
        refresh_slack: how much later than its rate says a recurrent link may be refreshed.
        unused_after: how long after its creation a link may be without any access.

    Raises:
        ValueError: a time without a zone, or a negative length.
    """

    now: datetime = attrs.field()
    session_lifetime: timedelta = attrs.field(validator=_checked_length, default=timedelta(seconds=9600))
    credentials_lead: timedelta = attrs.field(validator=_checked_length, default=timedelta(days=14))
    data_lead: timedelta = attrs.field(validator=_checked_length, default=timedelta(days=14))
    data_kept: timedelta = attrs.field(validator=_checked_length, default=timedelta(days=365))
    refresh_slack: timedelta = attrs.field(validator=_checked_length, default=timedelta(hours=12))
    unused_after: timedelta = attrs.field(validator=_checked_length, default=timedelta(days=1))

    @now.validator
    def _check_now(self, _: object, value: object) -> None:
        if not isinstance(value, datetime) or value.utcoffset() is None:
            raise ValueError("now: give an aware datetime")


Check: TypeAlias = Callable[[Link, CheckContext], Iterable[Finding]]
"""A plain function. Its ``__name__`` is the name of the check, the first sentence of its docstring what it finds."""
