"""Numbers side by side, to the digit in which they differ."""

from __future__ import annotations

from typing import Any

import numpy as np


def apart(value: float, other: float) -> tuple[str, str]:
    """Two numbers, printed to one digit beyond the first that differs, and to six at least."""
    value, other = value + 0.0, other + 0.0  # no minus before a zero
    if not (np.isfinite(value) and np.isfinite(other)):
        return f"{value:.4g}", f"{other:.4g}"
    for digits in range(6, 18):
        if f"{value:.{digits}g}" != f"{other:.{digits}g}":
            digits = digits if digits == 6 else digits + 1
            return f"{value:.{digits}g}", f"{other:.{digits}g}"
    return repr(float(value)), repr(float(other))


def line(values: Any, digits: int = 6) -> str:
    """An array of one or two axes in one line; a number that is zero has no sign."""
    values = np.asarray(values, float)
    if values.ndim > 1:
        return "[" + ", ".join(line(v, digits) for v in values) + "]"
    return "[" + ", ".join(f"{float(v) + 0.0:.{digits}g}" for v in values) + "]"


def worst(seen: np.ndarray, wanted: np.ndarray, allowed: np.ndarray) -> tuple[int, ...] | None:
    """The place where two arrays differ most, as a multiple of the allowed error; None where they agree."""
    with np.errstate(invalid="ignore"):
        off = np.abs(seen - wanted)
        excess = np.where(np.isnan(off) & ~(np.isnan(seen) & np.isnan(wanted)), np.inf, np.nan_to_num(off))
        excess = np.where(seen == wanted, 0.0, excess / allowed)
    if not excess.size or excess.max() <= 1:
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(excess)), excess.shape))
