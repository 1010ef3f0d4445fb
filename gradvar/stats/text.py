"""Numbers as text, with as many places as their intervals bear."""

import math


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
