"""What arms learnt: curves over seeds, what they retain of a reference, and performance profiles."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy import stats

from gradvar.plot.style import SIZE, axes_of, bars, faint, legend, look, name
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
    """Training curves: the mean over seeds, and a band, the mean's confidence interval over seeds by Student's t.

    ``experiment``: an ``Experiment``, what ``gradvar train --json`` wrote, or curve rows. ``x``: steps, rollouts or
    tokens. ``arms``: these only, in this order. One seed has no band.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: {level}; give a number between 0 and 1, such as 0.95")
    if x not in COUNTED:
        raise ValueError(f"x: '{x}'; choose {', '.join(COUNTED)}")
    by_arm, own = tables(experiment, figure, arms, x), ax is None
    ax = axes_of(ax)
    for index, (arm, (at, values)) in enumerate(by_arm.items()):
        middle, half = _mean(values, level)
        style = look(ax, index)
        (line,) = ax.plot(at, middle, label=name(arm), markevery=max(1, len(at) // 8), **style)
        if np.isfinite(half).any():
            ax.fill_between(at, middle - half, middle + half, color=line.get_color(), alpha=0.2, lw=0)
    seeds = {values.shape[1] for _, values in by_arm.values()}
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(COUNTED[x] + ("" if seeds == {1} else f"\n(bands: {100 * level:g} % interval over seeds)"))
    ax.set_ylabel(_CURVES.get(figure, f"held-out {figure}"))
    legend(ax, own)
    return ax


def retention(
    experiment: Any, figure: str = "retained_final", *, arms: Sequence[str] = (), ax: Axes | None = None
) -> Axes:
    """What every arm retains of the reference arm, with 95 % bootstrap intervals over paired seeds.

    ``figure``: retained_final, retained_gain, difference, improvement (the chance to end above) or final_iqm.
    """
    if figure not in RETAINED:
        raise ValueError(f"figure: '{figure}'; choose {', '.join(RETAINED)}")
    rows, own = _rows(experiment), ax is None
    rows = [r for r in rows if r.get("arm") in arms] if arms else rows
    if not rows:
        raise ValueError("arms: none of the experiment's; name some of them, or leave it out for all")
    ax = axes_of(ax, (SIZE[0], 1.1 + 0.24 * len(rows)))
    at = np.arange(len(rows))
    value, low, high = (column(rows, figure + end) for end in ("", "_low", "_high"))
    ax.errorbar(value, at, xerr=bars(low, value, high), capsize=2.5, **{**look(ax, 0), "linestyle": "none"})
    label, even = RETAINED[figure]
    ax.margins(x=0.1)
    if not math.isnan(even):
        ax.axvline(even, color=faint(ax), lw=1, zorder=0)
    ax.set_yticks(at, [name(r["arm"]) for r in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    words = f"{label.format(reference=name(_reference(experiment)))} (95 % intervals)"
    # From the right edge, for long names leave the axes less room than the label needs.
    ax.set_xlabel("\n".join(textwrap.wrap(words, 44)), loc="right")
    legend(ax, own)
    return ax


def profiles(
    experiment: Any,
    *,
    arms: Sequence[str] = (),
    thresholds: Sequence[float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Performance profiles: the share of an arm's runs that end above each reward, with Wilson's 95 % bands.

    After R. Agarwal et al., arXiv 2108.13264; Wilson's interval, unlike a bootstrap, has a width where all runs
    lie on one side.
    """
    finals = {arm: values[-1] for arm, (_, values) in tables(experiment, "reward", arms, "steps").items()}
    every = np.concatenate(list(finals.values()))
    pad = max(0.02, 0.15 * float(np.ptp(every)))
    at = (
        np.linspace(every.min() - pad, every.max() + pad, 151)
        if thresholds is None
        else np.asarray(thresholds)
    )
    own = ax is None
    ax = axes_of(ax)
    for index, (arm, scores) in enumerate(finals.items()):
        share = (scores[:, None] > at).mean(0)
        low, high = wilson(share, len(scores))
        style = look(ax, index)
        ax.plot(at, share, drawstyle="steps-mid", label=name(arm), markevery=(7 * index % 40, 40), **style)
        ax.fill_between(at, low, high, color=style["color"], alpha=0.13, lw=0, step="mid")
    ax.set_ylim(-0.03, 1.03)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel("held-out reward τ (mean per rollout)")
    ax.set_ylabel("share of runs that end above τ\n(bands: 95 %)")
    legend(ax, own)
    return ax


def wilson(
    share: Float[np.ndarray, " threshold"], runs: int, level: float = 0.95
) -> tuple[Float[np.ndarray, " threshold"], Float[np.ndarray, " threshold"]]:
    """Wilson's interval for a share of ``runs`` independent runs."""
    z = float(stats.norm.ppf(0.5 + level / 2))
    centre = (share + z**2 / (2 * runs)) / (1 + z**2 / runs)
    half = z / (1 + z**2 / runs) * np.sqrt(share * (1 - share) / runs + z**2 / (4 * runs**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def tables(
    experiment: Any, figure: str, arms: Sequence[str] = (), x: str = "steps"
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each arm's places along the training [evaluation] and a figure's values [evaluation, seed]."""
    rows = _curve_rows(experiment)
    there = list(dict.fromkeys(str(r.get("arm")) for r in rows))
    for arm in arms:
        if arm not in there:
            raise ValueError(f"arms: no '{arm}'; choose {', '.join(there)}")
    found = {}
    for arm in arms or there:
        own = [r for r in rows if str(r.get("arm")) == arm]
        if not all(figure in r for r in own):
            raise ValueError(
                f"figure: '{figure}' was not recorded for {arm}; choose one of the curves' columns"
            )
        seeds, points = (sorted({r[k] for r in own}) for k in ("seed", "evaluation"))
        table = np.full((2, len(points), len(seeds)), np.nan)
        for r in own:
            place = points.index(r["evaluation"]), seeds.index(r["seed"])
            table[0][place], table[1][place] = number(r.get(x)), number(r[figure])
        found[arm] = (table[0].mean(1), table[1])
    return found


def _mean(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds and half the width of its interval [evaluation]; NaN for one seed."""
    seeds = values.shape[1]
    if seeds < 2:
        return values[:, 0], np.full(len(values), np.nan)
    error = values.std(1, ddof=1) / math.sqrt(seeds)
    return values.mean(1), float(stats.t.ppf(0.5 + level / 2, seeds - 1)) * error


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
    found = config.get("reference") if isinstance(config, Mapping) else getattr(config, "reference", None)
    return str(found) if found else "the reference"
