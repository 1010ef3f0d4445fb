"""Advantages that the rewards of one group determine, over cells and in NumPy, and the prompt weights that they imply.

The same numbers as the catalogue's pieces (a test compares every name here with the catalogue), in a form that neither
loads JAX nor expands the counts: a dump of millions of rollouts has few distinct (group, reward) cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from jaxtyping import Float, Int

from gradvar.stats.groups import prompt_weight

_WORTH = 4  # times as many groups as kinds, from which on each kind is computed once


@dataclass(frozen=True, eq=False)
class Rewards:
    """Rewards of groups as cells: ``n`` rollouts with ``reward``, ascending in each group; cells of a group lie
    together from ``start`` on."""

    reward: Float[np.ndarray, " cell"]
    n: Int[np.ndarray, " cell"]
    start: Int[np.ndarray, " group"]
    of_cell: Int[np.ndarray, " cell"]

    @cached_property
    def levels(self) -> Float[np.ndarray, " level"]:
        """The distinct rewards, ascending; without sorting where they are two at most."""
        if not len(self.reward):
            return self.reward
        low, high = self.reward.min(), self.reward.max()
        if ((self.reward == low) | (self.reward == high)).all():
            return np.array([low, high] if low < high else [low])
        return np.unique(self.reward)

    @cached_property
    def size(self) -> Int[np.ndarray, " group"]:
        """Rollouts of each group."""
        return np.add.reduceat(self.n, self.start)

    def spread(self, values: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " cell"]:
        """The sum of ``values`` over the cell's group, at every cell of it."""
        return np.add.reduceat(values, self.start)[self.of_cell]

    @property
    def sizes(self) -> Float[np.ndarray, " cell"]:
        """The size of the cell's group, at every cell."""
        return self.size[self.of_cell].astype(float)

    @property
    def centred(self) -> Float[np.ndarray, " cell"]:
        """Rewards less their group's mean; exactly zero where all are equal."""
        d = self.reward - self.reward[self.start][self.of_cell]
        return d - self.spread(self.n * d) / self.sizes

    @cached_property
    def kinds(self) -> Kinds | None:
        """The few kinds of groups that there are, where that is less than to go through every group; else None."""
        cells = np.diff(np.append(self.start, len(self.n)))  # [group]
        levels, stride = self.levels, int(self.n.max(initial=0)) + 1
        base, longest = len(levels) * stride, int(cells.max(initial=0))
        if not longest or base**longest > 1 << 62:
            return None
        mark = np.searchsorted(levels, self.reward) * stride + self.n  # [cell], above zero
        code = np.zeros(len(self.start), np.int64)  # [group]
        for place in range(longest):
            groups = cells > place
            code *= base
            code[groups] += mark[self.start[groups] + place]
        codes = np.unique(code)
        if _WORTH * len(codes) > len(code):
            return None
        group = np.searchsorted(codes, code)
        example = np.zeros(len(codes), np.int64)  # [kind], a group of each
        example[group] = np.arange(len(code))
        size = cells[example]
        start = np.cumsum(size) - size
        of_cell = np.repeat(np.arange(len(codes)), size)
        places = self.start[example][of_cell] + np.arange(len(of_cell)) - start[of_cell]
        rewards = Rewards(self.reward[places], self.n[places], start, of_cell)
        cell = start[group][self.of_cell] + np.arange(len(self.n)) - self.start[self.of_cell]
        return Kinds(rewards, group, cell)


@dataclass(frozen=True, eq=False)
class Kinds:
    """One group of every kind, whose rewards are the same numbers as often; the kind of each ``group``, and for each
    ``cell`` the one of its kind that is like it."""

    rewards: Rewards
    group: Int[np.ndarray, " group"]
    cell: Int[np.ndarray, " cell"]


Scheme = Callable[[Rewards], Float[np.ndarray, " cell"]]


def raw(rewards: Rewards) -> np.ndarray:
    """Return the reward itself as the advantage."""
    return rewards.reward


def group_mean(rewards: Rewards) -> np.ndarray:
    """The reward less the group's mean."""
    return rewards.centred


def leave_one_out(rewards: Rewards) -> np.ndarray:
    """The reward less the mean of the others; zero in a group of one."""
    return rewards.centred * rewards.sizes / np.maximum(rewards.sizes - 1, 1)


def standardised(rewards: Rewards, *, ddof: int = 0, eps: float = 1e-6) -> np.ndarray:
    """The reward less the group's mean, over the group's standard deviation and ``eps``."""
    centred = rewards.centred
    std = np.sqrt(rewards.spread(rewards.n * centred**2) / np.maximum(rewards.sizes - ddof, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(std > 0, centred / (std + eps), 0.0)


def over_mean(rewards: Rewards) -> np.ndarray:
    """MaxRL: the reward less the group's mean, over the mean; zero where that is not positive."""
    mean = rewards.spread(rewards.n * rewards.reward) / rewards.sizes
    return np.where(mean > 0, rewards.centred / np.where(mean > 0, mean, 1.0), 0.0)


def softmax(rewards: Rewards, *, temperature: float = 0.3) -> np.ndarray:
    """SoftmaxGRPO: G softmax(r / temperature) - 1."""
    last = np.append(rewards.start[1:], len(rewards.n)) - 1
    top = rewards.reward[last][rewards.of_cell]
    weights = np.exp((rewards.reward - top) / temperature)
    return rewards.sizes * weights / rewards.spread(rewards.n * weights) - 1


def best_of_two(rewards: Rewards) -> np.ndarray:
    """pass@k at k = 2: (2/(G-1)) sum_j max(r_i - r_j, 0)."""
    total, count = np.cumsum(rewards.n * rewards.reward), np.cumsum(rewards.n)
    last = rewards.start[1:] - 1
    before = np.append(0.0, total[last])[rewards.of_cell]
    fewer = np.append(0, count[last])[rewards.of_cell]
    gain = (count - fewer) * rewards.reward - (total - before)
    return 2 * np.maximum(gain, 0.0) / np.maximum(rewards.sizes - 1, 1)


SCHEMES: Mapping[str, Scheme] = {
    "reinforce": raw,
    "rloo": leave_one_out,
    "dr_grpo": group_mean,
    "grpo": standardised,
    "grpo_sample_std": partial(standardised, ddof=1),
    "dapo": standardised,
    "gspo": standardised,
    "gspo_token": standardised,
    "cispo": standardised,
    "gmpo": standardised,
    "sapo": standardised,
    "maxrl": over_mean,
    "softmax": softmax,
    "pass_at_k": best_of_two,
}
"""Estimators of the catalogue, at their defaults, whose advantages need nothing but the rewards of one group."""

COMPARED = ("rloo", "dr_grpo", "grpo", "grpo_sample_std", "maxrl", "softmax", "pass_at_k")


def scheme(name: str) -> Scheme:
    """The advantages of an estimator by its name in the catalogue; ``ValueError`` where rewards do not fix them."""
    if name not in SCHEMES:
        raise ValueError(
            f"estimator: '{name}' has no advantages that the rewards of one group fix; give one of {', '.join(SCHEMES)}"
        )
    return partial(_by_kind, SCHEMES[name])


def _by_kind(function: Scheme, rewards: Rewards) -> np.ndarray:
    """The advantages of every cell, computed once for groups that are alike."""
    kinds = rewards.kinds
    return function(rewards) if kinds is None else function(kinds.rewards)[kinds.cell]


def binary_groups(group_size: int, low: float = 0.0, high: float = 1.0) -> Rewards:
    """One group for each number of successes 0 to G, with two cells each but the first and the last."""
    successes = np.arange(group_size + 1)
    n = np.stack([group_size - successes, successes], 1)
    reward = np.tile([low, high], (group_size + 1, 1))
    of_cell = np.repeat(successes, 2).reshape(-1, 2)
    keep = n > 0
    start = np.flatnonzero(np.diff(of_cell[keep], prepend=-1))
    return Rewards(reward[keep], n[keep], start, of_cell[keep])


def prompt_weights(
    name: str, group_size: int, p: Float[np.ndarray, " prompt"], low: float = 0.0, high: float = 1.0
) -> Float[np.ndarray, " prompt"]:
    """Return the prompt weight w_G(p) of an estimator, for rewards of two levels (``stats.groups.prompt_weight``).

    Args:
        name: A name of ``SCHEMES``.
        group_size: Rollouts in a group, G.
        p: Success rates.
        low: The reward of a failure.
        high: The reward of a success.
    """
    groups = binary_groups(group_size, low, high)
    values = scheme(name)(groups)
    failure = np.zeros(group_size + 1)
    success = np.zeros(group_size + 1)
    is_high = groups.reward == high
    success[groups.of_cell[is_high]] = values[is_high]
    failure[groups.of_cell[~is_high]] = values[~is_high]
    return prompt_weight((success[1:] - failure[:-1]) / (high - low), np.asarray(p, float))
