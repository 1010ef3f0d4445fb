"""A recording that takes as little to compile as there can be: three prompts of two answers, in shards of two."""

import jax
import numpy as np

import gradvar as gv

TASK = gv.tasks.Bandit([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
POLICY = gv.policies.Bandit(2, num_prompts=3)
SHARDS = 4


def params():
    return POLICY.init(jax.random.key(0))


def record(folder, *, task=TASK, policy=POLICY, **settings):
    """Seven prompts in four shards, the last of one prompt."""
    more = {
        name: settings.pop(name) for name in ("shard", "chunk", "cuts", "monitor", "part") if name in settings
    }
    settings = {"scores": gv.Whole(), "settings": gv.RecordSettings(**{"shard": 2} | more)} | settings
    return gv.measure.record(policy, params(), task, jax.random.key(1), 7, 4, folder=folder, **settings)


def unsharded(**settings):
    return gv.measure.record(POLICY, params(), TASK, jax.random.key(1), 7, 4, scores=gv.Whole(), **settings)


def arrays(bank):
    """Everything that figures are made of, by name."""
    found = bank.recording.scores.arrays()
    return bank.rollouts.arrays() | found | {"basis": bank.recording.rows.basis}


def same(one, two):
    """Whether two banks agree to the last bit."""
    first, second = arrays(one), arrays(two)
    return set(first) == set(second) and all(np.array_equal(first[n], second[n]) for n in first)
