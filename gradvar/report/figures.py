"""The study's figures on disk, a panel for each policy and staleness: the plots of ``gradvar.plot``, side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gradvar import plot
from gradvar.files.atomic import write_file
from gradvar.studies.rows import panels
from gradvar.studies.study import Study, variants

_BARS = "(bars are 95 % intervals; points without one are exact)"


def save_figures(study: Study, folder: Path) -> list[Path]:
    """Draw all figures as SVG and PNG; the files written."""
    drawings: dict[str, Callable[[Study], Figure]] = {
        "variance": variance,
        "bias": bias,
        "snr": snr,
        "split": split,
    }
    written = []
    with plot.theme("light"):
        for name, draw in drawings.items():
            figure = draw(study)
            for suffix in ("svg", "png"):
                path = folder / f"{name}.{suffix}"
                write_file(path, partial(figure.savefig, format=suffix, dpi=150))
                written.append(path)
    return written


def variance(study: Study) -> Figure:
    """Variance against group size, at the study's budget."""
    return _panels(study, plot.variance, f"Variance against group size, {_budget(study)}\n{_BARS}")


def snr(study: Study) -> Figure:
    """Signal-to-noise ratio that one rollout buys."""
    return _panels(study, plot.snr, f"What one rollout buys, {_budget(study)}\n{_BARS}")


def split(study: Study) -> Figure:
    """Between-prompt and within-group parts of the variance."""
    return _panels(
        study, plot.split, f"Between prompts and within groups, {_budget(study)}\n(lines are 95 % intervals)"
    )


def bias(study: Study) -> Figure:
    """Exact weight of one prompt against its success rate, a panel per group size."""
    sizes = study.config.group_sizes
    chosen = [e for e in dict.fromkeys(e for _, e in variants(study.config)) if not e.needs]
    figure = Figure(figsize=(max(6.0, 2.9 * len(sizes)), 3.6))
    axes = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for axis, size in zip(axes, sizes, strict=True):
        if chosen:
            plot.prompt_weight(chosen, size, ax=axis)
        axis.set(title=f"G = {size}", xlabel="success rate p of the prompt")
    for axis in axes[1:]:
        axis.set_ylabel("")
    figure.suptitle("The weight that a prompt gets\n(exact; one prompt with two answers, on policy)")
    _one_legend(figure, axes)
    return figure


def _panels(study: Study, draw: Callable[..., Any], title: str) -> Figure:
    every = panels(study.rows())
    columns = min(2, len(every))
    rows = -(-len(every) // columns)
    figure = Figure(figsize=(3.9 * columns + 0.4, 3.0 * rows + 0.7))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (place, own) in zip(axes, every.items(), strict=False):
        draw(own, ax=axis)
        axis.set_title(place if len(place) < 36 else place.replace(", ", ",\n"))
    for axis in axes[len(every) :]:
        axis.set_visible(False)
    figure.suptitle(title)
    _one_legend(figure, axes)
    return figure


def _one_legend(figure: Figure, axes: Any) -> None:
    """The panels share their series: one legend for all, beneath."""
    handles, labels = axes[0].get_legend_handles_labels()
    for axis in axes:
        if axis.get_legend() is not None:
            axis.get_legend().remove()
    columns = max(1, min(6, int(figure.get_figwidth() * 12 / (max(map(len, labels), default=1) + 5))))
    if labels:
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def _budget(study: Study) -> str:
    config = study.config
    fixed = f"{config.rollouts} rollouts" if config.budget == "rollouts" else f"{config.prompts} prompts"
    return f"{fixed} per batch"
