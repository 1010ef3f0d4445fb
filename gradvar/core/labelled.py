"""Results in notebooks, data frames and xarray: tidy rows as a table with one row for each setting."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

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

    def to_xarray(self) -> Any:
        """Return the figures as an xarray ``Dataset``, a dimension for each setting that varies.

        A figure ``x`` is the variable ``x``, with ``x_se``, ``x_low`` and ``x_high`` beside it; settings that were not
        measured are NaN. Columns that follow from the dimensions are coordinates, those that never vary attributes.

        Raises ``ImportError`` in one line where xarray is not installed.
        """
        try:
            import xarray
        except ModuleNotFoundError:
            raise ImportError(
                "to_xarray: xarray is not installed; pip install xarray", name="xarray"
            ) from None
        return xarray.Dataset(**cube(self.rows()))

    def _repr_html_(self) -> str:
        return html_table(self.rows())


def cube(rows: Sequence[Row]) -> dict[str, Any]:
    """Tidy rows as the arguments of an xarray ``Dataset``: variables, coordinates and attributes.

    A column is a dimension if it varies and the dimensions before it leave it open, until they tell all settings apart.

    >>> rows = [{"G": g, "prompts": 16 // g, "figure": "bias", "value": 1.0 / g} for g in (2, 4)]
    >>> cube(rows)["data_vars"]["bias"][0], cube(rows)["coords"]["prompts"]
    (('G',), (('G',), array([8., 4.])))
    """
    columns = [n for n in dict.fromkeys(n for row in rows for n in row) if not _is_of_figure(n, rows)]
    values = {name: list(dict.fromkeys(row.get(name) for row in rows)) for name in columns}
    varying = [name for name in columns if len(values[name]) > 1]
    dimensions: list[str] = []
    for name in varying:
        places = {tuple(row.get(n) for n in dimensions) for row in rows}
        finer = {tuple(row.get(n) for n in (*dimensions, name)) for row in rows}
        every = {tuple(row.get(n) for n in varying) for row in rows}
        if len(places) < len(every) and len(finer) > len(places):
            dimensions.append(name)
    shape = tuple(len(values[name]) for name in dimensions)
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for row in rows:
        place = tuple(values[name].index(row.get(name)) for name in dimensions)
        numbers = {name: row.get(name) for name in varying if name not in dimensions}
        if "figure" in row:
            ends = {f"{row['figure']}_{end}": row[end] for end in ("se", "low", "high") if end in row}
            numbers |= {str(row["figure"]): row["value"], **ends}
        for name, value in numbers.items():
            is_number = isinstance(value, int | float)
            empty: Any = np.full(shape, np.nan) if is_number else np.full(shape, None, object)
            variables.setdefault(name, (tuple(dimensions), empty))[1][place] = value
    beside = set(varying) if any("figure" in row for row in rows) else set()
    return {
        "data_vars": {name: array for name, array in variables.items() if name not in beside},
        "coords": {name: values[name] for name in dimensions}
        | {name: array for name, array in variables.items() if name in beside},
        "attrs": {name: values[name][0] for name in columns if len(values[name]) == 1},
    }


def _is_of_figure(name: str, rows: Sequence[Row]) -> bool:
    return name in _OF_A_FIGURE and any("figure" in row for row in rows)


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
