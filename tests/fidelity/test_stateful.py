"""Thousands of requests that schemathesis makes from the OpenAPI document, in chains, against the simulator."""

import copy
import os
from typing import Any

import pytest
from jsonschema import ValidationError
from schemathesis.core.failures import FailureGroup

from tests.fidelity.wandering import COMPLETE, REGISTER, Journal, wander
from tests.sandbox.openapi import METHODS, read_document

PROVING = os.environ.get("BELVO_LINKS_PROVE") == "1"
SCENARIOS, CASES = (320, 2_000) if PROVING else (36, 300)
ITEM, REFRESH = "/api/links/{id}/", "POST /api/links/{id}/refresh/"
SUCCESS = (200, 201, 202, 204)
pytestmark = [pytest.mark.prove, pytest.mark.timeout(600 if PROVING else 120)]


@pytest.fixture(scope="module")
def walk() -> Journal | Exception:
    """One walk for all tests of this file; each of its requests has passed every check on the way.

    In its second part there are logins only, so that many are completed.
    """
    try:
        journal = wander(SCENARIOS, seeded=not PROVING)
        wander(SCENARIOS // 3, seeded=not PROVING, only=["registerLink", "patchLinks", "detailLink"], journal=journal)
    except Exception as error:  # noqa: BLE001  # one test tells it, instead of every one
        return error
    return journal


@pytest.fixture
def journal(walk: Journal | Exception) -> Journal:
    if isinstance(walk, Exception):
        pytest.skip("the walk has failed, which another test tells")
    return walk


def test_no_request_meets_what_the_document_has_not(walk: Journal | Exception) -> None:
    """The walk was long enough, and a part of it was wrong on purpose."""
    if isinstance(walk, Exception):
        raise walk
    journal = walk
    assert len(journal.steps) >= CASES
    assert sum(step.negative for step in journal.steps) > CASES / 40
    assert max(step.status for step in journal.steps) < 500


@pytest.mark.parametrize(
    "call",
    [
        f"{method.upper()} {path}"
        for path, operations in read_document()["paths"].items()
        for method in operations
        if method in METHODS and path != "/api/"  # no link leads there or away
    ],
)
def test_every_call_has_succeeded(journal: Journal, call: str) -> None:
    """A walk that is refused everywhere proves nothing."""
    assert journal.count(call, *SUCCESS) > 0


def test_what_was_registered_leads_on(journal: Journal) -> None:
    """By the id of the very link that was created or completed: to most calls, and in a long walk to all of them."""
    calls = [*(f"{method} {ITEM}" for method in ("GET", "PATCH", "PUT", "DELETE")), REFRESH]
    made = ((REGISTER, 201), (COMPLETE, 200), (COMPLETE, 201))
    led = [call for call in calls if any(journal.count(call, *SUCCESS, after=source) for source in made)]
    assert led == calls if PROVING else len(led) >= 3


def test_a_second_factor_leads_to_complete(journal: Journal) -> None:
    """With the session and the link of that very 428: of a registration, of an update, of Complete itself."""
    sources = {REGISTER, COMPLETE, f"PUT {ITEM}", f"PATCH {ITEM}", f"GET {ITEM}", f"DELETE {ITEM}", REFRESH}
    completed = {source for source in sources if journal.count(COMPLETE, 200, 201, after=(source, 428))}
    assert REGISTER in completed
    assert len(completed) >= (4 if PROVING else 2)


def test_refusals_are_met_too(journal: Journal) -> None:
    """Bad bodies, what is gone, a cooldown, a second factor."""
    assert journal.count(REGISTER, 400) > 0
    assert journal.count(f"GET {ITEM}", 404) > 0
    assert journal.count(f"PUT {ITEM}", 428) > 0
    assert journal.count(REFRESH, 409) > 0 or not PROVING


def _broken(document: dict[str, Any], fault: str) -> dict[str, Any]:
    schemas, paths = document["components"]["schemas"], document["paths"]
    match fault:
        case "status":
            del paths["/api/links/"]["post"]["responses"]["428"]
        case "schema":
            schemas["Link"]["properties"]["stale_in"] = {"type": "integer"}
        case "media type":
            content = paths["/api/links/"]["get"]["responses"]["200"]["content"]
            content["text/csv"] = content.pop("application/json")
        case "promise":
            document["components"]["parameters"]["PageSize"]["schema"] = {"type": "integer", "minimum": 1}
        case _:
            raise NotImplementedError(fault)
    return document


@pytest.mark.parametrize("fault", ["status", "schema", "media type", "promise"])
def test_a_document_that_says_otherwise_is_noticed(fault: str) -> None:
    """So the walk can fail: in each of the things that it checks."""
    document = _broken(copy.deepcopy(read_document()), fault)
    with pytest.raises((FailureGroup, AssertionError, ValidationError)):
        wander(40, seeded=True, document=document, only_bad=fault == "promise", refusing={"page_size"})
