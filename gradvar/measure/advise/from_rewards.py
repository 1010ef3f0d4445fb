"""What logged rewards alone say about group sizes: no scores, hence a hypothesis in their place, stated with
the answer.

Hypothesis: on policy, given its prompt a rollout's squared score norm does not depend on its reward and is
the same for all prompts, and ||grad J||^2 is small beside Var(r) E||s||^2. Then per prompt 4 zeta1 = Delta =
Var(r) v, so leave-one-out has variance mean Var(r) v / (G - 1) within prompts (the form that VIP uses,
2602.01601), and only the spread between prompts, which rewards cannot tell, stands against large groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from gradvar.measure.advise.group_size import GROUP_SIZES, check_costs
from gradvar.stats.groups import unequal_share


@dataclass(frozen=True)
class RewardPoint:
    """One group size: ``informative`` share of groups with different rewards, with its standard error over
    prompts (NaN beyond the rollouts logged); ``relative_cost`` of equal within-prompt variance against the
    best size."""

    group_size: int
    informative: float
    informative_se: float
    relative_cost: float


@dataclass(frozen=True)
class RewardAdvice:
    """``mean_reward``; ``hopeless`` and ``solved``: shares of prompts whose logged rewards were all lowest
    or highest."""

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
            share = (
                f"{100 * p.informative:.1f} % ± {196 * p.informative_se:.1f}"
                if np.isfinite(p.informative)
                else "-"
            )
            lines.append(f"{p.group_size:>5}   {share:>18}   {p.relative_cost:.2f}")
        return "\n".join([*lines, *self.sentences])

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        figures = {name: value for name, value in vars(self).items() if name != "sentences"}
        findings = list(self.sentences)
        return {"kind": "advice", "findings": findings, **figures, "curve": [vars(p) for p in self.curve]}


def advise_rewards(
    rewards: Float[np.ndarray, "prompt rollout"],
    cost_per_prompt: float = 0.0,
    cost_per_rollout: float = 1.0,
    *,
    cost_per_update: float = 0.0,
    group_sizes: Sequence[int] = GROUP_SIZES,
) -> RewardAdvice:
    """Advice from logged rewards [prompt, rollout], under the hypothesis at the top of this file.

    The informative shares are exact U-statistics of the log and need no hypothesis.
    """
    rewards = np.asarray(rewards, float)
    if rewards.ndim != 2 or rewards.shape[1] < 2 or not np.isfinite(rewards).all():
        raise ValueError(
            f"rewards: shape {rewards.shape}; give finite numbers, a row per prompt, 2 rollouts at least"
        )
    check_costs(cost_per_prompt, cost_per_rollout, cost_per_update)
    sizes = sorted({int(g) for g in group_sizes})
    if not sizes or sizes[0] < 2:
        raise ValueError(f"group_sizes: {tuple(group_sizes)}; give sizes of 2 or more")
    count = rewards.shape[1]
    each = cost_per_rollout + cost_per_update
    cost = {g: (cost_per_prompt + each * g) / (g - 1) for g in sizes}
    best = min(sizes, key=cost.__getitem__)
    points = []
    for g in sizes:
        share = unequal_share(rewards, g)
        error = float(share.std(ddof=1) / np.sqrt(len(share))) if len(share) > 1 else np.nan
        points.append(RewardPoint(g, float(share.mean()), error, cost[g] / cost[best]))
    lowest, highest = (rewards == rewards.min()).all(1), (rewards == rewards.max()).all(1)
    known = [p for p in points if np.isfinite(p.informative)]
    sentences = [
        "Rewards alone do not fix the best group size: the spread of gradients between prompts, which "
        "stands against large groups, needs scores (record a bank). Below it, equal variance within prompts "
        f"costs least at G={best} of those asked for, and "
        f"{points[0].relative_cost:.2f} times as much at G={sizes[0]}.",
    ]
    if known and known[-1].informative > 0:
        last = known[-1]
        sentences.append(
            f"At G={last.group_size}, {100 * last.informative:.0f} % of groups have different rewards; "
            f"drawing until a batch is full of such groups costs {1 / last.informative:.2f} times the rollouts."
        )
    mean = float(rewards.mean())
    hopeless, solved = float(lowest.mean()), float((highest & ~lowest).mean())
    return RewardAdvice(len(rewards), count, mean, hopeless, solved, best, tuple(points), tuple(sentences))
