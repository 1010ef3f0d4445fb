"""The weight that an estimator gives a prompt, by its success rate."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes

from gradvar.core.estimator import Estimator
from gradvar.plot.clipping import known
from gradvar.plot.style import LONGEST, axes_of, faint, legend, look, name, value_scale
from gradvar.studies.findings import listed
from gradvar.studies.study import bias_curve

Series = tuple[int, str]  # a group size, an estimator's name

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
    per estimator, dashes per group size. Curves that coincide are drawn once, and the legend names all of them.

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
    curves = {(size, each): curve for size in sizes for each, curve in bias_curve(chosen, size, grid).items()}
    order = list(dict.fromkeys(each for _, each in curves))
    for (size, each), alike in _distinct(curves).items():
        index, row = order.index(each), sizes.index(size)
        ax.plot(
            grid, curves[size, each], markevery=((2 * index + row) % 6, 6), label=_label(alike, len(sizes) > 1),
            **look(ax, index, row),
        )  # fmt: skip
    ax.axhline(1.0, color=faint(ax), lw=0.8, zorder=0)
    ax.set_xlim(0, 1)
    ax.set_xlabel("success rate p of the prompt" + (f" (G = {sizes[0]})" if len(sizes) == 1 else ""))
    ax.set_ylabel("weight on the prompt, w(p)\n(1: as ∇J has it)")
    value_scale(ax, np.concatenate(list(curves.values())))
    legend(ax, new_axes, fold=len(curves) == 1)
    return ax


def _distinct(curves: dict[Series, np.ndarray]) -> dict[Series, list[Series]]:
    """Return the curves that the eye tells apart, each with all that lie on it, itself first."""
    found: dict[Series, list[Series]] = {}
    for series, curve in curves.items():
        like = next((first for first in found if np.allclose(curve, curves[first], rtol=1e-3)), series)
        found.setdefault(like, []).append(series)
    return found


def _label(alike: Sequence[Series], sized: bool) -> str:
    """Name curves that coincide, with their group sizes where there are several."""
    sizes: dict[str, list[int]] = {}
    for size, each in alike:
        sizes.setdefault(each, []).append(size)
    parts = [f"{name(each)}, G = {listed(at)}" if sized else name(each) for each, at in sizes.items()]
    return fill("; ".join(parts), LONGEST)
