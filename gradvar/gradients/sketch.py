"""Where scores go: kept whole, as inner products, or as random sketches whose inner products are unbiased.

A score is a vector of P numbers. A sketch is a random linear map of it to K numbers, drawn from a seed and applied to
each chunk of scores as it is made, so that no more than a chunk of them is held.

    rademacher   scores times a random matrix of signs over sqrt(K); the variance of <u, v> is
                 (|u|^2 |v|^2 + <u, v>^2 - 2 sum_p u_p^2 v_p^2) / K
    gaussian     the same with normal entries, and variance (|u|^2 |v|^2 + <u, v>^2) / K
    hashed       each parameter gets a sign and is added to one of K buckets: the variance of rademacher where buckets
                 are drawn independently, at a cost of P operations per row, not P K
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from gradvar.core.checks import one_of, whole

SketchKind = Literal["hashed", "rademacher", "gaussian"]

_BLOCK = 1 << 14  # parameters whose random signs are held at a time


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

    def image(self, scores: Float[Array, "row param"], key: PRNGKeyArray) -> Float[Array, "row image"]:
        """Map scores to what is kept of them; the same map for the same key."""
        return _sketched(scores, key, self.kind, self.width)


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
    return {"map": scores.label, **asdict(scores)}


def map_from(facts: Mapping[str, Any]) -> ScoreMap:
    """The way to keep scores that ``describe_map`` described; other facts may lie among its own.

    >>> map_from(describe_map(Sketch("gaussian", 8)) | {"seed": 1})
    Sketch(kind='gaussian', width=8)
    """
    label = facts["map"]
    if label == Whole.label:
        return Whole()
    if label == Gram.label:
        return Gram(facts["cross"])
    return PerToken(facts["width"]) if label == PerToken.label else Sketch(facts["kind"], facts["width"])


@partial(jax.jit, static_argnames=("kind", "width"))
def _sketched(
    scores: Float[Array, "row param"], key: PRNGKeyArray, kind: SketchKind, width: int
) -> Float[Array, "row image"]:
    rows, params = scores.shape
    if kind == "hashed":
        key_sign, key_bucket = jax.random.split(key)
        signs = jax.random.rademacher(key_sign, (params,), scores.dtype)
        buckets = jax.random.randint(key_bucket, (params,), 0, width)
        return jax.ops.segment_sum((scores * signs).T, buckets, width).T
    # [row, block, _BLOCK], filled up with zeros: the random matrix is drawn a block of its rows at a time
    blocks = jnp.pad(scores, ((0, 0), (0, -params % _BLOCK))).reshape(rows, -1, _BLOCK)
    draw = jax.random.rademacher if kind == "rademacher" else jax.random.normal

    def add(total: Array, block: Array) -> tuple[Array, None]:
        matrix = draw(jax.random.fold_in(key, block), (_BLOCK, width), dtype=scores.dtype)
        return total + blocks[:, block] @ matrix, None

    start = jnp.zeros((rows, width), scores.dtype)
    return jax.lax.scan(add, start, jnp.arange(blocks.shape[1]))[0] / width**0.5
