"""An experiment (``gradvar train``) as a section of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gradvar import plot
from gradvar.plot.rows import number
from gradvar.report.html import Estimate, Picture, Table, figure_text, figures
from gradvar.report.page import Section
from gradvar.report.svg import drawn

_FEW = 6  # arms that a plot of curves holds


def section(content: Mapping[str, Any]) -> Section:
    """What every arm retains of the reference, with curves, profiles and the table."""
    rows: list[Mapping[str, Any]] = content["rows"]
    config = content.get("config", {})
    reference = str(config.get("reference", "")) or str(rows[0]["arm"])
    return Section(
        title=f"{len(rows)} arms trained on {config.get('task', 'a task')}, {config.get('seeds', '?')} paired seeds",
        kind="Experiment",
        findings=[*_findings(rows, reference, config), *_mechanism(content), *_start(content)],
        figures=_pictures(content, rows, reference),
        tables=[_table(rows)],
        provenance=content.get("provenance", {}) or {"config": config},
        estimators=_estimators(content),
    )


def _findings(rows: Sequence[Mapping[str, Any]], reference: str, config: Mapping[str, Any]) -> list[str]:
    others = [r for r in rows if r["arm"] != reference]
    better = [r for r in others if number(r.get("difference_low")) > 0]
    worse = [r for r in others if number(r.get("difference_high")) < 0]
    open_ = [r for r in others if r not in better and r not in worse]
    budget = str(config.get("equal", "")).replace("_", " ")
    found = []
    if len(others) > 3:
        found.append(
            f"Of {len(others)} arms, {len(better)} end above {reference} and {len(worse)} below it (95 % intervals of "
            f"the difference exclude 0); {len(open_)} are not told apart from it"
            + (f", at equal {budget}." if budget else ".")
        )
        best = max(others, key=lambda r: number(r.get("retained_final")))
        last = min(others, key=lambda r: number(r.get("retained_final")))
        chosen = [best] if best is last else [best, last]
    else:
        chosen = others
    for row in chosen:
        estimate = [number(row.get(f"retained_final{end}")) for end in ("", "_low", "_high")]
        value, low, high = figures(*estimate)
        verdict = "above" if row in better else "below" if row in worse else "not told apart from"
        known = "" if math.isnan(estimate[1]) else f" (95 % interval {low} to {high})"
        found.append(
            f"{row['arm']} ends {verdict} {reference}: it retains {value} of its held-out reward{known}; its own goes "
            f"from {figure_text(number(row.get('start_reward')))} to {figure_text(number(row.get('final_reward')))}."
        )
    return found


def _mechanism(content: Mapping[str, Any]) -> list[str]:
    found = content.get("mechanism") or {}
    return [
        f"Rank correlation over arms of the gain with the gradient's signal-to-noise ratio {when}: "
        + "{} (95 % interval {} to {}).".format(
            *figures(*(number(r.get(k)) for k in ("value", "low", "high")))
        )
        for when, r in found.items()
    ]


def _start(content: Mapping[str, Any]) -> list[str]:
    warm = content.get("warm_start") or {}
    if "success" not in warm:
        return []
    error = number(warm.get("standard_error"))
    known = "" if math.isnan(error) else f" ± {error:.3f} (standard error)"
    return [
        f"All arms start from the same weights, with a success rate of {number(warm['success']):.3f}{known}."
    ]


def _pictures(content: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], reference: str) -> list[Picture]:
    arms = _shown(rows, reference)
    which = (
        ""
        if len(arms) == len(rows)
        else f" (the reference, the two best and the two worst of {len(rows)} arms)"
    )
    seeds = {int(number(r.get("seeds"))) for r in rows if math.isfinite(number(r.get("seeds")))}
    over = f"over {min(seeds)} seeds" if len(seeds) == 1 else "over seeds"
    found = [
        drawn(
            plot.training, content, arms=arms, caption=f"Held-out reward along the training, mean {over}{which}."
        ),
        drawn(
            plot.training, content, arms=arms, x="tokens",
            caption=f"The same against the tokens that were generated{which}.",
        ),
        drawn(
            plot.profiles, content, arms=arms,
            caption=f"Performance profiles: the share of runs that end above a reward{which}.",
        ),
    ]  # fmt: skip
    if all(math.isfinite(number(r.get("start_snr"))) for r in rows):
        found.append(
            drawn(
                plot.training, content, "snr", arms=arms,
                caption=f"Signal-to-noise ratio of a step's gradient along the training{which}.",
            )
        )  # fmt: skip
    words = f"What every arm retains of {reference}'s reward at the end."
    return [*found, drawn(plot.retention, content, caption=words)]


def _shown(rows: Sequence[Mapping[str, Any]], reference: str) -> list[str]:
    """All arms where they are few; else the reference, and the two best and the two worst by what they retain."""
    names = [str(r["arm"]) for r in rows]
    if len(rows) <= _FEW:
        return names
    known = [r for r in rows if math.isfinite(number(r.get("retained_final"))) and r["arm"] != reference]
    ranked = [str(r["arm"]) for r in sorted(known, key=lambda r: -number(r["retained_final"]))]
    return [*([reference] if reference in names else []), *ranked[:2], *ranked[-2:]]


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    plain = {
        "group": "G", "prompts_per_step": "prompts per step", "learning_rate": "learning rate",
        "start_reward": "before", "final_reward": "after",
    }  # fmt: skip
    estimated = {
        "retained_final": "retained", "retained_gain": "of the gain", "difference": "difference",
        "improvement": "better than reference",
    }  # fmt: skip
    used = {"rollouts": "rollouts", "tokens": "tokens", "seconds": "seconds"}
    body = [
        [
            r["arm"],
            *(r.get(k) for k in plain),
            *(Estimate(*(number(r.get(k + end)) for end in ("", "_low", "_high"))) for k in estimated),
            *(r.get(k) for k in used),
        ]
        for r in rows
    ]
    return Table(
        "Arms; rewards are held out, brackets are 95 % bootstrap intervals over paired seeds",
        ["arm", *plain.values(), *estimated.values(), *used.values()],
        body,
    )


def _estimators(content: Mapping[str, Any]) -> list[str]:
    plans = content.get("plans") or []
    names = [str(p.get("arm", {}).get("estimator", "")) for p in plans]
    phases = [str(ph.get("estimator", "")) for p in plans for ph in p.get("arm", {}).get("phases", [])]
    return list(dict.fromkeys([*names, *phases]))
