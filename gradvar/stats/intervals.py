"""Confidence intervals: by Student's t, on a logarithmic scale, and for shares of independent trials."""

from dataclasses import dataclass, replace
from math import inf, isfinite, nan

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtri, stdtrit

from gradvar.stats.effective import too_few, warning

Bounds = tuple[np.ndarray, np.ndarray]
"""The lower and the upper ends of intervals."""
SAME = "every block gives the same number"
"""Why there is no interval of what does not scatter."""
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Interval:
    """A figure with its interval, standard error and degrees of freedom.

    The ends are NaN where there is no interval, and ``reason`` then says why. ``effective``: of how many equal blocks
    the figure might as well be made (``stats.effective``); NaN where that is not known, infinite for exact figures.

    >>> Interval(0.5, 0.4, 0.6).excludes(1)
    True
    """

    value: float
    low: float
    high: float
    se: float = nan
    dof: float = inf
    effective: float = nan
    reason: str = ""

    @property
    def known(self) -> bool:
        """True if there is an interval; an end may be infinite."""
        return self.low <= self.high

    @property
    def note(self) -> str:
        """Why there is no interval, or the warning that it needs; empty where there is nothing to say."""
        return self.reason or warning(self.effective)

    def excludes(self, x: float) -> bool:
        """Return True if ``x`` lies outside the interval; false where there is none, which excludes nothing.

        >>> Interval(0.5, nan, nan).excludes(1)
        False
        """
        return x < self.low or x > self.high

    def without(self, reason: str) -> "Interval":
        """The figure without its interval, and why."""
        return replace(self, low=nan, high=nan, reason=reason)

    def percent(self) -> str:
        """A share and its 95 % interval in words."""
        return f"{100 * self.value:.1f} % (95 % interval {100 * self.low:.1f} to {100 * self.high:.1f})"

    def words(self, form: str = ".2f") -> str:
        """The interval in words, with the warning that it needs, or why there is none.

        >>> Interval(0.5, 0.4, 0.6).words()
        '95 % interval 0.40 to 0.60'
        >>> Interval(0.5, 0.4, inf, effective=12.0).words()
        '95 % interval 0.40 to no upper end; only 12 effective blocks carry it, so it may be too narrow'
        >>> Interval(0.5, nan, nan, reason="no block contributes to it").words()
        'no interval: no block contributes to it'
        """
        if not self.known:
            return f"no interval: {self.reason or 'there is too little to make one of'}"
        high = format(self.high, form) if isfinite(self.high) else "no upper end"
        caution = warning(self.effective)
        return f"95 % interval {self.low:{form}} to {high}" + (f"; {caution}" if caution else "")


def is_rounding(spread: ArrayLike, scale: ArrayLike) -> np.ndarray:
    """True for a spread no larger than that of one number which was computed in different orders.

    >>> bool(is_rounding(np.full(10, 0.1).std(), 0.1)), bool(is_rounding(1e-6, 0.1))
    (True, False)
    """
    return np.asarray(spread) <= _ROUNDING * np.abs(scale)


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


def estimate(
    value: float,
    se: float,
    dof: float,
    level: float = 0.95,
    *,
    effective: float = nan,
    logarithmic: bool = False,
    by_identity: bool = False,
    bounds: Bounds | None = None,
) -> Interval:
    """A sampled figure with its interval (see ``interval``), or with the reason why there is none.

    There is none of a figure that a handful of blocks carries, and none where all blocks give the same number: sampling
    then says nothing of how far off it may be, and an interval of no width would claim that it is exact.

    Args:
        value: The figure.
        se: Its standard error.
        dof: Degrees of freedom of the standard error.
        level: Share of intervals that shall hold the true value.
        effective: The effective number of blocks.
        logarithmic: For variances, squared norms and their quotients.
        by_identity: True if the figure may be the same number in every block by algebra, as the bias factor of the
            reference against itself; its width may be zero.
        bounds: The ends, where they are not those of Student's t (``stats.tails``).

    >>> estimate(1.0, 0.5, inf, effective=3.0).words()
    'no interval: 3.0 effective blocks, fewer than 6'
    >>> estimate(1.0, 0.0, 15, effective=16.0).words()
    'no interval: every block gives the same number'
    """
    low, high = bounds or interval(value, se, dof, level, logarithmic=logarithmic)
    sampled = Interval(float(value), float(low), float(high), float(se), dof, float(effective))
    if reason := too_few(effective):
        return sampled.without(reason)
    if not isfinite(value):
        return sampled.without("the figure itself is not known")
    if not isfinite(se):
        return sampled.without("too few independent blocks for a standard error")
    if not by_identity and is_rounding(se, value):
        return sampled.without(SAME)
    return sampled


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
