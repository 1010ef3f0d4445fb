"""Small finite scenes with known moments, and banks of them."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.measure.bank.record import record
from gradvar.measure.exact.tables import exact_tables
from gradvar.policies import Tabular
from gradvar.tasks import Lookup

NAMES = ("rloo", "grpo", "dapo", "ppo")


@pytest.fixture(scope="session")
def scene():
    """Six prompts, completions of one to three tokens, binary rewards; ``old`` is a policy some steps
    behind."""
    rng = np.random.default_rng(0)
    policy = Tabular(2, 3, num_prompts=6, stop=1)
    params = policy.init(jax.random.key(0))
    old = params + 0.3 * jax.random.normal(jax.random.key(5), params.shape)
    rewards = (rng.random((6, len(policy.support()))) < 0.4) * 1.0
    rewards[:, 0], rewards[:, 1] = 1.0, 0.0
    return SimpleNamespace(policy=policy, params=params, old=old, task=Lookup(rewards, policy.support()))


@pytest.fixture(scope="session")
def estimators():
    return tuple(catalogue.get(name) for name in NAMES)


@pytest.fixture(scope="session")
def bank(scene, estimators):
    """Off policy, prompts drawn from the task."""
    return record(
        scene.policy,
        scene.params,
        scene.task,
        jax.random.key(1),
        200,
        16,
        old_params=scene.old,
        estimators=estimators,
    )


@pytest.fixture(scope="session")
def tables(scene):
    return exact_tables(scene.policy, scene.params, scene.task, scene.old)
