"""What follows from the figures, in sentences, each with its interval."""

import numpy as np

from gradvar.audit.estimators import RATES, EstimatorFigures
from gradvar.audit.group_sizes import Size
from gradvar.audit.reward_counts import Cells
from gradvar.audit.statistics import Prompts, Step
from gradvar.stats.clusters import Clusters
from gradvar.stats.intervals import Interval


def advice(
    cells: Cells, overall: Step, prompts: Prompts, sizes: tuple[Size, ...], used: EstimatorFigures
) -> tuple[str, ...]:
    """Return sentences, the most useful first.

    Args:
        cells: Rollouts, added up.
        overall: The figures of all steps together.
        prompts: How many prompts have a signal.
        sizes: The figures of other group sizes.
        used: The figures of the estimator in use.
    """
    return tuple(
        [
            *_equal(overall),
            *_prompts(prompts),
            *_trend(cells),
            *_lengths(cells),
            *_weights(overall, used),
            *_sizes(overall, sizes),
        ]
    )


def _equal(overall: Step) -> list[str]:
    equal, (times, low, high) = overall.equal, overall.refill
    if overall.group_size < 2:
        return [
            "Groups have one rollout: nothing here says which prompts have a signal; sample several per prompt."
        ]
    text = (
        f"{equal.percent()} of groups have equal rewards and nothing to compare: "
        f"{100 * overall.solved.value:.1f} % solved, {100 * overall.hopeless.value:.1f} % without a success; "
        f"{100 * overall.lost.value:.1f} % of the rollouts"
    )
    if overall.lost_tokens is not None:
        text += f" and {100 * overall.lost_tokens:.1f} % of the tokens"
    text += " are spent on them."
    if np.isfinite(times):
        end = f"{high:.2f}" if np.isfinite(high) else "no bound"
        text += f" Sampling until a batch is full of others costs {times:.2f} times the rollouts ({low:.2f} to {end})."
    return [text]


def _prompts(prompts: Prompts) -> list[str]:
    n, bound = prompts.rollouts, 100 * prompts.never_bound
    if n < 2:
        return []
    sentences = [
        f"Of {prompts.count} prompts, {prompts.mixed.percent()} have successes and failures and teach; "
        f"{prompts.always.percent()} were always solved, {prompts.never.percent()} never. "
        f"With {n} rollouts a prompt that was never solved may still be solved up to {bound:.0f} % of the time."
    ]
    again = prompts.recovered
    if again.value > 0.2:
        sentences.append(
            f"{again.percent()} of the equal groups belong to prompts with successes and failures elsewhere in the "
            "dump: bad luck, not hopeless or trivial prompts; larger groups, or another visit, would find their signal."
        )
    elif prompts.always.value > 0.1 or prompts.never.value > 0.1:
        sentences.append(
            "Leaving out prompts that are always or never solved would save their rollouts; --prompts FILE lists them."
        )
    return sentences


def _trend(cells: Cells) -> list[str]:
    """The share of equal groups in the first and the last quarter of the steps, where they clearly differ."""
    groups = cells.groups
    names = np.unique(groups.step)
    if len(names) < 8:
        return []
    quarter = len(names) // 4
    early, late = groups.step <= names[quarter - 1], groups.step >= names[-quarter]

    def equal(which: np.ndarray) -> Interval:
        return Clusters(groups.prompt[which]).share(groups.equal[which].astype(float))

    first, last = equal(early), equal(late)
    if first.high >= last.low and last.high >= first.low:
        return []
    direction = "rises" if last.value > first.value else "falls"
    return [
        f"The share of equal groups {direction} from {first.percent()} in the first quarter of the steps to "
        f"{last.percent()} in the last."
    ]


def _lengths(cells: Cells) -> list[str]:
    """The mean length in the first and the last quarter of the steps, where it goes far; a question."""
    groups = cells.groups
    names = np.unique(groups.step)
    if len(names) < 4 or not cells.length_n.any():
        return []
    quarter = len(names) // 4
    means = []
    for chosen in (cells.step <= names[quarter - 1], cells.step >= names[-quarter]):
        count = cells.length_n[chosen].sum()
        means.append(np.nansum(cells.length[chosen]) / count if count else np.nan)
    first, last = means
    if not first > 0 or 0.67 < last / first < 1.5:
        return []
    return [
        f"The mean length goes from {first:.0f} to {last:.0f} between the first and the last quarter of the steps: is "
        "length what is learnt?"
    ]


def _weights(overall: Step, used: EstimatorFigures) -> list[str]:
    if used.weights is None:
        return []
    rare, even = used.weights[RATES.index(0.05)], used.weights[RATES.index(0.5)]
    often = used.weights[RATES.index(0.95)]
    if not even > 0:  # rewards so close that the estimator makes nothing of their gap
        return []
    if max(abs(rare / even - 1), abs(often / even - 1)) < 0.005:
        return [f"{used.name} weighs prompts of every success rate alike."]
    return [
        f"{used.name} in groups of {overall.group_size} puts {rare / even:.2f} times the weight on a prompt solved 5 % "
        f"of the time that it puts on one solved half of the time, and {often / even:.2f} times on one solved 95 %."
    ]


def _sizes(overall: Step, sizes: tuple[Size, ...]) -> list[str]:
    known = [s for s in sizes if np.isfinite(s.informative.value) and s.group_size < overall.group_size]
    if not known:
        return []
    half = min(known, key=lambda s: abs(s.group_size - overall.group_size / 2))
    return [
        f"In groups of {half.group_size}, {half.informative.percent()} would have different rewards on these prompts, "
        f"against {100 * (1 - overall.equal.value):.1f} % in groups of {overall.group_size}."
    ]
