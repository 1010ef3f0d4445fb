"""Warm starts as the unit of what training retains: means within a start, intervals over starts, many arms at once.

Seeds that share their warm start share its luck: an interval over them holds for that start and no other. Over several
starts the seeds of each are averaged, and the starts are what scatters (Barr et al. 2013, Journal of Memory and
Language 68(3) 255-278, of the same mistake elsewhere). A ratio of means has Student's interval with the error of the
delta method: of the residuals a - r b of the units, over the mean of b. Of that, a logarithmic scale, Fieller's
interval, a jackknife and a bootstrap it was chosen by measured coverage for 3 to 10 starts
(``benchmarks/calibration/retention.py``).
"""

import math

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtr

from gradvar.stats.intervals import Interval, is_rounding, student_half_width

HEADLINE = 10
"""Warm starts from which on a figure may stand without a caution."""
Units = Float[np.ndarray, " unit"]


def by_start(scores: Float[np.ndarray, " seed"], starts: Int[np.ndarray, " seed"] | None) -> Units:
    """The mean of every start's seeds; the seeds themselves where there is one start, or none is named.

    >>> by_start(np.array([1.0, 2.0, 5.0, 7.0]), np.array([0, 0, 1, 1])).tolist()
    [1.5, 6.0]
    """
    scores = np.asarray(scores, np.float64)
    if starts is None or len(set(np.asarray(starts).tolist())) < 2:
        return scores
    return np.array([scores[starts == s].mean() for s in np.unique(starts)])


def mean_of(
    units: Units, level: float = 0.95, *, by_identity: bool = False, scale: float = math.nan
) -> Interval:
    """The units' mean with Student's interval; none where all are the same number, unless that is by algebra.

    Args:
        units: One number of each.
        level: Share of intervals that shall hold the true mean.
        by_identity: True where the units are zero by algebra, as an arm's difference from itself.
        scale: The size of the numbers that the units are differences of; their own by default.
    """
    units = np.asarray(units, np.float64)
    size, value = len(units), float(units.mean())
    nothing = Interval(value, math.nan, math.nan, dof=size - 1)
    if not math.isfinite(value):
        return nothing.without("a run has no number")
    if size < 2:
        return nothing.without("one unit has no spread")
    error = float(units.std(ddof=1) / math.sqrt(size))
    if not by_identity and is_rounding(error, np.abs(units).max() if math.isnan(scale) else scale):
        return nothing.without("every run gives the same number")
    half = float(student_half_width(error, size - 1, level))
    return Interval(value, value - half, value + half, error, size - 1)


def ratio_of(first: Units, second: Units, level: float = 0.95, *, what: str = "denominator") -> Interval:
    """The quotient of the units' means, by Student's t with the delta method's error.

    There is no interval where the second mean cannot be told from zero, and no quotient where it is not above zero.

    Args:
        first: One number of each unit.
        second: The same units' numbers in the denominator.
        level: Share of intervals that shall hold the true quotient.
        what: Of what the denominator is, for the reason.

    >>> made = ratio_of(np.array([3.0, 3.2, 3.1]), np.array([6.0, 6.5, 6.1]))
    >>> round(made.value, 3), round(made.low, 3), round(made.high, 3)
    (0.5, 0.48, 0.52)
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    below = float(second.mean())
    value = float(first.mean()) / below if below > 0 else math.nan
    made = Interval(value, math.nan, math.nan, dof=len(first) - 1)
    if not np.isfinite([*first, *second]).all():
        return made.without("a run has no number")
    is_itself = np.array_equal(first, second)
    residuals = mean_of(
        first - value * second if below > 0 else second, level,
        by_identity=is_itself, scale=float(np.abs(first).max()),
    )  # fmt: skip
    spread = mean_of(second, level)
    if not below > 0 or (spread.known and not spread.low > 0):
        return made.without(f"the {what} cannot be told from zero")
    if not residuals.known:
        return made.without(residuals.reason)
    half = (residuals.high - residuals.low) / 2 / below
    return Interval(value, value - half, value + half, residuals.se / below, len(first) - 1)


def p_value(units: Units, scale: float = math.nan) -> float:
    """Student's two-sided p value that the units' mean is zero; NaN where there is no spread (see ``mean_of``)."""
    figure = mean_of(units, scale=scale)
    if not figure.known:
        return math.nan
    return float(2 * stdtr(figure.dof, -abs(figure.value) / figure.se))


def holm(p_values: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Holm's adjusted p values (1979, Scandinavian Journal of Statistics 6(2) 65-70); NaN stays and does not count.

    >>> holm(np.array([0.01, 0.04, 0.03, np.nan])).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    p_values = np.asarray(p_values, np.float64)
    adjusted = np.full(p_values.shape, np.nan)
    order = [i for i in np.argsort(p_values, kind="stable") if not math.isnan(p_values[i])]
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, (len(order) - rank) * float(p_values[index]))
        adjusted[index] = min(1.0, largest)
    return adjusted
