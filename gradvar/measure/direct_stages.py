"""The compiled stages of direct Monte Carlo: prompts, rollouts, scoring, token weights, gradients, sums over blocks.

Each is a program. Rollouts lie flat, [pair, 2, rollout, ...], so at a fixed number of rollouts all stages but the first
and the token weights are the same programs for every group size, on and off policy; scoring is one program for the
current, the sampling and the reference parameters. Settings come first, ``vectorised`` among them (replicates that are
handled at once; 1 for large policies), then what ``Devices.over`` hands on: shared arrays, and
arrays whose first axis is the pair.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator, token_weights
from gradvar.core.program_cache import Programs
from gradvar.core.programs import jit_by_work, quick_jit
from gradvar.core.protocols import Policy, Sampler, Task
from gradvar.measure.baselines import BaselineSource
from gradvar.tasks.parts import parts_of


@dataclass(frozen=True)
class Layout:
    """How flat rollouts are grouped, and which of how many slots the estimators' weights fill, from ``first`` on."""

    prompts: int
    group_size: int
    slots: int
    first: int = 0


class Sums(eqx.Module):
    """Block sums of every estimator (the reference last where grad J is unknown); ``joint``: of ||g_a||^2 ||g_b||^2."""

    gradients: Float[Array, "estimator block param"]
    squares: Float[Array, "estimator block"]
    pairs: Float[Array, "estimator block"]
    joint: Float[Array, "estimator block"]
    count: Float[Array, " block"]


@quick_jit
def sample_prompts(
    task: Task, size: int, group_size: int, fixed: Array | None, key: PRNGKeyArray, pairs: Int[Array, " pair"]
) -> tuple[PyTree, PRNGKeyArray]:
    """Draw the prompts of every pair of replicates, and two sampling keys for each pair.

    Args:
        task: What gives prompts.
        size: Prompts of a replicate.
        group_size: Rollouts of a prompt.
        fixed: Prompts that every replicate uses, [prompt, ...]; None to draw fresh ones.
        key: Of everything random.
        pairs: Numbers of the pairs; a pair's draws depend on its number only.

    Returns:
        Prompts repeated for their rollouts, [pair, N, ...], and keys [pair, 2].
    """

    def of_pair(pair: Array) -> tuple[PyTree, PRNGKeyArray]:
        key_prompts, first, second = jax.random.split(jax.random.fold_in(key, pair), 3)
        prompts = task.prompts(key_prompts, size) if fixed is None else fixed  # [prompt, ...]
        repeated = jax.tree.map(partial(jnp.repeat, repeats=group_size, axis=0), prompts)
        return repeated, jnp.stack([first, second])

    return jax.vmap(of_pair)(pairs)


@quick_jit
def refresh_keys(keys: PRNGKeyArray) -> PRNGKeyArray:
    """Other sampling keys [pair, 2], for more rollouts of the same prompts."""
    return jax.vmap(jax.vmap(partial(jax.random.fold_in, data=1)))(keys)


@jit_by_work
def sample_rollouts(
    policy: Policy,
    task: Task,
    vectorised: int,
    engine: Sampler | None,
    params: PyTree,
    prompts: PyTree,
    keys: PRNGKeyArray,
) -> dict[str, Array]:
    """Sample one completion for each repeated prompt.

    Args:
        policy: What draws the completions.
        task: What rewards them.
        vectorised: Replicates that are computed at once; 1: one after another.
        engine: What serves it; None for the policy itself.
        params: Of the trainer's proximal policy.
        prompts: Repeated prompts, [pair, N, ...].
        keys: Of the sampler, [pair, 2].

    Returns:
        ``completions``, ``rewards`` and ``mask``, and ``reward_parts`` of a task that has them, [pair, 2, N, ...].
    """

    def of_replicate(prompts: PyTree, key: PRNGKeyArray) -> dict[str, Array]:
        if engine is None:
            completions = policy.sample(params, key, prompts, 1)  # [N, 1, time]
        else:
            completions = engine.sample(policy, params, key, prompts, 1)
        return {
            "completions": completions[:, 0],
            "rewards": task.reward(prompts, completions)[:, 0],
            "mask": policy.mask(completions)[:, 0],
            **{name: parts[:, 0] for name, parts in parts_of(task, prompts, completions).items()},
        }

    return _over_replicates(of_replicate, vectorised, prompts, keys)


@jit_by_work
def score(
    policy: Policy,
    vectorised: int,
    params: PyTree,
    prompts: PyTree,
    completions: Int[Array, "pair 2 rollout time"],
) -> Float[Array, "pair 2 rollout time"]:
    """Compute the log-probabilities of sampled rollouts.

    Args:
        policy: What scores.
        vectorised: Replicates that are computed at once; 1: one after another.
        params: Of that policy.
        prompts: Repeated prompts, [pair, N, ...].
        completions: Of every pair of replicates, [pair, 2, N, time], N the rollouts of a replicate.
    """

    def of_replicate(prompts: PyTree, completions: Array) -> Float[Array, "rollout time"]:
        return policy.logprobs(params, prompts, completions[:, None])[:, 0]

    return _over_replicates(of_replicate, vectorised, prompts, completions)


@jit_by_work
def report(
    policy: Policy,
    vectorised: int,
    engine: Sampler,
    params: PyTree,
    prompts: PyTree,
    completions: Int[Array, "pair 2 rollout time"],
) -> Float[Array, "pair 2 rollout time"]:
    """Compute the log-probabilities of sampled rollouts that the engine reports.

    Args:
        policy: What the engine serves.
        vectorised: Replicates that are computed at once; 1: one after another.
        engine: What drew the rollouts.
        params: Of the trainer's proximal policy.
        prompts: Repeated prompts, [pair, N, ...].
        completions: Of every pair of replicates, [pair, 2, N, time], N the rollouts of a replicate.
    """

    def of_replicate(prompts: PyTree, completions: Array) -> Float[Array, "rollout time"]:
        return engine.logprobs(policy, params, prompts, completions[:, None])[:, 0]

    return _over_replicates(of_replicate, vectorised, prompts, completions)


@jit_by_work
def supply_baselines(
    needs: tuple[str, ...],
    vectorised: int,
    source: BaselineSource,
    prompts: PyTree,
    completions: Int[Array, "pair 2 rollout time"],
) -> dict[str, Array]:
    """Ask a source of baselines for the fields in ``needs``.

    Args:
        needs: Names of fields of ``Batch``.
        vectorised: Replicates that are computed at once; 1: one after another.
        source: Is called with the prompts and the completions of one replicate.
        prompts: Repeated prompts, [pair, N, ...].
        completions: Of every pair of replicates, [pair, 2, N, time], N the rollouts of a replicate.

    Returns:
        The fields by name, [pair, 2, ...].
    """

    def of_replicate(prompts: PyTree, completions: Array) -> dict[str, Array]:
        return source(prompts, completions, needs)

    return _over_replicates(of_replicate, vectorised, prompts, completions)


def _over_replicates(
    function: Callable[[PyTree, Array], PyTree], vectorised: int, prompts: PyTree, arrays: Array
) -> PyTree:
    """Map over pairs, and over the two replicates of a pair, which share their prompts."""
    if vectorised > 1:
        return jax.vmap(lambda p, pair: jax.vmap(partial(function, p))(pair))(prompts, arrays)
    # One after the other a large policy's replicates stay near the processor, and its loop over tokens keeps one end.
    return jax.lax.map(lambda inputs: jax.lax.map(partial(function, inputs[0]), inputs[1]), (prompts, arrays))


def weigh_tokens(
    estimators: tuple[Estimator, ...], layout: Layout, rollouts: dict[str, Array]
) -> Float[Array, "pair 2 slot rollout time"]:
    """Compute the token weights of every estimator on every replicate, in the slots from ``layout.first`` on."""
    weights: Array = _WEIGHERS.get(estimators=estimators, layout=astuple(layout))(rollouts)
    return weights


def _weigh_tokens(
    rollouts: dict[str, Array], *, estimators: tuple[Estimator, ...], layout: tuple[int, ...]
) -> Float[Array, "pair 2 slot rollout time"]:
    size, group_size, num_slots, first = layout

    def of_replicate(flat: dict[str, Array]) -> Float[Array, "slot rollout time"]:
        grouped = {name: x.reshape(size, group_size, *x.shape[1:]) for name, x in flat.items()}
        logp = grouped["logp"]  # [prompt, group, time]
        precise = jnp.promote_types(logp.dtype, jnp.float32)  # 100 and 100.25 are one number in bfloat16
        batch = Batch.from_arrays(grouped | {"rewards": grouped["rewards"].astype(precise)})
        weights = jnp.stack([token_weights(e, logp, batch) for e in estimators])
        weights = weights.reshape(len(estimators), size * group_size, -1)
        slots = jnp.zeros((num_slots, *weights.shape[1:]), weights.dtype)
        return slots.at[first : first + len(estimators)].set(weights)

    return jax.vmap(jax.vmap(of_replicate))(rollouts)


_WEIGHERS = Programs(_weigh_tokens, jit=partial(quick_jit, jit=jax.jit))


@jit_by_work
def pull_back(
    policy: Policy,
    vectorised: int,
    params: PyTree,
    used: Int[Array, " 2"],
    prompts: PyTree,
    completions: Int[Array, "pair 2 rollout time"],
    weights: Float[Array, "pair 2 slot rollout time"],
) -> Float[Array, "pair 2 slot param"]:
    """Compute the gradients in parameter space of every replicate and slot.

    One forward pass per replicate, and one backward pass per slot from ``used[0]`` to ``used[1]``. How many
    are used is data, so one program serves all settings.

    Args:
        policy: What is differentiated.
        vectorised: Replicates that are computed at once; 1: one after another.
        params: Where.
        used: First and last + 1 of the slots that hold an estimator.
        prompts: Repeated prompts, [pair, N, ...].
        completions: Of every pair of replicates, [pair, 2, N, time], N the rollouts of a replicate.
        weights: Token weights of every slot.

    Returns:
        [pair, 2, slot, param]; zeros in the slots that are not used.
    """
    flat = jax.eval_shape(lambda p: ravel_pytree(p)[0], params)  # [param]

    def of_replicate(inputs: tuple[PyTree, Array, Array]) -> Float[Array, "slot param"]:
        prompt, completion, weight = inputs
        _, pull = jax.vjp(lambda p: policy.logprobs(p, prompt, completion[:, None])[:, 0], params)

        def fill(slot: Array, gradients: Float[Array, "slot param"]) -> Float[Array, "slot param"]:
            return gradients.at[slot].set(ravel_pytree(pull(weight[slot])[0])[0])

        start = jnp.zeros((len(weight), flat.size), flat.dtype)
        loop: Any = jax.lax.fori_loop  # its annotations allow only whole numbers as bounds
        return loop(used[0], used[1], fill, start)

    repeated = jax.tree.map(lambda x: jnp.repeat(x, 2, axis=0), prompts)
    # [pair, 2, ...] -> [replicate, ...]
    replicates = (repeated, *(x.reshape(-1, *x.shape[2:]) for x in (completions, weights)))
    batch_size = None if vectorised == 1 else min(vectorised, 2 * len(weights))
    gradients = jax.lax.map(of_replicate, replicates, batch_size=batch_size)
    return gradients.reshape(*weights.shape[:3], -1)


@jit_by_work
def sum_blocks(
    blocks: int, number: int, gradients: Float[Array, "pair 2 estimator param"], pairs: Int[Array, " pair"]
) -> Sums:
    """Sum replicates into their blocks; of the pairs, the first ``number`` count.

    Args:
        blocks: Number of blocks.
        number: Number of pairs of the measurement; others fill up the last chunk.
        gradients: Of every replicate.
        pairs: Numbers of the pairs.
    """
    is_counted = pairs < number
    # Block b has the pairs below ceil((b + 1) number / blocks); pairs times blocks may be no 32-bit number.
    place = jnp.arange(1, blocks + 1)
    ends = place * (number // blocks) - -place * (number % blocks) // blocks
    block = (pairs[:, None] >= ends).sum(1)  # [pair]
    gradients = gradients * is_counted[:, None, None, None]
    first, second = gradients[:, 0], gradients[:, 1]  # [pair, estimator, param]

    def into_blocks(x: Array) -> Array:  # [pair, estimator, ...] -> [estimator, block, ...]
        return jnp.moveaxis(jax.ops.segment_sum(x, block, blocks), 0, min(1, x.ndim - 1))

    squares = (gradients**2).sum(-1)  # [pair, 2, estimator]
    return Sums(
        gradients=into_blocks(first + second),
        squares=into_blocks(squares.sum(1)),
        pairs=into_blocks((first * second).sum(-1)),
        joint=into_blocks(squares[:, 0] * squares[:, 1]),
        count=into_blocks(2.0 * is_counted),
    )
