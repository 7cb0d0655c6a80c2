"""What the service refuses and what gets lost: every documented error over a socket, by its class."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from belvo_links import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    BelvoLinks,
    ConnectError,
    Credentials,
    InstitutionError,
    InvalidFieldsError,
    InvalidLinkError,
    LoginError,
    LoginReason,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RefreshCooldownError,
    RequestTimeoutError,
    ResponseLostError,
    ServerError,
    TooManySessionsError,
    UnconfirmedLinkError,
    UnexpectedResponseError,
    UnsupportedOperationError,
)
from belvo_links.sandbox import Fault, Sandbox, Switches
from tests.client.making import BANK, GOOD, LINK_ID, LINKS, MFA_BANK, ONE_LINK, client, linked, pending
from tests.http.rude import chain, free_port

REGISTER_ERRORS = [
    ("sim_login_error", LoginError, "login_error", LoginReason.INVALID_CREDENTIALS),
    ("user_invalid", LoginError, "login_error", LoginReason.INVALID_CREDENTIALS),
    ("sim_account_locked", LoginError, "login_error", LoginReason.ACCOUNT_LOCKED),
    ("sim_access_forbidden", LoginError, "login_error", LoginReason.ACCESS_FORBIDDEN),
    ("sim_not_attempted", LoginError, "login_error", LoginReason.NOT_ATTEMPTED),
    ("sim_missing_credentials", LoginError, "login_error", LoginReason.MISSING_CREDENTIALS),
    ("sim_mfa_unsupported", LoginError, "login_error", LoginReason.MFA_UNSUPPORTED),
    ("sim_login_unexpected", LoginError, "login_error", LoginReason.UNEXPECTED),
    ("sim_too_many_sessions", TooManySessionsError, "too_many_sessions", None),
    ("sim_institution_down", InstitutionError, "institution_down", None),
    ("sim_institution_unavailable", InstitutionError, "institution_unavailable", None),
    ("sim_institution_inactive", InstitutionError, "institution_inactive", None),
    ("sim_unsupported_operation", UnsupportedOperationError, "unsupported_operation", None),
    ("sim_activation_failed", BadRequestError, "activation_failed", None),
    ("sim_403", PermissionDeniedError, "access_to_resource_denied", None),
    ("sim_408", RequestTimeoutError, "request_timeout", None),
    ("sim_500", ServerError, "unexpected_error", None),
]


@pytest.mark.parametrize("username, kind, code, reason", REGISTER_ERRORS)
async def test_a_registration_that_is_refused(
    box: Sandbox, belvo: BelvoLinks, username: str, kind: type[ApiError], code: str, reason: LoginReason | None
) -> None:
    """One request, one error: class, code, reason, status and request id; the text shows Belvo's fixed message."""
    with pytest.raises(kind) as caught:
        await belvo.register(BANK, Credentials(username, "any"))
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.status) == (code, box.requests[-1].status)
    assert getattr(error, "reason", None) == reason
    assert error.request_id is not None
    assert error.request_id in str(error)
    assert error.message is not None
    assert error.message in str(error)
    assert username not in str(error)
    assert box.count() == 1


@pytest.mark.parametrize("shape, code", [("object", "login_error"), ("detail", None)])
async def test_an_error_of_another_shape(shape: Any, code: str | None) -> None:
    """A bare object says the same; the old `detail` has no code, so it is told by its status."""
    async with Sandbox(switches=Switches(error_shape=shape)) as box, client(box) as belvo:
        with pytest.raises(BadRequestError) as caught:
            await belvo.register(BANK, Credentials("sim_login_error", "any"))
        assert caught.value.code == code
        with pytest.raises(NotFoundError):
            await belvo.get(LINK_ID)


READ_ERRORS: Mapping[int, type[ApiError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: ApiError,
    408: RequestTimeoutError,
    409: RefreshCooldownError,
    415: ApiError,
    429: RateLimitedError,
    500: ServerError,
    503: ServerError,
}


@pytest.mark.parametrize("status, kind", READ_ERRORS.items())
async def test_a_read_that_is_refused(box: Sandbox, belvo: BelvoLinks, status: int, kind: type[ApiError]) -> None:
    """By its status."""
    box.inject(Fault.status(status), template=ONE_LINK, times=3)
    with pytest.raises(kind) as caught:
        await belvo.get(LINK_ID)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.request_id


async def test_wrong_keys(box: Sandbox) -> None:
    """401, with the code that is documented."""
    async with BelvoLinks("another-id", "another-password", base_url=box.url) as belvo:
        with pytest.raises(AuthenticationError) as caught:
            await belvo.count()
    assert caught.value.code == "authentication_failed"
    assert "another" not in repr(caught.value)


@pytest.mark.parametrize("status", [200, 204, 302, 402, 418, 600])
async def test_a_reply_that_is_not_documented(box: Sandbox, belvo: BelvoLinks, status: int) -> None:
    """Success without a link, or a status that is none of Belvo's: paths, never values."""
    box.inject(Fault.status(status, {"secret": "hunter2"} if status != 204 else None), template=ONE_LINK)
    with pytest.raises(UnexpectedResponseError) as caught:
        await belvo.get(LINK_ID)
    assert caught.value.status == status
    assert caught.value.problems
    assert "hunter2" not in repr(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[]", b'"text"', b"\xff\xfe", b'{"count": "many"}', b"[" * 100_000]
)
async def test_a_reply_that_cannot_be_read(box: Sandbox, belvo: BelvoLinks, body: bytes) -> None:
    """Whatever was asked; an iteration says so each time it is asked to go on."""
    (link_id,) = box.add_links(1)
    box.inject(Fault.replace_body(body), method="GET", times=None)
    links = belvo.iterate()
    for call in (
        belvo.get(link_id),
        belvo.page(),
        belvo.page(fields=["id"]),
        belvo.count(),
        anext(links),
        anext(links),
    ):
        with pytest.raises(UnexpectedResponseError) as caught:
            await call
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


async def test_the_fields_at_fault_are_named(box: Sandbox, belvo: BelvoLinks) -> None:
    """With Belvo's words on the error and not in its text."""
    with pytest.raises(InvalidFieldsError) as caught:
        await belvo.register("narnia", GOOD, fetch_resources=["GOLD"])
    assert "institution" in caught.value.fields
    assert "narnia" in str(caught.value.fields)
    assert "narnia" not in repr(caught.value)
    assert "institution: does_not_exist" in str(caught.value)


async def test_a_link_in_a_state_that_does_not_allow_it(box: Sandbox, belvo: BelvoLinks) -> None:
    """Invalid, unconfirmed, and without stored credentials."""
    invalid, plain = box.add_links(2, status="invalid")
    with pytest.raises(InvalidLinkError):
        await belvo.refresh(invalid)
    waiting = await pending(belvo)
    with pytest.raises(UnconfirmedLinkError):
        await belvo.patch(waiting.link_id, stale_in="90d")
    box.set_status(plain, "valid")
    nostore = await linked(belvo, access_mode="single", credentials_storage="nostore", fetch_resources=["ACCOUNTS"])
    with pytest.raises(BadRequestError) as caught:
        await belvo.patch(nostore.id, access_mode="recurrent")
    assert caught.value.code == "invalid_access_mode_switch"


async def test_a_cooldown_says_how_long(box: Sandbox, belvo: BelvoLinks) -> None:
    """By the header where there is one, else by the message."""
    (link_id,) = box.add_links(1, access_mode="recurrent")
    await belvo.refresh(link_id)
    box.advance(minutes=4)
    with pytest.raises(RefreshCooldownError) as caught:
        await belvo.refresh(link_id)
    assert caught.value.retry_after is not None
    assert timedelta(minutes=5) < caught.value.retry_after <= timedelta(minutes=10)


async def test_nobody_listens() -> None:
    """Nothing was sent: the number of attempts says how often it was tried."""
    address = f"http://127.0.0.1:{free_port()}"
    async with BelvoLinks("an-id", "a-password", base_url=address, retry=None) as belvo:
        with pytest.raises(ConnectError) as caught:
            await belvo.register(BANK, GOOD)
    assert (caught.value.method, caught.value.path, caught.value.attempts) == ("POST", LINKS, 1)
    assert chain(caught.value) == [caught.value]


@pytest.mark.parametrize("fault", [Fault.drop_after(), Fault.truncate()])
async def test_a_registration_whose_reply_is_lost(box: Sandbox, belvo: BelvoLinks, fault: Fault) -> None:
    """It is not repeated, and the error says how to look for the link, without naming anything."""
    box.inject(fault, method="POST", times=None)
    with pytest.raises(ResponseLostError) as caught:
        await belvo.register(BANK, GOOD, external_id="user-42")
    assert "LinkFilter(external_id=" in str(caught.value)
    assert "user-42" not in str(caught.value)
    with pytest.raises(ResponseLostError, match="give an `external_id`"):
        await belvo.register(BANK, GOOD)
    assert box.count("POST") == 2
    assert chain(caught.value) == [caught.value]


async def test_a_gateway_that_fails(box: Sandbox, belvo: BelvoLinks) -> None:
    """HTML is no reason to crash."""
    box.inject(Fault.html(504), times=None)
    with pytest.raises(ServerError) as caught:
        await belvo.register(MFA_BANK, GOOD)
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (504, None, None)
    assert caught.value.retryable
