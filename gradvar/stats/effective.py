"""The effective number of blocks: of how many equal contributions a figure might as well be made.

Where a few blocks carry a sum, the standard error that is computed from the blocks knows as little as they do: with
one success among a thousand rollouts every resample, and every block left out, sees the same success or none. Student's
t presumes blocks that are alike. So every figure with an interval carries (sum |x|)^2 / sum x^2 of what its blocks
contribute: their number if all contribute alike, k if only k of them contribute at all (Kish 1965 for the form).
"""

import math

import numpy as np
from jaxtyping import Float

ENOUGH = 30
"""From so many effective blocks on, an interval needs no warning."""
FEWEST = 6
"""Below so many there is no interval (chosen by measured coverage, ``benchmarks/CALIBRATION.md``)."""


def effective_number(amounts: Float[np.ndarray, "*batch block"]) -> Float[np.ndarray, "*batch"]:
    """(sum |x|)^2 / sum x^2 over the last axis; 0 where every block contributes nothing.

    >>> effective_number(np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]])).tolist()
    [4.0, 2.0, 0.0]
    """
    size = np.abs(np.asarray(amounts, np.float64))
    largest = size.max(-1, keepdims=True, initial=0.0)
    scaled = size / np.where(largest > 0, largest, 1.0)  # squares of tiny gradients would vanish
    squares = (scaled**2).sum(-1)
    return scaled.sum(-1) ** 2 / np.where(squares > 0, squares, 1.0)


def too_few(effective: float) -> str:
    """Say why there is no interval; empty where the effective blocks are enough for one, or are not known.

    >>> too_few(2.0)
    '2.0 effective blocks, fewer than 6'
    >>> too_few(40.0), too_few(float("nan"))
    ('', '')
    """
    if math.isnan(effective) or effective >= FEWEST * (1 - 1e-9):
        return ""
    if effective == 0:
        return "no block contributes to it"
    return f"{effective:.1f} effective blocks, fewer than {FEWEST}"


def warning(effective: float) -> str:
    """Say that an interval rests on few blocks; empty where it does not, and where there is none.

    >>> warning(12.0)
    'only 12 effective blocks carry it, so it may be too narrow'
    >>> warning(2.0), warning(40.0)
    ('', '')
    """
    if too_few(effective) or not effective < ENOUGH:
        return ""
    return f"only {effective:.0f} effective blocks carry it, so it may be too narrow"
