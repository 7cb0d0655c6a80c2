"""Against whom the application is guarded."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from belvo_links.sandbox import Step
from tests.browser.test_reach import another_site
from tests.browser.web.house import AUTHORIZATION, House
from tests.browser.web.visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

Arrive = Callable[..., Awaitable[Visitor]]
FORM = "/connect/heimdall_mx_retail"


async def csrf(visitor: Visitor) -> str:
    """What the forms of this person's browser carry."""
    value = await visitor.page.locator("input[name=csrf]").first.get_attribute("value")
    assert value
    return value


async def post(visitor: Visitor, place: str, **typed: str | float) -> int:
    """Send a form that no page shows, with this person's cookies; the status of the reply."""
    reply = await visitor.page.context.request.post(place, form=dict(typed), max_redirects=0)
    return reply.status


# --- Whose it is


async def test_the_id_of_somebody_else_is_a_404(arrive: Arrive, visitor: Visitor, house: House) -> None:
    """Reading, watching, answering and giving up, of a login and of an account."""
    await visitor.connect(Step.link())
    await visitor.sees_account("connected")
    account = await visitor.page.get_by_role("listitem").get_by_role("link").get_attribute("href")
    await visitor.connect(visitor.challenge("qr"))
    await visitor.says("Scan this code")
    login = visitor.page.url.removeprefix(house.url)
    thief = await (await arrive()).sign_in()
    key = await csrf(thief)
    for place in (login, f"{login}/qr", f"{login}/events", account):
        reply = await thief.page.goto(str(place))
        assert reply
        assert reply.status == 404
        await thief.reads("There is no such page.")
    form = {"csrf": key, "form": "a" * 22}
    assert await post(thief, login, **form, round="1", token=visitor.token) == 404
    for place in (f"{login}/look", f"{login}/cancel", f"{account}/update", f"{account}/refresh"):
        assert await post(thief, place, **form, password="x") == 404
    assert house.box.count("PATCH") == house.box.count("PUT") == house.box.count("DELETE") == 0
    await visitor.answer()
    await visitor.is_connected()


async def test_nothing_is_shown_to_nobody(arrive: Arrive, house: House) -> None:
    stranger = await arrive()
    for place in ("/", "/connect", FORM, "/logins/x", "/logins/x/events", "/accounts/x", "/unsure"):
        await stranger.page.goto(place)
        await stranger.says("Sign in")
    house.box.assert_nothing_sent("POST")


# --- From where


async def test_a_form_without_the_key_of_this_browser_is_refused(
    arrive: Arrive, visitor: Visitor, house: House
) -> None:
    """Without any, with a made-up one, with somebody else's; even signing in."""
    other = await (await arrive()).sign_in()
    foreign = await csrf(other)
    for key in ({}, {"csrf": ""}, {"csrf": "None"}, {"csrf": foreign}):
        assert await post(visitor, FORM, form="a" * 22, username="a", password="b", **key) == 403
        assert await post(visitor, "/sign-out", **key) == 403
    stranger = await arrive()
    assert await post(stranger, "/sign-in", name="somebody") == 403
    await stranger.page.goto("/sign-in")
    assert await post(stranger, "/sign-in", name="somebody", csrf=foreign) == 403
    house.box.assert_nothing_sent("POST")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_another_site_can_send_nothing_and_show_nothing(visitor: Visitor, house: House, host: str) -> None:
    """Neither one that counts as the same site, being another port, nor any other."""
    form = f"<form method=post action='{house.url}{FORM}'><input name=username value=a></form>"
    page = visitor.page
    async with another_site(f"<!doctype html>{form}<iframe src='{house.url}/'></iframe>") as port:
        await page.goto(f"http://{host}:{port}/")
        assert "Your accounts" not in await page.frames[1].content()
        sent = f"""
            fetch('{house.url}/', {{ credentials: 'include' }}).then(() => 'read', () => 'refused')
        """
        assert await page.evaluate(sent) == "refused"
        async with page.expect_navigation() as led:
            await page.evaluate("document.forms[0].submit()")
        assert (await led.value).status == (403 if host == "127.0.0.1" else 200)
        if host == "localhost":  # the cookie stayed behind
            await visitor.says("Sign in")
    house.box.assert_nothing_sent("POST")
    visitor.problems.clear()  # the browser says what it has refused


# --- What a browser keeps and may do


async def test_the_cookie_and_the_headers_are_strict(visitor: Visitor, house: House) -> None:
    [cookie] = await visitor.page.context.cookies()
    assert cookie["name"] == "__Host-session"
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Lax")
    assert (cookie["path"], cookie["domain"]) == ("/", "127.0.0.1")
    for place, status in (("/", 200), ("/nothing", 404), ("/static/nothing", 404), ("/static/live.js", 200)):
        reply = await visitor.page.context.request.get(place)
        headers = reply.headers
        assert reply.status == status
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


HOSTILE = (
    "<script>alert(document.domain)</script>\"'><img src=x onerror=alert(1)><iframe src=javascript:alert(1)>"
    "</blockquote></main><meta http-equiv=refresh content=0;url=/sign-in>{{ 7 * 7 }}\u202efdp.exe\u2066" + "x" * 400
)


async def test_what_a_bank_says_is_read_as_it_was_written(arrive: Arrive) -> None:
    """No dialog, no script, no violation of the policy, nothing too wide."""
    visitor = await (await arrive(viewport={"width": 360, "height": 800})).sign_in()
    await visitor.connect(visitor.challenge("numeric", instructions=HOSTILE, value=HOSTILE))
    await visitor.says("Your bank asks")
    page = visitor.page
    assert await page.locator("blockquote").text_content() == HOSTILE
    assert await page.locator(".value").text_content() == HOSTILE
    assert await page.locator("script").count() == 1
    assert await page.locator("iframe, img, meta[http-equiv]").count() == 0
    assert await visitor.width() <= 360
    await visitor.answer()
    await visitor.is_connected()


async def test_whoever_logs_in_too_often_has_to_wait(visitor: Visitor, house: House) -> None:
    """A bank locks an account after some wrong passwords."""
    key = await csrf(visitor)
    typed = {"csrf": key, "username": "sim_login_error", "password": visitor.password()}
    statuses = [await post(visitor, FORM, **typed, form=f"{number:022}") for number in range(11)]
    assert statuses == [303] * 10 + [429]
    assert house.box.count("POST") == 10
    house.box.requests.clear()  # that they were the same again and again was the point


async def test_what_does_not_exist_is_said_in_a_page(house: House) -> None:
    """Which nobody needs to be signed in for."""
    cases = [
        ("GET", "/nothing", 404, "There is no such page."),
        ("PUT", "/", 405, "This page cannot be used like that."),
    ]
    async with aiohttp.ClientSession(house.url) as anybody:
        for method, place, status, says in cases:
            async with anybody.request(method, place) as reply:
                text = await reply.text()
                assert reply.status == status
                assert says in text
                assert re.search("<title>[^<]+Ledgerly</title>", text)


async def test_a_webhook_is_checked(house: House) -> None:
    """Who sends it, what it is, and how long."""
    for authorization, body, status in (
        ({}, "{}", 401),
        ({"Authorization": "Bearer wrong"}, "{}", 401),
        ({"Authorization": AUTHORIZATION}, "{", 400),
        ({"Authorization": AUTHORIZATION}, "x" * 70_000, 413),
    ):
        async with (
            aiohttp.ClientSession(house.url, headers=authorization) as sender,
            sender.post("/webhooks", data=body) as reply,
        ):
            assert reply.status == status
