"""Walks through the simulator over a socket, made by schemathesis from the OpenAPI document and its links.

Each scenario has a simulator of its own, so that it can be repeated exactly. What was done is kept in a journal, since
a walk on which nothing succeeded would prove nothing.
"""

import copy
import json
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
import schemathesis
from attrs import field, frozen, mutable
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.generation import GenerationMode
from schemathesis.generation.stateful.state_machine import StepInput, StepOutput
from schemathesis.schemas import BaseSchema

from belvo_links.sandbox import Sandbox
from belvo_links.sandbox.threaded import SimulatorThread, ThreadedSandbox
from tests.sandbox.openapi import Checker, read_document

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
STEPS = 10
REGISTER, COMPLETE = "POST /api/links/", "PATCH /api/links/"
SECONDS = 25.0
"""That pass between two steps: five deletions a minute are seldom too many, and cooldowns end now and then."""

REFUSING = frozenset({"page", "id", "id__in", "access_mode", "created_by__not_in", "type"})
"""Parameters that refuse bad values (sections 5 and 6), beside the dates; all others take what comes."""

LOGINS: tuple[Mapping[str, str], ...] = (
    {"institution": "erebor_mx_retail", "username": "bnk100", "password": "full"},
    {"institution": "erebor_mx_retail", "username": "bnk100", "password": "full", "access_mode": "single"},
    {"institution": "heimdall_mx_retail", "username": "mfa_default", "password": "pass_valid"},
    {"institution": "heimdall_co_retail", "username": "mfa_numeric", "password": "numeric_code"},
    {"institution": "gotham_br_business", "username": "mfa_qr", "password": "qr_code", "access_mode": "single"},
    {"institution": "erebor_mx_retail", "username": "sim_mfa_text", "password": "full"},
    {"institution": "erebor_mx_retail", "username": "sim_mfa_inputless", "password": "full"},
    {"institution": "tatooine_mx_fiscal", "username": "sim_mfa_chain", "password": "full"},
    {"institution": "erebor_mx_retail", "username": "sim_mfa_update", "password": "full", "access_mode": "single"},
    {"institution": "erebor_mx_retail", "username": "sim_mfa_detail", "password": "full"},
    {"institution": "erebor_mx_retail", "username": "sim_mfa_delete", "password": "full"},
    {"institution": "erebor_mx_retail", "username": "sim_mfa_refresh", "password": "full"},
)
"""Registrations that succeed or meet a second factor: by chance alone institution, user and password rarely fit."""
BODY, QUERY = "body", "query"
ORDINARY: Mapping[str, tuple[str, Sequence[Mapping[str, object]]]] = {
    REGISTER: (BODY, LOGINS),
    "PATCH /api/links/{id}/": (BODY, ({"stale_in": "90d"}, {"access_mode": "recurrent"}, {"access_mode": "single"})),
    "PUT /api/links/{id}/": (BODY, ({"password": "full"}, {"password": "pass_valid", "token": "111111"})),
    "POST /api/links/{id}/refresh/": (BODY, ({}, {"fetch_resources": ["ACCOUNTS"]})),
    "GET /api/links/": (QUERY, ({}, {"page_size": "1"}, {"status": "valid"})),
    "GET /api/institutions/": (QUERY, ({}, {"type": "bank"})),
}
"""What makes sense, to be sent as often as what chance alone brings: that is refused, or selects nothing."""
UNKNOWN = "POST /api/links/{id}/refresh/"
"""What schemathesis would also begin with, because it is a POST: of a link that does not exist."""


@frozen
class Step:
    """One request: the call, its answer, whether its data were bad on purpose, and the link that led to it."""

    call: str
    status: int
    negative: bool
    after: tuple[str, int] | None
    """Call and status of the reply whose data it carries; ``None`` where it began something."""


@mutable
class Journal:
    """Everything that was done."""

    steps: list[Step] = field(factory=list[Step])
    scenarios: int = 0

    def count(self, call: str, *statuses: int, after: tuple[str, int] | None = None) -> int:
        """How often a call had one of these answers; after a certain reply, where one is given."""
        return sum(step.call == call and step.status in statuses and after in (None, step.after) for step in self.steps)


@frozen(kw_only=True)
class Route:
    """Which way a walk goes: the document, the operations (all by default), and what is wrong on purpose."""

    document: Mapping[str, Any]
    only: Sequence[str] = ()
    only_bad: bool = False
    refusing: Collection[str] = REFUSING


def describe(route: Route) -> BaseSchema:
    """The document as schemathesis knows it, with all of its checks."""
    prepared = copy.deepcopy(dict(route.document))
    for link in prepared["components"]["responses"]["TokenRequired"]["links"].values():
        link["x-schemathesis"] = {
            "merge_body": False
        }  # session, link and token as they came: by halves they are useless
    schema: BaseSchema = schemathesis.openapi.from_dict(prepared)
    if route.only:
        schema = schema.include(operation_id=list(route.only))
    if route.only_bad:
        schema.config.generation.modes = [GenerationMode.NEGATIVE]
    schema.config.generation.with_security_parameters = False  # the keys are given with every request
    schema.config.phases.stateful.inference.algorithms = []  # the links of the document, and no guesses
    # Beyond what a schema can say there is much to refuse (section 11.2), but neither with 403, 405, 415 nor 5xx.
    accepted = ["2xx", "400", "401", "404", "409", "428", "429"]
    schema.config.checks.positive_data_acceptance.expected_statuses = accepted

    @schema.hook("flatmap_case")
    def make_sense_often(context: object, case: Any) -> st.SearchStrategy[Any]:
        if not case.meta.generation.mode.is_positive:
            return st.just(case)

        place, ordinary = ORDINARY.get(case.operation.label, (BODY, ()))

        def given(wanted: Mapping[str, object] | None) -> Any:
            if wanted is not None:
                setattr(case, place, dict(wanted))
            return case

        return st.sampled_from([None, *ordinary]).map(given)

    @schema.hook("filter_failure")
    def is_promised(context: object, failure: Failure, case: Any, response: Any) -> bool:
        return not isinstance(failure, AcceptedNegativeData) or promises_refusal(
            case, response.request.url, route.refusing
        )

    return schema


def promises_refusal(case: Any, url: str, names: Collection[str]) -> bool:
    """Whether the documents say that what is wrong with this case, and was really sent, is refused."""
    sent = parse_qs(urlsplit(url).query, keep_blank_values=True)
    for mutation in case.meta.phase.data.mutations:
        place, name = mutation.parameter_location.value, mutation.parameter or ""
        refusing = name in names or name.startswith("created_at")
        # An empty value counts for nothing, and of several the last one counts.
        if place == "body" or (place == "query" and refusing and len(sent.get(name, ())) == 1 and sent[name][0]):
            return True
    return False


def has_nothing_else(machine: Any) -> bool:
    """Whether no request can be made now."""
    offered = machine._rules_strategy
    return not any(each.function.__name__ != "let_time_pass" and offered.is_valid(each) for each in offered.rules)


def machine_for(thread: SimulatorThread, journal: Journal, route: Route) -> Any:
    """A state machine whose scenarios each have a simulator of their own, in that thread."""
    checker = Checker(route.document)

    base: Any = describe(route).as_state_machine()

    class Machine(base):  # type: ignore[misc]  # the base is made from the document
        _root_labels = base._root_labels - {UNKNOWN}
        RANDOM__POST_api_links_id_refresh_ = None

        def setup(self) -> None:
            self.box = ThreadedSandbox(thread, thread.run(Sandbox(clock=lambda: START).start()))
            for username in ("sim_mfa_refresh", "sim_mfa_delete", "sim_mfa_update"):  # the last one is listed first
                self.box.add_links(1, username=username)
                self.box.advance(days=1)
            self.session = requests.Session()
            # A header rather than the session's `auth`: the check of the keys leaves it out or changes it.
            keys = f"{self.box.secret_id}:{self.box.secret_password}"
            self.keys = {"Authorization": f"Basic {b64encode(keys.encode()).decode()}"}
            self.answers: dict[str, tuple[str, int]] = {}
            journal.scenarios += 1

        @rule()
        @precondition(has_nothing_else)
        def let_time_pass(self) -> None:
            """So that there always is something to do: schemathesis may have nothing to offer that it wants again."""
            self.box.advance(minutes=4)

        def teardown(self) -> None:
            self.session.close()
            self.box.close()  # raises where the simulator itself has failed

        def _repr_step(self, rule: object, data: object, result: object) -> str:
            """Nothing: hypothesis would count names that schemathesis has not given, and fail about that instead."""
            return ""

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"session": self.session, "base_url": self.box.url, "headers": self.keys}

        def before_call(self, case: Any) -> None:
            self.box.advance(seconds=SECONDS)

        def step(self, input: StepInput) -> StepOutput:  # noqa: A002  # schemathesis calls it so
            output: StepOutput = super().step(input)
            case, status = output.case, output.response.status_code
            self.answers[case.id] = (case.operation.label, status)
            after = None
            if input.transition is not None and input.is_applied:
                after = self.answers[input.transition.parent_id]
            negative = bool(case.meta and case.meta.generation.mode.is_negative)
            journal.steps.append(Step(case.operation.label, status, negative, after))
            return output

        def after_call(self, response: Any, case: Any) -> None:
            super().after_call(response, case)
            method, _, template = case.operation.label.partition(" ")
            headers = {name: values[0] for name, values in response.headers.items()}
            body = json.loads(response.content) if "json" in headers.get("content-type", "") else None
            query = response.request.url.partition("?")[2]
            checker.check(method, template, response.status_code, headers, body, query=query)

    return Machine


def wander(
    examples: int,
    *,
    seeded: bool,
    document: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    only_bad: bool = False,
    refusing: Collection[str] = REFUSING,
    journal: Journal | None = None,
) -> Journal:
    """Walk through so many scenarios; ``seeded`` ones are the same every time.

    Args:
        examples: how many scenarios.
        seeded: whether they are the same every time.
        document: what they are made from; ours by default.
        only: the operations; all by default.
        only_bad: whether every request is wrong on purpose; otherwise every tenth.
        refusing: parameters of which the documents promise that bad values are refused.
        journal: what to go on with.
    """
    route = Route(document=document or read_document(), only=only, only_bad=only_bad, refusing=refusing)
    journal = Journal() if journal is None else journal
    with SimulatorThread() as thread:
        machine = machine_for(thread, journal, route)
        machine.run(
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                derandomize=seeded,
                database=None,
                deadline=None,
                report_multiple_bugs=False,
                phases=[Phase.generate],  # a scenario that fails is told as it is
                suppress_health_check=list(HealthCheck),  # it is no defect that a walk takes its time
            )
        )
    return journal
