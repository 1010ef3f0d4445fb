"""Where two rollouts retain what sixteen reach: success rate, length of answers and prompts per step.

``python -m benchmarks.settling.map``: both arms with as many rollouts in a step, the learning rate the same for both
and not tuned, so a cell says how the arms differ and no more. A cell is read at equal rollouts, and at as many prompts
as sixteen had, the paper's budget. Beside it stands what the law of leave-one-out says from a bank of its warm start:
the variance per rollout of two over that of sixteen. Below 1 two should do better at equal rollouts. The same command
goes on where it was stopped.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.settling.runs import Runs, at
from benchmarks.settling.settings import Setting, Size
from gradvar.cli.results import keep_compiled_programs
from gradvar.files.provenance import provenance
from gradvar.files.tables import to_plain, write_json
from gradvar.stats.starts import mean_of, ratio_of
from gradvar.tasks import ModularAddition, RunningTotal

TASKS = (("addition", ModularAddition(digits=2)), ("running_total", RunningTotal(terms=5)))
SUCCESSES = (0.03, 0.1, 0.3, 0.7)
ROLLOUTS = (32, 128)
SMALL, LARGE = 2, 16
STEPS, POINTS = 96, 8
"""An eighth of the steps is an evaluation: by then two have seen as many prompts as sixteen in all of them."""


def cells(
    folder: Path, tasks: Sequence[str], rollouts: Sequence[int], successes: Sequence[float], seeds: int
) -> list[Runs]:
    """The cells; those of one task and one number of rollouts a step share their compiled programs."""
    found = []
    for name, task in TASKS:
        if name not in tasks:
            continue
        for per_step in rollouts:
            trainers: dict[tuple[int, str], Any] = {}
            size = Size(
                (SMALL, LARGE), seeds, starts=1, steps=STEPS, points=POINTS, rollouts_per_step=per_step
            )
            for success in successes:
                setting = Setting(f"{name}-{success:g}-{per_step}", task, success)
                found.append(Runs(setting, size, folder, trainers=trainers))
    return found


def bank_of(runs: Runs) -> Runs:
    """The bank of a cell's warm start, one for all numbers of rollouts: the law's ratio is per rollout."""
    setting = replace(runs.setting, name=runs.setting.name.rsplit("-", 1)[0])
    return replace(runs, setting=setting, size=replace(runs.size, rollouts_per_step=Size.rollouts_per_step))


def row_of(runs: Runs) -> dict[str, Any]:
    """A cell: retained reward and gain over seeds at both budgets, and the law's ratio of variances."""
    curves = {
        g: [runs.curve(g, 1.0, number, tuning=False) for number in range(runs.size.runs)]
        for g in (SMALL, LARGE)
    }
    before, early, final = (
        {g: np.array([at(curve, "steps", steps) for curve in curves[g]]) for g in curves}
        for steps in (0, STEPS * SMALL / LARGE, STEPS)
    )
    prediction = bank_of(runs).prediction()
    (law,) = (arm["variance_ratio"] for arm in prediction["arms"] if arm["group"] == SMALL)
    bank = prediction["bank"]
    gain = final[LARGE] - before[LARGE]
    return to_plain({
        "cell": runs.setting.name, "length": bank["length"], "success": bank["success"],
        "target": runs.setting.success, "rollouts_per_step": runs.size.rollouts_per_step,
        "prompts_per_step": {g: runs.size.rollouts_per_step // g for g in curves},
        "before": float(before[LARGE].mean()), "reward": {g: final[g] for g in curves}, "gain": mean_of(gain),
        "difference": mean_of(final[SMALL] - final[LARGE]),
        "retained": ratio_of(final[SMALL], final[LARGE], what="reward of sixteen"),
        "retained_gain": ratio_of(final[SMALL] - before[SMALL], gain, what="gain of sixteen"),
        "at_prompts": {
            "retained": ratio_of(early[SMALL], final[LARGE], what="reward of sixteen"),
            "retained_gain": ratio_of(early[SMALL] - before[SMALL], gain, what="gain of sixteen"),
        },
        "law": law, "bank": bank,
    })  # fmt: skip


def main() -> None:
    """Run what is left within the minutes; the file when all is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many; go on later")
    parser.add_argument("--tasks", nargs="*", default=[name for name, _ in TASKS])
    parser.add_argument("--rollouts", type=int, nargs="*", default=ROLLOUTS, help="of a step")
    parser.add_argument("--successes", type=float, nargs="*", default=SUCCESSES, help="of the warm starts")
    parser.add_argument("--runs", type=int, default=4, help="seeds of an arm in every cell")
    parser.add_argument("--folder", type=Path, default=Path("gradvar-settling/map"))
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    fewest = 2 * LARGE  # a step's prompts are split over two minibatches
    for per_step in options.rollouts:
        if per_step < fewest or per_step % fewest:
            parser.error(
                f"--rollouts: {per_step}; give multiples of {fewest}, two prompts of {LARGE} rollouts at least"
            )
    keep_compiled_programs()
    began, rows = time.monotonic(), []
    for runs in cells(options.folder, options.tasks, options.rollouts, options.successes, options.runs):
        bank_of(runs).prediction()
        for number in range(runs.size.runs):
            for group in (SMALL, LARGE):
                runs.curve(group, 1.0, number, tuning=False)
                if time.monotonic() - began > 60 * options.minutes:
                    return
        rows.append(row_of(runs))
        print(
            f"{time.monotonic() - began:6.0f} s  {rows[-1]['cell']}: {rows[-1]['retained']['value']:.3f}",
            flush=True,
        )
    if options.out is not None:
        write_json(options.out, {"kind": "settling map", "provenance": provenance({}), "rows": rows})


if __name__ == "__main__":
    main()
