"""Where the command begins and ends: missing libraries, interrupts, closed pipes, exit codes."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Final

from belvo_links.cli.exits import Exit

_OF_THE_EXTRA: Final = frozenset({"aiosqlite", "cyclopts", "jinja2", "rich", "segno"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: what follows the command's name; that of the process by default.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a letter that cannot be shown must not end a command
    try:
        from belvo_links.cli.app import run

        code = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()  # here, where a closed pipe is still caught
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _OF_THE_EXTRA:
            raise
        print(f"belvo-links: {missing} is not installed; run: pip install 'belvo-links[cli]'", file=sys.stderr)
        return Exit.USAGE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return Exit.FAILED
    return code


def _drop_output() -> None:
    """Let what is still buffered go nowhere: the interpreter would complain about it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
