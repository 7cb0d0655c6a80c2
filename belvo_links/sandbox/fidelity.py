"""How far the simulator can be believed: for each behaviour, what it rests on.

Three kinds of ground: *documented* (the contract, the reference or a guide says so), *inferred* (from examples, from
conventions of the framework behind the service, from what follows), *ours* (the documents say nothing, and something
had to be done, or it is a tool for tests that the service cannot have).
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable
from enum import Enum
from itertools import pairwise

import attrs

from . import options
from .options import Switches


class Ground(Enum):
    """What a behaviour rests on."""

    DOCUMENTED = "documented"
    INFERRED = "inferred"
    OURS = "our own choice"


@attrs.frozen
class Behaviour:
    """One thing that the simulator does."""

    area: str
    what: str
    ground: Ground
    sections: str
    """Of the project's digest of Belvo's documents; empty where they say nothing at all."""


_D, _I, _O = Ground.DOCUMENTED, Ground.INFERRED, Ground.OURS


def _behaviours(area: str, *rows: tuple[str, Ground, str]) -> tuple[Behaviour, ...]:
    return tuple(Behaviour(area, *row) for row in rows)


FIDELITY: tuple[Behaviour, ...] = (
    *_behaviours(
        "protocol",
        ("each call answers with the statuses that are documented for it", _D, "9"),
        ("HTTP Basic; wrong keys 401 `authentication_failed`", _D, "2"),
        ("no `Authorization` 401 `not_authenticated`", _I, "2, 20"),
        ("a path without its last slash is 404", _I, "1, 20"),
        ("another method 405 with `Allow`", _I, "20"),
        ("malformed JSON 400 `parse_error`, another media type 415", _I, "11.2"),
        ("errors as an array, one `request_id` for all its elements", _D, "11.1"),
        ("codes and messages of errors", _D, "11.2"),
        ("codes and messages of field validation", _I, "11.2"),
        ("`&` escaped in JSON, six digits in timestamps, the order of a link's fields", _D, "4, 7"),
        ("`Date` is the simulated time", _O, ""),
    ),
    *_behaviours(
        "list",
        ("envelope, `next` and `previous` with the caller's query, at most 1,000 results a page", _D, "5"),
        ("10 results by default", _D, "5"),
        ("newest first", _I, "5"),
        ("a page past the end 404, a bad `page_size` is the default", _I, "5, 20"),
        ("all filters; several combine with AND", _D, "6"),
        ("a bad date, UUID or mode 400; unknown parameters ignored; `fields` before `omit`", _I, "6"),
        ("the last value of a parameter that is repeated counts", _O, ""),
        ("408 for large pages, from a size that a switch gives", _O, "9.1"),
    ),
    *_behaviours(
        "register",
        ("fields, defaults, what goes with what", _D, "9.2, 11.2"),
        ("the form of bank users: 16 letters, digits and underscores", _D, "17.1"),
        ("the documented users and passwords", _D, "17.2, 17.3"),
        ("a refusal leaves no link", _I, "8, 20"),
        (
            "`external_id` that is an e-mail address or a CPF becomes null; other personal data are not detected",
            _I,
            "20",
        ),
        ("`institution_user_id` is equal for equal institution and user name", _D, "15"),
        ("`stale_in` is null for single links that name none", _I, "7, 14"),
        ("which resources each bank supports", _I, "11.2, 18.1"),
        ("numbers from 9001 on, web sites, labels and validation messages of institutions", _O, "21"),
        ("a login at an institution that is down 400 `institution_down`", _I, "11.2, 21"),
        ("user names that begin with `sim_`, free of every form, with any password", _O, "17.3"),
        ("patterns of user names and passwords by product (CPF, CURP, RFC) are not checked", _O, "9.2"),
        ("no code of `username_type` is refused, but for Iron Bank's `999`", _I, "17.2, 18.2"),
    ),
    *_behaviours(
        "second factor",
        ("the 428 and its four kinds of challenge", _D, "10.2"),
        ("`111111` is right, anything else is asked again", _D, "17.3"),
        ("a second 428 has a new `session` and a fresh `expiry`", _I, "10.3, 20"),
        ("an unknown session, or one of another link, 400 `session_expired`", _I, "20"),
        ("an early Complete of an `inputless` challenge is asked again", _I, "20"),
        ("the simulated user confirms by the second try", _O, "10.2"),
        ("Complete answers 201, or 200 with `save_data` false", _D, "9.3"),
        ("Detail, Delete and Refresh can meet a challenge; Complete then lets their repetition through", _I, "10.1"),
        ("`nostore`: no Complete after 15 minutes", _I, "10.3"),
    ),
    *_behaviours(
        "links",
        ("patch: fields, errors, side effects of a switch of mode", _I, "9.5"),
        ("update: only the password is needed; a link becomes valid and keeps its id", _D, "9.6"),
        ("update of a link whose storage has ended 400 `invalid_link`", _I, "8"),
        ("delete 204, with the header 202; the second time 404", _D, "9.7"),
        ("five synchronous deletions a minute, then 429", _D, "9.7, 13"),
        ("the minute slides, by API key, and only successes count; code and `Retry-After` of the 429", _I, "20"),
        ("after an asynchronous 202 the link can be read until the webhook is sent", _I, "20"),
        ("refresh 202, and 409 `link_refreshed` with its minutes within ten minutes", _D, "9.8"),
        ("only a 202 starts the cooldown; minutes are rounded up", _I, "20"),
        ("refresh of a link without credentials 400", _I, "9.8"),
        ("80 requests in 30 seconds: counted; as a limit only by a switch", _D, "13"),
        ('what the "IP block" looks like: 429 `throttled`', _O, "13"),
    ),
    *_behaviours(
        "time",
        ("recurrent links are refreshed at the account's rate, 7d", _D, "7, 9.5"),
        ("the rate counts from the last access, which it moves", _I, "7"),
        ("a scheduled refresh that meets a challenge leaves `token_required`, wrong credentials `invalid`", _D, "8"),
        ("users that log in with a token meet a challenge at their first scheduled refresh", _I, "8"),
        ("users that ask for a lapse, and when", _O, "8"),
        ("`1d` to `365d` after the creation a link is invalid; `nostore` after 15 minutes", _D, "14"),
        ("data go `stale_in` after the last access; shown by `Sandbox.has_data` only", _D, "14"),
        ("asynchronous work takes three seconds", _O, "12"),
    ),
    *_behaviours(
        "webhooks",
        ("payload, types and codes", _D, "16.1, 16.2"),
        ("`historical_update` per resource after creation, refresh, and an update of a recurrent link", _D, "16.2"),
        ("the day after a switch to recurrent, of the core resources", _D, "9.5"),
        ("`new_…_available` per resource at every scheduled refresh", _I, "16.2"),
        ("numbers in `data`", _O, "16.2"),
        ("`data` of `token_required`", _I, "16.2"),
        ("`link_deleted`: its spelling, `process_type` and `data`", _I, "16.2, 20"),
        ("POST with the configured `Authorization`, any 2xx within five seconds is success", _D, "16.3"),
        ("five repeats with linear backoff", _D, "16.3"),
        ("one, two, three, four and five minutes", _O, "16.3"),
        ("duplicates and another order, on demand", _I, "16.3"),
        ("redirects are not followed; only addresses of this machine unless allowed", _O, ""),
        ("no webhooks about the refreshes of links made with `add_links`, unless asked for", _O, ""),
    ),
    *_behaviours(
        "not there",
        ("data of links (accounts, transactions …) and the calls that read them", _O, ""),
        ("the hosted widget and its tokens", _O, "2"),
        ("monthly wiping of the sandbox", _O, "1"),
        (
            "`transactions_updated`, `transactions_deleted`, `initial_inflow_update`, `initial_outflow_update`",
            _O,
            "16.2",
        ),
    ),
)
"""Everything, by area."""


def fidelity_table() -> str:
    """The table of all behaviours, in Markdown."""
    rows = ((one.area, one.what, one.ground.value, one.sections or "none") for one in FIDELITY)
    return _table(("about", "what it does", "ground", "sections"), rows)


def switches_table() -> str:
    """The table of all switches, in Markdown: name, default, and the first sentence of what it says."""
    told = _attribute_docs()
    rows = (
        (f"`{each.name}`", f"`{each.default!r}`".replace("'", '"'), _plain(told[each.name]))
        for each in attrs.fields(Switches)
    )
    return _table(("switch", "default", "what it chooses"), rows)


def _attribute_docs() -> dict[str, str]:
    """The docstrings below the attributes of the switches, which Python itself does not keep."""
    [body] = (
        node.body
        for node in ast.parse(inspect.getsource(options)).body
        if isinstance(node, ast.ClassDef) and node.name == Switches.__name__
    )
    found: dict[str, str] = {}
    for attribute, below in pairwise(body):
        if isinstance(attribute, ast.AnnAssign) and isinstance(below, ast.Expr):
            found[ast.unparse(attribute.target)] = str(ast.literal_eval(below.value))
    return found


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("``", "`"))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = (head, ("---",) * len(head), *rows)
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
