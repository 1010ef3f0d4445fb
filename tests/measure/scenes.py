"""Finite problems that the engine tests share."""

import jax
import numpy as np

from gradvar.measure.bank.summary import Summary
from gradvar.policies import Bandit, Tabular
from gradvar.tasks import Bandit as Rewards
from gradvar.tasks import Lookup


def bandit(seed: int, *, binary: bool, prompts: int = 1, answers: int = 4):
    """(policy, params, task) with random logits and rewards; binary rewards are neither all 0 nor all 1."""
    rng = np.random.default_rng(seed)
    policy = Bandit(answers, num_prompts=prompts)
    return policy, policy.init(jax.random.key(seed)), Rewards(_rewards(rng, prompts, answers, binary))


def tabular(seed: int, *, binary: bool, prompts: int = 2, shared: bool = False):
    """(policy, params, task) with completions of one to three tokens."""
    rng = np.random.default_rng(seed)
    policy = Tabular(2, 3, num_prompts=prompts, stop=1, shared=shared)
    support = policy.support()
    return (
        policy,
        policy.init(jax.random.key(seed)),
        Lookup(_rewards(rng, prompts, len(support), binary), support),
    )


def moved(policy, params, seed: int, size: float):
    """Parameters a random step of this size away: a policy that has gone stale."""
    return jax.tree.map(lambda p, n: p + size * n, params, policy.init(jax.random.key(seed)))


def _rewards(rng, prompts, completions, binary):
    if not binary:
        return rng.normal(size=(prompts, completions)) * 3 + rng.normal()
    rewards = (rng.random((prompts, completions)) < 0.5).astype(float)
    rewards[:, 0], rewards[:, 1] = 1.0, 0.0
    return rewards


def summary_of(signal, zeta1, zeta2, p=0.5):
    """A summary with these numbers of every prompt, whose gradients are orthogonal."""
    size = len(signal)
    rewards = np.tile([0.0, 1.0], (size, 4))
    numbers = {"signal": signal, "zeta1": zeta1, "zeta2": zeta2}
    numbers |= {"p": np.full(size, p), "v1": np.ones(size), "v0": np.ones(size)}
    return Summary(
        rewards=rewards, length=np.ones(size), gradients=np.diag(signal), se={}, on_policy=True,
        halves=(numbers, numbers), **numbers,
    )  # fmt: skip
