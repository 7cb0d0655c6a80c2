"""Files that only their owner may read, and that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, TypeAlias

Target: TypeAlias = str | os.PathLike[str] | BinaryIO | IO[bytes]
"""Where a report is written: the path of a file, which is replaced, or a binary file that is open."""


def make_private(path: Path) -> None:
    """Make a file before SQLite would, with the rights that it is to have (0600); its side files get the same."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


@contextmanager
def private_file(target: Target) -> Iterator[BinaryIO | IO[bytes]]:
    """Open a file to write (0600); it gets its name when all of it was written.

    Args:
        target: its path; or an open file, which is written to as it is and stays open.

    Raises:
        OSError: it cannot be written.
    """
    if not isinstance(target, (str, os.PathLike)):
        yield target
        target.flush()
        return
    path = Path(target)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)  # 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(name).replace(path)
    except BaseException:  # a cancelled writer leaves no half of a file either
        with suppress(OSError):
            Path(name).unlink()
        raise
