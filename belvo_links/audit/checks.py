"""What an audit looks for: plain functions from a link and a context to findings.

Write your own in the same way and add it: ``audit(belvo, checks=(*CHECKS, mine))``. A check is given every link once.
It runs in the event loop, so it must be quick and must not block. What it raises costs this check on this link: the
report has a finding ``check_failed`` in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from belvo_links.audit import lifetimes
from belvo_links.audit.findings import Check, CheckContext, Finding, Severity
from belvo_links.protocol.models import AccessMode, Link, LinkStatus
from belvo_links.wire import OpenStrEnum

NOTHING: Final[Iterable[Finding]] = ()

_WORD: Final = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)


def invalid(link: Link, context: CheckContext) -> Iterable[Finding]:
    """The credentials no longer work, or are no longer kept."""
    if link.status != LinkStatus.INVALID:
        return NOTHING
    until = lifetimes.credentials_until(link)
    remedy = _anew(link)
    if link.credentials_storage == lifetimes.NOT_KEPT:
        message = "Its credentials were not to be kept, so that they cannot be renewed: the user has to connect again."
    elif until is not None and until <= context.now:
        message = f"Its credentials were kept until {_day(until)} and are erased: the user has to connect again."
    else:
        message, remedy = "The institution refuses its credentials: ask the user for new ones.", _update(link)
    return [Finding(check="invalid", severity=Severity.HIGH, link_id=link.id, message=message, remedy=remedy)]


def token_required(link: Link, context: CheckContext) -> Iterable[Finding]:
    """The institution asks for a second factor before it gives data again."""
    if link.status != LinkStatus.TOKEN_REQUIRED:
        return NOTHING
    return [
        Finding(
            check="token_required",
            severity=Severity.HIGH,
            link_id=link.id,
            message="The institution asks for a new token: let the user log in once more.",
            remedy=_update(link),
        )
    ]


def unconfirmed(link: Link, context: CheckContext) -> Iterable[Finding]:
    """Its registration was never finished, and the session in which that was possible is over."""
    if link.status != LinkStatus.UNCONFIRMED or context.now - link.created_at <= context.session_lifetime:
        return NOTHING
    return [
        Finding(
            check="unconfirmed",
            severity=Severity.MEDIUM,
            link_id=link.id,
            message="Its registration was never finished, and its login session is over: what is left has no use.",
            remedy=_delete(link.id),
        )
    ]


def credentials_running_out(link: Link, context: CheckContext) -> Iterable[Finding]:
    """The credentials are erased soon, or were never to be kept."""
    if link.status not in _IN_USE:
        return NOTHING
    if link.credentials_storage == lifetimes.NOT_KEPT:
        return [
            Finding(
                check="credentials_running_out",
                severity=Severity.INFO,
                link_id=link.id,
                message="Its credentials are not kept, so that nothing new can be fetched for it.",
                remedy=_anew(link),
            )
        ]
    until = lifetimes.credentials_until(link)
    if until is None or until - context.now > context.credentials_lead:
        return NOTHING
    if until > context.now:
        message = f"Its credentials are kept until {_day(until)}; then it becomes invalid, which cannot be put off."
    else:
        message = f"Its credentials were kept until {_day(until)}: it becomes invalid."
    return [
        Finding(
            check="credentials_running_out",
            severity=Severity.MEDIUM,
            link_id=link.id,
            message=message,
            remedy=_anew(link),
        )
    ]


def data_running_out(link: Link, context: CheckContext) -> Iterable[Finding]:
    """The user's data are erased soon, or have been, because nothing was updated."""
    if link.status == LinkStatus.UNCONFIRMED:
        return NOTHING  # it has none
    until = lifetimes.data_until(link, context.data_kept)
    if until is None or until - context.now > context.data_lead:
        return NOTHING
    ahead = until > context.now
    return [
        Finding(
            check="data_running_out",
            severity=Severity.MEDIUM if ahead else Severity.LOW,
            link_id=link.id,
            message=(
                f"Without an update its data are erased on {_day(until)}."
                if ahead
                else f"It was not updated for so long that its data were erased on {_day(until)}."
            ),
            remedy=_renew(link),
        )
    ]


def not_refreshed(link: Link, context: CheckContext) -> Iterable[Finding]:
    """A valid recurrent link has not been refreshed for longer than its rate."""
    if link.access_mode != AccessMode.RECURRENT or link.status != LinkStatus.VALID:
        return NOTHING
    rate = lifetimes.DEFAULT_RATE if link.refresh_rate is None else lifetimes.RATES.get(link.refresh_rate)
    if rate is None or context.now - lifetimes.last_use(link) <= rate + context.refresh_slack:
        return NOTHING
    return [
        Finding(
            check="not_refreshed",
            severity=Severity.MEDIUM,
            link_id=link.id,
            message=(
                f"It is to be refreshed every {_length(rate)}, but the institution was last reached on "
                f"{_day(lifetimes.last_use(link))}."
            ),
            remedy=_refresh(link),
        )
    ]


def never_accessed(link: Link, context: CheckContext) -> Iterable[Finding]:
    """The institution has never been reached for it."""
    if link.last_accessed_at is not None or link.status == LinkStatus.UNCONFIRMED:
        return NOTHING
    if context.now - link.created_at <= context.unused_after:
        return NOTHING
    return [
        Finding(
            check="never_accessed",
            severity=Severity.LOW,
            link_id=link.id,
            message=f"It exists since {_day(link.created_at)}, and the institution has never been reached for it.",
            remedy=_renew(link),
        )
    ]


def no_external_id(link: Link, context: CheckContext) -> Iterable[Finding]:
    """Nothing tells whose link it is."""
    if link.external_id is not None:
        return NOTHING
    return [
        Finding(
            check="no_external_id",
            severity=Severity.LOW,
            link_id=link.id,
            message=(
                "It has no external_id, which Belvo also leaves out where it takes it for personal data: if you have "
                "not kept the link's id, nobody knows whose it is."
            ),
            remedy=f'belvo.register("{link.institution}", credentials, external_id=…), then {_delete(link.id)}',
        )
    ]


def duplicates(link: Link, context: CheckContext) -> Iterable[Finding]:
    """The same user has another link at the same institution.

    One link by itself shows nothing of it: the audit groups all links after the scan, if this check is among those it
    was given. Links whose registration is not finished are left out, since they may be a login that is under way.

    The documentation (section 15) says to keep one and leaves open which. Kept is the one that asks least of the user
    and has most of the data: the one in the better status (valid, token_required, one this version does not know,
    invalid), then one with an ``external_id``, then a recurrent one, then the one accessed last, then the newest. Where
    two have different values of ``external_id``, two of your users may share a login, so neither is said to go.
    """
    return NOTHING


def drift(link: Link, context: CheckContext) -> Iterable[Finding]:
    """The service uses a word or a field that this version of the package does not know.

    Of each word and field there is one finding, with the first link that has it. Fields are seen on the first page of
    each window of the scan.
    """
    return list(_drift(link))


def _drift(link: Link) -> Iterator[Finding]:
    words: Iterable[tuple[str, OpenStrEnum | None]] = (
        ("status", link.status),
        ("access_mode", link.access_mode),
        ("refresh_rate", link.refresh_rate),
        *(("fetch_resources", resource) for resource in link.fetch_resources),
    )
    for field, word in words:
        if word is not None and not word.is_known:
            yield _drifted(link, f"The word {_shown(word)} in {field} is not known to this version of belvo_links.")
    for name in link.extra:
        yield _drifted(link, f"The field {_shown(name)} is not known to this version of belvo_links.")


def _drifted(link: Link, message: str) -> Finding:
    return Finding(
        check="drift", severity=Severity.INFO, link_id=link.id, message=message, remedy="pip install -U belvo-links"
    )


CHECKS: Final[tuple[Check, ...]] = (
    invalid,
    token_required,
    unconfirmed,
    credentials_running_out,
    data_running_out,
    not_refreshed,
    never_accessed,
    duplicates,
    no_external_id,
    drift,
)
"""Every check that comes with the package."""

_IN_USE: Final = frozenset({LinkStatus.VALID, LinkStatus.TOKEN_REQUIRED})
_STUCK: Final = frozenset({LinkStatus.INVALID, LinkStatus.TOKEN_REQUIRED})


def _shown(word: str) -> str:
    """Return a word of the service's if it looks like one: nobody can say what else it may be."""
    return f'"{word}"' if _WORD.fullmatch(word) else "(not a plain word)"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _length(rate: timedelta) -> str:
    return f"{rate.days} days" if rate.days > 1 else f"{rate // timedelta(hours=1)} hours"


def _update(link: Link) -> str:
    return f'belvo.update("{link.id}", Credentials(password=…))'


def _refresh(link: Link) -> str:
    return f'belvo.refresh("{link.id}")'


def _delete(link_id: str) -> str:
    return f'belvo.delete("{link_id}")'


def _renew(link: Link) -> str:
    """Return the call that fetches data anew."""
    if link.credentials_storage == lifetimes.NOT_KEPT:
        return _anew(link)
    return _update(link) if link.status in _STUCK else _refresh(link)


def _anew(link: Link) -> str:
    return f'belvo.register("{link.institution}", credentials), then {_delete(link.id)}'
