"""The look of the plots: colours, markers, axes and legends, on light and on dark ground."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, NullFormatter

Ground = Literal["light", "dark"]

# Chosen by search for the largest least distance in OKLab between any two as seen with normal sight, protanopia and
# deuteranopia (Machado et al. 2009), at a contrast of 2.9 with white and of 4.5 with the dark ground; tests hold them
# to it. Colours of the same place are of the same hue if that was possible.
COLOURS: dict[Ground, tuple[str, ...]] = {
    "light": ("#2272d0", "#ff591e", "#1b9f7d", "#9c4586", "#269df1", "#a73830", "#430a0f", "#672439"),
    "dark": ("#36c9ff", "#ff7016", "#37b374", "#fe90be", "#ffc453", "#b460ff", "#f6fcc8", "#7b8398"),
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (3.4, 1.5)), (0, (1.4, 1.4)), (0, (5, 1.4, 1.3, 1.4)))
INK: dict[Ground, str] = {"light": "#1c1c1c", "dark": "#e4e4e0"}
FAINT: dict[Ground, str] = {"light": "#767676", "dark": "#9a9a96"}
PAPER: dict[Ground, str] = {"light": "#ffffff", "dark": "#16181b"}
SIZE = (4.0, 3.1)  # inches; at this size text is as large as that of a page a telephone shows
_LEFT = 0.7  # inches that tick labels and an axis label of two lines may take at the left
LONGEST = 34  # characters of a name in a legend


def settings(ground: Ground) -> dict[str, Any]:
    """Return Matplotlib's settings for one ground."""
    ink, paper = INK[ground], PAPER[ground]
    return {
        "font.size": 9.5,
        "font.family": ["DejaVu Sans"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlesize": "medium",
        "grid.alpha": 0.3,
        "grid.color": FAINT[ground],
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "figure.constrained_layout.use": True,
        "axes.prop_cycle": cycler(color=COLOURS[ground]),
        "figure.facecolor": paper,
        "axes.facecolor": paper,
        "savefig.facecolor": paper,
        **dict.fromkeys(
            (
                "text.color",
                "axes.labelcolor",
                "axes.titlecolor",
                "axes.edgecolor",
                "xtick.color",
                "ytick.color",
            ),
            ink,
        ),
    }


def theme(ground: Ground = "light") -> AbstractContextManager[None]:
    """Plots made within ``with gv.plot.theme("dark"):`` are for a dark ground, or for a light one."""
    if ground not in COLOURS:
        raise ValueError(f"ground: {ground!r}; give 'light' or 'dark'")
    wanted: Any = settings(ground)
    return matplotlib.rc_context(wanted)


def axes_of(ax: Axes | None, size: tuple[float, float] = SIZE) -> Axes:
    """Return the given axes, or those of a new figure of one panel."""
    if ax is not None:
        return ax
    return Figure(figsize=size, layout="constrained").subplots()


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure that the axes lie in, also through subfigures."""
    figure: Any = ax.figure
    return figure.figure if isinstance(figure, SubFigure) else figure


def ground_of(ax: Axes) -> Ground:
    """Return "dark" or "light" for what is seen behind the axes: colours follow it, whoever set it."""
    for behind in (ax, figure_of(ax)):
        *shade, opacity = to_rgba(behind.get_facecolor())
        if opacity > 0.5:
            return "dark" if float(np.dot(shade, (0.2126, 0.7152, 0.0722))) < 0.4 else "light"
    return "light"


def colour(ax: Axes, index: int) -> str:
    """Return the colour of a series."""
    shades = COLOURS[ground_of(ax)]
    return shades[index % len(shades)]


def look(ax: Axes, index: int, dash: int | None = None) -> dict[str, Any]:
    """Return colour, marker and dashes of a series; as long as they last, each alone identifies it."""
    style = DASHES[(index if dash is None else dash) % len(DASHES)]
    return {
        "color": colour(ax, index), "marker": MARKERS[index % len(MARKERS)], "linestyle": style,
        "markersize": 4.5, "linewidth": 1.5,
    }  # fmt: skip


def faint(ax: Axes) -> str:
    """Return the colour of lines that are not data, such as the one at which an estimator is unbiased."""
    return FAINT[ground_of(ax)]


def ink(ax: Axes) -> str:
    """Return the colour of text, for error bars across filled areas."""
    return INK[ground_of(ax)]


def bars(low: np.ndarray, value: np.ndarray, high: np.ndarray) -> np.ndarray | None:
    """Return lengths of error bars [2, N] from intervals; None if no interval has a width."""
    low, high = (np.where(np.isfinite(x), x, value) for x in (low, high))
    lengths = np.array([np.maximum(value - low, 0), np.maximum(high - value, 0)])
    lengths = np.where(np.isfinite(lengths), lengths, 0.0)
    # An exact figure has an interval of no width, but for rounding: no bar, and no caps without one.
    drawn = (lengths > 1e-9 * np.abs(value)).any(0)
    return np.where(drawn, lengths, np.nan) if drawn.any() else None


def hollow(ax: Axes, x: np.ndarray, y: np.ndarray, marks: dict[str, Any]) -> None:
    """Mark figures that have no interval: an empty mark, for a full one without a bar is exact.

    Args:
        ax: Axes to draw on.
        x: Places of the figures.
        y: Their values.
        marks: The look of their series.
    """
    if len(x):
        ax.plot(x, y, **{**marks, "linestyle": "none", "markerfacecolor": "none", "zorder": 3})


def log_axis(axis: Any, ticks: Sequence[float] | None = None) -> None:
    """Set plain numbers at the ticks of a logarithmic axis."""
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())
    if ticks is not None:
        axis.set_ticks(list(ticks), labels=[f"{t:g}" for t in ticks])
        axis.set_ticks([], minor=True)


def group_sizes(ax: Axes, sizes: Sequence[float]) -> None:
    """The horizontal axis is of group sizes, a tick at each that does not crowd its neighbour."""
    ax.set_xscale("log", base=2)
    shown: list[float] = []
    every = sorted(set(sizes))
    spread = math.log(2) + math.log(every[-1]) - math.log(every[0]) if every else 0.0
    for size in every:
        if not shown or math.log(size / shown[-1]) >= 0.055 * spread:
            shown.append(size)
    log_axis(ax.xaxis, shown)
    ax.set_xlabel("group size G (rollouts per prompt)")


def value_scale(ax: Axes, values: np.ndarray) -> None:
    """Start at zero if the values (not their intervals) are of one order of magnitude; else use a logarithm."""
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() > 20 * values.min():
        ax.set_yscale("log")
        log_axis(ax.yaxis)
        if values.max() < 100 * values.min():  # powers of ten alone would leave one tick, or two
            from matplotlib.ticker import LogLocator

            ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    elif values.size and values.min() >= 0:
        from_zero(ax, "y")


def from_zero(ax: Axes, which: Literal["x", "y"]) -> None:
    """Begin an axis at zero; it still grows with what is drawn later, also on axes that share it."""
    line = ax.axhline(0.0, linewidth=0) if which == "y" else ax.axvline(0.0, linewidth=0)
    getattr(line.sticky_edges, which).append(0.0)


def name(text: object) -> str:
    """Return a name as it is drawn: short, printable, and with no leading underscore, which hides it in legends."""
    shown = "".join(c for c in " ".join(str(text).split()) if c.isprintable()) or "?"
    shown = shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"
    return f"\u200a{shown}" if shown.startswith("_") else shown


def legend(ax: Axes, new_axes: bool, *, fold: bool = True) -> None:
    """Put a legend above axes that are new; on axes of the caller inside, where it covers least."""
    # Matplotlib lists error bars last; they are the data, and come first.
    pairs = sorted(
        zip(*ax.get_legend_handles_labels(), strict=True), key=lambda p: not hasattr(p[0], "has_yerr")
    )
    if len(pairs) < 2 and fold:
        return
    handles, labels = [handle for handle, _ in pairs], [label for _, label in pairs]
    if not new_axes:
        ax.legend(handles, labels, fontsize="small", handlelength=2.5)
        return
    # As many columns as the figure is wide for, from the axes' left edge on.
    figure = figure_of(ax)
    renderer = FigureCanvasAgg(figure).get_renderer()
    names = [t.get_window_extent(renderer).width for t in ax.get_yticklabels()]
    room = figure.bbox.width - max(_LEFT * figure.dpi, max(names, default=0.0) + 0.2 * figure.dpi)
    for columns in range(min(4, len(labels)), 0, -1):
        if columns > 2 and len(labels) % columns == 1:
            continue  # the last one would stand in a row of its own
        box = ax.legend(
            handles, labels, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, fontsize="small",
            borderaxespad=0.2, columnspacing=1.2, handlelength=3.2,
        )  # fmt: skip
        if box.get_window_extent(renderer).width <= room:
            return
