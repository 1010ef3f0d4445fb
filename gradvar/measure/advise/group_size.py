"""``advise``: the best group size, the best split of the rollouts, and the worth of dropping equal groups.

For leave-one-out with one prompt and G rollouts the variance is V(G) = sigma_b^2 + sigma_o^2 / G + Delta / (G (G - 1)),
and a prompt costs c(G) = cost_per_prompt + G cost_per_rollout, so a budget buys variance V(G) c(G) / budget: the best G
minimises V(G) c(G). With cost_per_prompt = 0 that is G* = 1 + sqrt(Delta / sigma_b^2) (2603.01162, Theorem 7, with the
between-prompt term written out). Everything is estimated from the same rollouts, so comparisons between group sizes are
paired.

The size that is called best is chosen by these same estimates, so intervals of single comparisons would be too sure of
it. They are made for all pairs of sizes at once (Bonferroni: each at 1 - (1 - level) / number of pairs), and so hold
for the pairs of whichever size was chosen. That is the simplest correction that is honest: cross-fitting would choose
and compare on half of the prompts each, and answer for a choice that nobody makes; paired intervals are so narrow that
the wider quantile costs little. The regret follows from them: how much more the chosen size may cost than another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload

import numpy as np
from jaxtyping import Float

from gradvar.measure.advise.advice import Advice, Point
from gradvar.measure.advise.allocation import split_rollouts
from gradvar.measure.advise.costs import GROUP_SIZES, Costs, check_group_sizes, level_of_pairs
from gradvar.measure.advise.findings import findings
from gradvar.measure.advise.from_rewards import RewardAdvice, advise_from_rewards
from gradvar.measure.advise.optimum import optimum
from gradvar.measure.bank.summary import Budget, Summary
from gradvar.stats.effective import effective_number, too_few
from gradvar.stats.figures import jackknife_interval, ratio_interval, varies
from gradvar.stats.intervals import Interval

if TYPE_CHECKING:
    from gradvar.measure.bank.bank import ScoreBank


@overload
def advise(
    source: ScoreBank | Summary,
    cost_per_prompt: float = ...,
    cost_per_rollout: float = ...,
    *,
    cost_per_update: float = ...,
    group_sizes: Sequence[int] = ...,
    level: float = ...,
) -> Advice: ...
@overload
def advise(
    source: Float[np.ndarray, "prompt rollout"],
    cost_per_prompt: float = ...,
    cost_per_rollout: float = ...,
    *,
    cost_per_update: float = ...,
    group_sizes: Sequence[int] = ...,
    level: float = ...,
) -> RewardAdvice: ...
def advise(
    source: ScoreBank | Summary | Float[np.ndarray, "prompt rollout"],
    cost_per_prompt: float = 0.0,
    cost_per_rollout: float = 1.0,
    *,
    cost_per_update: float = 0.0,
    group_sizes: Sequence[int] = GROUP_SIZES,
    level: float = 0.95,
) -> Advice | RewardAdvice:
    """Find the best group size for leave-one-out at these costs, with the curve and the best split over the prompts.

    Costs are in any one unit (seconds, say). Group sizes beyond the recorded rollouts are extrapolated by the law,
    which is exact.

    Args:
        source: a bank on policy, or its summary; intervals are jackknifed over prompts. Or logged rewards
            [prompt, rollout], which tell less, under a hypothesis that is stated with the answer.
        cost_per_prompt: of a prompt (prefill).
        cost_per_rollout: of a rollout (generation).
        cost_per_update: of a rollout's update (backward pass).
        group_sizes: the sizes that are compared.
        level: share of intervals that shall hold the true value.

    Raises:
        ValueError: for a cost that is negative, a group size below 2, or too few prompts.
    """
    costs = Costs(cost_per_prompt, cost_per_rollout, cost_per_update)
    sizes = check_group_sizes(group_sizes)
    if isinstance(source, np.ndarray | list | tuple):
        return advise_from_rewards(np.asarray(source), costs, sizes)
    summary = source if isinstance(source, Summary) else source.summary()
    budgets = summary.budget()
    compared = _Compared(summary, budgets, costs, tuple(sizes), level)
    best = compared.best()
    curve = tuple(compared.point(g, best) for g in sizes)
    fixed = costs.per_prompt / costs.updated_rollout
    answer = optimum(budgets, fixed, level, compared.effective(best or sizes[0]) * summary.met())
    splits = split_rollouts(summary, best, level) if best else ()
    advice = Advice(
        best=best,
        optimum=answer,
        curve=curve,
        splits=splits,
        on_policy=summary.on_policy,
        prompts=len(summary.p),
        rollouts=summary.rewards.shape[1],
        regret=float(np.maximum(1.0, _regret(curve, best))),  # NaN where it is not known
        sentences=(),
    )
    return replace(advice, sentences=tuple(findings(advice, summary, budgets[0], costs, level)))


@dataclass(frozen=True)
class _Compared:
    """The group sizes that are compared, and on what."""

    summary: Summary
    budgets: tuple[Budget, Budget]  # over all prompts, and with each prompt left out
    costs: Costs
    sizes: tuple[int, ...]
    level: float

    def best(self) -> int | None:
        """The size of the least cost; None where a variance is not positive, so that there is nothing to compare."""
        if min(float(self.budgets[0].variance(g)) for g in self.sizes) <= 0:
            return None
        return min(self.sizes, key=lambda g: float(self.budgets[0].variance(g)) * self.costs.group(g))

    def effective(self, size: int) -> float:
        """The effective number of prompts behind the variance at this size."""
        return float(effective_number(self.summary.second_moments(size)))

    def compared(self, *sizes: int) -> float:
        """The effective number of prompts behind a comparison of sizes."""
        return min(self.summary.carried(), *(self.effective(size) for size in sizes))

    def point(self, size: int, best: int | None) -> Point:
        """The figures of a size, compared with those of the best one."""
        total, without = self.budgets
        value, parts = float(total.variance(size)), without.variance(size)
        signal, tokens = float(total.signal), float(self.summary.length.mean())
        is_recorded, positive = size <= self.summary.rewards.shape[1], value > 0
        return Point(
            group_size=size,
            variance=jackknife_interval(value, parts, self.level, effective=self.effective(size)),
            cost=self._cost(size, best),
            per_rollout=signal / (value * size) if positive else np.nan,
            per_token=signal / (value * size * tokens) if positive else np.nan,
            per_cost=signal / (value * self.costs.group(size)) if positive else np.nan,
            informative=float(self.summary.informative(size).mean()) if is_recorded else np.nan,
        )

    def _cost(self, size: int, best: int | None) -> Interval:
        """The cost of a size over that of the best one, at the level that holds for all pairs at once."""
        total, without = self.budgets
        if best is None:
            reason = too_few(self.effective(size)) or "a variance is not positive"
            return Interval(np.nan, np.nan, np.nan, effective=self.effective(size), reason=reason)
        if size == best:
            return Interval(1.0, 1.0, 1.0, 0.0, len(self.summary.p) - 1, np.inf)
        factor = self.costs.group(size) / self.costs.group(best)
        ratio = factor * float(total.variance(size) / total.variance(best))
        with np.errstate(all="ignore"):
            parts = factor * without.variance(size) / without.variance(best)
        effective = self.compared(size, best)
        level, tied = level_of_pairs(self.level, len(self.sizes)), varies(without.variance(best))
        return ratio_interval(ratio, parts, level, effective, by_identity=tied)


def _regret(curve: Sequence[Point], best: int | None) -> float:
    """The most that the best size may cost over another one; NaN where one of their intervals is not known."""
    others = [p.cost for p in curve if p.group_size != best]
    if best is None or not all(cost.known for cost in others):
        return float("nan")
    return max((1 / cost.low if cost.low > 0 else np.inf for cost in others), default=1.0)
