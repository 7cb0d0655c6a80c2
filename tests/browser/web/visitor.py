"""Somebody who connects bank accounts in a browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from attrs import evolve, field, frozen

from belvo_links.sandbox import Fault, Sandbox, Step
from tests.browser.looking import PATIENCE
from tests.browser.web.house import AUTHORIZATION, House

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

BANK: Final = "Heimdall Bank Mexico"
QUIET: Final = "Failed to load resource: the server responded with a status of"
"""What Chromium notes of each page that is a 403 or a 404; tests look at the page itself."""


@frozen(eq=False)
class Visitor:
    """A person with a browser of their own, and what the browser complains of."""

    house: House
    page: Page
    name: str
    username: str
    token: str
    problems: list[str] = field(factory=list[str])

    @classmethod
    async def arrive(cls, house: House, browser: Browser, **looks: Any) -> Self:
        """Open a window; ``looks`` are a browser context's."""
        context = await browser.new_context(base_url=house.url, **{"viewport": {"width": 900, "height": 800}, **looks})
        context.set_default_timeout(PATIENCE)
        number = house.number()
        visitor = cls(
            house=house,
            page=await context.new_page(),
            name=f"person-{number}",
            username=f"user_canary_{number}",
            token=f"token-canary-{number}",
        )
        visitor.watch(visitor.page)
        return visitor

    async def other_tab(self, place: str | None = None, *, live: bool = True) -> Self:
        """Open one more tab of the same browser, on the page of this one or another; it may be without the status."""
        tab = evolve(self, page=await self.page.context.new_page())
        self.watch(tab.page)
        if not live:
            await tab.page.route("**/static/live.js", lambda route: route.fulfill(body=""))
        await tab.page.goto(place or self.page.url)
        return tab

    def watch(self, page: Page) -> None:
        """Note what goes wrong on a page, and which other hosts it asks."""
        note = self.problems.append
        page.on("pageerror", lambda error: note(f"error: {error}"))
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("request", lambda request: self._check(request.url))

        async def refuse(dialog: Any) -> None:
            note(f"dialog: {dialog.message}")
            await dialog.dismiss()

        page.on("dialog", refuse)

    def _hear(self, level: str, text: str) -> None:
        if level in ("error", "warning") and not text.startswith(QUIET):
            self.problems.append(text)

    def _check(self, url: str) -> None:
        if urlsplit(url).netloc != urlsplit(self.house.url).netloc or "canary" in url:
            self.problems.append(f"request: {url}")

    @property
    def box(self) -> Sandbox:
        return self.house.box

    def challenge(self, kind: Any = "text", **more: Any) -> Step:
        """A challenge that this person's token answers."""
        return Step.challenge(kind, token=self.token, **more)

    def password(self) -> str:
        """Another one each time: the simulator counts what is sent again."""
        return f"pw_canary_{self.house.number()}"

    async def sign_in(self) -> Self:
        """Come in."""
        await self.page.goto("/")
        await self.page.get_by_label("Your name").fill(self.name)
        await self.button("Sign in").click()
        await self.says("Your accounts")
        return self

    async def fill_bank_form(self, *steps: Step, bank: str = BANK, username: str | None = None) -> None:
        """Go to the bank's form and fill it in; the login will meet these steps."""
        if steps:
            self.box.script(username or self.username, steps)
        await self.page.goto("/connect")
        await self.page.get_by_role("link", name=bank, exact=True).click()
        await self.says(bank)
        await self.page.get_by_label("User name").fill(username or self.username)
        await self.page.get_by_label("Password").fill(self.password())

    async def connect(self, *steps: Step, username: str | None = None) -> None:
        """Log in at the bank."""
        await self.fill_bank_form(*steps, username=username)
        await self.button("Log in at the bank").click()

    async def answer(self, token: str | None = None) -> None:
        """Type an answer and send it."""
        await self.page.get_by_label("Your answer").fill(self.token if token is None else token)
        await self.button("Send").click()

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def press(self, button: str) -> None:
        """Press a button, and do not wait for what comes of it."""
        await self.button(button).click(no_wait_after=True)

    async def press_twice(self, button: str, method: str) -> None:
        """Press a button, and again while the simulator works on the first; with the mouse, which never waits."""
        outline = await self.button(button).bounding_box()
        assert outline
        already = self.box.count(method)
        x, y = outline["x"] + outline["width"] / 2, outline["y"] + outline["height"] / 2
        await self.page.mouse.click(x, y)
        await self.house.until(method, already + 1)
        await self.page.mouse.click(x, y)

    async def says(self, heading: str) -> None:
        """Wait for a page by its heading."""
        await self.page.get_by_role("heading", name=heading, level=1, exact=True).wait_for()

    async def reads(self, text: str) -> None:
        """Wait for a text."""
        await self.page.get_by_text(text).first.wait_for()

    async def is_connected(self) -> None:
        """See the end of it, and that the account is among the others."""
        await self.says("Your account is connected")
        await self.page.get_by_role("link", name="See your accounts").click()
        await self.sees_account("connected")

    async def sees_account(self, status: str) -> None:
        await self.says("Your accounts")
        await self.page.get_by_role("listitem").filter(has_text=status).first.wait_for()

    async def comes_back_until(self, text: str) -> None:
        """Visit the accounts until they say something."""
        for _ in range(100):
            await self.page.goto("/")
            if await self.page.get_by_text(text).count():
                return
            await self.page.wait_for_timeout(100)
        raise AssertionError(f"the accounts never said {text!r}")

    async def webhook(self, link_id: str) -> None:
        """Let Belvo say that there is something new about a link, twice."""
        told = {"link_id": link_id, "webhook_code": "invalid_credentials", "request_id": "r-1", "data": {}}
        told |= {"webhook_id": "a" * 32, "webhook_type": "LINK", "process_type": "recurrent_update"}
        for _ in range(2):
            reply = await self.page.context.request.post(
                "/webhooks", data=json.dumps(told), headers={"Authorization": AUTHORIZATION}
            )
            assert reply.status == 204

    async def width(self) -> int:
        """How wide the page is, in CSS pixels."""
        width: int = await self.page.evaluate("document.documentElement.scrollWidth")
        return width

    def confirm(self) -> None:
        """Confirm in the bank's app."""
        self.box.confirm(str(self.box.links[0]["id"]))

    def slow(self, method: str, seconds: float) -> None:
        """Let the bank take its time, once."""
        self.box.inject(Fault.delay_after(seconds), method=method, template="/api/links/")
