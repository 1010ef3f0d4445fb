"""An experiment as a section of the report: its findings, curves and profiles, and the table of arms."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gradvar import plot
from gradvar.report.html import Picture, Table
from gradvar.report.page import Section, provenance_texts, stated_findings
from gradvar.report.svg import drawn
from gradvar.stats.intervals import Interval
from gradvar.studies.rows import number

Content = Mapping[str, Any]
_MOST_CURVES = 6  # arms that a plot of curves holds


def training(content: Content) -> Section:
    """Set the result of ``gradvar train``: curves, profiles and the table of arms."""
    rows: Sequence[Content] = content["rows"]
    config = content.get("config", {})
    starts = int(number(config.get("starts", 1)))
    reference = str(config.get("reference", "")) or str(rows[0]["arm"])
    plans = [plan.get("arm", {}) for plan in content.get("plans") or []]
    phases = [phase for arm in plans for phase in arm.get("phases", [])]
    return Section(
        title=f"{len(rows)} arms trained on {config.get('task', 'a task')}, {config.get('seeds', '?')} paired seeds of "
        + (f"each of {starts} warm starts" if starts > 1 else "one warm start"),
        kind="Experiment",
        findings=stated_findings(content),
        figures=_trained(content, rows, reference),
        tables=[_arms_table(rows)],
        provenance=provenance_texts(content.get("provenance") or {"config": config}),
        estimators=list(dict.fromkeys(str(entry.get("estimator", "")) for entry in [*plans, *phases])),
    )


def _trained(content: Content, rows: Sequence[Content], reference: str) -> list[Picture]:
    """Curves of the arms that a figure holds, profiles, and what every arm retains."""
    arms = _arms(rows, reference)
    chosen = f" (the reference, and the two highest and the two lowest estimates of {len(rows)} arms)"
    which = "." if len(arms) == len(rows) else f"{chosen}."
    seeds = {int(number(r.get("seeds"))) for r in rows if math.isfinite(number(r.get("seeds")))}
    over = f"over {min(seeds)} seeds" if len(seeds) == 1 else "over seeds"
    reward = f"Held-out reward along the training, mean {over}{which}"
    tokens = f"The same against the tokens that were generated{which}"
    profiles = f"Performance profiles: the share of runs that end above a reward{which}"
    snr = f"Signal-to-noise ratio of a step's gradient along the training{which}"
    retained = f"What every arm retains of {reference}'s gain over the warm start."
    pictures = [
        drawn(plot.training, content, arms=arms, caption=reward),
        drawn(plot.training, content, arms=arms, x="tokens", caption=tokens),
        drawn(plot.profiles, content, arms=arms, caption=profiles),
    ]
    if all(math.isfinite(number(r.get("start_snr"))) for r in rows):
        pictures.append(drawn(plot.training, content, "snr", arms=arms, caption=snr))
    return [*pictures, drawn(plot.retention, content, "retained_gain", caption=retained)]


def _arms(rows: Sequence[Content], reference: str) -> list[str]:
    """All arms if they are few; else the reference, and the two that retain most and least by estimate."""
    names = [str(r["arm"]) for r in rows]
    if len(rows) <= _MOST_CURVES:
        return names
    others = [r for r in rows if math.isfinite(number(r.get("retained_final"))) and r["arm"] != reference]
    ranked = [str(r["arm"]) for r in sorted(others, key=lambda r: -number(r["retained_final"]))]
    return [*([reference] if reference in names else []), *ranked[:2], *ranked[-2:]]


def _rate(row: Content) -> Any:
    """The learning rate, or in words the range of those of the warm starts."""
    ends = [number(row.get(name)) for name in ("lowest_rate", "highest_rate")]
    if math.isfinite(number(row.get("learning_rate"))) or not all(map(math.isfinite, ends)):
        return row.get("learning_rate")
    return f"{ends[0]:.2g} to {ends[1]:.2g}"


def _arms_table(rows: Sequence[Content]) -> Table:
    plain = {
        "arm": "arm",
        "group": "G",
        "prompts_per_step": "prompts per step",
        "learning_rate": "learning rate",
        "start_reward": "before",
        "final_reward": "after",
    }
    estimated = {
        "retained_gain": "gain retained",
        "retained_final": "final retained",
        "difference": "difference",
        "improvement": "better than reference",
    }
    costs = ("rollouts", "tokens", "seconds")
    return Table(
        "Arms; rewards are held out, brackets are 95 % intervals over warm starts, or over the seeds of one",
        [*plain.values(), *estimated.values(), *costs],
        [
            [
                *(_rate(r) if name == "learning_rate" else r.get(name) for name in plain),
                *(
                    Interval(number(r.get(k)), number(r.get(f"{k}_low")), number(r.get(f"{k}_high")))
                    for k in estimated
                ),
                *map(r.get, costs),
            ]
            for r in rows
        ],
    )
