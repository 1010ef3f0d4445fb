"""Confidence intervals from standard errors."""

from __future__ import annotations

import numpy as np
from jaxtyping import ArrayLike


def interval(
    value: ArrayLike, se: ArrayLike, dof: float, level: float = 0.95, *, logarithmic: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """A confidence interval from a standard error, by Student's t; on arrays of experiments as on single figures.

    ``logarithmic`` is for variances, squared norms and their quotient (``LOGARITHMIC``): their estimates are skewed
    and scatter in proportion to their size, so that an interval that is symmetric in the logarithm covers better. It
    applies where the estimate is more than two standard errors above zero.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: {level}; give a number between 0 and 1, such as 0.95")
    from scipy.stats import t

    value, se = np.asarray(value, np.float64), np.asarray(se, np.float64)
    half = float(t.ppf(0.5 + level / 2, dof)) * se
    linear = value - half, value + half
    if not logarithmic:
        return linear
    clear = value > 2 * se
    factor = np.exp(np.where(clear, half, 0.0) / np.where(clear, value, 1.0))
    return np.where(clear, value / factor, linear[0]), np.where(clear, value * factor, linear[1])
