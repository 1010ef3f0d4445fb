"""What the notebooks share: the look of their figures, and sliders that leave a picture where nothing can be moved."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib_inline.backend_inline import set_matplotlib_formats

from gradvar.plot.style import settings

PANEL = (3.4, 3.1)  # inches of one of three panels beside each other; a page is about ten wide


def look(dots: int = 100) -> None:
    """The library's colours and sizes for every figure; twice the ``dots`` per inch, so that text stays sharp."""
    set_matplotlib_formats("retina")
    wanted: Any = settings("light")
    plt.rcParams.update(wanted | {"figure.dpi": dots})


def row(columns: int, *, width: float = PANEL[0], height: float = PANEL[1], **options: Any) -> list[Axes]:
    """Axes beside each other, of one new figure."""
    _, axes = plt.subplots(1, columns, figsize=(width * columns, height), squeeze=False, **options)
    return list(axes[0])


def explore(
    draw: Callable[[Axes, Any], None],
    name: str,
    values: Sequence[Any],
    shown: Sequence[Any],
    *,
    width: float = PANEL[0],
) -> None:
    """``draw(ax, value)`` for each of ``shown``, as a picture; below it, with a kernel, a slider of ``values``.

    Without ipywidgets there is the picture alone, and where ``build.py`` executes the notebook: on a page nobody could
    move the slider.
    """
    for ax, value in zip(row(len(shown), width=width, sharey=True), shown, strict=True):
        draw(ax, value)
        ax.set_title(f"{name}: {value}")
        ax.label_outer(remove_inner_ticks=False)
    plt.show()
    if os.environ.get("GRADVAR_NOTEBOOKS_STILL"):
        return
    try:
        from ipywidgets import SelectionSlider, interact
    except ImportError:
        return

    def one(value: Any) -> None:
        (ax,) = row(1, width=1.5 * PANEL[0])
        draw(ax, value)
        plt.show()

    first = shown[0] if shown[0] in values else values[0]
    style = {"description_width": "initial"}
    interact(
        one,
        value=SelectionSlider(
            options=list(values), value=first, description=name, continuous_update=False, style=style
        ),
    )
