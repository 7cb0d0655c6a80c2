"""Pending records of every kind, for properties that hold for all of them."""

from datetime import UTC

import attrs
from hypothesis import strategies as st

from belvo_links.protocol.challenge import Challenge, ChallengeKind
from belvo_links.protocol.mfa import SETTLED, Baseline, PendingRecord, PendingState
from belvo_links.protocol.models import Resource
from belvo_links.redact import Secret
from belvo_links.wire import format_timestamp

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MOMENTS = st.datetimes(timezones=st.just(UTC))
UUIDS = st.uuids().map(str)
LIKE_IDS = st.one_of(
    st.binary(max_size=24).map(bytes.hex),
    st.binary(max_size=24).map(lambda data: data.hex().upper()),
    st.binary(max_size=24).map(lambda data: data.hex(" ")),
    UUIDS,
    UUIDS.map(str.upper),
    UUIDS.map(lambda text: text.replace("-", "")),
    UUIDS.map(lambda text: f"{{{text}}}"),
    MOMENTS.map(format_timestamp),
    MOMENTS.map(lambda moment: moment.isoformat()),
    st.text("ABCwxyz019-_=", min_size=12, max_size=36),
    st.text("٠١٢٣٤٥٦٧٨٩", min_size=16, max_size=32),  # digits, and to some readers hexadecimal ones
)
WORDS = st.sampled_from([*Resource, "https://sandbox.belvo.com", "https://sandbox.belvo.com/", "unconfirmed"]).map(str)
TEXTS = ANY_TEXT | LIKE_IDS | WORDS
SOME_TEXT = TEXTS.filter(bool)
NUMBERS = st.integers(0, 2**31 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
CHALLENGES = st.builds(
    Challenge,
    kind=st.none() | st.builds(ChallengeKind, st.sampled_from(["numeric", "qr", "voice"]) | TEXTS),
    instructions=st.none() | TEXTS,
    value=st.none() | TEXTS,
    expects_user_input=st.booleans(),
)
BASELINES = st.builds(
    Baseline,
    status=TEXTS,
    access_mode=st.none() | TEXTS,
    stale_in=st.none() | TEXTS,
    credentials_storage=st.none() | TEXTS,
    last_accessed_at=st.none() | MOMENTS,
    fetch_resources=st.lists(TEXTS, max_size=4).map(tuple),
)


@st.composite
def records(draw: st.DrawFn) -> PendingRecord:
    """A record whose fields fit together, and which otherwise holds anything."""
    state = draw(st.sampled_from(PendingState))
    claim = draw(TEXTS if state is PendingState.SUBMITTING else st.none() | TEXTS)
    record = PendingRecord(
        id=draw(SOME_TEXT),
        operation=draw(TEXTS),
        link_id=draw(UUIDS | UUIDS.map(str.upper)),
        origin=draw(TEXTS),
        account=draw(TEXTS),
        created_at=draw(MOMENTS),
        expires_at=draw(MOMENTS),
        state=state,
        round=draw(NUMBERS.filter(bool)),
        revision=draw(NUMBERS),
        session=Secret(draw(SOME_TEXT)),
        challenge=draw(CHALLENGES),
        limited_until=draw(st.none() | MOMENTS),
        correlation=draw(JSON),
        request_ids=tuple(draw(st.lists(TEXTS, max_size=5))),
        claim=claim,
        token_sent=draw(st.booleans()),
        baseline=draw(st.none() | BASELINES),
        requested=draw(st.none() | st.dictionaries(TEXTS, JSON, max_size=3)),
        named=draw(st.booleans()),
    )
    return attrs.evolve(record, session=None, challenge=None) if state in SETTLED else record
