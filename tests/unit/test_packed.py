"""A pending record as few bytes: what its text holds, and nothing that it does not."""

from datetime import UTC, datetime
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from belvo_links.errors import StoredFormatError
from belvo_links.protocol import stored
from belvo_links.protocol.challenge import Challenge, ChallengeKind
from belvo_links.protocol.mfa import PendingRecord
from belvo_links.protocol.packed import KEPT_REQUEST_IDS, pack, unpack
from belvo_links.redact import Secret
from tests.unit.records import records
from tests.unit.test_stored import BARE, FULL, RECORDS


def kept(record: PendingRecord) -> PendingRecord:
    """What is kept of a record: all but QR data and older request ids."""
    challenge = record.challenge
    if challenge is not None and challenge.kind == "qr":
        challenge = attrs.evolve(challenge, value=None)
    return attrs.evolve(record, challenge=challenge, request_ids=record.request_ids[-KEPT_REQUEST_IDS:])


@given(record=records())
@example(record=FULL)
@example(record=attrs.evolve(FULL, correlation=10**40, round=2**31 - 1, revision=2**31 - 1))
@example(record=attrs.evolve(BARE, created_at=datetime.min.replace(tzinfo=UTC)))
@example(record=attrs.evolve(BARE, expires_at=datetime.max.replace(tzinfo=UTC)))
def test_what_is_stored_as_text_is_packed_as_well(record: PendingRecord) -> None:
    """Equal in every field and to the letter, whatever the texts look like."""
    assert stored.load(stored.dump(record)) == record
    again = unpack(pack(record))
    assert again == kept(record)
    assert stored.dump(again) == stored.dump(kept(record))


@pytest.mark.parametrize("name", RECORDS)
def test_it_is_shorter_than_the_text(name: str) -> None:
    """By half or more."""
    assert len(pack(RECORDS[name])) < len(stored.dump(RECORDS[name]).encode()) / 2


def test_qr_data_is_left_out_and_other_values_are_not() -> None:
    """What is to be shown for a number is needed; an image would fill a cookie."""
    for kind, value in ((ChallengeKind.QR, None), (ChallengeKind.NUMERIC, "data:x"), (None, "data:x")):
        record = attrs.evolve(BARE, challenge=Challenge(kind=kind, value="data:x", instructions="look"))
        assert unpack(pack(record)).challenge == Challenge(kind=kind, value=value, instructions="look")


def test_the_latest_request_ids_are_kept() -> None:
    """Those that Belvo's support asks for."""
    record = attrs.evolve(BARE, request_ids=tuple(f"{number:032x}" for number in range(7)))
    assert unpack(pack(record)).request_ids == record.request_ids[5:]


# ------------------------------------------------------------------------------------------------------------- damage


def refused(data: bytes) -> None:
    with pytest.raises(StoredFormatError) as caught:
        unpack(data)
    assert "CANARY" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def values_of(record: PendingRecord) -> list[Any]:
    values: list[Any] = msgspec.msgpack.decode(pack(record))
    return values


def test_bytes_that_were_cut_or_go_on_are_refused() -> None:
    """Wherever they were cut."""
    data = pack(FULL)
    for at in range(len(data)):
        refused(data[:at])
    refused(data + b"\x00")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x05", id="a number"),
        pytest.param(b"\x90", id="an empty array"),
        pytest.param(b"\x80", id="a map"),
        pytest.param(b"\xc1", id="a byte that means nothing"),
        pytest.param(b"\xa6CANARY", id="a text"),
        pytest.param(b"\xa1\xff", id="a text that is not UTF-8"),
        pytest.param(b"\x91" * 100_000, id="deep"),
        pytest.param(b"\xdd\xff\xff\xff\xff", id="an array that says it is long"),
        pytest.param(b"\xdf\xff\xff\xff\xff", id="a map that says it is long"),
        pytest.param(b"\xc6\xff\xff\xff\xff", id="bytes that say they are many"),
        pytest.param(b"\xc7\x0c\xff" + b"\xff" * 12, id="a moment that is none"),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    """Without much memory, and without another error."""
    refused(data)


Ext = msgspec.msgpack.Ext
HOSTILE = [
    Ext(99, b"CANARY"),
    Ext(0, b"\xff"),
    Ext(0, b""),
    Ext(2, b"short"),
    Ext(3, b"short"),
    Ext(3, b"\x7f" + b"\xff" * 7),
    Ext(3, b"\x80" + b"\x00" * 7),
    2**64 - 1,
    -(2**63),
    1.5,
    float("nan"),
    True,
    b"CANARY",
    b"[" * 100_000,
    b"[" * 500 + b"]" * 500,
    "CANARY",
    [],
    ["CANARY"],
    [[["CANARY"]]],
    {"CANARY": 1},
    {5: "CANARY"},
    datetime(2024, 3, 1, tzinfo=UTC),
]


def test_hostile_values_in_any_place_are_refused_or_are_the_value_they_are() -> None:
    """Numbers, types and lengths that were never written: no other error, and nothing that could not be stored."""
    good = values_of(FULL)
    refusals = 0
    for place in range(len(good)):
        for hostile in HOSTILE:
            try:
                record = unpack(msgspec.msgpack.encode([*good[:place], hostile, *good[place + 1 :]]))
            except StoredFormatError:
                refusals += 1
            else:
                assert stored.load(stored.dump(record)) == record
    assert refusals > len(good) * len(HOSTILE) * 0.8


def test_fields_that_do_not_fit_together_are_refused() -> None:
    """As in text."""
    refused(pack(attrs.evolve(FULL, session=None)))
    refused(pack(attrs.evolve(FULL, round=0)))
    refused(pack(attrs.evolve(FULL, round=2**31)))
    refused(pack(attrs.evolve(FULL, session=Secret(""))))
    refused(msgspec.msgpack.encode([*values_of(FULL), None]))
    refused(msgspec.msgpack.encode(values_of(FULL)[:-1]))


@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused_by_our_error(data: bytes) -> None:
    """Nothing else escapes."""
    refused(data)


@given(at=st.integers(0, len(pack(FULL)) - 1), cut=st.integers(0, 4), new=st.binary(max_size=6))
def test_bytes_that_were_changed_are_refused_or_say_what_they_say(at: int, cut: int, new: bytes) -> None:
    """No other error; what is read can be stored."""
    data = pack(FULL)
    try:
        record = unpack(data[:at] + new + data[at + cut :])
    except StoredFormatError:
        return
    assert stored.load(stored.dump(record)) == record
