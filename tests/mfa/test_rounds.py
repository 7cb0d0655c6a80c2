"""A challenge is answered, wrongly or rightly, once or in a chain; a handle stays what it was."""

from typing import cast

import pytest

from belvo_links import (
    AlreadyClaimedError,
    AlreadySettledError,
    BelvoLinks,
    Credentials,
    ExternalIdDroppedWarning,
    MfaError,
    MfaRequiredError,
    NotFoundError,
    PendingNotFoundError,
    PendingSession,
    SessionExpiredError,
)
from belvo_links.errors import ClientClosedError
from belvo_links.protocol import stored
from belvo_links.sandbox import Fault, Sandbox, Switches
from belvo_links.stores import MemoryStore
from tests.mfa import helpers
from tests.mfa.helpers import (
    GOOD,
    LINK,
    LINKS,
    WRONG,
    Leased,
    begin,
    client,
    completes,
    link,
    pending,
    plain_link,
    register,
)


@pytest.mark.parametrize(
    "username, kind, action, token",
    [
        ("mfa_default", "text", "enter_token", GOOD),
        ("mfa_numeric", "numeric", "enter_token", GOOD),
        ("mfa_qr", "qr", "scan", GOOD),
        ("sim_mfa_text", "text", "enter_token", GOOD),
        ("sim_legacy_428", None, "enter_token", GOOD),
        ("sim_bare_428", "text", "enter_token", GOOD),
        ("sim_string_expiry", "text", "enter_token", GOOD),
    ],
)
async def test_each_kind_of_challenge_is_completed(
    box: Sandbox, belvo: BelvoLinks, username: str, kind: str | None, action: str, token: str
) -> None:
    """A 428 becomes a pending session that says what to do, and its token makes the link."""
    asked = await register(belvo, username)
    assert (asked.challenge.kind, asked.challenge.action, asked.round, asked.state) == (kind, action, 1, "awaiting")
    assert asked.operation == "register"
    assert 0 < asked.seconds_left <= 9600
    made = link(await asked.complete(token))
    assert (made.id, made.status) == (asked.link_id, "valid")
    assert asked.state == "linked"
    assert (completes(box), box.tokens) == (1, [token])


@pytest.mark.parametrize("username", ["sim_mfa_inputless", "sim_mfa_qr_scan"])
async def test_a_confirmation_elsewhere_is_completed_without_a_token(
    box: Sandbox, belvo: BelvoLinks, username: str
) -> None:
    """Where no input is expected, Complete is called all the same, without the field."""
    asked = await register(belvo, username)
    assert not asked.challenge.expects_user_input
    box.confirm(asked.link_id)
    assert link(await asked.complete()).id == asked.link_id
    assert box.tokens == []
    assert "token" not in str(box.requests[-1].body)


async def test_a_wrong_token_brings_the_next_round_of_the_same_session(
    box: Sandbox, belvo: BelvoLinks, store: MemoryStore
) -> None:
    """The next round keeps the id, counts on and has Belvo's new session; the old handle shows what it showed."""
    first = await register(belvo)
    before = await helpers.stored(store, first.id)
    second = pending(await first.complete(WRONG))
    after = await helpers.stored(store, first.id)
    assert (second.id, second.round, second.state, second.created_at) == (first.id, 2, "awaiting", first.created_at)
    assert after.session != before.session
    assert (first.round, first.challenge.value, first.state) == (1, "12345", "awaiting")
    assert len(second.request_ids) == 2
    assert link(await second.complete(GOOD)).id == first.link_id
    assert second.state == "linked"
    assert box.tokens == [WRONG, GOOD]


async def test_a_chain_goes_through_its_challenges(box: Sandbox, belvo: BelvoLinks) -> None:
    """Chained challenges are rounds, each with its own challenge."""
    current, kinds = await register(belvo, "sim_mfa_chain3"), []
    for _ in range(2):
        kinds.append(current.challenge.kind)
        current = pending(await current.complete(GOOD))
    kinds.append(current.challenge.kind)
    assert kinds == ["numeric", "text", "qr"]
    assert current.challenge.qr is not None
    assert link(await current.complete(GOOD)).id == current.link_id
    assert completes(box) == 3


async def test_a_428_without_session_keeps_the_previous_one(box: Sandbox, belvo: BelvoLinks) -> None:
    """A further 428 that names neither session nor expiry goes on with the old session for 720 seconds."""
    second = pending(await (await register(belvo, "sim_mfa_no_session")).complete(WRONG))
    assert 715 < second.seconds_left <= 720
    assert link(await second.complete(GOOD)).status == "valid"


@pytest.mark.parametrize("operation", ["update", "patch"])
async def test_update_and_patch_are_completed_too(box: Sandbox, belvo: BelvoLinks, operation: str) -> None:
    """A 428 of update and patch continues with the same call."""
    asked = await begin(belvo, "update" if operation == "update" else "patch")
    assert asked.operation == operation
    assert link(await asked.complete(GOOD)).id == asked.link_id


async def test_save_data_travels_with_the_submission(box: Sandbox, belvo: BelvoLinks) -> None:
    """``save_data=False`` is sent; what is not given is not."""
    asked = await register(belvo)
    await asked.complete(GOOD, save_data=False)
    body = box.requests[-1].body
    assert isinstance(body, dict)
    assert body["save_data"] is False
    second = await register(belvo)
    await belvo.complete(second.id, GOOD)
    assert set(cast(dict[str, object], box.requests[-1].body)) == {"session", "link", "token"}


async def test_a_second_click_spends_nothing(box: Sandbox, belvo: BelvoLinks) -> None:
    """A form that is sent again for a round that has passed, and a stale handle, send nothing."""
    first = await register(belvo, "sim_mfa_chain")
    second = pending(await belvo.complete(first.id, GOOD, round=1))
    for again in (
        belvo.complete(first.id, GOOD, round=1),
        first.complete(GOOD),
        belvo.complete(first.id, GOOD, round=3),
    ):
        with pytest.raises(AlreadyClaimedError) as caught:
            await again
        assert caught.value.pending is not None
        assert caught.value.pending.round == 2
    assert first.state == "awaiting"
    assert completes(box) == 1
    assert link(await belvo.complete(second.id, GOOD, round=2)).status == "valid"


async def test_the_state_decides_before_the_round(box: Sandbox, belvo: BelvoLinks) -> None:
    """On a settled session the error tells how it ended, whatever the round."""
    first = await register(belvo)
    second = pending(await first.complete(WRONG))
    made = link(await second.complete(GOOD))
    for late in (first.complete(GOOD), belvo.complete(first.id, GOOD, round=7), belvo.complete(first.id)):
        with pytest.raises(AlreadySettledError) as caught:
            await late
        assert (caught.value.state, caught.value.link_id) == ("linked", made.id)
    assert (first.round, first.state) == (1, "linked")
    assert completes(box) == 2


async def test_the_id_alone_means_the_current_round(box: Sandbox, belvo: BelvoLinks) -> None:
    """Without a round, the round that is current at the time of the call is answered."""
    first = await register(belvo, "sim_mfa_chain")
    second = pending(await belvo.complete(first.id, GOOD))
    assert link(await belvo.complete(second.id, GOOD)).status == "valid"


async def test_an_id_that_is_not_known_is_not_found(belvo: BelvoLinks) -> None:
    """Nothing is known of it, so nothing is sent."""
    with pytest.raises(PendingNotFoundError) as caught:
        await belvo.complete("unknown", GOOD)
    assert caught.value.pending is None


async def test_a_token_that_is_no_text_is_refused_before_anything_else(box: Sandbox, belvo: BelvoLinks) -> None:
    """A number is no token; its value is not shown."""
    asked = await register(belvo)
    with pytest.raises(TypeError, match="token: give a str") as caught:
        await asked.complete(424242)  # type: ignore[arg-type]
    assert "424242" not in str(caught.value)
    assert (asked.state, completes(box)) == ("awaiting", 0)


# ------------------------------------------------------------------------------------------------------------ deadline


async def test_past_the_deadline_nothing_is_sent(box: Sandbox, belvo: BelvoLinks) -> None:
    """The injected clock decides; for a registration the error tells of the link that was left behind."""
    asked = await register(belvo)
    box.advance(seconds=9600)
    assert asked.seconds_left == 0
    with pytest.raises(SessionExpiredError, match="unconfirmed link was left behind") as caught:
        await asked.complete(GOOD)
    assert caught.value.pending is not None
    assert (asked.state, completes(box)) == ("expired", 0)
    with pytest.raises(SessionExpiredError):
        await asked.cancel()


async def test_belvo_says_that_the_session_has_expired(box: Sandbox, belvo: BelvoLinks) -> None:
    """``session_expired`` settles as our own deadline does, with the request id of the refusal."""
    asked = await register(belvo, "sim_mfa_expired")
    with pytest.raises(SessionExpiredError) as caught:
        await asked.complete(GOOD)
    assert caught.value.request_id == asked.request_ids[-1] != asked.request_ids[0]
    assert asked.state == "expired"


async def test_nostore_ends_after_fifteen_minutes_over_all_rounds(box: Sandbox, belvo: BelvoLinks) -> None:
    """However long Belvo says a session lives, credentials that are not stored live 15 minutes."""
    asked = await register(belvo, credentials_storage="nostore", fetch_resources=["ACCOUNTS"])
    assert 895 < asked.seconds_left <= 900
    box.advance(minutes=10)
    second = pending(await asked.complete(WRONG))
    assert second.expires_at == asked.expires_at
    box.advance(minutes=5)
    with pytest.raises(SessionExpiredError):
        await second.complete(GOOD)
    assert completes(box) == 1


async def test_a_nostore_link_limits_an_update_too(box: Sandbox, belvo: BelvoLinks) -> None:
    """The baseline tells that the credentials are not stored."""
    made = await plain_link(belvo, credentials_storage="nostore", fetch_resources=["ACCOUNTS"])
    box.inject(Fault.status(428, [{"code": "token_required", "session": "a" * 32, "expiry": 9600}]), method="PUT")
    asked = pending(await belvo.update(made.id, Credentials(password="new")))
    assert asked.link_id == made.id
    assert 895 < asked.seconds_left <= 900


# -------------------------------------------------------------------------------------------------------------- handle


async def test_a_handle_is_a_snapshot(box: Sandbox, belvo: BelvoLinks) -> None:
    """Only what its own calls learn changes ``state``; ``belvo.pending`` is current."""
    shown = await register(belvo)
    other = await belvo.pending(shown.id)
    await other.complete(WRONG)
    assert (shown.round, shown.state, shown.challenge.value) == (1, "awaiting", "12345")
    assert (other.round, other.state) == (1, "awaiting")
    current = await belvo.pending(shown.id)
    assert (current.round, current.state) == (2, "awaiting")
    await current.complete(GOOD)
    assert shown.state == "awaiting"
    assert (await belvo.pending(shown.id)).state == "linked"


async def test_correlation_stays_with_the_session(belvo: BelvoLinks) -> None:
    """The caller's own value tells who may continue."""
    asked = await register(belvo, correlation={"user": 42, "tags": ["a", None]})
    second = pending(await asked.complete(WRONG))
    assert asked.correlation == second.correlation == {"user": 42, "tags": ["a", None]}
    assert (await belvo.pending(asked.id)).correlation == asked.correlation


async def test_settling_erases_session_challenge_and_qr(belvo: BelvoLinks, store: MemoryStore) -> None:
    """A settled record keeps nothing that could continue a login or show a QR code."""
    asked = await register(belvo, "mfa_qr")
    await asked.complete(GOOD)
    record = await helpers.stored(store, asked.id)
    assert (record.state, record.session, record.challenge) == ("linked", None, None)
    assert "base64" not in stored.dump(record)
    assert asked.challenge.qr is not None  # what the handle was shown stays
    assert (await belvo.pending(asked.id)).challenge.value is None


async def test_ids_are_long_random_and_safe_in_a_url(belvo: BelvoLinks) -> None:
    """At least 128 random bits, and nothing that a URL or a cookie would escape."""
    ids = {(await register(belvo)).id for _ in range(3)}
    assert len(ids) == 3
    assert all(len(each) >= 22 and each.replace("-", "").replace("_", "").isalnum() for each in ids)


# -------------------------------------------------------------------------------------------------------------- cancel


async def test_cancelling_settles_and_calls_nothing(box: Sandbox, belvo: BelvoLinks, store: MemoryStore) -> None:
    """The record is cancelled, the link stays, and nobody can complete it."""
    asked = await register(belvo)
    before = len(box.requests)
    await asked.cancel()
    assert (asked.state, len(box.requests)) == ("cancelled", before)
    assert (await helpers.stored(store, asked.id)).session is None
    with pytest.raises(AlreadySettledError) as caught:
        await asked.complete(GOOD)
    assert caught.value.state == "cancelled"
    assert box.link(asked.link_id) is not None


async def test_cancelling_may_delete_the_unconfirmed_link(box: Sandbox, belvo: BelvoLinks) -> None:
    """What a registration leaves behind is deleted; a link that is gone already is fine."""
    first, second = await register(belvo), await register(belvo)
    await first.cancel(delete_link=True)
    box.advance(seconds=10)
    assert box.link(first.link_id) is None
    box.remove_link(second.link_id)
    await second.cancel(delete_link=True)
    assert box.count("DELETE", LINK) == 2


async def test_cancelling_an_update_never_deletes_its_link(box: Sandbox, belvo: BelvoLinks) -> None:
    """That link was there before."""
    asked = await begin(belvo, "update")
    with pytest.raises(ValueError, match="delete_link"):
        await asked.cancel(delete_link=True)
    assert (asked.state, box.count("DELETE")) == ("awaiting", 0)
    await asked.cancel()
    assert asked.state == "cancelled"


async def test_a_challenge_at_the_deletion_is_handed_on(box: Sandbox, belvo: BelvoLinks) -> None:
    """The deletion of what was left behind may itself meet a challenge."""
    asked = await register(belvo)
    box.inject(
        Fault.status(428, [{"code": "token_required", "session": "b" * 32, "link": asked.link_id}]), method="DELETE"
    )
    with pytest.raises(MfaRequiredError) as caught:
        await asked.cancel(delete_link=True)
    assert caught.value.pending is not None
    assert (caught.value.pending.operation, caught.value.pending.link_id) == ("delete", asked.link_id)
    assert asked.state == "cancelled"


async def test_a_deletion_that_fails_is_told(box: Sandbox, belvo: BelvoLinks) -> None:
    """The record is cancelled all the same."""
    asked = await register(belvo)
    box.inject(Fault.status(403), method="DELETE")
    with pytest.raises(Exception, match="HTTP 403"):
        await asked.cancel(delete_link=True)
    assert asked.state == "cancelled"


@pytest.mark.parametrize(
    "state, error",
    [("linked", AlreadySettledError), ("failed", AlreadySettledError), ("cancelled", AlreadySettledError),
     ("expired", SessionExpiredError)],
)  # fmt: skip
async def test_states_that_forbid_it_raise_what_they_mean(
    box: Sandbox, belvo: BelvoLinks, state: str, error: type[MfaError]
) -> None:
    """Complete, cancel and reconcile raise the same errors in a settled state, and send nothing."""
    asked = await _settled(box, belvo, state)
    before = len(box.requests)
    for call in (asked.complete(GOOD), asked.cancel(), asked.reconcile(), belvo.complete(asked.id)):
        with pytest.raises(error) as caught:
            await call
        assert caught.value.pending is not None
        assert caught.value.pending.state == state
    assert len(box.requests) == before


async def _settled(box: Sandbox, belvo: BelvoLinks, state: str) -> PendingSession:
    asked = await register(belvo, "sim_mfa_login_error" if state == "failed" else "mfa_numeric")
    if state == "cancelled":
        await asked.cancel()
        return asked
    if state == "expired":
        box.advance(days=1)
    try:
        await asked.complete(GOOD)
    except Exception:  # noqa: BLE001  # what it raises is tested elsewhere
        assert state != "linked"
    assert asked.state == state
    return asked


async def test_reconciling_what_awaits_an_answer_gives_it_back(box: Sandbox, belvo: BelvoLinks) -> None:
    """There is nothing to explain, so nothing is sent."""
    asked = await register(belvo)
    before = len(box.requests)
    again = pending(await asked.reconcile())
    assert (again.id, again.round, again.state, len(box.requests)) == (asked.id, 1, "awaiting", before)


async def test_a_cancellation_that_comes_too_late_says_what_has_happened(box: Sandbox) -> None:
    """Somebody completes between the look and the cancellation: the record keeps that."""
    store = Leased()
    async with client(box, store=store) as belvo:
        asked = await register(belvo)

        async def complete() -> None:
            link(await belvo.complete(asked.id, GOOD))

        store.on_settle = complete
        with pytest.raises(AlreadySettledError) as caught:
            await asked.cancel(delete_link=True)
        assert (caught.value.state, asked.state, box.count("DELETE")) == ("linked", "linked", 0)


async def test_a_link_without_its_external_id_is_returned_with_a_warning(box: Sandbox, belvo: BelvoLinks) -> None:
    """Belvo saw personal data in it; the warning comes with the link, also after a lost reply."""
    for lost in (False, True):
        asked = await register(belvo, external_id="person@example.org")
        if lost:
            box.inject(Fault.drop_after(), method="PATCH", template=LINKS)
        with pytest.warns(ExternalIdDroppedWarning) as warned:
            made = link(await asked.complete(GOOD))
        assert made.external_id is None
        assert {each.filename for each in warned} == {__file__}
    kept = await register(belvo, external_id="user-42")
    assert link(await kept.complete(GOOD)).external_id == "user-42"


# ---------------------------------------------------------------------------------------- challenges of other calls


@pytest.mark.parametrize("operation", ["get", "delete", "refresh"])
async def test_a_challenge_of_a_call_that_cannot_go_on_is_on_its_error(
    box: Sandbox, belvo: BelvoLinks, operation: str
) -> None:
    """Its pending session has the call's name; completed, it gives the link, and the call then works."""
    made = await plain_link(belvo, f"sim_mfa_{'detail' if operation == 'get' else operation}")
    call = getattr(belvo, operation)
    with pytest.raises(MfaRequiredError) as caught:
        await call(made.id)
    asked = caught.value.pending
    assert asked is not None
    assert (asked.operation, asked.link_id, asked.state) == (operation, made.id, "awaiting")
    assert caught.value.request_id == asked.request_ids[0]
    assert link(await asked.complete(GOOD)).id == made.id
    await call(made.id)


async def test_a_closed_client_completes_nothing(box: Sandbox, store: MemoryStore) -> None:
    """Its handles raise at once; another client with the store goes on."""
    async with client(box, store=store) as first:
        asked = await register(first)
    for call in (asked.complete(GOOD), asked.cancel(), asked.reconcile()):
        with pytest.raises(ClientClosedError):
            await call
    assert completes(box) == 0
    async with client(box, store=store) as second:
        assert link(await second.complete(asked.id, GOOD)).id == asked.link_id


async def test_the_service_may_forget_the_link(box: Sandbox, belvo: BelvoLinks) -> None:
    """404 to a Complete is definite: the session has failed, and the error is the service's."""
    asked = await register(belvo)
    box.inject(Fault.status(404), method="PATCH", template=LINKS)
    with pytest.raises(NotFoundError):
        await asked.complete(GOOD)
    assert asked.state == "failed"


async def test_early_completes_may_be_refused_by_the_service(box: Sandbox) -> None:
    """Where an early Complete ends the login, the session has failed."""
    async with Sandbox(seed=2, switches=Switches(early_complete="login_error")) as other, client(other) as belvo:
        asked = await register(belvo, "sim_mfa_inputless")
        with pytest.raises(Exception, match="HTTP 400"):
            await asked.complete()
        assert asked.state == "failed"
