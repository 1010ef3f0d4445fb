"""The study's figures. Every estimated point carries its 95 % interval; exact points have none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from gradvar.report.files import write_whole
from gradvar.studies import Result, Study, bias_curve, variants

# Okabe and Ito's colours, told apart by colour-blind readers; the marker says the same once more.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_BARS = "(bars are 95 % intervals; points without one are exact)"
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
}


def save_figures(study: Study, folder: Path) -> list[Path]:
    """Draw all figures as SVG and PNG; the files written."""
    drawings: dict[str, Callable[[Study], Figure]] = {
        "variance": variance,
        "bias": bias,
        "snr": snr,
        "split": split,
    }
    written = []
    with matplotlib.rc_context(STYLE):
        for name, draw in drawings.items():
            figure = draw(study)
            for suffix in ("svg", "png"):
                path = folder / f"{name}.{suffix}"
                write_whole(path, partial(figure.savefig, format=suffix, dpi=150))
                written.append(path)
    return written


def variance(study: Study) -> Figure:
    """Variance against group size, at the study's budget."""
    figure = _against_group_size(study, "trace_cov", "tr Cov of the batch gradient")
    figure.suptitle(f"Variance against group size, {_budget(study)}\n{_BARS}")
    return figure


def snr(study: Study) -> Figure:
    """Signal-to-noise ratio that one rollout buys."""
    figure = _against_group_size(study, "snr_per_rollout", "SNR per rollout,  ||E g||² / tr Cov / N")
    figure.suptitle(f"What one rollout buys, {_budget(study)}\n{_BARS}")
    return figure


def bias(study: Study) -> Figure:
    """Exact bias factor of one prompt against its success rate, a panel per group size."""
    sizes = study.config.group_sizes
    estimators = list(dict.fromkeys(e for _, e in variants(study.config)))
    rates = np.concatenate([[0.005, 0.01, 0.02], np.linspace(0.04, 0.96, 24), [0.98, 0.99, 0.995]])
    figure = Figure(figsize=(max(6.0, 2.8 * len(sizes)), 3.4))
    axes = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    shown: list[np.ndarray] = []
    for axis, size in zip(axes, sizes, strict=True):
        for index, (name, curve) in enumerate(bias_curve(estimators, size, rates).items()):
            # Curves may coincide: earlier ones are drawn wider, and markers take turns.
            width = 1.3 + 0.7 * (len(estimators) - 1 - index)
            axis.plot(
                rates, curve, color=_colour(index), label=name, **_mark(index), markevery=(index % 5, 5),
                ms=4 + width / 3, lw=width,
            )  # fmt: skip
            shown.append(curve)
        axis.set(title=f"G = {size}", xlabel="success rate p of the prompt")
    _scale_y(axes, shown)
    axes[0].set_ylabel("bias factor,  ⟨E g, ∇J⟩ / ||∇J||²")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(estimators))
    figure.suptitle("The weight that a prompt gets\n(exact; one prompt with two answers, on policy)")
    return figure


def split(study: Study) -> Figure:
    """Between-prompt and within-group parts of the variance."""
    panels = _panels(study)
    sizes = study.config.group_sizes
    figure = Figure(figsize=(7.5, 2.6 * len(panels)))
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, (title, results) in zip(axes, panels.items(), strict=True):
        series = _series(results)
        width = 0.8 / len(series)
        for index, (name, points) in enumerate(series.items()):
            at = np.array([sizes.index(r.moments.group_size) for r in points]) + (index + 0.5) * width - 0.4
            total = np.array([r.moments.trace_cov for r in points])
            share = np.clip([r.moments.between for r in points] / total, 0, 1)
            axis.bar(at, share, width, color=_colour(index), label=name)
            axis.bar(at, 1 - share, width, bottom=share, color=_colour(index), alpha=0.25)
            error = [1.96 * r.moments.se["between"] / t for r, t in zip(points, total, strict=True)]
            axis.errorbar(at, share, error, fmt="none", ecolor="0.2", lw=0.8)
        axis.set_xticks(range(len(sizes)), [f"G = {s}" for s in sizes])
        axis.set(title=title, ylabel="share of tr Cov", ylim=(0, 1))
        axis.grid(axis="x", visible=False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    figure.suptitle(
        f"Between prompts (solid) and within groups (pale), {_budget(study)};\nlines are 95 % intervals"
    )
    return figure


def _against_group_size(study: Study, name: str, label: str) -> Figure:
    panels = _panels(study)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.9 * columns + 0.4, 2.9 * rows + 0.6))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axis, (title, results) in zip(axes, panels.items(), strict=False):
        shown = [
            _line(axis, points, name, index, series)
            for index, (series, points) in enumerate(_series(results).items())
        ]
        axis.set_xscale("log", base=2)
        axis.set_xticks(study.config.group_sizes, [str(s) for s in study.config.group_sizes])
        axis.minorticks_off()
        axis.set(title=title, xlabel="group size G", ylabel=label)
        _scale_y([axis], shown)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def _line(axis: Any, points: list[Result], name: str, index: int, label: str) -> np.ndarray:
    """Draw one estimator's points with their intervals; the values drawn."""
    sizes = np.array([r.moments.group_size for r in points]) * 2 ** (0.03 * (index - 2))
    values = np.array([getattr(r.moments, name) for r in points])
    bounds = np.array([r.moments.interval(name) for r in points])
    values = np.where(values > 0, values, np.nan)
    low = np.clip(values - bounds[:, 0], 0, values * (1 - 1e-3))
    errors = None if np.allclose(bounds[:, 0], bounds[:, 1], rtol=0, atol=0) else [low, bounds[:, 1] - values]
    axis.errorbar(
        sizes, values, errors, color=_colour(index), label=label, capsize=2, ms=4, lw=1.3, **_mark(index)
    )
    return values


def _scale_y(axes: Sequence[Any], shown: Sequence[np.ndarray]) -> None:
    """From zero where the values shown (not their intervals) are of one order of magnitude, else logarithmic."""
    values = np.concatenate(shown).astype(float)
    values = values[np.isfinite(values) & (values > 0)]
    wide = values.size and values.max() > 20 * values.min()
    for axis in axes:
        if wide:
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)


def _panels(study: Study) -> dict[str, list[Result]]:
    panels: dict[str, list[Result]] = {}
    for result in study.results:
        age = "on policy" if result.staleness == 0 else f"{result.staleness} steps stale"
        panels.setdefault(f"{result.policy}, {age}", []).append(result)
    return panels


def _series(results: list[Result]) -> dict[str, list[Result]]:
    series: dict[str, list[Result]] = {}
    for result in results:
        clip = "" if result.clip is None else f", clip {result.clip:g}"
        series.setdefault(result.moments.estimator + clip, []).append(result)
    return series


def _budget(study: Study) -> str:
    config = study.config
    fixed = f"{config.rollouts} rollouts" if config.budget == "rollouts" else f"{config.prompts} prompts"
    return f"{fixed} per batch"


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _mark(index: int) -> dict[str, Any]:
    dash = ("-", "--", ":")[index // len(COLOURS) % 3]
    return {"marker": MARKERS[index % len(MARKERS)], "linestyle": dash}
