"""The findings of ``advise``, in sentences that keep to its intervals."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gradvar.measure.advise.advice import Advice, Point
from gradvar.measure.advise.allocation import Split
from gradvar.measure.advise.costs import Costs, level_of_pairs
from gradvar.measure.advise.optimum import BEYOND
from gradvar.measure.bank.summary import Budget, Summary
from gradvar.stats.effective import too_few, warning
from gradvar.stats.groups import redrawing_gain
from gradvar.stats.intervals import Interval
from gradvar.stats.power import prompts_for_ratio, prompts_words

_MET = 0.5  # of what large gradients of a prompt must have met, below which it is said


def findings(advice: Advice, summary: Summary, total: Budget, costs: Costs, level: float) -> list[str]:
    """Return the sentences on an advice.

    Args:
        advice: What was found, without sentences.
        summary: What it was made of.
        total: The variance of leave-one-out over all prompts.
        costs: Of prompts and rollouts.
        level: Share of intervals that shall hold the true value.
    """
    best, over_all, regret, curve = advice.best, advice.optimum, advice.regret, advice.curve
    by_size = {p.group_size: p for p in curve}
    if best is None:
        return [_nothing(summary, curve)]
    sentences = [f"{_choice(curve, best)}; {_optimum_words(over_all, summary)}."]
    if (met := summary.met()) < _MET:
        sentences.append(
            "Large gradients have hardly met another large one of their prompt (their products reach "
            f"{met:.2g} of what they must in the long run), so the spread between prompts, which decides the best "
            "size, is not known: record more rollouts of each prompt."
        )
    if caution := too_few(over_all.effective):
        begin = f"There are {caution}" if caution[0].isdigit() else caution.capitalize()
        sentences.append(f"{begin}: which size is best cannot be told from these prompts.")
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
    sentences += [split_words(split) for split in advice.splits]
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
