"""Results as files: rows as CSV or Parquet, anything plain as JSON. A file appears complete or not at all."""

import csv
import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradvar.files.atomic import write_file
from gradvar.files.harmless import harmless_cell

Row = Mapping[str, Any]


def to_plain(value: Any) -> Any:
    """A result as values that JSON knows: a dataclass is a mapping of its fields, an array is nested lists.

    Not-a-number and infinities become None.

    >>> from gradvar.stats.intervals import Interval
    >>> to_plain(Interval(0.5, 0.4, 0.6))
    {'value': 0.5, 'low': 0.4, 'high': 0.6, 'se': None, 'dof': None, 'effective': None, 'reason': ''}
    """
    if value is None or type(value) in (str, int, bool):  # most values, and to ask for more takes longer
        return value
    if type(value) is float:
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: to_plain(getattr(value, name)) for name in _field_names(type(value))}
    if isinstance(value, Mapping):
        return {str(name): to_plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


@functools.cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def write_json(path: Path, content: Any) -> None:
    """Write a result as JSON that any reader accepts (see ``to_plain``)."""
    write_plain(path, to_plain(content))


def write_plain(path: Path, content: Any) -> None:
    """Write what ``to_plain`` made, without going through it once more."""
    write_file(path, (indented(content) + "\n").encode())


def indented(value: Any, depth: int = 0) -> str:
    """The text of ``json.dumps(value, indent=1, allow_nan=False)``, which takes many times as long for large results.

    What holds no further containers is written by the fast encoder, which takes no indent but any separator.

    >>> indented({"a": [1, {}]}) == json.dumps({"a": [1, {}]}, indent=1)
    True
    """
    if not isinstance(value, dict | list) or not value:
        return json.dumps(value, allow_nan=False)
    inner, last = "\n" + " " * (depth + 1), "\n" + " " * depth
    if not any(
        isinstance(x, dict | list | tuple) for x in (value.values() if isinstance(value, dict) else value)
    ):
        text = json.dumps(value, allow_nan=False, separators=("," + inner, ": "))
        return f"{text[0]}{inner}{text[1:-1]}{last}{text[-1]}"
    if isinstance(value, dict):
        entries = [f"{json.dumps(str(name))}: {indented(entry, depth + 1)}" for name, entry in value.items()]
        return f"{{{inner}{f',{inner}'.join(entries)}{last}}}"
    entries = [indented(entry, depth + 1) for entry in value]
    return f"[{inner}{f',{inner}'.join(entries)}{last}]"


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows that share their keys; missing values are empty, and text is no formula to a spreadsheet."""

    def cell(value: Any) -> Any:
        return "" if _missing(value) else harmless_cell(value) if isinstance(value, str) else value

    def fill(target: Path) -> None:
        with target.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(map(cell, rows[0]))
            writer.writerows([cell(row[name]) for name in rows[0]] for row in rows)

    write_file(path, fill)


def write_parquet(path: Path, rows: Sequence[Row]) -> None:
    """Write the same rows as Parquet; missing values are null."""
    import duckdb

    columns = {name: [None if _missing(row[name]) else row[name] for row in rows] for name in rows[0]}
    select = ", ".join(
        f'unnest(${i}) AS "{name.replace(chr(34), chr(34) * 2)}"' for i, name in enumerate(columns, 1)
    )

    def fill(target: Path) -> None:
        name = str(target).replace("'", "''")
        with duckdb.connect() as database:
            database.execute(f"COPY (SELECT {select}) TO '{name}' (FORMAT parquet)", list(columns.values()))

    write_file(path, fill)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
