"""Plots of experiments: curves over seeds, what arms retain of a reference, and performance profiles."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gradvar.plot.style import SIZE, axes_of, bars, faint, legend, look, name
from gradvar.stats.intervals import student_half_width, wilson
from gradvar.stats.starts import by_start
from gradvar.studies.rows import column, number

COUNTED: Mapping[str, str] = {
    "steps": "training (optimiser steps)",
    "rollouts": "training (rollouts)",
    "tokens": "training (generated tokens)",
}
_CURVES: Mapping[str, str] = {
    "reward": "held-out reward (mean per rollout)",
    "snr": "SNR of a step's gradient (ratio)",
    "noise": "tr Cov of a step's gradient\n(reward² per parameter²)",
    "signal": "‖E g‖² of a step\n(reward² per parameter²)",
    "greedy": "held-out reward of the greedy rollout",
}
RETAINED: Mapping[str, tuple[str, float]] = {
    "retained_final": ("held-out reward at the end, over that of {reference}", 1.0),
    "retained_gain": ("gain in held-out reward, over that of {reference}", 1.0),
    "difference": ("held-out reward at the end, less that of {reference}", 0.0),
    "improvement": ("chance that a run ends above one of {reference}", 0.5),
    "final_iqm": ("held-out reward at the end, interquartile mean", math.nan),
}


def training(
    experiment: Any,
    figure: str = "reward",
    *,
    x: str = "steps",
    arms: Sequence[str] = (),
    level: float = 0.95,
    ax: Axes | None = None,
) -> Axes:
    """Draw training curves: means, and as bands their 95 % intervals over warm starts, or over the seeds of one.

    Intervals are Student's; of several warm starts each counts once, with the mean of its seeds (``stats.starts``).

    Args:
        experiment: An ``Experiment``, what ``gradvar train --json`` wrote, or curve rows.
        figure: The column of the curves to draw.
        x: What is counted along the training: steps, rollouts or tokens.
        arms: Only these, in this order; all by default.
        level: Of the interval. One seed or start has no band.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: {level}; give a number between 0 and 1, such as 0.95")
    if x not in COUNTED:
        raise ValueError(f"x: '{x}'; choose {', '.join(COUNTED)}")
    by_arm, starts, new_axes = tables(experiment, figure, arms, x), _starts(experiment), ax is None
    ax = axes_of(ax)
    units = "seeds"
    for index, (arm, (positions, values)) in enumerate(by_arm.items()):
        units = "warm starts" if len(set(starts[arm])) > 1 else units
        middle, half = _mean(np.stack([by_start(of_seeds, starts[arm]) for of_seeds in values]), level)
        style = look(ax, index)
        (line,) = ax.plot(positions, middle, label=name(arm), markevery=max(1, len(positions) // 8), **style)
        if np.isfinite(half).any():
            ax.fill_between(positions, middle - half, middle + half, color=line.get_color(), alpha=0.2, lw=0)
    seeds = {values.shape[1] for _, values in by_arm.values()}
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(
        COUNTED[x] + ("" if seeds == {1} else f"\n(bands: {100 * level:g} % interval over {units})")
    )
    ax.set_ylabel(_CURVES.get(figure, f"held-out {figure}"))
    legend(ax, new_axes)
    return ax


def retention(
    experiment: Any, figure: str = "retained_final", *, arms: Sequence[str] = (), ax: Axes | None = None
) -> Axes:
    """Draw what every arm retains of the reference arm, with 95 % intervals over warm starts, or over the seeds of one.

    Args:
        experiment: An ``Experiment``, or what ``gradvar train --json`` wrote.
        figure: retained_final, retained_gain, difference, improvement (the chance to end above) or final_iqm.
        arms: Only these; all by default.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    if figure not in RETAINED:
        raise ValueError(f"figure: '{figure}'; choose {', '.join(RETAINED)}")
    rows, new_axes = _rows(experiment), ax is None
    rows = [r for r in rows if r.get("arm") in arms] if arms else rows
    if not rows:
        raise ValueError("arms: none of the experiment's; name some of them, or leave it out for all")
    ax = axes_of(ax, (SIZE[0], 1.1 + 0.24 * len(rows)))
    positions = np.arange(len(rows))
    value, low, high = (column(rows, figure + end) for end in ("", "_low", "_high"))
    ax.errorbar(
        value, positions, xerr=bars(low, value, high), capsize=2.5, **{**look(ax, 0), "linestyle": "none"}
    )
    label, even = RETAINED[figure]
    ax.margins(x=0.1)
    if not math.isnan(even):
        ax.axvline(even, color=faint(ax), lw=1, zorder=0)
    ax.set_yticks(positions, [name(r["arm"]) for r in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    words = f"{label.format(reference=name(_reference(experiment)))} (95 % intervals)"
    # From the right edge, for long names leave the axes less room than the label needs.
    ax.set_xlabel("\n".join(textwrap.wrap(words, 44)), loc="right")
    legend(ax, new_axes)
    return ax


def profiles(
    experiment: Any,
    *,
    arms: Sequence[str] = (),
    thresholds: Sequence[float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw performance profiles: the share of an arm's runs that end above each reward, with Wilson's 95 % bands.

    After R. Agarwal et al., arXiv 2108.13264. Wilson's interval, unlike a bootstrap, has a width if all runs lie on
    one side; bands end where they do, for there those of all arms would lie on each other.

    Args:
        experiment: An ``Experiment``, what ``gradvar train --json`` wrote, or curve rows.
        arms: Only these, in this order; all by default.
        thresholds: The rewards; by default a grid around those that occur.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    finals = {arm: values[-1] for arm, (_, values) in tables(experiment, "reward", arms, "steps").items()}
    every = np.concatenate(list(finals.values()))
    pad = max(0.02, 0.15 * float(np.ptp(every)))
    positions = (
        np.linspace(every.min() - pad, every.max() + pad, 151)
        if thresholds is None
        else np.asarray(thresholds)
    )
    new_axes = ax is None
    ax = axes_of(ax)
    for index, (arm, scores) in enumerate(finals.items()):
        share = (scores[:, None] > positions).mean(0)
        low, high = wilson(share, len(scores))
        style = look(ax, index)
        ax.plot(
            positions, share, drawstyle="steps-mid", label=name(arm), markevery=(7 * index % 40, 40), **style
        )
        both = (share > 0) & (share < 1)
        ax.fill_between(positions, low, high, where=both, color=style["color"], alpha=0.13, lw=0, step="mid")
    ax.set_ylim(-0.03, 1.03)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("held-out reward τ (mean per rollout)")
    ax.set_ylabel("share of runs that end above τ\n(bands: 95 %)")
    legend(ax, new_axes)
    return ax


def tables(
    experiment: Any, figure: str, arms: Sequence[str] = (), x: str = "steps"
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Collect each arm's places along the training and a figure's values.

    Args:
        experiment: An ``Experiment``, what ``gradvar train --json`` wrote, or curve rows.
        figure: The column of the curves.
        arms: Only these, in this order; all by default.
        x: The column of the places.

    Returns:
        For each arm the places [evaluation], the mean over seeds, and the values [evaluation, seed].
    """
    rows = _curve_rows(experiment)
    recorded = list(dict.fromkeys(str(r.get("arm")) for r in rows))
    for arm in arms:
        if arm not in recorded:
            raise ValueError(f"arms: no '{arm}'; choose {', '.join(recorded)}")
    by_arm = {}
    for arm in arms or recorded:
        arm_rows = [r for r in rows if str(r.get("arm")) == arm]
        if not all(figure in r for r in arm_rows):
            raise ValueError(
                f"figure: '{figure}' was not recorded for {arm}; choose one of the curves' columns"
            )
        seeds, points = (sorted({r[k] for r in arm_rows}) for k in ("seed", "evaluation"))
        table = np.full((2, len(points), len(seeds)), np.nan)
        for r in arm_rows:
            place = points.index(r["evaluation"]), seeds.index(r["seed"])
            table[0][place], table[1][place] = number(r.get(x)), number(r[figure])
        by_arm[arm] = (table[0].mean(1), table[1])
    return by_arm


def _starts(experiment: Any) -> dict[str, np.ndarray]:
    """The warm start of each arm's seeds [seed], in the order of ``tables``."""
    by_arm: dict[str, dict[Any, int]] = {}
    for r in _curve_rows(experiment):
        by_arm.setdefault(str(r.get("arm")), {})[r["seed"]] = int(r.get("start", 0))
    return {arm: np.array([of[seed] for seed in sorted(of)]) for arm, of in by_arm.items()}


def _mean(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds or starts and half the width of its interval [evaluation]; NaN for one."""
    seeds = values.shape[1]
    if seeds < 2:
        return values[:, 0], np.full(len(values), np.nan)
    error = values.std(1, ddof=1) / math.sqrt(seeds)
    return values.mean(1), student_half_width(error, seeds - 1, level)


def _curve_rows(experiment: Any) -> list[Mapping[str, Any]]:
    rows: Any = experiment.curve_rows() if hasattr(experiment, "curve_rows") else experiment
    rows = rows.get("curves") if isinstance(rows, Mapping) else rows
    if not _have(rows, "arm", "seed", "evaluation"):
        raise TypeError(
            f"experiment: {type(experiment).__name__} has no curves; give an Experiment, or what "
            "`gradvar train --json` wrote"
        )
    return list(rows)


def _rows(experiment: Any) -> list[Mapping[str, Any]]:
    rows: Any = experiment.rows() if hasattr(experiment, "rows") else experiment
    rows = rows.get("rows") if isinstance(rows, Mapping) else rows
    if not _have(rows, "arm"):
        raise TypeError(
            f"experiment: {type(experiment).__name__} has no arms; give an Experiment, or what "
            "`gradvar train --json` wrote"
        )
    return list(rows)


def _have(rows: Any, *columns: str) -> bool:
    first = rows[0] if isinstance(rows, list) and rows else None
    return isinstance(first, Mapping) and set(columns) <= set(first)


def _reference(experiment: Any) -> str:
    config = (
        experiment.get("config", {}) if isinstance(experiment, Mapping) else getattr(experiment, "config", {})
    )
    reference = config.get("reference") if isinstance(config, Mapping) else getattr(config, "reference", None)
    return str(reference) if reference else "the reference"
