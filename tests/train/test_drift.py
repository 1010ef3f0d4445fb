"""Drift: optimiser steps, against steps written out by hand and by what they do to the reward."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradvar.core.estimator import Estimator
from gradvar.policies import Bandit, Tabular, Transformer
from gradvar.tasks import Bandit as Rewards
from gradvar.tasks import Lookup, Sorting
from gradvar.train.drift import drift
from tests.compilations import compilations

PULL = Estimator(
    "centred",
    lambda logp, batch: jnp.mean((batch.rewards - batch.rewards.mean(1, keepdims=True)) * logp.sum(-1)),
)
POLICY = Bandit(3, num_prompts=2)
TASK = Rewards([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])


def expected_reward(params):
    return float((jax.nn.softmax(params) * jnp.asarray(TASK.rewards)).sum(-1).mean())


@pytest.mark.slow
def test_steps_climb_and_no_step_changes_nothing():
    params = POLICY.init(jax.random.key(0))
    key = jax.random.key(1)
    np.testing.assert_array_equal(drift(POLICY, params, TASK, key, 0, PULL), params)
    moved = drift(POLICY, params, TASK, key, 100, PULL, learning_rate=0.05)
    assert expected_reward(moved) > expected_reward(params) + 0.5
    down = replace(PULL, objective=lambda logp, batch: -PULL.objective(logp, batch))  # the planted violator
    assert expected_reward(drift(POLICY, params, TASK, key, 100, down, learning_rate=0.05)) < expected_reward(
        params
    )


@pytest.mark.slow
def test_steps_are_those_written_out_by_hand():
    params = POLICY.init(jax.random.key(0))
    key, num, group = jax.random.key(2), 5, 4
    optimiser = optax.sgd(0.3, momentum=0.9)
    by_hand, memory = params, optimiser.init(params)
    for index in range(3):
        key_prompts, key_rollouts = jax.random.split(jax.random.fold_in(key, index))
        prompts = TASK.prompts(key_prompts, num)
        each = jnp.repeat(prompts, group)
        completions = POLICY.sample(by_hand, key_rollouts, each, 1).reshape(num, group, -1)
        rewards = np.asarray(TASK.reward(prompts, completions))
        slope = np.zeros((2, 3))
        for q in range(num):  # the score of a softmax: one-hot less probabilities
            prompt = int(prompts[q])
            prob = np.asarray(jax.nn.softmax(by_hand[prompt]))
            for g in range(group):
                score = np.eye(3)[int(completions[q, g, 0])] - prob
                slope[prompt] += (rewards[q, g] - rewards[q].mean()) * score / (num * group)
        updates, memory = optimiser.update(jnp.asarray(-slope), memory, by_hand)
        by_hand = optax.apply_updates(by_hand, updates)
    moved = drift(POLICY, params, TASK, key, 3, PULL, optimiser, num, group)
    np.testing.assert_allclose(moved, by_hand, rtol=1e-12)


@pytest.mark.slow
def test_estimators_get_what_they_need():
    policy = Tabular(3, 2, num_prompts=2, stop=0)
    task = Lookup(np.random.default_rng(0).normal(size=(2, len(policy.support()))), policy.support())
    params, other = policy.init(jax.random.key(0)), policy.init(jax.random.key(1))
    key = jax.random.key(2)

    def objective(logp, batch):
        gap = jnp.where(batch.mask, logp - batch.logp_ref, 0.0)
        advantage = batch.rewards - batch.greedy_rewards[:, None]
        ratio = jnp.exp(logp - batch.logp_sampler)
        return jnp.mean(jnp.sum(jnp.where(batch.mask, advantage[..., None] * ratio, 0.0) - 0.5 * gap**2, -1))

    needy = Estimator("needy", objective, needs=("logp_ref", "greedy_rewards", "logp_sampler"), min_group=1)
    moved = drift(policy, params, task, key, 2, needy)
    assert jnp.abs(moved - params).max() > 0
    pulled = drift(policy, params, task, key, 2, needy, reference=other)
    assert jnp.abs(moved - pulled).max() > 0


def test_other_rates_and_numbers_of_steps_need_no_new_compilation():
    params = POLICY.init(jax.random.key(0))
    drift(POLICY, params, TASK, jax.random.key(1), 3, PULL)
    with compilations() as names:
        drift(POLICY, params, TASK, jax.random.key(2), 2, PULL, learning_rate=0.2)
    assert "_climb" not in names
    with compilations() as names:  # the planted violator: another estimator is another program
        drift(POLICY, params, TASK, jax.random.key(2), 2, replace(PULL, name="other"))
    assert "_climb" in names


@pytest.mark.slow
def test_transformers_drift():
    task = Sorting(3, 4, shortest=1)
    policy = Transformer.for_task(task, layers=1, width=16, heads=2, kv_heads=1, hidden=32)
    params = policy.init(jax.random.key(0))
    # 64 prompts: at random initialisation few groups have a success, and a step needs one
    moved = drift(policy, params, task, jax.random.key(1), 1, PULL, learning_rate=1e-3, prompts_per_step=64)
    pairs = list(zip(jax.tree.leaves(moved), jax.tree.leaves(params), strict=True))
    assert 0.5e-3 < max(float(jnp.abs(a - b).max()) for a, b in pairs) <= 1.01e-3  # Adam's first step
    better = drift(
        policy, params, task, jax.random.key(1), 100, PULL, learning_rate=3e-3, prompts_per_step=32
    )
    prompts = task.prompts(jax.random.key(2), 500)

    def success(params):
        return task.reward(prompts, policy.sample(params, jax.random.key(3), prompts, 4)).mean()

    assert success(better) > success(params) + 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": -1}, "steps: -1; give 0 or more"),
        ({"group": 1}, "group: 1 is too small for centred; give 2 or more"),
        ({"prompts_per_step": 0}, "prompts_per_step: 0; give 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate: 0.0; give a number above zero"),
        (
            {"estimator": replace(PULL, needs=("values",))},
            "estimator: centred needs values, which rollouts do not give",
        ),
    ],
)
def test_bad_settings_are_refused(change, message):
    arguments = {"policy": POLICY, "params": POLICY.init(jax.random.key(0)), "task": TASK, "steps": 1}
    with pytest.raises(ValueError, match=message):
        drift(**(arguments | {"key": jax.random.key(0), "estimator": PULL} | change))
