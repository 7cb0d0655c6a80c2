"""Secrets that were logged fail a test, and nobody notices the watch otherwise."""

import re
from datetime import UTC, datetime

from belvo_links.sandbox import Received
from belvo_links.sandbox.leaks import secrets_in
from tests.plugin.projects import Project

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LEAKS = {
    "a token": 'log.debug("sent %s", "424242")',
    "a password": 'log.info("logging in", extra={"form": {"password": "open\\"sesame"}})',
    "a secret_password": 'log.warning("keys %s", box.secret_password)',
    "an Authorization header": 'log.debug("%r", dict(box.requests[0].headers))',
    "a login session": "log.debug(session_of(box))",
}
LEAKING = """
log = logging.getLogger("shop.banking")
log.propagate = False

def session_of(box):
    return box.requests[-1].body["session"]

def log_in(box):
    keys = base64.b64encode(f"{box.secret_id}:{box.secret_password}".encode()).decode()
    connection = http.client.HTTPConnection(box.url.removeprefix("http://"), timeout=10)
    headers = {"Authorization": "Basic " + keys, "Content-Type": "application/json"}
    body = {"institution": "tatooine_mx_fiscal", "username": "sim_mfa_text", "password": 'open"sesame'}
    connection.request("POST", "/api/links/", json.dumps(body), headers)
    asked = json.load(connection.getresponse())[0]
    body = {"session": asked["session"], "link": asked["link"], "token": "424242"}
    connection.request("PATCH", "/api/links/", json.dumps(body), headers)
    connection.getresponse().read()
    connection.close()
"""


def test_a_secret_that_was_logged_fails_the_test_and_is_not_repeated(project: Project) -> None:
    """At any level, in any way of writing, also by a logger that propagates nothing; the report names it."""
    tests = LEAKING
    for number, statement in enumerate(LEAKS.values()):
        for marker, name in (("", "leaks"), ("@pytest.mark.belvo_allow_leaks", "may_leak")):
            tests += f"""
{marker}
def test_{name}_{number}(belvo_sandbox):
    box = belvo_sandbox
    log_in(box)
    {statement}
"""
    run = project.run(tests, "--show-capture=no")
    assert run.counts(passed=2 * len(LEAKS), errors=len(LEAKS)), run.out
    for number, kind in enumerate(LEAKS):
        assert f"ERROR at teardown of test_leaks_{number}" in run.out
        assert re.search(rf"\n  {kind}: logger 'shop.banking', [A-Z]+ at test_it.py:\d+\n", run.out), run.out
    for secret in ("424242", "sesame", "Basic "):
        assert secret not in run.out


def test_a_token_in_an_exception_or_in_the_name_of_a_logger_is_found(project: Project) -> None:
    """What was cleared from the record is still a secret."""
    run = project.run(
        f"""
{LEAKING}
def test_exception(belvo_sandbox):
    log_in(belvo_sandbox)
    belvo_sandbox.requests.clear()
    assert belvo_sandbox.requests == []
    try:
        raise ValueError("424242")
    except ValueError:
        log.exception("failed")

def test_name(belvo_sandbox):
    log_in(belvo_sandbox)
    logging.getLogger("shop.424242").debug("hello %s %s", 1)
""",
        *("--show-capture=no", "--tb=short"),
    )
    assert run.counts(passed=2, errors=2), run.out
    assert "logger 'shop.***'" in run.out
    assert "logger 'shop.banking', ERROR" in run.out


def test_whoever_watches_the_log_sees_what_there_was_without_us(project: Project) -> None:
    """Levels hold for `caplog` and all handlers; short or longer words are no leaks; afterwards all is as before."""
    run = project.run(
        """
        before = vars(logging.Logger).copy()
        log = logging.getLogger("shop")

        def test_caplog(belvo_sandbox, caplog):
            asyncio.run(register(belvo_sandbox, password="full"))
            log.debug("unseen")
            log.warning("the disk is full, 1424242 bytes")
            assert [record.message for record in caplog.records] == ["the disk is full, 1424242 bytes"]
            with caplog.at_level(logging.INFO):
                log.info("seen")
                log.debug("unseen")
            assert caplog.messages[1:] == ["seen"]
            log.handle(logging.makeLogRecord({"name": "shop", "levelno": logging.DEBUG, "msg": "relayed"}))
            assert caplog.messages[2:] == ["relayed"]

        def test_restored():
            assert vars(logging.Logger) == before
        """
    )
    assert run.counts(passed=2), run.out


def test_a_header_that_cannot_be_read_is_a_secret_as_a_whole() -> None:
    """Whatever stands in it; but nothing that is too short to be looked for."""
    headers = {"authorization": "Bearer not-base-64"}
    body = {"password": "full", "token": "424242"}
    received = Received(method="PUT", path="/", template=None, query="", headers=headers, body=body, at=NOON)
    assert secrets_in([received]) == {"not-base-64": "an Authorization header", "424242": "a token"}
