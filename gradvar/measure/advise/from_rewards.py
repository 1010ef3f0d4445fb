"""``advise_from_rewards``: what logged rewards alone tell about group sizes.

There are no scores, hence a hypothesis in their place, stated in ``stats.groups.cost_of_equal_variance``. Under it 4
zeta1 = Delta = Var(r) v for every prompt, and the cost of equal variance within prompts, (c0 + c G) / (G - 1), falls
with G whatever prompts cost: it always favours the largest group. Only the spread between prompts, about which rewards
say nothing, is an argument against large groups. So no size is called best.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from gradvar.measure.advise.costs import Costs
from gradvar.stats.clusters import NO_SHARE, Clusters
from gradvar.stats.groups import cost_of_equal_variance, unequal_share
from gradvar.stats.intervals import Interval
from gradvar.stats.sheet import Column, Sheet


@dataclass(frozen=True)
class RewardPoint:
    """One group size.

    ``informative``: share of groups with different rewards, with its interval over prompts (NaN beyond the rollouts
    logged); ``relative_cost`` of equal within-prompt variance against the largest size.
    """

    group_size: int
    informative: Interval
    relative_cost: float


@dataclass(frozen=True)
class RewardAdvice:
    """Advice from rewards; ``best`` is None, since rewards do not determine it.

    ``hopeless`` and ``solved``: shares of prompts whose logged rewards were all lowest or all highest.
    """

    prompts: int
    rollouts: int
    mean_reward: float
    hopeless: float
    solved: float
    best: None
    curve: tuple[RewardPoint, ...]
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([*self.sentences, "", self.sheet().render()])

    def sheet(self) -> Sheet:
        """Return the curve as a table: the share of informative groups, and the cost within prompts."""
        rows = []
        for p in self.curve:
            share = "-"
            if p.informative.known:
                ends = f"[{100 * p.informative.low:.1f}, {100 * p.informative.high:.1f}]"
                share = f"{100 * p.informative.value:.1f} % {ends}"
            rows.append((f"{p.group_size}", share, f"{p.relative_cost:.2f}"))
        names = ("G", "informative groups [95 %]", "cost of equal within-prompt variance")
        beyond = any(p.group_size > self.rollouts for p in self.curve)
        notes = (f"- more than the {self.rollouts} rollouts of a prompt that were recorded",) * beyond
        return Sheet(tuple(map(Column, names)), tuple(rows), notes=notes)

    def as_json(self) -> dict[str, Any]:
        """Return the findings and figures as plain values, for a file."""
        figures = asdict(self)
        return {"kind": "advice", "findings": list(figures.pop("sentences")), **figures}


def advise_from_rewards(
    rewards: Float[np.ndarray, "prompt rollout"], costs: Costs, sizes: Sequence[int]
) -> RewardAdvice:
    """Return advice from logged rewards; the informative shares are exact U-statistics and need no hypothesis."""
    rewards = np.asarray(rewards, float)
    if rewards.ndim != 2 or not len(rewards) or rewards.shape[1] < 2 or not np.isfinite(rewards).all():
        raise ValueError(
            f"rewards: shape {rewards.shape}; give finite numbers, a row per prompt, 2 rollouts at least"
        )
    cost = {g: cost_of_equal_variance(g, costs.per_prompt, costs.updated_rollout) for g in sizes}
    largest, curve, clusters = cost[max(sizes)], [], Clusters(np.arange(len(rewards)))
    for g in sizes:
        chance = unequal_share(rewards, g)  # [prompt]
        share = clusters.share(chance) if np.isfinite(chance).all() else NO_SHARE
        curve.append(RewardPoint(g, share, cost[g] / largest))
    is_lowest, is_highest = (rewards == rewards.min()).all(1), (rewards == rewards.max()).all(1)
    return RewardAdvice(
        prompts=len(rewards),
        rollouts=rewards.shape[1],
        mean_reward=float(rewards.mean()),
        hopeless=float(is_lowest.mean()),
        solved=float((is_highest & ~is_lowest).mean()),
        best=None,
        curve=tuple(curve),
        sentences=tuple(_sentences(curve, bool((rewards == rewards[:, :1]).all()))),
    )


def _sentences(curve: Sequence[RewardPoint], is_dead: bool) -> list[str]:
    smallest, largest = curve[0], curve[-1]
    logged = [p for p in curve if p.informative.known]
    if is_dead:
        nothing = (
            "Every prompt's rewards are all equal: no group has a signal, so nothing can be said about group "
            "sizes."
        )
        if not logged:
            return [nothing]
        last = logged[-1]
        bound = f"{100 * last.informative.high:.0f} %"
        return [f"{nothing} Up to {bound} of groups of {last.group_size} may still have one (95 %)."]
    times = (
        f"G={smallest.group_size} costs {smallest.relative_cost:.2f} times as much as G={largest.group_size}"
    )
    sentences = [
        "Rewards alone do not fix the best group size: within prompts a larger group always costs less for equal "
        f"variance{f' ({times})' * (len(curve) > 1)}, and the spread of gradients between prompts, which stands "
        "against large groups, needs scores (record a bank)."
    ]
    if logged and logged[-1].informative.value > 0:
        share, size = logged[-1].informative, logged[-1].group_size
        sentences.append(
            f"At G={size}, {100 * share.value:.0f} % of groups have different rewards; sampling until a batch "
            f"is full of such groups costs {1 / share.value:.2f} times the rollouts."
        )
    return sentences
