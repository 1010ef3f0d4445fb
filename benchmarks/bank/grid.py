"""12 estimators x 5 group sizes x 3 clips x 200 replicates: the bank against autodiff and materialised
scores.

    python -m benchmarks.bank.grid --out benchmarks/results/bank_grid.json

One replicate is one batch of all prompts and G rollouts of each. The bank's time is end to end, in a process of its
own: sampling, backward passes, Gram matrix, token weights, contraction and errors, compilation included; "first" with
an empty compilation cache, "again" with JAX's persistent cache filled by the first. Autodiff is one
jitted gradient of the objective through the model, its compilation not counted; "materialised" contracts the
kept scores of the batch's rollouts (the rank-revealed rows, all P numbers) with their coefficients, and
neither its recording nor its weights are counted. Both are timed on a sample of the settings, alternating,
and quoted per replicate. Wall and CPU seconds are kept: on a shared machine CPU seconds are the fairer ones.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.bank.scene import GROUP_SIZES, Containing, grid, moved, provenance, transformer
from gradvar.gradients.sketch import Gram, Whole
from gradvar.measure.bank.bank import ScoreBank
from gradvar.measure.bank.block_sums import quadratics
from gradvar.measure.bank.coefficients import row_coefficients
from gradvar.measure.bank.data import batch_of
from gradvar.measure.bank.partition import draw_partition
from gradvar.measure.bank.record import record
from gradvar.measure.bank.score import score_rows
from gradvar.measure.direct import PolicyOnTask

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


def measure(options: argparse.Namespace) -> tuple[ScoreBank, dict[str, Any]]:
    """The bank's answer to the whole grid, and what it took."""
    policy, task, estimators = transformer("small", options.length), Containing(24), grid()
    params = policy.init(jax.random.key(0))
    old = moved(params, 0.02)
    compile_seconds = [0.0]

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event.endswith("backend_compile_duration"):
            compile_seconds[0] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    clock = Clock()
    started, started_cpu = time.perf_counter(), time.process_time()
    prompts = task.prompts(jax.random.key(3), options.prompts)
    bank = clock.run(
        "record",
        lambda: record(
            policy, params, task, jax.random.key(1), prompts, options.rollouts, old_params=old, scores=Gram(),
            estimators=list(estimators.values()),
        ),
    )  # fmt: skip
    found = clock.run(
        "evaluate",
        lambda: bank.evaluate(
            estimators, GROUP_SIZES, replicates=REPLICATES, independent="rollouts", slices=2
        ),
    )
    settings = len(estimators) * len(GROUP_SIZES)
    ours: dict[str, Any] = {
        "wall": time.perf_counter() - started, "cpu": time.process_time() - started_cpu,
        "compile": compile_seconds[0], "stages": clock.stages, "rows": bank.recording.rows.count, "settings": settings,
        "figures": {f"{n}, G={g}": m.trace_cov for (n, g), m in found.items()},
    }  # fmt: skip
    ours["per_replicate_wall"] = ours["wall"] / settings / REPLICATES
    ours["per_replicate_cpu"] = ours["cpu"] / settings / REPLICATES
    return bank, ours


def in_a_new_process(arguments: list[str], cache: Path) -> dict[str, Any]:
    """``measure`` in a process of its own, with JAX's compilation cache in ``cache``."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.bank.grid", *arguments, "--only-bank"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bank_grid.json"))
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--rollouts", type=int, default=64)
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only-bank", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="group_sizes")  # two slices at G = 32: no error bars there
    if options.only_bank:
        options.length = options.lengths[0]
        print(json.dumps(measure(options)[1]))
        return
    found = {}
    for length in options.lengths:
        options.length = length
        arguments = [
            "--prompts", str(options.prompts), "--rollouts", str(options.rollouts), "--lengths", str(length)
        ]  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            first = in_a_new_process(arguments, Path(folder))
            again = in_a_new_process(arguments, Path(folder))
        found[str(length)] = compare(options, first, again)
        for when in ("first", "again"):
            print(f"{length} tokens, {when}: {json.dumps(found[str(length)]['speedup'][when])}", flush=True)
    result = {"provenance": provenance(), "replicates": REPLICATES, "by_length": found}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


def compare(options: argparse.Namespace, first: dict[str, Any], again: dict[str, Any]) -> dict[str, Any]:
    """The other ways on the bank's own batches; the same numbers must come out."""
    policy, task, estimators = transformer("small", options.length), Containing(24), grid()
    params = policy.init(jax.random.key(0))
    prompts = task.prompts(jax.random.key(3), options.prompts)
    bank, _ = measure(options)
    recording, basis_rows = bank.recording, bank.recording.rows
    subject = PolicyOnTask(policy, task, params)
    whole = score_rows(subject, bank.rollouts, basis_rows, Whole(), jax.random.key(0))
    flat = jnp.asarray(np.concatenate(list(whole)))  # [used row, param]
    number = np.full(basis_rows.shape, -1)  # [prompt, row] -> used row
    number[basis_rows.places()] = np.arange(basis_rows.count)
    arrays = bank.rollouts.objective_arrays()
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for group in GROUP_SIZES:
        plan = draw_partition(rng, bank.rollouts.shape, group, options.prompts, 1)
        picked = dict(list(estimators.items())[rng.integers(len(estimators)) :][:1])
        label, estimator = next(iter(picked.items()))
        coefs, _ = row_coefficients(recording, picked, plan)
        size, width = basis_rows.shape
        members = plan.row_groups(options.rollouts, basis_rows.rollout)
        squares, _ = quadratics(
            coefs.reshape(1, 1, 1, -1),
            jnp.asarray(members.reshape(1, 1, -1)),
            jnp.asarray(recording.scores.set_gram(size)),
            jnp.arange(plan.batches),
        )
        picks = plan.orders[0, :, :group]
        here = np.arange(size)[:, None]
        _, batch = batch_of({n: x if x.ndim == 1 else x[here, picks] for n, x in arrays.items()})
        completions = jnp.asarray(bank.rollouts.completions[here, picks])

        def value(
            p: Any, completions: Any = completions, batch: Any = batch, estimator: Any = estimator
        ) -> Any:
            return estimator(policy.logprobs(p, prompts, completions), batch)

        gradient = jax.jit(jax.grad(value))
        compiled = time.perf_counter()
        direct = sum(float(np.sum(np.asarray(x, np.float64) ** 2)) for x in jax.tree.leaves(gradient(params)))
        compiled = time.perf_counter() - compiled
        used = [np.nonzero((members[0, q] == 0) & basis_rows.is_used[q])[0] for q in range(size)]
        at = np.concatenate([q * width + m for q, m in enumerate(used)])
        chosen, weights = (
            jnp.asarray(number.ravel()[at]),
            jnp.asarray(np.asarray(coefs)[0, 0].reshape(-1)[at]),
        )
        contract = jax.jit(lambda v, i, w: jnp.sum((w @ v[i]) ** 2))
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
        when: {
            f"{n}_{k}": mean[f"{n}_{k}"] / ours[f"per_replicate_{k}"]
            for n in ("autodiff", "materialised")
            for k in ("wall", "cpu")
        }
        for when, ours in (("first", first), ("again", again))
    }
    figures = [np.array(list(x.pop("figures").values())) for x in (first, again)]
    return {
        "params": bank.info["params"],
        "prompts": options.prompts,
        "rollouts": options.rollouts,
        "tokens": float(bank.rollouts.lengths.mean()),
        "first": first,
        "again": again,
        "others": rows,
        "mean": mean,
        "speedup": speedup,
        "largest_difference": max(r["relative_difference"] for r in rows),
        "first_against_again": float(np.abs(figures[0] / figures[1] - 1).max()),
    }


if __name__ == "__main__":
    main()
