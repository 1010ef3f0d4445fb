"""Matplotlib's figures as SVG that stands inside a page: one drawing for light, dark and paper, with text as text.

Colours become variables of the page; text stays text, so that the reader's browser finds a glyph for every
character, and search, copying and screen readers find the words. Names that come from files are drawn as they are:
no dollar starts a formula.
"""

import io
import itertools
import re
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes

from gradvar.plot.style import COLOURS, FAINT, INK, figure_of, settings
from gradvar.report.html import Picture

_SVG = "http://www.w3.org/2000/svg"
_LINK = "http://www.w3.org/1999/xlink"
# What the page calls the colours; see ``templates/style.css``.
VARIABLES = {
    **{shade: f"var(--c{k})" for k, shade in enumerate(COLOURS["light"])},
    INK["light"]: "var(--ink)",
    FAINT["light"]: "var(--faint)",
}
_SHADE = re.compile("|".join(VARIABLES))
_count = itertools.count(1)


def drawn(draw: Callable[..., Axes], *arguments: Any, caption: str, **settings_of_plot: Any) -> Picture:
    """The picture that ``draw(*arguments, **settings_of_plot)`` gives, with its caption."""
    wanted: Any = {
        **settings("light"), "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
        "text.parse_math": False, "svg.hashsalt": "gradvar",
    }  # fmt: skip
    file = io.BytesIO()
    with matplotlib.rc_context(wanted), warnings.catch_warnings():
        # What one font lacks only costs a guess at its width: the browser has other fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = figure_of(draw(*arguments, **settings_of_plot))
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return Picture(inline(file.getvalue(), caption), caption)


def inline(svg: bytes, label: str) -> Markup:
    """Turn Matplotlib's SVG into an element of an HTML page, with ids that no other has."""
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    root = ElementTree.fromstring(svg)
    mark = f"f{next(_count)}-"
    for element in root.iter():
        _drop(element)
        for name, value in element.attrib.items():
            element.set(name, _local(name, value, mark))
    root.attrib.pop("height", None)
    # As wide as its text is readable at, and never wider than the page.
    width = float(root.attrib.pop("width").removesuffix("pt"))
    root.set("style", f"max-width: {1.5 * width:.0f}px")
    root.set("role", "img")
    root.set("aria-label", label)
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=False))


def _drop(element: ElementTree.Element) -> None:
    """Leave out what would reach beyond the drawing: its style sheet and metadata."""
    metadata, style, defs = (f"{{{_SVG}}}{tag}" for tag in ("metadata", "style", "defs"))
    for child in list(element):
        if child.tag in (metadata, style) or (child.tag == defs and all(c.tag == style for c in child)):
            element.remove(child)


def _local(name: str, value: str, mark: str) -> str:
    if name == "id":
        return mark + value
    if name == f"{{{_LINK}}}href":
        return value.replace("#", f"#{mark}", 1)
    return _SHADE.sub(lambda m: VARIABLES[m[0]], value.replace("url(#", f"url(#{mark}"))
