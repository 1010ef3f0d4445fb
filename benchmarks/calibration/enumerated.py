"""Do the stated 95 % intervals cover? Repeats small Monte Carlo experiments against exact enumeration.

    python -m benchmarks.calibration.enumerated --experiments 240     # goes on where it stopped
    python -m benchmarks.calibration.enumerated --experiments 240 --replicates 128 --out quick.json

Every row is one setting (policy, staleness, group size, estimator); every cell the share of experiments whose interval
for that figure contains the exact value. Writes benchmarks/results/calibration.json, and exits with 1 where a coverage
of the bias factor, tr Cov or ||E g||^2 lies outside 93 to 97 % by more than two binomial standard errors, or outside
at all once the settings are pooled.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from benchmarks.calibration.rule import INTERVALS, json_rows_of, rule_of  # noqa: E402
from gradvar import catalogue  # noqa: E402
from gradvar.files.tables import write_json  # noqa: E402
from gradvar.measure.direct import samples  # noqa: E402
from gradvar.measure.direct_plan import PolicyOnTask  # noqa: E402
from gradvar.measure.direct_sums import BLOCKS  # noqa: E402
from gradvar.measure.exact.enumerate import exact  # noqa: E402
from gradvar.measure.exact.tables import exact_tables  # noqa: E402
from gradvar.policies import Bandit, Tabular  # noqa: E402
from gradvar.stats.figures import BlockSums, effective_blocks, figures, leave_one_out, pivots  # noqa: E402
from gradvar.tasks import Bandit as Rewards  # noqa: E402
from gradvar.tasks import Lookup  # noqa: E402

BAND = (0.93, 0.97)
JUDGED = ("bias_factor", "trace_cov", "signal")
COVERED = (*JUDGED, "snr", "between", "within", "cosine")
PARTS = 80  # the experiments are drawn in so many parts, to bound memory
ESTIMATORS = ("rloo", "grpo", "dapo", "gspo", "remax", "ppo")


def settings(seed: int):
    """(name, policy, params, old_params, task) of the finite problems; the last two are off policy."""
    rng = np.random.default_rng(seed)
    bandit = Bandit(4, num_prompts=3)
    tabular = Tabular(2, 3, num_prompts=2, stop=1)
    graded = Rewards(rng.normal(size=(3, 4)))
    binary = Lookup((rng.random((2, len(tabular.support()))) < 0.5).astype(float), tabular.support())
    for staleness in (0.0, 0.4):
        for policy, task in ((bandit, graded), (tabular, binary)):
            params = policy.init(jax.random.key(seed))
            noise = policy.init(jax.random.key(seed + 1))
            old = jax.tree.map(lambda p, n, s=staleness: p + s * n, params, noise)
            yield f"{type(policy).__name__.lower()}, staleness {staleness}", policy, params, old, task


def coverage(gradients: np.ndarray, exact_moments, experiments: int, level: float = 0.95) -> dict[str, float]:
    """The share of experiments whose interval contains the exact figure; gradients [experiments * replicates, P]."""
    pairs = gradients.reshape(experiments, -1, 2, gradients.shape[-1])
    number = pairs.shape[1]
    starts = -(
        -np.arange(min(BLOCKS, number)) * number // min(BLOCKS, number)
    )  # the blocks that direct makes

    def blocks(x: np.ndarray) -> np.ndarray:
        return np.add.reduceat(x, starts, axis=1)

    sums = blocks(pairs.sum(2))
    truth = exact_moments.true_gradient
    block_sums = BlockSums(
        count=np.diff(np.append(starts, number)) * 2.0,
        gram=sums @ sums.swapaxes(1, 2),
        squares=blocks((pairs**2).sum((2, 3))),
        pairs=blocks((pairs[:, :, 0] * pairs[:, :, 1]).sum(-1)),
        aligned=sums @ truth,
        truth=np.asarray(truth @ truth),
        truth_known=True,
    )
    values = figures(block_sums).values
    shapes = pivots(values, leave_one_out(block_sums), effective_blocks(block_sums))
    covered = {}
    for name in COVERED:
        low, high = shapes[name].bounds(values[name], level)
        exact_value = getattr(exact_moments, name)
        covered[name] = float(((low <= exact_value) & (exact_value <= high)).mean())
    return covered


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--experiments", type=int, default=2000)
    parser.add_argument("--replicates", type=int, default=1024)
    parser.add_argument("--group-sizes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    results = Path(__file__).resolve().parent.parent / "results"
    parser.add_argument("--out", type=Path, default=results / "calibration.json")
    arguments = parser.parse_args()
    if arguments.experiments < PARTS or arguments.experiments % PARTS:
        parser.error(f"--experiments: {arguments.experiments}; give a multiple of {PARTS}")
    config = {k: v for k, v in vars(arguments).items() if k != "out"}
    rows = json_rows_of(arguments.out, rule_of(INTERVALS), config)
    done = {(row["setting"], row["group_size"]) for row in rows}
    started = time.time()
    print(f"{'setting':<28}{'G':>3}  {'estimator':<10}" + "".join(f"{name:>12}" for name in COVERED))
    for name, policy, params, old, task in settings(arguments.seed):
        left = [size for size in arguments.group_sizes if (name, size) not in done]
        tables = exact_tables(policy, params, task, old) if left else None
        for group_size in left:
            estimators = [catalogue.get(n) for n in ESTIMATORS]
            subject = PolicyOnTask(policy, task, params, old)
            drawn = [
                samples(
                    estimators, subject, group_size, prompts=arguments.prompts,
                    key=jax.random.key(arguments.seed + part),
                    replicates=arguments.experiments // PARTS * arguments.replicates,
                )
                for part in range(PARTS)
            ]  # fmt: skip
            for index, estimator in enumerate(estimators):
                exact_moments = exact(
                    estimator, tables=tables, group_size=group_size, prompts=arguments.prompts
                )
                covered = [
                    coverage(part[:, index], exact_moments, arguments.experiments // PARTS) for part in drawn
                ]
                mean = {n: float(np.mean([c[n] for c in covered])) for n in COVERED}
                rows.append({"setting": name, "group_size": group_size, "estimator": estimator.name, **mean})
                print(
                    f"{name:<28}{group_size:>3}  {estimator.name:<10}"
                    + "".join(f"{c:>12.3f}" for c in mean.values()),
                    flush=True,
                )
            write(arguments.out, config, rows, time.time() - started)
    sys.exit(verdict(rows, arguments.experiments))


def verdict(rows: list[dict], experiments: int) -> int:
    """Print how far coverage strays from 95 %; the exit code."""
    failed = 0
    for name in JUDGED:
        found = np.array([row[name] for row in rows])
        strays = np.maximum(BAND[0] - found, found - BAND[1])
        edge = np.where(found < 0.95, *BAND)
        error = np.sqrt(edge * (1 - edge) / experiments)
        far, pooled = int((strays > 2 * error).sum()), float(found.mean())
        failed += far + (not BAND[0] <= pooled <= BAND[1])
        print(
            f"{name}: pooled {pooled:.4f}, from {found.min():.3f} to {found.max():.3f} over {len(rows)} settings; "
            f"{int((strays > 0).sum())} outside 93 to 97 %, {far} of them by more than two binomial standard errors"
        )
    return 1 if failed else 0


def write(path: Path, config: dict[str, Any], rows: list[dict], seconds: float) -> None:
    """The rows so far, with where they come from; ``seconds`` are of the last call."""
    content = {
        "config": config,
        "rule": rule_of(INTERVALS),
        "versions": {n: metadata.version(n) for n in ("gradvar", "jax", "jaxlib", "numpy", "scipy")},
        "python": platform.python_version(),
        "device": f"{jax.devices()[0].device_kind} ({os.cpu_count()} cores)",
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "rows": rows,
    }
    write_json(path, content)


if __name__ == "__main__":
    main()
