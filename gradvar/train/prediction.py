"""What the theory says of arms before any of them is trained, and what training then gave.

A score bank of the warm start gives sigma_b^2, sigma_o^2, Delta and |grad J|^2 (``measure.bank.summary``). With Q
prompts and groups of G, a step's gradient by leave-one-out has the variance (sigma_b^2 + sigma_o^2 / G + Delta / (G (G
- 1))) / Q. An optimiser that normalises its steps, as Adam does, advances along the gradient by the cosine of the angle
between a step's gradient and the mean one, whose square is about SNR / (1 + SNR); so the ``progress`` that is predicted
is steps times learning rate times that cosine. It is of first order: the numbers are those of the start, and it knows
nothing of curves that bend. Groups of one, games, critics and stored rollouts are outside the law and have none.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, PRNGKeyArray, PyTree

from gradvar.core.protocols import Policy, Task
from gradvar.files.atomic import differing, read_json
from gradvar.files.tables import to_plain, write_json
from gradvar.measure.advise.group_size import advise
from gradvar.measure.bank.record import record
from gradvar.measure.bank.summary import Summary
from gradvar.stats.effective import effective_number
from gradvar.stats.figures import ratio_interval
from gradvar.stats.text import interval_texts, number_text
from gradvar.train.gradient_noise import rank_correlation
from gradvar.train.plan import Arm, Plan

ROLLOUTS = 16
"""Rollouts of each prompt of the bank: the law then holds for groups of any size."""
_ENDLESS = 2**31 - 1


def predict(
    policy: Policy,
    task: Task,
    params: PyTree,
    key: PRNGKeyArray,
    prompts: int,
    plans: Sequence[Plan],
    reference: str,
) -> dict[str, Any]:
    """Return what a score bank of a policy says of arms, as plain values and intervals.

    Args:
        policy: What will be trained.
        task: What gives prompts and rewards.
        params: Parameters of the warm start.
        key: Of the bank's prompts and rollouts, apart from those of training.
        prompts: Of the bank, 8 or more.
        plans: The arms with their sizes.
        reference: Name of the arm that others are compared with.
    """
    summary = record(policy, params, task, key, prompts, ROLLOUTS).summary()
    return of_summary(summary, plans, reference)


def of_summary(summary: Summary, plans: Sequence[Plan], reference: str) -> dict[str, Any]:
    """The prediction from a bank's summary; ``predict`` says what it is."""
    sizes = sorted({plan.arm.group for plan in plans if _within_law(plan.arm)})
    total = summary.budget()[0]
    facts: dict[str, Any] = {
        "prompts": len(summary.p), "rollouts": summary.rewards.shape[1], "success": float(summary.p.mean()),
        "length": float(summary.length.mean()), **vars(total),
    }  # fmt: skip
    advice = advise(summary, group_sizes=sizes) if sizes else None
    (reference_plan,) = (plan for plan in plans if plan.arm.name == reference)
    return {
        "bank": facts,
        "best_group": advice.best if advice else None,
        "optimum": advice.optimum if advice else None,
        "sentences": list(advice.sentences) if advice else [],
        "arms": [_of_arm(summary, plan, reference_plan) for plan in plans],
    }


def _within_law(arm: Arm) -> bool:
    """Whether an arm's steps are those of a group estimator on fresh rollouts, on policy."""
    fresh = all(phase.source == "fresh" for phase in arm.all_phases())
    plain = arm.game is None and arm.allocation is None and arm.attempts == 1 and arm.sampler == "none"
    return arm.group >= 2 and fresh and plain


def _of_arm(summary: Summary, plan: Plan, reference: Plan) -> dict[str, Any]:
    arm, nothing = plan.arm, math.nan
    steps = expected_steps(plan, float(summary.length.mean()))
    row: dict[str, Any] = {
        "arm": arm.name,
        "group": arm.group,
        "prompts_per_step": plan.prompts,
        "steps": steps,
    }
    if not _within_law(arm):
        return row | {"snr": nothing, "progress": nothing, "variance_ratio": None}
    total, without = summary.budget()
    noise = float(total.variance(arm.group)) / plan.prompts
    # an estimate of |grad J|^2 without bias may fall below zero: then there is nothing to order arms by
    snr = float(total.signal) / noise if noise > 0 and float(total.signal) > 0 else nothing
    row |= {
        "snr": snr,
        "progress": steps * plan.learning_rate * math.sqrt(snr / (1 + snr)),
        "variance_ratio": None,
    }
    if _within_law(reference.arm):
        sizes = (arm.group, reference.arm.group)
        effective = min(float(effective_number(summary.second_moments(size))) for size in sizes)
        effective *= summary.met()
        factor = sizes[0] / sizes[1]
        ratio = factor * float(total.variance(sizes[0]) / total.variance(sizes[1]))
        with np.errstate(all="ignore"):
            parts = factor * without.variance(sizes[0]) / without.variance(sizes[1])
        row["variance_ratio"] = ratio_interval(
            ratio, parts, 0.95, effective, by_identity=sizes[0] == sizes[1]
        )
    return row


def expected_steps(plan: Plan, length: float) -> float:
    """Steps that a plan's limits allow with completions of this mean length; NaN where time is the limit."""
    if not math.isinf(plan.seconds):
        return math.nan
    limits = [float(plan.steps)]
    if plan.rollouts < _ENDLESS:
        limits.append(plan.rollouts / plan.rollouts_per_step)
    if plan.tokens < _ENDLESS:
        limits.append(plan.tokens / (plan.rollouts_per_step * length))
    return min(limits)


def compared(
    prediction: Mapping[str, Any], gains: Mapping[str, Float[np.ndarray, " seed"]]
) -> dict[str, Any]:
    """Return a prediction in plain values beside what was measured.

    ``gains``: of every arm, a seed each. ``correlation``: Spearman's, over arms, of the predicted progress with the
    gain, with its interval over seeds. ``share``: the gain of the arm that was predicted to be the best, over the best
    arm's.
    """
    rows = [row for row in prediction["arms"] if row["progress"] is not None and row["arm"] in gains]
    if len(rows) < 2:
        return {}
    means = {row["arm"]: float(gains[row["arm"]].mean()) for row in rows}
    predicted, best = (
        max(rows, key=lambda row: row["progress"])["arm"],
        max(means, key=lambda arm: means[arm]),
    )
    seeds = len(next(iter(gains.values())))
    correlation = rank_correlation(
        [np.full(seeds, row["progress"]) for row in rows], [np.asarray(gains[row["arm"]]) for row in rows]
    )
    share = means[predicted] / means[best] if means[best] > 0 else math.nan
    return {
        "predicted_best": predicted, "measured_best": best, "share": share, "correlation": correlation,
        "arms": [{"arm": r["arm"], "progress": r["progress"], "gain": means[r["arm"]]} for r in rows],
    }  # fmt: skip


def written(
    folder: Path | None, identity: Mapping[str, Any], make: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Return a prediction in plain values; with a folder it is made once, before any arm is trained there, and kept.

    Raises ``ValueError`` where arms were trained in the folder without one, or where it is about other settings.
    """
    identity = to_plain(identity)
    if folder is None:
        return to_plain(make())
    place = folder / "prediction.json"
    if place.exists():
        content = read_json(place, "predict", "give another folder")
        if difference := differing(content.get("settings", {}), identity):
            raise ValueError(f"predict: {place} is about other settings ({difference}); give another folder")
        return content["prediction"]
    if any(folder.glob("*/run.json")):
        raise ValueError(f"predict: {folder} holds trained arms and no prediction; give another folder")
    prediction = to_plain(make())
    write_json(place, {"kind": "prediction", "settings": identity, "prediction": prediction})
    return prediction


def sentences(prediction: Mapping[str, Any], reference: str) -> Iterator[str]:
    """Return what was predicted, and what came of it where ``compared`` is in it, in words."""
    bank = prediction["bank"]
    yield (
        f"Predicted before training from {bank['prompts']} prompts with {bank['rollouts']} rollouts: the least "
        f"variance per rollout has G={prediction['best_group']}."
    )
    for row in prediction["arms"]:
        ratio = row["variance_ratio"]
        if ratio is None or row["arm"] == reference or ratio["value"] is None:
            continue
        ends = (ratio[name] if ratio[name] is not None else math.nan for name in ("value", "low", "high"))
        value, low, high = interval_texts(*ends)
        interval = "no interval" if ratio["low"] is None else f"95 % interval {low} to {high}"
        yield f"Its variance per rollout over that of {reference}: {row['arm']} {value} ({interval})."
    outcome = prediction.get("compared")
    if outcome:
        same = outcome["predicted_best"] == outcome["measured_best"]
        yield (
            f"{outcome['predicted_best']} was predicted to gain most, and did."
            if same
            else f"{outcome['predicted_best']} was predicted to gain most; {outcome['measured_best']} did, and the "
            f"former gained {number_text(outcome['share'])} of that."
        )
