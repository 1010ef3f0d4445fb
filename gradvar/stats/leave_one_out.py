"""Leave-one-out values and the jackknife: what paired comparisons of figures on the same blocks are made
of."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from gradvar.stats.figures import BlockSums, _figures


def leave_one_out(sums: BlockSums) -> dict[str, Float[np.ndarray, "*experiment block"]]:
    """Every figure with each block left out, by name."""
    return _figures(sums, leave_out=True)


def jackknife_error(parts: Float[np.ndarray, "*experiment block"]) -> Float[np.ndarray, "*experiment"]:
    """The standard error of a figure from its leave-one-out values [..., B]."""
    blocks = parts.shape[-1]
    spread = ((parts - parts.mean(-1, keepdims=True)) ** 2).sum(-1)
    return np.sqrt((blocks - 1) / blocks * spread)
