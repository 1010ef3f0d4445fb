"""What the estimator in use, and others, make of the recorded rewards: weights, largest advantages, agreement."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradvar.audit.reward_counts import Cells
from gradvar.audit.schemes import COMPARED, Rewards, prompt_weights, scheme
from gradvar.audit.statistics import Success

RATES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
_QUANTILES = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True)
class EstimatorFigures:
    """One estimator on these rewards: ``weights`` at the success rates ``RATES`` for groups of the usual size (None
    where rewards have more than two levels); ``largest`` advantage in absolute value; ``agreement``, the cosine of its
    advantages with those of the estimator in use, over all rollouts."""

    name: str
    weights: tuple[float, ...] | None
    largest: float
    agreement: float


@dataclass(frozen=True)
class Outlier:
    """A reward of a group with a large advantage, and how many rollouts of the group have it."""

    step: int
    prompt: str
    group_size: int
    reward: float
    advantage: float
    rollouts: int


@dataclass(frozen=True)
class Advantages:
    """Absolute advantages of the estimator in use over all rollouts: ``quantiles`` at 50, 90, 99 and 99.9 %, the
    ``beyond_three`` share above 3, and the largest ones."""

    estimator: str
    quantiles: tuple[float, ...]
    largest: float
    beyond_three: float
    outliers: tuple[Outlier, ...]


def compare(
    cells: Cells, rewards: Rewards, rule: Success, used: str, group_size: int
) -> tuple[EstimatorFigures, ...]:
    """Return the figures of the estimator in use, then those of the others.

    Args:
        cells: Rollouts, added up.
        rewards: The same, as groups of rewards.
        rule: Which rewards are successes.
        used: The name of the estimator in use.
        group_size: The most frequent size of a group, for which prompt weights are computed.
    """
    values_in_use = scheme(used)(rewards)
    figures = []
    for name in dict.fromkeys((used, *COMPARED)):
        value = scheme(name)(rewards)
        length = np.sqrt((cells.n * value**2).sum() * (cells.n * values_in_use**2).sum())
        cosine = float((cells.n * value * values_in_use).sum() / length) if length > 0 else np.nan
        weights = None
        if rule.binary and group_size > 1:
            at_rates = prompt_weights(name, group_size, np.array(RATES), *rule.levels)
            weights = tuple(float(w) for w in at_rates)
        figures.append(EstimatorFigures(name, weights, float(np.abs(value).max()), cosine))
    return tuple(figures)


def advantages(
    cells: Cells, values: np.ndarray, used: str, labels: Sequence[str], shown: int = 5
) -> Advantages:
    """Return how large advantages get, and where.

    Args:
        cells: Rollouts, added up.
        values: The advantage of each cell.
        used: The name of the estimator in use.
        labels: The text of each prompt.
        shown: How many of the largest advantages to list.
    """
    size = np.abs(values)
    order = np.argsort(size, kind="stable")
    below = np.cumsum(cells.n[order])
    places = np.searchsorted(below, np.array(_QUANTILES) * below[-1])
    top = order[::-1][:shown]
    groups = cells.groups
    outliers = tuple(
        Outlier(
            int(cells.step[i]),
            labels[cells.prompt[i]],
            int(groups.size[groups.of_cell[i]]),
            float(cells.reward[i]),
            float(values[i]),
            int(cells.n[i]),
        )
        for i in top
        if size[i] > 0
    )
    return Advantages(
        used,
        tuple(float(size[order[i]]) for i in places),
        float(size.max()),
        float((cells.n * (size > 3)).sum() / cells.n.sum()),
        outliers,
    )
