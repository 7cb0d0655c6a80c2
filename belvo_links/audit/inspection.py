"""Running checks on links, so that one that fails costs nothing but itself."""

from __future__ import annotations

import inspect as _inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from belvo_links.audit import checks as shipped
from belvo_links.audit.findings import Check, CheckContext, Finding, Severity
from belvo_links.protocol.models import Link

FAILED: Final = "check_failed"
"""The name of the findings that stand in for a check which raised."""

DRIFT_REMEMBERED: Final = 1000
"""How many unknown words and fields one audit tells apart: they come from outside."""


def named(checks: Iterable[Check]) -> dict[str, Check]:
    """Return the checks by their names.

    Raises:
        ValueError: one has no name, or two have the same.
        TypeError: one is no plain function.
    """
    by_name: dict[str, Check] = {}
    for check in checks:
        given: object = check
        name: object = getattr(given, "__name__", None)
        if not callable(given) or _inspect.iscoroutinefunction(given) or _inspect.isasyncgenfunction(given):
            raise TypeError("checks: give plain functions")
        if not isinstance(name, str) or not name or name in by_name:
            raise ValueError("checks: give functions that each have a __name__ of their own")
        by_name[name] = check
    return by_name


class Inspector:
    """Runs checks.

    Args:
        checks: by their names, as :func:`named` returns them.
        context: what they are told besides the link.
        drift: what was found of ``drift`` before.
    """

    def __init__(self, checks: Mapping[str, Check], context: CheckContext, *, drift: Iterable[str] = ()) -> None:
        self._checks = tuple(checks.items())
        self._context = context
        self._drift = set(drift)

    def inspect(self, link: Link) -> Sequence[Finding]:
        """Return what the checks find about a link; a finding ``check_failed`` for each that raises."""
        findings: list[Finding] = []
        for name, check in self._checks:
            try:
                found = [_sound(finding) for finding in check(link, self._context)]
            except Exception as error:  # noqa: BLE001  # whatever a user's check raises costs this check on this link
                found = [_failed(name, link, error)]
            if found:
                findings += self._new(found) if check is shipped.drift else found
        return findings

    def _new(self, found: Sequence[Finding]) -> Sequence[Finding]:
        """Return the drift that was not found before; at most so much of it as can be remembered."""
        fresh: list[Finding] = []
        for finding in found:
            if finding.message not in self._drift and len(self._drift) < DRIFT_REMEMBERED:
                self._drift.add(finding.message)
                fresh.append(finding)
        return fresh


def _sound(finding: object) -> Finding:
    """Return the finding if it can be written down."""
    if not isinstance(finding, Finding):
        raise TypeError
    for text in (finding.check, finding.link_id, finding.message, finding.remedy):
        text.encode()  # raises for what is no text, or ends in the middle of a character
    return finding


def _failed(name: str, link: Link, error: Exception) -> Finding:
    # Not the text of the error, which may quote anything.
    return Finding(
        check=FAILED,
        severity=Severity.MEDIUM,
        link_id=link.id,
        message=f"The check {name} failed on this link with {type(error).__name__}.",
        remedy=f"Mend the check {name}, then audit again.",
    )
