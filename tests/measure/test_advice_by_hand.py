"""Advice on group sizes and estimators: its figures in plain sums over prompts."""

from dataclasses import replace

import numpy as np
import pytest

from gradvar.measure.advise.costs import GROUP_SIZES, Costs, check_group_sizes, level_of_pairs
from gradvar.measure.advise.estimator_choice import (
    _progress,
    _ratio,
    by_successes,
    compare_estimators,
)
from gradvar.measure.advise.group_size import advise
from gradvar.measure.advise.optimum import optimal_size, optimum
from gradvar.measure.advise.rules import rule_sizes
from gradvar.measure.bank.summary import Budget
from gradvar.stats.figures import jackknife_error, jackknife_interval, ratio_interval
from gradvar.stats.intervals import student_half_width
from tests.measure.scenes import summary_of

RNG = np.random.default_rng(0)
SIZE = 12
SIGNAL, ZETA1, ZETA2 = RNG.uniform(2.0, 3.0, SIZE), RNG.uniform(1.0, 2.0, SIZE), RNG.uniform(8.0, 9.0, SIZE)
PRODUCTS = RNG.normal(size=(SIZE, 40)) * 0.3 + 0.2
GRADIENTS = PRODUCTS @ PRODUCTS.T
SUMMARY = replace(
    summary_of(SIGNAL, ZETA1, ZETA2), gradients=GRADIENTS - np.diag(np.diag(GRADIENTS)) + np.diag(SIGNAL),
    length=np.linspace(3.0, 5.0, SIZE),
)  # fmt: skip


def spread(summary, size, kept):
    """tr Cov of leave-one-out with one prompt: the kept prompts' mean second moment less their shared signal."""
    second = [
        summary.signal[q] + 4 * summary.zeta1[q] / size
        + (2 * summary.zeta2[q] - 4 * summary.zeta1[q]) / (size * (size - 1))
        for q in kept
    ]  # fmt: skip
    shared = np.mean([summary.gradients[q, r] for q in kept for r in kept if q != r])
    return np.mean(second) - shared, shared


def left_out(function):
    return np.array([function([q for q in range(SIZE) if q != out]) for out in range(SIZE)])


def test_the_curve_in_sums_over_prompts():
    per_prompt, per_rollout, per_update = 3.0, 1.0, 0.5
    sizes = (16, 2, 4, 8)
    advice = advise(
        SUMMARY, per_prompt, per_rollout, cost_per_update=per_update, group_sizes=sizes, level=0.9
    )
    group_cost = {g: per_prompt + (per_rollout + per_update) * g for g in sizes}
    costs = {g: spread(SUMMARY, g, range(SIZE))[0] * group_cost[g] for g in sizes}
    best = min(costs, key=costs.get)
    assert (advice.best, advice.prompts, advice.rollouts, advice.on_policy) == (best, SIZE, 8, True)
    assert [point.group_size for point in advice.curve] == [2, 4, 8, 16]
    assert best not in (2, 16)
    for point in advice.curve:
        g = point.group_size
        variance, signal = spread(SUMMARY, g, range(SIZE))
        without = left_out(lambda kept, g=g: spread(SUMMARY, g, kept)[0])
        expected = jackknife_interval(variance, without, 0.9)
        assert (point.variance.value, point.variance.low) == pytest.approx((variance, expected.low))
        second = SUMMARY.second_moments(g)
        assert point.variance.effective == pytest.approx(second.sum() ** 2 / (second**2).sum())
        for found, number in (
            (point.per_rollout, g), (point.per_token, g * SUMMARY.length.mean()), (point.per_cost, group_cost[g])
        ):  # fmt: skip
            assert found == pytest.approx(signal / (variance * number))
        assert point.cost.value == pytest.approx(costs[g] / costs[best])
        if g == best:
            assert (point.cost.low, point.cost.high, point.cost.se, point.cost.dof) == (
                1.0,
                1.0,
                0.0,
                SIZE - 1,
            )
        else:
            ratios = left_out(
                lambda kept, g=g: group_cost[g] * spread(SUMMARY, g, kept)[0]
                / (group_cost[best] * spread(SUMMARY, best, kept)[0])
            )  # fmt: skip
            paired = ratio_interval(costs[g] / costs[best], ratios, 1 - 0.1 / 6)
            assert (point.cost.low, point.cost.high) == pytest.approx((paired.low, paired.high))
        # of eight rollouts half succeed: a group of two has different rewards in 4 * 4 of 28 pairs
        share = {2: 16 / 28, 4: 1 - 2 / 70, 8: 1.0}.get(g, np.nan)
        assert point.informative == pytest.approx(share, nan_ok=True)
    worst = max(1 / p.cost.low for p in advice.curve if p.group_size != best)
    assert advice.regret == pytest.approx(max(1.0, worst))
    fixed = per_prompt / (per_rollout + per_update)
    assert advice.optimum == optimum(SUMMARY.budget(), fixed, 0.9, advice.optimum.effective)


def test_what_cannot_be_compared():
    flat = replace(SUMMARY, signal=SIGNAL - 20.0)
    none = advise(flat, group_sizes=(2, 64))
    assert (none.best, none.splits) == (None, ())
    assert np.isnan(none.regret)
    assert none.curve[1].variance.value <= 0
    assert np.isnan([none.curve[1].per_rollout, none.curve[1].per_token, none.curve[1].per_cost]).all()
    assert none.curve[0].cost.reason == "a variance is not positive"
    negative = [p.group_size for p in none.curve if not p.variance.value > 0]
    assert str(none).startswith(
        f"The variance at G={', '.join(map(str, negative))} is estimated as zero or less, so"
    )
    assert none.sheet().rows == ()


def test_the_optimum_is_where_the_cost_is_least():
    budget = Budget(0.7, 3.0, 5.0, 1.0)
    for fixed in (0.0, 0.5, 10.0):
        best = float(optimal_size(budget, fixed))
        grid = best * np.linspace(0.9, 1.1, 2001)
        cost = (fixed + grid) * budget.variance(grid)
        assert grid[cost.argmin()] == pytest.approx(best, rel=2e-4)
    assert np.isinf(optimal_size(Budget(0.0, 3.0, 5.0, 1.0), 0.0))
    assert np.isinf(optimal_size(Budget(-1.0, 3.0, 5.0, 1.0), 2.0))
    assert float(optimal_size(Budget(1.0, 3.0, -5.0, 1.0), 0.0)) == 1.0


def budgets(between, pair, spread_of=0.01):
    around = 1 + spread_of * np.linspace(-1, 1, SIZE)
    return Budget(between, 2.0, pair, 0.0), Budget(
        between * around, np.full(SIZE, 2.0), pair * around[::-1], np.zeros(SIZE)
    )


def test_the_interval_of_the_optimum():
    total, without = budgets(1.0, 9.0)
    found = optimum((total, without), 0.0, 0.9, 12.0)
    parts = 1 + np.sqrt(without.pair / without.between)
    error = float(jackknife_error(np.log(parts - 1)))
    half = float(student_half_width(error, SIZE - 1, 0.9))
    assert (found.value, found.low, found.high) == pytest.approx(
        (4.0, 1 + 3 * np.exp(-half), 1 + 3 * np.exp(half))
    )
    assert (found.se, found.dof, found.effective) == (pytest.approx(3 * error), SIZE - 1, 12.0)
    assert optimum((total, without), 0.0, 0.9, 2.0).reason == "2.0 effective blocks, fewer than 6"
    same = optimum(budgets(1.0, 9.0, 0.0), 0.0, 0.9, 12.0)
    assert (same.reason, same.known) == ("every prompt gives the same number", False)
    endless = optimum((replace(total, between=0.0), without), 0.0, 0.9, 12.0)
    assert (endless.value, endless.low, endless.high) == (np.inf, 1.0, np.inf)
    # neither end is claimed where its part cannot be told from zero
    open_above = optimum((total, replace(without, between=1 + np.linspace(-2, 2, SIZE) / 3)), 0.0, 0.9, 12.0)
    assert (open_above.high, open_above.low > 1) == (np.inf, True)
    open_below = optimum((total, replace(without, pair=9 + 9 * np.linspace(-2, 2, SIZE) / 3)), 0.0, 0.9, 12.0)
    assert (open_below.low, np.isfinite(open_below.high)) == (1.0, True)


def test_costs_and_levels():
    assert Costs(2.0, 1.0, 0.5).updated_rollout == 1.5
    assert Costs().group(3) == 3.0  # in rollouts, where nothing else costs anything
    assert check_group_sizes([8, 2, 8]) == [2, 8]
    assert GROUP_SIZES == (2, 3, 4, 6, 8, 12, 16, 24, 32)  # of `gradvar advise --help`
    for wrong in ([], [1, 8], [8, 0]):
        with pytest.raises(ValueError, match=r"group_sizes: \(.*\); give sizes of 2 or more"):
            check_group_sizes(wrong)
    assert [level_of_pairs(0.9, n) for n in (1, 2, 3, 5)] == pytest.approx([0.9, 0.9, 1 - 0.1 / 3, 0.99])


def test_progress_in_sums_over_prompts():
    """Cosine and <E g, grad J>^2 / (||grad J||^2 (tr Cov)), of all prompts and with each left out."""
    weight, within = RNG.uniform(0.5, 1.5, SIZE), RNG.uniform(1.0, 2.0, SIZE)
    cosine, useful = _progress(weight, within, SUMMARY.gradients)
    for out in (None, 0, 5):
        kept = [q for q in range(SIZE) if q != out]
        pairs = [(q, r) for q in kept for r in kept if q != r]
        signal = np.mean([weight[q] * weight[r] * SUMMARY.gradients[q, r] for q, r in pairs])
        truth = np.mean([SUMMARY.gradients[q, r] for q, r in pairs])
        aligned = np.mean([weight[q] * SUMMARY.gradients[q, r] for q, r in pairs])
        variance = np.mean([weight[q] ** 2 * SUMMARY.gradients[q, q] + within[q] for q in kept]) - signal
        place = 0 if out is None else 1 + out
        assert cosine[place] == pytest.approx(aligned / (signal * truth) ** 0.5)
        assert useful[place] == pytest.approx(aligned**2 / (truth * variance))
    against, useless = _progress(-weight, within, SUMMARY.gradients)
    np.testing.assert_allclose(against, -cosine)
    assert not useless.any()


def test_a_ratio_of_two_settings():
    best, other = (RNG.uniform(2.0, 3.0, 1 + SIZE), 9.0), (RNG.uniform(1.0, 2.0, 1 + SIZE), 8.0)
    found = _ratio(best, other, 0.9, True)
    expected = ratio_interval(best[0][0] / other[0][0], best[0][1:] / other[0][1:], 0.9, 8.0, True)
    assert found == expected
    itself = _ratio(best, best, 0.9, True)
    assert (itself.value, itself.low, itself.high, itself.se, itself.dof, itself.effective) == (
        1,
        1,
        1,
        0,
        SIZE - 1,
        9,
    )
    none = _ratio((np.zeros(1 + SIZE), 9.0), other, 0.9, True)
    assert (np.isnan(none.value), none.effective) == (True, 8.0)
    assert none.reason == "none climbs grad J by more than the noise of these prompts"


def test_schemes_are_called_once_for_each_number_of_successes():
    calls = []
    scheme = by_successes(lambda rewards: calls.append(rewards.sum()) or rewards - rewards.mean())
    for rewards in ([[0.0, 1.0]], [[1.0, 0.0]], [[1.0, 1.0]]):
        scheme(np.array(rewards))
    assert calls == [1.0, 2.0]


def test_ranked_estimators():
    """Costs are of equal useful signal; a scheme that needs larger groups is compared at those only."""

    def centred(rewards):
        return rewards - rewards.mean()

    def scaled(rewards):
        return centred(rewards) / (rewards.std() + 1e-6)

    # a pair's mean-centred reward is half its leave-one-out one
    ranking = compare_estimators(
        SUMMARY, {"a": centred, "b": scaled}, (4, 2, 4), 2.0, 1.0, least={"b": 4}, level=0.9
    )
    assert sorted((c.scheme, c.group_size) for c in ranking.settings) == [("a", 2), ("a", 4), ("b", 4)]
    assert (ranking.prompts, ranking.level) == (SIZE, pytest.approx(1 - 0.1 / 3))
    useful = {}
    for one in ranking.settings:
        law = SUMMARY.forecast(by_successes({"a": centred, "b": scaled}[one.scheme]), one.group_size)
        cosine, gain = _progress(law.weight, law.spread, SUMMARY.gradients)
        useful[one.scheme, one.group_size] = gain[0] / (2.0 + one.group_size)
        assert one.cosine.value == pytest.approx(cosine[0])
        assert one.weights == pytest.approx((1.0, 1.0))  # all prompts succeed half the time
    best = max(useful.values())
    for one in ranking.settings:
        assert one.cost.value == pytest.approx(best / useful[one.scheme, one.group_size])
    assert ranking.best.cost.value == 1.0
    uneven = replace(SUMMARY, p=np.linspace(0.2, 0.8, SIZE))
    (one,) = compare_estimators(uneven, {"b": scaled}, (4,)).settings
    law = uneven.forecast(by_successes(scaled), 4)
    parts, _ = _progress(law.weight, law.spread, SUMMARY.gradients)
    assert abs(parts[0] - parts[-1]) > 1e-7
    expected = jackknife_interval(float(parts[0]), parts[1:])
    assert (one.cosine.value, one.cosine.low) == pytest.approx((parts[0], expected.low), rel=1e-12)
    assert ranking.of("b").group_size == 4
    with pytest.raises(ValueError, match=r"group_sizes: \(2,\) are below the least of every estimator"):
        compare_estimators(SUMMARY, {"b": scaled}, (2,), least={"b": 3})
    solved = replace(SUMMARY, p=np.ones(SIZE))
    with pytest.raises(ValueError, match="rewards: every prompt's are all equal"):
        compare_estimators(solved, {"a": centred}, (2,))


def test_inverse_success_rates_with_the_largest_remainders_first():
    """Of ten rollouts beyond two each, 5 : 2 : 1.25 are 6.06, 2.42 and 1.52; a rate of zero counts as a millionth."""
    assert rule_sizes("ada", {"p": np.array([0.2, 0.5, 0.8])}, 16).tolist() == [8, 4, 4]
    assert rule_sizes("ada", {"p": np.array([0.0, 0.5, 1.0])}, 16).tolist() == [12, 2, 2]
    assert rule_sizes("ada", {"p": np.array([2e-6, 1e-6, 0.0])}, 16).tolist() == [4, 6, 6]
