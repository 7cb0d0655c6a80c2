"""What the documentation prints from the code: tables and the diagram of the machine.

``python -m tests.generated`` writes them anew; ``tests/test_documentation.py`` fails when they differ.
"""

import ast
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from html import escape
from pathlib import Path

import attrs
from prometheus_client import CollectorRegistry, Counter

from belvo_links import SealError, SealReason, errors
from belvo_links.cli.exits import Exit
from belvo_links.protocol.mfa import GUARDS, SETTLED, TRANSITIONS, PendingState
from belvo_links.sandbox import DOCUMENTED_USERS, OWN_TRIGGERS
from belvo_links.sandbox.control.actions import ACTIONS
from belvo_links.sandbox.control.reports import faults as waiting_faults
from belvo_links.sandbox.control.reports import links, logins, requests
from belvo_links.sandbox.fidelity import fidelity_table, switches_table
from belvo_links.telemetry.prometheus import _Metrics
from belvo_links.transport.messages import Repeat
from belvo_links.transport.retry import REPEATED, Failure
from belvo_links.transport.watch import METHODS
from tests.audit import found
from tests.mfa import table as faults
from tests.stores import table as store_faults

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def transitions() -> str:
    """Render the machine's table."""
    guard = {event: check.__name__.strip("_").replace("_", " ") for event, check in GUARDS.items()}
    rows = [
        (str(state), f"`{event.__name__}`", summary(event), guard.get(event, ""), str(target))
        for (state, event), target in TRANSITIONS.items()
    ]
    return table(["in state", "event", "which is", "only if", "becomes"], rows)


def summary(thing: type) -> str:
    return (thing.__doc__ or "").partition("\n")[0].rstrip(".")


def repeats() -> str:
    """Render what is repeated."""
    kinds = list(Repeat)
    rows = [
        [failure.value, *("yes" if failure in REPEATED[kind] else "no" for kind in kinds)]
        if failure is not Failure.TOO_MANY_SESSIONS
        else [f"`{failure.value}`", *("if allowed" if failure in REPEATED[kind] else "no" for kind in kinds)]
        for failure in Failure
    ]
    return table(["after", *(f"`{kind.value}`" for kind in kinds)], rows)


def error_tree() -> str:
    """Copy the drawing at the top of the errors."""
    drawing = (errors.__doc__ or "").partition("::\n\n")[2].partition("\n\nAn error")[0]
    lines = [line.removeprefix("    ") for line in drawing.splitlines()]
    return "\n".join(["```text", *lines, "```"]) + "\n"


def users() -> str:
    """Render the user names that the vendor documents."""
    return table(
        ["user name", "what happens"], ((f"`{name}`", user.summary) for name, user in DOCUMENTED_USERS.items())
    )


def triggers() -> str:
    """Render the user names that only the simulator knows."""
    rows = ((f"`{name}`", trigger.summary) for name, trigger in OWN_TRIGGERS.items())
    return table(["user name", "what happens"], rows)


def seal_reasons() -> str:
    """Render why sealed text is refused."""
    rows = [(f"`{reason}`", SealError(reason).describe()) for reason in SealReason]
    return table(["`error.reason`", "what it says"], rows)


def control() -> str:
    """Render the control endpoints of the simulator."""
    looks = [("GET", f"/_sandbox/{each.__name__}", each) for each in (logins, links, requests, waiting_faults)]
    acts = [("POST", path, action) for path, (action, _) in ACTIONS.items()]
    rows = (
        (f"`{method} {path}`", (each.__doc__ or "").partition("\n")[0].rstrip(".").replace("``", "`"))
        for method, path, each in (*looks, *acts)
    )
    return table(["call", "what it tells or does"], rows)


def events() -> str:
    """Render what an observer is told of."""
    rows = (
        (
            f"`{method}`",
            f"`{event.__name__}`",
            summary(event),
            ", ".join(f"`{each.name}`" for each in attrs.fields(event)),
        )
        for event, method in METHODS.items()
    )
    return table(["method", "event", "when", "with"], rows)


def metrics() -> str:
    """Render the metrics of Prometheus."""
    registry = CollectorRegistry()
    made = vars(_Metrics(registry)).values()
    rows = (
        (
            f"`{each.describe()[0].name}{'_total' if isinstance(each, Counter) else ''}`",
            each.describe()[0].type,
            ", ".join(f"`{label}`" for label in each._labelnames),
            each.describe()[0].documentation,
        )
        for each in made
    )
    return table(["metric", "type", "labels", "is"], rows)


def source(module: str, *names: str) -> Callable[[], str]:
    """Make what copies functions of the web example, in its own words and order."""

    def copy() -> str:
        text = (ROOT / "examples" / "web_fastapi" / f"{module}.py").read_text(encoding="utf-8")
        found = {node.name: node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.AsyncFunctionDef)}
        pieces = []
        for node in (found[name] for name in names):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            pieces.append(textwrap.dedent("".join(text.splitlines(keepends=True)[first - 1 : node.end_lineno])))
        return "```python\n" + "\n\n".join(pieces) + "```\n"

    return copy


def checks() -> str:
    """Render what an audit looks for."""
    return table(["check", "how grave", "what it finds"], found.table())


def exits() -> str:
    """Render what the exit codes of ``belvo-links audit`` say."""
    said = {
        Exit.DONE: "done, and nothing was found that `--fail-on` asks for",
        Exit.FAILED: "the service, the network or a file failed; with `--checkpoint` the same command goes on",
        Exit.USAGE: "called wrongly, or without what it needs",
        Exit.FINDINGS: "there are findings that `--fail-on` asks for",
        Exit.INCOMPLETE: "the report is there, but links may be missing",
        Exit.INTERRUPTED: "Ctrl-C or SIGTERM",
    }
    return table(["exit code", "what it says"], ([str(int(code)), said[code]] for code in Exit))


TABLES: Mapping[str, Callable[[], str]] = {
    "checks": checks,
    "exits": exits,
    "control": control,
    "transitions": transitions,
    "repeats": repeats,
    "error-tree": error_tree,
    "events": events,
    "faults": faults.markdown,
    "metrics": metrics,
    "seal-reasons": seal_reasons,
    "store-faults": store_faults.faults,
    "store-outcomes": store_faults.outcomes,
    "users": users,
    "triggers": triggers,
    "switches": switches_table,
    "fidelity": fidelity_table,
    "web-connect": source("connect", "connect"),
    "web-whose": source("services", "pending_of"),
    "web-answer": source("logins", "answer"),
    "web-live": source("logins", "_changes"),
    "web-look": source("logins", "look"),
    "web-update": source("renew", "update"),
    "web-refresh": source("renew", "refresh"),
    "web-webhook": source("webhook", "receive", "_read_link"),
}

# ------------------------------------------------------------------------------------------------- the diagram

BOX = (150, 44)
PLACES: Mapping[PendingState, tuple[int, int]] = {
    PendingState.AWAITING: (140, 190),
    PendingState.SUBMITTING: (470, 80),
    PendingState.INDETERMINATE: (470, 330),
    PendingState.LINKED: (820, 60),
    PendingState.EXPIRED: (820, 205),
    PendingState.FAILED: (820, 350),
    PendingState.CANCELLED: (140, 390),
}
BENDS: Mapping[tuple[str, str], int] = {
    ("awaiting", "submitting"): -46,
    ("submitting", "awaiting"): -46,
    ("indeterminate", "awaiting"): -40,
    ("awaiting", "expired"): 4,
    ("submitting", "failed"): -14,
    ("indeterminate", "linked"): -14,
}
"""How far an edge bends to its left, in pixels, so that edges and labels keep clear of each other."""
LABEL_AT: Mapping[tuple[str, str], float] = {
    ("submitting", "failed"): 0.80,
    ("submitting", "expired"): 0.62,
    ("indeterminate", "linked"): 0.80,
    ("indeterminate", "expired"): 0.62,
    ("awaiting", "expired"): 0.66,
}
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1c2530; text-anchor: middle; }
  .label { font-size: 11px; fill: #46515e; paint-order: stroke; stroke: #fff; stroke-width: 4px; }
  .edge { fill: none; stroke: #6b7785; stroke-width: 1.4; marker-end: url(#arrow); }
  .state { fill: #eef3f8; stroke: #2f6f9f; stroke-width: 1.5; }
  .settled { fill: #eef7ee; stroke: #3d8b4f; }
  .unknown { fill: #fdf3e3; stroke: #c07a14; }
  .paper { fill: #fff; }
"""


MARKER = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 L8 4 L0 8 z" fill="#6b7785"/></marker></defs>'
)


def edges() -> dict[tuple[str, str], list[str]]:
    grouped: dict[tuple[str, str], list[str]] = {}
    for (state, event), target in TRANSITIONS.items():
        grouped.setdefault((str(state), str(target)), []).append(event.__name__)
    return grouped


def border(center: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    """Return where the line from a box's centre leaves the box."""
    dx, dy = towards[0] - center[0], towards[1] - center[1]
    reach = min((BOX[0] / 2 + 4) / abs(dx) if dx else 9e9, (BOX[1] / 2 + 4) / abs(dy) if dy else 9e9)
    return center[0] + dx * reach, center[1] + dy * reach


def edge(ends: tuple[str, str], names: list[str]) -> Iterator[str]:
    a, b = (PLACES[PendingState(end)] for end in ends)
    length = ((b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2) ** 0.5
    bend = BENDS.get(ends, 0) * 2
    middle = (
        (a[0] + b[0]) / 2 + (b[1] - a[1]) / length * -bend,
        (a[1] + b[1]) / 2 + (b[0] - a[0]) / length * bend,
    )
    (x1, y1), (x2, y2) = border(a, middle), border(b, middle)
    yield f'<path class="edge" d="M{x1:.0f} {y1:.0f} Q{middle[0]:.0f} {middle[1]:.0f} {x2:.0f} {y2:.0f}"/>'
    t = LABEL_AT.get(ends, 0.5)
    x = (1 - t) ** 2 * x1 + 2 * t * (1 - t) * middle[0] + t * t * x2
    y = (1 - t) ** 2 * y1 + 2 * t * (1 - t) * middle[1] + t * t * y2
    for number, name in enumerate(names):
        yield f'<text class="label" x="{x:.0f}" y="{y + 4 + 13 * (number - (len(names) - 1) / 2):.0f}">{name}</text>'


def box(state: PendingState) -> Iterator[str]:
    x, y = PLACES[state]
    kind = "settled" if state in SETTLED else "unknown" if state is PendingState.INDETERMINATE else "open"
    corner = f'x="{x - BOX[0] / 2:.0f}" y="{y - BOX[1] / 2:.0f}" width="{BOX[0]}" height="{BOX[1]}" rx="8"'
    yield f'<rect class="state {kind}" {corner}/>'
    yield f'<text x="{x}" y="{y + 5}">{escape(str(state))}</text>'


def diagram() -> str:
    """Draw the machine."""
    grouped = edges()
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 430" role="img" aria-labelledby="title">',
        '<title id="title">States of a pending session and the events between them</title>',
        f"<style>{STYLE}</style>",
        MARKER,
        '<rect class="paper" width="920" height="430"/>',
        *(line for ends, names in grouped.items() for line in edge(ends, names)),
        *(line for state in PendingState for line in box(state)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def renewed(text: str) -> str:
    """Return a document with its generated blocks made anew."""
    return BLOCK.sub(lambda block: f"{block[1]}{TABLES[block['name']]()}{block[3]}", text)


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def main() -> None:
    for path in documents():
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
    (DOCS / "machine.svg").write_text(diagram(), encoding="utf-8")


if __name__ == "__main__":
    main()
