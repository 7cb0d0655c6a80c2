"""For whom the page works, and against whom it is guarded."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from belvo_links.client.links import BelvoLinks
from belvo_links.client.pending import PendingSession
from belvo_links.protocol.credentials import Credentials
from belvo_links.protocol.models import Link
from belvo_links.sandbox import Sandbox, Step
from tests.browser import picture
from tests.browser.looking import START, Looker

pytestmark = pytest.mark.asyncio(loop_scope="session")

Look = Callable[..., Awaitable[Looker]]
BANK = "heimdall_mx_retail"
LONG = "x" * 400
HOSTILE = [
    "<script>alert(document.domain)</script>",
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)><iframe src=javascript:alert(1)>",
    "\u202efdp.exe\u2066",
    LONG,
]


async def lived_in(box: Sandbox, belvo: BelvoLinks, name: str = "somebody") -> str:
    """Everything that the page can show, with this name wherever others write; the link that waits."""
    box.script(f"sim_{name}", [Step.challenge("text", instructions=name, value=name, token=name)])
    pending = await belvo.register(BANK, Credentials(f"sim_{name}", "any"), external_id=name[:90])
    assert isinstance(pending, PendingSession)
    await belvo.register("erebor_mx_retail", Credentials("bnk100", "full"), external_id=name[:90])
    await belvo.register(BANK, Credentials("mfa_qr", "qr_code"))
    await belvo.register(BANK, Credentials("sim_mfa_inputless", "any"))
    box.remove_link(box.add_links(1)[0])
    return str(pending.link_id)


# --- Hostile names


@pytest.mark.parametrize("name", HOSTILE, ids=["script", "closed script", "attributes", "direction", "long"])
async def test_hostile_names_do_nothing(look: Look, belvo: BelvoLinks, box: Sandbox, name: str) -> None:
    """They are read as they were written; no dialog, no script, no violation of the policy, nothing too wide."""
    waiting = await lived_in(box, belvo, name)
    looker = await look(viewport={"width": 360, "height": 800})
    page = await looker.enter()
    path = "/api/" + name
    await page.evaluate(
        "async ([path, agent]) => { await fetch(encodeURI(path), { headers: { 'X-Belvo-Request-Mode': agent } }) }",
        [path, name.encode("ascii", "replace").decode()],
    )
    await looker.said(".log li:nth-child(1)", "404")
    for details in await page.locator("details").all():
        await details.evaluate("details => { details.open = true }")
    assert await looker.login(waiting).locator(".token").text_content() == name
    assert await looker.login(waiting).locator(".says").text_content() == (f"{name[:299]}…" if name == LONG else name)
    assert await page.locator("script").count() == 1
    assert await page.locator("iframe, object, embed").count() == 0
    assert await page.locator("img").count() == 1
    assert await looker.width() <= 360
    looker.problems[:] = [problem for problem in looker.problems if "status of 404" not in problem]


async def test_a_client_may_call_itself_what_it_likes(look: Look, box: Sandbox) -> None:
    """In its User-Agent."""
    other = await look(user_agent="<script>alert(1)</script>\"'")
    await other.page.goto(f"{box.url}/api/")
    looker = await look()
    page = await looker.enter()
    await page.locator(".log summary").first.click()
    await looker.said(".log dd", "<script>alert(1)</script>\"'")
    other.problems.clear()


# --- Small, dark, without JavaScript


async def test_it_fits_on_a_phone(look: Look, belvo: BelvoLinks, box: Sandbox) -> None:
    """Nothing is wider than 360 pixels, and nothing to press is smaller than a finger needs."""
    await lived_in(box, belvo)
    looker = await look(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = await looker.enter()
    for details in await page.locator("details").all():
        await details.evaluate("details => { details.open = true }")
    assert await looker.width() == 360
    for control in await page.locator("button, select, input:not([type=hidden])").all():
        outline = await control.bounding_box()
        assert outline
        assert outline["height"] >= 36
        assert outline["x"] >= 0
        assert outline["x"] + outline["width"] <= 360


CONTRASTS = """
() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((each) => {
      const part = each / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (!colour.endsWith(", 0)") && colour !== "transparent") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = [...document.querySelectorAll("body *")].filter(
    (each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && each.checkVisibility()
  );
  return texts.map((each) => {
    const pair = [light(getComputedStyle(each).color), light(ground(each))].sort((a, b) => b - a);
    return [(pair[0] + 0.05) / (pair[1] + 0.05), each.className || each.tagName];
  });
}
"""


@pytest.mark.parametrize("scheme, dark", [("light", False), ("dark", True)])
async def test_it_can_be_read_by_day_and_by_night(
    look: Look, belvo: BelvoLinks, box: Sandbox, scheme: str, dark: bool
) -> None:
    """Every text stands out from its ground by 4.5 to 1 at least (WCAG AA)."""
    await lived_in(box, belvo)
    for status in ("valid", "invalid", "token_required"):
        box.add_links(1, status=status)
    looker = await look(color_scheme=scheme)
    page = await looker.enter()
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(ground[4:].partition(",")[0]) < 64) is dark
    contrasts = await page.evaluate(CONTRASTS)
    assert len(contrasts) > 50
    assert [found for found in contrasts if found[0] < 4.5] == []


async def test_it_reads_and_works_without_javascript(look: Look, belvo: BelvoLinks, box: Sandbox) -> None:
    """Forms lead back to where one was; what has changed is there after loading the page again."""
    waiting = await lived_in(box, belvo)
    looker = await look(java_script_enabled=False)
    page = looker.page
    await page.goto(box.page_url)
    assert page.url == f"{box.url}/"
    note = page.locator("noscript p")
    await note.wait_for()
    assert "shows how things were at 2026-03-01 09:00:00" in " ".join((await note.inner_text()).split())
    assert await looker.token(waiting) == "somebody"
    assert await page.locator("#connection").is_hidden()
    await page.get_by_role("button", name="Advance 15 minutes").click()
    await page.wait_for_url(f"{box.url}/#time")
    assert (box.clock() - START).total_seconds() == 900
    await page.get_by_role("button", name="Inject").click()
    await page.wait_for_url(f"{box.url}/#faults")
    await looker.said("#faults ol", "status 503 for any call, once")
    box.clear_faults()
    assert [login for login in box.logins if not login.expects_user_input] == []  # the moved time has ended it
    pending = await belvo.register(BANK, Credentials("sim_mfa_inputless", "any"))
    assert isinstance(pending, PendingSession)
    await page.locator("noscript a").click()
    await page.get_by_role("button", name="Confirm in the bank's app").click()
    await page.wait_for_url(f"{box.url}/#logins")
    assert isinstance(await pending.complete(), Link)
    await page.get_by_label("Advance by").evaluate("field => { field.type = 'text'; field.value = 'x' }")
    await page.get_by_role("button", name="Advance", exact=True).click()
    await page.get_by_text("Amount is a number that is not negative.").wait_for()
    await page.get_by_role("link", name="Back to the simulator").click()
    await page.wait_for_url(f"{box.url}/")
    looker.problems.clear()  # the browser notes the reply of 400


# --- Keyboard and assistive technology


async def test_a_keyboard_is_enough(look: Look, belvo: BelvoLinks, box: Sandbox) -> None:
    """To jump to the logins, to confirm, to move the time, to open a history."""
    pending = await belvo.register(BANK, Credentials("sim_mfa_inputless", "any"))
    assert isinstance(pending, PendingSession)
    looker = await look()
    page = await looker.enter()
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the waiting logins")
    assert await skip.evaluate("link => link === document.activeElement && link.offsetHeight > 10")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await looker.said(".login", "Confirmed")
    reached: list[str] = []
    for _ in range(30):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.id"))
        if reached[-1].startswith("history-of-"):
            await page.keyboard.press("Enter")
            await page.locator(".history").wait_for()
        if reached[-1] == "plus-1-day":
            await page.keyboard.press("Space")
            await looker.said("#time .result", "It is 2026-03-02 09:00:00 now.")
        if reached[-1] == "times":
            break
    assert [each for each in reached if each in ("plus-1-day", "amount", "unit", "call", "kind", "times")] == [
        "plus-1-day",
        "amount",
        "unit",
        "call",
        "kind",
        "times",
    ]
    focus = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert focus == "solid"


NAMED = {"button", "textbox", "spinbutton", "combobox", "link", "img", "image", "form", "region", "DisclosureTriangle"}


async def test_everything_has_a_name(look: Look, belvo: BelvoLinks, box: Sandbox) -> None:
    """As those hear it who do not see the page; headings have an order, and no id is there twice."""
    await lived_in(box, belvo)
    looker = await look()
    page = await looker.enter()
    session = await page.context.new_cdp_session(page)
    tree: Any = await session.send("Accessibility.getFullAXTree")
    roles = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree["nodes"]
        if not node.get("ignored") and "role" in node
    ]
    seen = [(role, name) for role, name in roles if role in NAMED]
    assert {"button", "spinbutton", "combobox", "img", "form", "region"} <= {role for role, _ in seen} | {"img"}
    assert [each for each in seen if not each[1].strip()] == []
    levels = await page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(each => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert await page.evaluate("document.documentElement.lang") == "en"
    ids = await page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))
    buttons = [name for role, name in seen if role == "button"]
    assert len(buttons) == len(set(buttons))


# --- Keys and other sites


async def test_a_wrong_key_shows_nothing(look: Look, belvo: BelvoLinks, box: Sandbox) -> None:
    """But how to get in."""
    await lived_in(box, belvo)
    looker = await look()
    for address in (box.url, f"{box.url}/?key=wrong", f"{box.url}/_sandbox/live"):
        reply = await looker.page.goto(address)
        assert reply
        assert reply.status in (401, 403)
        await looker.page.get_by_text("Open the address that belvo-links sandbox has printed").wait_for()
        content = await looker.page.content()
        assert str(box.links[0]["id"]) not in content
        assert box.url not in content
    assert await looker.page.evaluate("fetch('/_sandbox/live').then(reply => reply.status)") == 401
    looker.problems.clear()  # the browser notes the replies of 401 and 403


async def test_the_key_is_in_no_address_that_stays(looker: Looker, box: Sandbox) -> None:
    """Nor where a script of the page could read it."""
    assert looker.page.url == f"{box.url}/"
    assert await looker.page.evaluate("document.cookie") == ""
    assert await looker.page.evaluate("document.referrer") == ""
    await looker.page.go_back()
    assert "key=" not in looker.page.url
    looker.problems.clear()


@asynccontextmanager
async def another_site(page: str) -> AsyncIterator[int]:
    """Serve this page on a port of its own; tells which."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=page, content_type="text/html")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_another_site_can_neither_steer_nor_read_nor_frame_it(looker: Looker, box: Sandbox, host: str) -> None:
    """Neither one that counts as the same site, being another port, nor any other; although the cookie is there."""
    form = f"<form method=post action='{box.url}/_sandbox/advance'><input name=minutes value=1></form>"
    other = f"<!doctype html>{form}<iframe src='{box.url}/'></iframe>"
    page = looker.page
    async with another_site(other) as port:
        await page.goto(f"http://{host}:{port}/")
        sent = f"""
            fetch('{box.url}/_sandbox/advance', {{ method: 'POST', credentials: 'include', body: 'minutes=1' }})
                .then(() => 'read', () => 'refused')
        """
        assert await page.evaluate(sent) == "refused"
        read = f"fetch('{box.url}/_sandbox/live', {{ credentials: 'include' }}).then(() => 'read', () => 'refused')"
        assert await page.evaluate(read) == "refused"
        assert await page.frames[1].evaluate("document.querySelector('h1')?.textContent ?? ''") != "Belvo simulator"
        async with page.expect_navigation() as led:
            await page.evaluate("document.forms[0].submit()")
        assert (await led.value).status == 403
    assert box.clock() == START
    looker.problems.clear()


# --- The picture in the documentation


async def test_the_documentation_shows_the_page(looker: Looker) -> None:
    """In a picture that is small enough, of a page that still has these parts."""
    content = picture.PICTURE.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) <= picture.LARGEST
    titles = await looker.page.locator("h2").all_inner_texts()
    alternative = (picture.PICTURE.parent / "simulator.md").read_text(encoding="utf-8")
    found = re.search(r"!\[([^\]]+)\]\(simulator-page\.png\)", alternative)
    assert found
    assert all(title.lower() in found[1].lower() for title in titles)
