"""Links, and what each check finds about them: for tests, and for the table in the documentation."""

from datetime import UTC, datetime, timedelta
from typing import Any, Unpack

import attrs

from belvo_links import AccessMode, Extra, Link, LinkStatus, RefreshRate, Resource
from belvo_links.audit import checks, duplicates
from belvo_links.audit.checks import CHECKS
from belvo_links.audit.findings import Check, CheckContext, Severity
from belvo_links.sandbox import Sandbox
from belvo_links.sandbox.state import LinkOverrides

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONTEXT = CheckContext(now=NOW)
ID = "e4bb1afb-4a4f-4dd6-8be0-e615d233185b"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

UPDATE = f'belvo.update("{ID}", Credentials(password=…))'
REFRESH = f'belvo.refresh("{ID}")'
DELETE = f'belvo.delete("{ID}")'
ANEW = f'belvo.register("erebor_mx_retail", credentials), then {DELETE}'


def link(*, age: timedelta = 10 * DAY, used: timedelta | None = HOUR, **fields: Any) -> Link:
    """A link that no check finds anything about, unless it is said otherwise."""
    plain: dict[str, Any] = {
        "id": ID,
        "institution": "erebor_mx_retail",
        "status": LinkStatus("valid"),
        "created_at": NOW - age,
        "access_mode": AccessMode("single"),
        "last_accessed_at": None if used is None else NOW - used,
        "external_id": "user-42",
        "institution_user_id": "sooE7XJWEKypZJR603ecaWYk_8Ap0oD-Nr-wHyDb2Fg=",
        "credentials_storage": "store",
        "stale_in": "365d",
        "fetch_resources": (Resource("ACCOUNTS"),),
    }
    fields = {name: KINDS[name](value) if name in KINDS else value for name, value in fields.items()}
    return Link(**plain | fields)


KINDS: dict[str, type] = {"status": LinkStatus, "access_mode": AccessMode, "refresh_rate": RefreshRate}


def recurrent(rate: str | None, used: timedelta | None, **fields: Any) -> Link:
    made = link(used=used, access_mode="recurrent", **fields)
    return made if rate is None else attrs.evolve(made, refresh_rate=RefreshRate(rate))


FOUND: list[tuple[Check, Link, str, str, str]] = [
    (checks.invalid, link(status="invalid"), "high", "refuses its credentials", UPDATE),
    (checks.invalid, link(status="invalid", credentials_storage="9d"), "high", "until 2026-02-28 and are erased", ANEW),
    (checks.invalid, link(status="invalid", credentials_storage="11d"), "high", "refuses its credentials", UPDATE),
    (checks.invalid, link(status="invalid", credentials_storage="nostore"), "high", "were not to be kept", ANEW),
    (checks.token_required, link(status="token_required"), "high", "new token", UPDATE),
    (
        checks.unconfirmed,
        link(status="unconfirmed", age=timedelta(seconds=9601), used=None),
        "medium",
        "never finished",
        DELETE,
    ),
    (
        checks.credentials_running_out,
        link(age=351 * DAY, credentials_storage="365d"),
        "medium",
        "kept until 2026-03-15",
        ANEW,
    ),
    (checks.credentials_running_out, link(credentials_storage="3d"), "medium", "were kept until 2026-02-22", ANEW),
    (
        checks.credentials_running_out,
        link(status="token_required", credentials_storage="12d"),
        "medium",
        "2026-03-03",
        ANEW,
    ),
    (checks.credentials_running_out, link(credentials_storage="nostore"), "info", "nothing new", ANEW),
    (checks.data_running_out, link(used=351 * DAY, stale_in=None), "medium", "erased on 2026-03-15", REFRESH),
    (checks.data_running_out, link(used=366 * DAY, stale_in=None), "low", "were erased on 2026-02-28", REFRESH),
    (checks.data_running_out, link(age=80 * DAY, used=None, stale_in="90d"), "medium", "2026-03-11", REFRESH),
    (checks.data_running_out, link(status="invalid", used=80 * DAY, stale_in="90d"), "medium", "erased on", UPDATE),
    (
        checks.data_running_out,
        link(used=80 * DAY, stale_in="90d", credentials_storage="nostore"),
        "medium",
        "erased on",
        ANEW,
    ),
    (checks.not_refreshed, recurrent("6h", 19 * HOUR), "medium", "every 6 hours", REFRESH),
    (checks.not_refreshed, recurrent("24h", 37 * HOUR), "medium", "every 24 hours", REFRESH),
    (checks.not_refreshed, recurrent("30d", 31 * DAY), "medium", "every 30 days", REFRESH),
    (checks.not_refreshed, recurrent(None, 8 * DAY), "medium", "every 7 days", REFRESH),
    (checks.not_refreshed, recurrent("7d", None), "medium", "on 2026-02-19", REFRESH),
    (checks.never_accessed, link(used=None), "low", "since 2026-02-19", REFRESH),
    (checks.never_accessed, link(used=None, status="invalid"), "low", "never been reached", UPDATE),
    (checks.no_external_id, link(external_id=None), "low", "no external_id", "external_id=…"),
    (checks.drift, link(status="paused"), "info", 'The word "paused" in status', "pip install"),
    (checks.drift, link(access_mode="twice"), "info", '"twice" in access_mode', "pip install"),
    (checks.drift, link(refresh_rate="36h"), "info", '"36h" in refresh_rate', "pip install"),
    (checks.drift, link(fetch_resources=(Resource("PIX"),)), "info", '"PIX" in fetch_resources', "pip install"),
    (checks.drift, link(extra=Extra({"tier": "gold"})), "info", 'The field "tier"', "pip install"),
]


def fill(box: Sandbox, links: int, *, days: int = 30, **overrides: Unpack[LinkOverrides]) -> None:
    """Create links over so many days, so that a scan has several windows."""
    for _ in range(days):
        box.add_links(links // days, **overrides)
        box.advance(days=1)


def table() -> list[tuple[str, str, str]]:
    """The name of each check, how grave what it finds can be, and what that is."""
    return [
        (f"`{check.__name__}`", ", ".join(each for each in Severity if each in _severities(check)), _told(check))
        for check in CHECKS
    ]


def _severities(check: Check) -> set[str]:
    if check is checks.duplicates:
        return {duplicates.WORDS["sure"], duplicates.WORDS["unsure"]}
    return {severity for each, _, severity, _, _ in FOUND if each is check}


def _told(check: Check) -> str:
    return (check.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")
