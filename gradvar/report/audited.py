"""An audit of rollout dumps (``gradvar audit --json``) as a section of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradvar import plot
from gradvar.plot.rows import number
from gradvar.report import generic
from gradvar.report.html import Picture
from gradvar.report.page import Section
from gradvar.report.svg import drawn


def section(content: Mapping[str, Any]) -> Section:
    """What is suspicious, what the audit advises, and its tables; the shares of equal groups as figures."""
    found = generic.section(
        {k: v for k, v in content.items() if k not in ("advice", "findings", "notes")}, "Audit"
    )
    odd = [generic.sentence(f) for f in content.get("findings") or []]
    suspicious = [f"Suspicious: {f}" for f in odd] or [
        "Nothing suspicious in how rollouts are grouped and rewarded."
    ]
    others = [generic.sentence(f) for f in [*(content.get("advice") or []), *(content.get("notes") or [])]]
    rows = number(content.get("rows"))
    return Section(
        title=f"Audit of {rows:,.0f} rollouts" if rows == rows else "Audit of rollouts",
        kind="Audit",
        findings=[*suspicious, *others],
        figures=_pictures(content),
        tables=found.tables if found else (),
        provenance=found.provenance if found else {},
        estimators=[str(content.get("estimator", ""))],
    )


def _pictures(content: Mapping[str, Any]) -> list[Picture]:
    found = []
    if len(content["steps"]) > 1:
        words = "Groups with equal rewards, which teach a group estimator nothing, along the training."
        found.append(drawn(plot.equal_groups, content, caption=words))
    sizes = content.get("group_sizes") or []
    if any(
        isinstance(s.get("informative"), Mapping) and s["informative"].get("value") is not None for s in sizes
    ):
        words = "Groups with different rewards, had groups been of other sizes."
        found.append(drawn(plot.informative, content, caption=words))
    return found
