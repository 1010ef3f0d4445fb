"""HTML that is put together from text: everything is escaped, unless it says that it is markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


class Markup(str):
    """HTML already; everything else is text, and is escaped when it is added."""

    __slots__ = ()

    def __add__(self, other: str) -> Markup:
        return Markup(str.__add__(self, text(other)))


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval, as a cell of a table; it sorts by the value."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def known(self) -> bool:
        """Whether there is an interval with a width beyond rounding."""
        return self.low < self.high and not abs(self.high - self.low) <= 1e-9 * abs(self.value)


@dataclass(frozen=True)
class Table:
    """A table that sorts: ``columns`` are its headings, ``rows`` its cells: text, numbers, estimates or markup."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Picture:
    """A figure: its SVG, and the caption that says in words what it shows."""

    svg: Markup
    caption: str


def text(value: Any) -> Markup:
    """Markup as it is, anything else escaped."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def join(parts: Iterable[str]) -> Markup:
    """Markup from pieces of markup."""
    return Markup("".join(parts))


def element(tag: str, content: Any = "", **attributes: str) -> Markup:
    """An element around text or markup. An attribute's trailing underscore and its other ones become hyphens."""
    said = "".join(f' {k.rstrip("_").replace("_", "-")}="{escape(v)}"' for k, v in attributes.items())
    return Markup(f"<{tag}{said}>{text(content)}</{tag}>")


def items(lines: Iterable[Any], **attributes: str) -> Markup:
    """A list, an item for every line; nothing for no lines."""
    inner = join(element("li", line) for line in lines)
    return element("ul", inner, **attributes) if inner else Markup("")


def definitions(pairs: Mapping[str, Any]) -> Markup:
    """Names and values beside each other."""
    return element("dl", join(element("dt", k) + element("dd", v) for k, v in pairs.items()))


def table(content: Table) -> Markup:
    """The table, in a box that scrolls by itself; every heading is a button that sorts by its column."""
    kept = [k for k in range(len(content.columns)) if any(row[k] not in ("", None) for row in content.rows)]
    content = Table(
        content.caption, [content.columns[k] for k in kept], [[r[k] for k in kept] for r in content.rows]
    )
    numeric = [
        all(_number(row[k]) is not None or row[k] in ("", None) for row in content.rows)
        if content.rows
        else False
        for k in range(len(content.columns))
    ]
    head = join(
        element(
            "th", element("button", name, type="button"), scope="col", aria_sort="none",
            class_="number" if numeric[k] else "words",
        )
        for k, name in enumerate(content.columns)
    )  # fmt: skip
    body = join(
        element("tr", join(_cell(cell, numeric[k]) for k, cell in enumerate(row))) for row in content.rows
    )
    inner = (
        element("caption", element("span", content.caption))
        + element("thead", element("tr", head))
        + element("tbody", body)
    )
    return element(
        "div", element("table", inner), class_="scroll", role="region", tabindex="0",
        aria_label=f"Table: {content.caption}",
    )  # fmt: skip


def picture(content: Picture) -> Markup:
    """The figure with its caption."""
    return element("figure", content.svg + element("figcaption", content.caption))


def figure_text(value: float) -> str:
    """A number in four significant digits; n/a where it is none."""
    if math.isnan(value):
        return "n/a"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:.3g}"


def figures(value: float, low: float, high: float) -> tuple[str, str, str]:
    """A value and its interval with as many places as the interval bears: two digits of half its width."""
    half = (high - low) / 2
    if not (math.isfinite(half) and half > 0 and math.isfinite(value)):
        return figure_text(value), figure_text(low), figure_text(high)
    places = max(0, 1 - math.floor(math.log10(half)))
    if places > 7 or max(map(abs, (value, low, high))) >= 1e6:
        return figure_text(value), figure_text(low), figure_text(high)
    return f"{value:,.{places}f}", f"{low:,.{places}f}", f"{high:,.{places}f}"


def _cell(cell: Any, numeric: bool) -> Markup:
    number = _number(cell)
    attributes = {} if number is None else {"data_v": repr(number)}
    if numeric:
        attributes["class_"] = "number"
    return element("td", _shown(cell), **attributes)


def _shown(cell: Any) -> Any:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, Estimate):
        if not cell.known:
            return figure_text(cell.value)
        value, low, high = figures(cell.value, cell.low, cell.high)
        return Markup(f'{value} <span class="interval">[{low}, {high}]</span>')
    return figure_text(cell) if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else cell


def _number(cell: Any) -> float | None:
    """What a cell sorts by, where it is a number."""
    cell = cell.value if isinstance(cell, Estimate) else cell
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return None
    return float(cell)
