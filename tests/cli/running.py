"""The command as a process: through a pipe or in a terminal."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence

from attrs import frozen

COMMAND = (sys.executable, "-W", "error", "-m", "belvo_links.cli")
A_FEW_SCENES = """
import sys
from belvo_links.cli import demo, main
demo.SCENES = demo.SCENES[:3]
sys.exit(main(sys.argv[1:]))
"""
SHORT = (sys.executable, "-W", "error", "-c", A_FEW_SCENES)
"""The same, but the demo ends after its QR code: enough to see how it looks."""
DECIDES_ABOUT_LOOKS = {"NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TERM", "COLUMNS", "LINES", "LC_ALL", "LANG"}


def environment(**variables: str) -> dict[str, str]:
    """The environment of this run, without what would change the looks, and with these."""
    kept = {name: value for name, value in os.environ.items() if name not in DECIDES_ABOUT_LOOKS}
    return {**kept, "PYTHONUTF8": "1", "TERM": "xterm-256color", **variables}


@frozen
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str = ""


def in_pipes(*arguments: str, command: Sequence[str] = COMMAND, **variables: str) -> Ended:
    """Run it with its output in pipes."""
    done = subprocess.run(
        [*command, *arguments], env=environment(**variables), capture_output=True, check=False, timeout=30
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def in_a_terminal(*arguments: str, columns: int = 80, command: Sequence[str] = COMMAND, **variables: str) -> Ended:
    """Run it in a terminal of so many columns; both outputs are one, as there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [*command, *arguments], env=environment(**variables), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # how Linux says that the other side has closed
        pass
    finally:
        os.close(ours)
    return Ended(process.wait(timeout=10), seen.decode().replace("\r\n", "\n"))
