"""Advice on the group size (``gradvar advise --json``) as a section of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gradvar import plot
from gradvar.plot.rows import number
from gradvar.report.html import Estimate, Table
from gradvar.report.page import Section
from gradvar.report.svg import drawn


def section(content: Mapping[str, Any]) -> Section:
    """The advice's own sentences, its curve, and the comparison of estimators where there is one."""
    curve = [
        [
            p["group_size"],
            _estimate(p.get("cost", p.get("relative_cost"))),
            *([_estimate(p["variance"])] if "variance" in p else []),
            number(p.get("informative")),
        ]
        for p in content["curve"]
    ]
    costs = ["G", "cost of equal variance", "variance", "share of informative groups"]
    heads = costs if len(curve[0]) == 4 else [costs[0], costs[1], costs[3]]
    tables = [Table("Group sizes; brackets are 95 % intervals", heads, curve)]
    rivals = content.get("estimators") or []
    if rivals:
        rows = [
            [
                c["scheme"],
                c["group_size"],
                *map(number, c["weights"]),
                _estimate(c["cosine"]),
                _estimate(c["cost"]),
            ]
            for c in rivals
        ]
        names = [
            "estimator",
            "G",
            "least weight",
            "largest weight",
            "cosine with ∇J",
            "cost of equal progress",
        ]
        tables.append(Table("Estimators by the four-number law; brackets are 95 % intervals", names, rows))
    prompts, rollouts = content.get("prompts", "?"), content.get("rollouts", "?")
    return Section(
        title=f"Best group size: G = {content['best']}",
        kind="Advice",
        findings=[str(s) for s in content["sentences"]],
        figures=[
            drawn(
                plot.cost, content,
                caption=f"Cost of equal variance by group size, from {prompts} prompts of {rollouts} rollouts.",
            )
        ],
        tables=tables,
        estimators=list(dict.fromkeys(str(c["scheme"]) for c in rivals)),
    )  # fmt: skip


def _estimate(found: Any) -> Estimate:
    if not isinstance(found, Mapping):
        return Estimate(number(found))
    high = number(found.get("high"))
    return Estimate(
        number(found.get("value")), number(found.get("low")), math.inf if math.isnan(high) else high
    )
