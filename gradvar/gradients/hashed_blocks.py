"""The hashed map: a random sign for every parameter, a random turn for every block, and the sum over blocks.

Signs and turns depend on a key and on a block's number only, so parameters may come in any parts and in any order.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

_BITS = 32
_CACHED = 1 << 20  # bytes of scores that are signed at a time
_MANY = 2  # times the square of the width: parameters of an array from which on its blocks are read in place


def hashed(
    blocks: Float[Array, "row block width"], numbers: Int[Array, " block"], key: PRNGKeyArray
) -> Float[Array, "row width"]:
    """Map the parameters of some blocks: random signs, a random turn of every block, and the sum over blocks.

    Args:
        blocks: ``width`` parameters each.
        numbers: Which blocks they are.
        key: What signs and turns are drawn from.
    """
    rows, _, width = blocks.shape
    start = jnp.zeros((rows, width), jnp.promote_types(blocks.dtype, jnp.float32))
    return add_blocks(start, blocks.reshape(rows, -1), 0, numbers, key)


@partial(jax.jit, static_argnames=("starts", "width"))
def hashed_parts(
    arrays: Sequence[Float[Array, "row _"]], starts: tuple[int, ...], key: PRNGKeyArray, width: int
) -> Float[Array, "row width"]:
    """Map parameters that lie in several arrays.

    Whole blocks of large arrays are read where they lie; all other blocks are one program.

    Args:
        arrays: The parameters.
        starts: Number of each array's first one.
        key: What signs and turns are drawn from.
        width: Of the image, and of a block.
    """
    rows = len(arrays[0])
    dtype = jnp.promote_types(jnp.result_type(*arrays), jnp.float32)
    image = jnp.zeros((rows, width), dtype)
    pieces: list[Array] = []
    numbers: list[np.ndarray] = []
    for scores, start in zip(arrays, starts, strict=True):
        size = scores.shape[1]
        head = min(-start % width, size)  # parameters before the first whole block
        count = (size - head) // width if size >= _MANY * width**2 else 0
        if count:
            image = add_blocks(image, scores, head, -(-start // width) + np.arange(count), key)
        edges = ((0, head), (head + count * width, size)) if count else ((0, size),)
        for begin, end in edges:
            if end > begin:
                first, before = divmod(start + begin, width)
                padded = jnp.pad(scores[:, begin:end], ((0, 0), (before, -(before + end - begin) % width)))
                pieces.append(padded.astype(dtype).reshape(rows, -1, width))
                numbers.append(first + np.arange(pieces[-1].shape[1]))
    if not pieces:
        return image
    return image + hashed(jnp.concatenate(pieces, 1), jnp.asarray(np.concatenate(numbers)), key)


def add_blocks(
    image: Float[Array, "row width"],
    scores: Float[Array, "row _"],
    head: int,
    numbers: Int[Array, " block"] | Int[np.ndarray, " block"],
    key: PRNGKeyArray,
) -> Float[Array, "row width"]:
    """Add the blocks of an array from place ``head`` on, as many at a time as the cache holds.

    Args:
        image: What they are added to.
        scores: The parameters.
        head: Where the first block begins.
        numbers: Of the blocks.
        key: What the map is drawn from.
    """
    (rows, width), count = image.shape, len(numbers)
    if not count:
        return image
    at_once = min(count, max(1, _CACHED // (4 * rows * width)))

    def add(step: Array, total: Array) -> Array:
        begin = jnp.minimum(step * at_once, count - at_once)
        part = jax.lax.dynamic_slice_in_dim(scores, head + begin * width, at_once * width, axis=1)
        is_new = begin + jnp.arange(at_once) >= step * at_once  # the last round's others are there already
        blocks = jnp.where(is_new[:, None], part.reshape(rows, at_once, width), 0).astype(total.dtype)
        of_blocks = jax.lax.dynamic_slice_in_dim(jnp.asarray(numbers), begin, at_once)
        signs, turns = _drawn(of_blocks, key, width, total.dtype)
        way = jax.lax.platform_dependent
        return total + way(blocks, signs, turns, cpu=_summed_in_turn, default=_summed_at_once)

    return jax.lax.fori_loop(0, -(-count // at_once), add, image)


def _drawn(
    numbers: Int[Array, " block"], key: PRNGKeyArray, width: int, dtype: jnp.dtype
) -> tuple[Int[Array, "block width"], Int[Array, " block"]]:
    """The highest bits that change the signs of parameters of this type, and the turns of the blocks.

    They are made before they are used: once for all rows, and not again for each.
    """
    words = -(-width // _BITS)
    drawn = jax.vmap(
        lambda number: jax.random.bits(jax.random.fold_in(key, number), (words + 1,), jnp.uint32)
    )(numbers)
    # bit i of a word is the sign of the i-th of its 32 parameters; it is made the highest bit: [block, word, bit]
    signs = drawn[:, :words, None] << (_BITS - 1 - jnp.arange(_BITS, dtype=jnp.uint32))
    highest = signs.reshape(len(numbers), -1)[:, :width] & jnp.uint32(1 << (_BITS - 1))
    bits = 8 * jnp.dtype(dtype).itemsize
    flips = highest.astype(jnp.uint32 if bits == _BITS else jnp.uint64) << (bits - _BITS)
    return jax.lax.optimization_barrier((flips, (drawn[:, words] % width).astype(jnp.int32)))


def _signed(
    blocks: Float[Array, "*row width"], flips: Int[Array, "*block width"]
) -> Float[Array, "*row width"]:
    return jax.lax.bitcast_convert_type(
        jax.lax.bitcast_convert_type(blocks, flips.dtype) ^ flips, blocks.dtype
    )


def _summed_in_turn(
    blocks: Float[Array, "row block width"], flips: Int[Array, "block width"], turns: Int[Array, " block"]
) -> Float[Array, "row width"]:
    """The sum of the turned blocks, one after the other: all that is written stays in a processor's cache."""
    rows, count, width = blocks.shape

    def add(number: Array, total: Array) -> Array:
        block = jax.lax.dynamic_index_in_dim(blocks, number, 1, keepdims=False)
        signed = _signed(block, jax.lax.dynamic_index_in_dim(flips, number, 0))
        sums = jax.lax.dynamic_slice_in_dim(total, turns[number], width, axis=1) + signed
        return jax.lax.dynamic_update_slice_in_dim(total, sums, turns[number], axis=1)

    unfolded = jax.lax.fori_loop(0, count, add, jnp.zeros((rows, 2 * width), blocks.dtype))
    return unfolded[:, :width] + unfolded[:, width:]  # a turn by k leaves k parameters beyond the width


def _summed_at_once(
    blocks: Float[Array, "row block width"], flips: Int[Array, "block width"], turns: Int[Array, " block"]
) -> Float[Array, "row width"]:
    """The same where many processors share the blocks."""
    width = blocks.shape[-1]
    places = (jnp.arange(width) - turns[:, None]) % width  # [block, bucket]: the parameter that lands there
    return jnp.take_along_axis(_signed(blocks, flips), places[None], axis=-1).sum(1)
