"""A pending record as text: whole or not at all."""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.errors import StoredFormatError
from belvo_links.protocol.challenge import Challenge, ChallengeKind
from belvo_links.protocol.mfa import Baseline, PendingRecord, PendingState
from belvo_links.protocol.stored import VERSION, dump, load
from belvo_links.redact import Secret

KEPT = Path(__file__).resolve().parent.parent / "payloads" / "stored-v1.json"
NOON = datetime(2024, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)

FULL = PendingRecord(
    id="ours-Zm9v",
    operation="patch",
    link_id="758b0262-4b7d-475a-8e8b-c9d9a143bdc9",
    origin="https://sandbox.belvo.com",
    account="2bb80d537b1da3e3",
    created_at=NOON,
    expires_at=NOON + timedelta(minutes=12),
    state=PendingState.INDETERMINATE,
    round=3,
    revision=11,
    session=Secret("9c40ba788d77448a3461172161cf0552"),
    challenge=Challenge(
        kind=ChallengeKind("voice"), instructions="Sag “ja”, ñandú 🦊", value="12345", expects_user_input=False
    ),
    limited_until=NOON + timedelta(minutes=15),
    correlation={"user": ["a", 1, 2.5, None, True], "": {}},
    request_ids=("734face09b271116046fb5e61c48f41d", "4363b08b-51eb-4350-9c74-5df5ac92a7f6"),
    claim="nonce",
    token_sent=True,
    baseline=Baseline(
        status="a_new_word",
        access_mode="single",
        stale_in="90d",
        credentials_storage="nostore",
        last_accessed_at=NOON - timedelta(days=1),
        fetch_resources=("ACCOUNTS", "NEW"),
    ),
    requested={"access_mode": "recurrent", "fetch_resources": ["OWNERS"], "stale_in": None},
    named=True,
)
BARE = PendingRecord(
    id="ours-YmFy",
    operation="register",
    link_id="b3743391-0bcb-45e4-b6a8-75a54a0e6394",
    origin="https://api.belvo.com",
    account="2bb80d537b1da3e3",
    created_at=NOON,
    expires_at=NOON,
    session=Secret("e1a973f05d36051d53e2f91786fa6b5a"),
    challenge=Challenge(),
)
SETTLED = attrs.evolve(FULL, state=PendingState.LINKED, session=None, challenge=None, baseline=None)
RECORDS = {"full": FULL, "bare": BARE, "settled": SETTLED}


@pytest.mark.parametrize("name", RECORDS)
def test_what_was_stored_loads_equal(name: str) -> None:
    """Every field survives, in value and in type."""
    record = RECORDS[name]
    again = load(dump(record))
    assert again == record
    assert repr(again) == repr(record)
    assert again.correlation == record.correlation
    assert dump(again) == dump(record)


@pytest.mark.parametrize("name", RECORDS)
def test_what_version_one_stored_is_still_read(name: str) -> None:
    """Records outlive deployments: the kept file is never changed, and a new version reads it too."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert kept.keys() == RECORDS.keys()
    assert load(json.dumps(kept[name])) == RECORDS[name]
    assert kept[name] == json.loads(dump(RECORDS[name]))


def test_the_kept_file_holds_every_field() -> None:
    """A field that is added without a new version shows here."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))["full"]
    assert kept.keys() == {field.name for field in attrs.fields(PendingRecord)} | {"belvo_links_pending"}
    assert kept["challenge"].keys() == {field.name for field in attrs.fields(Challenge)}
    assert kept["baseline"].keys() == {field.name for field in attrs.fields(Baseline)}
    assert kept["belvo_links_pending"] == VERSION == 1


def test_the_form_does_not_depend_on_order_or_spacing() -> None:
    """A database that rewrites JSON does no harm."""
    fields = json.loads(dump(FULL))
    shuffled = json.dumps(dict(sorted(fields.items(), reverse=True)), indent=3, ensure_ascii=True)
    assert load(shuffled) == FULL


# ------------------------------------------------------------------------------------------ damage is always noticed


def refused(text: Any) -> None:
    """The text is refused by our error alone, which shows nothing of it and carries no other."""
    with pytest.raises(StoredFormatError) as caught:
        load(text)
    assert "CANARY" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("name", RECORDS)
def test_a_text_that_was_cut_is_refused_wherever_it_was_cut(name: str) -> None:
    """Every proper beginning, and every proper end."""
    text = dump(RECORDS[name])
    for at in range(len(text)):
        refused(text[:at])
    for at in range(1, len(text)):
        refused(text[at:])


def objects(fields: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The paths of the objects whose fields are ours."""
    yield ()
    yield from ((name,) for name in ("challenge", "baseline") if fields[name] is not None)


def inside(fields: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    target = fields
    for name in path:
        target = target[name]
    return target


@pytest.mark.parametrize("name", RECORDS)
def test_a_missing_or_unknown_field_is_refused(name: str) -> None:
    """In the record and in what it holds."""
    fields = json.loads(dump(RECORDS[name]))
    for path in objects(fields):
        for key in inside(fields, path):
            damaged = copy.deepcopy(fields)
            del inside(damaged, path)[key]
            refused(json.dumps(damaged))
        added = copy.deepcopy(fields)
        inside(added, path)["new"] = "CANARY"
        refused(json.dumps(added))


OTHERS: tuple[Any, ...] = (None, True, False, 0, 7, -7, 1.5, "", "CANARY", [], ["CANARY"], [5], {}, {"CANARY": 1})
ANY_JSON = {"correlation"}


def may_hold(key: str, value: object) -> bool:
    """Whether a field could be this value: then the text is another record and not a damaged one."""
    optional = {"kind", "instructions", "value", "claim", "limited_until", "baseline", "requested", "last_accessed_at",
                "access_mode", "stale_in", "credentials_storage"}  # fmt: skip
    if value is None:
        return key in optional
    if isinstance(value, bool):
        return key in {"token_sent", "named", "expects_user_input"}
    if isinstance(value, int):
        return (key == "round" and value > 0) or (key == "revision" and value >= 0)
    if isinstance(value, str):
        texts = {"operation", "origin", "account", "session", "kind", "instructions", "value", "claim", "status",
                 "access_mode", "stale_in", "credentials_storage"}  # fmt: skip
        return key in (texts | {"id"} if value else texts - {"session"})
    if isinstance(value, list):
        return key in {"request_ids", "fetch_resources"} and all(isinstance(each, str) for each in value)
    return key == "requested" and isinstance(value, dict)


@pytest.mark.parametrize("name", RECORDS)
def test_a_field_of_another_type_is_refused_and_none_becomes_another_value(name: str) -> None:
    """What still loads holds exactly the value that was written; everything else is refused."""
    fields = json.loads(dump(RECORDS[name]))
    settled = RECORDS[name].is_settled
    for path in objects(fields):
        for key in inside(fields, path).keys() - ANY_JSON:
            for value in OTHERS:
                changed = copy.deepcopy(fields)
                inside(changed, path)[key] = value
                text = json.dumps(changed)
                if changed == fields and type(value) is type(inside(fields, path)[key]):
                    continue
                if may_hold(key, value) and not (settled and key == "session" and value is not None):
                    assert json.loads(dump(load(text))) == changed
                else:
                    refused(text)


@pytest.mark.parametrize(
    "moment",
    [
        "2024-03-01T12:00:00Z",
        "2024-03-01T12:00:00.123456",
        "2024-03-01T12:00:00.123456+00:00",
        "2024-03-01T14:00:00.123456+02:00",
        "2024-03-01 12:00:00.123456Z",
        "20240301T120000.123456Z",
        "2024-02-30T12:00:00.123456Z",
        "CANARY",
    ],
)
def test_a_moment_in_another_spelling_was_not_written_by_us(moment: str) -> None:
    """Six digits and a Z, in the record and in the baseline."""
    fields = json.loads(dump(FULL))
    refused(json.dumps({**fields, "created_at": moment}))
    refused(json.dumps({**fields, "baseline": {**fields["baseline"], "last_accessed_at": moment}}))


@pytest.mark.parametrize("version", [0, 2, -1, True, 1.0, "1", None, [1], {}, 10**30])
def test_another_version_is_refused_as_such(version: object) -> None:
    """The error says which version is read."""
    fields = {**json.loads(dump(FULL)), "belvo_links_pending": version}
    with pytest.raises(StoredFormatError, match=r"version .* \(it reads 1\)"):
        load(json.dumps(fields))


@pytest.mark.parametrize(
    "changes",
    [
        {"session": None},
        {"session": ""},
        {"challenge": None},
        {"state": "linked"},
        {"state": "failed", "session": None},
        {"state": "unheard_of"},
        {"state": "AWAITING"},
        {"state": "submitting", "claim": None},
        {"round": 0},
        {"round": 2**31},
        {"revision": -1},
        {"revision": 10**30},
        {"id": ""},
        {"link_id": "CANARY"},
        {"link_id": "758b02624b7d475a8e8bc9d9a143bdc9"},
    ],
)
def test_fields_that_do_not_fit_together_are_refused(changes: dict[str, object]) -> None:
    """What the machine cannot have left behind was not written by it."""
    refused(json.dumps({**json.loads(dump(FULL)), **changes}))


@pytest.mark.parametrize(
    "text",
    ["", " ", "null", "[]", "{}", "5", '"CANARY"', "CANARY", "\ufeff{}", "\x00", "\ud800", "[" * 100_000,
     '{"belvo_links_pending": 1}', '{"belvo_links_pending": 1, "CANARY": 2}', '{"id": "CANARY"}', "NaN"],
)  # fmt: skip
def test_text_that_is_not_ours_is_refused(text: str) -> None:
    """Whatever it is."""
    refused(text)


@pytest.mark.parametrize("thing", [None, b"{}", 5, {}, dump(BARE).encode()])
def test_what_is_no_text_is_refused_alike(thing: object) -> None:
    """A missing cookie, the bytes of a store that decodes nothing."""
    refused(thing)


@given(text=st.text())
def test_any_text_is_refused_by_our_error(text: str) -> None:
    """Nothing else escapes."""
    refused(text)


@given(at=st.integers(0, len(dump(FULL)) - 1), cut=st.integers(0, 5), new=st.text(max_size=3))
def test_a_text_that_was_changed_anywhere_is_refused_or_says_what_it_says(at: int, cut: int, new: str) -> None:
    """A change inside a value is another value; none is read as something that the text does not say."""
    text = dump(FULL)
    changed = text[:at] + new + text[at + cut :]
    try:
        record = load(changed)
    except StoredFormatError:
        return
    assert json.loads(dump(record)) == json.loads(changed)


def test_the_text_holds_the_session_and_repr_does_not() -> None:
    """It is needed to continue; where it is read by people it is masked."""
    assert "9c40ba788d77448a3461172161cf0552" in dump(FULL)
    assert "9c40ba" not in repr(load(dump(FULL)))
