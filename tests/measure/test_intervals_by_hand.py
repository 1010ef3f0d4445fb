"""Intervals of figures: which scale, which ends and which reason, from numbers that are put in by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats as scipy_stats

from gradvar.core.moments import Moments
from gradvar.measure.bank.evaluate import _resolve
from gradvar.measure.direct_plan import DirectPlan
from gradvar.measure.exact.tables import state_values
from gradvar.stats.bootstrap import bootstrap
from gradvar.stats.clusters import Clusters
from gradvar.stats.intervals import SAME, check_level, interval
from gradvar.stats.tails import Pivot, skewed_quantile

FIGURES = ("trace_cov", "between", "within", "signal", "snr", "true_signal", "bias_factor", "cosine")
VALUES = {
    "trace_cov": 4.0, "between": 1.0, "within": 3.0, "signal": 2.0, "snr": 0.5, "true_signal": 2.5,
    "bias_factor": 0.9, "cosine": 0.95,
}  # fmt: skip
DRAWN = Moments(
    "rloo", 4, 3, np.zeros(2), np.zeros(2), **VALUES, se=dict.fromkeys(FIGURES, 0.2), true_gradient=np.ones(2), dof=9.0,
    replicates=80, effective=dict.fromkeys(FIGURES, 40.0),
)  # fmt: skip


def ends(x):
    return (x.low, x.high)


def test_variances_are_on_the_logarithmic_scale_and_a_cosine_ends_at_one():
    for figure in FIGURES:
        logarithmic = figure in ("trace_cov", "between", "within", "signal", "snr")
        low, high = map(float, interval(VALUES[figure], 0.2, 9.0, 0.9, logarithmic=logarithmic))
        found = DRAWN.estimate(figure, 0.9)
        assert (found.value, found.se, found.dof, found.effective) == (VALUES[figure], 0.2, 9.0, 40.0)
        expected = (low, 1.0) if figure == "cosine" else (low, high)
        assert ends(found) == pytest.approx(expected), figure
        assert DRAWN.interval(figure, 0.9) == ends(found)
    assert high > 1.0
    below = replace(DRAWN, cosine=-0.95).estimate("cosine")
    assert (below.low, below.high > -1) == (-1.0, True)
    each, whole = DRAWN.estimate("snr_per_rollout"), DRAWN.estimate("snr")
    assert (DRAWN.rollouts, DRAWN.snr_per_rollout) == (12, 0.5 / 12)
    for name in ("value", "low", "high", "se"):
        assert getattr(each, name) == getattr(whole, name) / 12
    with pytest.raises(
        ValueError, match="figure: 'none' has no standard error; choose one of trace_cov, between"
    ):
        DRAWN.estimate("none")
    assert repr(DRAWN) == ("Moments(rloo, G=4, 3 prompts, 80 batches: bias factor 0.9, cosine 0.95, SNR 0.5)")
    assert ", exact: bias factor" in repr(replace(DRAWN, replicates=0))


def test_no_spread_is_an_interval_only_of_what_is_known():
    """Of exact figures, of grad J itself, of a reference against itself, and of no part between fixed prompts."""
    flat = replace(DRAWN, se=dict.fromkeys(FIGURES, 0.0))
    for moments, known in (
        (flat, {"true_signal"}),
        (replace(flat, replicates=0), set(FIGURES)),
        (replace(flat, true_gradient=None), {"true_signal", "bias_factor", "cosine"}),
        (replace(flat, effective=dict.fromkeys(FIGURES, np.inf)), {"true_signal", "between"}),
    ):
        found = {figure for figure in FIGURES if moments.estimate(figure).known}
        assert found == known
        for figure in FIGURES:
            one = moments.estimate(figure)
            assert (ends(one) == (VALUES[figure],) * 2) if figure in known else one.reason == SAME


def test_what_is_rounding_is_judged_by_what_a_figure_is_made_of():
    """A part between prompts that is nearly nothing, beside a variance and a signal that are large."""
    for names, size in ((("trace_cov",), 1e9), (("signal",), -1e9)):
        for figure in ("trace_cov", "between", "within", "signal"):
            small = replace(
                DRAWN, **dict.fromkeys(names, size) | {figure: 1e-7}, se=dict.fromkeys(FIGURES, 1e-7)
            )
            is_small = figure not in names
            assert (small.estimate(figure).reason == SAME) == is_small, (names, figure)
    assert (
        replace(DRAWN, bias_factor=-1e9, se=dict.fromkeys(FIGURES, 1e-7)).estimate("bias_factor").reason
        == SAME
    )


def test_a_pivot_has_the_ends_of_its_own():
    pivot = Pivot(*map(np.asarray, (0.1, 0.02, 8.0, 1, 0.05)))
    with_pivot = replace(DRAWN, pivots={"snr": pivot.numbers()})
    low, high = pivot.bounds(np.asarray(0.5), 0.9)
    assert ends(with_pivot.estimate("snr", 0.9)) == (float(low), float(high))
    assert ends(with_pivot.estimate("signal")) == ends(DRAWN.estimate("signal"))
    flat = replace(with_pivot, se=dict.fromkeys(FIGURES, 0.0))
    assert flat.estimate("snr").reason == SAME


PARTS = np.array([1.0, 1.3, 0.9, 1.1, 1.6, 0.8])


def moments_by_hand(parts):
    """Error, asymmetry, degrees of freedom and the largest influence, as the page of ``tails`` has them."""
    size, mean = len(parts), sum(parts) / len(parts)
    d = [mean - x for x in parts]
    second, third, fourth = (sum(x**k for x in d) for k in (2, 3, 4))
    error = ((size - 1) / size * second) ** 0.5
    # the unbiased third moment over the unbiased variance to 3/2, over 6 sqrt(B)
    skewness = size / ((size - 1) * (size - 2)) * third / (second / (size - 1)) ** 1.5
    kurtosis = size * fourth / second**2
    dof = max(min(size - 1, 2 * size / max(kurtosis - 1, 0.5)), 1.0)
    return error, skewness / (6 * size**0.5), dof, max(d)


@pytest.mark.parametrize(
    ("scale", "bent", "number"), [("linear", None, 0), ("log", np.log, 1), ("root", np.sqrt, 2)]
)
def test_pivots_from_parts(scale, bent, number):
    value, reach = np.array(3.0), 0.7
    found = Pivot.from_parts(value, PARTS, scale, reach)
    error, asymmetry, dof, largest = moments_by_hand(PARTS if bent is None else bent(PARTS))
    assert found.numbers() == pytest.approx([error, asymmetry, dof, number, reach * largest])
    t = scipy_stats.t.ppf(0.95, found.dof)
    low = -error * float(skewed_quantile(t, found.asymmetry))
    high = -error * float(skewed_quantile(-t, found.asymmetry)) + reach * largest
    moved = {
        "linear": lambda by: 3.0 + by, "log": lambda by: 3.0 * np.exp(by),
        "root": lambda by: (3.0**0.5 + by) * abs(3.0**0.5 + by),
    }[scale]  # fmt: skip
    assert [float(x) for x in found.bounds(value, 0.9)] == pytest.approx([moved(low), moved(high)])
    factor = {"linear": 3.0, "log": 1.0, "root": 3.0**0.5}[scale]
    scaled = found.scaled(3.0)
    assert scaled.numbers() == pytest.approx(
        [error * factor, asymmetry, dof, number, reach * largest * factor]
    )
    assert Pivot.of(found.numbers()).numbers() == found.numbers()
    two = Pivot.from_parts(np.array([3.0, 3.0]), np.stack([PARTS, PARTS]), scale, reach)
    assert two[1].numbers() == pytest.approx(found.numbers())


def test_a_quotient_is_relative_with_the_skewness_of_its_denominator():
    found = Pivot.from_parts(np.array(2.0), PARTS, "quotient", 0.5)
    error, asymmetry, dof, largest = moments_by_hand(PARTS)
    expected = [error / 2, asymmetry - error / 4, dof, 1, 0.5 * largest / 2]
    assert found.numbers() == pytest.approx(expected)


@pytest.mark.parametrize("scale", ["log", "root", "quotient"])
def test_what_is_not_clear_of_zero_is_linear(scale):
    error = moments_by_hand(PARTS)[0]
    below = {"log": 1.99 * error, "root": -0.01, "quotient": 2.99 * error}[scale]
    cases = [(below, PARTS), (np.nan, PARTS)] + ([(3.0, PARTS - 0.9)] if scale != "quotient" else [])
    for value, parts in cases:
        found, linear = (Pivot.from_parts(np.array(value), parts, s, 0.7) for s in (scale, "linear"))
        assert found.numbers() == pytest.approx(linear.numbers())


def test_parts_that_do_not_differ_and_parts_that_are_few():
    same = Pivot.from_parts(np.array(1.0), np.ones(5))
    assert same.numbers() == [0.0, 0.0, 4.0, 0.0, 0.0]
    pair = Pivot.from_parts(np.array(1.0), np.array([0.5, 1.5]))
    assert pair.numbers() == pytest.approx([0.5, 0.0, 1.0, 0.0, 0.0])
    outlier = Pivot.from_parts(np.array(1.0), np.array([0.0] * 9 + [1.0]))
    assert float(outlier.dof) == pytest.approx(moments_by_hand(np.array([0.0] * 9 + [1.0]))[2])
    assert float(outlier.dof) < 3


def test_few_blocks_reach_as_far_as_square_roots_do():
    """Where a signal is not clear of zero and few blocks carry it; never less far than without."""
    parts, value = np.array([0.9, 2.0, -0.4, 0.1, 0.3, 0.2]), np.array(0.6)
    without = Pivot.from_parts(value, parts, "root", 0.5)
    few = Pivot.from_parts(value, parts, "root", 0.5, few=True)
    roots = Pivot.from_parts(np.sqrt(value), np.sign(parts) * np.sqrt(np.abs(parts)))
    _, end = roots.bounds(np.sqrt(value))
    gap = float(end) ** 2 - float(without.bounds(value)[1])
    assert float(few.reach) == pytest.approx(float(without.reach) + max(gap, 0.0))
    clear = Pivot.from_parts(np.array(1.1), PARTS, "root", 0.5, few=True)
    assert clear.numbers() == Pivot.from_parts(np.array(1.1), PARTS, "root", 0.5).numbers()
    flags = Pivot.from_parts(
        np.array([0.6, 0.6]), np.stack([parts, parts]), "root", 0.5, few=np.array([True, False])
    )
    assert flags.reach.tolist() == [float(few.reach), float(without.reach)]


def test_a_bootstrap_of_an_arm_against_itself():
    gap = lambda a, b: (a - b).mean(-1)  # noqa: E731
    runs = [1.0, 2.0, 4.0]
    assert ends(bootstrap(gap, runs, runs)) == (0.0, 0.0)
    assert not bootstrap(gap, [1.0, 1.0], [2.0, 2.0]).known
    assert not bootstrap(lambda a: a.mean(-1), [3.0, 3.0, 3.0]).known


def test_rounding_of_a_ratio_is_none_of_its_variance():
    """Three clusters of one share but for rounding; and a ratio that is small beside the sums it is made of."""
    cluster, part = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 0, 0, 0, 0])
    x = np.full(6, 3.0)
    equal = np.array([0.1, 0.2, 0.3, 0.0, 0.15, 0.15]) + np.array([0, 0, 0, 1e-17, 0, 0])
    assert Clusters(cluster, part).ratio(equal, x)[2].tolist() == [0.0]
    small = np.array([1e-6, 0.0, 2e-6, 0.0, 4e-6, 0.0])
    assert Clusters(cluster, part).ratio(small, x * 1e4)[2][0] > 0


def test_batches_that_prompts_make():
    def resolved(independent, prompts, batch, drawn=True):
        recording = SimpleNamespace(rollouts=SimpleNamespace(shape=(prompts, 8, 1)), drawn=drawn)
        return _resolve(independent, recording, batch)

    assert resolved("prompts", 4, 2) == "prompts"
    assert resolved("rollouts", 4, 4) == "rollouts"
    assert {resolved("auto", 100, 1), resolved("auto", 100, 1, drawn=False), resolved("auto", 100, 50)} == {
        "prompts", "rollouts",
    }  # fmt: skip
    assert resolved("auto", 100, 1) == "prompts"
    with pytest.raises(
        ValueError, match="independent: prompts, and the bank's 5 make fewer than 2 batches of 3; record"
    ):
        resolved("prompts", 5, 3)
    with pytest.raises(ValueError, match="independent"):
        resolved("tokens", 4, 2)


def test_replicates_at_once_by_their_cost():
    def plan(params, size, group_size, estimators, tables):
        subject = SimpleNamespace(params={"a": np.zeros(params), "b": np.zeros(1)})
        return DirectPlan(subject, (None,) * estimators, (), group_size, size, None, None, tables)

    one = plan(1023, 2, 4, 3, tables=object())
    assert (one.cost, one.slots, one.vectorised) == (1024 * 8, 3, (1 << 24) // (3 << 13))
    assert plan(1023, 2, 4, 3, tables=None).slots == 4
    assert plan(1, 1, 2, 1, tables=object()).vectorised == 4096
    assert plan((1 << 23) - 1, 1, 2, 1, tables=None).vectorised == 1


def test_the_value_of_a_state_is_what_may_still_come():
    """Of four completions, two of which share their first token; a token beyond the end makes no difference."""
    support, mask = (
        np.array([[0, 0], [0, 1], [1, 0], [1, 1]]),
        np.array([[1, 1], [1, 1], [1, 0], [1, 0]], bool),
    )
    probs, rewards = np.array([[0.1, 0.3, 0.6, 0.0]]), np.array([[2.0, 4.0, 8.0, 16.0]])
    found = np.asarray(state_values(support, mask, probs, rewards))[0]
    start, after_zero = 0.1 * 2 + 0.3 * 4 + 0.6 * 8, (0.1 * 2 + 0.3 * 4) / 0.4
    np.testing.assert_allclose(found[:, 0], start, rtol=1e-6)
    np.testing.assert_allclose(found[:, 1], [after_zero, after_zero, 8.0, 8.0], rtol=1e-6)


def test_levels():
    assert check_level(0.5) == 0.5
    for wrong in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=f"level: {wrong}; give a number between 0 and 1"):
            check_level(wrong)
