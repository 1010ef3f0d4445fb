"""``Monitor``: its numbers are those of the rewards by hand, and it says no more than the data do."""

import itertools
import sys

import numpy as np
import pytest

from gradvar.integrations import Monitor
from gradvar.stats.intervals import Interval

REWARDS = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])


def by_hand(rewards, size):
    """The share of subgroups with two different rewards, over all of them."""
    return np.mean(
        [len({*row[list(c)]}) > 1 for row in rewards for c in itertools.combinations(range(4), size)]
    )


def test_shares_are_those_by_hand_over_the_window():
    monitor = Monitor(group_sizes=(2, 3, 4, 8), window=2)
    for step in (np.ones((9, 4)), REWARDS, REWARDS[:2]):  # the first one is forgotten
        monitor.rewards(step)
    numbers, remembered = monitor.metrics(), np.concatenate([REWARDS, REWARDS[:2]])
    assert numbers["gradvar/frac_reward_zero_std"] == 0.5
    for size in (2, 3, 4):
        assert numbers[f"gradvar/groups_with_signal/G={size}"] == pytest.approx(by_hand(remembered, size))
    assert "gradvar/groups_with_signal/G=8" not in numbers  # beyond what was drawn rewards give bounds only
    assert numbers["gradvar/effective_groups"] == 1.0  # of the last step: one group has all the spread


def test_a_prompt_that_comes_again_is_one_prompt():
    apart, again = Monitor(), Monitor()
    for _ in range(8):
        apart.rewards(REWARDS)
        again.rewards(REWARDS, ["a", "b", "c", "d"])
    widths = [m.without_signal().high - m.without_signal().low for m in (apart, again)]
    assert widths[1] > 2 * widths[0]


def test_groups_with_a_missing_reward_are_left_out():
    monitor = Monitor()
    monitor.rewards(np.array([[np.nan, 1.0], [1.0, 0.0]]))
    assert monitor.metrics()["gradvar/frac_reward_zero_std"] == 0.0
    assert Monitor().metrics() == {}


def test_the_engine_against_the_trainer():
    monitor = Monitor()
    monitor.rewards(REWARDS)
    apart, mask = np.array([[0.5, -0.5], [0.1, 9.0]]), np.array([[1, 1], [1, 0]])
    monitor.log_ratios(apart - 1.0, np.full((2, 2), -1.0), mask)
    numbers, w = monitor.metrics(), np.exp([0.5, -0.5, 0.1])
    assert numbers["gradvar/mismatch_nats_per_token"] == pytest.approx(-0.1 / 3)
    assert numbers["gradvar/effective_sample_size/tokens"] == pytest.approx(w.sum() ** 2 / (3 * (w**2).sum()))


@pytest.mark.parametrize(
    ("optimum", "direction", "words"),
    [
        (None, 0, "cannot be told from rewards"),
        (Interval(9.0, 5.0, np.inf), 1, "Raise G"),
        (Interval(2.5, 1.2, 3.5), -1, "Lower G"),
        (Interval(4.5, 3.0, 9.0), 0, "cannot be told from these prompts"),
        (Interval(4.5, np.nan, np.nan, reason="2.0 effective blocks, fewer than 6"), 0, "no interval"),
    ],
)
def test_raise_or_lower_only_where_the_interval_says_so(optimum, direction, words):
    monitor = Monitor()
    monitor.rewards(REWARDS)
    monitor._optimum = optimum
    assert monitor.direction() == direction
    assert words in monitor.advice()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Monitor().rewards(np.ones(4)), r"rewards: shape \(4,\); give \[prompt, rollout\]"),
        (lambda: Monitor().rewards(REWARDS, ["a"]), "prompts: 1 for 4 groups"),
        (lambda: Monitor(group_sizes=(1, 2)), "group_sizes: 1; give 2 or more"),
        (lambda: Monitor(window=0), "window: 0; give 1 or more"),
    ],
)
def test_bad_input_is_refused_in_a_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_transformers_the_callback_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "gradvar.integrations.trl", raising=False)
    import gradvar.integrations

    monkeypatch.delitem(vars(gradvar.integrations), "trl", raising=False)  # of another test
    with pytest.raises(ImportError, match="transformers: not installed; pip install trl"):
        gradvar.integrations.trl.GradVarCallback(object())
    monkeypatch.delitem(sys.modules, "gradvar.integrations.trl", raising=False)
