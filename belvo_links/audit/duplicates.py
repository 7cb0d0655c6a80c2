"""Finding duplicates: links of the same user at the same institution, grouped in the run's file after the scan.

Why which link is kept is said in :func:`belvo_links.audit.checks.duplicates`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from belvo_links.audit.findings import Severity
from belvo_links.protocol.models import LinkStatus

_STATUSES: Final = (
    "CASE status "
    f"WHEN {LinkStatus.VALID.value!r} THEN 0 "
    f"WHEN {LinkStatus.TOKEN_REQUIRED.value!r} THEN 1 "
    f"WHEN {LinkStatus.INVALID.value!r} THEN 3 "
    "ELSE 2 END"
)
"""The better status first; one that this version does not know is not taken for a bad one."""

FIND: Final = f"""
INSERT INTO findings (check_name, severity, link_id, message, remedy)
WITH ranked AS (
    SELECT
        number, id, external_id, created_at,
        {_STATUSES} AS standing,
        external_id IS NULL AS nameless,
        access_mode IS NOT 'recurrent' AS once,
        coalesce(last_accessed_at, created_at) AS used,
        institution, institution_user_id
    FROM links
    WHERE institution_user_id IS NOT NULL AND status <> {LinkStatus.UNCONFIRMED.value!r}
),
compared AS (
    SELECT
        *,
        first_value(id) OVER best AS kept,
        first_value(external_id) OVER best AS kept_external_id,
        first_value(standing) OVER best AS kept_standing,
        first_value(nameless) OVER best AS kept_nameless,
        first_value(once) OVER best AS kept_once,
        first_value(used) OVER best AS kept_used,
        first_value(created_at) OVER best AS kept_created_at
    FROM ranked
    WINDOW best AS (
        PARTITION BY institution, institution_user_id
        ORDER BY standing, nameless, once, used DESC, created_at DESC, id
    )
)
SELECT
    'duplicates',
    iif(external_id <> kept_external_id, :unsure, :sure),
    id,
    CASE
        WHEN external_id <> kept_external_id THEN printf(:shared, kept)
        ELSE printf(:message, kept, CASE
            WHEN standing > kept_standing THEN :better
            WHEN nameless > kept_nameless THEN :named
            WHEN once > kept_once THEN :recurrent
            WHEN used < kept_used THEN :later
            WHEN created_at < kept_created_at THEN :newer
            ELSE :alike
        END)
    END,
    iif(external_id <> kept_external_id, printf(:look, kept), printf(:delete, id))
FROM compared WHERE id <> kept ORDER BY number
"""  # noqa: S608  # made of constants
"""One finding for each link but the one to keep. ``<>`` is not true where an ``external_id`` is missing."""

WORDS: Final[Mapping[str, str]] = {
    "sure": Severity.MEDIUM.value,
    "unsure": Severity.LOW.value,
    "message": 'The same user has the link "%s" at this institution, which is the one to keep: %s.',
    "better": "its status is the better one",
    "named": "it has an external_id",
    "recurrent": "it is recurrent",
    "later": "it was accessed later",
    "newer": "it is newer",
    "alike": "the two are alike",
    "shared": (
        'The same user has the link "%s" at this institution under another external_id: '
        "find out whether two of your users share a login before you delete one."
    ),
    "delete": 'belvo.delete("%s")',
    "look": 'belvo.get("%s")',
}
