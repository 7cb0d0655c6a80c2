"""The commands and their options, as cyclopts reads them. What they do is imported when they run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError, validators

from belvo_links.cli.console import called, complain, error_console, output_console
from belvo_links.cli.exits import Exit
from belvo_links.version import __version__


def _version() -> str:
    return f"belvo-links {__version__}"


app = App(
    name="belvo-links",
    help="Belvo's Links API on your own machine: no network, no account, no credentials.",
    version=_version,
    help_format="plaintext",
)
"""The command."""

Json = Annotated[bool, Parameter(negative="", show_default=False)]
Port = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))]


@app.command
def demo(*, json: Json = False) -> int:
    """Show what the SDK does, in a few seconds, against a simulator inside this process.

    Args:
        json: print the same as data.
    """
    from belvo_links.cli.show import Data, Screen

    audience = Data() if json else Screen(output_console())
    with audience.busy("starting the simulator"):
        from belvo_links.cli.demo import run as run_demo  # brings aiohttp, which takes a moment
    telling = asyncio.run(run_demo(audience))
    if telling.problem:
        complain("demo", telling.problem)
    return Exit.DONE if telling.ok else Exit.FAILED


@app.command
def sandbox(*, port: Port = 0, host: str = "127.0.0.1", seed: int = 0, json: Json = False) -> int:
    """Serve the simulator until interrupted, for your own code to run against, with a page to look at it.

    Args:
        port: the port to listen on; 0 takes a free one.
        host: the address to listen on; anything but this machine's own lets others in.
        seed: every identifier and the keys follow from it.
        json: print addresses and keys as one line of JSON.
    """
    from belvo_links.cli.sandbox import serve

    try:
        return asyncio.run(serve(host=host, port=port, seed=seed, json=json))
    except KeyboardInterrupt:  # where the event loop takes no signals, and before it does
        return Exit.DONE


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name and return its exit code."""
    if not arguments:
        app.help_print(console=error_console())
        return Exit.USAGE
    try:
        code: int | None = app(
            arguments,
            console=output_console(),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        command = " ".join(error.command_chain or ())
        complain(command, f"{_said(error)} Try: {called(command)} --help")
        return Exit.USAGE
    return Exit.DONE if code is None else code  # nothing comes back from --help and --version


def _said(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        return f"Unexpected argument: {' '.join(error.unused_tokens or ())}."
    said = " ".join(str(error).split())
    return said if said.endswith((".", "?")) else f"{said}."
