"""Do 95 % intervals cover 95 %? The bank's intervals against enumeration, over many independent pools.

    python -m benchmarks.bank.coverage --pools 200     # goes on where it stopped, by scene

Three finite policies, four group sizes, eight estimators; a pool is 60 prompts drawn from the task with 16
rollouts each, and errors are jackknifed over prompts. Pools are recorded many at a time and then taken
apart: a prompt's sums do not depend on the other prompts. Beside the intervals of the figures: those of paired
ratios of variances between estimators. A figure that is the same number for every pool (a variance that two
estimators share) has no interval to check and is left out."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.bank.scene import provenance
from benchmarks.calibration.rule import INTERVALS, json_rows_of, rule_of
from gradvar import catalogue
from gradvar.gradients.sketch import Whole
from gradvar.measure.bank.block_sums import block_sums
from gradvar.measure.bank.coefficients import Coefficients, row_coefficients
from gradvar.measure.bank.data import BasisRows, Recording, Rollouts
from gradvar.measure.bank.partition import Partition, draw_partition
from gradvar.measure.bank.record import record
from gradvar.measure.bank.scores import WholeScores
from gradvar.measure.exact.enumerate import exact
from gradvar.measure.exact.tables import exact_tables
from gradvar.policies import Bandit, Tabular
from gradvar.stats.figures import (
    BlockSums,
    effective_blocks,
    figures,
    jackknife_error,
    leave_one_out,
    pivots,
)
from gradvar.stats.products import BlockProducts
from gradvar.stats.tails import Pivot
from gradvar.tasks import Bandit as RewardTable
from gradvar.tasks import Lookup

NAMES = ("rloo", "dr_grpo", "grpo", "dapo", "gspo", "cispo", "opo", "ppo")
GROUPS = (2, 3, 4, 8)
PROMPTS, ROLLOUTS, AT_ONCE = 60, 16, 10
FIGURES = ("trace_cov", "within", "between", "signal", "snr")


def scenes() -> dict[str, tuple[Any, Any, Any, Any]]:
    """A bandit on policy, a sequence model on policy, and one off policy; binary and graded rewards."""
    rng = np.random.default_rng(0)
    bandit = Bandit(4, num_prompts=6)
    graded = rng.normal(size=(6, 4))
    tabular = Tabular(2, 3, num_prompts=6, stop=1)
    support = tabular.support()
    binary = (rng.random((6, len(support))) < 0.4) * 1.0
    binary[:, 0], binary[:, 1] = 1.0, 0.0
    of_bandit, of_tabular = bandit.init(jax.random.key(1)), tabular.init(jax.random.key(0))
    old = of_tabular + 0.3 * jax.random.normal(jax.random.key(5), of_tabular.shape)
    return {
        "bandit, graded rewards, on policy": (bandit, RewardTable(graded), of_bandit, None),
        "sequences, binary rewards, on policy": (tabular, Lookup(binary, support), of_tabular, None),
        "sequences, binary rewards, off policy": (tabular, Lookup(binary, support), of_tabular, old),
    }


def pools(recording: Recording, coefficients: Coefficients, plan: Partition) -> BlockSums:
    """Sums over the blocks of separate pools of ``PROMPTS`` prompts, each an experiment of its own."""
    parts = []
    for first in range(0, plan.dealt_prompts, PROMPTS):
        pool = slice(first, first + PROMPTS)
        rollouts = Rollouts(
            **{n: jax.tree.map(itemgetter(pool), a) for n, a in recording.rollouts.arrays().items()}
        )
        arrays = {n: x if n == "true_gradient" else x[pool] for n, x in recording.scores.arrays().items()}
        alone = replace(
            recording,
            rollouts=rollouts,
            rows=BasisRows(**{n: x[pool] for n, x in vars(recording.rows).items()}),
            scores=WholeScores(**arrays),
        )
        sums = block_sums(alone, coefficients[:, :, pool], replace(plan, orders=plan.orders[:, pool]))
        parts.append(sums)
    one = parts[0]
    assert isinstance(one.gram, BlockProducts)
    products = [x.gram for x in parts if isinstance(x.gram, BlockProducts)]
    gram = BlockProducts(*(np.stack([getattr(x, n) for x in products], 1) for n in ("diagonal", "others")))
    squares, pairs, aligned = (
        np.stack([getattr(x, n) for x in parts], 1) for n in ("squares", "pairs", "aligned")
    )
    return BlockSums(one.count, gram, squares, pairs, aligned, one.truth, True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bank_coverage.json"))
    parser.add_argument("--pools", type=int, default=1000)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    estimators = {name: catalogue.get(name) for name in NAMES}
    config = {"pools": options.pools, "prompts": PROMPTS, "rollouts": ROLLOUTS}
    rows = json_rows_of(options.out, rule_of(INTERVALS), config)
    started = time.process_time()
    for scene, (policy, task, params, old) in scenes().items():
        if any(row["scene"] == scene for row in rows):
            continue
        tables = exact_tables(policy, params, task, old)
        truth = {(n, g): exact(e, tables=tables, group_size=g) for n, e in estimators.items() for g in GROUPS}
        inside: dict[tuple[int, str], list[np.ndarray]] = {}
        for chunk in range(-(-options.pools // AT_ONCE)):
            key = jax.random.fold_in(jax.random.key(11), chunk)
            bank = record(
                policy, params, task, key, PROMPTS * AT_ONCE, ROLLOUTS, old_params=old,
                estimators=list(estimators.values()), scores=Whole(),
            )  # fmt: skip
            for g in GROUPS:
                plan = draw_partition(
                    np.random.default_rng((chunk, g)),
                    bank.rollouts.shape,
                    g,
                    1,
                    8 * PROMPTS * AT_ONCE * (ROLLOUTS // g),
                )
                coefs, _ = row_coefficients(bank.recording, estimators, plan)
                sums = pools(bank.recording, coefs, plan)
                with np.errstate(all="ignore"):
                    values, parts = figures(sums).values, leave_one_out(sums)
                    shapes = pivots(values, parts, effective_blocks(sums))
                for figure in FIGURES:
                    known_truth = np.array([getattr(truth[n, g], figure) for n in NAMES])[:, None]
                    inside.setdefault((g, figure), []).append(
                        _covers(shapes[figure], values[figure], parts[figure], known_truth)
                    )
                known_truth = np.array(
                    [truth[n, g].trace_cov / truth["rloo", g].trace_cov for n in NAMES[1:]]
                )
                with np.errstate(all="ignore"):
                    covered = _covers_ratio(
                        (parts["trace_cov"][1:], parts["trace_cov"][:1]),
                        (values["trace_cov"][1:], values["trace_cov"][:1]),
                        known_truth[:, None],
                    )
                inside.setdefault((g, "ratio of trace_cov to rloo"), []).append(covered)
            if chunk % 10 == 9:
                print(scene, (chunk + 1) * AT_ONCE, f"{time.process_time() - started:.0f} s", flush=True)
        for (g, figure), found in inside.items():
            covered = np.concatenate(found, -1)
            names = NAMES[-len(covered) :]
            for name, c in zip(names, covered, strict=True):
                known = c[~np.isnan(c)]
                if not len(known):
                    continue
                rows.append(
                    {
                        "scene": scene,
                        "group_size": g,
                        "figure": figure,
                        "estimator": name,
                        "coverage": float(known.mean()),
                        "pools": len(known),
                    }
                )
        write(options.out, config, rows, time.process_time() - started)
    print(json.dumps(summary_of(rows), indent=1))


def summary_of(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By figure: the mean, lowest and highest coverage, and the share of settings between 93 and 97 %."""
    by_figure = {
        f: [r["coverage"] for r in rows if r["figure"] == f] for f in sorted({r["figure"] for r in rows})
    }
    return {
        f: {
            "mean": float(np.mean(c)),
            "lowest": min(c),
            "highest": max(c),
            "inside_93_97": float(np.mean([0.93 <= x <= 0.97 for x in c])),
        }
        for f, c in by_figure.items()
    }


def write(path: Path, config: dict[str, Any], rows: list[dict[str, Any]], seconds: float) -> None:
    """The rows so far, with where they come from; ``cpu_seconds`` are of the last call."""
    result = {
        "provenance": provenance(),
        "config": config,
        "rule": rule_of(INTERVALS),
        "cpu_seconds": seconds,
        "summary": summary_of(rows),
        "rows": rows,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def _covers(pivot: Pivot, value: np.ndarray, parts: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """1 where the library's interval holds the exact value, 0 where not, NaN where the two are the same number by
    construction."""
    low, high = pivot.bounds(value)
    return np.where(jackknife_error(parts) > 1e-9, (low <= exact) & (exact <= high), np.nan)


def _covers_ratio(
    parts: tuple[np.ndarray, np.ndarray], values: tuple[np.ndarray, np.ndarray], exact: np.ndarray
) -> np.ndarray:
    """The same for the paired ratio of two settings' figures, made as ``Evaluation.compare`` makes it."""
    logs = np.log(values[0] / values[1])
    pivot = Pivot.from_parts(logs, np.log(parts[0] / parts[1]))
    low, high = pivot.bounds(logs)
    return np.where(pivot.error > 1e-9, (low <= np.log(exact)) & (np.log(exact) <= high), np.nan)


if __name__ == "__main__":
    main()
