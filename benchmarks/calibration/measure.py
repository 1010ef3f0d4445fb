"""Coverage of one cell: how often intervals hold the truth, and how often there is one, before and after.

"Before": Student's t with B - 1 degrees of freedom, on a logarithmic scale where a variance is clear of zero, and
always given. "After": what the package makes of the same block sums (``Pivot``, and the least effective number).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from benchmarks.calibration import twin
from benchmarks.calibration.cells import Cell
from gradvar.core.moments import LOGARITHMIC
from gradvar.stats.effective import FEWEST
from gradvar.stats.figures import BlockSums, effective_blocks, figures, jackknife_error, leave_one_out, pivots
from gradvar.stats.intervals import Bounds, interval
from gradvar.stats.tails import Pivot

FIGURES = (*twin.FIGURES, "ratio")
_AT_ONCE = 4_000_000  # numbers of scores that are held at a time
_REPEATS_AT_ONCE = 50


def coverage(cell: Cell, repeats: int, seed: int) -> dict[str, dict[str, Any]]:
    """By figure: the truth, the mean estimate, and shares of repeats.

    ``before`` and ``after``: of the intervals, how many hold the truth; ``given``: of the repeats, how many have one
    after; ``width``: its median width over the truth.

    Args:
        cell: The setting.
        repeats: How many measurements are simulated.
        seed: Of everything random.
    """
    scales = twin.scale(cell)
    exact = twin.truth(cell, scales)
    if cell.engine == "bank":
        exact["ratio"] = exact["trace_cov"] / twin.truth(twin.rival(cell), scales)["trace_cov"]
    rollouts = cell.prompts * cell.rollouts if cell.engine == "bank" else cell.replicates * cell.group_size
    chunk = max(1, min(_REPEATS_AT_ONCE, _AT_ONCE // (rollouts * twin.PARAMS)))
    rng = np.random.default_rng(seed)
    collected: dict[str, list[np.ndarray]] = defaultdict(list)
    for start in range(0, repeats, chunk):
        sums = twin.draw(rng, cell, scales, min(chunk, repeats - start))
        with np.errstate(all="ignore"):  # figures without a signal are NaN
            for name, columns in _repeats(sums, exact).items():
                collected[name].append(np.stack(columns))
    return {name: _shares(np.concatenate(columns, 1), exact[name]) for name, columns in collected.items()}


def _repeats(sums: list[BlockSums], exact: dict[str, float]) -> dict[str, list[np.ndarray]]:
    """By figure: estimates, covered before, covered after, given after, and widths, of each repeat."""
    values, errors = figures(sums[0])
    parts, effective = leave_one_out(sums[0]), effective_blocks(sums[0])
    shapes = pivots(values, parts, effective)
    dof = sums[0].count.shape[-1] - 1
    columns = {}
    for name in twin.FIGURES:
        before = interval(values[name], errors[name], dof, logarithmic=name in LOGARITHMIC)
        is_known = (effective[name] >= FEWEST) & (errors[name] > 0)
        after = shapes[name].bounds(values[name])
        columns[name] = _columns(values[name], before, after, is_known, exact[name])
    if len(sums) > 1:
        other = leave_one_out(sums[1])["trace_cov"]
        effective_both = np.minimum(effective["trace_cov"], effective_blocks(sums[1])["trace_cov"])
        ratio = values["trace_cov"] / figures(sums[1]).values["trace_cov"]
        quotients = parts["trace_cov"] / other
        logs = np.log(quotients)
        error = jackknife_error(logs)
        plain = interval(np.zeros_like(ratio), error, dof)
        ends = Pivot.from_parts(np.zeros_like(ratio), logs).bounds(np.zeros_like(ratio))
        before, after = ((ratio * np.exp(low), ratio * np.exp(high)) for low, high in (plain, ends))
        is_known = (effective_both >= FEWEST) & (quotients > 0).all(-1) & (error > 1e-9)
        columns["ratio"] = _columns(ratio, before, after, is_known, exact["ratio"])
    return columns


def _columns(
    value: np.ndarray, before: Bounds, after: Bounds, is_known: np.ndarray, exact: float
) -> list[np.ndarray]:
    held = [(low <= exact) & (exact <= high) for low, high in (before, after)]
    given = is_known & np.isfinite(value) & np.isfinite(after[0]) & np.isfinite(after[1])
    return [value, held[0] * 1.0, held[1] * 1.0, given * 1.0, after[1] - after[0]]


def _shares(columns: np.ndarray, exact: float) -> dict[str, Any]:
    value, before, after, given, width = columns
    is_given = given > 0
    return {
        "truth": exact,
        "mean": float(np.nanmean(value)) if np.isfinite(value).any() else np.nan,
        "before": before.mean(),
        "after": after[is_given].mean() if is_given.any() else np.nan,
        "given": given.mean(),
        "width": float(np.median(width[is_given]) / abs(exact)) if is_given.any() else np.nan,
    }
