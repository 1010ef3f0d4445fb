"""A plot as text, for a terminal: curves over the unit interval, a mark for each."""

import math
from collections.abc import Mapping, Sequence

import numpy as np


def picture(
    curves: Mapping[str, Sequence[float] | np.ndarray],
    x: Sequence[float] | np.ndarray,
    *,
    width: int = 60,
    height: int = 13,
    title: str = "",
) -> list[str]:
    """Return the lines of a plot; the axis begins at zero, and later curves are drawn over earlier ones.

    Args:
        curves: By mark, a single character: the values, none of them negative.
        x: Where they are, between 0 and 1, ascending; between them curves are straight.
        width: Characters of a line.
        height: Lines of the plot, without its axis; 4 k + 1, so that quarters of the axis are lines.
        title: A line above it.

    >>> print("\\n".join(picture({"*": [1.0, 1.0]}, [0.0, 1.0], width=12, height=5)))
    1.00 ┤******
    0.75 ┤
    0.50 ┤
    0.25 ┤
    0.00 ┤
         └──────
          0    1
    """
    left = 6
    columns = max(width - left, 6)
    grid = [[" "] * columns for _ in range(height)]
    top = max(float(np.max(values)) for values in curves.values())
    scale = _round_up(top)
    places = np.linspace(float(x[0]), float(x[-1]), columns)
    for mark, values in curves.items():
        heights = np.interp(places, x, np.asarray(values, np.float64))
        for column, value in enumerate(heights):
            row = height - 1 - round(float(value) / scale * (height - 1))
            grid[row][column] = mark
    lines = [title] if title else []
    for row, cells in enumerate(grid):
        level = height - 1 - row
        label = f"{scale * level / (height - 1):.2f} ┤" if 4 * level % (height - 1) == 0 else "     │"
        lines.append(f"{label}{''.join(cells)}".rstrip())
    first, last = f"{x[0]:g}", f"{x[-1]:g}"
    lines.append(f"     └{'─' * columns}")
    lines.append(f"      {first}{last.rjust(columns - len(first))}")
    return lines


def _round_up(value: float) -> float:
    """The next of 1, 1.5, 2, 2.5, 3, 4, 5, 7.5 and 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        power * step for step in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10) if power * step >= value * (1 - 1e-9)
    )
