"""Ten warm starts, each with learning rates of its own: is it the one rate for all that sets two designs apart?

    python -m benchmarks.own_rates --out benchmarks/results/train_own_rates.json

The experiment of ``gradvar train --arms grpo-2 grpo-16 --seed 3000 --equal prompts --rate tuned --starts 10`` with the
same starts, seeds and prompts, but that every start chooses the rates of both arms on validation prompts. The same
command goes on where it was stopped.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gradvar.cli.results import keep_compiled_programs
from gradvar.core.progress import Silent
from gradvar.files.provenance import provenance
from gradvar.files.tables import to_plain, write_json
from gradvar.policies import Transformer
from gradvar.stats.starts import mean_of, ratio_of
from gradvar.tasks import ModularAddition
from gradvar.train import arms
from gradvar.train.held_out import Training
from gradvar.train.loop import train
from gradvar.train.plan import TUNING_OFFSET, TrainConfig, plan
from gradvar.train.trainer import Trainer
from gradvar.train.tuning import at_rate
from gradvar.train.warm_start import warm_start

CONFIG = TrainConfig(
    arms=("grpo-2", "grpo-16"),
    seed=3000,
    equal="prompts",
    rate="tuned",
    grid=(0.125, 0.25, 0.5, 1.0, 2.0),
    starts=10,
)
_FURTHER = 1 << 20  # as in the experiment: keys of the starts after the first


def results_of(
    number: int, policy: Transformer, task: Training, trainers: dict[str, Trainer], tuners: dict[str, Trainer]
) -> dict[str, Any]:
    """Both arms from one start: rewards of the rates that were tried, the best one, rewards before and after."""
    key = jax.random.key(CONFIG.seed)
    if number:
        key = jax.random.fold_in(key, _FURTHER + number)
    start = warm_start(policy, task, key, CONFIG.success, monitor=Silent())
    rows: dict[str, Any] = {"warm_steps": start.steps}
    for name, trainer in trainers.items():
        tuning = range(CONFIG.seed + TUNING_OFFSET, CONFIG.seed + TUNING_OFFSET + CONFIG.tuning_seeds)
        usual = trainer.plan.learning_rate
        tried = {
            factor: float(train(at_rate(tuners[name], usual * factor), start.params, tuning).final().mean())
            for factor in CONFIG.grid
        }
        best = max(tried, key=lambda factor: tried[factor])
        seeds = range(CONFIG.seed + number * CONFIG.seeds, CONFIG.seed + (number + 1) * CONFIG.seeds)
        run = train(at_rate(trainer, usual * best), start.params, seeds)
        before, after = run.curves["reward"][0], run.final()
        rows[name] = {"tried": tried, "best": best, "before": before.tolist(), "after": after.tolist()}
    return to_plain(rows)


def retained(starts: list[dict[str, Any]]) -> dict[str, Any]:
    """What two keep of sixteen's reward and gain, over the starts."""
    after, gain = {}, {}
    for name in CONFIG.arms:
        before = np.array([np.mean(start[name]["before"]) for start in starts])  # [start]
        after[name] = np.array([np.mean(start[name]["after"]) for start in starts])
        gain[name] = after[name] - before
    two, sixteen = CONFIG.arms
    return {
        "reward": ratio_of(after[two], after[sixteen], what="reward of sixteen"),
        "gain": ratio_of(gain[two], gain[sixteen], what="gain of sixteen"),
        "gain_of_two": mean_of(gain[two]),
        "gain_of_sixteen": mean_of(gain[sixteen]),
    }


def main() -> None:
    """Run the starts that the file does not have."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--starts", type=int, default=CONFIG.starts, help="how many of the ten")
    options = parser.parse_args()
    keep_compiled_programs()
    task = Training(ModularAddition(digits=2))
    policy = Transformer.for_task(
        task.task, dtype=CONFIG.precision, width=CONFIG.width, hidden=3 * CONFIG.width
    )
    chosen = {name: arms.get(name) for name in CONFIG.arms}
    key = jax.random.key(CONFIG.seed)
    test = task.examination(jax.random.fold_in(key, 1), CONFIG.eval_prompts, "test")
    validation = task.examination(jax.random.fold_in(key, 2), CONFIG.eval_prompts, "validation")
    trainers = {
        name: Trainer(policy, task, plan(CONFIG, arm, chosen[CONFIG.reference]), test, CONFIG.eval_rollouts)
        for name, arm in chosen.items()
    }
    tuners = {name: trainer.examined_on(validation) for name, trainer in trainers.items()}
    starts = json.loads(options.out.read_text())["starts"] if options.out.exists() else []
    for number in range(len(starts), options.starts):
        starts.append(results_of(number, policy, task, trainers, tuners))
        figures = retained(starts) if len(starts) > 1 else {}
        content = {"provenance": provenance({}), "starts": starts, "retained": figures}
        write_json(options.out, {"kind": "rates of every start"} | content)
        print(number, {name: starts[-1][name]["best"] for name in chosen}, flush=True)


if __name__ == "__main__":
    main()
