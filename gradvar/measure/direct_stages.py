"""The compiled stages of direct Monte Carlo: prompts, rollouts, token weights, gradients, sums over blocks.

Each is a program of its own, and the functions that end in ``_of`` take a stage's settings first,
then what ``Devices.over`` gives.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator, token_weights
from gradvar.core.protocols import Policy, Task
from gradvar.measure.baselines import Side


class Sums(eqx.Module):
    """Block sums of every estimator (E, the reference last where grad J is unknown)."""

    gradients: Float[Array, "estimator block param"]
    squares: Float[Array, "estimator block"]
    pairs: Float[Array, "estimator block"]
    count: Float[Array, " block"]


def draw_of(task: Task, size: int, group_size: int, fixed: Any, key: Any, pairs: Any) -> Any:
    """Prompts of every pair, and its sampling keys."""
    return _draw(task, fixed, key, pairs, size, group_size)


def roll_of(
    policy: Policy,
    task: Task,
    needs: tuple[str, ...],
    params: Any,
    old: Any,
    ref: Any,
    side: Any,
    prompts: Any,
    keys: Any,
) -> Any:
    """Rollouts, sampled and scored."""
    return _roll(policy, task, params, old, ref, prompts, keys, side, needs)


def weights_of(estimators: tuple[Estimator, ...], size: int, group_size: int, rollouts: Any) -> Any:
    """Token weights of every estimator."""
    return _weights(estimators, rollouts, size, group_size)


def pull_of(
    policy: Policy, vectorised: int, params: Any, prompts: Any, completions: Any, weights: Any
) -> Any:
    """Gradients in parameter space."""
    return _pull(policy, params, prompts, completions, weights, vectorised)


def sums_of(blocks: int, number: int, gradients: Any, pairs: Any) -> Any:
    """Sums over blocks of the first ``number`` pairs."""
    return _block_sums(gradients, pairs * blocks // number, pairs < number, blocks)


def fresh_of(keys: PRNGKeyArray) -> PRNGKeyArray:
    """Other sampling keys, for rollouts of the same prompts."""
    return jax.vmap(jax.vmap(partial(jax.random.fold_in, data=1)))(keys)


@eqx.filter_jit
def _draw(
    task: Task, fixed: Array | None, key: PRNGKeyArray, pairs: Int[Array, " pair"], size: int, group_size: int
) -> tuple[PyTree, PRNGKeyArray]:
    """Prompts of every pair, each repeated for its rollouts [pair, N, ...], and two sampling keys [pair, 2]."""

    def one(pair: Array) -> tuple[PyTree, PRNGKeyArray]:
        key_prompts, first, second = jax.random.split(jax.random.fold_in(key, pair), 3)
        prompts = task.prompts(key_prompts, size) if fixed is None else fixed
        return jax.tree.map(partial(jnp.repeat, repeats=group_size, axis=0), prompts), jnp.stack(
            [first, second]
        )

    return jax.vmap(one)(pairs)


@eqx.filter_jit
def _roll(
    policy: Policy,
    task: Task,
    params: PyTree,
    old_params: PyTree | None,
    ref_params: PyTree | None,
    prompts: PyTree,
    keys: PRNGKeyArray,
    side: Side | None,
    needs: tuple[str, ...],
) -> dict[str, Array]:
    """Sample and score flat rollouts [pair, 2, N, ...]; old parameters None: the current; reference None: the old."""

    def one(prompts: PyTree, key: PRNGKeyArray) -> dict[str, Array]:
        completions = policy.sample(params if old_params is None else old_params, key, prompts, 1)

        def scored(values: PyTree | None, otherwise: Array) -> Array:
            return otherwise if values is None else policy.logprobs(values, prompts, completions)[:, 0]

        logp = policy.logprobs(params, prompts, completions)[:, 0]
        logp_old = scored(old_params, logp)
        found = {
            "completions": completions[:, 0],
            "rewards": task.reward(prompts, completions)[:, 0],
            "mask": policy.mask(completions)[:, 0],
            "logp": logp,
            "logp_old": logp_old,
            "logp_ref": scored(ref_params, logp_old),
        }
        return {**found, **(side(prompts, completions[:, 0], needs) if side is not None else {})}

    return jax.vmap(lambda p, pair: jax.vmap(lambda k: one(p, k))(pair))(prompts, keys)


@eqx.filter_jit
def _weights(
    estimators: tuple[Estimator, ...], rollouts: dict[str, Array], size: int, group_size: int
) -> Float[Array, "pair 2 estimator rollout time"]:
    """Token weights of every estimator on every replicate."""

    def one(flat: dict[str, Array]) -> Float[Array, "estimator rollout time"]:
        grouped = {name: x.reshape(size, group_size, *x.shape[1:]) for name, x in flat.items()}
        rewards = grouped["rewards"].astype(grouped["logp"].dtype)
        batch = Batch.from_arrays(grouped | {"rewards": rewards})
        weights = jnp.stack([token_weights(e, grouped["logp"], batch) for e in estimators])
        return weights.reshape(len(estimators), size * group_size, -1)

    return jax.vmap(jax.vmap(one))({n: x for n, x in rollouts.items() if n != "completions"})


@eqx.filter_jit
def _pull(
    policy: Policy,
    params: PyTree,
    prompts: PyTree,
    completions: Int[Array, "pair 2 rollout time"],
    weights: Float[Array, "pair 2 estimator rollout time"],
    vectorised: int,
) -> Float[Array, "pair 2 estimator param"]:
    """Gradients in parameter space: one forward pass per replicate, one backward pass per estimator."""

    def one(inputs: tuple[PyTree, Array, Array]) -> Float[Array, "estimator param"]:
        prompt, completion, weight = inputs
        _, pull = jax.vjp(lambda p: policy.logprobs(p, prompt, completion[:, None])[:, 0], params)
        return jax.vmap(lambda w: ravel_pytree(pull(w)[0])[0])(weight)

    both = jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), prompts)
    flat = (both, *(x.reshape(-1, *x.shape[2:]) for x in (completions, weights)))
    out = jax.lax.map(one, flat, batch_size=min(vectorised, flat[1].shape[0]))
    return out.reshape(*weights.shape[:3], -1)


@eqx.filter_jit
def _block_sums(
    gradients: Float[Array, "pair 2 estimator param"],
    block: Int[Array, " pair"],
    real: Array,
    blocks: int,
) -> Sums:
    """Sum a chunk's replicates into their blocks; pairs that are not ``real`` count for nothing."""
    gradients = gradients * real[:, None, None, None]
    first, second = gradients[:, 0], gradients[:, 1]

    def into_blocks(x: Array) -> Array:
        return jnp.moveaxis(jax.ops.segment_sum(x, block, blocks), 0, min(1, x.ndim - 1))

    return Sums(
        gradients=into_blocks(first + second),
        squares=into_blocks((gradients**2).sum((1, 3))),
        pairs=into_blocks((first * second).sum(-1)),
        count=into_blocks(2.0 * real),
    )
