"""Replicates in rounds, until an interval is as narrow as was asked for: when to stop, and how many come next.

To look after every replicate and to stop at the first narrow interval (Chow and Robbins 1965, Annals of Mathematical
Statistics 36(2) 457-462) covers less than was promised where data are few: a sample that missed the tail has a small
error and a small value at once, and stops there. So there are few looks, at sizes that are predicted: a first round of
a size that does not depend on the data; a second to a share of what that round predicts; a third to what both predict
(triple sampling: Hall 1981, Annals of Statistics 9(6) 1229-1238); more only where the prediction fell short. No round
counts before enough effective blocks carry the figure. Coverage at the stop was measured
(``benchmarks/calibration/sequential.py``).
"""

from __future__ import annotations

import math

from gradvar.stats.effective import ENOUGH
from gradvar.stats.intervals import Interval

FIRST_SHARE = 0.5
"""Of the predicted size, for the second round."""
MARGIN = 1.05
"""On a predicted size, so that the next look is seldom in vain."""


def relative_half_width(figure: Interval) -> float:
    """Half an interval's width over the figure's size; infinite where there is no interval, or it rests on few blocks.

    >>> relative_half_width(Interval(2.0, 1.9, 2.1, effective=100.0))
    0.05
    >>> relative_half_width(Interval(2.0, 1.9, 2.1, effective=12.0))
    inf
    """
    if figure.known and figure.low == figure.high:
        return 0.0
    if not figure.known or figure.value == 0 or figure.effective < ENOUGH:
        return math.inf
    width = (figure.high - figure.low) / 2 / abs(figure.value)
    return round(width, 12) if math.isfinite(width) else math.inf


def next_size(size: int, excess: float, rounds: int) -> int:
    """The size at which to look again: ``size`` itself where nothing more is needed.

    Args:
        size: Replicates, or pairs of them, so far.
        excess: The widest relative half width over what was asked for.
        rounds: How many looks there were, this one included.

    >>> next_size(256, 0.9, 1)
    256
    >>> next_size(256, 4.0, 1), next_size(2048, 1.5, 2)
    (2048, 4839)
    >>> next_size(256, float("inf"), 1)
    512
    """
    if excess <= 1:
        return size
    if not math.isfinite(excess):
        return 2 * size
    predicted = size * excess**2
    if rounds == 1 and FIRST_SHARE * predicted > size:
        return math.ceil(FIRST_SHARE * predicted)
    return max(size + 1, math.ceil(MARGIN * predicted))


def further(size: int, excess: float) -> int | None:
    """About how many more are needed, in two significant digits; None where that cannot be told.

    >>> further(1000, 2.0), further(1000, float("inf"))
    (3000, None)
    """
    if not math.isfinite(excess):
        return None
    missing = max(size * (excess**2 - 1), 1.0)
    unit = 10 ** max(0, math.floor(math.log10(missing)) - 1)
    return math.ceil(missing / unit) * unit
