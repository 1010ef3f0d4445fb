"""Training's speed: rollouts and updates per second, where a step's time goes, and how far that is from a floor.

    python -m benchmarks.training --out benchmarks/results/training_speed.json

The default experiment's model and task, one seed on one device. The floor of a part is the time of square matrix
products with as many operations as its own products have (attention not counted), measured in the same run. Parts are
compiled and timed apart, the least of several runs each; medians over ``--runs`` rounds that alternate arms.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bank.scene import provenance
from benchmarks.step_timing import seconds_by_part
from gradvar.policies import Transformer
from gradvar.tasks import ModularAddition
from gradvar.train import arms
from gradvar.train.held_out import Training
from gradvar.train.plan import TrainConfig, plan
from gradvar.train.trainer import Trainer

ARMS = ("grpo-2", "grpo-16", "ppo", "dapo")
_SIDE = 512  # of the products that make the floor


def floor_rate() -> float:
    """Operations per second of products of a size that suits the machine."""
    one = jnp.ones((_SIDE, _SIDE), jnp.float32)
    multiply = jax.jit(lambda x: x @ x)
    jax.block_until_ready(multiply(one))
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        jax.block_until_ready(multiply(one))
        taken.append(time.perf_counter() - began)
    return 2 * _SIDE**3 / min(taken)


def operations(policy: Transformer, params: Any, made: Any, past: int) -> dict[str, float]:
    """Of the products of a step's parts: two per weight and token, three times that with a backward pass."""
    weights = sum(x.size for x in jax.tree.leaves(params["layers"]) if x.ndim == 3)
    head = policy.config.width * policy.config.vocab
    time_, rollouts = policy.config.completion_length, made.rollouts_per_step
    sampled = made.prompts * past * weights + rollouts * (time_ - 1) * weights + rollouts * time_ * head
    scored = (made.prompts * past + rollouts * (time_ - 1)) * weights + rollouts * time_ * head
    return {"sampling": 2.0 * sampled, "scoring": 2.0 * scored, "update": 6.0 * made.arm.epochs * scored}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/training_speed.json"))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    config = TrainConfig()
    task = Training(ModularAddition(digits=2))
    policy = Transformer.for_task(task.task, width=config.width, hidden=3 * config.width)
    params = policy.init(jax.random.key(0))
    past = task.prompts(jax.random.key(0), 1).shape[1]
    reference = arms.get(config.reference)
    trainers = {
        name: Trainer(policy, task, plan(config, arms.get(name), reference), task.examination(jax.random.key(1), 8), 4)
        for name in ARMS
    }  # fmt: skip
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ARMS}
    rates = []
    for _ in range(options.runs):
        rates.append(floor_rate())
        for name, trainer in trainers.items():
            found[name].append(seconds_by_part(trainer.training, params, trainer.limits(), repeats=10))
    rate, rows = float(np.median(rates)), dict[str, Any]()
    for name, trainer in trainers.items():
        made, arm = trainer.plan, trainer.plan.arm
        taken = {part: float(np.median([run[part] for run in found[name]])) for part in found[name][0]}
        floor = {part: n / rate for part, n in operations(policy, params, made, past).items()}
        parts = sum(taken[part] for part in floor)
        rows[name] = {
            "rollouts_per_second": made.rollouts_per_step / taken["step"],
            "updates_per_second": arm.epochs * arm.minibatches / taken["step"],
            "seconds": taken,
            "share": {part: taken[part] / parts for part in floor},
            "floor_share": {part: floor[part] / taken[part] for part in floor}
            | {"step": sum(floor.values()) / taken["step"]},
        }
        row = rows[name]
        shown = ", ".join(
            f"{p} {row['share'][p]:.0%} (floor {row['floor_share'][p]:.0%} of it)" for p in floor
        )
        print(
            f"{name:8} {row['rollouts_per_second']:8,.0f} rollouts/s {row['updates_per_second']:6.0f} updates/s; "
            f"{shown}; floor {row['floor_share']['step']:.0%} of the step",
            flush=True,
        )
    size = sum(x.size for x in jax.tree.leaves(params))
    content = {"provenance": provenance(), "params": size, "floor_gflops": rate / 1e9, "arms": rows}
    options.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
