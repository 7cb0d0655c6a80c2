"""The commands and their options, as cyclopts reads them. What they do is imported when they run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError, validators

from belvo_links.cli.console import called, complain, error_console, output_console
from belvo_links.cli.exits import Exit
from belvo_links.version import __version__


def _version() -> str:
    return f"belvo-links {__version__}"


app = App(
    name="belvo-links",
    help="Belvo's Links API: audits of your links, and a simulator for your own machine that needs no account.",
    version=_version,
    help_format="plaintext",
)
"""The command."""

Json = Annotated[bool, Parameter(negative="", show_default=False)]
Several = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]
FailOn: TypeAlias = Literal["info", "low", "medium", "high"]
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


audit_app = App(
    name="audit",
    version=_version,
    help_format="plaintext",
)
app.command(audit_app)


@audit_app.default
def audit(
    *,
    status: Several = (),
    institution: Several = (),
    access_mode: str | None = None,
    created_from: date | None = None,
    created_before: date | None = None,
    html: Path | None = None,
    json: Json = False,
    jsonl: Path | None = None,
    csv: Path | None = None,
    parquet: Path | None = None,
    save: Path | None = None,
    checkpoint: Path | None = None,
    fail_on: FailOn | None = None,
    pseudonymise: Json = False,
) -> int:
    """Read all links once, completely and gently, and say what needs attention.

    Keys and address come from BELVO_SECRET_ID, BELVO_SECRET_PASSWORD and BELVO_ENVIRONMENT or BELVO_BASE_URL.
    Exit codes: 0 done, 1 failed, 2 called wrongly, 5 findings (see --fail-on), 6 links may be missing.

    Args:
        status: only links of this status; may be given several times.
        institution: only links at this institution; may be given several times.
        access_mode: only links of this access mode: single or recurrent.
        created_from: only links created on this day or later (UTC).
        created_before: only links created before this day (UTC).
        html: write the report as one page to this file.
        json: print the whole report as one JSON document.
        jsonl: write the findings as JSON Lines to this file.
        csv: write the findings as CSV to this file.
        parquet: write the findings as Parquet to this file.
        save: keep the run in this file, for: belvo-links audit diff.
        checkpoint: keep what is finished in this file; after an interruption the same command goes on from there.
        fail_on: exit code 5 if there is a finding of this severity or graver.
        pseudonymise: show ids of users as pseudonyms, under the key in BELVO_PSEUDONYM_KEY; else they are left out.
    """
    from belvo_links.cli.audit import Order, run_audit

    order = Order(
        status=status,
        institution=institution,
        access_mode=access_mode,
        created_from=created_from,
        created_before=created_before,
        html=html,
        json=json,
        jsonl=jsonl,
        csv=csv,
        parquet=parquet,
        save=save,
        checkpoint=checkpoint,
        fail_on=fail_on,
        pseudonymise=pseudonymise,
    )
    try:
        return asyncio.run(run_audit(order))
    except asyncio.CancelledError:  # SIGTERM
        return Exit.INTERRUPTED


@audit_app.command
def diff(old: Path, new: Path, /, *, json: Json = False, fail_on: FailOn | None = None) -> int:
    """Show what has changed between two runs that were kept with --save.

    Args:
        old: the file of the earlier run.
        new: the file of the later run.
        json: print all changes as one JSON document.
        fail_on: exit code 5 if a finding of this severity or graver is new.
    """
    from belvo_links.cli.differences import run_diff

    return asyncio.run(run_diff(old, new, json=json, fail_on=fail_on))


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
