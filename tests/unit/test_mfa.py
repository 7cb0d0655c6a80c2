"""The machine: its table, stated a second time, and what no sequence of events can break."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from belvo_links.errors import IllegalTransitionError, MalformedChallengeError
from belvo_links.protocol import mfa
from belvo_links.protocol.challenge import Challenge, ChallengeKind, TokenRequired
from belvo_links.protocol.mfa import (
    Cancelled,
    ChallengedAgain,
    DeadlinePassed,
    Event,
    LeaseRanOut,
    Linked,
    NotSent,
    PendingRecord,
    PendingState,
    ProvedExpired,
    ProvedFailed,
    ProvedLinked,
    PutBack,
    Refused,
    Rejected,
    ReplyLost,
    SessionOver,
    Submitted,
    advance,
    begin,
    later,
    restored,
    with_baseline,
)
from belvo_links.protocol.models import Link, LinkStatus, Resource
from belvo_links.protocol.stored import dump, load
from belvo_links.redact import Secret

NOW = datetime(2024, 3, 1, 9, tzinfo=UTC)
LINK_ID = "758b0262-4b7d-475a-8e8b-c9d9a143bdc9"
OTHER_ID = "b3743391-0bcb-45e4-b6a8-75a54a0e6394"
ASKED = TokenRequired(
    session=Secret("9c40ba788d77448a3461172161cf0552"),
    link_id=LINK_ID,
    expiry=timedelta(minutes=12),
    challenge=Challenge(kind=ChallengeKind.NUMERIC, value="12345"),
    request_id="first",
)


def started(asked: TokenRequired = ASKED, **facts: Any) -> PendingRecord:
    wanted: dict[str, Any] = {
        "id": "ours",
        "operation": "register",
        "origin": "https://x",
        "account": "digest",
        "now": NOW,
    }
    return begin(asked, **{**wanted, **facts})


# --------------------------------------------------------------------------------- the table, stated a second time

EXPECTED = {
    "awaiting": {"Submitted": "submitting", "DeadlinePassed": "expired", "Cancelled": "cancelled"},
    "submitting": {
        "Linked": "linked",
        "ChallengedAgain": "awaiting",
        "Refused": "awaiting",
        "NotSent": "awaiting",
        "SessionOver": "expired",
        "Rejected": "failed",
        "ReplyLost": "indeterminate",
        "LeaseRanOut": "indeterminate",
    },
    "indeterminate": {
        "Linked": "linked",
        "ChallengedAgain": "awaiting",
        "Refused": "awaiting",
        "NotSent": "awaiting",
        "SessionOver": "expired",
        "Rejected": "failed",
        "ProvedLinked": "linked",
        "ProvedExpired": "expired",
        "ProvedFailed": "failed",
        "PutBack": "awaiting",
    },
    "linked": {},
    "expired": {},
    "failed": {},
    "cancelled": {},
}
"""Written from the contract and never from the module: state, event, next state."""

REPLIES = {"Linked", "ChallengedAgain", "Refused", "NotSent", "SessionOver", "Rejected", "ReplyLost"}
ALWAYS = {"Cancelled", "LeaseRanOut", "ProvedLinked", "ProvedFailed"}

EVENTS: dict[str, Callable[[str], Event]] = {
    "Submitted": lambda claim: Submitted(claim=claim, token_sent=True),
    "Cancelled": lambda _: Cancelled(),
    "Linked": lambda claim: Linked(claim=claim, link_id=LINK_ID),
    "ChallengedAgain": lambda claim: ChallengedAgain(claim=claim, asked=ASKED),
    "Refused": lambda claim: Refused(claim=claim, request_id="r"),
    "SessionOver": lambda claim: SessionOver(claim=claim, request_id="r"),
    "Rejected": lambda claim: Rejected(claim=claim, request_id="r"),
    "NotSent": lambda claim: NotSent(claim=claim),
    "ReplyLost": lambda claim: ReplyLost(claim=claim, request_id="r"),
    "LeaseRanOut": lambda _: LeaseRanOut(),
    "DeadlinePassed": lambda _: DeadlinePassed(),
    "ProvedLinked": lambda _: ProvedLinked(),
    "ProvedExpired": lambda _: ProvedExpired(),
    "ProvedFailed": lambda _: ProvedFailed(),
    "PutBack": lambda _: PutBack(),
}


def expected(state: str, event: str, *, late: bool, own: bool, token_sent: bool) -> str | None:
    """The next state, or None where the event is not allowed: the guards, stated a second time."""
    if event in REPLIES:
        allowed = own
    elif event == "Submitted":
        allowed = not late
    elif event in {"DeadlinePassed", "ProvedExpired"}:
        allowed = late
    elif event == "PutBack":
        allowed = not token_sent
    else:
        allowed = event in ALWAYS
    return EXPECTED[state].get(event) if allowed else None


def in_state(state: str, *, token_sent: bool, claim: str | None) -> PendingRecord:
    record = attrs.evolve(started(), state=PendingState(state), claim=claim, token_sent=token_sent)
    return attrs.evolve(record, session=None, challenge=None) if record.is_settled else record


def probes() -> Iterator[tuple[PendingRecord, Event, datetime, str | None]]:
    """Every state, every event, in time and late, own and foreign, with and without a token: with what is expected."""
    for state in EXPECTED:
        for name, make in EVENTS.items():
            for late in (False, True):
                for claim in ("mine", "theirs", None):
                    for token_sent in (False, True):
                        record = in_state(state, token_sent=token_sent, claim=claim)
                        at = record.expires_at if late else record.expires_at - timedelta(microseconds=1)
                        target = expected(state, name, late=late, own=claim == "mine", token_sent=token_sent)
                        yield record, make("mine"), at, target


def disagreements() -> list[str]:
    """Where the machine does not do what is stated above."""
    found = []
    for record, event, at, target in probes():
        try:
            reached: str | None = str(advance(record, event, now=at).state)
        except IllegalTransitionError:
            reached = None
        if reached != target:
            found.append(f"{record.state} {type(event).__name__}: {reached} instead of {target}")
    return found


def test_the_machine_does_what_is_stated_here() -> None:
    """Table and guards agree with the second statement in every situation."""
    assert disagreements() == []
    assert {kind.__name__ for kind in get_args(Event)} == EVENTS.keys()
    assert set(PendingState) == EXPECTED.keys()


def test_the_table_is_exactly_the_one_stated_here() -> None:
    """Row by row, and as many."""
    rows = {(str(state), event.__name__): str(target) for (state, event), target in mfa.TRANSITIONS.items()}
    assert rows == {(state, event): target for state, row in EXPECTED.items() for event, target in row.items()}


@pytest.mark.parametrize("row", mfa.TRANSITIONS, ids=lambda row: f"{row[0]}-{row[1].__name__}")
def test_removing_or_redirecting_a_row_is_noticed(row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above turns red for every row that is missing or leads elsewhere."""
    rest = {key: target for key, target in mfa.TRANSITIONS.items() if key != row}
    monkeypatch.setattr(mfa, "TRANSITIONS", rest)
    assert disagreements()
    for elsewhere in set(PendingState) - {EXPECTED[row[0]][row[1].__name__]}:
        monkeypatch.setattr(mfa, "TRANSITIONS", {**rest, row: elsewhere})
        assert disagreements()


def test_adding_a_row_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check turns red for every row that the contract does not list."""
    original = mfa.TRANSITIONS
    for state in PendingState:
        for kind in get_args(Event):
            if (state, kind) not in original:
                monkeypatch.setattr(mfa, "TRANSITIONS", {**original, (state, kind): PendingState.AWAITING})
                assert disagreements(), (state, kind)


@pytest.mark.parametrize("kind", mfa.GUARDS, ids=lambda kind: kind.__name__)
def test_removing_or_changing_a_guard_is_noticed(kind: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The check turns red for every guard that is missing, always shut, turned round, or another's."""
    original = mfa.GUARDS
    monkeypatch.setattr(mfa, "GUARDS", {key: guard for key, guard in original.items() if key is not kind})
    assert disagreements()
    others = {guard for guard in original.values() if guard is not original[kind]}
    for other in (lambda *_: False, lambda *situation: not original[kind](*situation), *others):
        monkeypatch.setattr(mfa, "GUARDS", {**original, kind: other})
        assert disagreements()


@pytest.mark.parametrize("kind", sorted(ALWAYS))
def test_adding_a_guard_is_noticed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events without a guard need none."""
    event = type(EVENTS[kind]("mine"))
    for guard in set(mfa.GUARDS.values()):
        monkeypatch.setattr(mfa, "GUARDS", {**mfa.GUARDS, event: guard})
        assert disagreements()


def test_a_refused_event_raises_and_changes_nothing() -> None:
    """The error names event and state, and the record is what it was, to the letter."""
    for record, event, at, target in probes():
        if target is None:
            before = repr(record)
            with pytest.raises(IllegalTransitionError) as caught:
                advance(record, event, now=at)
            assert repr(record) == before
            assert type(event).__name__ in str(caught.value)
            assert str(record.state) in str(caught.value)
        else:
            before = repr(record)
            moved = advance(record, event, now=at)
            assert moved.revision == record.revision + 1
            assert repr(record) == before


# -------------------------------------------------------------------------------------- no sequence breaks anything

EXPIRIES = st.none() | st.integers(0, 1200).map(lambda seconds: timedelta(seconds=seconds))
ASKINGS = st.builds(
    TokenRequired,
    session=st.none() | st.just(Secret("e" * 32)),
    link_id=st.none() | st.sampled_from([LINK_ID, OTHER_ID]),
    expiry=EXPIRIES,
    challenge=st.builds(
        Challenge,
        kind=st.none() | st.sampled_from(["qr", "voice"]).map(ChallengeKind),
        value=st.none() | st.just("ñ 12345"),
        expects_user_input=st.booleans(),
    ),
    request_id=st.none() | st.just("again"),
)
BEFORE = Link(
    id=LINK_ID,
    institution="a",
    status=LinkStatus("odd"),
    created_at=NOW,
    last_accessed_at=NOW,
    credentials_storage="nostore",
    fetch_resources=(Resource.OWNERS, Resource("NEW")),
)


class Life(RuleBasedStateMachine):
    """One record, driven by whatever may happen, in any order, by two claimants."""

    def __init__(self) -> None:
        super().__init__()
        self.record = started()
        self.now = NOW
        self.rounds = 1

    @initialize(asked=ASKINGS, nostore=st.booleans(), value=st.none() | st.just({"user": [1, None]}))
    def begins(self, asked: TokenRequired, nostore: bool, value: Any) -> None:
        """The first challenge, for a link that stores its credentials or not."""
        first = attrs.evolve(asked, session=ASKED.session, link_id=LINK_ID)
        self.record = started(first, nostore=nostore, correlation=value, requested={"stale_in": "90d"})

    @rule(seconds=st.integers(0, 400))
    def time_passes(self, seconds: int) -> None:
        """The clock is somebody else's, and moves on."""
        self.now += timedelta(seconds=seconds)

    @rule(name=st.sampled_from(sorted(EVENTS)), claim=st.sampled_from(["one", "two"]))
    def anything_happens(self, name: str, claim: str) -> None:
        """Any event at all, mostly illegal."""
        self.feed(EVENTS[name](claim))

    @rule(token_sent=st.booleans(), claim=st.sampled_from(["one", "two"]))
    def is_claimed(self, token_sent: bool, claim: str) -> None:
        """Somebody submits."""
        self.feed(Submitted(claim=claim, token_sent=token_sent))

    @rule(asked=ASKINGS)
    def is_asked_again(self, asked: TokenRequired) -> None:
        """The reply of whoever claimed last is another challenge."""
        self.feed(ChallengedAgain(claim=self.record.claim or "one", asked=asked))

    @rule(name=st.sampled_from(["Refused", "NotSent", "ReplyLost"]))
    def is_answered(self, name: str) -> None:
        """The reply of whoever claimed last leaves it open."""
        self.feed(EVENTS[name](self.record.claim or "one"))

    @rule()
    def is_looked_at(self) -> None:
        """A baseline may come at any time before the end."""
        if not self.record.is_settled:
            before = self.record
            self.record = with_baseline(before, BEFORE)
            assert self.record.expires_at <= min(before.expires_at, before.created_at + timedelta(minutes=15))
            assert (self.record.state, self.record.revision) == (before.state, before.revision + 1)

    def feed(self, event: Event) -> None:
        """Let it happen, and compare before and after."""
        before, text = self.record, dump(self.record)
        try:
            after = advance(before, event, now=self.now)
        except IllegalTransitionError:
            assert dump(before) == text
            return
        self.record = after
        claim = getattr(event, "claim", None)
        assert not before.is_settled
        assert after.revision == before.revision + 1
        assert after.round - before.round == isinstance(event, ChallengedAgain)
        self.rounds += isinstance(event, ChallengedAgain)
        assert isinstance(event, Submitted) or claim in {None, before.claim}
        assert isinstance(event, Submitted) or after.claim == before.claim
        assert not isinstance(event, Submitted) or self.now < before.expires_at
        if after.state is PendingState.AWAITING and after.round == before.round and before.token_sent:
            assert isinstance(event, Refused | NotSent)
        unchanging = (
            "id",
            "operation",
            "origin",
            "account",
            "created_at",
            "correlation",
            "requested",
            "named",
            "baseline",
        )
        assert all(getattr(after, name) == getattr(before, name) for name in unchanging)
        assert after.request_ids[: len(before.request_ids)] == before.request_ids

    @invariant()
    def holds(self) -> None:
        """What is true at every step."""
        record = self.record
        assert record.is_settled == (record.session is None) == (record.challenge is None)
        assert record.round == self.rounds
        assert record.limited_until is None or record.expires_at <= record.limited_until
        assert record.state is not PendingState.SUBMITTING or record.claim is not None
        text = dump(record)
        assert load(text) == record
        assert '"token":' not in text
        assert "9c40ba" not in repr(record)
        assert "12345" not in repr(record)


TestLife = Life.TestCase
TestLife.settings = settings(stateful_step_count=30)


# ------------------------------------------------------------------------------------------- what each event brings


def submitted(record: PendingRecord | None = None, *, token_sent: bool = True) -> PendingRecord:
    return advance(record or started(), Submitted(claim="mine", token_sent=token_sent), now=NOW)


def test_a_challenge_begins_a_record() -> None:
    """With what the 428 says and the caller gave."""
    record = started(correlation={"user": 1}, requested={"stale_in": "9d"}, named=True)
    assert (record.state, record.round, record.revision) == (PendingState.AWAITING, 1, 0)
    assert (record.session, record.challenge, record.link_id) == (ASKED.session, ASKED.challenge, LINK_ID)
    assert (record.created_at, record.expires_at) == (NOW, NOW + timedelta(minutes=12))
    assert (record.request_ids, record.claim, record.token_sent) == (("first",), None, False)
    assert (record.correlation, record.requested, record.named) == ({"user": 1}, {"stale_in": "9d"}, True)


def test_without_an_expiry_there_are_720_seconds() -> None:
    """In the first round and in a later one."""
    asked = attrs.evolve(ASKED, expiry=None, request_id=None)
    assert started(asked).expires_at == NOW + timedelta(seconds=720)
    assert started(asked).request_ids == ()
    again = advance(submitted(), ChallengedAgain(claim="mine", asked=asked), now=NOW + timedelta(seconds=5))
    assert again.expires_at == NOW + timedelta(seconds=725)


def test_nostore_ends_15_minutes_after_the_first_challenge_whatever_later_rounds_say() -> None:
    """The credentials are gone by then."""
    long = attrs.evolve(ASKED, expiry=timedelta(hours=3))
    record = started(long, nostore=True)
    assert record.expires_at == NOW + timedelta(minutes=15)
    again = advance(submitted(record), ChallengedAgain(claim="mine", asked=long), now=NOW + timedelta(minutes=10))
    assert again.expires_at == NOW + timedelta(minutes=15)
    short = started(attrs.evolve(ASKED, expiry=timedelta(minutes=2)), nostore=True)
    assert short.expires_at == NOW + timedelta(minutes=2)


@pytest.mark.parametrize(
    "asked, missing",
    [
        (attrs.evolve(ASKED, session=None), ("$.session: missing",)),
        (attrs.evolve(ASKED, link_id=None), ("$.link: missing",)),
        (TokenRequired(request_id="first"), ("$.session: missing", "$.link: missing")),
    ],
)
def test_a_first_challenge_that_lacks_something_begins_nothing(asked: TokenRequired, missing: tuple[str, ...]) -> None:
    """Without session and link nobody can continue."""
    with pytest.raises(MalformedChallengeError) as caught:
        started(asked)
    assert caught.value.problems == missing
    assert caught.value.request_id == "first"


def test_the_link_that_was_called_stands_in_for_one_that_the_challenge_does_not_name() -> None:
    """For every call but a registration the link is known."""
    assert started(attrs.evolve(ASKED, link_id=None), link_id=OTHER_ID).link_id == OTHER_ID
    assert started(link_id=OTHER_ID).link_id == LINK_ID


def test_another_challenge_is_the_next_round() -> None:
    """What it says replaces what was; what it leaves out stays."""
    asked = TokenRequired(
        session=Secret("e" * 32),
        link_id=OTHER_ID,
        expiry=timedelta(seconds=9),
        challenge=Challenge(),
        request_id="second",
    )
    later_on = NOW + timedelta(minutes=1)
    again = advance(submitted(), ChallengedAgain(claim="mine", asked=asked), now=later_on)
    assert (again.round, again.state, again.session, again.link_id) == (2, "awaiting", asked.session, OTHER_ID)
    assert (again.challenge, again.expires_at) == (Challenge(), later_on + timedelta(seconds=9))
    assert again.request_ids == ("first", "second")
    bare = advance(submitted(), ChallengedAgain(claim="mine", asked=TokenRequired()), now=later_on)
    assert (bare.round, bare.session, bare.link_id, bare.request_ids) == (2, ASKED.session, LINK_ID, ("first",))


def test_a_late_reply_beats_indeterminate_for_its_own_claim_only() -> None:
    """Whoever claimed last may still be answered, whatever the lease said."""
    lost = advance(submitted(), LeaseRanOut(), now=NOW)
    for name, target in EXPECTED["indeterminate"].items():
        if name in REPLIES:
            assert advance(lost, EVENTS[name]("mine"), now=NOW).state == target
            with pytest.raises(IllegalTransitionError):
                advance(lost, EVENTS[name]("theirs"), now=NOW)


def test_settling_erases_session_and_challenge_and_keeps_the_rest() -> None:
    """What is needed to continue is gone, what tells the story stays."""
    linked = advance(submitted(), Linked(claim="mine", link_id=OTHER_ID), now=NOW)
    assert (linked.session, linked.challenge) == (None, None)
    assert (linked.link_id, linked.request_ids, linked.claim) == (OTHER_ID, ("first",), "mine")


@pytest.mark.parametrize("link_id", [None, "", "not a uuid"])
def test_a_link_without_a_proper_id_does_not_spoil_the_record(link_id: str | None) -> None:
    """The reader of replies takes any text for an id; a record that holds it could not be loaded again."""
    linked = advance(submitted(), Linked(claim="mine", link_id=link_id), now=NOW)
    assert linked.link_id == LINK_ID
    assert load(dump(linked)) == linked


def test_a_baseline_keeps_what_matters_and_may_shorten_the_time() -> None:
    """A link that turns out to be `nostore` bounds the deadline, any other does not."""
    record = started(attrs.evolve(ASKED, expiry=timedelta(hours=3)))
    looked = with_baseline(record, BEFORE)
    assert looked.baseline is not None
    assert (looked.baseline.status, looked.baseline.fetch_resources) == ("odd", ("OWNERS", "NEW"))
    assert looked.expires_at == looked.limited_until == NOW + timedelta(minutes=15)
    stored = with_baseline(record, attrs.evolve(BEFORE, credentials_storage="store"))
    assert (stored.expires_at, stored.limited_until) == (record.expires_at, None)


def test_of_two_versions_the_settled_one_counts_then_the_later_round_then_the_stored_one() -> None:
    """Old text cannot revive what is over, and cannot take back a round."""
    first = started()
    second = advance(submitted(), ChallengedAgain(claim="mine", asked=ASKED), now=NOW)
    over = advance(first, Cancelled(), now=NOW)
    assert later(first, second) is second
    assert later(second, first) is second
    assert later(over, second) is over
    assert later(second, over) is over
    assert later(submitted(), first) == submitted()


def test_a_record_that_comes_back_while_submitting_is_indeterminate() -> None:
    """Nobody waits for its reply any more; every other state comes back as it was."""
    assert restored(submitted()).state is PendingState.INDETERMINATE
    assert restored(started()) == started()
