"""Arrays in one line, and the place where two of them differ most."""

from __future__ import annotations

from typing import Any

import numpy as np


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
