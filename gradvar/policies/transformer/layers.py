"""The parts of a block: products, norms, the rotary embedding, attention, and the gated MLP with or without experts.

Axes: Q prompts, G continuations of one prompt, S tokens, W width, H query heads, N key-value heads, D features of a
head, E experts, I features of an expert.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gradvar.policies.transformer.rope import Rope
from gradvar.policies.transformer.variant import Activation, Variant

_ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {"silu": jax.nn.silu, "gelu": jax.nn.gelu}


def precise(dtype: jnp.dtype) -> jnp.dtype:
    """At least float32: the precision of norms, softmax and log-probabilities."""
    return jnp.promote_types(dtype, jnp.float32)


def linear(x: Float[Array, "*batch width"], weight: Float[Array, "width out"]) -> Array:
    """``x @ weight`` as one product of two matrices, so that on CPU its gradient is a library call too."""
    return (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], weight.shape[-1])


def rms_norm(
    x: Float[Array, "*batch width"], weight: Float[Array, " width"], eps: float, *, unit: bool = False
) -> Array:
    """``weight * x / sqrt(mean(x^2) + eps)``, the quotient in at least float32; ``unit``: 1 + weight in its place.

    Args:
        x: Features.
        weight: One number per feature.
        eps: Keeps the root above zero.
        unit: Multiply by one plus the weight, before rounding to the type of ``x``, as Gemma does.
    """
    wide = x.astype(precise(x.dtype))
    normed = wide * jax.lax.rsqrt(jnp.mean(wide**2, axis=-1, keepdims=True) + eps)
    if unit:
        return (normed * (1.0 + weight.astype(wide.dtype))).astype(x.dtype)
    return weight * normed.astype(x.dtype)


def capped(x: Float[Array, "*batch"], cap: float | None) -> Float[Array, "*batch"]:
    """``cap * tanh(x / cap)`` (arXiv 2408.00118, Sec. 2), or x where there is no cap."""
    return x if cap is None else cap * jnp.tanh(x / cap)


def rotate(
    x: Float[Array, "*batch token heads head"], positions: Int[Array, "*batch token"], rope: Rope
) -> Float[Array, "*batch token heads head"]:
    """Rotary embedding: features i and i + D/2 turn together, by ``position`` times the pair's frequency.

    Where only a share of the features turns, D is their number, and the others stay as they are.
    """
    turned, wide = rope.turned(x.shape[-1]), precise(x.dtype)
    half = turned // 2
    angles = positions[..., None, None] * jnp.asarray(rope.frequencies(x.shape[-1]), wide)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    if rope.scale != 1:
        cos, sin = rope.scale * cos, rope.scale * sin
    cos, sin = cos.astype(x.dtype), sin.astype(x.dtype)
    first, second, rest = x[..., :half], x[..., half:turned], x[..., turned:]
    parts = [first * cos - second * sin, second * cos + first * sin]
    return jnp.concatenate([*parts, rest] if rest.shape[-1] else parts, axis=-1)


def attend(
    queries: Float[Array, "prompt group token heads head"],
    continuation: tuple[Array, Array, Array],
    memory: tuple[Array, Array, Array],
    variant: Variant,
) -> Float[Array, "prompt group token heads*head"]:
    """Softmax attention over a continuation's own tokens and its prompt's, H/N query heads to one of keys.

    Args:
        queries: Of every head.
        continuation: Keys and values [Q, G, U, N, D], and what each token may see [Q, G or 1, S, U].
        memory: Keys and values [Q, M, N, D], and what each token may see of them [Q, G or 1, S or 1, M].
        variant: How the products of queries and keys are scaled and capped.
    """
    (keys, values, allowed), (past_keys, past_values, valid) = continuation, memory
    q, g, s, heads, d = queries.shape
    grouped = queries.reshape(q, g, s, keys.shape[-2], heads // keys.shape[-2], d)
    wide = precise(queries.dtype)
    own_scores = jnp.einsum("qgsnrd,qgund->qgnrsu", grouped, keys, preferred_element_type=wide)
    past_scores = jnp.einsum("qgsnrd,qmnd->qgnrsm", grouped, past_keys, preferred_element_type=wide)

    def scaled(scores: Array) -> Array:
        scale = variant.attention_scale
        return capped(scores / d**0.5 if scale is None else scores * scale, variant.attention_cap)

    # a finite floor: a padding token sees nothing, and must not become NaN
    floor = jnp.finfo(wide).min
    own_scores = jnp.where(allowed[:, :, None, None], scaled(own_scores), floor)
    past_scores = jnp.where(valid[:, :, None, None], scaled(past_scores), floor)
    weights = jax.nn.softmax(jnp.concatenate([past_scores, own_scores], axis=-1), axis=-1).astype(
        queries.dtype
    )
    past = past_keys.shape[1]
    mixed = jnp.einsum("qgnrsm,qmnd->qgsnrd", weights[..., :past], past_values)
    mixed = mixed + jnp.einsum("qgnrsu,qgund->qgsnrd", weights[..., past:], values)
    return mixed.reshape(q, g, s, heads * d)


def within(
    window: Int[Array, ""], queries: Int[Array, "*batch token"], keys: Int[Array, "*batch key"]
) -> Bool[Array, "*batch token key"]:
    """True where a key lies less than ``window`` positions before the query, or after it; all true for 0."""
    return (queries[..., :, None] - keys[..., None, :] < window) | (window == 0)


def gated(
    product: Callable[[Array, str], Array], x: Float[Array, "*batch width"], activation: Activation
) -> Float[Array, "*batch width"]:
    """The gated MLP (arXiv 2002.05202, Eq. 6); ``product`` multiplies with a matrix by its name."""
    return product(_ACTIVATIONS[activation](product(x, "gate")) * product(x, "up"), "down")


def mixed_experts(
    layer: dict[str, Array], x: Float[Array, "*batch width"], variant: Variant
) -> Float[Array, "*batch width"]:
    """The weighted sum of the active experts' gated MLPs (arXiv 2101.03961, Eq. 2, for several experts).

    Every token goes through all E experts, and those that are not active have weight zero: exact and differentiable,
    at E / active times the work of a grouped product.
    """
    probs = jax.nn.softmax(linear(x, layer["router"]).astype(precise(x.dtype)), axis=-1)  # [*, E]
    _, index = jax.lax.top_k(probs, variant.active)
    weights = probs * jnp.sum(jax.nn.one_hot(index, variant.experts, dtype=probs.dtype), axis=-2)
    if variant.renormalised:
        weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
    hidden = _ACTIVATIONS[variant.activation](jnp.einsum("...w,ewi->...ei", x, layer["gate"]))
    hidden = hidden * jnp.einsum("...w,ewi->...ei", x, layer["up"])  # [*, E, I]
    return jnp.einsum("...ei,eiw->...w", hidden * weights.astype(x.dtype)[..., None], layer["down"])
