"""Small figures with a bound or a reason: shares, runs, rounds and choices, each just before its bound and on it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats

from gradvar.stats import products
from gradvar.stats.bootstrap import bootstrap
from gradvar.stats.choice import least
from gradvar.stats.clusters import NO_SHARE, Clusters, distinct
from gradvar.stats.direction import direction_losses, effective_share, sampled_losses
from gradvar.stats.effective import effective_number, too_few, warning
from gradvar.stats.equivalence import ratio_equivalence
from gradvar.stats.figures import (
    BlockSums,
    effective_blocks,
    jackknife_interval,
    leave_one_out,
    point_estimates,
)
from gradvar.stats.groups import chance_all, cost_of_equal_variance, redrawing_gain, unequal_share
from gradvar.stats.intervals import SAME, Interval, estimate, interval, wilson
from gradvar.stats.meetings import directions_met, pairs_met
from gradvar.stats.power import prompts_for_ratio, prompts_to_tell, prompts_words
from gradvar.stats.products import BlockProducts
from gradvar.stats.sequential import further, next_size, relative_half_width
from gradvar.stats.starts import by_start, mean_of, p_value, ratio_of


def test_enough_blocks_for_an_interval_and_for_one_without_a_warning():
    """Six, but for rounding, and thirty."""
    assert [bool(too_few(x)) for x in (6.0, 6 * (1 - 0.9e-9), 6 * (1 - 1.1e-9), 5.9, math.nan)] == [
        False, False, True, True, False
    ]  # fmt: skip
    assert too_few(0.0) == "no block contributes to it"
    assert [bool(warning(x)) for x in (5.9, 6.0, 29.9, 30.0, math.nan, math.inf)] == [
        False, True, True, False, False, False
    ]  # fmt: skip
    assert effective_number(np.array([3e-200, 4e-200])) == pytest.approx(49 / 25)
    assert effective_number(np.zeros(0)) == 0


def test_an_interval_in_words():
    one = Interval(0.5, 0.25, 0.75, effective=12.0)
    assert one.percent() == "50.0 % (95 % interval 25.0 to 75.0)"
    assert one.note == "only 12 effective blocks carry it, so it may be too narrow"
    assert replace(one, reason="why").note == "why"
    assert [one.excludes(x) for x in (0.2, 0.25, 0.75, 0.8)] == [True, False, False, True]
    assert [x.known for x in (one, Interval(1.0, 1.0, 1.0), Interval(1.0, 2.0, 1.0))] == [True, True, False]
    assert Interval(1.0, math.nan, math.nan).words() == "no interval: there is too little to make one of"


def test_why_a_sampled_figure_has_no_interval():
    """The first reason there is; the figure and its error are kept."""
    for asked, reason in (
        ({"effective": 5.0, "value": math.nan}, "5.0 effective blocks, fewer than 6"),
        ({"value": math.inf, "se": math.nan}, "the figure itself is not known"),
        ({"se": math.nan}, "too few independent blocks for a standard error"),
        ({"se": 1e-13}, SAME),
        ({"se": 1e-13, "by_identity": True}, ""),
        ({"se": 1e-11}, ""),
    ):
        given = {"value": 1.0, "se": 0.1, "dof": 9.0} | asked
        found = estimate(**given)
        assert (found.reason, found.known) == (reason, not reason)
        assert [found.value, found.se, found.dof] == pytest.approx(
            [given["value"], given["se"], 9.0], nan_ok=True
        )
    given = estimate(1.0, 0.1, 9.0, bounds=(np.array(0.5), np.array(3.0)))
    assert (given.low, given.high) == (0.5, 3.0)
    t = scipy_stats.t.ppf(0.95, 9)
    # on the logarithmic scale from two errors above zero on
    for value, clear in ((0.2, False), (0.201, True)):
        low, high = interval(value, 0.1, 9, 0.9, logarithmic=True)
        half = t * 0.1
        expected = (value * np.exp(-half / value), value * np.exp(half / value))
        assert (float(low), float(high)) == pytest.approx(expected if clear else (value - half, value + half))
    low, high = wilson(np.array([0.0, 1.0]), 4.0, 0.9)
    z2 = scipy_stats.norm.ppf(0.95) ** 2
    sizes = np.arange(1.0, 1000.0)  # in some of which a bound would lie beyond by rounding
    assert wilson(np.ones(999), sizes)[1].max() == 1.0
    assert wilson(np.zeros(999), sizes)[0].min() == 0.0
    assert (low[0], high[1]) == (0.0, 1.0)
    assert [high[0], 1 - low[1]] == pytest.approx([z2 / (4 + z2)] * 2)


def ratio_by_hand(y, x):
    """Cochran's variance of sum y / sum x over clusters that have any x."""
    y, x = y[x > 0], x[x > 0]
    ratio, size = y.sum() / x.sum(), len(x)
    return ratio, size / (size - 1) * ((y - ratio * x) ** 2).sum() / x.sum() ** 2, x.sum() ** 2 / (x**2).sum()


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_shares_of_parts_are_ratios_over_their_clusters(scale):
    """Two parts of twelve and three clusters, one of none, and one cluster without any item that counts."""
    rng = np.random.default_rng(1)
    cluster = np.r_[np.arange(12), np.arange(12), [0, 1, 2], [7]]
    part = np.r_[np.zeros(24, int), [2, 2, 2], [3]]
    x = np.r_[rng.uniform(1.0, 2.0, 27), 0.0] * scale
    x[[5, 17]] = 0.0
    y = x * rng.uniform(0.2, 0.9, 28)
    items = Clusters(cluster, part, 4)
    total, value, variance, clusters, effective = items.ratio(y, x)
    assert clusters.tolist() == [11, 0, 3, 0]
    shares = items.shares(y, x)
    for number, rows in ((0, [*range(24)]), (2, [24, 25, 26])):
        labels = sorted(set(cluster[rows]))
        y_sums = np.array([sum(y[i] for i in rows if cluster[i] == c) for c in labels])
        x_sums = np.array([sum(x[i] for i in rows if cluster[i] == c) for c in labels])
        expected = ratio_by_hand(y_sums, x_sums)
        assert (value[number], variance[number], effective[number]) == pytest.approx(expected)
        assert total[number] == pytest.approx(x_sums.sum())
        size = expected[0] * (1 - expected[0]) / expected[1]
        size = min(size, expected[2]) if expected[2] < 8 else size
        low, high = wilson(np.array(expected[0]), max(size, 1.0))
        one = shares[number]
        assert (one.low, one.high) == pytest.approx((float(low), float(high)))
        assert (one.se, one.dof) == (pytest.approx(expected[1] ** 0.5), clusters[number] - 1)
        assert one.effective == pytest.approx(expected[2])
    assert shares[1] is NO_SHARE
    assert shares[3] is NO_SHARE
    alone = Clusters(np.zeros(3, int)).share(np.array([0.0, 1.0, 1.0]))
    assert (alone.value, alone.se, alone.dof) == (pytest.approx(2 / 3), 0.0, 0)


def test_places_of_keys_whether_they_are_dense_or_not():
    """Up to four numbers for an item all are gone through; the answer is that of sorting."""
    for keys in ([0, 12], [0, 8], [0, 9], [5, 5], [-1, 3], [1 << 60, 0, 1 << 60], []):
        keys = np.array(keys, int)
        found, place = distinct(keys)
        expected = np.unique(keys, return_inverse=True)
        np.testing.assert_array_equal(found, expected[0])
        np.testing.assert_array_equal(place, expected[1])


def test_runs_and_their_warm_starts():
    rng = np.random.default_rng(2)
    assert by_start(np.array([1.0, 3.0, 8.0]), np.array([4, 4, 2])).tolist() == [8.0, 2.0]
    assert by_start(np.array([1.0, 3.0]), np.array([4, 4])).tolist() == [1.0, 3.0]
    units, other = rng.normal(1.0, 0.3, 7), rng.normal(2.0, 0.3, 7)
    found, half = mean_of(units, 0.9), scipy_stats.t.ppf(0.95, 6) * units.std(ddof=1) / 7**0.5
    assert (found.value, found.low, found.high) == pytest.approx(
        (units.mean(), units.mean() - half, units.mean() + half)
    )
    assert (found.se, found.dof) == (pytest.approx(half / scipy_stats.t.ppf(0.95, 6)), 6)
    assert p_value(units) == pytest.approx(scipy_stats.ttest_1samp(units, 0).pvalue)
    assert p_value(units - 1) == pytest.approx(scipy_stats.ttest_1samp(units - 1, 0).pvalue)
    for given, reason in (
        ([1.0, math.nan], "a run has no number"),
        ([1.0], "one unit has no spread"),
        ([1.0, 1.0, 1.0], "every run gives the same number"),
    ):
        none = mean_of(np.array(given))
        assert (none.reason, none.known, none.dof) == (reason, False, len(given) - 1)
    assert mean_of(np.zeros(3), by_identity=True).known
    assert mean_of(np.array([1e-9, 1e-9, 1.00001e-9]), scale=1.0).reason == "every run gives the same number"
    ratio = ratio_of(units, other, 0.9)
    residuals = mean_of(units - units.mean() / other.mean() * other, 0.9)
    assert (ratio.value, ratio.se) == pytest.approx(
        (units.mean() / other.mean(), residuals.se / other.mean())
    )
    assert ratio.high - ratio.value == pytest.approx((residuals.high - residuals.low) / 2 / other.mean())
    assert (ratio.dof, ratio_of(other, other).high) == (6, 1.0)
    for first, second, reason in (
        (units, np.r_[other[:6], math.inf], "a run has no number"),
        (units, -other, "the denominator cannot be told from zero"),
        (units, other - other.mean() + 0.01, "the denominator cannot be told from zero"),
        (2 * other, other, "every run gives the same number"),
        (units[:1], other[:1], "one unit has no spread"),
    ):
        none = ratio_of(first, second)
        assert (none.reason, none.known, none.dof) == (reason, False, len(first) - 1)


def test_equivalence_is_two_tests_of_scipys():
    rng = np.random.default_rng(3)
    first, second = rng.normal(1.0, 0.1, 6), rng.normal(1.1, 0.1, 6)
    found = ratio_equivalence(first, second, 0.9, 0.2)
    above = scipy_stats.ttest_1samp(first - 0.7 * second, 0, alternative="greater").pvalue
    below = scipy_stats.ttest_1samp(first - 1.1 * second, 0, alternative="less").pvalue
    assert (found.ratio, found.low, found.high) == pytest.approx((first.mean() / second.mean(), 0.7, 1.1))
    assert found.p_value == pytest.approx(max(above, below))
    assert (found.holds(found.p_value), found.holds(found.p_value * 0.99)) == (True, False)
    for one, other in ((first[:1], second[:1]), (np.r_[first[:5], math.inf], second)):
        assert math.isnan(ratio_equivalence(one, other, 0.9, 0.2).p_value)
    assert not math.isnan(ratio_equivalence(first[:2], second[:2], 0.9, 0.2).p_value)
    assert math.isnan(ratio_equivalence(first, np.r_[second[:3], -second[:3]], 0.9, 0.2).ratio)


def test_when_to_look_again_and_how_many_are_missing():
    assert relative_half_width(Interval(0.0, 0.0, 0.0)) == 0.0
    assert relative_half_width(Interval(-2.0, -2.5, -1.0, effective=30.0)) == 0.375
    for unknown in (
        Interval(0.0, -1.0, 1.0), Interval(2.0, 1.0, 3.0, effective=29.9), Interval(2.0, 1.0, math.inf),
    ):  # fmt: skip
        assert relative_half_width(unknown) == math.inf
    # half of what is predicted, then all of it and a twentieth; never fewer than one more
    assert [next_size(100, x, 1) for x in (1.0, 1.4, 1.5, 2.0)] == [100, 206, 113, 200]
    assert [next_size(100, x, 2) for x in (1.5, 1.0001)] == [237, 106]
    assert [further(100, x) for x in (1.001, 1.12, 4.0)] == [1, 26, 1500]


def test_prompts_to_tell_two_things_apart():
    z = scipy_stats.norm.ppf
    assert prompts_to_tell(-0.5, 0.2, 50, 0.9, 0.7) == pytest.approx(50 * ((z(0.95) + z(0.7)) * 0.4) ** 2)
    for effect, error in ((0.0, 0.1), (math.inf, 0.1), (0.1, math.nan)):
        assert prompts_to_tell(effect, error, 50) == math.inf
    told = Interval(1.25, 0.9, 1.7, se=0.2)
    assert prompts_for_ratio(told, 50) == pytest.approx(prompts_to_tell(math.log(1.25), 0.16, 50))
    for nothing, prompts in (
        (replace(told, low=1.1), 50), (replace(told, low=math.nan), 50), (told, 0),
        (Interval(-0.5, -1.0, 2.0, 0.2), 50),
    ):  # fmt: skip
        assert math.isnan(prompts_for_ratio(nothing, prompts))
    for number, words in (
        (0.0, "about 0 prompts"), (0.5, "about 1 prompts"), (99.1, "about 100 "), (101.0, "about 110 "),
        (1e9, "about 1,000,000,000 "),
    ):  # fmt: skip
        assert words in prompts_words(number)
    assert prompts_words(1.1e9).startswith("no number of prompts")


def test_the_least_cost_is_certain_where_all_differences_are():
    """Three costs on the same blocks: each difference at a level that holds for both."""
    rng = np.random.default_rng(4)
    base = 1 + 0.1 * rng.normal(size=12)
    parts = np.stack([base + 0.5, base, base + 0.2 + 0.05 * rng.normal(size=12), base * (1 + 1e-12)])
    found = least([1.5, 1.0, 1.2, 1.0 + 1e-12], parts, [12.0, 9.0, 10.0, 12.0], 0.9)
    assert (found.best, found.alike) == (1, (1, 3))
    gaps = {
        i: jackknife_interval(x - 1.0, parts[i] - parts[1], 1 - 0.1 / 3, effective=9.0)
        for i, x in ((0, 1.5), (2, 1.2))
    }
    assert found.rival == min(gaps, key=lambda i: gaps[i].low if gaps[i].known else -np.inf)
    assert (found.gap.low, found.gap.effective) == (pytest.approx(gaps[found.rival].low, nan_ok=True), 9.0)
    assert found.certain == (gaps[found.rival].low > 0)
    nothing = least([math.nan, math.nan], None)
    assert (nothing.best, nothing.certain, nothing.alike) == (0, False, (0,))
    exact = least([3.0, math.nan, 2.0], None)
    assert (exact.best, exact.alike, exact.rival in (0, 1)) == (2, (2,), True)
    one = least([2.0], None)
    assert (one.best, one.certain, one.rival) == (0, True, None)
    assert least([2.0, 2.0 + 1e-8], None).alike == (0,)
    assert least([2.0, 2.0 + 1e-9], None).alike == (0, 1)


def test_losses_of_a_direction_from_blocks():
    """The jackknife's correction, and the least of the blocks that carry a part."""
    rng = np.random.default_rng(5)
    sums = rng.normal(1.0, 0.3, (9, 3))
    truth = np.array([1.0, 0.8, 1.1])
    blocks = BlockSums(
        count=np.full(9, 2.0), gram=sums @ sums.T, squares=(sums**2).sum(1), pairs=None, aligned=sums @ truth,
        truth=np.asarray(truth @ truth), truth_known=True,
    )  # fmt: skip
    found, whole, parts = sampled_losses(blocks), point_estimates(blocks), leave_one_out(blocks)

    def by_hand(x):
        second, aligned = x["signal"] + x["trace_cov"], x["bias_factor"] ** 2 * x["true_signal"]
        loss, bias = 1 - aligned / second, 1 - aligned / x["signal"]
        return {"loss": loss, "bias": bias, "variance": loss - bias}

    for name, left in by_hand(parts).items():
        np.testing.assert_allclose(found.parts[name], left, atol=1e-12)
        assert found.values[name] == pytest.approx(9 * by_hand(whole)[name] - 8 * left.mean())
    carried = effective_blocks(blocks)
    assert found.effective == pytest.approx(min(carried["trace_cov"], carried["bias_factor"]))
    nothing = direction_losses(*map(np.asarray, (0.0, 0.0, 0.0, 1.0)))
    assert [float(nothing[n]) for n in ("loss", "bias", "variance")] == [1.0, 1.0, 0.0]
    assert effective_share(np.array([800.0, 800.0, -800.0, -800.0])) == pytest.approx(0.5)


def test_groups_of_equal_rewards_by_counting():
    rng = np.random.default_rng(6)
    assert [float(chance_all(k, 5, 3)) for k in (2, 3, 5)] == pytest.approx([0.0, 0.1, 1.0])
    assert [math.isnan(chance_all(1, n, 3)) for n in (2, 3)] == [True, False]
    many, total = rng.integers(0, 4, 100), np.full(100, 3)
    few = [float(chance_all(int(k), 3, 2)) for k in many]
    np.testing.assert_allclose(chance_all(many, total, 2), few)
    many[7] = -1  # as of more failures than rollouts
    assert chance_all(many, total, 2)[7] == 0.0
    np.testing.assert_allclose(unequal_share(np.array([[1.0, 0.0, 1.0], [2.0, 2.0, 2.0]]), 2), [2 / 3, 0.0])
    assert cost_of_equal_variance(3, 4.0, 0.5) == pytest.approx(5.5 / 2)
    assert [redrawing_gain(x, 0.5) for x in (-1.0, 0.5, 1.0, 2.0)] == [1.0, 2.0, math.inf, math.inf]


def test_what_has_met_in_loops():
    rng = np.random.default_rng(7)
    joint, squares, count = rng.uniform(1, 2, 4), rng.uniform(2, 3, 4), np.array([2.0, 4.0, 2.0, 6.0])
    expected = joint.sum() / (count.sum() / 2) / (squares.sum() / count.sum()) ** 2
    assert pairs_met(joint, squares, count) == pytest.approx(expected)
    for size, kept in ((1e-17, True), (1e-19, False), (1e17, True), (1e19, False)):
        assert (pairs_met(joint, size * squares, count) != 1.0) == kept
    sums = rng.normal(size=(5, 3))
    sums[3] = 0.0
    cosines, weights = [], []
    for i, j in ((i, j) for i in range(5) for j in range(5) if i != j and 3 not in (i, j)):
        norms = (sums[i] @ sums[i]) * (sums[j] @ sums[j])
        cosines.append((sums[i] @ sums[j]) ** 2 / norms)
        weights.append(norms)
    expected = np.average(cosines, weights=weights) / np.mean(cosines)
    assert directions_met(sums @ sums.T) == pytest.approx(expected)
    assert directions_met(1e-3 * sums @ sums.T) == pytest.approx(expected)
    assert directions_met(np.eye(4)) == 1.0
    assert directions_met(np.zeros((3, 3))) == 1.0


def test_sums_in_directions_of_their_own_carry_less(monkeypatch):
    """Two large sums that are orthogonal, beside small ones that are not: twice the share of blocks that has met."""
    sums = np.array([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    gram = sums @ sums.T
    blocks = BlockSums(
        count=np.ones(4), gram=gram, squares=np.ones(4), pairs=None, aligned=sums @ sums[0],
        truth=np.asarray(81.0), truth_known=True,
    )  # fmt: skip
    met, carried = float(directions_met(gram)), 20.0**2 / 164.0
    assert effective_blocks(blocks)["signal"] == pytest.approx(2 * met * carried)
    assert effective_blocks(blocks)["bias_factor"] == pytest.approx(carried)
    monkeypatch.setattr(products, "_COMPARED", 3)  # of more blocks nothing is asked, however many experiments
    for shape, compared in (((2, 3, 4, 4), False), ((2, 4, 3, 3), True)):
        of = BlockProducts.of(np.broadcast_to(np.eye(shape[-1]), shape), compared=True)
        assert np.shape(of.directions) == (shape[:2] if compared else ())
    assert BlockProducts.of_vectors(sums, sums).directions == 1.0
    assert np.shape(BlockProducts.of_vectors(sums[:3], sums[:3]).directions) == ()
    assert BlockProducts.of_vectors(sums[1:], sums[1:]).directions != 1.0
    assert BlockProducts.of(gram) != BlockProducts.of(gram)  # arrays are not compared


def test_a_bootstrap_says_where_its_statistic_has_no_value():
    """Where all runs of a resample are the same one: 1 in 64 of four runs, beyond half a tail; 1 in 625 of five."""
    statistic = lambda x: np.where(x.std(-1) == 0, np.nan, x.mean(-1))  # noqa: E731
    runs = [1.0, 2.0, 4.0, 7.0, 9.0]
    assert bootstrap(statistic, runs[:4]).reason == "too many resamples have no value"
    assert bootstrap(statistic, runs).known
    assert bootstrap(statistic, runs[:4], level=0.9).known
    assert bootstrap(statistic, runs[:1]).reason == "one run has no spread"


def test_replicates_may_be_odd_in_number():
    """Three batches of a bank's deal count for one pair and a half."""
    pairs = np.array([1.0, 2.0, 4.0])
    blocks = BlockSums(
        count=np.full(3, 3.0), gram=np.eye(3), squares=np.ones(3), pairs=pairs, aligned=np.ones(3),
        truth=np.asarray(1.0), truth_known=True,
    )  # fmt: skip
    assert point_estimates(blocks)["between"] == pytest.approx(pairs.sum() / 4.5)
    np.testing.assert_allclose(leave_one_out(blocks)["between"], (pairs.sum() - pairs) / 3)
