"""What is read off a function's answers, by answers that are given: edges, divisors, standardised advantages."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import find

from gradvar.testing.identification.curve import GRID, WeightCurve
from gradvar.testing.identification.epsilon import Ladder
from gradvar.testing.identification.weights import used
from gradvar.testing.kinds import check_kind
from gradvar.testing.losses import LossBatch
from gradvar.testing.oracle.advantages import rescaled
from gradvar.testing.oracle.rollouts import RolloutRows
from gradvar.testing.peers.methods import rlax
from gradvar.testing.strategies import equal_groups

from .one_example import grouped

POINTS = np.concatenate([GRID, [0.0], -GRID[::-1]])


def curve(plus):
    """A curve of positive advantages; the weights of negative ones are its mirror image."""
    made = object.__new__(WeightCurve)
    made.points, made.plus, made.minus = POINTS, plus(POINTS), plus(-POINTS)
    made.at = lambda up, down: (float(plus(np.float64(up))), float(plus(np.float64(-down))))
    return made


def test_an_edge_is_where_the_weight_ends_and_on_one_side():
    read = curve(lambda x: np.where(x > 0.1, 0.0, 1.0))
    assert read.edge(True, True) == pytest.approx(0.1)
    assert read.edge(True, False) is None
    assert read.edge(False, False) == pytest.approx(-0.1)
    assert read.edge(False, True) is None


def test_a_divisor_is_read_where_the_function_answers():
    """A = s/2 over s/2 + 1e-3, and nothing at all below a spread of 1e-3."""

    def function(rewards):
        half = np.ptp(rewards, axis=-1, keepdims=True) / 2
        centred = rewards - rewards.mean(-1, keepdims=True)
        return np.where(half > 2.5e-4, centred / (half + 1e-3), 0.0)

    def form(eps):
        def of(batch):
            half = batch.array("rewards")[-1] / 2
            return np.array([-1.0, -1.0, 1.0, 1.0]) * half / (half + eps)

        return SimpleNamespace(
            advantages_of=of, settings={"eps": eps}, with_settings=lambda **new: form(new["eps"])
        )

    best, *_ = Ladder(grouped(function)).epsilon(form(0.0))
    assert best["eps"] == pytest.approx(1e-3)
    assert 5e-5 <= best["guard"] <= 5e-4


@pytest.mark.parametrize("over", ["rows", "tokens", "rows-sample"])
def test_advantages_are_standardised_over_rows_or_over_their_tokens(over):
    mask = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]], bool)
    given = np.array([1.0, -2.0, 0.5, 3.0])
    old = np.zeros(mask.shape)
    found = used(LossBatch(old, old, given, mask, 4, old), over)
    counted = np.repeat(given, mask.sum(1)) if over == "tokens" else given
    divisor = np.sqrt(counted.var(ddof=int(over.endswith("sample"))) + 1e-8)
    for row, value in enumerate(given):
        for place in np.flatnonzero(mask[row]):
            assert found[row, place] == pytest.approx((value - counted.mean()) / divisor, rel=1e-9)


def test_a_batch_is_rescaled_by_its_groups_of_unequal_rewards():
    """Three groups, two of unequal rewards: everything times 3/2."""
    rewards = np.array([0.0, 1.0, 1.0, 1.0, 2.0, 5.0, 5.0])
    ids = np.array([0, 0, 1, 1, 2, 2, 2])
    found = rescaled(RolloutRows(np.ones((7, 1), bool), rewards, ids))
    assert found == pytest.approx(
        [1.5 * (r - rewards[ids == i].mean()) for r, i in zip(rewards, ids, strict=True)]
    )


def test_advantages_of_rollouts_are_those_of_their_tokens():
    """A function that takes tokens in one row, as rlax's does."""
    taken = []

    def clipped_surrogate_pg_loss(ratio, advantages, epsilon):
        taken.append((np.asarray(ratio), np.asarray(advantages), epsilon))

    (peer,) = rlax(SimpleNamespace(clipped_surrogate_pg_loss=clipped_surrogate_pg_loss))
    logp = np.log([[1.0, 2.0], [3.0, 4.0]])
    peer.function(logp, np.zeros((2, 2)), np.array([5.0, -7.0]))
    peer.function(logp, np.zeros((2, 2)), np.array([[5.0, 5.0], [-7.0, -7.0]]))
    for ratio, advantages, epsilon in taken:
        assert ratio == pytest.approx([1, 2, 3, 4], rel=1e-5)
        assert advantages.tolist() == [5, 5, -7, -7]
        assert epsilon == 0.2


def test_equal_groups_of_real_rewards_reach_below_zero():
    assert find(equal_groups(), lambda group: group[0] < -0.7)[0] < -0.7


def test_who_is_paid_for_the_longest_is_told_where():
    def shape(lengths, correct, max_len=1000):
        lengths = np.asarray(lengths, float)
        return np.where(lengths < max_len, -lengths, 1.0) + 0 * np.asarray(correct, float)

    (failure,) = check_kind(shape, laws=["shaping_monotone"], examples=4).failures
    low, high = map(int, re.search(r"at the lengths (\d+) to (\d+): it falls", str(failure)).groups())
    assert high == low + 2
    assert f"the longest, {low + 1}, and is paid" in str(failure)
