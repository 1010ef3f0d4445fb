"""The group size at which a budget buys the least variance, over all sizes, with an interval.

A prompt that costs as much as f rollouts makes the cost of equal variance V(G) (f + G), where V(G) = sigma_b^2 +
sigma_o^2 / G + Delta / (G (G - 1)). Its derivative is zero where

    sigma_b^2 = Delta / (G - 1)^2 + f sigma_o^2 / G^2 + f Delta (2 G - 1) / (G (G - 1))^2.

The right side falls in G, so there is one solution: G* = 1 + sqrt(Delta / sigma_b^2) where prompts are free, and the
root of a quartic elsewhere, found by halving to the last digit. It may lie below 2, the smallest group.
"""

import numpy as np
from jaxtyping import Float

from gradvar.measure.bank.summary import Budget
from gradvar.stats.effective import too_few
from gradvar.stats.figures import jackknife_error, jackknife_interval
from gradvar.stats.intervals import Interval, is_rounding, student_half_width

_LARGEST = 60.0  # of log(G - 1): beyond, it is infinite
_HALVINGS = 70
BEYOND = "it is beyond what this bank can tell: no spread between prompts can be distinguished from zero"


def optimal_size(budget: Budget, fixed: float) -> Float[np.ndarray, "*n"]:
    """Return G*, for a prompt that costs ``fixed`` rollouts; infinite where no spread between prompts bounds it.

    >>> float(optimal_size(Budget(between=1.0, rollout=5.0, pair=9.0, signal=0.0), 0.0))
    4.0
    """
    between, rollout, pair = (np.asarray(x, float) for x in (budget.between, budget.rollout, budget.pair))
    if fixed == 0:
        ratio = np.maximum(pair, 0.0) / np.where(between > 0, between, 1.0)
        return np.where(between > 0, 1 + np.sqrt(ratio), np.inf)
    low, high = np.full(between.shape, -_LARGEST), np.full(between.shape, _LARGEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        less = np.exp(middle)  # G - 1
        size = 1 + less
        gain = pair / less**2 + fixed * (rollout / size**2 + pair * (size + less) / (size * less) ** 2)
        low, high = np.where(gain > between, middle, low), np.where(gain > between, high, middle)
    return np.where(between > 0, 1 + np.exp((low + high) / 2), np.inf)


def optimum(budgets: tuple[Budget, Budget], fixed: float, level: float, effective: float) -> Interval:
    """G* with its interval, from the jackknife of log(G* - 1).

    Open above where sigma_b^2 cannot be distinguished from zero, and from 1 on where Delta cannot.

    Args:
        budgets: Over all prompts, and with each prompt left out.
        fixed: The cost of a prompt in rollouts.
        level: Share of intervals that shall hold the true optimum.
        effective: The effective number of prompts.
    """
    total, without = budgets
    value, parts = float(optimal_size(total, fixed)), optimal_size(without, fixed)
    dof = len(parts) - 1
    nothing = Interval(value, np.nan, np.nan, dof=dof, effective=effective)
    if reason := too_few(effective):
        return nothing.without(reason)
    between, pair = (
        jackknife_interval(float(getattr(total, name)), np.asarray(getattr(without, name)), level)
        for name in ("between", "pair")
    )
    low, high, error = 1.0, np.inf, np.nan
    if 1 < value < np.inf and (parts > 1).all() and np.isfinite(parts).all():
        error = float(jackknife_error(np.log(parts - 1)))
        half = float(student_half_width(error, dof, level))
        if is_rounding(half, 1.0):
            return nothing.without("every prompt gives the same number")
        low, high = 1 + (value - 1) * np.exp(-half), 1 + (value - 1) * np.exp(half)
    elif between.low > 0:
        high = float(optimal_size(Budget(between.low, total.rollout, max(pair.high, 0.0), 0.0), fixed))
    if not pair.low > 0:
        low = 1.0
    if not between.low > 0:
        high = np.inf
    return Interval(value, float(low), float(high), (value - 1) * error, dof, effective)
