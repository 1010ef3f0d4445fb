"""Products whose backward pass squares each rollout's own gradient of the matrix, and keeps only the sum of all.

Of y = x W for many rollouts, an ordinary backward pass gives dL/dW of their sum, and a mapped one gives each rollout's,
which is what no memory has room for. Here the rule for mapping is replaced: under ``jax.vmap`` the matrix's cotangent
is one product over all rollouts, and each rollout's squared norm leaves through the cotangent of a scalar that
the forward pass ignores. Factors are used where they arise, in the cache, and are never stored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

_PRODUCT = "product"
_policies = jax.checkpoint_policies
KEPT = _policies.save_from_both_policies(_policies.dots_saveable, _policies.save_only_these_names(_PRODUCT))
"""What a layer keeps for its backward pass: products; what lies between them is done again."""

Sums = Callable[[Array, Array], tuple[Array, Array]]
"""The sum over tokens of a gradient, and its square, from what was multiplied and its cotangent, [token, axis] each."""


def squared(
    apply: Callable[[Array, Array], Array], sums: Sums, x: Array, seen: Array, weight: Array, squares: Any
) -> Array:
    """``apply(x, weight)``, linear in both (or ``x`` integer); ``seen``: ``x`` as ``sums`` wants it."""

    @jax.custom_vjp
    def product(x: Array, seen: Array, weight: Array, squares: Array) -> Array:
        return apply(x, weight)

    def forward(x: Array, seen: Array, weight: Array, squares: Array) -> tuple[Array, Any]:
        return apply(x, weight), (seen, weight)

    def backward(kept: Any, cotangent: Array) -> tuple[Any, Any, Array, Array]:
        seen, weight = kept
        total, square = sums(seen, cotangent.reshape(-1, cotangent.shape[-1]))
        if jnp.issubdtype(seen.dtype, jnp.integer):
            back, nothing = (np.zeros(a.shape, jax.dtypes.float0) for a in (x, seen))
            return back, nothing, total, square
        (back,) = jax.linear_transpose(lambda x: apply(x, weight), x)(cotangent)
        return back, jnp.zeros_like(seen), total, square

    product.defvjp(forward, backward)
    return checkpoint_name(product(x, jax.lax.stop_gradient(seen), weight, squares), _PRODUCT)


@lru_cache
def factor_sums(way: str, rows: bool) -> Sums:
    """Of L^T R, where L [token, a] is what was multiplied if ``rows``, else the cotangent."""

    @jax.custom_batching.custom_vmap
    def sums(seen: Array, cotangent: Array) -> tuple[Array, Array]:
        left, right = (seen, cotangent) if rows else (cotangent, seen)
        formed = left.T @ right
        return formed, jnp.sum(formed**2)

    @sums.def_vmap
    def mapped(
        size: int, batched: list[bool], *factors: Array
    ) -> tuple[tuple[Array, Array], tuple[bool, bool]]:
        seen, cotangent = _whole(size, batched, factors)
        left, right = (seen, cotangent) if rows else (cotangent, seen)
        if way == "formed":
            formed = jnp.einsum("nra,nrb->nab", left, right)
            return (formed.sum(0), jnp.sum(formed**2, (1, 2))), (False, True)
        total = left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1])
        return (total, jnp.sum(pairs(left) * pairs(right), (1, 2))), (False, True)

    return sums


@lru_cache
def lookup_sums(rows: int) -> Sums:
    """Of a matrix with ``rows`` rows that is read at ``seen`` [token]."""

    @jax.custom_batching.custom_vmap
    def sums(seen: Array, cotangent: Array) -> tuple[Array, Array]:
        formed = _scattered(rows, seen, cotangent)
        return formed, jnp.sum(formed**2)

    @sums.def_vmap
    def mapped(
        size: int, batched: list[bool], *factors: Array
    ) -> tuple[tuple[Array, Array], tuple[bool, bool]]:
        seen, cotangent = _whole(size, batched, factors)
        same = seen[:, :, None] == seen[:, None, :]
        square = jnp.sum(jnp.where(same, pairs(cotangent), 0), (1, 2))
        total = _scattered(rows, seen.reshape(-1), cotangent.reshape(-1, cotangent.shape[-1]))
        return (total, square), (False, True)

    return sums


def pairs(x: Float[Array, "*batch token axis"]) -> Float[Array, "*batch token token"]:
    """Inner products of tokens."""
    return jnp.einsum("...ra,...sa->...rs", x, x)


def _scattered(
    rows: int, at: Int[Array, " token"], values: Float[Array, "token axis"]
) -> Float[Array, "rows axis"]:
    return jnp.zeros((rows, values.shape[-1]), values.dtype).at[at].add(values)


def _whole(size: int, batched: list[bool], factors: tuple[Array, ...]) -> list[Array]:
    return [
        x if mapped else jnp.broadcast_to(x, (size, *x.shape))
        for x, mapped in zip(factors, batched, strict=True)
    ]
