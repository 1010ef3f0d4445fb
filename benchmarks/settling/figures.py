"""The figures: curves over three budgets, and the map. ``python -m benchmarks.settling.figures``."""

import argparse
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.settling.settings import Size
from gradvar.plot.style import faint, look
from gradvar.plot.style import settings as style
from gradvar.stats.intervals import student_half_width

RESULTS = Path("benchmarks/results")


def curves(content: Mapping[str, Any]) -> Figure:
    """A row for every setting: the gain over the warm start by prompts, by tokens, and by time, an arm a line."""
    settings = content["settings"]
    figure, axes = plt.subplots(len(settings), 3, figsize=(10, 2.7 * len(settings)), squeeze=False)
    for row, setting in zip(axes, settings, strict=True):
        made = [c for c in setting["curves"] if c["kind"] == "run" and c["run"] < setting["size"]["runs"]]
        for group in setting["size"]["groups"]:
            for ax, axis in zip(row, ("prompts", "tokens", "seconds"), strict=True):
                choice = setting["tuned"][str(group)]["prompts" if axis == "prompts" else "tokens"]["factor"]
                runs = [c for c in made if (c["group"], c["factor"]) == (group, choice)]
                places, rewards = _places(runs, axis, setting), np.array([run["reward"] for run in runs])
                _band(ax, places, rewards - rewards[:, :1], Size.groups.index(group), f"{group} rollouts")
        for ax, name in zip(
            row, ("prompts", "thousands of generated tokens", "seconds of one core"), strict=True
        ):
            ax.set_xlabel(name)
        row[0].set_xscale("log")
        row[0].set_ylabel(f"{setting['name'].replace('_', ' ')}\ngain in held-out reward")
    axes[0, 0].legend(fontsize="small")
    return figure


def _places(runs: Sequence[Mapping[str, Any]], axis: str, setting: Mapping[str, Any]) -> np.ndarray:
    steps = np.array(runs[0]["steps"])
    if axis == "prompts":
        return steps * setting["size"]["rollouts_per_step"] // runs[0]["group"]
    if axis == "tokens":
        return np.mean([run["tokens"] for run in runs], axis=0) / 1000
    return steps * min(run["seconds"] for run in runs) / steps[-1]


def _band(ax: Axes, places: np.ndarray, values: np.ndarray, index: int, label: str) -> None:
    middle = values.mean(0)
    (line,) = ax.plot(places, middle, label=label, markevery=4, **look(ax, index))
    if len(values) > 1:
        error = values.std(0, ddof=1) / len(values) ** 0.5
        half = student_half_width(error, len(values) - 1, 0.95)
        ax.fill_between(places, middle - half, middle + half, color=line.get_color(), alpha=0.15, lw=0)


def statement_map(rows: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]]) -> Figure:
    """Retained reward over success rate and prompts per step, a panel for every length, with the law's line; the
    ``settings`` of ``points`` over success rate and length; and all of them over what the law says."""
    tasks = list(dict.fromkeys(row["cell"].rsplit("-", 2)[0] for row in rows))
    panels = len(tasks) + 2
    figure, axes = plt.subplots(1, panels, figsize=(4.2 * panels, 3.6))
    values = [row["retained"]["value"] for row in (*rows, *settings)]
    span = max(abs(np.log(values)).max(), 0.01)
    for ax, task in zip(axes, tasks, strict=False):
        chosen = [row for row in rows if row["cell"].startswith(task)]
        place = {rate: k for k, rate in enumerate(sorted({row["rollouts_per_step"] for row in chosen}))}
        success = np.array([row["success"] for row in chosen])
        height = np.array([place[row["rollouts_per_step"]] for row in chosen])
        shade = np.log([row["retained"]["value"] for row in chosen])
        square = {"s": 900, "marker": "s", "edgecolors": faint(ax)}
        ax.scatter(success, height, c=shade, cmap="PuOr", vmin=-span, vmax=span, **square)
        label: Any = {"ha": "center", "va": "top", "fontsize": 6}
        for row, x, y in zip(chosen, success, height, strict=True):
            figures = row["retained"]
            ends = "" if figures["low"] is None else f"\n[{figures['low']:.2f}, {figures['high']:.2f}]"
            ax.annotate(
                f"{figures['value']:.2f}{ends}", (x, y), (0, -18), textcoords="offset points", **label
            )
        line_of_the_law(ax, chosen, len(place) - 0.6)
        length = np.mean([row["length"] for row in chosen])
        ax.set_title(f"{task.replace('_', ' ')}, {length:.0f} tokens")
        labels = [f"{rate // 2} and {rate // 16}" for rate in place]
        ax.set_yticks(list(place.values()), labels)
        ax.set_ylim(-0.6, len(place) - 0.4)
        ax.set_xscale("log")
        ax.set_xlim(0.016, 1.35)
        ax.set_xticks(ticks := sorted({row["target"] for row in chosen}), [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
        ax.set_xlabel("success rate at the start")
    axes[0].set_ylabel("prompts per step, of two and of sixteen")
    _lengths(axes[-2], settings, span)
    _against_law(axes[-1], rows, settings)
    return figure


def line_of_the_law(ax: Axes, rows: Sequence[Mapping[str, Any]], height: float) -> None:
    """The success rate at which the law has two and sixteen equal, or whom it gives all of the panel."""
    crossing = _crossing(rows)
    if crossing is None:
        sides = {row["law"]["value"] > 1 for row in rows if row["law"]["value"]}
        text = {(True,): "the law: sixteen everywhere", (False,): "the law: two everywhere"}.get(
            tuple(sides), ""
        )
        ax.annotate(text, (0.5, 0.95), xycoords="axes fraction", fontsize=7, ha="center")
        return
    ax.axvline(crossing, color=faint(ax), ls="--")
    label: Any = {"fontsize": 7, "va": "center", "textcoords": "offset points"}
    ax.annotate("the law: sixteen", (crossing, height), (-4, 0), ha="right", **label)
    ax.annotate("two", (crossing, height), (4, 0), ha="left", **label)


def _lengths(ax: Axes, settings: Sequence[Mapping[str, Any]], span: float) -> None:
    """The settings, a square each; those that the law gives to sixteen have a dashed edge."""
    for row in settings:
        value, place = row["retained"]["value"], (row["success"], row["length"])
        edge = "--" if row["law"]["value"] > 1 else "-"
        shade: Any = {"c": [np.log(value)], "cmap": "PuOr", "vmin": -span, "vmax": span}
        ax.scatter(*place, s=500, marker="s", linestyles=edge, linewidths=1.5, edgecolors=faint(ax), **shade)
        ends = "" if row["retained"]["low"] is None else "\n[{low:.2f}, {high:.2f}]".format(**row["retained"])
        ax.annotate(
            f"{row['name']}\n{value:.2f}{ends}", place, (0, -14), textcoords="offset points", ha="center", va="top",
            fontsize=7,
        )  # fmt: skip
    ax.set_title("settings, rates tuned\n(dashed: the law is for sixteen)", fontsize="medium")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(0.016, 1.35)
    ax.set_ylim(1.2, 30)
    ax.set_xticks(ticks := [0.03, 0.1, 0.3, 0.7], [f"{tick:g}" for tick in ticks])
    ax.set_yticks(ticks := [2, 5, 10, 20], [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("success rate at the start")
    ax.set_ylabel("tokens of an answer")


def points(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of every setting with two and sixteen rollouts: success, length, the law's ratio, and the retained reward at
    equal tokens."""
    made = []
    for setting in content["settings"]:
        bank = setting["prediction"]["bank"]
        (law,) = (arm["variance_ratio"] for arm in setting["prediction"]["arms"] if arm["group"] == 2)
        (row,) = (
            row for row in content["rows"]
            if (row["setting"], row["budget"], row["group"]) == (setting["name"], "tokens", 2)
        )  # fmt: skip
        made.append({
            "name": setting["name"].replace("_", " "), "success": bank["success"], "length": bank["length"],
            "law": law, "retained": row["retained"],
        })  # fmt: skip
    return made


def _crossing(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """The success rate at which the law's ratio of variances is 1, by interpolation of both logarithms."""
    points = sorted({(row["success"], row["law"]["value"]) for row in rows if row["law"]["value"]})
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if (y0 - 1) * (y1 - 1) < 0:
            return float(x0 * (x1 / x0) ** (np.log(y0) / (np.log(y0) - np.log(y1))))
    return None


def _against_law(ax: Axes, rows: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]]) -> None:
    known = [row for row in rows if row["law"]["value"]]
    groups = {
        f"{rate} rollouts per step": [row for row in known if row["rollouts_per_step"] == rate]
        for rate in sorted({row["rollouts_per_step"] for row in known})
    }
    for index, (label, chosen) in enumerate((groups | {"settings, rates tuned": settings}).items()):
        aside = 0.015 * (index - len(groups) / 2)  # points of one bank would hide one another
        x = np.array([row["law"]["value"] for row in chosen]) + aside
        y, low, high = (
            np.array([row["retained"][k] for row in chosen], float) for k in ("value", "low", "high")
        )
        ax.errorbar(
            x, y, yerr=[y - low, high - y], capsize=2, label=label,
            **{**look(ax, index), "linestyle": "none"},
        )  # fmt: skip
    ax.axhline(1, color=faint(ax), lw=1, zorder=0)
    ax.axvline(1, color=faint(ax), lw=1, ls="--", zorder=0)
    ax.set_xlabel("the law: variance per rollout,\ntwo over sixteen")
    ax.set_ylabel("reward of two over that of sixteen")
    ax.legend(fontsize="small", loc="lower left")


def warm_up(content: Mapping[str, Any]) -> Figure:
    """G2D: the held-out gain at the end, and how informative the stored pairs were, over GRPO's share of the run; an
    arm that is there more than once is drawn once."""
    table = {row["arm"]: row for row in content["rows"]}
    shares = {
        plan["arm"]["name"]: plan["arm"]["phases"][0]["share"]
        for plan in content["plans"] if len(plan["arm"]["phases"]) == 2
    }  # fmt: skip
    rows = sorted((row for row in table.values() if row["arm"] in shares), key=lambda row: shares[row["arm"]])
    x = np.array([shares[row["arm"]] for row in rows])
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2))
    gain, low, high = (np.array([row[f"gain{end}"] for row in rows], float) for end in ("", "_low", "_high"))
    axes[0].errorbar(
        x, gain, yerr=[gain - low, high - gain], capsize=2, label="GRPO, then DPO", **look(axes[0], 0)
    )
    for row in table.values():
        if row["arm"] not in shares:
            axes[0].axhline(row["gain"], color=faint(axes[0]), ls="--", label=f"{row['arm']} throughout")
    axes[0].set_ylabel("gain in held-out reward")
    axes[0].legend(fontsize="small")
    stored = {row["arm"]: row for row in content["stored"]}
    for ax, name, label in (
        (axes[1], "contrast", "contrast of the pairs, 4 p (1 - p)"),
        (axes[2], "pairs", "pairs, right and wrong"),
    ):
        ax.plot(x, [stored[row["arm"]][name] for row in rows], **look(ax, 1))
        ax.set_ylabel(label)
        ax.set_ylim(bottom=0)
    for ax in axes:
        ax.set_xlabel("share of rollouts before the pairs")
    return figure


def joined(places: Iterable[Path], names: Sequence[str] = ("settings", "rows")) -> dict[str, Any]:
    """The named lists of several results, one after another."""
    content: dict[str, Any] = {name: [] for name in names}
    for place in places:
        part = json.loads(place.read_text())
        content = {name: content[name] + part.get(name, []) for name in content}
    return content


def main() -> None:
    """Draw what there are results of."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=RESULTS)
    folder = parser.parse_args().folder
    appearance: Any = {**style("light"), "svg.hashsalt": "gradvar"}
    matplotlib.rcParams.update(appearance)
    figures = {}
    content = joined([folder / "settling.json"])
    figures["settling"] = curves(content)
    if rows := joined(sorted(folder.glob("settling_map_*.json")))["rows"]:
        figures["settling_map"] = statement_map(rows, points(content))
    content = joined(sorted(folder.glob("train_g2d*.json")), ("plans", "rows", "stored"))
    if content["rows"]:
        figures["train_g2d"] = warm_up(content)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
