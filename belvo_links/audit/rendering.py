"""The report as one HTML page; needs jinja2: ``pip install 'belvo-links[report]'``. Everything here blocks.

The page loads nothing: style, script and pictures are in it, and its policy names the hashes of the first two. All text
is escaped by the template engine.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, BinaryIO, Final

import attrs

from belvo_links.audit.charts import STATUSES, charts_of, share
from belvo_links.audit.figures import SHOWN, WORST_FIRST, Figures, ReportedFinding
from belvo_links.audit.findings import Severity
from belvo_links.audit.runfile import RunFacts, UnreadableRow
from belvo_links.audit.turns import Turns
from belvo_links.version import __version__

try:
    import jinja2
except ModuleNotFoundError as missing:
    _MISSING: str | None = missing.name
else:
    _MISSING = None

if _MISSING is not None:  # outside of the handler, so that the error says one thing
    raise ModuleNotFoundError(
        "an HTML report needs the extra [report]: pip install 'belvo-links[report]'", name=_MISSING
    )

UNREADABLE_SHOWN: Final = 200
"""How many of the records that could not be read the page lists."""

CHECKS_OFFERED: Final = 100
"""How many checks the page offers to choose from."""

_TEMPLATES: Final = Path(__file__).parent / "templates"
_ICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="#2d5d8a"/>'
    '<path d="M4 12V8m4 4V4m4 8V6" stroke="#fff" stroke-width="2" stroke-linecap="round"/></svg>'
)


@attrs.frozen(kw_only=True)
class Key:
    """A key figure: what it is, the number, what it is to be seen against, and how it is drawn."""

    label: str
    number: str
    more: str
    kind: str = ""


def write_html(
    file: BinaryIO | IO[bytes],
    turns: Turns,
    facts: RunFacts,
    figures: Figures,
    findings: Sequence[ReportedFinding],
    unreadable: Sequence[UnreadableRow],
    guarantee: Sequence[str],
) -> None:
    """Write the page.

    Args:
        file: where to.
        turns: taken while it is made.
        facts: what the run was about.
        figures: what was counted.
        findings: the first findings, worst first.
        unreadable: the first records that could not be read.
        guarantee: what the audit guarantees, and its limits.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css, js = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    page = environment.get_template("report.html").generate(
        facts=facts,
        figures=figures,
        findings=findings,
        unreadable=unreadable,
        guarantee=guarantee,
        charts=charts_of(figures, facts.judged_at),
        keys=key_figures(figures),
        shown=SHOWN,
        severities=[str(severity) for severity in WORST_FIRST if figures.severities.get(severity)],
        checks=sorted({each.check for each in findings})[:CHECKS_OFFERED],
        statuses=[status for status in STATUSES if figures.statuses.get(status)],
        ended=facts.ended_at.strftime("%Y-%m-%d %H:%M"),
        version=__version__,
        css=css,
        js=js,
        icon=f"data:image/svg+xml;base64,{base64.b64encode(_ICON.encode()).decode()}",
        policy=policy(css, js),
    )
    for part in turns.over(page):
        file.write(part.encode("utf-8", "replace"))


def policy(css: str, js: str) -> str:
    """Return what the page may load: this style, this script, pictures that are in it, and nothing else."""
    return (
        f"default-src 'none'; style-src '{_hash(css)}'; script-src '{_hash(js)}'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def key_figures(figures: Figures) -> tuple[Key, ...]:
    """Return the key figures, the most important first."""
    valid = figures.statuses.get("valid", 0)
    high = figures.severities.get(Severity.HIGH, 0)
    out = (figures.credentials, figures.data)
    soon = sum(sum(each.weeks[:4]) for each in out)
    places = len(figures.institutions)
    at = f"{places}{' or more' if figures.other_institutions else ''} institution{'' if places == 1 else 's'}"
    return (
        Key(label="Links", number=f"{figures.links:,}", more=f"at {at}"),
        Key(label="Valid", number=share(valid, figures.links), more=f"{valid:,} links"),
        Key(
            label="Need attention",
            number=f"{figures.concerned:,}",
            more=f"{share(figures.concerned, figures.links)} of the links",
            kind="warn" if figures.concerned else "",
        ),
        Key(
            label="Findings",
            number=f"{figures.findings:,}",
            more=f"{high:,} of high severity",
            kind="bad" if high else "",
        ),
        Key(label="Run out in 4 weeks", number=f"{soon:,}", more="credentials or data"),
        Key(
            label="Unreadable",
            number=f"{figures.unreadable:,}",
            more="of the records" if figures.unreadable else "every record was read",
            kind="bad" if figures.unreadable else "",
        ),
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
