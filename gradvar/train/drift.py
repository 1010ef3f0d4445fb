"""A policy some optimiser steps further on: real off-policyness for the engines to measure at."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from gradvar.core.batch import Batch
from gradvar.core.checks import at_least, positive
from gradvar.core.estimator import Estimator
from gradvar.core.programs import compiled_for, jit_by_work
from gradvar.core.protocols import Policy, Task

_SUPPLIED = ("logp_ref", "logp_sampler", "greedy_rewards")


def drift(
    policy: Policy,
    params: PyTree,
    task: Task,
    key: PRNGKeyArray,
    steps: int,
    estimator: Estimator,
    optimiser: optax.GradientTransformation | None = None,
    prompts_per_step: int = 8,
    group: int = 8,
    *,
    learning_rate: float = 1e-3,
    reference: PyTree | None = None,
) -> PyTree:
    """Return the parameters after on-policy steps with an estimator, each on fresh prompts and rollouts.

    An engine then samples with the old parameters and measures at the new ones.

    Args:
        policy: What is trained.
        params: Its parameters at the start.
        task: What gives prompts and rewards.
        key: Of prompts and rollouts.
        steps: Number of optimiser steps.
        estimator: Its objective is ascended.
        optimiser: None for Adam at ``learning_rate``.
        prompts_per_step: Prompts of one step.
        group: Rollouts of each, drawn from the current policy.
        learning_rate: Of Adam.
        reference: Parameters for estimators that need ``logp_ref``; None for ``params``, as at the start of training.

    Raises:
        ValueError: Where the estimator needs what rollouts do not give (values, a baseline, several rewards).
    """
    at_least("steps", steps, 0)
    at_least("prompts_per_step", prompts_per_step, 1)
    if group < estimator.min_group:
        raise ValueError(
            f"group: {group} is too small for {estimator.name}; give {estimator.min_group} or more"
        )
    missing = [name for name in estimator.needs if name not in _SUPPLIED]
    if missing:
        raise ValueError(
            f"estimator: {estimator.name} needs {missing[0]}, which rollouts do not give; "
            f"choose one that needs no more than {', '.join(_SUPPLIED)}"
        )
    positive("learning_rate", learning_rate)
    start = params if reference is None else reference
    sizes = (prompts_per_step, group)
    num_params = sum(leaf.size for leaf in jax.tree.leaves(params))
    with compiled_for(steps * prompts_per_step * group * num_params):
        return _climb(policy, task, estimator, optimiser, sizes, params, start, key, steps, learning_rate)


@partial(jit_by_work, jit=partial(jax.jit, static_argnums=(0, 1, 2, 3, 4)))
def _climb(
    policy: Policy,
    task: Task,
    estimator: Estimator,
    optimiser: optax.GradientTransformation | None,
    sizes: tuple[int, int],
    params: PyTree,
    reference: PyTree,
    key: Array,
    steps: Array | int,
    learning_rate: Array | float,
) -> PyTree:
    # the number of steps and the rate are traced: other values need no new compilation
    rule = optax.scale_by_adam() if optimiser is None else optimiser

    def step(index: Array, state: tuple[PyTree, Any]) -> tuple[PyTree, Any]:
        params, memory = state
        key_prompts, key_rollouts = jax.random.split(jax.random.fold_in(key, index))
        prompts = task.prompts(key_prompts, sizes[0])
        # Rollouts as a flat axis: policies have the smallest program for groups of one, and compiling costs
        # more here than the prompt's part done once for each rollout.
        repeated = jax.tree.map(lambda x: jnp.repeat(x, sizes[1], axis=0), prompts)  # [prompt * group, ...]
        flat = policy.sample(params, key_rollouts, repeated, 1)  # [prompt * group, 1, time]

        def grouped(x: Array) -> Array:
            return x.reshape(*sizes, *x.shape[2:])  # [prompt, group, ...]

        arrays = {"rewards": grouped(task.reward(repeated, flat)), "mask": grouped(policy.mask(flat))}
        if "logp_ref" in estimator.needs:
            arrays["logp_ref"] = grouped(policy.logprobs(reference, repeated, flat))
        if "greedy_rewards" in estimator.needs:
            arrays["greedy_rewards"] = task.reward(prompts, policy.greedy(params, prompts))[:, 0]

        def loss(params: PyTree) -> Float[Array, ""]:
            logp = grouped(policy.logprobs(params, repeated, flat))
            old = jax.lax.stop_gradient(logp)  # on policy: the sampler is the policy itself
            return -estimator(logp, Batch.from_arrays(arrays | {"logp_old": old}))

        updates, memory = rule.update(jax.grad(loss)(params), memory, params)
        if optimiser is None:
            updates = jax.tree.map(lambda u: -learning_rate * u, updates)
        return optax.apply_updates(params, updates), memory

    return jax.lax.fori_loop(0, steps, step, (params, rule.init(params)))[0]
