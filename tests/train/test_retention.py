"""Statistics over seeds, against hand values, enumeration and SciPy."""

import itertools
import math

import jax
import numpy as np
import pytest
from scipy import stats

from gradvar.stats.bootstrap import (
    bootstrap,
    compare,
    improvement,
    interquartile_mean,
    profile,
    ratio_of_means,
)
from gradvar.train.evaluate import pass_at_k, pass_sizes


def test_pass_at_k_is_the_share_of_subsets_with_a_success():
    cases = [(samples, k) for samples in (1, 4, 6) for k in range(1, samples + 1)]
    chances = jax.jit(lambda: [pass_at_k(np.arange(samples + 1), samples, k) for samples, k in cases])()
    for (samples, k), chance in zip(cases, chances, strict=True):
        shares = []
        for correct in range(samples + 1):
            outcomes = [1] * correct + [0] * (samples - correct)
            shares.append(np.mean([any(subset) for subset in itertools.combinations(outcomes, k)]))
        assert np.asarray(chance) == pytest.approx(np.array(shares))


def test_pass_at_k_is_unbiased_where_the_plain_estimate_is_not():
    samples, k, p = 6, 3, 0.3
    law = stats.binom(samples, p).pmf(np.arange(samples + 1))
    mean = float(law @ np.asarray(pass_at_k(np.arange(samples + 1), samples, k)))
    assert mean == pytest.approx(1 - (1 - p) ** k)
    plain = float(law @ (1 - (1 - np.arange(samples + 1) / samples) ** k))
    assert abs(plain - mean) > 0.01  # the planted violator
    assert pass_sizes(16) == (1, 2, 4, 8, 16)
    assert pass_sizes(6) == (1, 2, 4)
    with pytest.raises(ValueError, match="k: 7 with 6 samples"):
        pass_at_k(np.asarray(1), 6, 7)


def test_the_middle_half():
    scores = np.array([100.0, 1, 2, 3, 4, 5, 6, -100])
    assert interquartile_mean(scores) == pytest.approx(3.5)
    assert interquartile_mean(np.stack([scores, scores + 1])).tolist() == pytest.approx([3.5, 4.5])


def test_the_probability_of_improvement_is_mann_whitneys():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, 9).astype(float), rng.integers(0, 5, 9).astype(float)
    u = stats.mannwhitneyu(first, second).statistic
    assert improvement(first, second) == pytest.approx(u / 81)
    assert improvement(first, first) == pytest.approx(0.5)
    assert improvement(np.array([2.0, 3]), np.array([1.0, 2])) == pytest.approx((1 + 0.5 + 1 + 1) / 4)


def test_the_bootstrap_is_scipys():
    rng = np.random.default_rng(1)
    first = rng.normal(1.0, 0.2, 10)
    second = first + rng.normal(0.3, 0.1, 10)
    ours = bootstrap(ratio_of_means, first, second)
    theirs = stats.bootstrap(
        (first, second),
        lambda x, y, axis: x.mean(axis) / y.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    )
    width = ours.high - ours.low
    assert ours.value == pytest.approx(first.mean() / second.mean())
    assert abs(ours.low - theirs.confidence_interval.low) < 0.05 * width
    assert abs(ours.high - theirs.confidence_interval.high) < 0.05 * width
    unpaired = bootstrap(ratio_of_means, first, rng.permutation(second))
    assert unpaired.high - unpaired.low > 1.5 * width  # pairing is what narrows it


def test_where_there_is_no_interval():
    one = bootstrap(ratio_of_means, np.array([1.0]), np.array([2.0]))
    assert one.value == 0.5
    assert math.isnan(one.low)
    # a denominator that may be zero
    vague = bootstrap(ratio_of_means, np.array([1.0, 1, 1, 1]), np.array([-1.0, 1, -0.5, 0.9]))
    assert math.isnan(vague.low)
    assert math.isnan(float(ratio_of_means(np.array([1.0]), np.array([0.0]))))
    with pytest.raises(ValueError, match=r"\[2, 3\] runs"):
        bootstrap(ratio_of_means, np.ones(2), np.ones(3))


def test_an_arm_against_itself_and_against_less():
    start, final = np.full(8, 0.2), 0.5 + 0.01 * np.arange(8)
    same = compare(start, final, start, final)
    assert (same.final.value, same.final.low, same.final.high) == (1, 1, 1)
    assert same.difference.value == 0
    assert same.improvement.value == 0.5
    half = compare(start, start + (final - start) / 2, start, final)
    assert half.gain.value == pytest.approx(0.5)
    assert half.improvement.value == 0
    assert half.difference.high < 0


def test_profiles():
    assert profile(np.array([0.1, 0.5, 0.9]), np.array([0.0, 0.5, 1.0])).tolist() == pytest.approx(
        [1, 1 / 3, 0]
    )
