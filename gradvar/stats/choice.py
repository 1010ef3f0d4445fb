"""Which of several things costs least, at an error that counts the choice: the smallest estimate is often luck.

The smallest of K estimates is called the least only if the intervals of all K - 1 differences with it, at the level
1 - 0.05 / (K - 1) each, lie above zero. To call a wrong one the least, its difference with the true least must lie
below its interval; there are K - 1 wrong ones, each with a chance below 0.05 / (K - 1), so together below 0.05.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gradvar.stats.figures import jackknife_interval
from gradvar.stats.intervals import Interval

_ROUNDING = 1e-9


@dataclass(frozen=True)
class LeastCost:
    """The index of the least estimate, whether it is the least, and the rival that comes nearest to it.

    ``alike``: those whose numbers are the same, itself among them. ``gap``: the rival's cost less the least one's, at
    the corrected level; ``rival`` is None where all are alike.
    """

    best: int
    certain: bool
    alike: tuple[int, ...]
    rival: int | None = None
    gap: Interval | None = None


def least(
    values: Sequence[float],
    parts: Float[np.ndarray, "thing block"] | None,
    effective: Sequence[float] = (),
    level: float = 0.95,
) -> LeastCost:
    """The choice among costs that were measured on the same blocks.

    Args:
        values: The costs.
        parts: Their leave-one-out values, or None for exact costs.
        effective: The effective number of blocks of each.
        level: Of all differences together.

    >>> least([2.0, 1.0, 1.0], None).alike, least([2.0, 1.0, 1.5], None).rival
    ((1, 2), 2)
    """
    costs = np.asarray(values, np.float64)
    if not np.isfinite(costs).any():
        return LeastCost(0, False, (0,))
    best = int(np.nanargmin(costs))
    gaps, alike = {}, [best]
    for index in range(len(costs)):
        if index == best:
            continue
        difference = costs[index] - costs[best]
        scale = _ROUNDING * max(abs(costs[best]), abs(costs[index]), 1e-300)
        if parts is None:
            same, gap = abs(difference) <= scale, Interval(difference, difference, difference, 0.0)
        else:
            changes = parts[index] - parts[best]
            same = bool(np.abs(changes).max() <= scale)
            shared = min(effective[index], effective[best]) if len(effective) else np.nan
            corrected = 1 - (1 - level) / (len(costs) - 1)
            gap = jackknife_interval(float(difference), changes, corrected, effective=shared)
        if same:
            alike.append(index)
        else:
            gaps[index] = gap
    if not gaps:
        return LeastCost(best, True, tuple(sorted(alike)))
    rival = min(gaps, key=lambda i: gaps[i].low if gaps[i].known else -np.inf)
    return LeastCost(best, bool(gaps[rival].low > 0), tuple(sorted(alike)), rival, gaps[rival])
