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
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from jaxtyping import Float

from gradvar.measure.advise.allocation import Split, split_rollouts
from gradvar.measure.advise.costs import GROUP_SIZES, Costs, check_group_sizes, level_of_pairs
from gradvar.measure.advise.from_rewards import RewardAdvice, advise_from_rewards
from gradvar.measure.advise.optimum import BEYOND, optimum
from gradvar.measure.bank.summary import Budget, Summary
from gradvar.stats.effective import effective_number, too_few, warning
from gradvar.stats.figures import jackknife_interval, ratio_interval, varies
from gradvar.stats.groups import redrawing_gain
from gradvar.stats.intervals import Interval
from gradvar.stats.power import prompts_for_ratio, prompts_words
from gradvar.stats.sheet import Column, Sheet
from gradvar.stats.text import short_text

if TYPE_CHECKING:
    from gradvar.measure.bank.bank import ScoreBank


_ROUNDING = 1e-5  # of what a prompt contributes, with scores in single precision


@dataclass(frozen=True)
class Point:
    """One group size.

    ``cost``: of reaching the variance that the best group size reaches at cost 1, with its interval, which holds for
    all pairs of sizes at once; ``per_rollout``, ``per_token``, ``per_cost``: signal / (tr Cov
    times that many of them), what one of them buys; ``informative``: the share of groups with different rewards.
    """

    group_size: int
    variance: Interval
    cost: Interval
    per_rollout: float
    per_token: float
    per_cost: float
    informative: float


@dataclass(frozen=True)
class Advice:
    """Advice from recorded scores.

    ``best``: the best of the group sizes asked for, None where nothing can be said; ``optimum``: G* over all, with its
    interval (its upper end is infinite where no spread between prompts can be distinguished from zero). ``regret``: the
    most that the best may cost, as a multiple of another of these sizes, at the level asked for. ``sentences``: the
    same in words.
    """

    best: int | None
    optimum: Interval
    curve: tuple[Point, ...]
    splits: tuple[Split, ...]
    on_policy: bool
    prompts: int
    rollouts: int
    regret: float
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def sheet(self) -> Sheet:
        """Return the curve as a table: what every group size costs for equal variance."""
        rows = []
        for point in self.curve if self.best is not None else ():
            cost, informative = point.cost, point.informative
            share = f"{100 * informative:.0f} %" if informative == informative else "-"
            ends = (
                f"{cost.value:.2f} [{cost.low:.2f}, {cost.high:.2f}]"
                if cost.known
                else f"{short_text(cost.value)} ±?"
            )
            smallest = point.group_size == self.best
            rows.append((f"{'*' * smallest}{point.group_size}", "1" if smallest else ends, share))
        names = ("G", "cost of equal variance", "informative groups")
        note = ("* the smallest estimate",) * bool(rows)
        return Sheet(tuple(map(Column, names)), tuple(rows), notes=note)

    def as_json(self) -> dict[str, Any]:
        """Return the findings and figures as plain values, for a file."""
        figures = asdict(self)
        for split in figures["splits"]:
            split["sizes"] = split["sizes"].tolist()
        return {"kind": "advice", "findings": list(figures.pop("sentences")), **figures}


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
    answer = optimum(budgets, fixed, level, compared.effective(best or sizes[0]))
    splits = split_rollouts(summary, best, level) if best else ()
    regret = _regret(curve, best)
    return Advice(
        best=best,
        optimum=answer,
        curve=curve,
        splits=splits,
        on_policy=summary.on_policy,
        prompts=len(summary.p),
        rollouts=summary.rewards.shape[1],
        regret=float(np.maximum(1.0, regret)),  # NaN where it is not known
        sentences=tuple(_sentences(summary, budgets[0], curve, (best, answer, regret), splits, costs, level)),
    )


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
        """The effective number of prompts behind a comparison of sizes.

        Large groups are weighed by the spread between prompts, of which a prompt with one success says nothing: all
        such prompts give the same quotient of two sizes' variances, whatever the truth is.
        """
        signal, scale = np.abs(self.summary.signal), np.abs(self.summary.second_moments(2))
        carried = float(effective_number(np.where(signal > _ROUNDING * scale, signal, 0.0)))
        return min(carried, *(self.effective(size) for size in sizes))

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


def _sentences(
    summary: Summary,
    total: Budget,
    curve: Sequence[Point],
    answer: tuple[int | None, Interval, float],
    splits: Sequence[Split],
    costs: Costs,
    level: float,
) -> list[str]:
    best, over_all, regret = answer
    by_size = {p.group_size: p for p in curve}
    if best is None:
        return [_nothing(summary, curve)]
    sentences = [f"{_choice(curve, best)}; {_optimum_words(over_all, summary)}."]
    if caution := too_few(over_all.effective):
        sentences.append(f"There are {caution}: which size is best cannot be told from these prompts.")
    elif caution := warning(over_all.effective):
        sentences.append(f"Of these intervals: {caution}.")
    for size in (min(by_size), max(by_size)):
        cost = by_size[size].cost
        if size != best and np.isfinite(cost.value):
            enough = prompts_for_ratio(cost, len(summary.p), level_of_pairs(level, len(curve)))
            needed = prompts_words(enough)
            sentences.append(
                f"With these prompts G={best} needs {cost.value:.2f}x less than G={size} for the same "
                f"variance ({_in_words(cost, len(curve))}){'; ' * bool(needed)}{needed}."
            )
    if np.isfinite(regret):
        sentences.append(
            f"At worst G={best} costs {regret:.2f} times as much as another of these sizes would."
            if regret > 1
            else f"No other of these sizes is as good as G={best}, at 95 % for all of them at once."
        )
    sentences += _informative(by_size[best], total, costs)
    sentences += [split_words(split) for split in splits]
    if not summary.on_policy:
        sentences.append(
            "The rollouts are off policy; the law assumes they are not, so check with bank.evaluate."
        )
    return sentences


def _choice(curve: Sequence[Point], best: int) -> str:
    """The best size where it is the best of those asked for at 95 % for all pairs at once, or those it may be."""
    alike = [p.group_size for p in curve if p.group_size != best and not p.cost.low > 1]
    if not alike:
        return f"Best of the group sizes asked for: G={best}"
    others = ", ".join(f"G={size}" for size in alike)
    return (
        f"Of the group sizes asked for G={best} has the lowest estimate; whether it is the best cannot be told "
        f"({others} may cost no more)"
    )


def _nothing(summary: Summary, curve: Sequence[Point]) -> str:
    """Why there is no advice."""
    if (summary.rewards == summary.rewards[:, :1]).all():
        return (
            "Every prompt's rewards are all equal: no group has a gradient, so nothing can be said about group sizes. "
            "Record prompts that the policy solves sometimes, or more rollouts of each."
        )
    sizes = ", ".join(str(p.group_size) for p in curve if not p.variance.value > 0)
    return (
        f"The variance at G={sizes} is estimated as zero or less, so group sizes cannot be compared: too few prompts "
        "have different rewards. Record more."
    )


def _optimum_words(over_all: Interval, summary: Summary) -> str:
    if over_all.reason:
        return f"the optimum over all is not known, {over_all.reason}"
    if np.isinf(over_all.high) and not over_all.value <= summary.rewards.shape[1]:
        return f"of the optimum over all, {BEYOND}" + (
            f"; at least {over_all.low:.1f}" if over_all.low > 2 else ""
        )
    upper = "no upper end" if np.isinf(over_all.high) else f"{over_all.high:.1f}"
    below = "" if over_all.value >= 2 else ", below the smallest group"
    return (
        f"the optimum over all is {over_all.value:.1f} (95 % interval {over_all.low:.1f} to {upper}){below}"
    )


def _informative(best: Point, total: Budget, costs: Costs) -> list[str]:
    share = best.informative
    if not share > 0 or share == 1:
        return []
    saved = (costs.per_rollout + share * costs.per_update) / costs.updated_rollout
    gain = redrawing_gain(float(total.signal) / best.variance.value, share)
    buys = f"{gain:.3g}" if np.isfinite(gain) else "many"
    return [
        f"{100 * share:.0f} % of groups of {best.group_size} have different rewards. Dropping the others changes no "
        f"mean-centred gradient but its scale, and saves their update: cost times {saved:.2f}. Drawing "
        f"new prompts until the batch is full costs {1 / share:.2f} times the rollouts per kept group and "
        f"buys {buys} times the signal per rollout: 1 / (1 - snr (1 - u) / u), with u this share and snr that of one "
        "group, which is 1 where the signal is small."
    ]


def split_words(split: Split) -> str:
    """A split's gain; one that raises the variance is said to raise it."""
    start = (
        f"Splitting the rollouts unevenly over the prompts ({split.rule}: {split.sizes.min()} to "
        f"{split.sizes.max()} each)"
    )
    gain = split.gain
    if not np.isfinite(gain.value):
        return f"{start}: its effect cannot be told, {gain.reason}."
    if gain.value < 1:
        high = 1 / gain.low if gain.low > 0 or not gain.known else np.inf
        inverse = replace(gain, value=1 / gain.value, low=1 / gain.high, high=high)
        return f"{start} multiplies the within-prompt variance by {inverse.value:.2f} ({_in_words(inverse)})."
    return f"{start} divides the within-prompt variance by {gain.value:.2f} ({_in_words(gain)})."


def _in_words(interval: Interval, sizes: int = 2) -> str:
    if not interval.known:
        return interval.words()
    verb = "excludes" if interval.excludes(1) else "includes"
    together = " for all pairs of sizes at once" if sizes > 2 else ""
    high = f"{interval.high:.2f}" if np.isfinite(interval.high) else "no upper end"
    return f"95 % interval {interval.low:.2f} to {high}{together}; it {verb} 1"
