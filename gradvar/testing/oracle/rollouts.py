"""What the oracle's formulas look at: the rows of a batch, and sums over the groups that they belong to.

Everything is NumPy, float64, N rollouts by T tokens; groups may be of unequal size and lie in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


class Grouping:
    """Sums and means over groups of rows, handed back row by row [N]."""

    def __init__(self, ids: Any) -> None:
        labels = np.asarray(ids)
        labels = labels.astype(str) if labels.dtype == object else labels
        self.index = np.unique(labels, return_inverse=True)[1].reshape(-1)
        self.count = int(self.index.max(initial=-1)) + 1
        self.sizes = np.bincount(self.index, minlength=self.count)

    @property
    def size(self) -> np.ndarray:
        """The size of each row's group, [N]."""
        return self.sizes[self.index]

    def totals(self, x: np.ndarray) -> np.ndarray:
        """The sum of each group, [Q]."""
        return np.bincount(self.index, weights=x, minlength=self.count)

    def means(self, x: np.ndarray) -> np.ndarray:
        """The mean of each group, [Q]."""
        return self.totals(x) / self.sizes

    def total(self, x: np.ndarray) -> np.ndarray:
        """The sum of each row's group, [N]."""
        return self.totals(x)[self.index]

    def mean(self, x: np.ndarray) -> np.ndarray:
        """The mean of each row's group, [N]."""
        return self.means(x)[self.index]

    def smallest(self, x: np.ndarray) -> np.ndarray:
        """The smallest of each row's group, [N]."""
        low = np.full(self.count, np.inf)
        np.minimum.at(low, self.index, x)
        return low[self.index]

    def largest(self, x: np.ndarray) -> np.ndarray:
        """The largest of each row's group, [N]."""
        return -self.smallest(-x)

    def first(self, x: np.ndarray) -> np.ndarray:
        """The first of each row's group, [N]."""
        rows = np.unique(self.index, return_index=True)[1]
        return x[rows][self.index]

    def rows(self) -> list[np.ndarray]:
        """The rows of each group, in their order."""
        return [np.flatnonzero(self.index == q) for q in range(self.count)]

    def deviations(self, x: np.ndarray) -> np.ndarray:
        """Each row less its group's mean: exactly zero where all of a group are equal."""
        moved = x - self.first(x)
        return moved - self.mean(moved)


@dataclass(frozen=True)
class RolloutRows:
    """The rows of a batch; what an estimator does not read may be None.

    ``logp``, ``old_logp``, ``ref_logp`` and ``values`` are [N, T], ``mask`` [N, T] is true where a token counts,
    ``rewards``, ``ids``, ``baseline`` (a given baseline) and ``greedy_rewards`` are [N], ``reward_parts`` [N, K].
    ``advantages``, [N] or [N, T], take the place of those that the estimator makes of the rewards.
    ``token_count`` is the number of tokens of all ranks, for the aggregation that divides by it.
    """

    mask: np.ndarray
    rewards: np.ndarray | None = None
    ids: np.ndarray | None = None
    logp: np.ndarray | None = None
    old_logp: np.ndarray | None = None
    ref_logp: np.ndarray | None = None
    advantages: np.ndarray | None = None
    values: np.ndarray | None = None
    baseline: np.ndarray | None = None
    greedy_rewards: np.ndarray | None = None
    reward_parts: np.ndarray | None = None
    token_count: float | None = None
    cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def groups(self) -> Grouping:
        """The groups of the rows; one group where no ids are known."""
        if "groups" not in self.cache:
            ids = np.zeros(len(self.mask), int) if self.ids is None else self.ids
            self.cache["groups"] = Grouping(ids)
        return self.cache["groups"]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens per rollout, [N]."""
        return self.mask.sum(-1).astype(float)

    @property
    def empty(self) -> np.ndarray:
        """True for the rollouts without a token, [N]."""
        return np.asarray(self.mask.sum(-1) == 0)

    def array(self, name: str) -> np.ndarray:
        """An array that a formula needs, its masked tokens set to zero. Raises ``ValueError`` where it is missing."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(
                f"{name}: the batch has none and this estimator needs it; give RolloutRows({name}=...)"
            )
        value = np.asarray(value, float)
        return (
            np.where(self.mask, value, 0.0) if value.shape == self.mask.shape and value.ndim == 2 else value
        )

    def rewarded(self, rewards: np.ndarray) -> RolloutRows:
        """The batch with other rewards."""
        return replace(self, rewards=rewards, cache=dict(self.cache))

    def rows(self, keep: np.ndarray) -> RolloutRows:
        """The batch of the chosen rows."""

        def part(x: Any) -> Any:
            return None if x is None else np.asarray(x)[keep]

        names = [n for n in self.__dataclass_fields__ if n not in ("token_count", "cache")]
        return RolloutRows(**{n: part(getattr(self, n)) for n in names}, token_count=self.token_count)
