"""What other group sizes would find on the recorded rewards: exact U-statistics, no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradvar.audit.intervals import Share, share
from gradvar.audit.schemes import Rewards

GROUP_SIZES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64)


@dataclass(frozen=True)
class Size:
    """One group size: the share of ``informative`` groups, those with two different rewards, with its interval; NaN
    beyond the rollouts recorded per group. ``relative_cost``: rollouts for the same variance of leave-one-out within
    prompts, against the recorded size (``measure.advise_rewards`` has the hypothesis: the size of a score does not
    depend on its reward)."""

    group_size: int
    informative: Share
    relative_cost: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "group_size": self.group_size,
            "informative": self.informative.as_json(),
            "relative_cost": self.relative_cost,
        }


def informative(rewards: Rewards, group_size: int) -> np.ndarray:
    """The chance that ``group_size`` rollouts, drawn from each group without replacement, have two different rewards:
    [group]. Groups smaller than that have NaN."""
    alike, size = np.ones(len(rewards.n)), rewards.sizes
    with np.errstate(divide="ignore", invalid="ignore"):
        for taken in range(group_size):
            alike *= np.maximum(rewards.n - taken, 0) / (size - taken)
    found = 1 - np.add.reduceat(alike, rewards.start)
    return np.where(rewards.size >= group_size, np.clip(found, 0.0, 1.0), np.nan)


def curve(rewards: Rewards, prompt: np.ndarray, recorded: int) -> tuple[Size, ...]:
    """Every size up to twice the recorded one."""
    wanted = sorted({g for g in (*GROUP_SIZES, recorded) if 2 <= g <= 2 * recorded})
    found = []
    for size in wanted:
        chance = informative(rewards, size)
        known = np.isfinite(chance)
        enough = known.mean() > 0.5  # else it would speak of the odd large group only
        result = (
            share(chance[known], np.ones(int(known.sum())), prompt[known])
            if enough
            else Share(np.nan, np.nan, np.nan, 0)
        )
        factor = size / (size - 1) / (recorded / (recorded - 1)) if recorded > 1 else np.nan
        found.append(Size(size, result, factor))
    return tuple(found)
