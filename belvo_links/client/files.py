"""Certificates and keys that are given as files, read where it does not hold up the event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePath

import attrs

from belvo_links.protocol.credentials import Credentials
from belvo_links.redact import Secret


async def with_files(credentials: object) -> Credentials:
    """Return the credentials with their files read, off the event loop.

    Raises:
        ValueError: a file cannot be read. Its path is not shown.
        TypeError: they are no credentials.
    """
    if not isinstance(credentials, Credentials):
        msg = "credentials: give a Credentials"
        raise TypeError(msg)
    return attrs.evolve(
        credentials,
        certificate=await _read("certificate", credentials.certificate),
        private_key=await _read("private_key", credentials.private_key),
    )


async def _read(name: str, content: Secret[bytes] | PurePath | None) -> Secret[bytes] | None:
    if not isinstance(content, PurePath):
        return content
    try:
        return Secret(await asyncio.to_thread(Path(content).read_bytes))
    except (OSError, ValueError):
        pass  # it names the path, so it is not even to be the context of ours
    msg = f"{name}: the file cannot be read"
    raise ValueError(msg)
