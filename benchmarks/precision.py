"""What bfloat16 log-probabilities do to ratios, clips and variance, exactly on policy, where every ratio should be 1.

    python -m benchmarks.precision                       # some minutes on 2 cores
    python -m benchmarks.precision --batches 20 --out quick.json

A transformer is warm-started on a task in float32; its rollouts are scored by it and by the same weights in bfloat16.
Four ways in which precision gets between sampler and trainer:

    stored        the float32 log-probabilities, kept in bfloat16
    engine        a bfloat16 sampler with a key-value cache, a bfloat16 trainer with a full pass
    sampler       a bfloat16 sampler, a float32 trainer
    trainer       a float32 sampler, a bfloat16 trainer

For each: how far a token's log ratio is from 0, the share of tokens whose ratio leaves 1 +- 0.2 and of rollouts whose
length-normalised ratio leaves GSPO's interval, and for estimators what it does to the gradient in float32: tr Cov and
the alignment with the gradient at ratios of exactly 1, over the same batches. ``errors``: standard errors over batches.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.core.estimator import token_weights
from gradvar.files.provenance import provenance
from gradvar.files.tables import write_json
from gradvar.policies import Transformer
from gradvar.tasks import ModularAddition, Sorting
from gradvar.train.warm_start import warm_start

ESTIMATORS = ("grpo", "cispo", "gspo", "gspo_token")
WAYS = ("stored", "engine", "sampler", "trainer")
GSPO = (3e-4, 4e-4)  # the paper's clip range, arXiv 2507.18071
SIZES = {
    "addition": (ModularAddition(), {"width": 48, "hidden": 144}, 0.4),
    "sorting": (Sorting(8), {"width": 64, "hidden": 192, "layers": 4}, 0.4),
}
PROMPTS, GROUP = 16, 8


def log_probabilities(
    wide: Transformer, narrow: Transformer, params: Any, cast: Any
) -> Callable[..., dict[str, Any]]:
    """Draws a batch with each sampler; the trainer's and the sampler's log-probabilities for each way."""

    @jax.jit
    def made(prompts: jax.Array, key: jax.Array) -> dict[str, Any]:
        tokens, _ = wide.sample_with_logprobs(params, key, prompts, GROUP)
        half, sampled = narrow.sample_with_logprobs(cast, key, prompts, GROUP)
        exact, exact_half = (wide.logprobs(params, prompts, x) for x in (tokens, half))
        return {
            "stored": (tokens, exact, exact.astype(jnp.bfloat16).astype(jnp.float32)),
            "engine": (half, narrow.logprobs(cast, prompts, half), sampled),
            "sampler": (half, exact_half, sampled),
            "trainer": (tokens, narrow.logprobs(cast, prompts, tokens), exact),
        }

    return made


def measured(name: str, batches: int) -> list[dict[str, Any]]:
    """One row for every way."""
    task: Any
    task, settings, success = SIZES[name]
    wide = Transformer.for_task(task, **settings)
    narrow = Transformer(replace(wide.config, dtype="bfloat16"))
    params = warm_start(wide, task, jax.random.key(0), success).params
    cast = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    draw = log_probabilities(wide, narrow, params, cast)
    estimators = {e: catalogue.get(e) for e in ESTIMATORS}

    @jax.jit
    def gradient(prompts: jax.Array, tokens: jax.Array, weights: jax.Array) -> jax.Array:
        return ravel_pytree(jax.grad(lambda p: jnp.sum(wide.logprobs(p, prompts, tokens) * weights))(params))[
            0
        ]

    pulls: dict[tuple[str, str, str], list[np.ndarray]] = {}
    ratios: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {way: [] for way in WAYS}
    for number in range(batches):
        key = jax.random.fold_in(jax.random.key(1), number)
        prompts = task.prompts(key, PROMPTS)
        for way, (tokens, now, old) in draw(prompts, jax.random.fold_in(key, 1)).items():
            mask, rewards = wide.mask(tokens), task.reward(prompts, tokens)
            ratios[way].append((np.asarray(now - old), np.asarray(mask)))
            for label, estimator in estimators.items():
                for kind, before in (("found", old), ("at one", now)):
                    weights = token_weights(estimator, now, Batch(rewards, before, mask, logp_sampler=before))
                    pull = np.asarray(gradient(prompts, tokens, weights), np.float32)
                    pulls.setdefault((way, label, kind), []).append(pull)
    return [
        {"task": name, "parameters": wide.num_params(), "way": way, **_ratios(ratios[way])}
        | {label: _effect(pulls[way, label, "found"], pulls[way, label, "at one"]) for label in ESTIMATORS}
        for way in WAYS
    ]


def _ratios(found: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    away = np.concatenate([np.abs(d[m]) for d, m in found])
    outside = np.concatenate([np.abs(np.expm1(d[m])) > 0.2 for d, m in found])
    sequence = np.concatenate([(np.where(m, d, 0).sum(-1) / m.sum(-1)).ravel() for d, m in found])
    ratio = np.expm1(sequence)
    return {
        "log_ratio_mean": float(away.mean()), "log_ratio_p99": float(np.quantile(away, 0.99)),
        "log_ratio_max": float(away.max()), "tokens_outside_clip": float(outside.mean()),
        "rollouts_outside_gspo": float(((ratio < -GSPO[0]) | (ratio > GSPO[1])).mean()), "tokens": len(away),
    }  # fmt: skip


def _effect(found: list[np.ndarray], ideal: list[np.ndarray]) -> dict[str, float]:
    """tr Cov over that at ratios of 1, and the factor along the mean: <E found, E ideal> / ||E ideal||^2, unbiased."""

    def figures(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
        count = len(a)
        cov = [((x - x.mean(0)) ** 2).sum() / (count - 1) for x in (a, b)]
        cross = (a.sum(0) @ b.sum(0) - np.einsum("np,np", a, b)) / (count * (count - 1))
        own = (b.sum(0) @ b.sum(0) - np.einsum("np,np", b, b)) / (count * (count - 1))
        return cov[0] / cov[1], cross / own

    a, b = np.stack(found).astype(np.float64), np.stack(ideal).astype(np.float64)
    whole = figures(a, b)
    blocks = np.array_split(np.arange(len(a)), 10)
    left = np.array([figures(np.delete(a, rows, 0), np.delete(b, rows, 0)) for rows in blocks])
    errors = np.sqrt(((left - left.mean(0)) ** 2).sum(0) * 9 / 10)
    return {"trace_cov": whole[0], "trace_cov_se": errors[0], "factor": whole[1], "factor_se": errors[1]}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--tasks", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/precision.json"))
    asked = parser.parse_args()
    rows = [row for name in asked.tasks for row in measured(name, asked.batches)]
    for row in rows:
        print(
            f"{row['task']:<9} {row['way']:<8} |log ratio| mean {row['log_ratio_mean']:.1e} "
            f"p99 {row['log_ratio_p99']:.1e} max {row['log_ratio_max']:.1e}; outside 0.2: "
            f"{row['tokens_outside_clip']:.2%}; outside GSPO's: {row['rollouts_outside_gspo']:.0%}"
        )
        for label in ESTIMATORS:
            e = row[label]
            print(
                f"{'':<18} {label:<11} tr Cov x {e['trace_cov']:.3f} +- {e['trace_cov_se']:.3f}, mean x "
                f"{e['factor']:.3f} +- {e['factor_se']:.3f}"
            )
    settings = {"batches": asked.batches, "prompts": PROMPTS, "group": GROUP}
    write_json(asked.out, {"provenance": provenance(settings), "rows": rows})


if __name__ == "__main__":
    main()
