"""Which setting has the largest figure, at an error that counts the choice, or that this cannot be told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from gradvar.stats.choice import LeastCost, least
from gradvar.stats.intervals import Interval
from gradvar.studies.rows import number

Row = Mapping[str, Any]
Shares = Mapping[tuple[Any, ...], np.ndarray]
"""By ``identity``: a figure with each block left out, [block], of settings that were sampled."""
_IDENTITY = ("policy", "task", "staleness", "sampler", "clip", "estimator", "group_size")
_ROUNDING = 1e-6


def identity(row: Row) -> tuple[Any, ...]:
    """What names a setting."""
    return tuple(row.get(k) for k in _IDENTITY)


def largest(rows: Sequence[Row], shares: Shares | None = None) -> LeastCost:
    """The row with the largest value, whether it is the largest, and the row that comes nearest to it.

    Args:
        rows: Settings on one policy, task and staleness, of one figure.
        shares: Leave-one-out values. Settings of one group size were measured on the same rollouts, others on rollouts
            of their own, so differences are paired where they can be. Where they are missing, each interval is widened
            until all of them hold together at 95 % (Bonferroni), whatever their dependence.

    Returns:
        The choice; ``gap`` is by how much the largest exceeds its rival.

    >>> row = {"group_size": 2, "value": 1.0, "low": 1.0, "high": 1.0}
    >>> largest([row, {**row, "value": 0.5, "low": 0.4, "high": 0.6}]).certain
    True
    """
    values = [row["value"] for row in rows]
    exact = [_is_exact(row) for row in rows]
    sampled = [row for row, known in zip(rows, exact, strict=True) if not known]
    if not sampled:
        return least([-value for value in values], None)
    if shares is None or any(identity(row) not in shares for row in sampled):
        return _by_intervals(rows)
    blocks = {
        size: len(shares[identity(next(r for r in sampled if r["group_size"] == size))])
        for size in dict.fromkeys(r["group_size"] for r in sampled)
    }
    ends = np.cumsum([0, *blocks.values()])
    place = {size: slice(ends[i], ends[i + 1]) for i, size in enumerate(blocks)}
    parts = np.repeat(np.asarray(values, np.float64)[:, None], ends[-1], axis=1)  # [row, block]
    for index, row in enumerate(rows):
        if not exact[index]:
            own = np.asarray(shares[identity(row)])
            parts[index, place[row["group_size"]]] += own - own.mean()
    effective = [
        math.inf if known else number(r.get("effective")) for r, known in zip(rows, exact, strict=True)
    ]
    return least([-value for value in values], -parts, effective)


def _by_intervals(rows: Sequence[Row]) -> LeastCost:
    """The choice from intervals alone."""
    values = np.array([row["value"] for row in rows])
    best = int(values.argmax())
    scale = _ROUNDING * abs(values[best])
    alike = tuple(
        i
        for i, row in enumerate(rows)
        if i == best or (_is_exact(row) and _is_exact(rows[best]) and values[best] - values[i] <= scale)
    )
    rivals = [i for i in range(len(rows)) if i not in alike]
    if not rivals:
        return LeastCost(best, True, alike)
    low = _widened(rows[best], len(rows))[0]
    highs = {i: _widened(rows[i], len(rows))[1] for i in rivals}
    rival = max(rivals, key=lambda i: highs[i] if highs[i] == highs[i] else math.inf)
    nothing = Interval(values[best] - values[rival], math.nan, math.nan).without("not paired")
    return LeastCost(best, bool(low > highs[rival]), alike, rival, nothing)


def _widened(row: Row, count: int) -> tuple[float, float]:
    """A 95 % interval at 1 - 0.05 / ``count``: by the ratio of Student's quantiles, in logarithms if positive."""
    value, low, high = row["value"], row["low"], row["high"]
    if _is_exact(row):
        return low, high
    effective = number(row.get("effective"))
    dof = effective - 1 if 2 <= effective < math.inf else 15.0
    factor = float(stdtrit(dof, 1 - 0.025 / count) / stdtrit(dof, 0.975))
    if 0 < low <= value <= high < math.inf:
        return value * (low / value) ** factor, value * (high / value) ** factor
    return value - factor * (value - low), value + factor * (high - value)


def _is_exact(row: Row) -> bool:
    return bool(row["high"] - row["low"] <= 1e-9 * abs(row["value"]))
