"""How the demo looks: for people in a terminal, and as data."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from belvo_links.protocol.qr import QrCode
from belvo_links.qr import to_terminal

if TYPE_CHECKING:
    from belvo_links.cli.demo import Step, Telling

_SIGNS: Final = {"done": "✓", "failed": "✗", "event": "·", "server": "⇄"}
_PLAIN_SIGNS: Final = {"done": "=", "failed": "!", "event": "-", "server": ">"}
_STATUS_STYLES: Final = {"valid": "green", "unconfirmed": "yellow", "token_required": "yellow", "invalid": "red"}
_REMEDIES: Final = {
    "valid": "nothing to do",
    "invalid": "update(link_id, Credentials(password=...))",
    "unconfirmed": "pending.complete(token), or delete(link_id)",
    "token_required": "patch() or update(), with a new token",
}
_QR_STYLE: Final = "#ffffff on #000000"  # whatever the terminal's own colours are
_INDENT: Final = 4


class Data:
    """An audience of programs: one JSON document at the end."""

    def busy(self, text: str) -> AbstractContextManager[object]:
        """Say nothing."""
        return nullcontext()

    def begins(self, url: str) -> None:
        """Say nothing yet."""

    def sees(self, number: int, step: Step) -> None:
        """Say nothing yet."""

    def ends(self, telling: Telling) -> None:
        """Print everything."""
        json.dump(telling.to_json(), sys.stdout, indent=2)
        sys.stdout.write("\n")


class Screen:
    """An audience of people.

    Args:
        console: where they look.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._ascii = console.options.ascii_only
        self._signs = _PLAIN_SIGNS if self._ascii else _SIGNS

    def busy(self, text: str) -> AbstractContextManager[object]:
        """Show a spinner, in a terminal."""
        if not self._console.is_terminal:
            return nullcontext()
        return self._console.status(Text(f"{text} ...", style="dim"), spinner="line" if self._ascii else "dots")

    def begins(self, url: str) -> None:
        """Say where all this happens."""
        self._text("")
        self._text("belvo_links demo", "bold", indent=1)
        about = f"A pretend Belvo API listens on {url}, inside this process. Nothing leaves this machine."
        self._text(about, "dim", indent=1)

    def sees(self, number: int, step: Step) -> None:
        """Show a step."""
        from belvo_links.cli.demo import received

        self._text("")
        self._title(number, step)
        self._text(step.said)
        self._text("")
        for line in step.code.splitlines():
            self._console.print(Text(f"{' ' * (_INDENT + 2)}{line}".rstrip(), style="dim"), soft_wrap=True)
        self._text("")
        if step.qr:
            self._draw(step.qr)
        for event in step.events:
            self._text(event, sign="event")
        if step.problem:
            self._text(step.problem, "red", sign="failed")
        else:
            self._text(step.outcome, "green", sign="done")
        self._text(f"The server received {received(step.calls, step.tokens)}.", "cyan", sign="server")
        self._console.file.flush()  # a step is seen when it was played, also through a pipe

    def ends(self, telling: Telling) -> None:
        """Show the links and sum up."""
        if telling.ok:
            self._links(telling)
            said = f"All {len(telling.steps)} steps came out as promised: "
            facts = f"{telling.requests} requests, {telling.seconds:.1f} s."
            self._console.print(Text.assemble(" ", (said, "bold green"), facts), soft_wrap=True)
            self._text("The same simulator for your own code: belvo-links sandbox", "dim", indent=1)
        self._text("")

    def _title(self, number: int, step: Step) -> None:
        took = f"{step.seconds * 1000:.0f} ms"
        gap = max(1, self._console.width - _INDENT - len(step.name) - len(took) - 1)
        title = Text.assemble((f"{number:>2}  ", "bold cyan"), (step.name, "bold"), " " * gap, (took, "dim"))
        self._console.print(title, soft_wrap=True)

    def _text(self, text: str, style: str = "", *, indent: int = _INDENT, sign: str | None = None) -> None:
        """Print a paragraph, without the spaces at the ends of lines that a padding would leave."""
        lead = " " * indent + (f"{self._signs[sign]} " if sign else "")
        for line in Text(self._plain(text)).wrap(self._console, max(20, self._console.width - len(lead))):
            self._console.print(Text(f"{lead}{line.plain}".rstrip(), style=style), soft_wrap=True)
            lead = " " * len(lead)

    def _links(self, telling: Telling) -> None:
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
        for heading in ("Link", "Institution", "Access", "For", "Status"):
            table.add_column(heading, no_wrap=True)
        for link in telling.links:
            status = str(link["status"])
            cells = (str(link["id"])[:8], *(str(link[name]) for name in ("institution", "access_mode", "external_id")))
            table.add_row(*cells, Text(status, style=_STATUS_STYLES.get(status, "")))
        self._text("")
        self._console.print(Padding(table, (0, 0, 0, _INDENT), expand=False))
        self._text("")
        counts = Counter(str(link["status"]) for link in telling.links)
        for status, number in counts.most_common():
            count = (f"{' ' * _INDENT}{number:>3} {status:<14}", _STATUS_STYLES.get(status, ""))
            self._console.print(Text.assemble(count, (_REMEDIES.get(status, ""), "dim")), soft_wrap=True)
        self._text("")

    def _draw(self, code: QrCode) -> None:
        lines = to_terminal(code, ascii_only=self._ascii).splitlines()
        needed = len(lines[0]) + _INDENT
        if needed > self._console.width:
            told = (
                f"The QR code needs a terminal of {needed} columns; save pending.challenge.qr.image as a file instead."
            )
            self._text(told, "yellow")
            lines = []
        for line in lines:
            self._console.print(Text(" " * _INDENT) + Text(line, style=_QR_STYLE), soft_wrap=True)
        self._text("")

    def _plain(self, text: str) -> str:
        """Replace the quotes that errors use where the terminal has none."""
        return text.translate({ord("“"): '"', ord("”"): '"'}) if self._ascii else text
