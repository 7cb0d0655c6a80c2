"""Where the command prints: consoles that use colours and signs only where they are welcome."""

from __future__ import annotations

import os
import sys
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

WIDEST: Final = 96
"""Columns; longer lines are hard to read."""


def output_console() -> Console:
    """Return a console on standard output."""
    return _console(sys.stdout)


def error_console() -> Console:
    """Return a console on standard error."""
    return _console(sys.stderr)


def complain(command: str, text: str) -> None:
    """Print one line about what went wrong to standard error."""
    print(f"{called(command)}: {text}", file=sys.stderr)


def called(command: str) -> str:
    """Return how a command is called; the name alone where it is none."""
    return f"belvo-links {command}".strip()


def _console(stream: IO[str]) -> Console:
    """Decide about colours here and not in rich, which keeps bold under NO_COLOR and may colour a pipe."""
    from rich.console import Console

    coloured = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    console = Console(
        file=stream,
        force_terminal=coloured,
        color_system="auto" if coloured else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.width = min(console.width, WIDEST)
    return console
