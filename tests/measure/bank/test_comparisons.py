"""Comparisons of two settings of a bank, from parts that are given, against the formulas of their page."""

import numpy as np
import pytest

from gradvar.core.moments import Moments
from gradvar.measure.bank.comparison import Evaluation
from gradvar.stats.figures import FIGURES, jackknife_interval, ratio_interval
from gradvar.stats.power import prompts_for_ratio

A, B = ("a", 2), ("b", 4)
RNG = np.random.default_rng(0)
PARTS = {s: {figure: RNG.uniform(1.0, 2.0, 8) for figure in FIGURES} for s in (A, B)}
EFFECTIVE = {A: 8.0, B: 7.0}


def moments(setting):
    values = {figure: float(x.mean()) for figure, x in PARTS[setting].items()}
    return Moments(
        *setting, 3, np.zeros(2), np.zeros(2), **values, se=dict.fromkeys(FIGURES, 0.1), dof=7.0, replicates=80,
        effective=dict.fromkeys(FIGURES, EFFECTIVE[setting]),
    )  # fmt: skip


def evaluation(parts=PARTS, independent="prompts"):
    made = {s: moments(s) for s in (A, B)}
    return Evaluation(made, parts, independent, dict.fromkeys(made, 0.0), dict.fromkeys(made, 0.0), 8)


def test_figures_per_rollout_by_their_definitions():
    """A batch has 3 x 2 and 3 x 4 rollouts."""
    found = evaluation()
    for setting, rollouts in ((A, 6), (B, 12)):
        one = found[setting]
        assert found.figure(setting, "variance_per_rollout") == one.trace_cov * rollouts
        assert found.figure(setting, "snr_per_rollout") == one.snr / rollouts
        assert found.figure(setting, "signal") == one.signal
        whole, each = one.estimate("trace_cov", 0.8), found.estimate(setting, "variance_per_rollout", 0.8)
        for name in ("value", "low", "high", "se"):
            assert getattr(each, name) == pytest.approx(rollouts * getattr(whole, name))
        assert found.estimate(setting, "signal", 0.8) == one.estimate("signal", 0.8)
    assert list(found) == [A, B]
    assert len(found) == 2
    with pytest.raises(KeyError, match=r"setting: \('a', 4\) was not evaluated; choose from a G=2, b G=4"):
        found["a", 4]
    with pytest.raises(ValueError, match=r"figure: 'none'; choose one of trace_cov, between"):
        found.estimate(A, "none")


def test_a_table_has_a_row_of_every_setting_and_figure():
    found = evaluation()
    rows = found.rows()
    names = (*FIGURES, "snr_per_rollout", "variance_per_rollout")
    assert [(r["estimator"], r["group_size"], r["figure"]) for r in rows] == [
        (*s, f) for s in (A, B) for f in names
    ]
    for row in rows:
        interval = found.estimate((row["estimator"], row["group_size"]), row["figure"])
        assert [row[n] for n in ("value", "se", "low", "high", "effective", "note")] == [
            interval.value, interval.se, interval.low, interval.high, interval.effective, interval.note
        ]  # fmt: skip
        assert row["prompts"] == 3


@pytest.mark.parametrize("figure", ["trace_cov", "bias_factor", "variance_per_rollout", "snr_per_rollout"])
def test_a_comparison_is_a_paired_jackknife(figure):
    found = evaluation()
    base = {"variance_per_rollout": "trace_cov", "snr_per_rollout": "snr"}.get(figure, figure)
    factor = {"variance_per_rollout": (6, 12), "snr_per_rollout": (1 / 6, 1 / 12)}.get(figure, (1, 1))
    (a, b), (left, right) = (
        [f * x for f, x in zip(factor, pair, strict=True)]
        for pair in (
            [getattr(moments(s), base) for s in (A, B)],
            [PARTS[s][base] for s in (A, B)],
        )
    )
    for level in (0.95, 0.5):
        got = found.compare(A, B, figure, level)
        assert (got.figure, got.first, got.second) == (figure, A, B)
        difference = jackknife_interval(a - b, left - right, level, effective=7.0, by_identity=True)
        ratio = ratio_interval(a / b, left / right, level, 7.0, True)
        for mine, other in ((got.difference, difference), (got.ratio, ratio)):
            for name in ("value", "low", "high", "se", "dof", "effective"):
                assert getattr(mine, name) == pytest.approx(getattr(other, name)), name
        assert got.correlation == pytest.approx(np.corrcoef(left, right)[0, 1])
        expected = (
            prompts_for_ratio(got.ratio, 8, level)
            if figure in ("trace_cov", "variance_per_rollout")
            else np.nan
        )
        assert got.enough == pytest.approx(expected, nan_ok=True)
    assert np.isnan(evaluation(independent="rollouts").compare(A, B, figure).enough)
    again = found.compare(A, A, figure)
    assert (again.difference.value, again.ratio.value, again.correlation) == pytest.approx((0.0, 1.0, 1.0))
    assert (again.difference.low, again.difference.high) == (0.0, 0.0)


def test_what_cannot_be_compared_says_why():
    shorter = {A: PARTS[A], B: {name: x[:5] for name, x in PARTS[B].items()}}
    got = evaluation(shorter).compare(A, B, "trace_cov")
    assert got.difference.value == pytest.approx(moments(A).trace_cov - moments(B).trace_cov)
    assert np.isnan([got.ratio.value, got.difference.low, got.correlation, got.enough]).all()
    reason = "their blocks differ, 8 and 5; give the same slices to both"
    assert (got.difference.reason, got.ratio.reason) == (reason, reason)
    assert str(got) == f"trace_cov: a G=2 and b G=4 cannot be compared: {reason}"
    same = {A: PARTS[A], B: {name: np.ones(8) for name in FIGURES}}
    assert np.isnan(evaluation(same).compare(A, B, "trace_cov").correlation)
    flat = evaluation({s: {name: np.ones(8) for name in FIGURES} for s in (A, B)}).compare(
        A, B, "bias_factor"
    )
    assert not flat.difference.known  # nothing varies: no width of zero is claimed for it
    whole = str(evaluation().compare(A, B, "trace_cov"))
    ratio = moments(A).trace_cov / moments(B).trace_cov
    assert whole.startswith(f"trace_cov: a G=2 is {ratio:.3g} times b G=4 (")


@pytest.mark.parametrize(
    ("numerator", "denominator"), [("within", "trace_cov"), ("signal", "snr"), ("cosine", "snr")]
)
def test_a_quotient_within_a_setting(numerator, denominator):
    found, one = evaluation(), moments(B)
    got = found.quotient(B, numerator, denominator, 2.5, 0.9)
    value = 2.5 * getattr(one, numerator) / getattr(one, denominator)
    parts = 2.5 * PARTS[B][numerator] / PARTS[B][denominator]
    expected = ratio_interval(value, parts, 0.9, 7.0, True)
    for name in ("value", "low", "high", "se", "effective"):
        assert getattr(got, name) == pytest.approx(getattr(expected, name)), name


def test_a_quotient_that_may_be_negative_is_on_the_linear_scale():
    """Only of two variances, or squared norms, is a negative quotient no value."""
    parts = {s: dict(PARTS[s]) for s in (A, B)}
    parts[A]["bias_factor"] = parts[A]["bias_factor"] - 1.5
    parts[A]["between"] = parts[A]["between"] - 1.5
    parts[A]["within"] = parts[A]["within"] - 1.5
    found = evaluation(parts)
    linear = found.quotient(A, "bias_factor", "trace_cov")
    value = moments(A).bias_factor / moments(A).trace_cov
    expected = jackknife_interval(
        value, parts[A]["bias_factor"] / parts[A]["trace_cov"], effective=8.0, by_identity=True
    )
    assert (linear.value, linear.low, linear.high) == pytest.approx((value, expected.low, expected.high))
    mixed = found.quotient(A, "bias_factor", "within")
    assert np.isfinite(mixed.value)
    assert np.isnan(found.quotient(A, "within", "trace_cov").value)
