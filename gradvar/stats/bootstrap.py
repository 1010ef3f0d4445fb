"""Statistics over paired seeds: what one arm retains of another.

What is retained has Student's intervals over warm starts, or over the seeds of one (``stats.starts``); the rest is
after R. Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", arXiv 2108.13264:
interquartile means, probability of improvement and performance profiles, with percentile bootstraps over runs. Run i of
both arms shares its prompts and initial weights, so a resample takes the same runs of both.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from gradvar.stats.intervals import Interval, is_rounding, wilson
from gradvar.stats.starts import by_start, mean_of, p_value, ratio_of

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
    nothing = Interval(value, np.nan, np.nan)
    if runs < 2:
        return nothing.without("one run has no spread")
    resamples = np.random.default_rng(seed).integers(0, runs, (RESAMPLES, runs))
    values = statistic(*(np.asarray(x, np.float64)[resamples] for x in scores))  # [resample]
    tail = (1 - level) / 2
    if np.isnan(values).mean() > tail / 2:
        return nothing.without("too many resamples have no value")
    low, high = np.nanquantile(values, [tail, 1 - tail])
    interval = Interval(value, float(low), float(high))
    is_itself = len(scores) > 1 and all(np.array_equal(x, scores[0]) for x in scores)
    # an arm against itself is known by algebra, other runs are not
    if is_rounding(high - low, value) and not is_itself:
        return interval.without("every run gives the same number")
    return interval


def profile(
    scores: SeedScores, thresholds: Float[np.ndarray, " threshold"]
) -> Float[np.ndarray, " threshold"]:
    """The performance profile: the share of runs that score above each threshold."""
    return np.mean(np.asarray(scores)[:, None] > thresholds, axis=0)


@dataclass(frozen=True)
class PairedComparison:
    """An arm against a reference arm, over paired seeds of one warm start, or over several warm starts.

    ``gain`` and ``final``: the quotients of mean gains over the warm start, and of mean final rewards. ``difference``:
    of final rewards, arm less reference, and ``p_value`` that it is zero. ``improvement``: the chance that a run of the
    arm scores higher than one of the reference, from the same warm start.
    """

    final: Interval
    gain: Interval
    difference: Interval
    improvement: Interval
    p_value: float


def compare(
    start: SeedScores,
    final: SeedScores,
    reference_start: SeedScores,
    reference_final: SeedScores,
    starts: Int[np.ndarray, " seed"] | None = None,
) -> PairedComparison:
    """Compare an arm's runs with the reference's, run by run; of several warm starts each is one unit.

    Args:
        start: The arm's rewards at the warm start, one for each seed.
        final: The arm's final rewards.
        reference_start: The reference's rewards at the warm start, for the same seeds.
        reference_final: The reference's final rewards.
        starts: The number of each seed's warm start.
    """
    a, b = by_start(final, starts), by_start(reference_final, starts)
    gains = by_start(final - start, starts), by_start(reference_final - reference_start, starts)
    is_itself, scale = np.array_equal(final, reference_final), float(np.abs([a, b]).max())
    return PairedComparison(
        final=ratio_of(a, b, what="reference's reward"),
        gain=ratio_of(*gains, what="reference's gain"),
        difference=mean_of(a - b, by_identity=is_itself, scale=scale),
        improvement=_chance(final, reference_final, starts),
        p_value=p_value(a - b, scale),
    )


def _chance(
    final: SeedScores, reference: SeedScores, starts: Int[np.ndarray, " seed"] | None = None
) -> Interval:
    """The probability of improvement; Wilson's interval over units where every pair of runs goes the same way."""
    if not np.isfinite([final, reference]).all():
        return Interval(np.nan, np.nan, np.nan).without("a run has no number")
    numbers = np.unique(starts) if starts is not None else np.zeros(1)
    if len(numbers) > 1:
        units = np.array([float(improvement(final[starts == s], reference[starts == s])) for s in numbers])
        chance, size = mean_of(units), len(units)
        chance = replace(chance, low=float(np.clip(chance.low, 0, 1)), high=float(np.clip(chance.high, 0, 1)))
    else:
        chance, size = bootstrap(improvement, final, reference), len(final)
    if chance.known or chance.value not in (0.0, 1.0):
        return chance
    low, high = wilson(np.array(chance.value), float(size))
    return Interval(chance.value, float(low), float(high))
