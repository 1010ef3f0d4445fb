"""Numbers as text, with as many places as their intervals bear."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradvar.stats.intervals import Interval


def number_text(value: float) -> str:
    """Write a number in four significant digits.

    >>> number_text(0.123456), number_text(123456.7), number_text(float("nan"))
    ('0.1235', '123,457', 'n/a')
    """
    if math.isnan(value):
        return "n/a"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:.3g}"


def interval_texts(value: float, low: float, high: float) -> tuple[str, str, str]:
    """Write a value and the ends of its interval with two digits of half the interval's width.

    >>> interval_texts(1.23456, 1.2, 1.27)
    ('1.235', '1.200', '1.270')
    """
    half = (high - low) / 2
    if not (math.isfinite(half) and half > 0 and math.isfinite(value)):
        return number_text(value), number_text(low), number_text(high)
    places = max(0, 1 - math.floor(math.log10(half)))
    if places > 7 or max(map(abs, (value, low, high))) >= 1e6:
        return number_text(value), number_text(low), number_text(high)
    return f"{value:,.{places}f}", f"{low:,.{places}f}", f"{high:,.{places}f}"


def short_text(value: float) -> str:
    """Write a number in three significant digits.

    >>> short_text(0.123456), short_text(12345.6), short_text(1.0), short_text(float("nan"))
    ('0.123', '12,346', '1', 'n/a')
    """
    if math.isnan(value):
        return "n/a"
    if 1e3 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def estimate_text(estimate: Interval, most: float = math.inf) -> str:
    """Write a figure for a table: alone if exact, with half its 95 % interval, or ``±?`` where it has none.

    Args:
        estimate: The figure.
        most: The largest absolute value that the figure can have; an interval that ends there is written by its ends.

    >>> from gradvar.stats.intervals import Interval
    >>> estimate_text(Interval(1.634, 1.50, 1.76)), estimate_text(Interval(1.634, 1.634, 1.634))
    ('1.63 ±0.13', '1.63')
    >>> estimate_text(Interval(0.97, 0.912, 1.0), most=1.0)
    '0.97 [0.91, 1]'
    """
    value, low, high = estimate.value, estimate.low, estimate.high
    if math.isnan(value):
        return "n/a"
    if not estimate.known:
        return f"{short_text(value)} ±?"
    half = (high - low) / 2
    if half <= 1e-6 * abs(value) or half < 1e-12:  # exact, or equal but for rounding
        return "0" if abs(value) < 1e-12 else short_text(value)
    if not math.isfinite(half):
        return f"{short_text(value)} [{short_text(low)}, {short_text(high)}]"
    mark = "*" if estimate.note else ""
    first = math.floor(math.log10(half))
    places = max(0, (1 if half < 3 * 10.0**first else 0) - first)  # two digits of 0.013, one of 0.04
    if places > 6 or abs(value) >= 1e5:
        return f"{value:.2e} ±{half:.0e}{mark}"
    if max(abs(value) + half, abs(low), abs(high)) >= most > 0:
        ends = [f"{end:.{places}f}" if abs(end) < most else f"{end:.0f}" for end in (low, high)]
        return f"{value:.{places}f} [{', '.join(ends)}]{mark}"
    return f"{value:,.{places}f} ±{half:.{places}f}{mark}"
