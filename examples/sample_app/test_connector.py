"""Tests of an application against the simulator: every kind of challenge, and what else happens with banks."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from belvo_links import BelvoLinks, Credentials
from belvo_links.sandbox import Fault, Switches, ThreadedSandbox

from .connector import Connector, Page

BANK = "heimdall_mx_retail"
TOKEN = "111111"


@pytest_asyncio.fixture
async def connector(belvo_sandbox: ThreadedSandbox) -> AsyncIterator[Connector]:
    """The application, with a client of the simulator."""
    box = belvo_sandbox
    async with BelvoLinks(box.secret_id, box.secret_password, base_url=box.url, **box.client_options) as belvo:
        yield Connector(belvo)


async def start(connector: Connector, username: str, password: str = "its_password") -> Page:
    """Somebody, whom the application calls ana, logs in."""
    return await connector.start("ana", BANK, Credentials(username, password))


def assert_connected(connector: Connector, box: ThreadedSandbox, page: Page) -> None:
    """The application knows the one link that there is, and it works."""
    assert page.state == "linked"
    assert [(link["id"], link["status"]) for link in box.links] == [(connector.links["ana"], "valid")]


async def test_an_account_without_a_second_factor_is_connected_at_once(
    connector: Connector, belvo_sandbox: ThreadedSandbox
) -> None:
    """Most accounts ask for nothing."""
    assert_connected(connector, belvo_sandbox, await start(connector, "bnk100", "full"))


@pytest.mark.parametrize(
    "username, password, value",
    [("mfa_numeric", "numeric_code", "12345"), ("mfa_default", "pass_valid", None)],
    ids=["numeric", "text"],
)
async def test_a_token_is_asked_for_and_sent_once(
    connector: Connector, belvo_sandbox: ThreadedSandbox, username: str, password: str, value: str | None
) -> None:
    """The page shows what the bank shows, and the form carries id and round."""
    page = await start(connector, username, password)
    assert (page.state, page.round, page.value) == ("asked", 1, value)
    page = await connector.answer("ana", page.pending_id, page.round, TOKEN)
    assert_connected(connector, belvo_sandbox, page)
    belvo_sandbox.assert_token_sent_once(TOKEN)


async def test_a_qr_code_is_shown_as_an_image(connector: Connector, belvo_sandbox: ThreadedSandbox) -> None:
    """The bank's app reads it and gives a token."""
    page = await start(connector, "mfa_qr", "qr_code")
    assert isinstance(page.value, bytes)
    assert page.value.startswith(b"\x89PNG")
    assert_connected(connector, belvo_sandbox, await connector.answer("ana", page.pending_id, 1, TOKEN))


@pytest.mark.parametrize("username", ["sim_mfa_inputless", "sim_mfa_qr_scan"])
@pytest.mark.belvo_sandbox(switches=Switches(confirm_after=None))
async def test_a_login_is_confirmed_in_the_app_of_the_bank(
    connector: Connector, belvo_sandbox: ThreadedSandbox, username: str
) -> None:
    """Who says "I have confirmed" too early is asked again, in the next round."""
    page = await start(connector, username)
    assert page.state == "confirm"
    early = await connector.answer("ana", page.pending_id, page.round)
    assert (early.state, early.round) == ("confirm", 2)
    belvo_sandbox.confirm(str(belvo_sandbox.links[0]["id"]))
    assert_connected(connector, belvo_sandbox, await connector.answer("ana", page.pending_id, early.round))
    assert belvo_sandbox.tokens == []


async def test_a_chain_of_challenges_is_answered_one_by_one(
    connector: Connector, belvo_sandbox: ThreadedSandbox
) -> None:
    """A numeric one, a text, a QR code; a double click on the first form does not spend the second challenge."""
    page = await start(connector, "sim_mfa_chain3")
    second = await connector.answer("ana", page.pending_id, 1, TOKEN)
    assert (second.state, second.round) == ("asked", 2)
    assert await connector.answer("ana", page.pending_id, 1, TOKEN) == second
    third = await connector.answer("ana", page.pending_id, 2, TOKEN)
    assert (third.state, third.round) == ("asked", 3)
    assert_connected(connector, belvo_sandbox, await connector.answer("ana", page.pending_id, 3, TOKEN))
    belvo_sandbox.assert_token_sent_once()
    assert belvo_sandbox.tokens == [TOKEN] * 3


async def test_a_wrong_token_asks_again(connector: Connector, belvo_sandbox: ThreadedSandbox) -> None:
    """With a round of its own."""
    page = await start(connector, "sim_mfa_text")
    again = await connector.answer("ana", page.pending_id, 1, "987654")
    assert (again.state, again.round) == ("asked", 2)
    assert_connected(connector, belvo_sandbox, await connector.answer("ana", page.pending_id, 2, TOKEN))


async def test_past_the_deadline_no_token_is_sent(connector: Connector, belvo_sandbox: ThreadedSandbox) -> None:
    """Three hours pass at once, for the application's client too."""
    page = await start(connector, "sim_mfa_text")
    belvo_sandbox.advance(hours=3)
    assert (await connector.answer("ana", page.pending_id, 1, TOKEN)).state == "expired"
    assert (await connector.status("ana", page.pending_id)).state == "expired"
    assert belvo_sandbox.tokens == []


async def test_the_bank_may_find_a_login_expired_before_we_do(connector: Connector) -> None:
    """Belvo says so in its answer to the token."""
    page = await start(connector, "sim_mfa_expired")
    assert (await connector.answer("ana", page.pending_id, 1, TOKEN)).state == "expired"


async def test_a_reply_that_is_lost_is_looked_up_and_not_repeated(
    connector: Connector, belvo_sandbox: ThreadedSandbox
) -> None:
    """The token had arrived: Belvo is asked for the link."""
    page = await start(connector, "sim_mfa_text")
    belvo_sandbox.inject(Fault.drop_after(), method="PATCH", template="/api/links/")
    assert_connected(connector, belvo_sandbox, await connector.answer("ana", page.pending_id, 1, TOKEN))
    belvo_sandbox.assert_token_sent_once(TOKEN)


async def test_an_outcome_that_is_unknown_is_looked_up_later(
    connector: Connector, belvo_sandbox: ThreadedSandbox
) -> None:
    """The page says that we are checking, until Belvo can be reached again."""
    page = await start(connector, "sim_mfa_text")
    belvo_sandbox.inject(Fault.drop_before(), times=None)
    assert (await connector.answer("ana", page.pending_id, 1, TOKEN)).state == "checking"
    belvo_sandbox.clear_faults()
    belvo_sandbox.set_status(str(belvo_sandbox.links[0]["id"]), "valid")
    assert_connected(connector, belvo_sandbox, await connector.status("ana", page.pending_id))
    belvo_sandbox.assert_token_sent_once(TOKEN)


@pytest.mark.parametrize(
    "username, reason",
    [("sim_login_error", "invalid_credentials"), ("sim_account_locked", "account_locked")],
)
async def test_a_login_that_is_refused_says_why(connector: Connector, username: str, reason: str) -> None:
    """The reason is one word of a known list."""
    page = await start(connector, username)
    assert page.state == "refused"
    assert reason in page.message


async def test_a_password_of_the_wrong_form_can_be_corrected(connector: Connector) -> None:
    """The bank does not even try it."""
    assert (await start(connector, "bnk100", "not a password")).state == "refused"
    assert (await start(connector, "bnk100", "full")).state == "linked"


async def test_a_login_may_be_refused_after_the_token(connector: Connector, belvo_sandbox: ThreadedSandbox) -> None:
    """It stays refused, and nothing more is sent."""
    page = await start(connector, "sim_mfa_login_error")
    assert (await connector.answer("ana", page.pending_id, 1, TOKEN)).state == "refused"
    assert (await connector.answer("ana", page.pending_id, 1, TOKEN)).state == "refused"
    belvo_sandbox.assert_token_sent_once(TOKEN)


async def test_nobody_answers_the_login_of_another_person(connector: Connector, belvo_sandbox: ThreadedSandbox) -> None:
    """The id of a pending session is no authorisation."""
    page = await start(connector, "sim_mfa_text")
    assert (await connector.answer("eve", page.pending_id, 1, TOKEN)).state == "unknown"
    assert (await connector.status("eve", page.pending_id)).state == "unknown"
    assert (await connector.status("ana", page.pending_id)).state == "asked"
    assert belvo_sandbox.tokens == []
