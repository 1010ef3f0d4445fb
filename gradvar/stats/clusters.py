"""Ratios and shares over clustered items: rollouts and groups of one prompt depend on each other, prompts do not.

A ratio R = sum_q y_q / sum_q x_q over clusters q has the linearised variance

    Q/(Q-1) sum_q (y_q - R x_q)^2 / (sum_q x_q)^2

(Cochran, Sampling Techniques, 3rd ed., section 6.3). For a share, the interval is Wilson's with the sample size that
gives this variance, n* = R(1-R)/var (Korn and Graubard 1998 for the idea); where nothing varies, n* is the number of
clusters. Fewer than 8 effective clusters say too little about their variance: n* is then at most their number, each a
single trial, which is the largest variance that a share can have.
"""

from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Float, Int, Num

from gradvar.stats.intervals import Interval, is_rounding, wilson

NO_SHARE = Interval(nan, nan, nan, nan, -1, reason="nothing was counted")
"""The share of nothing."""
_FEW = 8  # effective clusters
_DENSE = 4  # numbers for an item, up to which all of them are gone through


@dataclass(frozen=True, eq=False)
class Weights:
    """The denominators of shares and ratios: the sums ``by_key`` of clusters, of which those in ``absent`` are zero;
    and of every part the ``total``, the number of the other ``clusters``, and of effective ones."""

    by_key: Float[np.ndarray, " key"]
    absent: Int[np.ndarray, " absent"]
    total: Float[np.ndarray, " part"]
    clusters: Float[np.ndarray, " part"]
    effective: Float[np.ndarray, " part"]


class Clusters:
    """Items by their cluster, within each of ``count`` parts (such as steps) that ``part`` numbers."""

    def __init__(
        self, cluster: Int[np.ndarray, " item"], part: Int[np.ndarray, " item"] | None = None, count: int = 1
    ) -> None:
        parts = np.zeros(len(cluster), np.int64) if part is None else part.astype(np.int64)
        stride = int(cluster.max(initial=0)) + 1
        # One key for each cluster within a part; an item's place is the index of its key.
        items = parts * stride + cluster
        keys, place = distinct(items)
        self._place = None if np.array_equal(keys, items) else place  # None: every item is the one of its key
        self._part = keys // stride  # [key]
        self.count = count

    def weights(self, x: Num[np.ndarray, " item"]) -> Weights:
        """What several shares of one denominator have in common."""
        sums = self._by_key(x)
        is_there = sums > 0
        total = np.bincount(self._part, sums, self.count)
        with np.errstate(divide="ignore", invalid="ignore"):
            effective = total**2 / np.bincount(self._part, sums**2, self.count)
        clusters = np.bincount(self._part, is_there, self.count)
        return Weights(sums, np.flatnonzero(~is_there), total, clusters, effective)

    def ratio(
        self, y: Num[np.ndarray, " item"], x: Num[np.ndarray, " item"] | Weights
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(sum x, sum y / sum x, its variance, clusters with x > 0, effective ones) of every part: [part] each."""
        weights = x if isinstance(x, Weights) else self.weights(x)
        total, clusters = weights.total, weights.clusters
        y_sums = self._by_key(y)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.bincount(self._part, y_sums, self.count) / total
            residuals = y_sums - value[self._part] * weights.by_key  # [key]
            residuals[weights.absent] = 0.0
            squares = np.bincount(self._part, residuals**2, self.count)
            variance = clusters / (clusters - 1) * squares / total**2
            is_signed = y_sums.min(initial=0.0) < 0
            scale = np.bincount(self._part, np.abs(y_sums), self.count) / total if is_signed else value
            variance = np.where(is_rounding(np.sqrt(variance), scale), 0.0, variance)
        return total, value, np.where(clusters > 1, variance, 0.0), clusters, weights.effective

    def shares(self, y: Num[np.ndarray, " item"], x: Num[np.ndarray, " item"] | Weights) -> list[Interval]:
        """The share sum y / sum x, 0 <= y <= x, of every part, with one degree of freedom less than clusters."""
        total, value, variance, clusters, effective = self.ratio(y, x)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.where(variance > 0, value * (1 - value) / variance, clusters)
        size = np.where(effective < _FEW, np.fmin(size, effective), size)
        low, high = wilson(value, np.maximum(size, 1.0))
        columns = (value, low, high, np.sqrt(variance), clusters - 1, effective)
        rows = zip(*(np.asarray(column, float).tolist() for column in columns), strict=True)
        return [
            Interval(*row) if amount > 0 else NO_SHARE
            for amount, row in zip(total.tolist(), rows, strict=True)
        ]

    def _by_key(self, values: Num[np.ndarray, " item"]) -> Float[np.ndarray, " key"]:
        """The sum over the items of every key."""
        if self._place is None:
            return np.asarray(values, float)
        return np.bincount(self._place, values, len(self._part))

    def share(
        self, y: Num[np.ndarray, " item"], x: Num[np.ndarray, " item"] | Weights | None = None
    ) -> Interval:
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


def tally(values: Int[np.ndarray, " item"]) -> tuple[Int[np.ndarray, " value"], Int[np.ndarray, " value"]]:
    """The distinct values, ascending, and how often each is there; without sorting where they are small.

    >>> [x.tolist() for x in tally(np.array([7, 3, 7]))]
    [[3, 7], [1, 2]]
    """
    if values.min(initial=0) < 0 or values.max(initial=0) > _DENSE * max(len(values), 1):
        return np.unique(values, return_counts=True)
    times = np.bincount(values)
    there = np.flatnonzero(times)
    return there, times[there]
