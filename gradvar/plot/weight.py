"""The weight that an estimator gives a prompt, by its success rate."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from gradvar.core.estimator import Estimator
from gradvar.plot.clipping import known
from gradvar.plot.style import DASHES, MARKERS, axes_of, colour, faint, legend, name, value_scale
from gradvar.studies.study import bias_curve

RATES = np.concatenate([[0.005, 0.01, 0.02], np.linspace(0.04, 0.96, 24), [0.98, 0.99, 0.995]])


def prompt_weight(
    estimators: Sequence[str | Estimator],
    group_sizes: int | Sequence[int] = (4,),
    *,
    rates: Sequence[float] | np.ndarray = RATES,
    ax: Axes | None = None,
) -> Axes:
    """Draw w_G(p), the factor of a prompt's expected gradient on its true one, against its success rate p.

    Exact, by enumeration of one prompt with two answers, on policy: so there are no intervals. A colour and a marker
    per estimator, dashes per group size.

    Args:
        estimators: Names of the catalogue, or estimators that need rewards only.
        group_sizes: One group size or several.
        rates: The success rates, between 0 and 1.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    sizes = [group_sizes] if isinstance(group_sizes, int) else list(group_sizes)
    chosen, new_axes, grid = known(estimators), ax is None, np.asarray(rates, np.float64)
    if not ((grid > 0) & (grid < 1)).all():
        raise ValueError(
            f"rates: between {grid.min():g} and {grid.max():g}; give success rates above 0 and below 1"
        )
    for estimator in chosen:
        if sizes and min(sizes) < estimator.min_group:
            raise ValueError(
                f"group_sizes: {min(sizes)}; {estimator.name} needs at least {estimator.min_group} rollouts of a prompt"
            )
    if not sizes:
        raise ValueError("group_sizes: nothing given; name at least one, such as 4")
    ax = axes_of(ax)
    shown = []
    for row, size in enumerate(sizes):
        for index, (label, curve) in enumerate(bias_curve(chosen, size, grid).items()):
            # Curves may coincide: earlier ones are drawn wider, and markers take turns.
            ax.plot(
                grid, curve, color=colour(ax, index), marker=MARKERS[index % len(MARKERS)], ms=4.5,
                ls=DASHES[row % len(DASHES)], lw=1.3 + 0.5 * (len(chosen) - 1 - index),
                markevery=((2 * index + row) % 6, 6),
                label=name(label) if len(sizes) == 1 else f"{name(label)}, G = {size}",
            )  # fmt: skip
            shown.append(curve)
    ax.axhline(1.0, color=faint(ax), lw=0.8, zorder=0)
    ax.set_xlim(0, 1)
    ax.set_xlabel("success rate p of the prompt" + (f" (G = {sizes[0]})" if len(sizes) == 1 else ""))
    ax.set_ylabel("weight on the prompt, w(p)\n(1: as ∇J has it)")
    value_scale(ax, np.concatenate(shown))
    legend(ax, new_axes)
    return ax
