"""Intervals: against other implementations, and whether they cover."""

import numpy as np
import pytest
from scipy.stats import beta, binomtest

from gradvar.audit.intervals import jeffreys, mean, share, wilson

REPLICATES = 600


def test_wilson_is_scipys():
    for k, n in ((0, 5), (3, 5), (5, 5), (17, 60)):
        wanted = binomtest(k, n).proportion_ci(method="wilson")
        found = wilson(np.array([k / n]), np.array([float(n)]))
        np.testing.assert_allclose((found[0][0], found[1][0]), (wanted.low, wanted.high), atol=1e-12)


def test_jeffreys_is_the_betas():
    k, n = np.array([0, 2, 8]), np.array([8, 8, 8])
    low, high = jeffreys(k, n)
    assert (low[0], high[2]) == (0.0, 1.0)
    np.testing.assert_allclose(low[1:], beta.ppf(0.025, k[1:] + 0.5, n[1:] - k[1:] + 0.5))
    np.testing.assert_allclose(high[:2], beta.ppf(0.975, k[:2] + 0.5, n[:2] - k[:2] + 0.5))


def experiment(rng):
    """Groups of 40 prompts, which differ much, seen once to five times each."""
    chance = rng.beta(0.5, 1.0, 40)
    times = rng.integers(1, 6, 40)
    prompt = np.repeat(np.arange(40), times)
    return (rng.random(len(prompt)) < chance[prompt]).astype(float), prompt


def coverage(interval):
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(REPLICATES):
        y, prompt = experiment(rng)
        low, high = interval(y, prompt)
        hits.append(low <= 1 / 3 <= high)  # the mean of Beta(1/2, 1)
    return np.mean(hits)


def test_shares_cover_as_often_as_they_say_though_prompts_repeat():
    error = np.sqrt(0.95 * 0.05 / REPLICATES)

    def clustered(y, prompt):
        found = share(y, np.ones(len(y)), prompt)
        return found.low, found.high

    assert abs(coverage(clustered) - 0.95) < 4 * error


def test_intervals_that_forget_the_prompts_are_seen():
    error = np.sqrt(0.95 * 0.05 / REPLICATES)

    def naive(y, prompt):
        low, high = wilson(np.array([y.mean()]), np.array([float(len(y))]))
        return low[0], high[0]

    assert coverage(naive) < 0.95 - 4 * error


def test_a_share_of_nothing_and_a_mean_of_one_prompt():
    none = share(np.zeros(2), np.zeros(2), np.array([0, 1]))
    assert np.isnan(none.value)
    alone = mean(np.array([2.0]), np.ones(1), np.array([0]))
    assert alone.value == 2.0
    assert np.isnan(alone.low)


def test_a_mean_has_students_interval_over_prompts():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    found = mean(values, np.ones(4), np.arange(4))
    half = 3.182446305284263 * values.std(ddof=1) / 2  # the 97.5 % point of t with 3 degrees of freedom
    assert (found.low, found.high) == pytest.approx((4 - half, 4 + half))
