"""J^T c of every row: a rollout, and a vector c of token weights.

Scores are formed by one vectorised backward pass per chunk, and each chunk is mapped to what is kept of it
(``gradvar.gradients.sketch``) before the next one is formed. Forming them from activations and cotangents instead took
1.7 to 3.5 times longer (benchmarks/bank/LOG.md); those factors pay where no whole score is wanted
(``ghost_norms.norms_and_sum``), and where a score is so large that writing it is the work (``factored_sketch``).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.devices import SINGLE, Devices, padded
from gradvar.core.protocols import Policy
from gradvar.gradients.factored_sketch import factored_images
from gradvar.gradients.sketch import Gram, PerToken, ScoreMap, Sketch, Whole

_CACHE = 1 << 24  # bytes of scores made by one pass, where that is not fewer rows than _MIN_TILE
_MIN_TILE = 16


class ScoreRows(NamedTuple):
    """The rows whose scores are wanted: a prompt, a completion and token weights each, along the leading axis."""

    prompts: PyTree
    completions: Int[np.ndarray, "row time"]
    cotangents: Float[np.ndarray, "row time"]


def project_scores(
    policy: Policy,
    params: PyTree,
    rows: ScoreRows,
    scores: ScoreMap,
    key: PRNGKeyArray,
    chunk: int,
    devices: Devices = SINGLE,
    from_factors: bool = False,
) -> Iterator[Float[np.ndarray, "chunk image"]]:
    """Form the score of every row, and yield what is kept of it, a chunk at a time.

    Args:
        policy: Its log-probabilities are differentiated.
        params: At these parameters.
        rows: Prompts, completions and cotangents.
        scores: What is kept; ``Gram`` gets whole scores here, whose inner products the caller takes.
        key: What a sketch is drawn from; an argument of the compiled program, which serves all keys.
        chunk: Rows at a time. The last chunk is filled up, so that there is one program.
        devices: Each makes a chunk at a time, in the passes that one device would make, so that a row's score does not
            depend on their number.
        from_factors: No score is formed, and a pass is a chunk (``gradvar.gradients.factored_sketch``).

    Raises:
        ValueError: A score is not finite.
    """
    number = len(rows.completions)
    tile = (
        chunk
        if from_factors
        else min(chunk, max(_MIN_TILE, _CACHE // sum(x.nbytes for x in jax.tree.leaves(params))))
    )
    chunk = -(-chunk // tile) * tile
    devices = devices.at_most(-(-number // tile))
    share = min(chunk, -(-number // (tile * devices.size)) * tile) if devices.size > 1 else chunk
    project = eqx.Partial(
        _project, policy, Whole() if isinstance(scores, Gram) else scores, tile, from_factors
    )
    for start in range(0, number, share * devices.size):
        index = np.minimum(np.arange(start, start + share * devices.size), number - 1)
        pieces = tuple(jax.tree.map(lambda x, index=index: jnp.asarray(x[index]), part) for part in rows)
        images = np.asarray(devices.gather(devices.over(project, (params, key), pieces)))[: number - start]
        if not np.isfinite(images).all():
            row = start + int(np.argmin(np.isfinite(images).all(1)))
            raise ValueError(f"params: the score of row {row} of {number} is not finite; fix the model first")
        for first in range(0, len(images), chunk):  # chunks as one device makes them
            yield images[first : first + chunk]


@eqx.filter_jit
def _project(
    policy: Policy,
    scores: Whole | Sketch,
    tile: int,
    from_factors: bool,
    params: PyTree,
    key: PRNGKeyArray,
    prompts: PyTree,
    completions: Int[Array, "row time"],
    cotangents: Float[Array, "row time"],
) -> Float[Array, "row image"]:
    """A chunk, ``tile`` rows at a time: what a pass writes and reads again then stays near the processor."""

    def tile_images(rows: tuple[PyTree, Array, Array]) -> Float[Array, "tile image"]:
        if from_factors and isinstance(scores, Sketch):
            return factored_images(policy, params, rows, scores, key)
        slopes = jax.vmap(lambda *row: _slopes(policy, params, *row))(*rows)
        return image_of_leaves(scores, [x.reshape(tile, -1) for x in jax.tree.leaves(slopes)], key)

    # [row, ...] -> [row / tile, tile, ...]
    tiles = jax.tree.map(lambda x: x.reshape(-1, tile, *x.shape[1:]), (prompts, completions, cotangents))
    formed = jax.lax.map(tile_images, tiles)
    return formed.reshape(-1, formed.shape[-1])


def image_of_leaves(
    scores: Whole | Sketch, leaves: Sequence[Float[Array, "row _"]], key: PRNGKeyArray
) -> Float[Array, "row image"]:
    """What is kept of scores whose parameters lie in several arrays; a sketch is summed up array by array.

    Args:
        scores: What is kept.
        leaves: The parameters in their order, [row, parameters of the array].
        key: What a sketch is drawn from.
    """
    if isinstance(scores, Whole):
        dtype = jnp.result_type(*leaves)
        return jnp.concatenate([x.astype(dtype) for x in leaves], axis=1)
    starts = np.cumsum([0, *(x.shape[1] for x in leaves)])
    return scores.image_of_parts([(x, int(start)) for x, start in zip(leaves, starts, strict=False)], key)


def rollout_score(
    policy: Policy,
    params: PyTree,
    prompt: PyTree,
    completion: Int[Array, " time"],
    cotangent: Float[Array, " time"],
) -> Float[Array, " param"]:
    """Form J^T cotangent of one rollout, flat.

    Args:
        policy: Its log-probabilities are differentiated.
        params: At these parameters.
        prompt: One prompt, without a leading axis.
        completion: The rollout's tokens.
        cotangent: One weight per token.
    """

    return ravel_pytree(_slopes(policy, params, prompt, completion, cotangent))[0]


def _slopes(policy: Policy, params: PyTree, prompt: PyTree, completion: Array, cotangent: Array) -> PyTree:
    """J^T cotangent of one rollout, as a tree like that of the parameters."""

    def weighted(values: PyTree) -> Float[Array, ""]:
        prompts = jax.tree.map(lambda x: x[None], prompt)  # a batch of one prompt and one rollout
        return jnp.sum(policy.logprobs(values, prompts, completion[None, None])[0, 0] * cotangent)

    return jax.grad(weighted)(params)


def project_tokens(
    policy: Policy,
    params: PyTree,
    prompts: PyTree,
    completions: Int[np.ndarray, "prompt rollout time"],
    scores: PerToken,
    key: PRNGKeyArray,
    devices: Devices = SINGLE,
) -> Float[np.ndarray, "prompt rollout time image"]:
    """Sketch every single token's score in forward mode: one directional derivative per column.

    Args:
        policy: Its log-probabilities are differentiated.
        params: At these parameters.
        prompts: One for each row of completions.
        completions: Every prompt's rollouts.
        scores: How many columns.
        key: What the directions are drawn from.
        devices: They share the prompts.
    """
    size = len(completions)
    devices = devices.at_most(size)
    project = eqx.Partial(_project_tokens, policy, scores.width)
    rows = padded((prompts, jnp.asarray(completions)), devices.size)
    return np.asarray(devices.gather(devices.over(project, (params, key), rows)))[:size]


@eqx.filter_jit
def _project_tokens(
    policy: Policy,
    width: int,
    params: PyTree,
    key: PRNGKeyArray,
    prompts: PyTree,
    completions: Int[Array, "prompt rollout time"],
) -> Float[Array, "prompt rollout time image"]:
    flat, unravel = ravel_pytree(params)
    key = jax.random.fold_in(key, 0x5CE8)

    def column(number: Array) -> Float[Array, "prompt rollout time"]:
        signs = jax.random.rademacher(jax.random.fold_in(key, number), flat.shape, dtype=flat.dtype)
        tangents = (unravel(signs),)
        return jax.jvp(lambda values: policy.logprobs(values, prompts, completions), (params,), tangents)[1]

    return jnp.moveaxis(jax.lax.map(column, jnp.arange(width)), 0, -1) / width**0.5
