"""``advise``: the best group size, the best split of the rollouts, and the worth of dropping equal groups.

For leave-one-out with one prompt and G rollouts the variance is V(G) = sigma_b^2 + sigma_o^2 / G + Delta / (G (G - 1)),
and a prompt costs c(G) = cost_per_prompt + G cost_per_rollout, so a budget buys variance V(G) c(G) / budget: the best G
minimises V(G) c(G). With cost_per_prompt = 0 that is G* = 1 + sqrt(Delta / sigma_b^2) (2603.01162, Theorem 7, with the
between-prompt term written out). Everything is estimated from the same rollouts, so comparisons between group sizes are
paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from jaxtyping import Float

from gradvar.measure.advise.allocation import Split, split_rollouts
from gradvar.measure.advise.costs import GROUP_SIZES, Costs, check_group_sizes
from gradvar.measure.advise.from_rewards import RewardAdvice, advise_from_rewards
from gradvar.measure.bank.summary import Budget, Summary
from gradvar.stats.figures import jackknife_error, jackknife_interval
from gradvar.stats.intervals import Interval, student_half_width

if TYPE_CHECKING:
    from gradvar.measure.bank.bank import ScoreBank

_GRID = np.exp(np.linspace(np.log(2.0), np.log(4096.0), 2000))


@dataclass(frozen=True)
class Point:
    """One group size.

    ``cost``: of reaching the variance that the best group size reaches at cost 1, with its interval; ``per_rollout``,
    ``per_token``, ``per_cost``: signal / (tr Cov times that many of them), what one of them buys; ``informative``: the
    share of groups with different rewards.
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

    ``best``: the best of the group sizes asked for; ``optimum``: G* over all, with its interval (its upper end is
    infinite where no spread between prompts can be distinguished from zero). ``sentences``: the same in words.
    """

    best: int
    optimum: Interval
    curve: tuple[Point, ...]
    splits: tuple[Split, ...]
    on_policy: bool
    prompts: int
    rollouts: int
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.sentences)

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
    total = budgets[0]
    best = min(sizes, key=lambda g: float(total.variance(g)) * costs.group(g))
    curve = tuple(_point(summary, budgets, costs, (g, best), level) for g in sizes)
    optimum = _optimum(budgets, costs.per_prompt / costs.updated_rollout, level)
    splits = split_rollouts(summary, best, level)
    return Advice(
        best=best,
        optimum=optimum,
        curve=curve,
        splits=splits,
        on_policy=summary.on_policy,
        prompts=len(summary.p),
        rollouts=summary.rewards.shape[1],
        sentences=tuple(_sentences(summary, curve, (best, optimum), splits, costs)),
    )


def _point(
    summary: Summary, budgets: tuple[Budget, Budget], costs: Costs, sizes: tuple[int, int], level: float
) -> Point:
    """The figures of ``sizes[0]``, compared with those of the best size, ``sizes[1]``."""
    total, without = budgets  # over all prompts, and with each prompt left out
    size, best = sizes

    def cost(budget: Budget, g: int) -> np.ndarray:
        return budget.variance(g) * costs.group(g)

    value, parts = float(total.variance(size)), without.variance(size)
    relative = Interval(1.0, 1.0, 1.0, 0.0, len(parts) - 1)
    if size != best:
        ratio = float(cost(total, size) / cost(total, best))
        with np.errstate(all="ignore"):
            logs = np.log(cost(without, size) / cost(without, best))
        relative = jackknife_interval(ratio, logs, level, np.exp)
    signal, tokens = float(total.signal), float(summary.length.mean())
    is_recorded = size <= summary.rewards.shape[1]
    return Point(
        group_size=size,
        variance=jackknife_interval(value, parts, level),
        cost=relative,
        per_rollout=signal / (value * size),
        per_token=signal / (value * size * tokens),
        per_cost=signal / float(cost(total, size)),
        informative=float(summary.informative(size).mean()) if is_recorded else np.nan,
    )


def _optimum(budgets: tuple[Budget, Budget], fixed: float, level: float) -> Interval:
    """G* on a fine grid, for a prompt that costs ``fixed`` rollouts.

    Its interval is from the jackknife of log(G* - 1), open above where it runs off the grid.
    """

    def best_size(budget: Budget) -> np.ndarray:
        columns = Budget(*(np.asarray(x, float)[..., None] for x in vars(budget).values()))
        return _GRID[(columns.variance(_GRID) * (fixed + _GRID)).argmin(-1)]  # of [..., grid]

    total, without = budgets
    value, parts = float(best_size(total)), best_size(without)
    dof = len(parts) - 1
    error = float(jackknife_error(np.log(parts - 1)))
    half = float(student_half_width(error, dof, level))
    low, high = 1 + (value - 1) * np.exp(-half), 1 + (value - 1) * np.exp(half)
    # Where sigma_b^2 itself cannot be distinguished from zero there is no upper end.
    between = jackknife_interval(float(total.between), np.asarray(without.between), level)
    if between.low <= 0 or value >= _GRID[-1]:
        high = np.inf
    return Interval(value, max(2.0, float(low)), float(high), (value - 1) * error, dof)


def _sentences(
    summary: Summary,
    curve: Sequence[Point],
    answer: tuple[int, Interval],
    splits: Sequence[Split],
    costs: Costs,
) -> list[str]:
    best, optimum = answer
    by_size = {p.group_size: p for p in curve}
    upper = "no upper end" if np.isinf(optimum.high) else f"{optimum.high:.1f}"
    sentences = [
        f"Best of the group sizes asked for: G={best}; the optimum over all is {optimum.value:.1f} "
        f"(95 % interval {optimum.low:.1f} to {upper})."
    ]
    for size in (min(by_size), max(by_size)):
        if size != best:
            cost = by_size[size].cost
            sentences.append(
                f"With these prompts G={best} needs {cost.value:.2f}x less than G={size} for the same "
                f"variance ({_in_words(cost)})."
            )
    share = by_size[best].informative
    if np.isfinite(share) and share > 0:
        saved = (costs.per_rollout + share * costs.per_update) / costs.updated_rollout
        sentences.append(
            f"{100 * share:.0f} % of groups of {best} have different rewards. Dropping the others changes no "
            f"mean-centred gradient but its scale, and saves their update: cost times {saved:.2f}. Drawing "
            f"new prompts until the batch is full costs {1 / share:.2f} times the rollouts per kept group and "
            "buys no more signal per rollout."
        )
    for split in splits:
        sentences.append(
            f"Splitting the rollouts unevenly over the prompts ({split.rule}: {split.sizes.min()} to "
            f"{split.sizes.max()} each) divides the within-prompt variance by {split.gain.value:.2f} "
            f"({_in_words(split.gain)})."
        )
    if not summary.on_policy:
        sentences.append(
            "The rollouts are off policy; the law assumes they are not, so check with bank.evaluate."
        )
    return sentences


def _in_words(interval: Interval) -> str:
    verb = "excludes" if interval.excludes(1) else "includes"
    return f"95 % interval {interval.low:.2f} to {interval.high:.2f}; it {verb} 1"
