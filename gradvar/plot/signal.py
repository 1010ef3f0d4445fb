"""How many groups have something to compare: along a run that was audited, and against group size."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gradvar.plot.style import axes_of, bars, group_sizes, legend, look
from gradvar.studies.rows import number

_SHARES: Mapping[str, str] = {"equal": "equal rewards", "solved": "all solved", "hopeless": "none solved"}


def equal_groups(audit: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the shares of groups with equal rewards, which teach a group estimator nothing, along the training.

    ``audit`` is what ``gradvar audit --json`` wrote, or an object with the same as ``as_json()``. Bands are the 95 %
    intervals that the audit gives, clustered by prompt.
    """
    steps, new_axes = _list(audit, "steps"), ax is None
    ax = axes_of(ax)
    step_numbers = np.array([number(s.get("step")) for s in steps])
    step_numbers = step_numbers if np.isfinite(step_numbers).all() else np.arange(len(steps), dtype=float)
    for index, (key, label) in enumerate(_SHARES.items()):
        value, low, high = _shares([s.get(key) for s in steps])
        if np.isfinite(value).any():
            style = look(ax, index)
            ax.plot(step_numbers, value, label=label, markevery=max(1, len(step_numbers) // 12), **style)
            ax.fill_between(step_numbers, low, high, color=style["color"], alpha=0.18, lw=0)
    ax.set_ylim(0, 1)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set_xlabel("training (optimiser steps)")
    ax.set_ylabel("share of groups\n(bands: 95 % intervals)")
    legend(ax, new_axes)
    return ax


def informative(source: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the share of groups with different rewards against group size, with 95 % intervals if there are errors.

    ``source`` is an audit, or advice on the group size, or either as its command wrote it. Sizes beyond the rollouts
    that were recorded have no share, and are left out.
    """
    content = source.as_json() if hasattr(source, "as_json") else source
    name = "curve" if isinstance(content, Mapping) and "curve" in content else "group_sizes"
    points, new_axes = _list(content, name), ax is None
    value, low, high = _shares([_with_error(p) for p in points])
    known = np.isfinite(value)
    if not known.any():
        raise ValueError(
            "source: no group size has a known share of informative groups; record more rollouts"
        )
    ax = axes_of(ax)
    sizes = np.array([number(p.get("group_size")) for p in points])[known]
    group_sizes(ax, list(sizes))
    errors = bars(low[known], value[known], high[known])
    ax.errorbar(sizes, value[known], errors, capsize=2, label="groups with different rewards", **look(ax, 0))
    ax.set_ylim(0, 1)
    ax.set_ylabel("share of groups with different rewards\n(of all groups of that size)")
    legend(ax, new_axes)
    return ax


def _with_error(point: Mapping[str, Any]) -> Any:
    """Return a share, with the interval from its standard error if it has one."""
    share, error = point.get("informative"), number(point.get("informative_se"))
    if isinstance(share, Mapping) or not np.isfinite(error):
        return share
    return {"value": share, "low": number(share) - 1.96 * error, "high": number(share) + 1.96 * error}


def _shares(shares: Sequence[Any]) -> np.ndarray:
    """Return values and both ends of their intervals [3, N]; without an interval the ends are the value."""
    rows = []
    for share in shares:
        share = share if isinstance(share, Mapping) else {"value": share}
        value = number(share.get("value"))
        rows.append([value, *(number(share.get(end, value)) for end in ("low", "high"))])
    return np.array(rows, float).reshape(-1, 3).T


def _list(source: Any, name: str) -> list[Mapping[str, Any]]:
    content = source.as_json() if hasattr(source, "as_json") else source
    rows = content.get(name) if isinstance(content, Mapping) else None
    if not isinstance(rows, list | tuple) or not rows or not all(isinstance(r, Mapping) for r in rows):
        raise TypeError(
            f"audit: {type(source).__name__} has no {name}; give what `gradvar audit --json` wrote"
        )
    return list(rows)
