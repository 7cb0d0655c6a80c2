"""Which paths exist and which methods they have (documentation section 9)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from . import calls
from .calls import Handler
from .validation import is_uuid

LINKS = "/api/links/"
_ITEM = re.compile(r"/api/(links|institutions)/([^/]+)/(refresh/)?")

ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "/api/": {"GET": calls.greet},
    LINKS: {"GET": calls.list_links, "POST": calls.register, "PATCH": calls.complete},
    "/api/links/{id}/": {
        "GET": calls.detail,
        "PUT": calls.update,
        "PATCH": calls.modify,
        "DELETE": calls.delete,
    },
    "/api/links/{id}/refresh/": {"POST": calls.refresh},
    "/api/institutions/": {"GET": calls.list_institutions},
    "/api/institutions/{id}/": {"GET": calls.institution},
}
"""By path template, then by method; every other method of a path is answered 405 with ``Allow``."""


@frozen
class Place:
    """A path of the API: its template and the id in it (empty where it has none)."""

    template: str
    item: str = ""

    @property
    def well_formed(self) -> bool:
        """Whether the id can be one at all; a malformed one is 404 (documentation section 20)."""
        return not self.template.startswith("/api/links/{id}/") or is_uuid(self.item)


def find_place(path: str, *, strict_slash: bool) -> Place | None:
    """The place that a path names, if the API has it."""
    if not strict_slash and not path.endswith("/"):
        path += "/"
    if path in ROUTES:
        return Place(path)
    match = _ITEM.fullmatch(path)
    if match is None:
        return None
    template = f"/api/{match[1]}/{{id}}/{match[3] or ''}"
    return Place(template, match[2]) if template in ROUTES else None
