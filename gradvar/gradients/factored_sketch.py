"""``factored_images``: hashed sketches of scores from activations and cotangents, without a whole score.

The gradient of a matrix for one rollout is L^T R, with L [token, a] and R [token, b] (``gradvar.gradients.factors``). A
few of its rows are formed at a time, for all rollouts of a pass, and mapped while they are in the cache: that is as
many multiplications as a backward pass makes, but nothing as large as the parameters is written and read, several
rollouts go through each product together, and they share the random signs. The map is that of ``Sketch.image``.
"""

import math
from collections import defaultdict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.protocols import Policy
from gradvar.gradients.factors import Tapped, Use
from gradvar.gradients.ghost_norms import factors_of_rows, trace_policy
from gradvar.gradients.hashed_blocks import add_blocks
from gradvar.gradients.sketch import ScoreMap, Sketch

LEAST = 1 << 27
"""Bytes of a score from which on it is not formed; passes of many smaller ones are as fast, and compile faster."""
_FORMED = 1 << 22  # bytes of gradients that are formed at a time
_LIGHT = 16  # the share of the parameters without factors is at most one in so many


class _Stack(NamedTuple):
    """The factors of a stack of matrices' gradients, and the number of its first parameter."""

    left: Float[Array, "row layer token a"]
    right: Float[Array, "row layer token b"]
    start: int


def factored_bytes(
    policy: Policy, params: PyTree, prompts: PyTree, time: int, scores: ScoreMap
) -> int | None:
    """Bytes that the factors of a row take; None where whole scores are to be formed and mapped.

    Args:
        policy: Its log-probabilities are differentiated.
        params: At these parameters.
        prompts: One or more, along a leading axis; only their shapes count.
        time: Tokens of a completion.
        scores: What is kept.
    """
    leaves = jax.tree.leaves(params)
    if not isinstance(scores, Sketch) or scores.kind != "hashed" or sum(x.nbytes for x in leaves) < LEAST:
        return None
    tapped = trace_policy(policy, params, prompts, time)
    light = sum(leaf.size for i, leaf in enumerate(leaves) if i not in tapped.heavy)
    if light * _LIGHT > sum(leaf.size for leaf in leaves):
        return None
    return sum(_bytes(use, leaves[use.leaf].shape) for use in tapped.uses)


def factored_images(
    policy: Policy,
    params: PyTree,
    rows: tuple[PyTree, Int[Array, "row time"], Float[Array, "row time"]],
    sketch: Sketch,
    key: PRNGKeyArray,
) -> Float[Array, "row image"]:
    """Sketch J^T c of every row.

    Args:
        policy: Its log-probabilities are differentiated.
        params: At these parameters.
        rows: Prompts, completions and token weights c.
        sketch: A hashed one.
        key: What its map is drawn from.
    """
    tapped: Tapped = trace_policy(policy, params, rows[0], rows[1].shape[1])
    factored, leaves = factors_of_rows(tapped, params, *rows, {}), jax.tree.leaves(params)
    starts = np.cumsum([0, *(leaf.size for leaf in leaves)]).tolist()
    light = [(x.reshape(len(x), -1), starts[i]) for i, x in factored.light.items()]
    dtype = jnp.promote_types(jnp.result_type(*leaves), jnp.float32)
    image = jnp.zeros((len(rows[1]), sketch.width), dtype)
    if light:
        image = image + sketch.image_of_parts(light, key)
    stacks = defaultdict(list)  # by shape: one program for all that are alike
    for i, uses in factored.factors.items():
        layers = leaves[i].shape[0] if leaves[i].ndim == 3 else 1
        for use, seen, cotangent in uses:
            if use.kind == "lookup":
                image = image + _looked_up(seen, cotangent, starts[i], sketch, key)
                continue
            x, d = (y.reshape(len(y), layers, -1, y.shape[-1]) for y in (seen, cotangent))
            stack = _Stack(*((x, d) if use.left else (d, x)), starts[i])
            stacks[stack.left.shape, stack.right.shape].append(stack)
    for alike in stacks.values():
        image = _with_products(image, alike, sketch.width, key)
    return image


def _bytes(use: Use, shape: tuple[int, ...]) -> int:
    """Of a row's cotangents and activations at one use."""
    tokens, inner = math.prod(use.shape[:-1]), math.prod(shape[-2:]) // use.shape[-1]
    return np.dtype(use.dtype).itemsize * tokens * (use.shape[-1] + (inner if use.kind == "product" else 0))


def _with_products(
    image: Float[Array, "row width"], stacks: list[_Stack], width: int, key: PRNGKeyArray
) -> Float[Array, "row width"]:
    """Add the gradients L^T R of stacks of matrices of one shape."""
    left = jnp.concatenate([stack.left for stack in stacks], 1)
    right = jnp.concatenate([stack.right for stack in stacks], 1)
    rows, layers, _, a = left.shape
    b = right.shape[-1]
    most = max(1, _FORMED // (image.dtype.itemsize * rows * b))
    formed_rows = max(n for n in range(1, a + 1) if a % n == 0 and n <= most)  # of a matrix, at a time
    pieces, size = a // formed_rows, formed_rows * b
    of_stack = np.arange(layers // len(stacks) * pieces)
    edges = [_edges(of_stack, size, stack.start, width) for stack in stacks]
    first_blocks, places = (jnp.asarray(np.concatenate(x), jnp.int32) for x in zip(*edges, strict=True))
    blocks = max(_blocks(size, width, stack.start) for stack in stacks)

    def add(piece: Array, total: Array) -> Array:
        layer, begin = piece // pieces, piece % pieces * formed_rows
        x = jax.lax.dynamic_index_in_dim(left, layer, 1, keepdims=False)
        x = jax.lax.dynamic_slice_in_dim(x, begin, formed_rows, axis=2)
        d = jax.lax.dynamic_index_in_dim(right, layer, 1, keepdims=False)
        formed = jnp.einsum("nta,ntb->nab", x, d, preferred_element_type=total.dtype)  # [row, some of a, b]
        padded = _padded(formed.reshape(rows, size), places[piece], blocks * width)
        return add_blocks(total, padded, 0, first_blocks[piece] + jnp.arange(blocks), key)

    return jax.lax.fori_loop(0, layers * pieces, add, image)


def _looked_up(
    seen: Int[Array, "row ..."],
    cotangent: Float[Array, "row ... b"],
    start: int,
    sketch: Sketch,
    key: PRNGKeyArray,
) -> Float[Array, "row image"]:
    """The image of the gradient of a matrix that is read at ``seen``: one of its rows for each token."""
    (rows, size), width = (len(seen), cotangent.shape[-1]), sketch.width
    blocks = _blocks(size, width, start)

    def of_token(index: Array, slope: Array) -> tuple[Array, Array]:
        first, place = _edges(index, size, start, width)
        return _padded(slope[None], place, blocks * width)[0], first + jnp.arange(blocks)

    def of_row(row: tuple[Array, Array]) -> Array:
        padded, numbers = jax.vmap(of_token)(*row)
        return sketch.image_of_blocks(padded.reshape(1, -1, width), numbers.reshape(-1), key)[0]

    return jax.lax.map(of_row, (seen.reshape(rows, -1), cotangent.reshape(rows, -1, size)))


def _edges(index: Any, size: int, start: int, width: int) -> tuple[Any, Any]:
    """The block in which parameters begin that have the numbers from ``start + index * size`` on, and the place in it.

    The two are counted apart: a parameter's number may not fit 32 bits.
    """
    (whole, rest), (first, before) = divmod(size, width), divmod(start, width)
    place = before + index * rest
    return first + index * whole + place // width, place % width


def _blocks(size: int, width: int, start: int) -> int:
    """How many blocks ``size`` parameters touch at most that begin at ``start`` plus a multiple of ``size``."""
    step = math.gcd(size, width)
    return -(-(size + width - step + start % step) // width)


def _padded(parameters: Float[Array, "row size"], place: Array, whole: int) -> Float[Array, "row whole"]:
    if parameters.shape[1] == whole:
        return parameters
    zeros = jnp.zeros((len(parameters), whole), parameters.dtype)
    return jax.lax.dynamic_update_slice_in_dim(zeros, parameters, place, axis=1)
