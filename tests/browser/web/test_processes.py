"""Several processes serve one application; any of them may end at any time."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from belvo_links.sandbox import Fault, Step
from tests.browser.web.house import PATIENCE, ROOT, House, children
from tests.browser.web.visitor import BANK, Visitor

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_login_begun_at_one_process_is_completed_at_the_other(visitor: Visitor, house: House) -> None:
    """And a page that watches at the first one sees what happens at the second."""
    await visitor.connect(visitor.challenge(), visitor.challenge("numeric", value="4711"))
    await visitor.says("Your bank asks")
    house.serve_from(2)
    other = await visitor.other_tab()
    await other.answer()
    await other.reads("4711")
    await visitor.page.bring_to_front()
    await visitor.reads("4711")
    house.serve_from(1)
    await visitor.answer()
    await visitor.is_connected()


async def test_a_login_survives_the_process_that_has_begun_it(visitor: Visitor, house: House) -> None:
    await visitor.connect(visitor.challenge())
    await visitor.says("Your bank asks")
    await house.processes[0].kill()
    house.serve_from(2)
    await visitor.answer()
    await visitor.is_connected()
    visitor.problems[:] = [problem for problem in visitor.problems if "ERR_" not in problem]  # the live status broke


async def test_a_process_that_dies_in_the_middle_leaves_nothing_undone_or_done_twice(
    visitor: Visitor, house: House, browser: Browser
) -> None:
    """One person answers and one registers while it dies. Both learn from the other process what has become of it."""
    second = await (await Visitor.arrive(house, browser)).sign_in()
    await second.fill_bank_form(Step.link(fault=Fault.delay_after(30)))
    await visitor.connect(visitor.challenge())
    await visitor.page.get_by_label("Your answer").fill(visitor.token)
    here = visitor.page.url
    house.box.inject(Fault.delay_after(30), method="PATCH")
    await visitor.press("Send")
    await second.press("Log in at the bank")
    await house.until("PATCH")
    await house.until("POST", 2)
    await house.processes[0].kill()
    house.serve_from(2)

    again = await second.other_tab("/connect")
    await again.page.get_by_role("link", name=BANK, exact=True).click()
    await again.says("One moment")  # not the form: what was begun comes first
    later = await visitor.other_tab(here)
    await later.says("We could not tell")
    await later.button("Look again").click()
    await later.is_connected()
    await again.page.bring_to_front()
    await again.says("We could not tell")
    await again.button("Look for my account").click()
    await again.sees_account("connected")
    assert (house.box.count("POST"), house.box.count("PATCH")) == (2, 1)
    visitor.problems.clear()  # the browser notes connections that break
    await second.page.context.close()


async def test_a_live_status_does_not_hold_up_the_end_of_a_process(visitor: Visitor, house: House) -> None:
    """It ends at once, and the page watches on at the other process."""
    await visitor.connect(visitor.challenge())
    await visitor.says("Your bank asks")
    house.serve_from(2)
    async with asyncio.timeout(4):  # less than the time after which the server would cut it off
        await house.processes[0].stop()
    other = await visitor.other_tab()
    await other.answer()
    await visitor.page.bring_to_front()
    await visitor.says("Your account is connected")
    assert "graceful shutdown exceeded" not in house.processes[0].log.read_text("utf-8")


async def test_a_link_that_lapsed_without_a_webhook_is_found(visitor: Visitor, house: House) -> None:
    """A process that starts looks through all of them."""
    await visitor.connect(Step.link())
    await visitor.sees_account("connected")
    link_id = str(house.box.links[0]["id"])
    await house.until_webhooks_are_done(link_id)
    house.box.set_status(link_id, "invalid")
    await house.processes[1].kill()
    await house.mend()
    await visitor.comes_back_until("Your bank wants to see you")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["interrupted", "terminated"])
@pytest.mark.usefixtures("application")
async def test_it_runs_with_a_simulator_of_its_own_and_ends_at_once(number: signal.Signals, tmp_path: Path) -> None:
    """The command of the documentation: nothing is left behind, although a page still watches."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.web_fastapi", "--port", str(port)),
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    url = f"http://127.0.0.1:{port}"
    jar = aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=url)
    async with aiohttp.ClientSession(url, cookie_jar=jar) as person:
        async with asyncio.timeout(PATIENCE):
            page = await _first_page(person)
        typed = {"csrf": _hidden(page, "csrf"), "name": "somebody"}
        async with person.post("/sign-in", data=typed) as reply:
            assert "Your accounts" in await reply.text()
        async with person.get("/connect/heimdall_mx_retail") as reply:
            page = await reply.text()
        typed = {name: _hidden(page, name) for name in ("csrf", "form")}
        typed |= {"username": "sim_confirm", "password": "full"}
        async with person.post("/connect/heimdall_mx_retail", data=typed) as reply:
            assert "Confirm in your bank" in await reply.text()
            live = f"{reply.url.path}/events"
        async with person.get(live) as reply:
            await reply.content.readuntil(b"awaiting 1\n\n")
            started = children(running.pid)
            assert len(started) >= 3  # the server, its processes
            running.send_signal(number)
            async with asyncio.timeout(5):
                out, err = await running.communicate()
    assert running.returncode == 0
    assert "Traceback" not in err.decode()
    assert f"The application:  {url}" in out.decode()
    assert "The user's phone: http://127.0.0.1:" in out.decode()
    async with asyncio.timeout(PATIENCE):  # one of them counts what the others leave behind, and ends after them
        while any(Path(f"/proc/{pid}").exists() for pid in started):  # noqa: ASYNC110  # the system tells nobody
            await asyncio.sleep(0.05)
    assert list(tmp_path.iterdir()) == []


async def _first_page(person: aiohttp.ClientSession) -> str:
    while True:
        try:
            async with person.get("/sign-in") as reply:
                return await reply.text()
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.1)


def _hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found
    return found[1]
