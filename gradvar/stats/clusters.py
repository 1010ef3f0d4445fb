"""Ratios and shares over clustered items: rollouts and groups of one prompt depend on each other, prompts do not.

A ratio R = sum_q y_q / sum_q x_q over clusters q has the linearised variance

    Q/(Q-1) sum_q (y_q - R x_q)^2 / (sum_q x_q)^2

(Cochran, Sampling Techniques, 3rd ed., section 6.3). For a share, the interval is Wilson's with the sample size that
gives this variance, n* = R(1-R)/var (Korn and Graubard 1998 for the idea); where nothing varies, n* is the number of
clusters. Fewer than 8 effective clusters say too little about their variance: n* is then at most their number, each a
single trial, which is the largest variance that a share can have.
"""

from math import nan

import numpy as np
from jaxtyping import Float, Int

from gradvar.stats.intervals import Interval, is_rounding, wilson

NO_SHARE = Interval(nan, nan, nan, nan, -1, reason="nothing was counted")
"""The share of nothing."""
_FEW = 8  # effective clusters
_DENSE = 4  # numbers for an item, up to which all of them are gone through


class Clusters:
    """Items by their cluster, within each of ``count`` parts (such as steps) that ``part`` numbers."""

    def __init__(
        self, cluster: Int[np.ndarray, " item"], part: Int[np.ndarray, " item"] | None = None, count: int = 1
    ) -> None:
        parts = np.zeros(len(cluster), np.int64) if part is None else part.astype(np.int64)
        stride = int(cluster.max(initial=0)) + 1
        # One key for each cluster within a part; an item's place is the index of its key.
        keys, self._place = distinct(parts * stride + cluster)
        self._part = keys // stride  # [key]
        self.count = count

    def ratio(
        self, y: Float[np.ndarray, " item"], x: Float[np.ndarray, " item"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(sum x, sum y / sum x, its variance, clusters with x > 0, effective ones) of every part: [part] each."""
        y_sums = np.bincount(self._place, y, len(self._part))  # [key]
        x_sums = np.bincount(self._place, x, len(self._part))
        total = np.bincount(self._part, x_sums, self.count)  # [part]
        clusters = np.bincount(self._part, x_sums > 0, self.count)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.bincount(self._part, y_sums, self.count) / total
            residuals = np.where(x_sums > 0, y_sums - value[self._part] * x_sums, 0.0)  # [key]
            squares = np.bincount(self._part, residuals**2, self.count)
            variance = clusters / (clusters - 1) * squares / total**2
            scale = np.bincount(self._part, np.abs(y_sums), self.count) / total
            variance = np.where(is_rounding(np.sqrt(variance), scale), 0.0, variance)
            effective = total**2 / np.bincount(self._part, x_sums**2, self.count)
        return total, value, np.where(clusters > 1, variance, 0.0), clusters, effective

    def shares(self, y: Float[np.ndarray, " item"], x: Float[np.ndarray, " item"]) -> list[Interval]:
        """The share sum y / sum x, 0 <= y <= x, of every part, with one degree of freedom less than clusters."""
        total, value, variance, clusters, effective = self.ratio(y, x)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.where(variance > 0, value * (1 - value) / variance, clusters)
        size = np.where(effective < _FEW, np.fmin(size, effective), size)
        low, high = wilson(value, np.maximum(size, 1.0))
        names = ("value", "low", "high", "se", "dof", "effective")
        columns = dict(
            zip(names, (value, low, high, np.sqrt(variance), clusters - 1, effective), strict=True)
        )
        return [
            Interval(reason="", **{n: float(x[part]) for n, x in columns.items()})
            if total[part] > 0
            else NO_SHARE
            for part in range(self.count)
        ]

    def share(self, y: Float[np.ndarray, " item"], x: Float[np.ndarray, " item"] | None = None) -> Interval:
        """The share where there is one part; of the items themselves without ``x``."""
        return self.shares(y, np.ones(len(y)) if x is None else x)[0]


def distinct(keys: Int[np.ndarray, " item"]) -> tuple[Int[np.ndarray, " key"], Int[np.ndarray, " item"]]:
    """The distinct keys, ascending, and the place of every item's among them; without sorting where they are dense.

    >>> [x.tolist() for x in distinct(np.array([7, 3, 7]))]
    [[3, 7], [1, 0, 1]]
    """
    largest = int(keys.max(initial=0))
    if keys.min(initial=0) < 0 or largest > _DENSE * max(len(keys), 1):
        distinct, place = np.unique(keys, return_inverse=True)
        return distinct, place
    is_there = np.zeros(largest + 1, bool)
    is_there[keys] = True
    return np.flatnonzero(is_there), (np.cumsum(is_there) - 1)[keys]
