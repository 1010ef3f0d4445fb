"""Numbers in messages: answers in few digits, pairs to the digit in which they differ, rewards as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

FULL = 17  # significant digits that tell any two doubles apart
# entries whose gap is below this share of the largest one are not what the pair is about
SMALL_GAP = 0.1


def shown(values: Any, digits: int = 4) -> str:
    """An array or a list of arrays in one line."""
    if isinstance(values, list | tuple) and values and np.ndim(values[0]) > 0:
        return "[" + ", ".join(shown(v, digits) for v in values) + "]"
    return "[" + ", ".join(_text(v, digits) for v in np.ravel(values)) + "]"


def exact(values: Any) -> str:
    """What a function was called with, an array or a list of arrays: nine digits hold every float32."""
    return shown(values, 9)


def apart(value: float, other: float, digits: int = 6) -> tuple[str, str]:
    """Two numbers, printed to one digit beyond the first that differs, and to so many digits at least.

    >>> apart(0.5, 0.25)
    ('0.5', '0.25')
    >>> apart(1 / 3, 1 / 3 + 1e-9)
    ('0.3333333333', '0.3333333343')
    """
    value, other = float(value), float(other)
    if not (np.isfinite(value) and np.isfinite(other)) or value == other:
        return _text(value, digits), _text(other, digits)
    for count in range(digits, FULL + 1):
        if _text(value, count) != _text(other, count):
            count = count if count == digits else min(count + 1, FULL)
            return _text(value, count), _text(other, count)
    return repr(value), repr(other)


def sides(values: Any, others: Any, digits: int = 4) -> tuple[str, str]:
    """Two arrays side by side: the entries that differ most are printed to the digit in which they do.

    The others keep so many digits. Arrays of unequal sizes have no pairs, and keep them too.

    >>> sides([0.5, 0.25], [0.5000001, 0.25])
    ('[0.5, 0.25]', '[0.5000001, 0.25]')
    """
    one, two = np.ravel(np.asarray(values, float)), np.ravel(np.asarray(others, float))
    if one.size != two.size:
        return shown(one, digits), shown(two, digits)
    with np.errstate(invalid="ignore"):
        gaps = np.nan_to_num(np.abs(one - two), nan=0.0, posinf=0.0)
    least = SMALL_GAP * float(np.max(gaps, initial=0.0))
    pairs = [
        apart(a, b, digits) if gap > least else (_text(a, digits), _text(b, digits))
        for a, b, gap in zip(one, two, gaps, strict=True)
    ]
    return "[" + ", ".join(p[0] for p in pairs) + "]", "[" + ", ".join(p[1] for p in pairs) + "]"


def _text(value: Any, digits: int) -> str:
    return f"{float(value) + 0.0:.{digits}g}"  # no minus before a zero
