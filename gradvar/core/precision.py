"""Double precision for exact work, whatever the process-wide default is."""

from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree


def double_precision() -> AbstractContextManager[None]:
    """A context in which JAX computes in float64."""
    return jax.enable_x64(True)


def as_double(tree: PyTree) -> PyTree:
    """The tree with its floating leaves in float64; call inside ``double_precision``."""

    def convert(leaf):
        array = np.asarray(leaf)
        return jnp.asarray(array, jnp.float64) if np.issubdtype(array.dtype, np.floating) else leaf

    return jax.tree.map(convert, tree)
