"""Results in notebooks and data frames: tidy rows as a table with one row for each setting."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from gradvar.stats.intervals import Interval
from gradvar.stats.text import estimate_text, short_text

Row = Mapping[str, Any]
_OF_A_FIGURE = ("figure", "value", "se", "low", "high", "effective", "note")


class Labelled:
    """A result with tidy ``rows()``: as a data frame, and as a table where a notebook shows it."""

    def rows(self) -> list[dict[str, Any]]:
        """Return the tidy rows."""
        raise NotImplementedError

    def to_dataframe(self) -> Any:
        """Return the tidy rows as a pandas ``DataFrame``, a column for each name.

        Raises ``ImportError`` in one line where pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise ImportError(
                "to_dataframe: pandas is not installed; pip install pandas", name="pandas"
            ) from None
        return pandas.DataFrame(self.rows())

    def _repr_html_(self) -> str:
        return html_table(self.rows())


def html_table(rows: Sequence[Row]) -> str:
    """Return rows as an HTML table: figures side by side, with half their 95 % interval; what never varies is left out.

    >>> html_table([{"G": 2, "figure": "bias", "value": 1.0, "low": 0.9, "high": 1.1}])
    '<table><thead><tr><th>bias</th></tr></thead><tbody><tr><td>1.00 ±0.10</td></tr></tbody></table>'
    """
    settings: dict[tuple[tuple[str, Any], ...], dict[str, str]] = {}
    for row in rows:
        place = tuple(
            (name, value) for name, value in row.items() if "figure" not in row or name not in _OF_A_FIGURE
        )
        cells = settings.setdefault(place, {})
        if "figure" in row:
            cells[str(row["figure"])] = _figure(row)
    varying = [
        name
        for name in dict.fromkeys(name for place in settings for name, _ in place)
        if len({repr(dict(place).get(name)) for place in settings}) > 1
    ]
    figures = list(dict.fromkeys(name for cells in settings.values() for name in cells))
    head = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in (*varying, *figures))
    body = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(_cell(dict(place).get(name)))}</td>" for name in varying)
        + "".join(f"<td>{html.escape(cells.get(name, ''))}</td>" for name in figures)
        + "</tr>"
        for place, cells in settings.items()
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _figure(row: Row) -> str:
    value, low, high = (float(row.get(k, math.nan)) for k in ("value", "low", "high"))
    return estimate_text(Interval(value, low, high), 1.0 if row["figure"] == "cosine" else math.inf)


def _cell(value: Any) -> str:
    return "" if value is None else short_text(value) if isinstance(value, float) else str(value)
