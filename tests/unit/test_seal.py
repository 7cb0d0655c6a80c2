"""Sealed text: only keys open it, every change shows, and each reason is told from the others."""

import base64
import copy
import json
import pickle
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belvo_links.client import sealed
from belvo_links.errors import SealError, SealReason, StoredFormatError
from belvo_links.protocol import envelope, stored
from belvo_links.protocol.mfa import PendingRecord, PendingState
from belvo_links.stores import Seal, new_key
from belvo_links.stores.form import PlainForm, SealedForm, Seen, form_for
from tests.unit.test_stored import BARE, FULL, NOON, RECORDS

KEPT = Path(__file__).resolve().parent.parent / "payloads" / "sealed-v1.json"
OLD, NEW, OTHER = (base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3))
CONTENT = b"CANARY"


def refused(reason: SealReason, text: object, *, keys: list[str] | None = None, purpose: str = "a") -> None:
    with pytest.raises(SealError) as caught:
        Seal(keys or [OLD], purpose=purpose).open(text)  # type: ignore[arg-type]  # a missing cookie, say
    assert caught.value.reason is reason
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "CANARY" not in str(caught.value)


# --------------------------------------------------------------------------------------------------------------- text


@given(content=st.binary(max_size=300))
def test_what_was_sealed_opens(content: bytes) -> None:
    """With the same key and purpose."""
    assert Seal([OLD], purpose="a").open(Seal([OLD], purpose="a").close(content)) == content


def test_the_text_is_safe_in_a_cookie_and_shows_nothing() -> None:
    """The same content never looks the same twice."""
    seal = Seal([OLD], purpose="a")
    texts = {seal.close(CONTENT) for _ in range(100)}
    assert len(texts) == 100
    for text in texts:
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
        assert CONTENT not in envelope.read(text).ciphertext
        assert OLD.rstrip("=") not in text


def test_every_key_opens_and_the_first_seals() -> None:
    """So that keys can be rotated: the new one first, the old one behind it for as long as its texts live."""
    old, both, new = Seal([OLD], purpose="a"), Seal((NEW, OLD), purpose="a"), Seal([NEW], purpose="a")
    assert both.open(old.close(CONTENT)) == CONTENT
    assert new.open(both.close(CONTENT)) == CONTENT
    refused(SealReason.UNKNOWN_KEY, both.close(CONTENT))
    assert Seal([OLD, OLD], purpose="a").open(old.close(CONTENT)) == CONTENT


def test_what_was_sealed_for_one_purpose_is_nothing_for_another() -> None:
    """A store's text is no cookie."""
    refused(SealReason.UNKNOWN_KEY, Seal([OLD], purpose="b").close(CONTENT))


@pytest.mark.parametrize("at", ["id", "nonce", "ciphertext", "tag"])
def test_every_byte_is_authenticated(at: str) -> None:
    """A bit that is changed anywhere shows; in the key's id it names another key."""
    text = Seal([OLD], purpose="a").close(CONTENT)
    data = bytearray(envelope.from_base64(text.removeprefix("bls1.")) or b"")
    for place in {"id": range(4), "nonce": range(4, 16), "ciphertext": range(16, 22), "tag": range(22, 38)}[at]:
        for bit in range(8):
            data[place] ^= 1 << bit
            changed = "bls1." + envelope.to_base64(bytes(data))
            refused(SealReason.UNKNOWN_KEY if at == "id" else SealReason.CHANGED, changed)
            data[place] ^= 1 << bit


def test_the_head_is_authenticated_with_the_content() -> None:
    """The id of another key of the same list does not open it either: no key and no nonce stands for another."""
    seal, other = Seal([OLD, NEW], purpose="a"), Seal([NEW], purpose="a")
    mine, theirs = envelope.read(seal.close(CONTENT)), envelope.read(other.close(CONTENT))
    refused(SealReason.CHANGED, envelope.write(attrs.evolve(mine, key_id=theirs.key_id)), keys=[OLD, NEW])
    refused(SealReason.CHANGED, envelope.write(attrs.evolve(mine, nonce=theirs.nonce)), keys=[OLD, NEW])
    assert mine.head.startswith(b"bls1.")


@given(
    at=st.integers(0, 60),
    new=st.text(st.sampled_from("AZaz09-_.=+/ \n\x00é\ud800"), max_size=2),
    cut=st.integers(0, 3),
)
def test_a_text_that_was_changed_anywhere_is_refused(at: int, cut: int, new: str) -> None:
    """No change of a character is without effect but padding at the end, and none gives another error."""
    text = KNOWN
    changed = text[:at] + new + text[at + cut :]
    if changed.rstrip("=") == text:
        assert Seal([OLD], purpose="a").open(changed) == CONTENT
        return
    with pytest.raises(SealError):
        Seal([OLD], purpose="a").open(changed)


KNOWN = Seal([OLD], purpose="a").close(CONTENT)


def test_a_text_that_was_cut_is_refused_wherever_it_was_cut() -> None:
    """Its beginning says what it is; what has none is not sealed."""
    for at in range(len(KNOWN)):
        refused(SealReason.NOT_SEALED if at < len("bls1.") else SealReason.CHANGED, KNOWN[:at])
    for at in range(1, len("bls1.")):
        refused(SealReason.NOT_SEALED, KNOWN[at:])
    for at in range(len("bls1.") + 1, len(KNOWN)):
        with pytest.raises(SealError):
            Seal([OLD], purpose="a").open("bls1." + KNOWN[at:])


@pytest.mark.parametrize(
    "thing",
    ["", " ", "null", "{}", stored.dump(BARE), "bls", "bls.", "blsx.", "bls12345.", "BLS1.", " bls1.", "bls\u0661.",
     "\ud800", "a" * 50, None, 5, KNOWN.encode(), ["bls1."], KNOWN.removeprefix("bls1.")],
    ids=lambda thing: ascii(thing)[:20],
)  # fmt: skip
def test_what_is_no_sealed_text_is_said_to_be_none(thing: object) -> None:
    """A missing cookie, bytes, the text of `to_json`."""
    refused(SealReason.NOT_SEALED, thing)
    assert not envelope.is_sealed(thing)


@pytest.mark.parametrize(
    "text", ["bls1.", "bls1.AAAA", "bls1.\ud800", "bls1.é", "bls1.====", KNOWN + "A", KNOWN + "\n"]
)
def test_what_begins_like_sealed_text_was_changed(text: str) -> None:
    """Whatever follows."""
    refused(SealReason.CHANGED, text)
    assert envelope.is_sealed(text)


@pytest.mark.parametrize("version", [0, 2, 9999])
def test_another_version_is_told_apart(version: int) -> None:
    """It is not taken for a change, nor for another key."""
    refused(SealReason.UNKNOWN_VERSION, KNOWN.replace("bls1.", f"bls{version}."))


# --------------------------------------------------------------------------------------------------------------- keys


def test_a_new_key_is_32_random_bytes() -> None:
    """As url-safe base64, with its padding."""
    keys = {new_key() for _ in range(50)}
    assert len(keys) == 50
    assert {len(base64.urlsafe_b64decode(key)) for key in keys} == {32}


def test_keys_may_lack_their_padding_and_come_from_anywhere() -> None:
    """A list, a tuple, a copy of one."""
    text = Seal([OLD], purpose="a").close(CONTENT)
    for keys in ([OLD.rstrip("=")], (OLD,), copy.deepcopy([OLD]), pickle.loads(pickle.dumps((NEW, OLD)))):
        assert Seal(keys, purpose="a").open(text) == CONTENT


@pytest.mark.parametrize(
    "keys, error",
    [
        ([], ValueError),
        ([""], ValueError),
        ([OLD, "CANARY"], ValueError),
        ([OLD + "\n"], ValueError),
        ([base64.urlsafe_b64encode(b"CANARY" * 5).decode()], ValueError),
        ([base64.urlsafe_b64encode(b"x" * 33).decode()], ValueError),
        ([base64.b64encode(b"\xfb" * 32).decode()], ValueError),
        (["\ud800" * 43], ValueError),
        (["é" * 43], ValueError),
        (OLD, TypeError),
        (OLD.encode(), TypeError),
        ([OLD.encode()], TypeError),
        (b"x" * 32, TypeError),
        (bytearray(32), TypeError),
        ([None], TypeError),
        ({OLD}, TypeError),
        (iter([OLD]), TypeError),
        (None, TypeError),
        (5, TypeError),
    ],
)
def test_what_is_no_list_of_keys_is_refused_and_not_shown(keys: object, error: type[Exception]) -> None:
    """The place in the list is named."""
    with pytest.raises(error, match="keys") as caught:
        Seal(keys, purpose="a")  # type: ignore[arg-type]  # on purpose
    assert "CANARY" not in str(caught.value)
    assert OLD not in str(caught.value)


def test_keys_are_not_shown_nor_pickled() -> None:
    """By whatever holds them."""
    seal = Seal([OLD, NEW], purpose="a")
    assert repr(seal) == "<Seal with 2 keys>"
    assert OLD not in repr(vars(seal))
    for key in (OLD, NEW):
        assert repr(base64.urlsafe_b64decode(key))[2:20] not in repr(vars(seal))
    with pytest.raises(TypeError):
        pickle.dumps(seal)


# ---------------------------------------------------------------------------------------------------- a store's records


def opened(form: object, record: PendingRecord, text: str, *, seen: PendingRecord | None = None) -> PendingRecord:
    assert isinstance(form, PlainForm | SealedForm)
    return form.read(record.id, text, seen=Seen.of(seen or record))


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("keys", [None, [OLD]])
def test_a_store_reads_what_it_wrote(name: str, keys: list[str] | None) -> None:
    """To the letter, QR data and all."""
    form, record = form_for(keys), RECORDS[name]
    assert stored.dump(opened(form, record, form.write(record))) == stored.dump(record)


def test_a_store_tells_why_it_cannot_read() -> None:
    """Keys where there should be none, none where there should be some, another key, another place, another time."""
    plain, sealed_form, other = form_for(None), form_for([OLD]), form_for([OTHER])
    text = sealed_form.write(FULL)
    for form, given_text, reason in (
        (plain, text, SealReason.NO_KEYS),
        (sealed_form, plain.write(FULL), SealReason.NOT_SEALED),
        (other, text, SealReason.UNKNOWN_KEY),
        (sealed_form, sealed_form.write(BARE), SealReason.OTHER_RECORD),
        (sealed_form, text[:-1], SealReason.CHANGED),
        (sealed_form, sealed.seal(FULL, [OLD], None), SealReason.UNKNOWN_KEY),
    ):
        with pytest.raises(SealError) as caught:
            opened(form, FULL, given_text)
        assert caught.value.reason is reason
    for form in (plain, sealed_form):
        for seen in (
            attrs.evolve(FULL, state=PendingState.AWAITING),
            attrs.evolve(FULL, round=1),
            attrs.evolve(FULL, revision=1),
            attrs.evolve(FULL, claim=None),
        ):
            with pytest.raises(StoredFormatError, match="contradicts"):
                opened(form, FULL, form.write(FULL), seen=seen)
    with pytest.raises(StoredFormatError, match="place of another"):
        opened(plain, FULL, plain.write(BARE))
    newer = Seal([OLD], purpose="store").close(stored.dump(FULL).replace('pending":1', 'pending":99').encode())
    with pytest.raises(StoredFormatError, match="version"):
        opened(sealed_form, FULL, newer)


@pytest.mark.parametrize("text", ["", "{", "null", "\ud800", "bl", "[" * 100_000])
def test_damaged_text_is_told_by_both_forms(text: str) -> None:
    """Each in its own words."""
    with pytest.raises(StoredFormatError):
        opened(form_for(None), FULL, text)
    with pytest.raises(SealError):
        opened(form_for([OLD]), FULL, text)


# --------------------------------------------------------------------------------------------------- text for a cookie


def unsealed(
    text: object, *, keys: list[str] | None = None, audience: str | None = "u", now: datetime = NOON
) -> object:
    return sealed.unseal(text, keys or [OLD], audience, now=now)  # type: ignore[arg-type]  # a missing cookie, say


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("audience", [None, "u", "ñandú 🦊", "x" * 10_000])
def test_a_session_is_unsealed_for_whom_it_was_sealed(name: str, audience: str | None) -> None:
    """Also one that is settled, or whose outcome is unknown."""
    record = RECORDS[name]
    now = NOON - timedelta(seconds=1)
    assert unsealed(sealed.seal(record, [OLD], audience), audience=audience, now=now) == record


@pytest.mark.parametrize("given_to, read_by", [("u", None), (None, "u"), ("u", "v"), ("u", "U"), ("u", "u ")])
def test_another_audience_is_refused(given_to: str | None, read_by: str | None) -> None:
    """Nobody in particular is an audience too."""
    with pytest.raises(SealError) as caught:
        unsealed(sealed.seal(FULL, [OLD], given_to), audience=read_by)
    assert caught.value.reason is SealReason.OTHER_AUDIENCE
    assert caught.value.pending_id is None


@pytest.mark.parametrize(
    "audience, error", [("", ValueError), ("\ud800", ValueError), (5, TypeError), (b"u", TypeError)]
)
def test_an_audience_is_a_text(audience: object, error: type[Exception]) -> None:
    """A number that a database counts up is not taken for its digits."""
    with pytest.raises(error, match="audience"):
        sealed.seal(FULL, [OLD], audience)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(error, match="audience"):
        unsealed(KNOWN, audience=audience)  # type: ignore[arg-type]  # on purpose


def test_a_text_that_no_cookie_holds_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends megabytes does not make us decode them; what we seal is never so long."""
    monkeypatch.setattr(Seal, "open", lambda *_: pytest.fail("it was read"))
    with pytest.raises(SealError) as caught:
        unsealed("bls1." + "A" * sealed.LONGEST)
    assert caught.value.reason is SealReason.NOT_SEALED
    assert FULL.challenge is not None
    wordy = attrs.evolve(FULL, challenge=attrs.evolve(FULL.challenge, instructions="é" * sealed.LONGEST))
    with pytest.raises(ValueError, match="too long"):
        sealed.seal(wordy, [OLD], None)


def test_the_content_has_a_version_of_its_own() -> None:
    """A later one, sealed with our key, is not taken for damage."""
    later = Seal([OLD], purpose="session").close(b"\x02" + b"whatever comes then")
    with pytest.raises(SealError) as caught:
        unsealed(later)
    assert caught.value.reason is SealReason.UNKNOWN_VERSION
    damaged = Seal([OLD], purpose="session").close(b"\x01" + bytes(16) + b"\xc1")
    with pytest.raises(StoredFormatError):
        unsealed(damaged, audience=None)


@pytest.mark.parametrize("state", PendingState)
def test_it_is_too_old_at_its_deadline_or_a_day_later(state: PendingState) -> None:
    """The deadline itself is too late, as everywhere."""
    whole = {"session": None, "challenge": None} if attrs.evolve(FULL, state=state).is_settled else {}
    record = attrs.evolve(FULL, state=state, **whole)  # type: ignore[arg-type]  # two fields by their names
    text = sealed.seal(record, [OLD], "u")
    ends = record.expires_at + timedelta(hours=0 if state is PendingState.AWAITING else 24)
    assert unsealed(text, now=ends - timedelta(microseconds=1)) == record
    for now in (ends, ends + timedelta(days=400)):
        with pytest.raises(SealError) as caught:
            unsealed(text, now=now)
        assert caught.value.reason is SealReason.EXPIRED
        assert caught.value.pending_id == record.id


def test_the_end_of_the_calendar_is_no_overflow() -> None:
    """A day after the last one there is no date."""
    record = attrs.evolve(FULL, expires_at=datetime.max.replace(tzinfo=NOON.tzinfo))
    assert unsealed(sealed.seal(record, [OLD], "u")) == record


# ------------------------------------------------------------------------------------------------------ what was sealed


def test_what_version_one_sealed_is_still_read() -> None:
    """Cookies and stores outlive deployments: the kept file is never changed, and a new version reads it too."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert kept.keys() == {"key", "audience", *RECORDS}
    for name, record in RECORDS.items():
        cookie = sealed.unseal(kept[name]["session"], [kept["key"]], kept["audience"], now=NOON - timedelta(seconds=1))
        assert stored.dump(cookie) == stored.dump(record)
        assert opened(form_for([kept["key"]]), record, kept[name]["store"]) == record


# ----------------------------------------------------------------------------------------------------------- the extra


def without_cryptography(program: str) -> str:
    """What a program prints where the extra is not installed."""
    blocked = f"import sys\nsys.modules['cryptography'] = None\n{program}"
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "use",
    [
        "MemoryStore(keys=['x'])",
        "SqliteStore('unused', keys=['x'])",
        "pending.seal(['x'])",
        "belvo.unseal('x', ['x'])",
        "belvo_links.stores.new_key()",
        "belvo_links.stores.Seal(['x'], purpose='a')",
    ],
)
def test_a_missing_library_is_named_with_the_extra_that_brings_it(use: str) -> None:
    """Wherever keys are given, and each time."""
    program = f"""
import asyncio, belvo_links.stores
from belvo_links import BelvoLinks, MemoryStore
from belvo_links.stores import SqliteStore
text = {stored.dump(BARE)!r}
async def main():
    async with BelvoLinks("id", "password", base_url="http://localhost:1") as belvo:
        pending = belvo.restore(text)
        for _ in range(2):
            try:
                {use}
            except ModuleNotFoundError as error:
                print(error, error.__cause__)
asyncio.run(main())
"""
    lines = without_cryptography(program).splitlines()
    assert len(lines) == 2
    assert all(line.endswith("needs the extra [seal]: pip install 'belvo-links[seal]' None") for line in lines)


def test_stores_without_keys_load_no_cryptography() -> None:
    """Nor does the package, the list of stores, or a client."""
    program = """
import sys, belvo_links, belvo_links.stores
belvo_links.BelvoLinks, belvo_links.SealError, belvo_links.stores.SqliteStore
belvo_links.MemoryStore(), belvo_links.stores.SqliteStore("unused")
import belvo_links.protocol.packed, belvo_links.protocol.envelope, belvo_links.stores.form
print(sorted(name for name in sys.modules if name.partition(".")[0] == "cryptography"))
belvo_links.MemoryStore(keys=[belvo_links.stores.new_key()])
print("cryptography" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines() == ["[]", "True"]
