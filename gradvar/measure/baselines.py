"""Side information that some estimators need: a critic's values, greedy rewards, the best constant baseline.

A ``Side`` maps (prompts [N, ...], completions [N, T]) of flat rollouts to the optional fields of ``Batch``, flat too.
"""

from __future__ import annotations

from typing import Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.protocols import FinitePolicy, FiniteTask, Policy, Task
from gradvar.measure.exact.tables import ExactTables

NAMES = ("values", "greedy_rewards", "baseline")


class Side(Protocol):
    """Side information for flat rollouts; the keys are among ``NAMES``, shapes [N, T], [N] and [N]."""

    def __call__(
        self, prompts: Array, completions: Int[Array, "rollout time"], names: tuple[str, ...]
    ) -> dict[str, Array]:
        """The arrays asked for by ``names``."""
        ...


class ExactSide(eqx.Module):
    """From the tables of a finite policy: exact state values and the exactly best constant per prompt."""

    tables: ExactTables
    support: Int[Array, "completion time"]
    listed: Array

    def __call__(
        self, prompts: Array, completions: Int[Array, "rollout time"], names: tuple[str, ...]
    ) -> dict[str, Array]:
        """Look every rollout up by its prompt and completion."""
        row = _where_equal(prompts, self.listed)
        pick = _where_equal(completions, self.support)
        found = {
            "values": self.tables.values[row, pick],
            "greedy_rewards": self.tables.greedy_rewards[row],
            "baseline": self.tables.baseline[row],
        }
        return {name: found[name] for name in names}


class PilotSide(eqx.Module):
    """For policies that cannot be listed: a critic that knows the mean reward only, and one best constant, both from a
    pilot sample; greedy rewards are decoded."""

    policy: Policy = eqx.field(static=True)
    task: Task = eqx.field(static=True)
    params: PyTree
    mean_reward: Float[Array, ""]
    best_constant: Float[Array, ""] | None

    def __call__(
        self, prompts: Array, completions: Int[Array, "rollout time"], names: tuple[str, ...]
    ) -> dict[str, Array]:
        """Constants from the pilot, and the greedy completion's reward."""
        rollouts = completions.shape[0]
        found: dict[str, Array] = {}
        if "values" in names:
            found["values"] = jnp.broadcast_to(self.mean_reward, completions.shape)
        if "baseline" in names:
            if self.best_constant is None:
                raise ValueError(
                    "side: its pilot did not look for the best constant; make it with needs=('baseline',)"
                )
            found["baseline"] = jnp.broadcast_to(self.best_constant, (rollouts,))
        if "greedy_rewards" in names:
            found["greedy_rewards"] = self.task.reward(prompts, self.policy.greedy(self.params, prompts))[
                :, 0
            ]
        return found


def exact_side(policy: FinitePolicy, task: FiniteTask, tables: ExactTables) -> ExactSide:
    """Side information of a finite policy from its tables."""
    return ExactSide(tables, policy.support(), task.all_prompts())


def pilot_side(
    policy: Policy,
    params: PyTree,
    task: Task,
    key: PRNGKeyArray,
    rollouts: int = 256,
    needs: tuple[str, ...] = NAMES,
) -> PilotSide:
    """Side information from ``rollouts`` pilot rollouts, each for its own prompt.

    The best constant weighs rewards with squared scores and so takes a backward pass of each pilot rollout; without
    "baseline" among ``needs`` it is left out.
    """
    mean_reward, best_constant = _pilot(policy, params, task, key, rollouts, "baseline" in needs)
    return PilotSide(policy, task, params, mean_reward, best_constant)


@eqx.filter_jit
def _pilot(
    policy: Policy, params: PyTree, task: Task, key: PRNGKeyArray, rollouts: int, constant: bool
) -> tuple[Array, Array | None]:
    key_prompts, key_sample = jax.random.split(key)
    prompts = task.prompts(key_prompts, rollouts)
    completions = policy.sample(params, key_sample, prompts, 1)
    rewards = task.reward(prompts, completions)[:, 0]
    if not constant:
        return rewards.mean(), None
    norms = score_squares(policy, params, prompts, completions)[:, 0]
    return rewards.mean(), (norms * rewards).sum() / norms.sum()


def score_squares(
    policy: Policy, params: PyTree, prompts: Array, completions: Int[Array, "prompt group time"]
) -> Float[Array, "prompt group"]:
    """||s||^2 of each whole rollout's score: one backward pass each, a few at a time."""
    group, mask = completions.shape[1], policy.mask(completions)

    def squared(index: Array) -> Array:
        prompt, member = index // group, index % group
        given, tokens, counts = (
            jax.tree.map(lambda x: x[prompt][None], prompts), completions[prompt, member], mask[prompt, member]
        )  # fmt: skip
        whole = jax.grad(
            lambda p: jnp.sum(policy.logprobs(p, given, tokens[None, None])[0, 0], where=counts)
        )(params)
        return jnp.sum(ravel_pytree(whole)[0] ** 2)

    found = jax.lax.map(squared, jnp.arange(completions.shape[0] * group), batch_size=16)
    return found.reshape(-1, group)


def _where_equal(items: Array, listed: Array) -> Int[Array, " item"]:
    """For each item the index of the listed one that it equals."""
    axes = tuple(range(2, listed.ndim + 1))
    return jnp.argmax((items[:, None] == listed[None]).all(axes), axis=1)
