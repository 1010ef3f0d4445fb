"""Baselines from a pilot sample, against the tables of a policy that can be listed."""

import jax
import numpy as np
import pytest

from gradvar.measure import exact_tables
from gradvar.measure.baselines import sample_baselines
from tests.measure import scenes

ROLLOUTS = 4096


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
