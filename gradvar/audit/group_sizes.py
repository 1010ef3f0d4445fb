"""What other group sizes would find on the recorded rewards: exact U-statistics, no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gradvar.audit.schemes import Rewards
from gradvar.stats.shares import NOTHING, Clusters, Share

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


def informative(rewards: Rewards, sizes: Sequence[int]) -> Iterator[Float[np.ndarray, " group"]]:
    """For each of ascending ``sizes``, the chance that so many rollouts, drawn from a group without replacement, have
    two different rewards: [group]. Groups smaller than that have NaN."""
    alike, count, have, taken = np.ones(len(rewards.n)), rewards.sizes, rewards.size, 0
    for size in sizes:
        with np.errstate(divide="ignore", invalid="ignore"):
            for _ in range(taken, size):
                alike *= np.maximum(rewards.n - taken, 0) / (count - taken)
                taken += 1
        found = 1 - np.add.reduceat(alike, rewards.start)
        yield np.where(have >= size, np.clip(found, 0.0, 1.0), np.nan)


def curve(rewards: Rewards, prompt: Int[np.ndarray, " group"], recorded: int) -> tuple[Size, ...]:
    """Every size up to twice the recorded one."""
    wanted = sorted({g for g in (*GROUP_SIZES, recorded) if 2 <= g <= 2 * recorded})
    enough = [
        g for g in wanted if (rewards.size >= g).mean() > 0.5
    ]  # else it would speak of odd large groups only
    clusters, shares = Clusters(prompt), {}
    for size, chance in zip(enough, informative(rewards, enough), strict=True):
        known = np.isfinite(chance)
        shares[size] = clusters.share(np.where(known, chance, 0.0), known.astype(float))
    return tuple(
        Size(g, shares.get(g, NOTHING), g / (g - 1) / (recorded / (recorded - 1)) if recorded > 1 else np.nan)
        for g in wanted
    )
