"""``advise_from_rewards``: what logged rewards alone tell about group sizes.

There are no scores, hence a hypothesis in their place, stated in ``stats.groups.cost_of_equal_variance``. Under it 4
zeta1 = Delta = Var(r) v for every prompt; only the spread between prompts, about which rewards say nothing, is an
argument against large groups.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from gradvar.measure.advise.costs import Costs
from gradvar.stats.groups import cost_of_equal_variance, unequal_share


@dataclass(frozen=True)
class RewardPoint:
    """One group size.

    ``informative``: share of groups with different rewards, with its standard error over prompts (NaN beyond the
    rollouts logged); ``relative_cost`` of equal within-prompt variance against the best size.
    """

    group_size: int
    informative: float
    informative_se: float
    relative_cost: float


@dataclass(frozen=True)
class RewardAdvice:
    """Advice from rewards.

    ``hopeless`` and ``solved``: shares of prompts whose logged rewards were all lowest or all highest.
    """

    prompts: int
    rollouts: int
    mean_reward: float
    hopeless: float
    solved: float
    best: int
    curve: tuple[RewardPoint, ...]
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        lines = ["    G   informative groups   cost of equal within-prompt variance"]
        for p in self.curve:
            share = "-"
            if np.isfinite(p.informative):
                share = f"{100 * p.informative:.1f} % ± {196 * p.informative_se:.1f}"
            lines.append(f"{p.group_size:>5}   {share:>18}   {p.relative_cost:.2f}")
        return "\n".join([*lines, *self.sentences])

    def as_json(self) -> dict[str, Any]:
        """Return the findings and figures as plain values, for a file."""
        figures = asdict(self)
        return {"kind": "advice", "findings": list(figures.pop("sentences")), **figures}


def advise_from_rewards(
    rewards: Float[np.ndarray, "prompt rollout"], costs: Costs, sizes: Sequence[int]
) -> RewardAdvice:
    """Return advice from logged rewards; the informative shares are exact U-statistics and need no hypothesis."""
    rewards = np.asarray(rewards, float)
    if rewards.ndim != 2 or rewards.shape[1] < 2 or not np.isfinite(rewards).all():
        raise ValueError(
            f"rewards: shape {rewards.shape}; give finite numbers, a row per prompt, 2 rollouts at least"
        )
    cost = {g: cost_of_equal_variance(g, costs.per_prompt, costs.updated_rollout) for g in sizes}
    best = min(sizes, key=cost.__getitem__)
    curve = []
    for g in sizes:
        share = unequal_share(rewards, g)  # [prompt]
        error = float(share.std(ddof=1) / np.sqrt(len(share))) if len(share) > 1 else np.nan
        curve.append(RewardPoint(g, float(share.mean()), error, cost[g] / cost[best]))
    is_lowest, is_highest = (rewards == rewards.min()).all(1), (rewards == rewards.max()).all(1)
    return RewardAdvice(
        prompts=len(rewards),
        rollouts=rewards.shape[1],
        mean_reward=float(rewards.mean()),
        hopeless=float(is_lowest.mean()),
        solved=float((is_highest & ~is_lowest).mean()),
        best=best,
        curve=tuple(curve),
        sentences=tuple(_sentences(curve, best)),
    )


def _sentences(curve: Sequence[RewardPoint], best: int) -> list[str]:
    smallest = curve[0]
    sentences = [
        "Rewards alone do not fix the best group size: the spread of gradients between prompts, which "
        "stands against large groups, needs scores (record a bank). Below it, equal variance within prompts "
        f"costs least at G={best} of those asked for, and "
        f"{smallest.relative_cost:.2f} times as much at G={smallest.group_size}.",
    ]
    logged = [p for p in curve if np.isfinite(p.informative)]
    if logged and logged[-1].informative > 0:
        largest = logged[-1]
        sentences.append(
            f"At G={largest.group_size}, {100 * largest.informative:.0f} % of groups have different rewards; "
            f"drawing until a batch is full of such groups costs {1 / largest.informative:.2f} times the rollouts."
        )
    return sentences
