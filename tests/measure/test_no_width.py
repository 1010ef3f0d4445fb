"""No width out of rounding: one number that was added up in different orders scatters by 1e-17, and says nothing.

Standard errors of that size made intervals of no width, p values of 1e-150 and tables with "[57.1, 57.1]". The cases
were planted by rule: everything equal, one value for all prompts, a constant quotient, ends at zero, runs without a
number.
"""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from gradvar.audit import audit
from gradvar.audit.text import text
from gradvar.integrations.monitor import Monitor
from gradvar.measure.advise import group_size
from gradvar.measure.advise.allocation import Split
from gradvar.measure.advise.estimator_choice import compare_estimators
from gradvar.measure.advise.findings import split_words
from gradvar.measure.advise.group_size import advise
from gradvar.stats.bootstrap import bootstrap, compare
from gradvar.stats.clusters import Clusters
from gradvar.stats.figures import jackknife_interval, ratio_interval, varies
from gradvar.stats.intervals import Interval, estimate
from gradvar.stats.starts import mean_of, p_value, ratio_of
from gradvar.train import findings
from tests.measure.scenes import summary_of


@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7])
@pytest.mark.parametrize("count", [2, 3, 7, 10, 11])
def test_runs_that_give_one_number_have_no_interval(value, count):
    """Seven runs of 0.1 were 0.1 with p = 1e-96."""
    units = np.full(count, value)
    assert mean_of(units).reason == "every run gives the same number"
    assert math.isnan(p_value(units))
    start = np.linspace(0.1, 0.4, count)
    compared = compare(start, start + 0.3 + value, start, start + 0.3)
    assert compared.difference.reason == "every run gives the same number"
    assert math.isnan(compared.p_value)
    assert not bootstrap(lambda x: x.mean(-1), units).known


def test_a_constant_quotient_of_runs_is_not_known_exactly():
    gains = np.array([0.1, 0.2, 0.3, 0.25, 0.3, 0.2, 0.25])
    assert ratio_of(3 * gains, gains).reason == "every run gives the same number"
    itself = ratio_of(gains, gains)
    assert (itself.low, itself.high) == (1.0, 1.0)  # by algebra


def test_runs_without_a_number_have_no_interval():
    """An arm with a reward of NaN was worse for certain; its gain's interval blamed the reference."""
    start, final = np.zeros(4), np.array([0.5, np.nan, 0.4, 0.6])
    compared = compare(start, final, start, np.array([0.3, 0.2, 0.4, 0.3]))
    for name in ("final", "gain", "difference", "improvement"):
        assert getattr(compared, name).words() == "no interval: a run has no number", name


@pytest.mark.parametrize("value", [0.1 / 3, 1e-170, 1e170, -2.0])
def test_blocks_that_give_one_number_have_no_interval(value):
    parts = np.full(9, value)
    parts[::2] *= 1 + 2e-16
    assert not varies(parts)
    assert not jackknife_interval(value, parts).known
    assert not estimate(value, 1e-15 * abs(value), 8).known
    assert ratio_interval(2.0, np.full(9, 2.0)).reason == "every block gives the same number"
    tied = ratio_interval(2.0, np.full(9, 2.0), by_identity=True)
    assert (tied.low, tied.high) == (2.0, 2.0)


def test_prompts_that_are_alike_are_still_a_sample():
    """Twenty prompts with two successes in four: the share of informative pairs was "57.1 % [57.1, 57.1]"."""
    advice = advise(np.tile([0.0, 1.0], (20, 4)))
    first = advice.curve[0].informative
    assert first.value == pytest.approx(4 / 7)
    assert first.high - first.low > 0.3
    share = Clusters(np.arange(20)).share(np.full(20, 0.1) / 3)
    assert share.high - share.low > 0.05
    assert all(p.informative.reason for p in advice.curve if not p.informative.known)


def test_rewards_that_are_equal_say_so_whatever_the_sizes():
    advice = advise(np.ones((5, 4)), group_sizes=(16, 32))
    assert str(advice).startswith("Every prompt's rewards are all equal")
    assert "costs 1.00 times" not in str(advise(np.eye(4), group_sizes=(2,)))
    with pytest.raises(ValueError, match="a row per prompt"):
        advise(np.zeros((0, 4)))


def dump(path, rewards):
    rows = [
        {"prompt": f"prompt {q}", "completion": f"{k}", "reward": r}
        for q, x in enumerate(rewards)
        for k, r in enumerate(x)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize(
    "rewards",
    [[[0, 1, 0, 1]] * 12, [[0.1, 0.2, 0.3, 0.4]] * 6, [[0, 0, 0, 0]] * 5, [[0.1] * 4] * 8, [[0, 1e-308]] * 4],
    ids=["half solved", "graded alike", "dead", "one reward", "a tiny gap"],
)  # fmt: skip
def test_an_audit_of_prompts_that_are_alike(tmp_path, rewards):
    """max@k was "0.25 [0.25, 0.25]", agreement "nan"; the tiny gap ended in a ZeroDivisionError."""
    figures = audit([dump(tmp_path / "dump.jsonl", rewards)])
    assert all(not point.largest.known and point.largest.reason for point in figures.best_of)
    assert all(point.passing.low < point.passing.high for point in figures.best_of)
    assert all(x.low < x.high for x in (s.informative for s in figures.sizes) if x.known)
    assert "nan" not in text(figures)


def test_prompts_of_one_mean_reward_have_no_interval(tmp_path):
    """The means of 0.1, 0.2, 0.3 and of 0.2, 0.2, 0.2 differ by rounding."""
    groups = [[0.1, 0.2, 0.3], [0.2, 0.2, 0.2], [0.3, 0.2, 0.1], [0.1, 0.3, 0.2], [0.25, 0.15, 0.2]] * 3
    one, *_ = audit([dump(tmp_path / "dump.jsonl", groups)]).best_of
    assert one.k == 1
    assert not one.largest.known


def test_an_optimum_without_a_number_is_said_in_words():
    monitor = Monitor()
    monitor.rewards(np.tile([0.0, 1.0], (8, 2)))
    monitor._optimum = Interval(math.inf, math.nan, math.nan).without("no block contributes to it")
    assert "the best size is not known (no interval: no block contributes to it)." in monitor.advice()


def ranked(summary, **schemes):
    return compare_estimators(
        summary, {"rloo": lambda r: (r - r.mean()) * r.size / (r.size - 1)} | schemes, (2, 4)
    )


def test_no_progress_is_no_ranking():
    """It was "grpo needs nanx as much", with weights from "nan to nan"."""
    size = 12
    p = np.where(np.arange(size) % 2, 0.25, 0.5)
    still = ranked(summary_of(np.zeros(size), np.ones(size), 4 * np.ones(size), p), none=lambda r: 0 * r)
    assert "cannot be told: none climbs grad J" in str(still)
    assert not still.best.cost.known
    assert "nan" not in str(still)
    moving = summary_of(0.2 + np.zeros(size), np.ones(size), 4 * np.ones(size), p)
    moving = replace(moving, gradients=np.full((size, size), 0.2))
    ranking = ranked(moving, none=lambda r: 0 * r)
    assert ranking.best.scheme == "rloo"
    assert "nan" not in str(ranking)


def test_equal_success_rates_make_no_direction_certain():
    """All prompts at p = 0.5 have one weight, by luck: the cosine was 1 with an interval of no width."""
    size = 12
    alike = replace(
        summary_of(np.full(size, 0.2), np.ones(size), 4 * np.ones(size)), gradients=np.full((size, size), 0.2)
    )
    grpo = ranked(alike, grpo=lambda r: (r - r.mean()) / (r.std() + 1e-6)).of("grpo")
    assert grpo.cosine.value == pytest.approx(1)
    assert not grpo.cosine.known


def test_advice_on_prompts_that_are_alike():
    """Every prompt's variance is the same number: it had an interval of no width, and so had what sizes cost."""
    rng = np.random.default_rng(0)
    alike = summary_of(np.full(20, 0.5), np.full(20, 0.3), np.full(20, 4.0))
    advice = advise(alike)
    assert all(not p.variance.known for p in advice.curve)
    assert all(not p.cost.known for p in advice.curve if p.group_size != advice.best)
    assert math.isnan(advice.regret)  # it was 1: no other size could be better
    assert "excludes" not in str(advice)
    without = advise(summary_of(1e-9 * rng.normal(size=20), -np.ones(20), 0.1 * np.ones(20)))
    assert without.best is None or "nan" not in without.sheet().render()


@pytest.mark.parametrize(
    ("strength", "reason"), [(0.1, "2.0 effective blocks, fewer than 6"), (0.0, "no block contributes to it")]
)
def test_prompts_with_one_success_do_not_compare_sizes(strength, reason):
    """Their signals are zero and their quotients equal: the largest size was best with a regret of 1.0, and was not.

    Of 60 prompts of p = 0.01 two had two successes; over repeats the true loss was below the regret in 30 %.
    """
    signal, spread = np.zeros(60), np.zeros(60)
    spread[:10], signal[:2] = 1 + 0.01 * np.arange(10), strength
    signal[2:10] = 1e-9 * np.cos(np.arange(8))  # zero but for rounding
    advice = advise(summary_of(signal, 0.02 * spread, 4 * spread))
    others = [p.cost for p in advice.curve if p.group_size != advice.best]
    assert {cost.words() for cost in others} == {f"no interval: {reason}"}
    assert math.isnan(advice.regret)
    assert "cannot be told" in str(advice)


def test_an_end_at_zero_is_no_division():
    """The ends of an interval on the logarithmic scale may underflow."""
    split = Split("vip", np.array([2, 9]), Interval(0.5, 0.0, 1.0))
    assert "95 % interval 1.00 to no upper end" in split_words(split)
    points = [
        replace(p, cost=Interval(2.0, 0.0, 9.0)) for p in advise(summary_of(*[np.arange(1.0, 9)] * 3)).curve
    ]
    assert group_size._regret(points, 1) == math.inf


def test_a_correlation_that_is_not_known_is_no_finding():
    """It was "n/a (95 % interval n/a to n/a)"."""
    row = {"arm": "a", "final_reward": 0.5, "start_reward": 0.2, "updates": 1}
    content = {"rows": [row], "config": {"reference": "a"}}
    unknown = {"value": None, "low": None, "high": None}
    assert not any(
        "correlation" in s for s in findings.findings(content | {"mechanism": {"at the start": unknown}})
    )
    wide = {"value": 0.5, "low": None, "high": None}
    assert any(
        "0.5 (no interval)" in s for s in findings.findings(content | {"mechanism": {"at the start": wide}})
    )
