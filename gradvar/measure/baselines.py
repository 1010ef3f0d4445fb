"""``BaselineSource``: critics, greedy rewards and constant baselines, for the estimators that need them.

A source maps flat rollouts (prompts [rollout, ...], completions [rollout, time]) to optional fields of ``Batch``, flat
too. ``ExactBaselines`` looks them up in the tables of a finite policy; ``SampledBaselines`` takes constants from a
pilot sample, for policies that cannot be listed.
"""

from collections.abc import Sequence
from typing import Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.estimator import Estimator
from gradvar.core.protocols import FinitePolicy, FiniteTask, Policy, Task
from gradvar.measure.exact.tables import ExactTables, tabulate

BASELINE_FIELDS = ("values", "greedy_rewards", "baseline")


class BaselineSource(Protocol):
    """Supplies some of ``BASELINE_FIELDS`` for flat rollouts, of shapes [N, T], [N] and [N]."""

    def __call__(
        self, prompts: Array, completions: Int[Array, "rollout time"], names: tuple[str, ...]
    ) -> dict[str, Array]:
        """Return the arrays asked for by ``names``."""
        ...


class ExactBaselines(eqx.Module):
    """From the tables of a finite policy: exact state values and the exactly best constant per prompt."""

    tables: ExactTables
    support: Int[Array, "completion time"]
    listed: Array

    def __call__(
        self, prompts: Array, completions: Int[Array, "rollout time"], names: tuple[str, ...]
    ) -> dict[str, Array]:
        """Look every rollout up by its prompt and completion."""
        row = _index_of(prompts, self.listed)  # [rollout]
        pick = _index_of(completions, self.support)  # [rollout]
        fields = {
            "values": self.tables.values[row, pick],
            "greedy_rewards": self.tables.greedy_rewards[row],
            "baseline": self.tables.baseline[row],
        }
        return {name: fields[name] for name in names}


class SampledBaselines(eqx.Module):
    """For policies that cannot be listed: a critic that knows the mean reward only, and one best constant, both from a
    pilot sample; greedy rewards are decoded.
    """

    policy: Policy = eqx.field(static=True)
    task: Task = eqx.field(static=True)
    params: PyTree
    mean_reward: Float[Array, ""]
    best_constant: Float[Array, ""] | None

    def __call__(
        self, prompts: Array, completions: Int[Array, "rollout time"], names: tuple[str, ...]
    ) -> dict[str, Array]:
        """Return constants from the pilot, and the greedy completion's reward."""
        fields: dict[str, Array] = {}
        if "values" in names:
            fields["values"] = jnp.broadcast_to(self.mean_reward, completions.shape)
        if "baseline" in names:
            if self.best_constant is None:
                raise ValueError(
                    "baselines: the pilot did not look for the best constant; sample it with needs=('baseline',)"
                )
            fields["baseline"] = jnp.broadcast_to(self.best_constant, completions.shape[:1])
        if "greedy_rewards" in names:
            greedy = self.policy.greedy(self.params, prompts)
            fields["greedy_rewards"] = self.task.reward(prompts, greedy)[:, 0]
        return fields


def baseline_needs(estimators: Sequence[Estimator]) -> tuple[str, ...]:
    """The ``BASELINE_FIELDS`` that any of the estimators reads."""
    return tuple(name for name in BASELINE_FIELDS if any(name in e.needs for e in estimators))


def default_baselines(
    policy: Policy,
    params: PyTree,
    task: Task,
    key: PRNGKeyArray,
    *,
    needs: tuple[str, ...],
    tables: ExactTables | None = None,
) -> BaselineSource | None:
    """Return exact baselines where policy and task can be listed, and those of a pilot sample elsewhere.

    Args:
        policy: the policy that samples.
        params: its parameters.
        task: where its prompts and rewards come from.
        key: of the pilot sample.
        needs: the fields that will be asked for; None is returned where there is none.
        tables: those of policy and task, where they have been made.
    """
    if not needs:
        return None
    if isinstance(policy, FinitePolicy) and isinstance(task, FiniteTask):
        tables = tables or tabulate(policy, params, task)
        return ExactBaselines(tables, policy.support(), task.all_prompts())
    return sample_baselines(policy, params, task, key, needs=needs)


def sample_baselines(
    policy: Policy,
    params: PyTree,
    task: Task,
    key: PRNGKeyArray,
    rollouts: int = 256,
    needs: tuple[str, ...] = BASELINE_FIELDS,
) -> SampledBaselines:
    """Estimate baselines from a pilot sample.

    The best constant weighs rewards with squared scores and so takes a backward pass of each pilot rollout; without
    "baseline" among ``needs`` it is left out.

    Args:
        policy: the policy that samples.
        params: its parameters.
        task: where prompts and rewards come from.
        key: of everything random.
        rollouts: size of the pilot sample, each with its prompt.
        needs: the fields that will be asked for.
    """
    mean_reward, best_constant = _pilot(policy, params, task, key, rollouts, "baseline" in needs)
    return SampledBaselines(policy, task, params, mean_reward, best_constant)


@eqx.filter_jit
def _pilot(
    policy: Policy, params: PyTree, task: Task, key: PRNGKeyArray, rollouts: int, constant: bool
) -> tuple[Array, Array | None]:
    key_prompts, key_sample = jax.random.split(key)
    prompts = task.prompts(key_prompts, rollouts)
    completions = policy.sample(params, key_sample, prompts, 1)  # [rollout, 1, time]
    rewards = task.reward(prompts, completions)[:, 0]  # [rollout]
    if not constant:
        return rewards.mean(), None
    norms = score_squares(policy, params, prompts, completions)[:, 0]  # [rollout]
    return rewards.mean(), (norms * rewards).sum() / norms.sum()


def score_squares(
    policy: Policy, params: PyTree, prompts: Array, completions: Int[Array, "prompt group time"]
) -> Float[Array, "prompt group"]:
    """||s||^2 of each rollout's score: one backward pass each, 16 at a time.

    Args:
        policy: whose scores they are.
        params: its parameters.
        prompts: [prompt, ...].
        completions: the rollouts of each prompt.
    """
    group, mask = completions.shape[1], policy.mask(completions)

    def squared_norm(index: Array) -> Array:
        row, member = index // group, index % group
        prompt = jax.tree.map(lambda x: x[row][None], prompts)  # [1, ...]
        completion, counts = completions[row, member], mask[row, member]  # [time] each

        def sequence_logp(values: PyTree) -> Array:
            logp = policy.logprobs(values, prompt, completion[None, None])[0, 0]  # [time]
            return jnp.sum(logp, where=counts)

        return jnp.sum(ravel_pytree(jax.grad(sequence_logp)(params))[0] ** 2)

    squares = jax.lax.map(squared_norm, jnp.arange(completions.shape[0] * group), batch_size=16)
    return squares.reshape(-1, group)


def _index_of(items: Array, listed: Array) -> Int[Array, " item"]:
    """For each item the index of the listed one that it equals."""
    axes = tuple(range(2, listed.ndim + 1))
    return jnp.argmax((items[:, None] == listed[None]).all(axes), axis=1)  # of [item, listed, ...]
