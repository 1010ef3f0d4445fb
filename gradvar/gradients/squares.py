"""``squared``: products whose backward pass squares each rollout's gradient of the matrix, and keeps the sum of all.

Of y = x W for many rollouts, an ordinary backward pass gives dL/dW of their sum, and a mapped one gives each rollout's,
for which no memory has room. Here the rule for mapping is replaced: under ``jax.vmap`` the matrix's cotangent is one
product over all rollouts, and each rollout's squared norm leaves through the cotangent of a scalar that the forward
pass ignores. Factors are used where they arise, in the cache, and are never stored.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

_PRODUCT = "product"
_policies = jax.checkpoint_policies
SAVED = _policies.save_from_both_policies(_policies.dots_saveable, _policies.save_only_these_names(_PRODUCT))
"""The products that a layer saves for its backward pass; everything between them is computed again."""

Sums = Callable[[Array, Array], tuple[Array, Array]]
"""The sum over tokens of a gradient, and its square, from the activations and their cotangent, [token, axis] each."""


def squared(
    apply: Callable[[Array, Array], Array],
    sums: Sums,
    flat: Callable[[Array], Array],
    x: Array,
    weight: Array,
    squares: Any,
) -> Array:
    """Return ``apply(x, weight)``, with a backward pass that squares.

    Args:
        apply: linear in both arguments, or in the weight if ``x`` is integer.
        sums: makes the gradient's sum and square, as ``factor_sums`` and ``lookup_sums`` do.
        flat: brings ``x`` to the shape that ``sums`` takes.
        x: the activations.
        weight: the parameter.
        squares: a scalar whose cotangent is the squared norm.
    """

    @jax.custom_vjp
    def product(x: Array, weight: Array, squares: Array) -> Array:
        return apply(x, weight)

    def forward(x: Array, weight: Array, squares: Array) -> tuple[Array, Any]:
        return apply(x, weight), (x, weight)

    def backward(residuals: Any, cotangent: Array) -> tuple[Any, Array, Array]:
        x, weight = residuals
        total, square = sums(flat(x), cotangent.reshape(-1, cotangent.shape[-1]))
        if jnp.issubdtype(x.dtype, jnp.integer):
            return np.zeros(x.shape, jax.dtypes.float0), total, square
        (back,) = jax.linear_transpose(lambda x: apply(x, weight), x)(cotangent)
        return back, total, square

    product.defvjp(forward, backward)
    return checkpoint_name(product(x, weight, squares), _PRODUCT)


@lru_cache
def factor_sums(way: str, rows: bool) -> Sums:
    """The sums of L^T R, where L [token, a] are the activations if ``rows``, else the cotangent."""

    def form(seen: Array, cotangent: Array) -> Array:
        left, right = (seen, cotangent) if rows else (cotangent, seen)
        return jnp.einsum("...ra,...rb->...ab", left, right)

    def of_all(seen: Array, cotangent: Array) -> tuple[Array, Array]:
        if way == "formed":
            formed = form(seen, cotangent)
            return formed.sum(0), jnp.sum(formed**2, (1, 2))
        total = form(*(x.reshape(-1, x.shape[-1]) for x in (seen, cotangent)))
        return total, jnp.sum(pairs(seen) * pairs(cotangent), (1, 2))

    return _mapped(form, of_all)


@lru_cache
def lookup_sums(rows: int) -> Sums:
    """The sums of a matrix with ``rows`` rows that is read at ``seen`` [token]."""

    def form(seen: Array, cotangent: Array) -> Array:
        return jnp.zeros((rows, cotangent.shape[-1]), cotangent.dtype).at[seen].add(cotangent)

    def of_all(seen: Array, cotangent: Array) -> tuple[Array, Array]:
        same = seen[:, :, None] == seen[:, None, :]  # [rollout, token, token]
        total = form(seen.reshape(-1), cotangent.reshape(-1, cotangent.shape[-1]))
        return total, jnp.sum(jnp.where(same, pairs(cotangent), 0), (1, 2))

    return _mapped(form, of_all)


def _mapped(form: Callable[[Array, Array], Array], of_all: Sums) -> Sums:
    """One rollout's sums by forming its gradient; under ``jax.vmap``, ``of_all``: one total, and a square for each."""

    @jax.custom_batching.custom_vmap
    def sums(seen: Array, cotangent: Array) -> tuple[Array, Array]:
        formed = form(seen, cotangent)
        return formed, jnp.sum(formed**2)

    @sums.def_vmap
    def rule(
        size: int, batched: list[bool], *factors: Array
    ) -> tuple[tuple[Array, Array], tuple[bool, bool]]:
        mapped_factors = [
            x if mapped else jnp.broadcast_to(x, (size, *x.shape))
            for x, mapped in zip(factors, batched, strict=True)
        ]
        return of_all(*mapped_factors), (False, True)

    return sums


def pairs(x: Float[Array, "*batch token axis"]) -> Float[Array, "*batch token token"]:
    """Compute the inner products of tokens."""
    return jnp.einsum("...ra,...sa->...rs", x, x)
