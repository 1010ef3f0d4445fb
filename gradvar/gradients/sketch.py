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
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gradvar.core.checks import one_of, whole
from gradvar.gradients.hashed_blocks import hashed, hashed_parts

SketchKind = Literal["hashed", "rademacher", "gaussian"]

_BLOCK = 1 << 14  # parameters whose random signs are held at a time
_RULE = 2  # of the hashed map: since 2 neighbouring parameters share a random turn


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
            return hashed_parts(arrays, starts, key, self.width)
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
        return hashed(blocks, numbers, key)
    draw = jax.random.rademacher if kind == "rademacher" else jax.random.normal

    def add(total: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        number, part = block  # part [row, _BLOCK]; the random matrix is drawn a block of its rows at a time
        matrix = draw(jax.random.fold_in(key, number), (_BLOCK, width), dtype=blocks.dtype)
        return total + part @ matrix, None

    start = jnp.zeros((len(blocks), width), blocks.dtype)
    return jax.lax.scan(add, start, (numbers, jnp.moveaxis(blocks, 1, 0)))[0] / width**0.5
