"""Intervals: against other implementations, and whether they cover."""

import numpy as np
from scipy.stats import beta, binomtest

from gradvar.stats.clusters import Clusters
from gradvar.stats.intervals import jeffreys, wilson

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
        found = Clusters(prompt).share(y)
        return found.low, found.high

    assert abs(coverage(clustered) - 0.95) < 4 * error


def test_intervals_that_forget_the_prompts_are_seen():
    error = np.sqrt(0.95 * 0.05 / REPLICATES)

    def naive(y, prompt):
        low, high = wilson(np.array([y.mean()]), np.array([float(len(y))]))
        return low[0], high[0]

    assert coverage(naive) < 0.95 - 4 * error


def test_a_share_of_nothing_is_no_number():
    none = Clusters(np.array([0, 1])).share(np.zeros(2), np.zeros(2))
    assert np.isnan([none.value, none.low, none.high]).all()


def test_parts_are_apart():
    """Each part's share is what it is alone."""
    rng = np.random.default_rng(1)
    y, prompt, part = rng.random(60), rng.integers(0, 9, 60), rng.integers(0, 3, 60)
    together = Clusters(prompt, part, 4).shares(y, np.ones(60))
    for i in range(3):
        assert together[i] == Clusters(prompt[part == i]).share(y[part == i])
    assert np.isnan(together[3].value)


def test_a_ratio_and_its_variance_by_hand():
    """Cochran's formula in loops; a cluster that counts nothing is none, and one alone has no variance."""
    rng = np.random.default_rng(2)
    cluster, part = rng.integers(0, 12, 90), rng.integers(0, 2, 90)
    x, y = rng.random(90) * (cluster != 3), rng.random(90)
    y = y * x
    cluster, part, x, y = (np.append(a, b) for a, b in ((cluster, 5), (part, 2), (x, 0.5), (y, 0.25)))
    found = Clusters(cluster, part, 3).ratio(y, x)
    for p in range(3):
        names = [c for c in range(12) if c != 3 and ((part == p) & (cluster == c)).any()]
        xs = np.array([x[(part == p) & (cluster == c)].sum() for c in names])
        ys = np.array([y[(part == p) & (cluster == c)].sum() for c in names])
        ratio, count = ys.sum() / xs.sum(), len(names)
        variance = count / (count - 1) * ((ys - ratio * xs) ** 2).sum() / xs.sum() ** 2 if count > 1 else 0.0
        expected = (xs.sum(), ratio, variance, count, xs.sum() ** 2 / (xs**2).sum())
        np.testing.assert_allclose([column[p] for column in found], expected)


def test_a_share_has_the_sample_size_that_its_variance_gives():
    """Wilson's interval at R (1 - R) / variance; few effective clusters are single trials at most."""
    rng = np.random.default_rng(3)
    for clusters in (30, 5):
        cluster = np.repeat(np.arange(clusters), 4)
        y = (rng.random(len(cluster)) < np.repeat(rng.random(clusters), 4)).astype(float)
        items = Clusters(cluster)
        _, (value,), (variance,), _, (effective,) = items.ratio(y, np.ones(len(y)))
        size = (
            value * (1 - value) / variance
            if clusters == 30
            else min(value * (1 - value) / variance, effective)
        )
        low, high = wilson(np.array([value]), np.array([size]))
        found = items.share(y)
        np.testing.assert_allclose((found.low, found.high, found.se), (low[0], high[0], variance**0.5))
        assert (found.dof, found.effective) == (clusters - 1, effective)
    even = Clusters(np.repeat(np.arange(20), 2)).share(
        np.tile([0.0, 1.0], 20)
    )  # nothing varies between clusters
    low, high = wilson(np.array([0.5]), np.array([20.0]))
    np.testing.assert_allclose((even.low, even.high), (low[0], high[0]))
