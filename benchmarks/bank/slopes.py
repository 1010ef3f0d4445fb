"""How the bank's cost grows: with the pool, the group size, the parameters and the tokens.

    python -m benchmarks.bank.slopes --out benchmarks/results/bank_slopes.json

Every stage is timed warm (compiled before), in CPU seconds, as the median of several runs that alternate over the
sizes; a slope is that of a straight line through the logarithms. What is expected: a backward pass is linear in tokens
(attention adds a little) and in rollouts; the Gram matrix quadratic in rollouts; evaluating an estimator does not
depend on the number of parameters; for a fixed number of batches it grows with the group size, since larger groups hold
more rollouts.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.bank.scene import Containing, moved, provenance, transformer
from gradvar import catalogue
from gradvar.gradients.per_rollout import ScoreRows, project_scores
from gradvar.gradients.sketch import Gram, Whole
from gradvar.measure.bank.bank import ScoreBank
from gradvar.measure.bank.record import record
from gradvar.policies.transformer.policy import Transformer

PROMPTS = 8
NAMES = ("rloo", "grpo", "dapo", "gspo")


def policy_of(width: int, time_: int) -> Transformer:
    config = transformer("small").config
    return Transformer(replace(config, width=width, hidden=3 * width, completion_length=time_, stop=None))


def bank_of(width: int, time_: int, rollouts: int) -> ScoreBank:
    policy, task = policy_of(width, time_), Containing(24)
    params = policy.init(jax.random.key(0))
    prompts = task.prompts(jax.random.key(1), PROMPTS)
    return record(
        policy, params, task, jax.random.key(2), prompts, rollouts, old_params=moved(params, 0.02), scores=Gram(),
        estimators=[catalogue.get(n) for n in NAMES],
    )  # fmt: skip


def evaluation(bank: ScoreBank, group: int, replicates: int) -> Callable[[], Any]:
    """Evaluation of all estimators over the bank's prompts together."""
    estimators = [catalogue.get(n) for n in NAMES]
    return lambda: bank.evaluate(estimators, [group], replicates=replicates, independent="rollouts", slices=2)


def backward(width: int, time_: int, rollouts: int) -> Callable[[], Any]:
    """Backward passes of ``rollouts`` rows, their images thrown away."""
    policy = policy_of(width, time_)
    params = policy.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    prompts = rng.integers(2, 24, (rollouts, 6)).astype(np.int32)
    completions = rng.integers(2, 24, (rollouts, time_)).astype(np.int32)
    weights = rng.normal(size=(rollouts, time_)).astype(np.float32)
    rows, key = ScoreRows(prompts, completions, weights), jax.random.key(0)

    def run() -> None:
        for _ in project_scores(policy, params, rows, Whole(), key, 64):
            pass

    return run


def gram(rows: int) -> Callable[[], Any]:
    """Inner products of ``rows`` rows of 20,000 numbers."""
    scores = np.random.default_rng(0).normal(size=(rows, 20_000)).astype(np.float32)
    return lambda: scores @ scores.T


def measured(calls: dict[int, Callable[[], Any]], runs: int) -> dict[int, float]:
    """CPU seconds of each size: the median over runs that alternate."""
    for call in calls.values():
        call()
    found: dict[int, list[float]] = {size: [] for size in calls}
    for _ in range(runs):
        for size, call in calls.items():
            started = time.process_time()
            call()
            found[size].append(time.process_time() - started)
    return {size: float(np.median(x)) for size, x in found.items()}


def slope(seconds: dict[int, float]) -> float:
    return float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bank_slopes.json"))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="group_sizes")  # two slices: times are wanted, not errors
    jax.config.update("jax_enable_x64", False)
    sizes: dict[str, dict[int, Callable[[], Any]]] = {
        "backward passes, tokens": {t: backward(64, t, 256) for t in (16, 32, 64, 128)},
        "backward passes, rollouts": {n: backward(64, 32, n) for n in (128, 256, 512, 1024)},
        "Gram matrix, rows": {n: gram(n) for n in (500, 1000, 2000, 4000)},
    }
    banks = {w: bank_of(w, 16, 32) for w in (32, 64, 128, 256)}
    sizes["evaluation, parameters"] = {int(b.info["params"]): evaluation(b, 4, 512) for b in banks.values()}
    pools = {n: bank_of(32, 16, n) for n in (16, 32, 64, 128)}
    # every pool's batches are as many, so that only the pool differs
    sizes["evaluation, rollouts in the pool"] = {n: evaluation(b, 4, 1024) for n, b in pools.items()}
    sizes["evaluation, group size"] = {g: evaluation(pools[128], g, 1024) for g in (2, 4, 8, 16, 32)}
    sizes["evaluation, replicates"] = {m: evaluation(pools[64], 4, m) for m in (512, 1024, 2048, 4096)}
    rows = {}
    for name, calls in sizes.items():
        seconds = measured(calls, options.runs)
        rows[name] = {"slope": slope(seconds), "cpu_seconds": seconds}
        print(f"{name:<36} slope {rows[name]['slope']:6.2f}   {seconds}", flush=True)
    result = {"provenance": provenance(), "runs": options.runs, "rows": rows}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
