"""A plot of what corrections cost against the size of the mismatch between engine and trainer."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradvar.files.atomic import write_file
from gradvar.plot.style import axes_of, bars, legend, look, name, theme
from gradvar.studies.mismatch import PARTS, Mismatch

_LABELS = {
    "loss": "loss of direction: bias + variance\n(share of ‖∇J‖²)",
    "bias": "bias of the direction,\n1 - cos² (share of ‖∇J‖²)",
    "variance": "variance of the direction\n(share of ‖∇J‖²)",
}


def mismatch(source: Mismatch, part: str = "loss", *, ax: Axes | None = None) -> Axes:
    """Draw the loss of direction, or its bias or variance, of each correction against the mismatch, with intervals.

    Args:
        source: What ``gv.mismatch`` measured.
        part: loss, bias or variance.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: For another part.
    """
    if part not in _LABELS:
        raise ValueError(f"part: {part!r}; choose one of {', '.join(_LABELS)}")
    new_axes = ax is None
    ax = axes_of(ax)
    divergence = np.array([source.sizes[s].divergence.value for s in source.config.samplers])
    order = np.argsort(divergence)
    for index, correction in enumerate(source.config.corrections):
        points: list[Any] = [
            next(getattr(cost, part) for cost in source.at(s) if cost.correction == correction)
            for s in source.config.samplers
        ]
        value, low, high = (
            np.array([getattr(x, end) for x in points])[order] for end in ("value", "low", "high")
        )
        ax.errorbar(
            divergence[order],
            value,
            bars(low, value, high),
            capsize=2,
            label=name(correction),
            **look(ax, index),
        )
    largest = divergence.max()
    if largest > 0:
        positive = divergence[divergence > 1e-12]
        ax.set_xscale("symlog", linthresh=float(positive.min()))
        ax.set_xlim(left=0)
    ax.set_xlabel("KL of engine from trainer (nats per token)")
    ax.set_ylabel(_LABELS[part])
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    legend(ax, new_axes)
    return ax


def save_figure(source: Mismatch, folder: Path) -> list[Path]:
    """Draw loss, bias and variance side by side as SVG and PNG, and return the files written."""
    files = []
    with theme("light"):
        figure = Figure(figsize=(11.0, 3.8), layout="constrained")
        panels = figure.subplots(1, len(PARTS))
        for ax, part in zip(panels, PARTS, strict=True):
            mismatch(source, part, ax=ax)
        handles, labels = panels[0].get_legend_handles_labels()
        for ax in panels:
            if ax.get_legend() is not None:
                ax.get_legend().remove()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(8, len(labels)))
        for suffix in ("svg", "png"):
            files.append(folder / f"mismatch.{suffix}")
            write_file(files[-1], partial(figure.savefig, format=suffix, dpi=150))
    return files
