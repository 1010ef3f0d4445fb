"""Confidence intervals: by Student's t, on a logarithmic scale, and for shares of independent trials."""

from dataclasses import dataclass
from math import inf, nan

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtri, stdtrit

Bounds = tuple[np.ndarray, np.ndarray]
"""The lower and the upper ends of intervals."""


@dataclass(frozen=True)
class Interval:
    """A figure with its interval, standard error and degrees of freedom; the ends are NaN where there is none.

    >>> Interval(0.5, 0.4, 0.6).excludes(1)
    True
    """

    value: float
    low: float
    high: float
    se: float = nan
    dof: float = inf

    def excludes(self, x: float) -> bool:
        """Return True unless ``x`` lies in the interval; always true where an end is NaN."""
        return not self.low <= x <= self.high

    def percent(self) -> str:
        """A share and its 95 % interval in words."""
        return f"{100 * self.value:.1f} % (95 % interval {100 * self.low:.1f} to {100 * self.high:.1f})"


def check_level(level: float) -> float:
    """Return a confidence level, or raise ``ValueError`` unless it is between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"level: {level}; give a number between 0 and 1, such as 0.95")
    return level


def student_half_width(se: ArrayLike, dof: float, level: float = 0.95) -> np.ndarray:
    """Half the width of Student's interval for a standard error."""
    return float(stdtrit(dof, 0.5 + check_level(level) / 2)) * np.asarray(se, np.float64)


def interval(
    value: ArrayLike, se: ArrayLike, dof: float, level: float = 0.95, *, logarithmic: bool = False
) -> Bounds:
    """A confidence interval from a standard error, by Student's t.

    Args:
        value: Figures, one or an array of them.
        se: Their standard errors.
        dof: Degrees of freedom of the standard errors.
        level: Share of intervals that shall hold the true value.
        logarithmic: For variances, squared norms and their quotients. Their estimates are skewed and scatter in
            proportion to their size, so an interval that is symmetric in the logarithm covers better. It applies where
            the estimate is more than two standard errors above zero.

    Returns:
        The lower and the upper ends.

    >>> low, high = interval(1.0, 0.5, float("inf"))
    >>> round(float(low), 3), round(float(high), 3)
    (0.02, 1.98)
    """
    half = student_half_width(se, dof, level)
    value, se = np.asarray(value, np.float64), np.asarray(se, np.float64)
    linear = value - half, value + half
    if not logarithmic:
        return linear
    clear = value > 2 * se
    factor = np.exp(np.where(clear, half, 0.0) / np.where(clear, value, 1.0))
    return np.where(clear, value / factor, linear[0]), np.where(clear, value * factor, linear[1])


def wilson(
    share: Float[np.ndarray, "*n"], total: Float[np.ndarray, "*n"] | float, level: float = 0.95
) -> Bounds:
    """Wilson's interval (1927) for a share that was observed among ``total`` independent trials.

    It is never empty at 0 or at 1, where the symmetric interval is.
    """
    z = float(ndtri(0.5 + level / 2))
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = (
        z / (1 + z**2 / total) * np.sqrt(np.maximum(share * (1 - share), 0) / total + z**2 / (4 * total**2))
    )
    return np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)


def jeffreys(successes: Int[np.ndarray, "*n"], total: Int[np.ndarray, "*n"], level: float = 0.95) -> Bounds:
    """Jeffreys' interval for a success rate: quantiles of Beta(k + 1/2, n - k + 1/2).

    The ends are 0 and 1 where no trial or all succeeded (Brown, Cai and DasGupta 2001).
    """
    # Many items have the same counts, and the quantiles take long.
    pairs, item = np.unique(np.array([successes, total]), axis=1, return_inverse=True)
    successes, total = pairs
    a, b, tail = successes + 0.5, total - successes + 0.5, (1 - level) / 2
    low = np.where(successes == 0, 0.0, betaincinv(a, b, tail))
    high = np.where(successes == total, 1.0, betaincinv(a, b, 1 - tail))
    return low[item], high[item]
