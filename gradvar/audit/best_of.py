"""pass@k and max@k of recorded rollouts: unbiased, from the counts of each group.

With n rollouts of a prompt, c of them successes, pass@k = 1 - C(n-c, k) / C(n, k) (arXiv 2107.03374, equation 1); the
mean of the largest of k rewards is the same average over all subsets of k. Both are U-statistics.
"""

from dataclasses import dataclass

import numpy as np

from gradvar.audit.reward_counts import Cells
from gradvar.audit.schemes import Rewards
from gradvar.audit.statistics import Success, successes
from gradvar.stats.clusters import Clusters
from gradvar.stats.groups import chance_all
from gradvar.stats.intervals import Interval, student_half_width

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class BestOf:
    """The best of ``k`` rollouts: the chance that one succeeds, and the mean of the largest reward, over groups."""

    k: int
    passing: Interval
    largest: Interval


def best_of(cells: Cells, rule: Success) -> tuple[BestOf, ...]:
    """The curve up to the size that more than half of the groups have, with intervals clustered by prompt."""
    groups, rewards = cells.groups, cells.rewards
    clusters, kinds = groups.by_prompt, rewards.kinds
    won = successes(cells, rule)
    usual = int(np.median(groups.size))
    points = []
    for k in sorted({k for k in (*SIZES, usual) if k <= usual}):
        enough = (groups.size >= k).astype(float)  # [group]
        failing = np.nan_to_num(chance_all(groups.size - won, groups.size, k))
        passing = clusters.share((1 - failing) * enough, enough)
        largest = _largest(kinds.rewards, k)[kinds.group] if kinds else _largest(rewards, k)
        points.append(BestOf(k, passing, _mean(clusters, np.nan_to_num(largest) * enough, enough)))
    return tuple(points)


def _largest(rewards: Rewards, k: int) -> np.ndarray:
    """The mean of the largest of ``k`` rewards of a group: [group]."""
    before = np.cumsum(rewards.n) - rewards.n
    below = (
        before - before[rewards.start][rewards.of_cell]
    )  # rollouts of the group with a smaller reward, [cell]
    size = rewards.size[rewards.of_cell]
    # That this reward is the largest.
    chance = chance_all(below + rewards.n, size, k) - chance_all(below, size, k)
    return np.asarray(np.add.reduceat(chance * rewards.reward, rewards.start))


def _mean(clusters: Clusters, y: np.ndarray, x: np.ndarray) -> Interval:
    """A mean over groups by the linearised variance of a ratio, with Student's interval."""
    _, value, variance, count, effective = (float(column[0]) for column in clusters.ratio(y, x))
    se = variance**0.5
    if count < 3:
        return Interval(value, np.nan, np.nan, se, count - 1, effective, "fewer than three prompts")
    if se == 0:
        return Interval(value, np.nan, np.nan, se, count - 1, effective, "every prompt gives the same number")
    half = float(student_half_width(se, count - 1))
    return Interval(value, value - half, value + half, se, count - 1, effective)
