"""How many prompts it takes to tell two things apart: from the error of their paired comparison, by power.

A comparison's error shrinks with the square root of the prompts, so with Q prompts and error e an effect d is told from
none with power 1 - b at Q ((z_(1 - a / 2) + z_(1 - b)) e / |d|)^2 prompts (Cohen 1988, chapter 2). The effect is the
estimated one: where an interval includes no difference, that is a guess, and it is said as one.
"""

from __future__ import annotations

import math

from scipy.special import ndtri

from gradvar.stats.intervals import Interval, check_level

POWER = 0.8
_LARGEST = 1e9


def prompts_to_tell(
    effect: float, error: float, prompts: int, level: float = 0.95, power: float = POWER
) -> float:
    """So many prompts at which the interval excludes no difference with this power; infinite for no effect.

    Args:
        effect: The difference; of a ratio its logarithm.
        error: Its standard error with these prompts.
        prompts: How many there are.
        level: Of the interval.
        power: The chance to tell.

    >>> round(prompts_to_tell(1.0, 0.5, 100))  # one error is a half: (1.96 + 0.84)^2 / 4 times as many
    196
    """
    if effect == 0 or not math.isfinite(effect) or not math.isfinite(error):
        return math.inf
    quantiles = float(ndtri(0.5 + check_level(level) / 2) + ndtri(check_level(power)))
    return prompts * (quantiles * error / abs(effect)) ** 2


def prompts_for_ratio(ratio: Interval, prompts: int, level: float = 0.95) -> float:
    """The same for a ratio whose interval is on the logarithmic scale; NaN where it has none, or excludes 1 already.

    >>> round(prompts_for_ratio(Interval(1.2, 0.9, 1.6, se=0.18), 60))
    319
    """
    if not ratio.known or ratio.excludes(1) or not ratio.value > 0 or not prompts:
        return math.nan
    return prompts_to_tell(math.log(ratio.value), ratio.se / ratio.value, prompts, level)


def prompts_words(number: float) -> str:
    """The number in words, in two significant digits; empty for NaN.

    >>> prompts_words(1234.0)
    'they cannot be told apart with fewer than about 1,300 prompts (power 0.8, if they differ as estimated)'
    >>> prompts_words(math.inf)
    'no number of prompts can be named that would tell them apart: they are estimated as equal'
    """
    if math.isnan(number):
        return ""
    if number > _LARGEST:
        return "no number of prompts can be named that would tell them apart: they are estimated as equal"
    unit = 10 ** max(0, math.floor(math.log10(max(number, 1.0))) - 1)
    return (
        f"they cannot be told apart with fewer than about {math.ceil(number / unit) * unit:,} prompts "
        f"(power {POWER:g}, if they differ as estimated)"
    )
