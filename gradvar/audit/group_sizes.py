"""What other group sizes would find on the recorded rewards: exact U-statistics, no model."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from gradvar.audit.schemes import Rewards
from gradvar.stats.clusters import NO_SHARE, Clusters
from gradvar.stats.groups import cost_of_equal_variance, unequal_share_of_counts
from gradvar.stats.intervals import Interval

GROUP_SIZES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64)


@dataclass(frozen=True)
class Size:
    """One group size: the share of ``informative`` groups, those with two different rewards, with its interval; NaN
    beyond the rollouts recorded per group. ``relative_cost``: rollouts for the same variance of leave-one-out within
    prompts, against the recorded size (``stats.groups.cost_of_equal_variance`` has the hypothesis: the size of a
    score does not depend on its reward)."""

    group_size: int
    informative: Interval
    relative_cost: float


def curve(rewards: Rewards, prompt: Int[np.ndarray, " group"], recorded: int) -> tuple[Size, ...]:
    """Every size up to twice the recorded one."""
    wanted = sorted({g for g in (*GROUP_SIZES, recorded) if 2 <= g <= 2 * recorded})
    enough = [
        g for g in wanted if (rewards.size >= g).mean() > 0.5
    ]  # else it would speak of odd large groups only
    clusters, shares, kinds = Clusters(prompt), {}, rewards.kinds
    some = kinds.rewards if kinds else rewards
    for size in enough:
        chance = unequal_share_of_counts(some.n, some.start, size)
        chance = chance[kinds.group] if kinds else chance
        known = np.isfinite(chance)
        shares[size] = clusters.share(np.where(known, chance, 0.0), known.astype(float))
    recorded_cost = cost_of_equal_variance(recorded) if recorded > 1 else np.nan
    return tuple(Size(g, shares.get(g, NO_SHARE), cost_of_equal_variance(g) / recorded_cost) for g in wanted)
