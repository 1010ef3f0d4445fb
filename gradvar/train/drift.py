"""Optimiser steps that leave the sampling policy behind: where ratios, clipping and staleness come from."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from gradvar.types import Batch, Estimator, Policy, Task

SUPPLIED = ("logp_ref", "logp_sampler", "greedy_rewards")


def drift(
    policy: Policy,
    params: PyTree,
    task: Task,
    key: PRNGKeyArray,
    steps: int,
    estimator: Estimator,
    *,
    learning_rate: float = 1e-3,
    prompts_per_step: int = 8,
    group: int = 8,
    optimiser: optax.GradientTransformation | None = None,
) -> PyTree:
    """The parameters after ``steps`` optimiser steps that climb ``estimator``'s objective.

    Every step draws fresh prompts and samples them under its own current parameters; the reference policy is the one
    at the start. ``optimiser`` replaces Adam at ``learning_rate``. Raises ``ValueError`` on negative steps, on a
    group below the estimator's least, and where the estimator needs what no policy or task supplies.
    """
    if steps < 0:
        raise ValueError(f"steps: {steps}; give optimiser steps, 0 or more")
    if group < estimator.min_group:
        raise ValueError(f"group: {group}; {estimator.name} needs at least {estimator.min_group} rollouts of a prompt")
    if unmet := [name for name in estimator.needs if name not in SUPPLIED]:
        raise ValueError(f"estimator: {estimator.name} needs {', '.join(unmet)}, which drift has not; take another")
    if steps == 0:
        return params
    optimiser = optimiser or optax.adam(learning_rate)
    state, start = optimiser.init(params), params
    for step in range(steps):
        step_key = jax.random.fold_in(key, step)
        params, state = _step(
            policy, task, estimator, optimiser, (prompts_per_step, group), params, state, start, step_key
        )
    return params


@eqx.filter_jit
def _step(
    policy: Policy,
    task: Task,
    estimator: Estimator,
    optimiser: optax.GradientTransformation,
    shape: tuple[int, int],
    params: PyTree,
    state: PyTree,
    start: PyTree,
    key: Array,
) -> tuple[PyTree, PyTree]:
    key_prompts, key_sample = jax.random.split(key)
    prompts = task.prompts(key_prompts, shape[0])
    completions = policy.sample(params, key_sample, prompts, shape[1])
    logp = policy.logprobs(params, prompts, completions)
    found: dict[str, Array] = {"logp_sampler": logp}
    if "logp_ref" in estimator.needs:
        found["logp_ref"] = policy.logprobs(start, prompts, completions)
    if "greedy_rewards" in estimator.needs:
        found["greedy_rewards"] = task.reward(prompts, policy.greedy(params, prompts))[:, 0]
    batch = Batch(task.reward(prompts, completions), jax.lax.stop_gradient(logp), policy.mask(completions), **found)

    def loss(p: PyTree) -> Array:
        return -estimator(policy.logprobs(p, prompts, completions), batch)

    updates, state = optimiser.update(jax.grad(loss)(params), state, params)
    return jax.tree.map(jnp.asarray, optax.apply_updates(params, updates)), state
