"""Warm starts as the unit: what a headline may say, rates that are tuned, and many arms at once."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import stats

from gradvar.stats.bootstrap import compare
from gradvar.stats.starts import by_start, holm, mean_of, p_value, ratio_of
from gradvar.tasks import ModularAddition
from gradvar.train.arms import get
from gradvar.train.findings import findings
from gradvar.train.held_out import Training, held_out
from gradvar.train.plan import TrainConfig, plan
from gradvar.train.tuning import Tried, with_edge

SEEDS = 8


def runs(rng, starts, retained=0.3):
    """Start and final rewards of an arm and of the reference, and each run's warm start; starts scatter."""
    origin = np.repeat(np.arange(starts), SEEDS)
    gain = 0.15 + 0.03 * rng.standard_normal(starts)
    other = retained * gain + 0.02 * rng.standard_normal(starts)
    begin = np.full(starts * SEEDS, 0.3)
    finals = [begin + x[origin] + 0.02 * rng.standard_normal(starts * SEEDS) for x in (other, gain)]
    return begin, finals[0], begin, finals[1], origin


@pytest.mark.parametrize("starts", [3, 5, 10])
def test_the_interval_of_what_is_retained_covers_over_starts_and_not_over_seeds(starts):
    rng, repeats = np.random.default_rng(starts), 300
    held, over_seeds = 0, 0
    for _ in range(repeats):
        a, b, c, d, origin = runs(rng, starts)
        gains = by_start(b - a, origin), by_start(d - c, origin)
        held += not ratio_of(*gains).excludes(0.3)
        over_seeds += not ratio_of(b - a, d - c).excludes(0.3)
    assert abs(held / repeats - 0.95) < 3.5 * (0.95 * 0.05 / repeats) ** 0.5
    assert over_seeds / repeats < 0.8  # as if every seed were a start of its own


def test_the_delta_method_by_hand_and_where_there_is_no_interval():
    a, b, c, d, origin = runs(np.random.default_rng(0), 5)
    compared = compare(a, b, c, d, origin)
    x, y = (b - a).reshape(5, SEEDS).mean(1), (d - c).reshape(5, SEEDS).mean(1)
    ratio = x.mean() / y.mean()
    covariance = np.cov(x, y)
    slope = np.array([1 / y.mean(), -x.mean() / y.mean() ** 2])
    half = stats.t.ppf(0.975, 4) * np.sqrt(slope @ covariance @ slope / 5)
    np.testing.assert_allclose((compared.gain.low, compared.gain.high), (ratio - half, ratio + half))
    assert compared.p_value == pytest.approx(stats.ttest_rel(by_start(b, origin), by_start(d, origin)).pvalue)
    vague = ratio_of(x, np.array([0.1, -0.1, 0.2, -0.05, 0.1]), what="reference's gain")
    assert vague.words() == "no interval: the reference's gain cannot be told from zero"
    assert np.isnan(ratio_of(x, -y).value)
    assert mean_of(np.ones(4)).reason == "every run gives the same number"
    assert np.isnan(p_value(np.zeros(4)))


def test_holm_is_the_definition():
    p = np.array([0.01, 0.2, 0.012, 0.03, 0.04])
    steps = [1.0 * (5 - k) * x for k, x in enumerate(np.sort(p))]
    expected = np.minimum(1, np.maximum.accumulate(steps))[np.argsort(np.argsort(p))]
    np.testing.assert_allclose(holm(p), expected)


def content(arms=1, p=0.001, **config):
    """An experiment's plain values: every arm retains 0.82 of the final reward and 0.31 of the gain."""
    row = {
        "start_reward": 0.3, "final_reward": 0.36, "difference": -0.08, "difference_low": -0.1,
        "difference_high": -0.06, "retained_final": 0.82, "retained_final_low": 0.79, "retained_final_high": 0.87,
        "retained_gain": 0.31, "retained_gain_low": 0.23, "retained_gain_high": 0.41, "updates": 800,
    }  # fmt: skip
    adjusted = holm(np.full(arms, p)).tolist()
    rows = [
        {**row, "arm": f"arm-{k}", "difference_p": p, "difference_p_holm": q} for k, q in enumerate(adjusted)
    ]
    reference = {"arm": "grpo-16", "final_reward": 0.44, "updates": 100}
    config = {"reference": "grpo-16", "seeds": 8, "equal": "tokens", "grid": [0.5, 1.0, 2.0], **config}
    return {"config": config, "rows": [*rows, reference], "warm_start": {"success": 0.3}}


def test_the_gain_comes_first_and_one_start_is_no_headline():
    # Before: "arm-0 ends below grpo-16: it retains 0.82 of its held-out reward (95 % interval 0.79 to 0.87)",
    # which a fresh warm start then left, at 0.753.
    first, *others = findings(content())
    assert first == (
        "arm-0 ends below grpo-16: its gain over the warm start is 0.310 (95 % interval 0.230 to 0.410) of grpo-16's; "
        "its held-out reward goes from 0.3 to 0.36, 0.820 (95 % interval 0.790 to 0.870) of grpo-16's at the end."
    )
    assert any(s.startswith("No headline: all of this is of one warm start") for s in others)
    assert any("over 5 warm starts with 8 seeds each" in s for s in findings(content(starts=5)))
    assert not any("headline" in s for s in findings(content(starts=10)))


def test_many_arms_are_corrected_for():
    # Before: each of five intervals by itself, so that all five were said to end below.
    assert "0 end above grpo-16 and 0 below it" in findings(content(arms=5, p=0.02))[0]
    assert "0 end above grpo-16 and 5 below it" in findings(content(arms=5, p=0.001))[0]


def test_unequal_updates_are_said():
    assert any("grpo-16 took 100, arm-0 800" in s for s in findings(content()))
    arms = get("grpo-2"), get("grpo-16")
    equal = [plan(TrainConfig(equal="updates", total=120), arm, arms[1]) for arm in arms]
    assert [p.steps * p.arm.epochs * p.arm.minibatches for p in equal] == [120, 120]


def test_a_rate_at_the_end_of_the_grid_is_refused():
    rates = [Tried("arm-0", 3e-4 * f, reward) for f, reward in ((0.5, 0.3), (1.0, 0.4), (2.0, 0.5))]
    refused = content() | {"tried": [vars(t) for t in with_edge(rates)]}
    (line,) = [s for s in findings(refused) if "not tuned" in s]
    assert "is the highest of the grid. Give --grid 0.5 1 2 4" in line
    inside = with_edge([rates[0], rates[2], rates[1]])
    assert not any("not tuned" in s for s in findings(content() | {"tried": [vars(t) for t in inside]}))
    on_third = [vars(dataclasses.replace(t, start=2)) for t in with_edge(rates)]
    each = content(starts=4, tuning="own") | {"tried": [vars(t) for t in inside] + on_third}
    (line,) = [s for s in findings(each) if "not tuned" in s]
    assert (
        "arm-0 is not tuned on 1 of 4 warm starts (3): its best learning rate there, 0.0006, is the" in line
    )
    with pytest.raises(ValueError, match=r"tuning: own, and rate is fixed; give rate tuned"):
        TrainConfig(tuning="own").check()
    with pytest.raises(ValueError, match=r"grid: .* give three or more"):
        TrainConfig(rate="tuned", grid=(1.0, 2.0)).check()


@pytest.mark.slow
def test_rates_are_chosen_on_prompts_that_judge_nothing():
    task = Training(ModularAddition(digits=2))
    parts = {
        part: {tuple(x) for x in np.asarray(task.examination(jax.random.key(1), 100, part)).tolist()}
        for part in ("validation", "test")
    }
    assert min(map(len, parts.values())) > 50
    assert not parts["validation"] & parts["test"]
    every = np.array([*parts["validation"], *parts["test"]])
    assert np.asarray(held_out(jax.numpy.asarray(every))).all()  # and none is trained on
