"""Statistics over paired seeds, with percentile bootstraps: what one arm retains of another.

After R. Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", arXiv 2108.13264:
interquartile means, probability of improvement and performance profiles, with percentile bootstraps over runs. Run i of
both arms shares its prompts and initial weights, so a resample takes the same runs of both.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from gradvar.stats.intervals import Interval, wilson

RESAMPLES = 10_000
SeedScores = Float[np.ndarray, " seed"]


def interquartile_mean(scores: Float[np.ndarray, "*batch seed"]) -> Float[np.ndarray, "*batch"]:
    """The mean of the middle half: a quarter of the runs, rounded down, is left out at each end."""
    return np.asarray(stats.trim_mean(scores, 0.25, axis=-1))


def improvement(
    first: Float[np.ndarray, "*batch seed"], second: Float[np.ndarray, "*batch seed"]
) -> Float[np.ndarray, "*batch"]:
    """The share of all pairs of runs in which the first arm's scores higher, ties counting half (Mann-Whitney)."""
    difference = first[..., :, None] - second[..., None, :]
    return np.mean((difference > 0) + 0.5 * (difference == 0), axis=(-2, -1))


def ratio_of_means(
    first: Float[np.ndarray, "*batch seed"], second: Float[np.ndarray, "*batch seed"]
) -> Float[np.ndarray, "*batch"]:
    """The quotient of the means; NaN where the second is not above zero, for then nothing is retained of it."""
    denominator = second.mean(-1)
    positive = denominator > 0
    return np.where(positive, first.mean(-1) / np.where(positive, denominator, 1.0), np.nan)


def bootstrap(
    statistic: Callable[..., np.ndarray], *scores: SeedScores, seed: int = 0, level: float = 0.95
) -> Interval:
    """The statistic with a percentile interval over runs; all arrays are resampled with the same indices.

    The interval is NaN for fewer than two runs, and where more than half a tail's share of the resamples has no
    value: a ratio whose denominator may be zero has no interval. It is NaN, too, where all runs give the same number.
    """
    runs = len(scores[0])
    if any(len(x) != runs for x in scores):
        raise ValueError(f"scores: {[len(x) for x in scores]} runs; give the same number, paired by seed")
    value = float(statistic(*(np.asarray(x, np.float64) for x in scores)))
    if runs < 2:
        return Interval(value, np.nan, np.nan)
    resamples = np.random.default_rng(seed).integers(0, runs, (RESAMPLES, runs))
    values = statistic(*(np.asarray(x, np.float64)[resamples] for x in scores))  # [resample]
    tail = (1 - level) / 2
    if np.isnan(values).mean() > tail / 2:
        return Interval(value, np.nan, np.nan)
    low, high = np.nanquantile(values, [tail, 1 - tail])
    interval = Interval(value, float(low), float(high))
    is_itself = len(scores) > 1 and all(np.array_equal(x, scores[0]) for x in scores)
    if low == high and not is_itself:  # an arm against itself is known by algebra, other runs are not
        return interval.without("every run gives the same number")
    return interval


def profile(
    scores: SeedScores, thresholds: Float[np.ndarray, " threshold"]
) -> Float[np.ndarray, " threshold"]:
    """The performance profile: the share of runs that score above each threshold."""
    return np.mean(np.asarray(scores)[:, None] > thresholds, axis=0)


@dataclass(frozen=True)
class PairedComparison:
    """An arm against a reference arm, over paired seeds.

    ``final`` and ``gain``: the quotients of mean final rewards, and of mean gains over the warm start.
    ``difference``: of final rewards, arm less reference. ``improvement``: the chance that a run of the arm scores
    higher than one of the reference.
    """

    final: Interval
    gain: Interval
    difference: Interval
    improvement: Interval


def compare(
    start: SeedScores, final: SeedScores, reference_start: SeedScores, reference_final: SeedScores
) -> PairedComparison:
    """Compare an arm's runs with the reference's, run by run.

    Args:
        start: The arm's rewards at the warm start, one for each seed.
        final: The arm's final rewards.
        reference_start: The reference's rewards at the warm start, for the same seeds.
        reference_final: The reference's final rewards.
    """
    return PairedComparison(
        final=bootstrap(ratio_of_means, final, reference_final),
        gain=bootstrap(ratio_of_means, final - start, reference_final - reference_start),
        difference=bootstrap(lambda x, y: (x - y).mean(-1), final, reference_final),
        improvement=_chance(final, reference_final),
    )


def _chance(final: SeedScores, reference: SeedScores) -> Interval:
    """The probability of improvement; Wilson's interval over runs where every pair of runs goes the same way."""
    chance = bootstrap(improvement, final, reference)
    if chance.known or chance.value not in (0.0, 1.0):
        return chance
    low, high = wilson(np.array(chance.value), float(len(final)))
    return Interval(chance.value, float(low), float(high))
