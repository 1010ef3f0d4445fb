"""What is asked of a model before it is a policy: shape, finite logits, rows apart, and nothing seen ahead of time.

Causality is tested, not believed: tokens after a place are exchanged for others and the logits up to there must stay
as they are, for every place of a short row; then the row is cut short, and they must stay again. That is done at the
given parameters and at perturbed ones, because a model whose last layer starts at zero shows nothing.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

_PAST = 4  # tokens of the probe's prompt
_LONGEST = 32  # tokens of the probe
_HELD = 1 << 24  # logits of a probe, as numbers: larger vocabularies get a shorter one
_ROUNDINGS = 1000.0  # of the largest logit, by which the same program may differ between rows
_MOST = 0.05  # of the largest logit: in half precision a thousand roundings are more than the logit
_NOISE = 0.1  # of a parameter array's root mean square, and a tenth of that at least


def check_model(
    logits: Callable[[PyTree, Array], Array],
    params: PyTree,
    vocab: int,
    completion_length: int,
    max_length: int | None,
) -> None:
    """Require that a small probe finds ``logits`` to be causal.

    Args:
        logits: ``logits(params, tokens [row, token]) -> [row, token, vocab]``.
        params: Parameters of the model.
        vocab: Number of tokens that there are.
        completion_length: Tokens of a completion.
        max_length: Tokens of a row at most; None for no limit.

    Raises:
        TypeError, ValueError: In one line, where it does not.
    """
    _check_params(params)
    length = min(_PAST + completion_length, _LONGEST, max_length or _LONGEST, max(4, _HELD // vocab))
    tokens = np.random.default_rng(0).integers(0, vocab, (2, length)).astype(np.int32)
    _check_shape(logits, params, tokens, vocab)
    run = jax.jit(logits)
    reference = np.asarray(run(params, tokens), np.float64)
    if np.isnan(reference).any() or (reference == np.inf).any() or not np.isfinite(reference).any(-1).all():
        row, place, entry = (int(i) for i in np.argwhere(~np.isfinite(reference))[0])
        raise ValueError(
            f"logits: {reference[row, place, entry]} after token {place} of a probe with tokens "
            f"{tokens[row].tolist()}; "
            "give finite logits (-inf only for tokens that are never sampled)"
        )
    for values in (params, _perturbed(params)):
        _check_ahead(run, values, tokens, vocab)


def _check_params(params: PyTree) -> None:
    leaves = jax.tree.leaves(params)
    if not leaves:
        raise ValueError("params: no arrays in it; give the tree of arrays that logits(params, tokens) reads")
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        dtype = getattr(leaf, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            where = jax.tree_util.keystr(path) or "params"
            raise TypeError(
                f"params: {where} is a {type(leaf).__name__} of {dtype}, and gradients want floating arrays; "
                "keep it inside logits, or split the model with from_equinox or from_nnx"
            )


def _check_shape(logits: Callable[..., Any], params: PyTree, tokens: np.ndarray, vocab: int) -> None:
    output = jax.eval_shape(logits, params, jnp.asarray(tokens))
    shape, wanted = getattr(output, "shape", None), (*tokens.shape, vocab)
    if shape != wanted or not jnp.issubdtype(output.dtype, jnp.floating):
        what = f"a {type(output).__name__}" if shape is None else f"{output.dtype} of shape {shape}"
        raise ValueError(
            f"logits: {what} for tokens {tokens.shape}; give floating logits {wanted}, [row, token, vocab]"
        )


def _perturbed(params: PyTree) -> PyTree:
    rng = np.random.default_rng(1)

    def noisy(leaf: Array) -> Array:
        wide = np.asarray(leaf, np.float64)
        size = _NOISE * max(float(np.sqrt(np.mean(wide**2))) if wide.size else 0.0, _NOISE)
        return jnp.asarray(wide + size * rng.standard_normal(wide.shape), leaf.dtype)

    return jax.tree.map(noisy, params)


def _check_ahead(run: Callable[..., Array], params: PyTree, tokens: np.ndarray, vocab: int) -> None:
    """Row 0 has its later tokens exchanged, row 1 is left alone; then both are cut short."""
    first = run(params, tokens)
    eps = float(jnp.finfo(first.dtype).eps)
    reference = np.asarray(first, np.float64)
    same = min(_ROUNDINGS * eps, _MOST)
    scale = max(1.0, float(np.abs(reference[np.isfinite(reference)]).max(initial=0.0)))
    length = tokens.shape[1]
    for place in range(1, length):
        changed = tokens.copy()
        changed[0, place:] = (changed[0, place:] + 1 + np.arange(place, length) % (vocab - 1)) % vocab
        moved = np.asarray(run(params, changed), np.float64)
        if (gap := _gap(moved[0, :place], reference[0, :place])) > same * scale:
            raise ValueError(
                f"logits: those after token {place - 1} move by {gap:.1e} when tokens from {place} on are exchanged; "
                "give a causal model, whose logits depend on no later token"
            )
        if (gap := _gap(moved[1], reference[1])) > same * scale:
            raise ValueError(
                f"logits: a row's move by {gap:.1e} when another row is exchanged; give a model that treats rows "
                "apart (no batch statistics: set it to inference)"
            )
    short = max(1, length // 2)
    moved = np.asarray(run(params, tokens[:, :short]), np.float64)
    if (gap := _gap(moved, reference[:, :short])) > eps**0.5 * scale:
        raise ValueError(
            f"logits: they move by {gap:.1e} when a row of {length} tokens is cut to {short}; give a model whose "
            "logits do not depend on how many tokens follow (count positions from the left)"
        )


def _gap(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference; equal infinities are equal, and what perturbing made NaN says nothing."""
    with np.errstate(invalid="ignore"):
        gaps = np.where(first == second, 0.0, np.abs(first - second))
    return float(np.nanmax(gaps, initial=0.0))
