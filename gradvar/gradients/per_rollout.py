"""Backward passes: from rows (a rollout and a vector of token weights) to their scores, or linear images of
them.

A linear map is applied to each chunk of scores as it is made, so that no more than a chunk of them is held.

    identity     the scores themselves, P numbers each: exact
    rademacher   K numbers: scores times a random matrix of signs over sqrt(K); inner products unbiased, the
                 variance of <u, v> is (|u|^2 |v|^2 + <u, v>^2 - 2 sum_p u_p^2 v_p^2) / K
    gaussian     the same with normal entries, and variance (|u|^2 |v|^2 + <u, v>^2) / K
    hashed       each parameter gets a sign and is added to one of K buckets: unbiased, with the variance of
                 rademacher where buckets are drawn independently, at a cost of P operations per row, not P K
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.devices import SINGLE, Devices, padded
from gradvar.core.protocols import Policy
from gradvar.gradients.factors import Tapped
from gradvar.gradients.ghost_norms import scores, trace_policy

MapName = Literal["identity", "rademacher", "gaussian", "hashed"]
Way = Literal["auto", "vmap", "factors"]
FASTEST: Literal["vmap", "factors"] = "vmap"
"""What "auto" takes. Measured on CPUs, a few rows at a time, it takes 3.5 times less than factors at 100,000
parameters and 1.7 times less at 5 million (benchmarks/bank/LOG.md); factors pay where no whole score is wanted
(``ghost.norms_and_sum``)."""
LinearMap = Callable[[Float[Array, "row param"]], Float[Array, "row image"]]

_CACHE = 1 << 24  # bytes of scores made by one pass, where that is not fewer rows than _FEWEST
_FEWEST = 16
_BLOCK = 1 << 14  # parameters whose random signs are held at a time


@dataclass(frozen=True)
class Sketch:
    """A random linear map of ``width`` numbers, drawn from ``seed``; the same for every call."""

    name: MapName
    width: int
    seed: int

    def __call__(self, scores: Float[Array, "row param"]) -> Float[Array, "row image"]:
        """The image of every row."""
        return _sketched(scores, self.key, self.name, self.width)

    @property
    def key(self) -> PRNGKeyArray:
        """What it is drawn from, which programs take as an array: one is compiled for all seeds."""
        return jax.random.key(self.seed)


@partial(jax.jit, static_argnames=("name", "width"))
def _sketched(scores: Array, key: PRNGKeyArray, name: str, width: int) -> Float[Array, "row image"]:
    if name == "identity":
        return scores
    number, params = scores.shape
    if name == "hashed":
        key_sign, key_bucket = jax.random.split(key)
        signs = jax.random.rademacher(key_sign, (params,), scores.dtype)
        buckets = jax.random.randint(key_bucket, (params,), 0, width)
        return jax.ops.segment_sum((scores * signs).T, buckets, width).T
    blocks = jnp.pad(scores, ((0, 0), (0, -params % _BLOCK))).reshape(number, -1, _BLOCK)
    draw = jax.random.rademacher if name == "rademacher" else jax.random.normal

    def add(total: Array, block: Array) -> tuple[Array, None]:
        matrix = draw(jax.random.fold_in(key, block), (_BLOCK, width), dtype=scores.dtype)
        return total + blocks[:, block] @ matrix, None

    start = jnp.zeros((number, width), scores.dtype)
    return jax.lax.scan(add, start, jnp.arange(blocks.shape[1]))[0] / width**0.5


def row_images(
    policy: Policy,
    params: PyTree,
    prompts: PyTree,
    completions: Int[np.ndarray, "row time"],
    cotangents: Float[np.ndarray, "row time"],
    sketch: Sketch,
    chunk: int,
    way: Way = "auto",
    devices: Devices = SINGLE,
) -> Iterator[Float[np.ndarray, "chunk image"]]:
    """Images of J^T cotangent for every row, a chunk at a time; ``prompts`` has one entry per row.

    Scores are made by one vectorised backward pass per chunk, or from its factors, as ``way`` says. The last
    chunk is filled up: one trace. Each of ``devices`` makes a chunk at a time, in the passes that one device would
    make, so that a row's score does not depend on their number. Raises ``ValueError`` for a score that is not finite.
    """
    number = len(completions)
    way = FASTEST if way == "auto" else way
    tapped = trace_policy(policy, params, prompts, completions.shape[1]) if way == "factors" else None
    few = min(chunk, max(_FEWEST, _CACHE // sum(x.nbytes for x in jax.tree.leaves(params))))
    chunk = -(-chunk // few) * few
    workers = devices.at_most(-(-number // few))
    each = min(chunk, -(-number // (few * workers.size)) * few) if workers.size > 1 else chunk
    make = eqx.Partial(_images_of, policy, tapped, few, sketch.name, sketch.width)
    for start in range(0, number, each * workers.size):
        rows = np.minimum(np.arange(start, start + each * workers.size), number - 1)
        found = workers.over(make, (params, sketch.key), _take((prompts, completions, cotangents), rows))
        images = np.asarray(workers.gather(found))[: number - start]
        if not np.isfinite(images).all():
            row = start + int(np.argmin(np.isfinite(images).all(1)))
            raise ValueError(
                f"params: the score of row {row} of {number} is not finite; mend the model first"
            )
        for at in range(0, len(images), chunk):  # pieces as one device makes them
            yield images[at : at + chunk]


def _take(tree: PyTree, rows: Int[np.ndarray, " row"]) -> PyTree:
    return jax.tree.map(lambda x: jnp.asarray(x[rows]), tree)


def _images_of(
    policy: Policy,
    tapped: Tapped | None,
    few: int,
    name: MapName,
    width: int,
    params: PyTree,
    key: PRNGKeyArray,
    prompts: PyTree,
    completions: Array,
    cotangents: Array,
) -> Float[Array, "row image"]:
    return _images(policy, tapped, params, prompts, completions, cotangents, few, key, name, width)


@eqx.filter_jit
def _images(
    policy: Policy,
    tapped: Tapped | None,
    params: PyTree,
    prompts: PyTree,
    completions: Array,
    cotangents: Array,
    few: int,
    key: PRNGKeyArray,
    name: MapName,
    width: int,
) -> Float[Array, "row image"]:
    """Of a chunk, ``few`` rows at a time: what a pass writes and reads again then stays near the processor."""

    def some(rows: tuple[PyTree, Array, Array]) -> Float[Array, "few param"]:
        if tapped is not None:
            return scores(tapped, params, *rows)
        return jax.vmap(lambda *row: score(policy, params, *row))(*rows)

    parts = jax.tree.map(lambda x: x.reshape(-1, few, *x.shape[1:]), (prompts, completions, cotangents))
    found = jax.lax.map(some, parts)
    return _sketched(found.reshape(-1, found.shape[-1]), key, name, width)


def score(
    policy: Policy,
    params: PyTree,
    prompt: PyTree,
    completion: Int[Array, " time"],
    cotangent: Float[Array, " time"],
) -> Float[Array, " param"]:
    """J^T cotangent of one rollout, flat."""

    def weighted(values: PyTree) -> Float[Array, ""]:
        one = jax.tree.map(lambda x: x[None], prompt)
        return jnp.sum(policy.logprobs(values, one, completion[None, None])[0, 0] * cotangent)

    return ravel_pytree(jax.grad(weighted)(params))[0]


def token_images(
    policy: Policy,
    params: PyTree,
    prompts: PyTree,
    completions: Int[np.ndarray, "prompt rollout time"],
    sketch: Sketch,
    devices: Devices = SINGLE,
) -> Float[np.ndarray, "prompt rollout time image"]:
    """A sketch of every single token's score, in forward mode: one directional derivative per column.

    It costs about 2 K forward passes and needs no basis: any token weights contract with it. Cheaper than
    backward passes where a basis would have more than about K vectors per rollout."""
    if sketch.name not in ("rademacher", "gaussian"):
        raise ValueError(f"map: '{sketch.name}' has no forward mode; give rademacher or gaussian")
    size = len(completions)
    workers = devices.at_most(size)
    given = padded((prompts, jnp.asarray(completions)), workers.size)
    make = eqx.Partial(_token_images_of, policy, sketch.name, sketch.width)
    found = workers.over(make, (params, sketch.key), given)
    return np.asarray(workers.gather(found))[:size]


def _token_images_of(
    policy: Policy,
    name: MapName,
    width: int,
    params: PyTree,
    key: PRNGKeyArray,
    prompts: PyTree,
    completions: Array,
) -> Float[Array, "prompt rollout time image"]:
    return _token_images(policy, params, prompts, completions, key, name, width)


@eqx.filter_jit
def _token_images(
    policy: Policy,
    params: PyTree,
    prompts: PyTree,
    completions: Array,
    key: PRNGKeyArray,
    name: MapName,
    width: int,
) -> Float[Array, "prompt rollout time image"]:
    flat, unravel = ravel_pytree(params)
    key = jax.random.fold_in(key, 0x5CE8)
    draw = jax.random.rademacher if name == "rademacher" else jax.random.normal

    def column(number: Array) -> Float[Array, "prompt rollout time"]:
        direction = unravel(draw(jax.random.fold_in(key, number), flat.shape, dtype=flat.dtype))
        return jax.jvp(lambda values: policy.logprobs(values, prompts, completions), (params,), (direction,))[
            1
        ]

    return jnp.moveaxis(jax.lax.map(column, jnp.arange(width)), 0, -1) / width**0.5
