"""Equivalence of a quotient of means to a stated number, within a margin fixed beforehand: two one-sided tests.

That an interval includes a number is no evidence for it; two one-sided tests (Schuirmann 1987, Journal of
Pharmacokinetics and Biopharmaceutics 15, 657-680) reject that the quotient is as far from it as the margin. For paired
units (a, b) the quotient of means is above t exactly where the mean of a - t b is above zero, so each test is
Student's, with no approximation for the quotient (Sasabuchi's test; Hauschke, Kieser, Diletti and Burke 1999,
Statistics in Medicine 18, 93-105).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from gradvar.stats.intervals import is_rounding
from gradvar.stats.starts import Units


@dataclass(frozen=True)
class Equivalence:
    """The quotient's ends of equivalence ``low`` and ``high``, and the larger ``p_value`` of both one-sided tests.

    NaN where there is no spread to test with.
    """

    ratio: float
    low: float
    high: float
    p_value: float

    def holds(self, alpha: float = 0.05) -> bool:
        """True where both tests reject: the quotient lies within the margin."""
        return self.p_value <= alpha


def ratio_equivalence(first: Units, second: Units, ratio: float, margin: float) -> Equivalence:
    """Test that the quotient of the units' means lies within ``margin`` of ``ratio``.

    Args:
        first: One number of each unit.
        second: The same units' numbers in the denominator; their mean is above zero.
        ratio: What the quotient is claimed to be.
        margin: How far from it still counts as it.

    >>> alike = np.array([0.50, 0.48, 0.52, 0.49]), np.array([0.51, 0.50, 0.52, 0.49])
    >>> ratio_equivalence(*alike, ratio=0.976, margin=0.05).holds()
    True
    >>> ratio_equivalence(*alike, ratio=0.8, margin=0.05).holds()
    False
    """
    if not margin > 0:
        raise ValueError(f"margin: {margin}; give a number above zero, fixed before the data were seen")
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    low, high = ratio - margin, ratio + margin
    value = float(first.mean() / second.mean()) if second.mean() > 0 else math.nan
    tails = [_above_zero(first - low * second), _above_zero(high * second - first)]
    return Equivalence(value, low, high, max(tails) if not any(map(math.isnan, tails)) else math.nan)


def _above_zero(units: Units) -> float:
    """Student's one-sided p value that the mean is not above zero; NaN for fewer than two units, or no spread."""
    if len(units) < 2 or not np.isfinite(units).all():
        return math.nan
    error = float(units.std(ddof=1)) / math.sqrt(len(units))
    if is_rounding(error, float(np.abs(units).max())):
        return math.nan
    return float(stdtr(len(units) - 1, -float(units.mean()) / error))
