"""What of a request may be shown: what is known to be harmless, and no value of anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qsl

from belvo_links.sandbox.answers import JsonValue
from belvo_links.sandbox.record import Received

MASK = "•••"
LONGEST = 300
"""Characters of what others have written that are shown at most."""
_FIELDS = frozenset(
    {
        "access_mode",
        "credentials_storage",
        "external_id",
        "fetch_resources",
        "institution",
        "link",
        "save_data",
        "stale_in",
        "username",
    }
)
_PARAMETERS = frozenset(
    {
        "access_mode",
        "country_code",
        "created_at",
        "created_by",
        "display_name",
        "external_id",
        "fields",
        "id",
        "institution",
        "institution_user_id",
        "name",
        "omit",
        "page",
        "page_size",
        "refresh_rate",
        "status",
        "type",
    }
)
_HEADERS = ("user-agent", "content-type", "x-belvo-request-mode")


def cut(text: str, longest: int = LONGEST) -> str:
    """A text that fits on a page and can be written as UTF-8, whatever bytes it was read from."""
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return text.encode(errors="replace").decode()


def shown_query(received: Received) -> str:
    """The parameters, with the values of the documented ones."""
    parameters = parse_qsl(received.query, keep_blank_values=True, errors="replace")
    return cut("&".join(_parameter(name, value) for name, value in parameters))


def _parameter(name: str, value: str) -> str:
    if name.partition("__")[0] in _PARAMETERS:
        return f"{name}={value}"
    return f"{name}={MASK}" if value else MASK


def shown_headers(received: Received) -> tuple[tuple[str, str], ...]:
    """The headers that matter; none that could hold a key."""
    return tuple((name, cut(received.headers[name])) for name in _HEADERS if name in received.headers)


def shown_body(body: JsonValue) -> str:
    """The body as JSON, with the values of the fields that hold no secret; empty where there was none."""
    if body is None:
        return ""
    if not isinstance(body, Mapping):
        return MASK
    kept = {cut(str(name), 60): value if name in _FIELDS and _is_flat(value) else MASK for name, value in body.items()}
    return cut(json.dumps(kept, ensure_ascii=False, indent=1), 2 * LONGEST)


def _is_flat(value: JsonValue) -> bool:
    """Whether nothing is nested in it, where a secret might stand."""
    items = value if isinstance(value, list | tuple) else [value]
    return all(not isinstance(item, list | tuple | Mapping) for item in items)
