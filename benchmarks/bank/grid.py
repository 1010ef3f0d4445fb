"""12 estimators x 5 group sizes x 3 clips x 200 replicates: the bank against autodiff and materialised
scores.

    python -m benchmarks.bank.grid --out benchmarks/results/bank_grid.json

One replicate is one batch of all prompts and G rollouts of each. The bank's time is end to end: sampling,
backward passes, Gram matrix, token weights, contraction and errors, compilation included. Autodiff is one
jitted gradient of the objective through the model, its compilation not counted; "materialised" contracts the
kept scores of the batch's rollouts (the rank-revealed rows, all P numbers) with their coefficients, and
neither its recording nor its weights are counted. Both are timed on a sample of the settings, alternating,
and quoted per replicate. Wall and CPU seconds are kept: on a shared machine CPU seconds are the fairer ones.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bank.scene import GROUP_SIZES, Containing, grid, moved, provenance, transformer
from gradvar.measure.contract import design, quadratics
from gradvar.measure.record import record, score_rows
from gradvar.measure.rollouts import batch_of

REPLICATES = 200


class Clock:
    """Wall and CPU seconds by stage."""

    def __init__(self) -> None:
        self.stages: dict[str, list[float]] = {}

    def run(self, stage: str, call: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        out = jax.block_until_ready(call())
        took = self.stages.setdefault(stage, [0.0, 0.0])
        took[0] += time.perf_counter() - wall
        took[1] += time.process_time() - cpu
        return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bank_grid.json"))
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--rollouts", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    policy, task, estimators = transformer("small"), Containing(24), grid()
    params = policy.init(jax.random.key(0))
    old = moved(params, 0.02)
    compile_seconds = [0.0]

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event.endswith("backend_compile_duration"):
            compile_seconds[0] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    clock = Clock()
    started, started_cpu = time.perf_counter(), time.process_time()
    key_prompts = jax.random.key(3)
    prompts = task.prompts(key_prompts, options.prompts)
    bank = clock.run(
        "record",
        lambda: record(
            policy, params, task, jax.random.key(1), prompts, options.rollouts, old_params=old, map="gram",
            estimators=list(estimators.values()),
        ),
    )  # fmt: skip
    found = clock.run(
        "evaluate",
        lambda: bank.evaluate(estimators, GROUP_SIZES, replicates=REPLICATES, over="rollouts", slices=2),
    )
    ours: dict[str, Any] = {
        "wall": time.perf_counter() - started, "cpu": time.process_time() - started_cpu,
        "compile": compile_seconds[0], "stages": clock.stages,
    }  # fmt: skip
    settings = len(estimators) * len(GROUP_SIZES)
    ours |= {
        "per_replicate_wall": ours["wall"] / settings / REPLICATES,
        "per_replicate_cpu": ours["cpu"] / settings / REPLICATES,
    }
    print(json.dumps(ours, indent=1), f"rows {bank.rows.count}, basis {bank.info['basis']}", flush=True)
    print({s: round(m.trace_cov, 9) for s, m in list(found.items())[:6]})

    # The others, setting by setting, on the bank's own batches; the same numbers must come out.
    identity = score_rows(policy, params, bank.pool, bank.rows, "identity", 0, 0, True, 1e12, None, None)
    assert identity.vectors is not None
    flat = jnp.asarray(identity.vectors)
    arrays = bank.pool.objective_arrays()
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for group in GROUP_SIZES:
        plan = design(rng, bank.pool, group, options.prompts, 1, 1)
        picked = dict(list(estimators.items())[rng.integers(len(estimators)) :][:1])
        label, estimator = next(iter(picked.items()))
        coefs, _ = bank.coefficients(picked, plan)
        size, width = bank.rows.rollout.shape
        members = np.take_along_axis(
            plan.groups(options.rollouts), np.broadcast_to(bank.rows.rollout, (1, size, width)), 2
        )
        squares, _ = quadratics(
            coefs.reshape(1, 1, 1, -1), jnp.asarray(members.reshape(1, 1, -1)), jnp.asarray(bank.scores.set_gram(size)),
            jnp.arange(plan.batches),
        )  # fmt: skip
        picks = plan.orders[0, :, :group]
        here = np.arange(size)[:, None]
        _, batch = batch_of({n: x if x.ndim == 1 else x[here, picks] for n, x in arrays.items()})
        completions = jnp.asarray(bank.pool.completions[here, picks])

        def value(
            p: Any, completions: Any = completions, batch: Any = batch, estimator: Any = estimator
        ) -> Any:
            return estimator(policy.logprobs(p, prompts, completions), batch)

        gradient = jax.jit(jax.grad(value))
        compiled = time.perf_counter()
        direct = sum(float(np.sum(np.asarray(x, np.float64) ** 2)) for x in jax.tree.leaves(gradient(params)))
        compiled = time.perf_counter() - compiled
        used = [np.nonzero((members[0, q] == 0) & bank.rows.real[q])[0] for q in range(size)]
        at = np.concatenate([q * width + m for q, m in enumerate(used)])
        chosen, weights = jnp.asarray(at), jnp.asarray(np.asarray(coefs)[0, 0].reshape(-1)[at])
        contract = jax.jit(lambda v, i, w: jnp.sum((w @ v.reshape(-1, v.shape[-1])[i]) ** 2))
        jax.block_until_ready(contract(flat, chosen, weights))
        timing = Clock()
        for _ in range(options.runs):
            timing.run("autodiff", partial(gradient, params))
            timing.run("materialised", partial(contract, flat, chosen, weights))
        rows.append(
            {
                "group_size": group,
                "estimator": label,
                "rows": len(at),
                "autodiff_compile_wall": compiled,
                "relative_difference": abs(float(squares[0, 0, 0, 0]) / direct - 1),
                "materialised_difference": abs(float(contract(flat, chosen, weights)) / direct - 1),
                **{
                    f"{n}_{k}": t[i] / options.runs
                    for n, t in timing.stages.items()
                    for i, k in enumerate(("wall", "cpu"))
                },
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    mean = {
        f"{n}_{k}": float(np.mean([r[f"{n}_{k}"] for r in rows]))
        for n in ("autodiff", "materialised")
        for k in ("wall", "cpu")
    }
    speedup = {
        f"{n}_{k}": mean[f"{n}_{k}"] / ours[f"per_replicate_{k}"]
        for n in ("autodiff", "materialised")
        for k in ("wall", "cpu")
    }
    result = {
        "provenance": provenance(),
        "params": bank.info["params"],
        "prompts": options.prompts,
        "rollouts": options.rollouts,
        "settings": settings,
        "replicates": REPLICATES,
        "rows": bank.rows.count,
        "bank": ours,
        "others": rows,
        "mean": mean,
        "speedup": speedup,
        "largest_difference": max(r["relative_difference"] for r in rows),
    }
    print(json.dumps(result["speedup"], indent=1), result["largest_difference"])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
