"""The runs read at three budgets: intervals over warm starts, tests of equivalence, and the prediction beside."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.settling import settings as fixed
from benchmarks.settling.runs import Runs, at
from gradvar.files.tables import to_plain
from gradvar.stats.equivalence import ratio_equivalence
from gradvar.stats.starts import mean_of, ratio_of
from gradvar.train.prediction import compared

Units = Float[np.ndarray, " start"]


def places(runs: Runs) -> dict[str, dict[int, tuple[str, float]]]:
    """Where the runs of every group size are read, for each budget: the axis and the place on it.

    ``prompts``: as many prompts in all, the paper's. ``tokens``: as many tokens as the run that wrote fewest. ``time``:
    as much as the fastest arm took, at the least seconds per step that any run of an arm took: the machine has other
    work.
    """
    groups, steps = runs.size.groups, runs.size.steps
    curves = {group: _curves(runs, group, "tokens") for group in groups}
    tokens = min(curve["tokens"][-1] for group in groups for curve in curves[group])
    seconds = {group: min(curve["seconds"] for curve in curves[group]) / steps for group in groups}
    shortest = min(seconds.values()) * steps
    return {
        "prompts": {group: ("steps", runs.prompts_steps(group)) for group in groups},
        "tokens": {group: ("tokens", tokens) for group in groups},
        "time": {group: ("steps", shortest / seconds[group]) for group in groups},
    }


def _curves(runs: Runs, group: int, budget: str) -> list[dict[str, Any]]:
    factor = runs.tuned(group)["prompts" if budget == "prompts" else "tokens"]["factor"]
    return [runs.curve(group, factor, number, tuning=False) for number in range(runs.size.runs)]


def rows(runs: Runs) -> list[dict[str, Any]]:
    """A row for every budget and group size: the reward there, what it retains, and the test of equivalence."""
    made = []
    for budget, by_group in places(runs).items():
        rewards, before = {}, {}
        for group, (axis, place) in by_group.items():
            curves = _curves(runs, group, budget)
            rewards[group] = np.array([at(curve, axis, place) for curve in curves])
            before[group] = np.array([curve["reward"][0] for curve in curves])
        for group, reward in rewards.items():
            choice = runs.tuned(group)["prompts" if budget == "prompts" else "tokens"]
            made.append({
                "setting": runs.setting.name, "budget": budget, "group": group, "place": by_group[group],
                "factor": choice["factor"], "edge": choice["edge"],
                **_retained(reward, before[group], rewards[fixed.REFERENCE], before[fixed.REFERENCE]),
            })  # fmt: skip
    return made


def _retained(reward: Units, before: Units, reference: Units, reference_before: Units) -> dict[str, Any]:
    same = reward is reference
    test = ratio_equivalence(reward, reference, fixed.CLAIMED, fixed.MARGIN)
    return {
        "before": float(before.mean()), "reward": mean_of(reward), "gain": mean_of(reward - before),
        "difference": mean_of(reward - reference, by_identity=same),
        "retained": ratio_of(reward, reference, what="reference's reward"),
        "retained_gain": ratio_of(reward - before, reference - reference_before, what="reference's gain"),
        "equivalence_p": None if same else test.p_value,
    }  # fmt: skip


def results(whole: Sequence[Runs]) -> dict[str, Any]:
    """All of it in plain values: facts, rates that were tried, rows, raw curves, and predictions beside what came."""
    content: dict[str, Any] = {"claimed": fixed.CLAIMED, "margin": fixed.MARGIN, "settings": [], "rows": []}
    for runs in whole:
        table = rows(runs)
        groups = runs.size.groups
        gains = {
            f"grpo-{group}": np.array(
                [c["reward"][-1] - c["reward"][0] for c in _curves(runs, group, "tokens")]
            )
            for group in groups
        }
        prediction = runs.prediction()
        content["settings"].append({
            "name": runs.setting.name, **runs.facts(), "starts": runs.starts(), "prediction": prediction,
            "compared": compared(prediction, gains), "tuned": {g: runs.tuned(g) for g in groups},
            "curves": runs.kept_curves(),
        })  # fmt: skip
        content["rows"] += table
    return to_plain(content)
