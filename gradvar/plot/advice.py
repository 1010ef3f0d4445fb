"""A plot of the cost of equal variance at every group size, as ``gv.measure.advise`` returns it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gradvar.plot.style import axes_of, bars, colour, faint, group_sizes, legend, look, value_scale
from gradvar.studies.rows import number


def cost(advice: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the cost of equal variance against group size, with 95 % intervals and a ring around the best size.

    ``advice`` comes from ``gv.measure.advise``, or is what ``gradvar advise --json`` wrote. The band is the interval of
    the optimum over all group sizes. Advice on rewards alone has no intervals: its costs hold under its hypothesis.
    """
    content, new_axes = _plain(advice), ax is None
    points = content["curve"]
    ax = axes_of(ax)
    sizes = np.array([number(p["group_size"]) for p in points])
    value, low, high = (np.array([_cost(p, end) for p in points]) for end in ("value", "low", "high"))
    group_sizes(ax, list(sizes))
    errors = bars(low, value, high)
    known = "costs, with 95 % intervals" if errors is not None else "costs under the hypothesis"
    ax.errorbar(sizes, value, errors, capsize=2, label=known, **look(ax, 0))
    if content["best"] is not None:
        is_best = sizes == number(content["best"])
        ax.plot(
            sizes[is_best], value[is_best], "o", mfc="none", mec=colour(ax, 1), mew=1.8, ms=12,
            label=f"best asked for, G = {number(content['best']):g}",
        )  # fmt: skip
    if isinstance(content.get("optimum"), Mapping):
        _optimum(ax, content["optimum"])
    ax.set_ylabel("cost of equal variance\n(cost of the best group size = 1)")
    value_scale(ax, value)
    legend(ax, new_axes)
    return ax


def _optimum(ax: Axes, optimum: Mapping[str, Any]) -> None:
    """Draw the optimum and its interval; a missing upper end reaches to the edge of the axes.

    Without a lower end there is no interval, and beyond the axes there is no line.
    """
    value, low, high = (number(optimum.get(k)) for k in ("value", "low", "high"))
    left, right = ax.get_xlim()
    if np.isfinite(low):
        high = right if not high <= right else high
        ax.axvspan(max(low, left), high, color=colour(ax, 2), alpha=0.22, lw=0)
    if left <= value <= right:
        known = "95 % interval" if np.isfinite(low) else "no interval"
        ax.axvline(value, color=colour(ax, 2), lw=1.3, ls="--", label=f"optimum {value:.1f}, {known}")
    ax.axhline(1.0, color=faint(ax), lw=0.8, zorder=0)
    ax.set_xlim(left, right)


def _plain(advice: Any) -> Mapping[str, Any]:
    content = advice.as_json() if hasattr(advice, "as_json") else advice
    if not (isinstance(content, Mapping) and content.get("curve") and "best" in content):
        raise TypeError(f"advice: {type(advice).__name__}; give what gv.measure.advise returns, or its JSON")
    return content


def _cost(point: Mapping[str, Any], end: str) -> float:
    figure = point.get("cost", point.get("relative_cost"))
    return number(figure.get(end)) if isinstance(figure, Mapping) else number(figure)
