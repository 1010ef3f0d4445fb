"""What is kept of the rollouts: one cell for each reward that occurs in a group, with how often it does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from gradvar.audit.schemes import Rewards
from gradvar.stats.clusters import Clusters, tally


@dataclass(frozen=True, eq=False)
class Cells:
    """Distinct (step, group, reward, prompt), sorted by them; ``n`` rollouts each. ``advantage``, ``length`` and
    ``logp`` are sums over the ``*_n`` rollouts that have one; ``low`` and ``high`` are the least and the largest
    advantage."""

    step: Int[np.ndarray, " cell"]
    group: Int[np.ndarray, " cell"]
    prompt: Int[np.ndarray, " cell"]
    reward: Float[np.ndarray, " cell"]
    n: Int[np.ndarray, " cell"]
    advantage: Float[np.ndarray, " cell"]
    advantage_n: Int[np.ndarray, " cell"]
    length: Float[np.ndarray, " cell"]
    length_n: Int[np.ndarray, " cell"]
    logp: Float[np.ndarray, " cell"]
    logp_n: Int[np.ndarray, " cell"]
    low: Float[np.ndarray, " cell"]
    high: Float[np.ndarray, " cell"]
    grouped: bool

    @cached_property
    def groups(self) -> Groups:
        """The groups that the cells form."""
        return Groups.of(self)

    @cached_property
    def rewards(self) -> Rewards:
        """The rewards of the groups alone."""
        return Rewards(self.reward, self.n, self.groups.start, self.groups.of_cell)

    def successes(self, above: float) -> Int[np.ndarray, " group"]:
        """How many rollouts of each group have a reward above this."""
        if above not in self._successes:
            self._successes[above] = self.groups.sum(np.where(self.reward > above, self.n, 0))
        return self._successes[above]

    def sums(self, role: str) -> tuple[Float[np.ndarray, " group"], Int[np.ndarray, " group"]]:
        """The sum of a role's values over each group, and how many rollouts have one."""
        if role not in self._sums:
            values, counts = getattr(self, role), getattr(self, f"{role}_n")
            if counts.any():
                self._sums[role] = self.groups.sum(np.nan_to_num(values)), self.groups.sum(counts)
            else:
                self._sums[role] = (
                    np.zeros(len(self.groups.start)),
                    np.zeros(len(self.groups.start), np.int64),
                )
        return self._sums[role]

    @cached_property
    def _successes(self) -> dict[float, np.ndarray]:
        return {}

    @cached_property
    def _sums(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {}


@dataclass(frozen=True, eq=False)
class Groups:
    """Each (step, group): its first cell, its ``size`` in rollouts and its rewards. ``of_cell`` is each cell's group;
    ``prompt`` is that of the group's first cell, and ``prompts`` how many it has."""

    start: Int[np.ndarray, " group"]
    of_cell: Int[np.ndarray, " cell"]
    step: Int[np.ndarray, " group"]
    prompt: Int[np.ndarray, " group"]
    prompts: Int[np.ndarray, " group"]
    size: Int[np.ndarray, " group"]
    low: Float[np.ndarray, " group"]
    high: Float[np.ndarray, " group"]
    mean: Float[np.ndarray, " group"]

    @cached_property
    def steps(self) -> tuple[np.ndarray, np.ndarray]:
        """The steps, ascending, and which of them each group is of; groups are sorted by step."""
        fresh = np.diff(self.step, prepend=self.step[0] - 1) != 0
        return self.step[fresh], np.cumsum(fresh) - 1

    @cached_property
    def equal(self) -> np.ndarray:
        """Whether all rewards of the group are the same number, exactly: [group].

        Not whether a standard deviation is small: that of eight times 0.1 is 1e-17, and small rewards that differ are
        no equal rewards.
        """
        return self.low == self.high

    @cached_property
    def sizes(self) -> tuple[Int[np.ndarray, " size"], Int[np.ndarray, " size"]]:
        """The sizes that there are, ascending, and how many groups have each."""
        return tally(self.size)

    @property
    def usual_size(self) -> int:
        """The size that most groups have; of several the largest."""
        sizes, times = self.sizes
        return int(sizes[times == times.max()][-1])

    @cached_property
    def by_prompt(self) -> Clusters:
        """The groups by their prompts."""
        return Clusters(self.prompt)

    @property
    def by_rounding(self) -> np.ndarray:
        """Whether the rewards differ, but by no more than single precision resolves: [group]."""
        largest = np.maximum(np.abs(self.low), np.abs(self.high))
        return ~self.equal & (self.high - self.low <= 1e-6 * largest)

    @classmethod
    def of(cls, cells: Cells) -> Groups:
        """The groups of sorted cells."""
        fresh = np.ones(len(cells.step), bool)
        fresh[1:] = (cells.step[1:] != cells.step[:-1]) | (cells.group[1:] != cells.group[:-1])
        start = np.flatnonzero(fresh)
        of_cell = np.cumsum(fresh) - 1
        size = np.add.reduceat(cells.n, start)
        first = cells.reward[start]
        # Means are taken from the first reward on, so that equal rewards have exactly themselves as mean.
        mean = first + np.add.reduceat(cells.n * (cells.reward - first[of_cell]), start) / size
        prompts = np.ones(len(start), np.int64)
        if cells.grouped:
            stride = int(cells.prompt.max()) + 1
            prompts = np.bincount(np.unique(of_cell * stride + cells.prompt) // stride, minlength=len(start))
        last = np.append(start[1:], len(fresh)) - 1
        return cls(
            start,
            of_cell,
            cells.step[start],
            cells.prompt[start],
            prompts,
            size,
            cells.reward[start],
            cells.reward[last],
            mean,
        )

    def sum(self, values: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " group"]:
        """Sums over each group's cells."""
        return np.add.reduceat(values, self.start)
