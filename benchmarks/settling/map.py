"""Where two rollouts retain what sixteen reach: success rate, length of answers and prompts per step.

``python -m benchmarks.settling.map``: both arms at equal rollouts per step and steps, the learning rate the same for
both and not tuned, so a cell says how the arms differ and no more. Beside every cell stands what the law of
leave-one-out says from a bank of its warm start: the variance per rollout of two over that of sixteen. Below 1 two
should do better. The same command goes on where it was stopped.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.settling.runs import Runs
from benchmarks.settling.settings import Setting, Size
from gradvar.cli.results import keep_compiled_programs
from gradvar.files.provenance import provenance
from gradvar.files.tables import to_plain, write_json
from gradvar.stats.starts import ratio_of
from gradvar.tasks import ModularAddition, RunningTotal

TASKS = (("addition", ModularAddition(digits=2)), ("running_total", RunningTotal(terms=5)))
SUCCESSES = (0.1, 0.3, 0.7)
ROLLOUTS = (32, 128)
SMALL, LARGE = 2, 16


def cells(folder: Path) -> list[Runs]:
    """The cells; those of one task and one number of rollouts share their compiled programs."""
    found = []
    for name, task in TASKS:
        for rollouts in ROLLOUTS:
            trainers: dict[tuple[int, str], Any] = {}
            size = Size((SMALL, LARGE), runs=4, starts=1, steps=96, points=2, rollouts_per_step=rollouts)
            for success in SUCCESSES:
                setting = Setting(f"{name}-{success:g}-{rollouts}", task, success)
                found.append(Runs(setting, size, folder, trainers=trainers))
    return found


def row_of(runs: Runs) -> dict[str, Any]:
    """A cell: retained reward and gain over seeds, and the law's ratio of variances."""
    curves = {
        g: [runs.curve(g, 1.0, number, tuning=False) for number in range(runs.size.runs)]
        for g in (SMALL, LARGE)
    }
    final, before = (
        {g: np.array([curve["reward"][place] for curve in curves[g]]) for g in curves} for place in (-1, 0)
    )
    prediction = runs.prediction()
    (law,) = (arm["variance_ratio"] for arm in prediction["arms"] if arm["group"] == SMALL)
    bank = prediction["bank"]
    return to_plain({
        "cell": runs.setting.name, "length": bank["length"], "success": bank["success"],
        "target": runs.setting.success, "rollouts_per_step": runs.size.rollouts_per_step,
        "prompts_per_step": {g: runs.size.rollouts_per_step // g for g in curves},
        "before": float(before[LARGE].mean()), "reward": {g: final[g] for g in curves},
        "retained": ratio_of(final[SMALL], final[LARGE], what="reward of sixteen"),
        "retained_gain": ratio_of(
            final[SMALL] - before[SMALL], final[LARGE] - before[LARGE], what="gain of sixteen"
        ),
        "law": law, "snr": {arm["group"]: arm["snr"] for arm in prediction["arms"]}, "bank": bank,
    })  # fmt: skip


def main() -> None:
    """Run what is left within the minutes; the file when all is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many; go on later")
    parser.add_argument("--tasks", nargs="*", default=[name for name, _ in TASKS])
    parser.add_argument("--folder", type=Path, default=Path("gradvar-settling/map"))
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    keep_compiled_programs()
    began, rows = time.monotonic(), []
    for runs in cells(options.folder):
        if not runs.setting.name.startswith(tuple(options.tasks)):
            continue
        runs.prediction()
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
