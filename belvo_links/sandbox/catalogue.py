"""Finding institutions: the filters of their list (documentation section 21)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from .answers import Problem, RefusalError
from .filters import Query, given
from .institutions import INSTITUTIONS, Institution

TYPES = ("bank", "fiscal", "employment")
Test = Callable[[Institution, list[str], Collection[str]], bool]
_TESTS: Mapping[str, Test] = {
    "name": lambda one, wanted, down: one.name in wanted,
    "display_name": lambda one, wanted, down: one.display_name in wanted,
    "country_code": lambda one, wanted, down: one.country in wanted,
    "type": lambda one, wanted, down: one.type in wanted,
    "status": lambda one, wanted, down: one.status(down) in wanted,
    "website": lambda one, wanted, down: one.website in wanted,
    "resources__allin": lambda one, wanted, down: set(wanted) <= set(one.shown_resources),
}
_SEVERAL = ("name", "country_code", "type", "status")
"""What may also be asked for as one of several values, with ``__in``."""


def select_institutions(query: Query, down: Collection[str]) -> list[Institution]:
    """The institutions that pass every filter; unknown parameters are ignored."""
    found = list(INSTITUTIONS.values())
    for name in query:
        value = given(query, name)
        base = name.removesuffix("__in") if name.removesuffix("__in") in _SEVERAL else name
        test = _TESTS.get(base)
        if value is None or test is None:
            continue
        wanted = [value] if name == base and name != "resources__allin" else value.split(",")
        if name == "type" and value not in TYPES:
            message = f"Select a valid choice. {value} is not one of the available choices."
            raise RefusalError(Problem(400, "invalid_choice", message, name))
        found = [one for one in found if test(one, wanted, down)]
    return found
