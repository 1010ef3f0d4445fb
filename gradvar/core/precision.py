"""Double precision for exact work, whatever the process-wide default is, and words where single is not enough."""

import warnings
from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from numpy.typing import ArrayLike, DTypeLike


def double_precision() -> AbstractContextManager[None]:
    """A context in which JAX computes in float64."""
    return jax.enable_x64(True)


def as_double(tree: PyTree) -> PyTree:
    """The tree with its floating leaves in float64; call inside ``double_precision``."""

    def convert(leaf):
        array = np.asarray(leaf)
        return jnp.asarray(array, jnp.float64) if np.issubdtype(array.dtype, np.floating) else leaf

    return jax.tree.map(convert, tree)


_PART = 1e-3  # of the spread of rewards: a difference that is more than rounding of the rewards themselves


def say_if_equal(rewards: ArrayLike, dtype: DTypeLike) -> None:
    """Warn where rewards that differ become one number in ``dtype``, so that groups of them have no signal.

    Differences below a thousandth of the rewards' spread are not meant: 0.1 + 0.2 and 0.3 may well be one number.
    """
    exact = np.unique(np.asarray(rewards).astype(np.float64))
    exact = exact[np.isfinite(exact)]
    if len(exact) < 2 or np.dtype(dtype) == np.float64:
        return
    rounded = exact.astype(dtype)
    is_lost = (rounded[1:] == rounded[:-1]) & (np.diff(exact) > _PART * (exact[-1] - exact[0]))
    if is_lost.any():
        first = int(is_lost.argmax())
        low, high = (np.format_float_positional(x, trim="-") for x in exact[first : first + 2])
        warnings.warn(
            f"rewards: {low} and {high} are one number in {np.dtype(dtype).name}, so groups of them have no signal; "
            "subtract a constant from the rewards, or compute in float64 (jax.enable_x64)",
            stacklevel=3,
        )
