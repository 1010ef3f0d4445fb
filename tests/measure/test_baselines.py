"""Baselines from a pilot sample, against the tables of a policy that can be listed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.measure import exact_tables
from gradvar.measure.baselines import _index_of, sample_baselines, score_squares
from gradvar.policies import Bandit
from tests.measure import scenes

ROLLOUTS = 4096


def test_the_squares_of_scores_and_where_rollouts_are_listed():
    """Of a softmax over three answers the score is the answer less the chances; three prompts, four rollouts each."""
    policy, answers = Bandit(3, num_prompts=3), np.array([[0, 2, 1, 1], [2, 2, 0, 1], [0, 1, 2, 0]])
    params = policy.init(jax.random.key(1))
    chances = np.exp(params) / np.exp(params).sum(1, keepdims=True)
    found = score_squares(policy, params, jnp.arange(3), jnp.asarray(answers[..., None]))
    for prompt, member in np.ndindex(3, 4):
        score = np.eye(3)[answers[prompt, member]] - chances[prompt]
        assert float(found[prompt, member]) == pytest.approx(score @ score, rel=1e-5)
    listed = np.array([[[1, 0], [0, 1]], [[0, 0], [1, 1]], [[1, 0], [1, 1]]])
    assert _index_of(listed[[2, 0, 1, 2]], listed).tolist() == [2, 0, 1, 2]
    assert _index_of(np.arange(2)[::-1], np.arange(2)).tolist() == [1, 0]


@pytest.mark.slow
def test_the_pilot_is_near_the_tables_and_makes_only_what_is_needed():
    """Mean reward and best constant E[r ||s||^2] / E||s||^2 of one prompt, within 4.5 standard errors."""
    policy, params, task = scenes.tabular(12, binary=True, prompts=1)
    tables = exact_tables(policy, params, task)
    pi, rewards = np.asarray(tables.probs[0]), np.asarray(tables.rewards[0])
    norms = (np.asarray(tables.scores[0]).sum(1) ** 2).sum(-1)
    side = sample_baselines(policy, params, task, jax.random.key(0), ROLLOUTS)
    mean, constant = pi @ rewards, (pi * norms) @ rewards / (pi @ norms)
    assert abs(float(side.mean_reward) - mean) < 4.5 * np.sqrt(mean * (1 - mean) / ROLLOUTS)
    # A ratio of means: its error is that of the residual over the mean norm.
    residual = norms * (rewards - constant)
    error = np.sqrt(pi @ residual**2 / ROLLOUTS) / (pi @ norms)
    assert side.best_constant is not None
    assert abs(float(side.best_constant) - constant) < 4.5 * error
    assert abs(mean - constant) > 4.5 * error  # the two can be told apart at this budget

    without = sample_baselines(policy, params, task, jax.random.key(0), ROLLOUTS, needs=("values",))
    prompts, completions = task.all_prompts()[:1], policy.support()[:1]
    assert float(without(prompts, completions, ("values",))["values"][0, 0]) == float(side.mean_reward)
    with pytest.raises(ValueError, match="best constant"):
        without(prompts, completions, ("baseline",))
