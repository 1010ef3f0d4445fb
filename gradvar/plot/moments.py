"""Plots of measured figures: variance, signal and bias, against group size, staleness or each other."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gradvar.plot.style import (
    SIZE,
    axes_of,
    bars,
    colour,
    faint,
    from_zero,
    group_sizes,
    hollow,
    ink,
    legend,
    log_axis,
    look,
    name,
    value_scale,
)
from gradvar.studies.rows import Series, choose, column, has_interval, number, series

LABELS: Mapping[str, str] = {
    "trace_cov": "tr Cov of the batch gradient\n(reward² per parameter²)",
    "between": "between-prompt part of tr Cov\n(reward² per parameter²)",
    "within": "within-group part of tr Cov\n(reward² per parameter²)",
    "signal": "‖E g‖² (reward² per parameter²)",
    "true_signal": "‖∇J‖² (reward² per parameter²)",
    "snr": "SNR of a batch, ‖E g‖² / tr Cov",
    "snr_per_rollout": "SNR per rollout,\n‖E g‖² / (tr Cov · rollouts)",
    "variance_per_rollout": "tr Cov times rollouts\n(reward² per parameter²)",
    "bias_factor": "bias factor, ⟨E g, ∇J⟩ / ‖∇J‖²\n(1: unbiased along ∇J)",
    "cosine": "cosine between E g and ∇J",
}
_IDEAL = {"bias_factor": 1.0, "cosine": 1.0}


def figure(source: Any, figure: str, *, ax: Axes | None = None, **where: Any) -> Axes:
    """Draw any figure of ``Moments`` against group size, a line per estimator, with 95 % intervals.

    ``source`` is a study, an evaluation, moments, or their rows. ``where`` chooses the ``policy``, ``task`` and
    ``staleness`` if several were measured.
    """
    rows = choose(source, figure, where)
    lines, new_axes = series(rows), ax is None
    ax = axes_of(ax)
    sizes = sorted({number(r["group_size"]) for r in rows})
    group_sizes(ax, sizes)
    _lines(ax, lines, "group_size", figure, step=_dodge(sizes, len(lines)))
    legend(ax, new_axes)
    return ax


def variance(source: Any, *, ax: Axes | None = None, **where: Any) -> Axes:
    """Draw tr Cov of the batch gradient against group size; see ``figure``."""
    return figure(source, "trace_cov", ax=ax, **where)


def snr(source: Any, *, ax: Axes | None = None, **where: Any) -> Axes:
    """Draw the signal-to-noise ratio per rollout, ||E g||² / tr Cov, against group size; see ``figure``."""
    return figure(source, "snr_per_rollout", ax=ax, **where)


def bias(source: Any, *, ax: Axes | None = None, **where: Any) -> Axes:
    """Draw the bias factor against group size; see ``figure``, and ``prompt_weight`` for single prompts."""
    return figure(source, "bias_factor", ax=ax, **where)


def staleness(
    source: Any, figure: str = "cosine", *, group_size: int, ax: Axes | None = None, **where: Any
) -> Axes:
    """Draw a figure against the optimiser steps between the sampling and the differentiated policy.

    Args:
        source: A study, or its rows.
        figure: The figure of ``Moments`` to draw.
        group_size: Only rows with this group size.
        ax: Axes to draw on; new ones by default.
        **where: The ``policy`` and ``task`` if several were measured.

    Returns:
        The axes.
    """
    rows = choose(source, figure, {"group_size": group_size, **where}, free=("staleness",))
    if any(r.get("staleness") is None for r in rows):
        raise ValueError("source: its rows have no staleness; give a study, gv.study(staleness=(0, 4, 16))")
    new_axes = ax is None
    ax = axes_of(ax)
    ax.set_xlabel(f"staleness (optimiser steps), G = {group_size}")
    steps = sorted({number(r["staleness"]) for r in rows})
    _lines(ax, series(rows), "staleness", figure)
    ax.set_xticks(steps, [f"{s:g}" for s in steps])
    legend(ax, new_axes)
    return ax


def compare(source: Any, figure: str = "snr_per_rollout", *, ax: Axes | None = None, **where: Any) -> Axes:
    """Draw a row for each estimator with a mark for each group size, with 95 % intervals."""
    rows = choose(source, figure, where)
    lines, new_axes = series(rows), ax is None
    sizes = sorted({number(r["group_size"]) for r in rows})
    ax = axes_of(ax, (SIZE[0], 1.25 + 0.19 * len(lines) * (1 + 0.5 * len(sizes))))
    values = column(rows, "value")
    for index, size in enumerate(sizes):
        picked = [
            (k, r) for k, points in enumerate(lines.values()) for r in points if r["group_size"] == size
        ]
        positions = np.array([k for k, _ in picked]) + (index - (len(sizes) - 1) / 2) * 0.7 / len(sizes)
        x = column([r for _, r in picked], "value")
        errors = bars(column([r for _, r in picked], "low"), x, column([r for _, r in picked], "high"))
        marks, known = {**look(ax, index), "linestyle": "none"}, has_interval([r for _, r in picked])
        ax.errorbar(
            x,
            positions,
            xerr=errors,
            capsize=2,
            label=f"G = {size:g}",
            markevery=list(np.flatnonzero(known)),
            **marks,
        )
        hollow(ax, x[~known], positions[~known], marks)
    ax.set_yticks(range(len(lines)), [name(label) for label in lines])
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(
        LABELS.get(figure, figure), loc="right"
    )  # long names leave the axes less room than the label needs
    if figure in _IDEAL:
        ax.axvline(_IDEAL[figure], color=faint(ax), lw=1, zorder=0)
    positive = values[np.isfinite(values)]
    if figure == "cosine":
        ax.margins(x=0.08)
    elif positive.size and positive.min() > 0 and positive.max() > 20 * positive.min():
        ax.set_xscale("log")
        log_axis(ax.xaxis)
    elif positive.size and positive.min() >= 0:
        from_zero(ax, "x")
    legend(ax, new_axes)
    return ax


def split(source: Any, *, ax: Axes | None = None, **where: Any) -> Axes:
    """Draw the share of tr Cov that lies between prompts, with its 95 % interval; the rest is within groups."""
    between, total_rows = (choose(source, f, where) for f in ("between", "trace_cov"))
    lines, totals, new_axes = series(between), series(total_rows), ax is None
    ax = axes_of(ax)
    sizes = sorted({number(r["group_size"]) for r in between})
    width = 0.8 / len(lines)
    for index, (label, points) in enumerate(lines.items()):
        total = column(totals[label], "value")
        positions = np.array([sizes.index(r["group_size"]) for r in points]) + (index + 0.5) * width - 0.4
        share, low, high = (np.clip(column(points, k) / total, 0, 1) for k in ("value", "low", "high"))
        shade = colour(ax, index)
        ax.bar(positions, share, 0.92 * width, color=shade, label=name(label))
        ax.bar(positions, 1 - share, 0.92 * width, bottom=share, color=shade, alpha=0.25)
        errors = bars(low, share, high)
        if errors is not None:
            ax.errorbar(positions, share, errors, fmt="none", ecolor=ink(ax), lw=1.1, capsize=2)
    ax.set_xticks(range(len(sizes)), [f"{s:g}" for s in sizes])
    ax.set_xlabel("group size G (rollouts per prompt)")
    ax.set_ylabel("share of tr Cov between prompts\n(pale: within groups)")
    ax.set_ylim(0, 1)
    ax.grid(axis="x", visible=False)
    legend(ax, new_axes)
    return ax


def _lines(ax: Axes, lines: Series, x: str, figure: str, step: float = 0.0) -> None:
    """Draw every estimator's points with their intervals, each a little to the right of the one before."""
    shown = []
    for index, (label, points) in enumerate(lines.items()):
        points = sorted(points, key=lambda r: number(r[x]))
        value = column(points, "value")
        errors = bars(column(points, "low"), value, column(points, "high"))
        positions = column(points, x) * 2 ** (step * (index - (len(lines) - 1) / 2))
        marks, known = look(ax, index), has_interval(points)
        ax.errorbar(
            positions,
            value,
            errors,
            capsize=2,
            label=name(label),
            markevery=list(np.flatnonzero(known)),
            **marks,
        )
        hollow(ax, positions[~known], value[~known], marks)
        shown.append(value)
    if figure in _IDEAL:
        ax.axhline(_IDEAL[figure], color=faint(ax), lw=1, zorder=0)
    ax.set_ylabel(LABELS.get(figure, figure))
    if figure != "cosine":
        value_scale(ax, np.concatenate(shown))


def _dodge(sizes: list[float], count: int) -> float:
    """Return how far lines stand apart, in octaves: a sixth of the narrowest gap for all of them together."""
    gaps = np.diff(np.log2(sizes)) if len(sizes) > 1 else np.array([1.0])
    return float(gaps.min()) / 6 / max(count, 1)
