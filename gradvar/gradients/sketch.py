"""Where scores go: kept whole, as inner products, or as random sketches whose inner products are unbiased.

A score is a vector of P numbers. A sketch is a random linear map of it to K numbers, drawn from a seed and applied to
each chunk of scores as it is made, so that no more than a chunk of them is held. It may be applied to parts of a
vector, such as the parameters that one process holds: the image is the sum of the parts' images.

    rademacher   scores times a random matrix of signs over sqrt(K); the variance of <u, v> is
                 (|u|^2 |v|^2 + <u, v>^2 - 2 sum_p u_p^2 v_p^2) / K
    gaussian     the same with normal entries, and variance (|u|^2 |v|^2 + <u, v>^2) / K
    hashed       each parameter gets a sign and is added to one of K buckets: P operations per row, not P K.
                 K parameters in a row go to K buckets, in their order, turned by a random number: those never collide,
                 all others do with probability 1 / K, so the variance is at most that of rademacher
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gradvar.core.checks import one_of, whole

SketchKind = Literal["hashed", "rademacher", "gaussian"]

_BLOCK = 1 << 14  # parameters whose random signs are held at a time
_RULE = 2  # of the hashed map: since 2 neighbouring parameters share a random turn
_BITS = 32
_CACHED = 1 << 20  # bytes of scores that are signed at a time
_MANY = 2  # blocks of every turn from which on they are summed first


@dataclass(frozen=True)
class Whole:
    """Keep all P numbers of every score: exact, and the only choice that gives mean gradients."""

    label: ClassVar[str] = "identity"

    def image(self, scores: Float[Array, "row param"], key: PRNGKeyArray) -> Float[Array, "row image"]:
        """Map scores to what is kept of them."""
        return scores


@dataclass(frozen=True)
class Gram:
    """Keep exact inner products of scores, and no score.

    ``cross=False`` keeps those within a prompt only: enough for a tr Cov within prompts, and not for signals or for
    batches that couple prompts.
    """

    label: ClassVar[str] = "gram"
    cross: bool = True


@dataclass(frozen=True)
class Sketch:
    """Keep a random linear map of every score, ``width`` numbers with unbiased inner products.

    >>> scores = jnp.array([[3.0, 4.0]])
    >>> image = Sketch("hashed", 64).image(scores, jax.random.key(0))
    >>> image.shape, float((image**2).sum())  # exact here: the two parameters are in different buckets
    ((1, 64), 25.0)
    """

    kind: SketchKind = "hashed"
    width: int = 1024

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("hashed", "rademacher", "gaussian"))
        whole("width", self.width, 1)

    @property
    def label(self) -> str:
        """The name under which a bank lists it."""
        return f"sketch {self.kind}"

    @property
    def block(self) -> int:
        """Parameters that are mapped together."""
        return self.width if self.kind == "hashed" else _BLOCK

    def image(
        self, scores: Float[Array, "row param"], key: PRNGKeyArray, start: int = 0
    ) -> Float[Array, "row image"]:
        """Map scores, or a part of every score, to what is kept of them; the same map for the same key.

        Args:
            scores: The parameters from number ``start`` on.
            key: What the map is drawn from.
            start: Number of the first parameter; the others are taken to be zero.
        """
        first, before = divmod(start, self.block)
        after = -(before + scores.shape[1]) % self.block
        blocks = jnp.pad(scores, ((0, 0), (before, after))).reshape(len(scores), -1, self.block)
        return self.image_of_blocks(blocks, first + jnp.arange(blocks.shape[1]), key)

    def image_of_parts(
        self, parts: Sequence[tuple[Float[Array, "row _"], int]], key: PRNGKeyArray
    ) -> Float[Array, "row image"]:
        """Map scores whose parameters lie in several arrays, each with the number of its first parameter.

        Args:
            parts: [row, parameters of the array], and that number.
            key: What the map is drawn from.
        """
        if self.kind == "hashed":
            arrays, starts = zip(*parts, strict=True)
            return _hashed_parts(arrays, starts, key, self.width)
        images = [self.image(x, key, start) for x, start in parts]
        return sum(images[1:], images[0])

    def image_of_blocks(
        self, blocks: Float[Array, "row block param"], numbers: Int[Array, " block"], key: PRNGKeyArray
    ) -> Float[Array, "row image"]:
        """Map some blocks of every score: block b holds the parameters from b times ``block`` on.

        Args:
            blocks: Their parameters, zero where there is none.
            numbers: Which blocks they are.
            key: What the map is drawn from.
        """
        wide = blocks.astype(jnp.promote_types(blocks.dtype, jnp.float32))
        return _sketched(wide, numbers, key, self.kind, self.width)


@dataclass(frozen=True)
class PerToken:
    """Keep a Rademacher sketch of every single token's score, made in forward mode.

    It serves any objective without a basis of token weights, and takes about 2 ``width`` forward passes: cheaper than
    backward passes where a rollout's basis would have more than about ``width`` vectors, as with a penalty per token.
    """

    label: ClassVar[str] = "sketch tokens"
    width: int = 1024

    def __post_init__(self) -> None:
        whole("width", self.width, 1)


ScoreMap = Whole | Gram | Sketch | PerToken
"""How scores are kept."""


def describe_map(scores: ScoreMap) -> dict[str, Any]:
    """A way to keep scores as plain values: its label as ``map``, and its settings."""
    rule = {"rule": _RULE} if isinstance(scores, Sketch) and scores.kind == "hashed" else {}
    return {"map": scores.label, **asdict(scores), **rule}


def map_from(facts: Mapping[str, Any]) -> ScoreMap:
    """The way to keep scores that ``describe_map`` described; other facts may lie among its own.

    >>> map_from(describe_map(Sketch("gaussian", 8)) | {"seed": 1})
    Sketch(kind='gaussian', width=8)

    Raises ``ValueError`` for a hashed sketch of an earlier version, which drew another map.
    """
    label = facts["map"]
    if label == "sketch hashed" and facts.get("rule") != _RULE:
        raise ValueError(
            "scores: the bank holds a hashed sketch of an earlier version, and its map is another; record it again"
        )
    if label == Whole.label:
        return Whole()
    if label == Gram.label:
        return Gram(facts["cross"])
    return PerToken(facts["width"]) if label == PerToken.label else Sketch(facts["kind"], facts["width"])


@partial(jax.jit, static_argnames=("kind", "width"))
def _sketched(
    blocks: Float[Array, "row block param"],
    numbers: Int[Array, " block"],
    key: PRNGKeyArray,
    kind: SketchKind,
    width: int,
) -> Float[Array, "row image"]:
    if kind == "hashed":
        return _hashed(blocks, numbers, key)
    draw = jax.random.rademacher if kind == "rademacher" else jax.random.normal

    def add(total: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        number, part = block  # part [row, _BLOCK]; the random matrix is drawn a block of its rows at a time
        matrix = draw(jax.random.fold_in(key, number), (_BLOCK, width), dtype=blocks.dtype)
        return total + part @ matrix, None

    start = jnp.zeros((len(blocks), width), blocks.dtype)
    return jax.lax.scan(add, start, (numbers, jnp.moveaxis(blocks, 1, 0)))[0] / width**0.5


def _hashed(
    blocks: Float[Array, "row block width"], numbers: Int[Array, " block"], key: PRNGKeyArray
) -> Float[Array, "row width"]:
    """Random signs, a random turn of every block, and the sum over blocks."""
    rows, count, width = blocks.shape
    if count >= _MANY * width:
        by_turn = jnp.zeros((width, rows, width), blocks.dtype)
        return _turned(_add_blocks(by_turn, blocks.reshape(rows, -1), 0, numbers, key))
    signed, turns = _signed(blocks, numbers, key)
    if count < width:  # fewer blocks than turns
        return jnp.take_along_axis(signed, _places(width)[turns][None], axis=-1).sum(1)
    return _turned(jax.ops.segment_sum(jnp.moveaxis(signed, 1, 0), turns, width))


@partial(jax.jit, static_argnames=("starts", "width"))
def _hashed_parts(
    arrays: Sequence[Float[Array, "row _"]], starts: tuple[int, ...], key: PRNGKeyArray, width: int
) -> Float[Array, "row width"]:
    """The same of parameters in several arrays, each with the number of its first one.

    Whole blocks of large arrays are signed some at a time, so that they stay in the cache, and blocks of one turn are
    summed before they are turned: on a CPU that takes a sixteenth of the time of adding parameter by parameter. All
    other blocks are one program.
    """
    rows = len(arrays[0])
    dtype = jnp.promote_types(jnp.result_type(*arrays), jnp.float32)
    by_turn = jnp.zeros((width, rows, width), dtype)  # [turn, row, width]
    pieces: list[Array] = []
    numbers: list[np.ndarray] = []
    any_whole = False
    for scores, start in zip(arrays, starts, strict=True):
        size = scores.shape[1]
        head = min(-start % width, size)  # parameters before the first whole block
        count = (size - head) // width if size >= _MANY * width**2 else 0
        any_whole |= count > 0
        if count:
            by_turn = _add_blocks(by_turn, scores, head, -(-start // width) + np.arange(count), key)
        edges = ((0, head), (head + count * width, size)) if count else ((0, size),)
        for begin, end in edges:
            if end > begin:
                first, before = divmod(start + begin, width)
                padded = jnp.pad(scores[:, begin:end], ((0, 0), (before, -(before + end - begin) % width)))
                pieces.append(padded.astype(dtype).reshape(rows, -1, width))
                numbers.append(first + np.arange(pieces[-1].shape[1]))
    image = _turned(by_turn) if any_whole else jnp.zeros((rows, width), dtype)
    if not pieces:
        return image
    return image + _hashed(jnp.concatenate(pieces, 1), jnp.asarray(np.concatenate(numbers)), key)


def _add_blocks(
    by_turn: Float[Array, "turn row width"],
    scores: Float[Array, "row _"],
    head: int,
    numbers: Int[Array, " block"] | Int[np.ndarray, " block"],
    key: PRNGKeyArray,
) -> Float[Array, "turn row width"]:
    """Add the signed blocks of an array from place ``head`` on, as many at a time as the cache holds."""
    (_, rows, width), count = by_turn.shape, len(numbers)
    at_once = min(count, max(1, _CACHED // (4 * rows * width)))

    def add(step: Array, total: Array) -> Array:
        begin = jnp.minimum(
            step * at_once, count - at_once
        )  # what is there already is zeroed in the last round
        part = jax.lax.dynamic_slice_in_dim(scores, head + begin * width, at_once * width, axis=1)
        is_new = begin + jnp.arange(at_once) >= step * at_once
        blocks = jnp.where(is_new[:, None], part.reshape(rows, at_once, width), 0)
        of_blocks = jax.lax.dynamic_slice_in_dim(jnp.asarray(numbers), begin, at_once)
        signed, turns = _signed(blocks, of_blocks, key)
        return total.at[turns].add(jnp.moveaxis(signed, 1, 0))

    return jax.lax.fori_loop(0, -(-count // at_once), add, by_turn)


def _signed(
    blocks: Float[Array, "row block width"], numbers: Int[Array, " block"], key: PRNGKeyArray
) -> tuple[Float[Array, "row block width"], Int[Array, " block"]]:
    """The parameters with their random signs, and the turns of their blocks."""
    width = blocks.shape[-1]
    words = -(-width // _BITS)
    drawn = jax.vmap(
        lambda number: jax.random.bits(jax.random.fold_in(key, number), (words + 1,), jnp.uint32)
    )(numbers)
    # bit i of a word is the sign of the i-th of its 32 parameters; it is made the highest bit: [block, word, bit]
    signs = drawn[:, :words, None] << (_BITS - 1 - jnp.arange(_BITS, dtype=jnp.uint32))
    turns = (drawn[:, words] % width).astype(jnp.int32)
    wide = blocks.astype(jnp.promote_types(blocks.dtype, jnp.float32))
    word = jnp.uint32 if wide.dtype.itemsize == 4 else jnp.uint64
    highest = signs.reshape(len(numbers), -1)[:, :width] & jnp.uint32(1 << (_BITS - 1))
    flipped = highest.astype(word) << (8 * wide.dtype.itemsize - _BITS)
    return jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(wide, word) ^ flipped, wide.dtype), turns


def _places(width: int) -> Int[Array, "turn bucket"]:
    """The parameter that lands in a bucket after a turn."""
    return (jnp.arange(width) - jnp.arange(width)[:, None]) % width


def _turned(by_turn: Float[Array, "turn row width"]) -> Float[Array, "row width"]:
    """Turn the sums of the blocks of every turn, and add them up."""
    return jnp.take_along_axis(by_turn, _places(by_turn.shape[-1])[:, None], axis=-1).sum(0)
