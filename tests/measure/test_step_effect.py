"""First and second order of a step against NumPy: a softmax's Fisher matrix, derivatives by finite differences."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from gradvar import catalogue, tasks
from gradvar.measure.exact import step_effect as step_effect_
from gradvar.measure.exact.step_effect import step_effect
from gradvar.policies import Bandit
from gradvar.train.systems import own_likelihood, own_rollouts

LOGITS, REWARDS = np.array([0.7, -0.4, 0.1]), np.array([1.0, 0.0, 1.0])


def chances(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def figures(x):
    p = chances(x)
    return np.array([p @ REWARDS, -p @ np.log(p)])


def hessian(step=1e-4):
    axes = np.eye(3) * step
    table = np.zeros((2, 3, 3))
    for i, j in itertools.product(range(3), repeat=2):
        corners = [figures(LOGITS + a * axes[i] + b * axes[j]) * a * b for a in (1, -1) for b in (1, -1)]
        table[:, i, j] = sum(corners) / (4 * step**2)
    return table


def effect(estimator, group, rate=0.1):
    task = tasks.Bandit(REWARDS.tolist())
    return step_effect(estimator, Bandit(3), jnp.asarray(LOGITS)[None], task, group, rate)


@pytest.mark.slow
def test_likelihood_on_own_rollouts_acts_in_second_order_whatever_its_sign():
    """E[g] = 0 and Cov g = F / G: the change is rate^2 tr(Hess f F) / (2 G) for both signs."""
    p = chances(LOGITS)
    fisher = np.diag(p) - np.outer(p, p)
    for group in (1, 2, 3):
        expected = np.einsum("fij,ij->f", hessian(), fisher) / (2 * group)
        results = [effect(own_rollouts(sign), group) for sign in (-1, 1)]
        for result in results:
            np.testing.assert_allclose(result.first, 0, atol=1e-12)
            np.testing.assert_allclose(result.second, expected, rtol=1e-5, atol=1e-8)
            assert (
                np.abs(result.second - 1.01 * expected).max() > 1e-3 * np.abs(expected).max()
            )  # 1 % is seen
        assert expected[1] < 0  # and it narrows the policy, whether it imitates or runs away


@pytest.mark.slow
def test_the_whole_change_is_both_orders_and_a_rest_of_third_order():
    rests = []
    for rate in (0.2, 0.1):
        result = effect(own_rollouts(1), 2, rate)
        rests.append(np.abs(result.change - rate * result.first - rate**2 * result.second).max())
    assert 6 < rests[0] / rests[1] < 20  # 2^3 or 2^4
    up, down = (effect(own_rollouts(sign), 2, 0.5).change for sign in (1, -1))
    assert np.abs(up - down).max() > 1e-4  # the signs part in third order


@pytest.mark.slow
def test_the_reading_acts_in_first_order(monkeypatch):
    """Of two rollouts, one correct: weight 1/2 on it and -1/2 on the other, so grad f . E[g] by hand."""
    p, slope = chances(LOGITS), np.zeros(3)
    for i, j in itertools.product(range(3), repeat=2):
        if REWARDS[i] != REWARDS[j]:
            slope += p[i] * p[j] * 0.5 * (REWARDS[i] - REWARDS[j]) * (np.eye(3)[i] - np.eye(3)[j])
    step = 1e-5
    gradient = np.stack(
        [(figures(LOGITS + d) - figures(LOGITS - d)) / (2 * step) for d in np.eye(3) * step], 1
    )
    monkeypatch.setattr(step_effect_, "MOST_GROUPS", 9)  # which these are
    np.testing.assert_allclose(effect(own_likelihood(), 2).first, gradient @ slope, atol=1e-8)
    monkeypatch.setattr(step_effect_, "MOST_GROUPS", 8)
    with pytest.raises(ValueError, match="2 of 3 completions are 9 groups; give fewer, 8 at most"):
        effect(own_likelihood(), 2)


def test_what_cannot_be_enumerated_is_said():
    with pytest.raises(ValueError, match=r"group_size: 10 of 3 completions are 59049 groups"):
        effect(own_rollouts(1), 10)
    with pytest.raises(ValueError, match="ppo needs values"):
        effect(catalogue.get("ppo"), 2)
