"""Audits of many links, and actions on many links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from belvo_links.lazy import resolver

if TYPE_CHECKING:
    from belvo_links.audit.actions import RunSummary
    from belvo_links.audit.checks import CHECKS
    from belvo_links.audit.differences import Change, Comparison, FindingChange, LinkChange, compare
    from belvo_links.audit.findings import Check, CheckContext, Finding, Severity
    from belvo_links.audit.journal import Journal
    from belvo_links.audit.outcomes import LinkResult, Outcome
    from belvo_links.audit.plans import Plan, plan_delete, plan_patch, plan_refresh
    from belvo_links.audit.progress import Progress
    from belvo_links.audit.report import AuditReport
    from belvo_links.audit.run import audit
    from belvo_links.audit.runfile import UnreadableRow

__all__ = [
    "CHECKS",
    "AuditReport",
    "Change",
    "Check",
    "CheckContext",
    "Comparison",
    "Finding",
    "FindingChange",
    "Journal",
    "LinkChange",
    "LinkResult",
    "Outcome",
    "Plan",
    "Progress",
    "RunSummary",
    "Severity",
    "UnreadableRow",
    "audit",
    "compare",
    "plan_delete",
    "plan_patch",
    "plan_refresh",
]

_HOMES = {
    "CHECKS": "belvo_links.audit.checks",
    "AuditReport": "belvo_links.audit.report",
    "Change": "belvo_links.audit.differences",
    "Check": "belvo_links.audit.findings",
    "CheckContext": "belvo_links.audit.findings",
    "Comparison": "belvo_links.audit.differences",
    "Finding": "belvo_links.audit.findings",
    "FindingChange": "belvo_links.audit.differences",
    "Journal": "belvo_links.audit.journal",
    "LinkChange": "belvo_links.audit.differences",
    "LinkResult": "belvo_links.audit.outcomes",
    "Outcome": "belvo_links.audit.outcomes",
    "Plan": "belvo_links.audit.plans",
    "Progress": "belvo_links.audit.progress",
    "RunSummary": "belvo_links.audit.actions",
    "Severity": "belvo_links.audit.findings",
    "UnreadableRow": "belvo_links.audit.runfile",
    "audit": "belvo_links.audit.run",
    "compare": "belvo_links.audit.differences",
    "plan_delete": "belvo_links.audit.plans",
    "plan_patch": "belvo_links.audit.plans",
    "plan_refresh": "belvo_links.audit.plans",
}

__getattr__ = resolver(__name__, _HOMES)
