"""What the exit code of a command says."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """An exit code.

    3 (a login waits for its token) and 4 (the outcome is unknown) are kept for commands to come.
    """

    DONE = 0
    FAILED = 1
    """Refused, or it did not work."""
    USAGE = 2
    """Called wrongly, or without what it needs."""
    FINDINGS = 5
    """There are findings of the severity that was asked for."""
    INCOMPLETE = 6
    """The audit has ended and is reported, but links may be missing."""
    INTERRUPTED = 130
    """Ctrl-C, as shells count it."""
