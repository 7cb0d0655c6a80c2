"""Fault by fault, operation by operation: the literal table is what the code does."""

from typing import Any

import pytest

from belvo_links import BelvoLinks, BelvoLinksError, Credentials, PendingSession
from belvo_links.errors import MalformedChallengeError
from belvo_links.sandbox import Fault, Sandbox
from belvo_links.stores import MemoryStore
from tests.mfa import helpers, table
from tests.mfa.helpers import EAGER, GOOD, LINK, LINKS, begin, client, completes, looks, plain_link, register
from tests.mfa.table import FAULTS, OPERATIONS, TABLE

CALLS = {"register": ("POST", LINKS), "update": ("PUT", LINK), "patch": ("PATCH", LINK)}


async def _name(call: Any) -> str:
    """Return the name of the class that a call returns or raises."""
    try:
        return type(await call).__name__
    except BelvoLinksError as error:
        return type(error).__name__


async def _inject(box: Sandbox, fault: Fault | None, method: str, template: str) -> None:
    if fault is None:
        await box.stop()
    else:
        box.inject(fault, method=method, template=template)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_the_call_that_meets_it(box: Sandbox, store: MemoryStore, fault: str, operation: str) -> None:
    """Only a 429 and a connection that never opened are repeated; a record exists only where a 428 was understood."""
    expected = TABLE[fault].call
    async with client(box) as belvo:
        made = await plain_link(belvo)
    async with client(box, store=store, retry=EAGER) as belvo:  # with no connection that is open already
        await _inject(box, FAULTS[fault], *CALLS[operation])
        if operation == "register":
            call: Any = register(belvo, "sim_mfa_text")
        elif operation == "update":
            call = belvo.update(made.id, Credentials(password="new"))
        else:
            call = belvo.patch(made.id, access_mode="recurrent")
        already = box.count(*CALLS[operation])
        assert await _name(call) == expected.outcome
        assert box.count(*CALLS[operation]) - already == expected.requests
        assert len([each async for each in store.iterate()]) == (expected.outcome == "PendingSession")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_complete_that_meets_it(box: Sandbox, store: MemoryStore, fault: str, operation: Any) -> None:
    """The outcome, the state on record and at the handle, and one token at most, whatever the retry policy says."""
    expected: table.Complete = getattr(TABLE[fault], operation)
    async with client(box, store=store) as belvo:
        asked = await begin(belvo, operation)
        text = asked.to_json()
    async with client(box, store=store, retry=EAGER) as belvo:
        asked = belvo.restore(text)
        await _inject(box, FAULTS[fault], "PATCH", LINKS)
        assert await _name(asked.complete(GOOD)) == expected.outcome
        record = await helpers.stored(store, asked.id)
        assert (asked.state, record.state) == (expected.state, expected.state)
        assert (completes(box), box.tokens) == (expected.requests, [GOOD] * expected.requests)
        assert record.round == (2 if expected.outcome == "PendingSession" else 1)
        assert (record.session is None) == record.is_settled
        await _as_the_state_says(box, asked, expected)


async def _as_the_state_says(box: Sandbox, asked: PendingSession, expected: table.Complete) -> None:
    """A further submission goes out only where the round was left to be answered."""
    already = completes(box)
    if expected.state != "awaiting":
        with pytest.raises(BelvoLinksError):
            await asked.complete(GOOD)
        assert completes(box) == already
    elif expected.requests:
        await (await asked._logins.pending(asked.id)).complete(GOOD)
        assert completes(box) == already + 1


def test_the_table_has_a_row_for_every_fault() -> None:
    """What is injected and what is expected go together, in the same order."""
    assert list(FAULTS) == list(TABLE)


def test_the_table_prints_as_markdown() -> None:
    """The documentation shows every fault, once for each different outcome."""
    lines = table.markdown().splitlines()
    assert len(lines) == 2 + len(TABLE)
    assert lines[2] == (
        "| connection refused | `ConnectError`, nothing sent | `ConnectError` | `awaiting` | not at all |"
    )
    assert all(line.count(" | ") == 4 for line in lines)


async def test_a_malformed_challenge_of_a_later_round_knows_its_session(box: Sandbox, belvo: BelvoLinks) -> None:
    """Without a token the round is put back, and the error carries the session; with the first 428 there is none."""
    asked = await register(belvo, "sim_mfa_inputless")
    box.inject(Fault.status(428, b"{"), method="PATCH", template=LINKS)
    with pytest.raises(MalformedChallengeError) as caught:
        await asked.complete()
    assert caught.value.pending is not None
    assert (caught.value.pending.id, asked.state) == (asked.id, "awaiting")
    assert looks(box) == 1
    box.inject(Fault.status(428, b"{"), method="POST", template=LINKS)
    with pytest.raises(MalformedChallengeError) as first:
        await register(belvo)
    assert first.value.pending is None
