"""``belvo-links sandbox``: the simulator on a port, until somebody interrupts it."""

from __future__ import annotations

import asyncio
import ipaddress
import json as json_module
import os
import secrets
import shlex
import signal
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from rich.text import Text

from belvo_links.cli.console import complain, output_console
from belvo_links.cli.exits import Exit
from belvo_links.sandbox.address import is_loopback
from belvo_links.sandbox.sandbox import Sandbox

RECORD_LIMIT: Final = 1000
"""So many requests, tokens and webhooks are remembered, since this may run for weeks."""
CONTROL_KEY: Final = "BELVO_SANDBOX_CONTROL_KEY"
"""The environment variable that gives the control key; no argument does, since others on the machine can read those."""

_LOGINS: Final = """
To log in:

  erebor_mx_retail     bnk100 and full
  heimdall_mx_retail   mfa_numeric and numeric_code, then the token 111111"""


async def serve(*, host: str, port: int, seed: int, json: bool) -> Exit:
    """Serve the simulator until SIGINT or SIGTERM.

    Its control key comes from ``BELVO_SANDBOX_CONTROL_KEY``, or is made up for this one start.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        seed: every identifier and the keys follow from it.
        json: print addresses and keys as one line of JSON.
    """
    interrupted = asyncio.Event()
    _listen_to_signals(interrupted)
    key = os.environ.get(CONTROL_KEY) or secrets.token_urlsafe(24)
    try:
        box = Sandbox(host=host, port=port, seed=seed, record_limit=RECORD_LIMIT, control_key=key)
    except ValueError as error:  # about the key; the other arguments cannot be wrong
        complain("sandbox", f"{CONTROL_KEY}: {error}")
        return Exit.USAGE
    try:
        await box.start()
    except OSError as error:
        complain("sandbox", f"cannot listen on {host}, port {port}: {_reason(error)}")
        return Exit.FAILED
    try:
        if not is_loopback(host):
            _warn(host)
        _announce(box, host, key, json=json)
        await interrupted.wait()
    finally:
        failures = await _stop(box)
    if failures:
        complain("sandbox", f"the simulator itself has failed: {failures}")
        return Exit.FAILED
    if not json:
        print(f"\nStopped after {box.served} request{'' if box.served == 1 else 's'}.")
    return Exit.DONE


def _listen_to_signals(interrupted: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: Ctrl-C ends it as a KeyboardInterrupt
            loop.add_signal_handler(each, interrupted.set)


async def _stop(box: Sandbox) -> str:
    """Stop, and return what has failed inside the simulator."""
    try:
        await box.stop()
    except ExceptionGroup as group:
        return ", ".join(sorted({repr(error) for error in group.exceptions}))
    return ""


def _announce(box: Sandbox, host: str, key: str, *, json: bool) -> None:
    url = _reachable(box.url, host)
    page = box.page_url.replace(box.url, url, 1)
    env = {**box.env, "BELVO_BASE_URL": url}
    if json:
        keys = {"url": url, "secret_id": box.secret_id, "secret_password": box.secret_password}
        print(json_module.dumps({**keys, "env": env, "page_url": page, "control_key": key}), flush=True)
        return
    console = output_console()
    facts = {"base URL": url, "secret id": box.secret_id, "secret password": box.secret_password}
    console.print(Text("A pretend Belvo API is listening. Ctrl-C ends it.\n", style="bold"))
    for name, value in facts.items():
        console.print(Text.assemble((f"  {name:<17}", "dim"), (value, "cyan")), soft_wrap=True)
    console.print(Text("\nTo look at it, and to steer it, open:\n", style="dim"))
    console.print(Text.assemble((f"  {'page':<17}", "dim"), (page, "cyan")), soft_wrap=True)
    console.print(Text("\nFor BelvoLinks.from_env(), paste:\n", style="dim"))
    for name, value in env.items():
        console.print(Text(f"  export {name}={shlex.quote(value)}"), soft_wrap=True)
    console.print(Text(_LOGINS, style="dim"), soft_wrap=True)
    console.file.flush()


def _warn(host: str) -> None:
    text = f"WARNING: listening on {host}, so other machines can reach it. Its keys are no secret: whoever knows the"
    text = f"{text} seed knows them. The page's key is one, but travels without encryption."
    complain("sandbox", f"{text} BelvoLinks itself takes plain http from this machine only.")


def _reachable(url: str, host: str) -> str:
    """Return an address that a client on this machine can use: a wildcard is none."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return url
    if not address.is_unspecified:
        return url
    loopback = "127.0.0.1" if address.version == 4 else "[::1]"
    return f"http://{loopback}:{urlsplit(url).port}"


def _reason(error: OSError) -> str:
    """Return why, in the system's words: asyncio repeats the address in its own."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)
